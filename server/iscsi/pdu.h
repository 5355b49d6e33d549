/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame of a PDU: its lengths, padding and digests, and the arithmetic of serial numbers.
 *
 * header (48) | AHS (0..1020) | header digest (0 or 4) | data | pad (0..3) | data digest (0 or 4)
 */
#ifndef SERVER_ISCSI_PDU_H
#define SERVER_ISCSI_PDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/iscsi/wire.h"

/* A received PDU. @bhs may be read as the struct of its opcode. */
struct pdu
{
    const struct wire_bhs *bhs;
    const uint8_t *ahs;
    uint32_t ahs_len;
    const uint8_t *data; /* NULL: not kept */
    uint32_t data_len;
};

static inline uint8_t pdu_opcode(const struct wire_bhs *bhs)
{
    return bhs->opcode & WIRE_OPCODE_MASK;
}

static inline bool pdu_is_immediate(const struct wire_bhs *bhs)
{
    return bhs->opcode & WIRE_IMMEDIATE;
}

static inline uint32_t pdu_data_len(const struct wire_bhs *bhs)
{
    return (uint32_t)bhs->data_len[0] << 16 | (uint32_t)bhs->data_len[1] << 8 | bhs->data_len[2];
}

static inline void pdu_put_data_len(uint8_t field[3], uint32_t len)
{
    field[0] = (uint8_t)(len >> 16);
    field[1] = (uint8_t)(len >> 8);
    field[2] = (uint8_t)len;
}

static inline uint32_t pdu_ahs_len(const struct wire_bhs *bhs)
{
    return (uint32_t)bhs->ahs_words * 4;
}

static inline uint32_t pdu_pad_len(uint32_t data_len)
{
    return -data_len & 3;
}

/* Serial numbers, RFC 1982 with 32 bits: a before b, wrapping around. */
static inline bool sn_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

/* Whether first <= sn <= last in serial arithmetic; an empty window has last == first - 1. */
static inline bool sn_in_window(uint32_t sn, uint32_t first, uint32_t last)
{
    return !sn_before(sn, first) && !sn_before(last, sn);
}

/* The digest as its 4 bytes on the wire. */
void pdu_put_digest(uint8_t bytes[WIRE_DIGEST_BYTES], uint32_t crc);
bool pdu_digest_matches(const uint8_t bytes[WIRE_DIGEST_BYTES], uint32_t crc);

/* One additional header segment. */
struct pdu_ahs
{
    uint8_t type;
    const uint8_t *bytes; /* behind the type: AHS-specific, @len of them */
    uint32_t len;
};

/* Takes the next segment off @at of @left bytes. False: none is left, or (then *bad) it is cut off.
 */
bool pdu_next_ahs(const uint8_t **at, uint32_t *left, struct pdu_ahs *ahs, bool *bad);

/* For log lines. */
const char *pdu_opcode_name(uint8_t opcode);

#endif
