/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers for payload, counted, of one loop thread.
 *
 * Freed ones are kept for reuse by size, up to a bound, and given back to the system when the
 * thread has been idle. A reference is taken and dropped by the owning thread only.
 */
#ifndef SERVER_ISCSI_IOBUF_H
#define SERVER_ISCSI_IOBUF_H

#include <stddef.h>
#include <stdint.h>

#include "lun/base/list.h"

enum
{
    IOBUF_CLASSES = 4, /* 8 KiB, 64 KiB, 256 KiB, 1 MiB; above: made to measure */
    IOBUF_ARENA_BYTES = 64 * 1024,
};

struct iobuf_pool
{
    struct list kept[IOBUF_CLASSES];
    unsigned kept_count[IOBUF_CLASSES];
    uint64_t used_bytes; /* handed out */
    uint64_t kept_bytes;
};

struct iobuf
{
    struct list link;
    struct iobuf_pool *pool;
    uint8_t *bytes; /* aligned to 4096 */
    size_t capacity;
    uint32_t refs;
    uint32_t size_class; /* IOBUF_CLASSES: made to measure */
};

void iobuf_pool_init(struct iobuf_pool *pool);
/* Gives all kept ones back. */
void iobuf_pool_trim(struct iobuf_pool *pool);

/* With one reference, the caller's. NULL: no memory. The content is undefined. */
struct iobuf *iobuf_get(struct iobuf_pool *pool, size_t len);
struct iobuf *iobuf_ref(struct iobuf *buf);
/* NULL is accepted. */
void iobuf_put(struct iobuf *buf);

#endif
