/* SPDX-License-Identifier: BSD-3-Clause */
/* Counted buffers with free lists by size. */
#include "server/iscsi/iobuf.h"

#include <stdlib.h>

#include "lun/base/invariant.h"

static const struct iobuf_class
{
    uint32_t bytes;
    unsigned keep_max;
} iobuf_classes[IOBUF_CLASSES] = {
    {8 * 1024, 256},
    {64 * 1024, 64},
    {256 * 1024, 64},
    {1024 * 1024, 48},
};

void iobuf_pool_init(struct iobuf_pool *pool)
{
    *pool = (struct iobuf_pool){.used_bytes = 0};
    for (unsigned i = 0; i < IOBUF_CLASSES; i++)
        list_init(&pool->kept[i]);
}

static void iobuf_free(struct iobuf *buf)
{
    free(buf->bytes);
    free(buf);
}

void iobuf_pool_trim(struct iobuf_pool *pool)
{
    for (unsigned i = 0; i < IOBUF_CLASSES; i++)
    {
        list_for_each_safe (buf, &pool->kept[i], struct iobuf, link)
        {
            list_remove(&buf->link);
            iobuf_free(buf);
        }
        pool->kept_count[i] = 0;
    }
    pool->kept_bytes = 0;
}

static unsigned iobuf_class_of(size_t len)
{
    unsigned i = 0;
    while (i < IOBUF_CLASSES && iobuf_classes[i].bytes < len)
        i++;
    return i;
}

static struct iobuf *iobuf_make(struct iobuf_pool *pool, size_t len, unsigned size_class)
{
    struct iobuf *buf = calloc(1, sizeof(*buf));
    if (!buf)
        return NULL;
    size_t capacity =
        size_class < IOBUF_CLASSES ? iobuf_classes[size_class].bytes : (len + 4095) & ~(size_t)4095;
    void *bytes;
    if (posix_memalign(&bytes, 4096, capacity) != 0)
    {
        free(buf);
        return NULL;
    }
    *buf = (struct iobuf){
        .pool = pool, .bytes = bytes, .capacity = capacity, .size_class = size_class};
    list_init(&buf->link);
    return buf;
}

struct iobuf *iobuf_get(struct iobuf_pool *pool, size_t len)
{
    unsigned size_class = iobuf_class_of(len);
    struct iobuf *buf;
    if (size_class < IOBUF_CLASSES && pool->kept_count[size_class] > 0)
    {
        buf = container_of(pool->kept[size_class].next, struct iobuf, link);
        list_remove(&buf->link);
        pool->kept_count[size_class]--;
        pool->kept_bytes -= buf->capacity;
    }
    else
    {
        buf = iobuf_make(pool, len, size_class);
        if (!buf)
            return NULL;
    }
    pool->used_bytes += buf->capacity;
    buf->refs = 1;
    return buf;
}

struct iobuf *iobuf_ref(struct iobuf *buf)
{
    buf->refs++;
    return buf;
}

void iobuf_put(struct iobuf *buf)
{
    if (!buf || --buf->refs > 0)
        return;
    struct iobuf_pool *pool = buf->pool;
    INVARIANT(pool->used_bytes >= buf->capacity);
    pool->used_bytes -= buf->capacity;
    unsigned size_class = buf->size_class;
    if (size_class == IOBUF_CLASSES ||
        pool->kept_count[size_class] == iobuf_classes[size_class].keep_max)
    {
        iobuf_free(buf);
        return;
    }
    list_add_head(&pool->kept[size_class], &buf->link);
    pool->kept_count[size_class]++;
    pool->kept_bytes += buf->capacity;
}
