/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Integers of a fixed byte order, as types.
 *
 * Disk is little-endian, wire is big-endian. A field of these types cannot be assigned to or read
 * without a conversion, has alignment 1, and so needs neither packing nor padding.
 */
#ifndef LUN_BASE_ENDIAN_H
#define LUN_BASE_ENDIAN_H

#include <stdint.h>
#include <string.h>

/* Unrolled, the bytes are loaded and put together in registers. As a loop, gcc 12 at -O2 copies
 * them to the stack and waits for that, and every search of a tree is full of these. */
#define ENDIAN_UNROLL _Pragma("GCC unroll 8")

#define DEFINE_LE(bits, bytes, type)                                                               \
    struct le##bits                                                                                \
    {                                                                                              \
        uint8_t b[bytes];                                                                          \
    };                                                                                             \
    static inline type le##bits##_get(struct le##bits v)                                           \
    {                                                                                              \
        uint64_t r = 0;                                                                            \
        ENDIAN_UNROLL for (int i = (bytes)-1; i >= 0; i--) r = r << 8 | v.b[i];                    \
        return (type)r;                                                                            \
    }                                                                                              \
    static inline struct le##bits le##bits##_put(uint64_t x)                                       \
    {                                                                                              \
        struct le##bits v;                                                                         \
        ENDIAN_UNROLL for (int i = 0; i < (bytes); i++) v.b[i] = (uint8_t)(x >> (8 * i));          \
        return v;                                                                                  \
    }

#define DEFINE_BE(bits, bytes, type)                                                               \
    struct be##bits                                                                                \
    {                                                                                              \
        uint8_t b[bytes];                                                                          \
    };                                                                                             \
    static inline type be##bits##_get(struct be##bits v)                                           \
    {                                                                                              \
        uint64_t r = 0;                                                                            \
        ENDIAN_UNROLL for (int i = 0; i < (bytes); i++) r = r << 8 | v.b[i];                       \
        return (type)r;                                                                            \
    }                                                                                              \
    static inline struct be##bits be##bits##_put(uint64_t x)                                       \
    {                                                                                              \
        struct be##bits v;                                                                         \
        ENDIAN_UNROLL for (int i = 0; i < (bytes); i++) v.b[i] =                                   \
            (uint8_t)(x >> (8 * ((bytes)-1 - i)));                                                 \
        return v;                                                                                  \
    }

DEFINE_LE(16, 2, uint16_t)
DEFINE_LE(24, 3, uint32_t)
DEFINE_LE(32, 4, uint32_t)
DEFINE_LE(40, 5, uint64_t)
DEFINE_LE(48, 6, uint64_t)
DEFINE_LE(64, 8, uint64_t)
DEFINE_BE(16, 2, uint16_t)
DEFINE_BE(24, 3, uint32_t)
DEFINE_BE(32, 4, uint32_t)
DEFINE_BE(48, 6, uint64_t)
DEFINE_BE(64, 8, uint64_t)

#endif
