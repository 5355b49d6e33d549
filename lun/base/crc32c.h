/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C (Castagnoli), as RFC 7143 section 12.1 and the on-disk format use it; by ISA-L. */
#ifndef LUN_BASE_CRC32C_H
#define LUN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from @crc (0 to begin) over @len bytes. crc32c(crc32c(0, a), b) covers a and b. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
