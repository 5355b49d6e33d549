/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Big-endian fields at fixed places of CDBs and parameter lists.
 *
 * The caller knows that the bytes are there: a CDB always has SCSI_CDB_MAX, a parameter list was
 * measured. Lists of variable shape are parsed with a reader instead.
 */
#ifndef SERVER_SCSI_CDB_H
#define SERVER_SCSI_CDB_H

#include <stdint.h>
#include <string.h>

#include "lun/base/endian.h"

static inline uint16_t wire_u16(const uint8_t *at)
{
    struct be16 v;
    memcpy(&v, at, sizeof(v));
    return be16_get(v);
}

static inline uint32_t wire_u24(const uint8_t *at)
{
    return (uint32_t)at[0] << 16 | wire_u16(at + 1);
}

static inline uint32_t wire_u32(const uint8_t *at)
{
    struct be32 v;
    memcpy(&v, at, sizeof(v));
    return be32_get(v);
}

static inline uint64_t wire_u64(const uint8_t *at)
{
    struct be64 v;
    memcpy(&v, at, sizeof(v));
    return be64_get(v);
}

static inline void wire_put_u16(uint8_t *at, uint64_t value)
{
    struct be16 v = be16_put(value);
    memcpy(at, &v, sizeof(v));
}

static inline void wire_put_u32(uint8_t *at, uint64_t value)
{
    struct be32 v = be32_put(value);
    memcpy(at, &v, sizeof(v));
}

static inline void wire_put_u64(uint8_t *at, uint64_t value)
{
    struct be64 v = be64_put(value);
    memcpy(at, &v, sizeof(v));
}

#endif
