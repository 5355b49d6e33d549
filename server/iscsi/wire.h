/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PDUs of RFC 7143 section 11 as they are on the wire.
 *
 * Every basic header segment is 48 bytes and begins alike (struct wire_bhs). Numbers are
 * big-endian.
 */
#ifndef SERVER_ISCSI_WIRE_H
#define SERVER_ISCSI_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/endian.h"

enum
{
    WIRE_BHS_BYTES = 48,
    WIRE_AHS_BYTES_MAX = 255 * 4,
    WIRE_DIGEST_BYTES = 4,
    WIRE_DATA_BYTES_MAX = (1 << 24) - 1,
    WIRE_VERSION = 0,
};

#define WIRE_TAG_NONE UINT32_C(0xffffffff)

enum wire_opcode
{
    WIRE_NOP_OUT = 0x00,
    WIRE_SCSI_COMMAND = 0x01,
    WIRE_TASK_REQUEST = 0x02,
    WIRE_LOGIN_REQUEST = 0x03,
    WIRE_TEXT_REQUEST = 0x04,
    WIRE_DATA_OUT = 0x05,
    WIRE_LOGOUT_REQUEST = 0x06,
    WIRE_SNACK = 0x10,

    WIRE_NOP_IN = 0x20,
    WIRE_SCSI_RESPONSE = 0x21,
    WIRE_TASK_RESPONSE = 0x22,
    WIRE_LOGIN_RESPONSE = 0x23,
    WIRE_TEXT_RESPONSE = 0x24,
    WIRE_DATA_IN = 0x25,
    WIRE_LOGOUT_RESPONSE = 0x26,
    WIRE_R2T = 0x31,
    WIRE_ASYNC = 0x32,
    WIRE_REJECT = 0x3f,
};

enum
{
    WIRE_OPCODE_MASK = 0x3f,
    WIRE_IMMEDIATE = 0x40, /* in the opcode byte */

    WIRE_FINAL = 0x80, /* in the flags byte */

    WIRE_CMD_READ = 0x40,
    WIRE_CMD_WRITE = 0x20,
    WIRE_CMD_ATTR_MASK = 0x07,

    WIRE_RSP_BIDI_OVERFLOW = 0x10,
    WIRE_RSP_BIDI_UNDERFLOW = 0x08,
    WIRE_RSP_OVERFLOW = 0x04, /* in Data-In too */
    WIRE_RSP_UNDERFLOW = 0x02,
    WIRE_DATA_IN_STATUS = 0x01,

    WIRE_TEXT_CONTINUE = 0x40, /* in login PDUs too */
    WIRE_LOGIN_TRANSIT = 0x80,

    WIRE_TASK_FUNCTION_MASK = 0x7f,
    WIRE_LOGOUT_REASON_MASK = 0x7f,
};

/* Task attributes of a SCSI command. */
enum wire_attr
{
    WIRE_ATTR_UNTAGGED = 0,
    WIRE_ATTR_SIMPLE = 1,
    WIRE_ATTR_ORDERED = 2,
    WIRE_ATTR_HEAD_OF_QUEUE = 3,
    WIRE_ATTR_ACA = 4,
};

enum wire_ahs_type
{
    WIRE_AHS_EXTENDED_CDB = 1,
    WIRE_AHS_BIDI_READ_LENGTH = 2,
};

enum wire_response
{
    WIRE_RESPONSE_COMPLETED = 0x00,
    WIRE_RESPONSE_TARGET_FAILURE = 0x01,
};

enum wire_stage
{
    WIRE_STAGE_SECURITY = 0,
    WIRE_STAGE_OPERATIONAL = 1,
    WIRE_STAGE_FULL_FEATURE = 3,
};

/* Class and detail of a login response, as one number. */
enum wire_login_status
{
    WIRE_LOGIN_SUCCESS = 0x0000,
    WIRE_LOGIN_MOVED_TEMPORARILY = 0x0101,
    WIRE_LOGIN_MOVED_PERMANENTLY = 0x0102,
    WIRE_LOGIN_INITIATOR_ERROR = 0x0200,
    WIRE_LOGIN_AUTHENTICATION_FAILED = 0x0201,
    WIRE_LOGIN_FORBIDDEN = 0x0202,
    WIRE_LOGIN_NOT_FOUND = 0x0203,
    WIRE_LOGIN_TARGET_REMOVED = 0x0204,
    WIRE_LOGIN_UNSUPPORTED_VERSION = 0x0205,
    WIRE_LOGIN_TOO_MANY_CONNECTIONS = 0x0206,
    WIRE_LOGIN_MISSING_PARAMETER = 0x0207,
    WIRE_LOGIN_CANNOT_INCLUDE = 0x0208,
    WIRE_LOGIN_SESSION_TYPE_UNSUPPORTED = 0x0209,
    WIRE_LOGIN_NO_SUCH_SESSION = 0x020a,
    WIRE_LOGIN_INVALID_DURING_LOGIN = 0x020b,
    WIRE_LOGIN_TARGET_ERROR = 0x0300,
    WIRE_LOGIN_SERVICE_UNAVAILABLE = 0x0301,
    WIRE_LOGIN_OUT_OF_RESOURCES = 0x0302,
};

enum wire_task_function
{
    WIRE_TASK_ABORT = 1,
    WIRE_TASK_ABORT_SET = 2,
    WIRE_TASK_CLEAR_ACA = 3,
    WIRE_TASK_CLEAR_SET = 4,
    WIRE_TASK_LUN_RESET = 5,
    WIRE_TASK_WARM_RESET = 6,
    WIRE_TASK_COLD_RESET = 7,
    WIRE_TASK_REASSIGN = 8,
    WIRE_TASK_QUERY = 9, /* from here on RFC 7144 */
    WIRE_TASK_QUERY_SET = 10,
    WIRE_TASK_NEXUS_RESET = 11,
    WIRE_TASK_QUERY_ASYNC = 12,
};

enum wire_task_response
{
    WIRE_TASK_COMPLETE = 0,
    WIRE_TASK_NO_TASK = 1,
    WIRE_TASK_NO_LUN = 2,
    WIRE_TASK_STILL_ALLEGIANT = 3,
    WIRE_TASK_NO_REASSIGN = 4,
    WIRE_TASK_NOT_SUPPORTED = 5,
    WIRE_TASK_NOT_AUTHORIZED = 6,
    WIRE_TASK_SUCCEEDED = 7, /* RFC 7144: the function found what it asked for */
    WIRE_TASK_REJECTED = 255,
};

enum wire_reject_reason
{
    WIRE_REJECT_DATA_DIGEST = 0x02,
    WIRE_REJECT_SNACK = 0x03,
    WIRE_REJECT_PROTOCOL = 0x04,
    WIRE_REJECT_NOT_SUPPORTED = 0x05,
    WIRE_REJECT_TOO_MANY_IMMEDIATE = 0x06,
    WIRE_REJECT_TASK_IN_PROGRESS = 0x07,
    WIRE_REJECT_INVALID_DATA_ACK = 0x08,
    WIRE_REJECT_INVALID_FIELD = 0x09,
    WIRE_REJECT_LONG_OPERATION = 0x0a,
    WIRE_REJECT_WAITING_FOR_LOGOUT = 0x0c,
};

enum wire_async_event
{
    WIRE_ASYNC_SCSI = 0,
    WIRE_ASYNC_REQUEST_LOGOUT = 1,
    WIRE_ASYNC_DROP_CONNECTION = 2,
    WIRE_ASYNC_DROP_SESSION = 3,
    WIRE_ASYNC_NEGOTIATE = 4,
};

enum wire_logout_reason
{
    WIRE_LOGOUT_SESSION = 0,
    WIRE_LOGOUT_CONNECTION = 1,
    WIRE_LOGOUT_RECOVERY = 2,
};

enum wire_logout_response
{
    WIRE_LOGOUT_CLOSED = 0,
    WIRE_LOGOUT_NO_CID = 1,
    WIRE_LOGOUT_NO_RECOVERY = 2,
    WIRE_LOGOUT_FAILED = 3,
};

/* What all PDUs have in common; @specific is of the opcode's meaning. */
struct wire_bhs
{
    uint8_t opcode;
    uint8_t flags;
    uint8_t byte2, byte3;
    uint8_t ahs_words;
    uint8_t data_len[3];
    uint8_t lun[8];
    struct be32 itt;
    uint8_t specific[28];
};

struct wire_scsi_command
{
    uint8_t opcode, flags, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, expected_bytes, cmd_sn, exp_stat_sn;
    uint8_t cdb[16];
};

struct wire_scsi_response
{
    uint8_t opcode, flags, response, status, ahs_words, data_len[3], reserved8[8];
    struct be32 itt, snack_tag, stat_sn, exp_cmd_sn, max_cmd_sn, exp_data_sn;
    struct be32 bidi_residual, residual;
};

struct wire_task_request
{
    uint8_t opcode, function, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ref_itt, cmd_sn, exp_stat_sn, ref_cmd_sn, exp_data_sn;
    uint8_t reserved40[8];
};

struct wire_task_response_pdu
{
    uint8_t opcode, flags, response, reserved3, ahs_words, data_len[3], reserved8[8];
    struct be32 itt, reserved20, stat_sn, exp_cmd_sn, max_cmd_sn;
    uint8_t reserved36[12];
};

struct wire_data_out
{
    uint8_t opcode, flags, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, reserved24, exp_stat_sn, reserved32, data_sn, offset, reserved44;
};

struct wire_data_in
{
    uint8_t opcode, flags, reserved2, status, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset, residual;
};

struct wire_r2t
{
    uint8_t opcode, flags, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, r2t_sn, offset, desired_bytes;
};

struct wire_async
{
    uint8_t opcode, flags, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, reserved20, stat_sn, exp_cmd_sn, max_cmd_sn;
    uint8_t event, vendor_code;
    struct be16 parameter1, parameter2, parameter3;
    uint8_t reserved44[4];
};

struct wire_text
{
    uint8_t opcode, flags, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, cmd_sn, exp_stat_sn;
    uint8_t reserved32[16];
};

/* Text, NOP-In: a response that carries no more than the numbers. */
struct wire_plain_response
{
    uint8_t opcode, flags, byte2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn;
    uint8_t reserved36[12];
};

struct wire_login_request
{
    uint8_t opcode, flags, version_max, version_min, ahs_words, data_len[3], isid[6];
    struct be16 tsih;
    struct be32 itt;
    struct be16 cid, reserved22;
    struct be32 cmd_sn, exp_stat_sn;
    uint8_t reserved32[16];
};

struct wire_login_response
{
    uint8_t opcode, flags, version_max, version_active, ahs_words, data_len[3], isid[6];
    struct be16 tsih;
    struct be32 itt, reserved20, stat_sn, exp_cmd_sn, max_cmd_sn;
    struct be16 status; /* class and detail */
    uint8_t reserved38[10];
};

struct wire_logout_request
{
    uint8_t opcode, reason, reserved2, reserved3, ahs_words, data_len[3], reserved8[8];
    struct be32 itt;
    struct be16 cid, reserved22;
    struct be32 cmd_sn, exp_stat_sn;
    uint8_t reserved32[16];
};

struct wire_logout_response_pdu
{
    uint8_t opcode, flags, response, reserved3, ahs_words, data_len[3], reserved8[8];
    struct be32 itt, reserved20, stat_sn, exp_cmd_sn, max_cmd_sn, reserved36;
    struct be16 time2wait, time2retain;
    uint8_t reserved44[4];
};

struct wire_snack
{
    uint8_t opcode, type, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, reserved24, exp_stat_sn;
    uint8_t reserved32[8];
    struct be32 begin, run_len;
};

struct wire_reject
{
    uint8_t opcode, flags, reason, reserved3, ahs_words, data_len[3], reserved8[8];
    struct be32 itt, reserved20, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn;
    uint8_t reserved40[8];
};

struct wire_nop_out
{
    uint8_t opcode, flags, reserved2, reserved3, ahs_words, data_len[3], lun[8];
    struct be32 itt, ttt, cmd_sn, exp_stat_sn;
    uint8_t reserved32[16];
};

#define WIRE_CHECK(type, field, offset)                                                            \
    static_assert(sizeof(struct type) == WIRE_BHS_BYTES, #type);                                   \
    static_assert(offsetof(struct type, field) == (offset), #type "." #field)

WIRE_CHECK(wire_bhs, specific, 20);
WIRE_CHECK(wire_scsi_command, cdb, 32);
WIRE_CHECK(wire_scsi_response, residual, 44);
WIRE_CHECK(wire_task_request, ref_cmd_sn, 32);
WIRE_CHECK(wire_task_response_pdu, max_cmd_sn, 32);
WIRE_CHECK(wire_data_out, offset, 40);
WIRE_CHECK(wire_data_in, residual, 44);
WIRE_CHECK(wire_r2t, desired_bytes, 44);
WIRE_CHECK(wire_async, event, 36);
WIRE_CHECK(wire_text, exp_stat_sn, 28);
WIRE_CHECK(wire_plain_response, max_cmd_sn, 32);
WIRE_CHECK(wire_login_request, exp_stat_sn, 28);
WIRE_CHECK(wire_login_response, status, 36);
WIRE_CHECK(wire_logout_request, exp_stat_sn, 28);
WIRE_CHECK(wire_logout_response_pdu, time2wait, 40);
WIRE_CHECK(wire_snack, begin, 40);
WIRE_CHECK(wire_reject, data_sn, 36);
WIRE_CHECK(wire_nop_out, exp_stat_sn, 28);

#endif
