/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sense data, and the one table from errno to it.
 *
 * A command ends with exactly one of these calls, or leaves status GOOD.
 */
#ifndef SERVER_SCSI_SENSE_H
#define SERVER_SCSI_SENSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scsi_task;

#define SENSE_CODE(key, asc, ascq) ((key) << 16 | (asc) << 8 | (ascq))

enum sense_code
{
    SENSE_NONE = SENSE_CODE(0, 0x00, 0x00),
    SENSE_SANITIZE_RUNNING_INFO = SENSE_CODE(0, 0x04, 0x1b),
    SENSE_BECOMING_READY = SENSE_CODE(2, 0x04, 0x01),
    SENSE_INITIALIZING_REQUIRED = SENSE_CODE(2, 0x04, 0x02),
    SENSE_SANITIZE_IN_PROGRESS = SENSE_CODE(2, 0x04, 0x1b),
    SENSE_NO_MEDIUM = SENSE_CODE(2, 0x3a, 0x00),
    SENSE_NO_MEDIUM_TRAY_OPEN = SENSE_CODE(2, 0x3a, 0x02),
    SENSE_WRITE_ERROR = SENSE_CODE(3, 0x0c, 0x00),
    SENSE_READ_ERROR = SENSE_CODE(3, 0x11, 0x00),
    SENSE_SANITIZE_FAILED = SENSE_CODE(3, 0x31, 0x03),
    SENSE_INTERNAL_FAILURE = SENSE_CODE(4, 0x44, 0x00),
    SENSE_INVALID_IN_INFORMATION_UNIT = SENSE_CODE(5, 0x0e, 0x03),
    SENSE_PARAMETER_LIST_LENGTH = SENSE_CODE(5, 0x1a, 0x00),
    SENSE_INVALID_OPCODE = SENSE_CODE(5, 0x20, 0x00),
    SENSE_LBA_OUT_OF_RANGE = SENSE_CODE(5, 0x21, 0x00),
    SENSE_TOKEN_UNKNOWN = SENSE_CODE(5, 0x23, 0x04),
    SENSE_TOKEN_CORRUPT = SENSE_CODE(5, 0x23, 0x05),
    SENSE_TOKEN_REVOKED = SENSE_CODE(5, 0x23, 0x06),
    SENSE_TOKEN_EXPIRED = SENSE_CODE(5, 0x23, 0x07),
    SENSE_TOKEN_UNSUPPORTED_TYPE = SENSE_CODE(5, 0x23, 0x01),
    SENSE_TOKEN_LENGTH = SENSE_CODE(5, 0x23, 0x0a),
    SENSE_NO_TOKEN = SENSE_CODE(5, 0x23, 0x0b),
    SENSE_INVALID_FIELD_IN_CDB = SENSE_CODE(5, 0x24, 0x00),
    SENSE_LUN_NOT_SUPPORTED = SENSE_CODE(5, 0x25, 0x00),
    SENSE_INVALID_PARAMETER = SENSE_CODE(5, 0x26, 0x00),
    SENSE_PARAMETER_VALUE = SENSE_CODE(5, 0x26, 0x02),
    SENSE_INVALID_RELEASE = SENSE_CODE(5, 0x26, 0x04),
    SENSE_TOO_MANY_TARGETS = SENSE_CODE(5, 0x26, 0x06),
    SENSE_UNSUPPORTED_TARGET_TYPE = SENSE_CODE(5, 0x26, 0x07),
    SENSE_TOO_MANY_SEGMENTS = SENSE_CODE(5, 0x26, 0x08),
    SENSE_UNSUPPORTED_SEGMENT_TYPE = SENSE_CODE(5, 0x26, 0x09),
    SENSE_INLINE_DATA_LENGTH = SENSE_CODE(5, 0x26, 0x0b),
    SENSE_SAVING_NOT_SUPPORTED = SENSE_CODE(5, 0x39, 0x00),
    SENSE_REMOVAL_PREVENTED = SENSE_CODE(5, 0x53, 0x02),
    SENSE_NO_REGISTRATION_RESOURCES = SENSE_CODE(5, 0x55, 0x04),
    SENSE_WRITE_PROTECTED = SENSE_CODE(7, 0x27, 0x00),
    SENSE_SOFTWARE_WRITE_PROTECTED = SENSE_CODE(7, 0x27, 0x02),
    SENSE_SPACE_ALLOCATION_FAILED = SENSE_CODE(7, 0x27, 0x07),
    SENSE_COPY_TARGET_UNREACHABLE = SENSE_CODE(0xa, 0x0d, 0x02),
    SENSE_COPY_ABORTED = SENSE_CODE(0xa, 0x00, 0x00),
    SENSE_ABORTED = SENSE_CODE(0xb, 0x00, 0x00),
    SENSE_INSUFFICIENT_RESOURCES = SENSE_CODE(0xb, 0x55, 0x03),
    SENSE_MISCOMPARE = SENSE_CODE(0xe, 0x1d, 0x00),
};

/* All that sense data can say. */
struct sense
{
    uint32_t code; /* enum sense_code or that of a unit attention */
    bool has_information;
    bool has_field; /* a field pointer */
    bool field_in_cdb;
    bool has_progress;
    int8_t field_bit; /* < 0: the whole byte */
    uint16_t field_byte;
    uint16_t progress; /* of 65536 */
    uint64_t information;
    bool is_deferred;
};

/* Writes fixed or descriptor format; @bytes has SCSI_SENSE_MAX. Returns the length. */
size_t sense_format(const struct sense *sense, bool descriptor_format, uint8_t *bytes);

/* CHECK CONDITION with @sense in the format that the unit's control page asks for. */
void sense_set(struct scsi_task *task, const struct sense *sense);
void sense_fail(struct scsi_task *task, uint32_t code);
/* INVALID FIELD IN CDB, pointing at a byte, and at a bit if @bit >= 0. */
void sense_fail_cdb(struct scsi_task *task, unsigned byte, int bit);
/* The same for the parameter list: @code is one of INVALID FIELD IN PARAMETER LIST's family. */
void sense_fail_parameter(struct scsi_task *task, uint32_t code, unsigned byte);
void sense_fail_information(struct scsi_task *task, uint32_t code, uint64_t information);

/* What the engine's error means to a host. @write: it came from a write. */
void sense_fail_errno(struct scsi_task *task, int err, bool write);

#endif
