/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    /* The library takes an int length, and leaves both inversions to the caller. */
    enum
    {
        STEP = 1 << 30
    };
    crc = ~crc;
    const unsigned char *at = bytes;
    while (len > 0)
    {
        size_t step = len < STEP ? len : STEP;
        crc = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)step, crc);
        at += step;
        len -= step;
    }
    return ~crc;
}
