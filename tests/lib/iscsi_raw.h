/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An iSCSI initiator of single bytes: it sends what it is told, right or wrong, and shows what
 * comes back. Nothing is automatic but the lengths and digests, and these can be spoilt.
 */
#ifndef TESTS_LIB_ISCSI_RAW_H
#define TESTS_LIB_ISCSI_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "server/iscsi/wire.h"

enum
{
    RAW_WAIT_MS = 60000, /* for anything to come; then the test has failed */
    RAW_TEXT_MAX = 16384,
};

struct raw
{
    int fd;
    bool header_digest, data_digest;
    uint32_t cmd_sn, exp_stat_sn, itt; /* for the helpers below; the caller may set them */
    uint32_t max_cmd_sn, exp_cmd_sn;   /* as the last response said */
    uint16_t tsih;
    uint8_t isid[6];
};

/* A received PDU. Free with raw_pdu_destroy(). */
struct raw_pdu
{
    uint8_t bhs[WIRE_BHS_BYTES];
    uint8_t *data; /* with a NUL behind it */
    uint32_t data_len;
};

enum raw_spoil
{
    RAW_SPOIL_HEADER_DIGEST = 1,
    RAW_SPOIL_DATA_DIGEST = 2,
    RAW_KEEP_DATA_LEN = 4, /* the length in the header is as the caller set it */
};

/* "127.0.0.1:PORT" or "[::1]:PORT". Aborts the test program when it fails. */
void raw_connect(struct raw *raw, const char *address);
/* The same with the local address @source, "127.0.0.2" for example. */
void raw_connect_from(struct raw *raw, const char *address, const char *source);
void raw_close(struct raw *raw);

/* Sends bytes as they are. -errno. */
MUST_CHECK int raw_send_bytes(struct raw *raw, const void *bytes, size_t len);
/* Builds the PDU into @out of @size bytes; its length. */
size_t raw_build(const struct raw *raw, void *bhs, const void *ahs, uint32_t ahs_len,
                 const void *data, uint32_t data_len, unsigned spoil, uint8_t *out, size_t size);
MUST_CHECK int raw_send(struct raw *raw, void *bhs, const void *data, uint32_t data_len,
                        unsigned spoil);
/* The next PDU. -EPIPE: closed. -EBADMSG: its digest is wrong. -ETIMEDOUT. */
MUST_CHECK int raw_recv(struct raw *raw, struct raw_pdu *pdu);
void raw_pdu_destroy(struct raw_pdu *pdu);
#define AUTO_RAW_PDU CLEANUP(raw_pdu_destroy)
/* Whether the other side closes, and sends nothing but what is skipped until then. */
bool raw_is_closed(struct raw *raw);

static inline uint8_t raw_opcode(const struct raw_pdu *pdu)
{
    return pdu->bhs[0] & WIRE_OPCODE_MASK;
}

/* ---- helpers for what goes right ----------------------------------------------------------- */

/* One login request. @text: "key=value" separated by newlines. */
MUST_CHECK int raw_login_send(struct raw *raw, unsigned stage, unsigned next, unsigned flags,
                              const char *text);
/* Receives a login response: its status, its text with newlines for NULs. -errno. */
MUST_CHECK int raw_login_recv(struct raw *raw, uint8_t *flags, char text[RAW_TEXT_MAX]);
/* A whole login without CHAP: @keys besides the names, for the operational stage. The status. */
MUST_CHECK int raw_login(struct raw *raw, const char *initiator, const char *target,
                         const char *keys);
/* The value of a key in a text with newlines, or NULL; until the next call. */
const char *raw_text_value(const char *text, const char *key);

/* A SCSI command for LUN 0; raw->itt is its tag afterwards. @flags: WIRE_FINAL, WIRE_CMD_... */
MUST_CHECK int raw_command(struct raw *raw, unsigned flags, const uint8_t cdb[16],
                           uint32_t expected, const void *data, uint32_t data_len);
/* READ(10), WRITE(10) in blocks of 512; @control: last byte of the CDB. */
void raw_cdb_rw(uint8_t cdb[16], bool is_write, uint32_t lba, uint16_t blocks, uint8_t control);
MUST_CHECK int raw_data_out(struct raw *raw, uint32_t itt, uint32_t ttt, uint32_t data_sn,
                            uint32_t offset, bool is_final, const void *data, uint32_t len);
MUST_CHECK int raw_tmf(struct raw *raw, uint8_t function, uint32_t ref_itt, bool immediate);
/* A NOP-Out that asks for an answer, immediate. */
MUST_CHECK int raw_nop(struct raw *raw);
MUST_CHECK int raw_logout(struct raw *raw, uint8_t reason);
/* Whether the session lives: a NOP-Out is answered. Other PDUs are skipped. */
bool raw_is_alive(struct raw *raw);

#endif
