/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame of a PDU. */
#include "server/iscsi/pdu.h"

#include <string.h>

#include "lun/base/checked.h"

/* The CRC goes out with its least significant byte first (RFC 7143 section 13.1). */
void pdu_put_digest(uint8_t bytes[WIRE_DIGEST_BYTES], uint32_t crc)
{
    struct le32 value = le32_put(crc);
    memcpy(bytes, value.b, sizeof(value.b));
}

bool pdu_digest_matches(const uint8_t bytes[WIRE_DIGEST_BYTES], uint32_t crc)
{
    struct le32 value;
    memcpy(value.b, bytes, sizeof(value.b));
    return le32_get(value) == crc;
}

bool pdu_next_ahs(const uint8_t **at, uint32_t *left, struct pdu_ahs *ahs, bool *bad)
{
    *bad = false;
    if (*left == 0)
        return false;
    /* AHSLength counts what follows the type byte, without the padding to whole words. */
    uint32_t len = *left >= 4 ? (uint32_t)(*at)[0] << 8 | (*at)[1] : UINT32_MAX;
    if (len == UINT32_MAX || len == 0 || len > *left - 3)
    {
        *bad = true;
        return false;
    }
    ahs->type = (*at)[2];
    ahs->bytes = *at + 3;
    ahs->len = len;
    uint32_t whole = (uint32_t)round_up(3 + (uint64_t)len, 4);
    whole = whole < *left ? whole : *left;
    *at += whole;
    *left -= whole;
    return true;
}

const char *pdu_opcode_name(uint8_t opcode)
{
    switch (opcode)
    {
    case WIRE_NOP_OUT:
        return "NOP-Out";
    case WIRE_SCSI_COMMAND:
        return "SCSI Command";
    case WIRE_TASK_REQUEST:
        return "Task Management Request";
    case WIRE_LOGIN_REQUEST:
        return "Login Request";
    case WIRE_TEXT_REQUEST:
        return "Text Request";
    case WIRE_DATA_OUT:
        return "Data-Out";
    case WIRE_LOGOUT_REQUEST:
        return "Logout Request";
    case WIRE_SNACK:
        return "SNACK Request";
    default:
        return "unknown PDU";
    }
}
