/* SPDX-License-Identifier: BSD-3-Clause */
/* A hash table of sources, each there as long as it has connections. */
#include "server/net/sources.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"

struct source
{
    struct list link;
    uint8_t key[16];
    uint32_t count;
};

/* False: it has no address. */
static bool source_key(const struct sockaddr *address, uint8_t key[16])
{
    struct in6_addr v6 = {.s6_addr = {[10] = 0xFF, [11] = 0xFF}};
    if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6))
        return false;
    if (address->sa_family == AF_INET)
        memcpy(&v6.s6_addr[12], &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    else
        v6 = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6))
        memset(&v6.s6_addr[8], 0, 8);
    memcpy(key, v6.s6_addr, 16);
    return true;
}

/* FNV-1a: who chooses addresses that collide makes a list longer, of which he may have few. */
static unsigned source_bucket(const uint8_t key[16])
{
    uint32_t hash = 2166136261u;
    for (unsigned i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return (hash ^ hash >> 16) % SOURCES_BUCKETS;
}

void sources_init(struct sources *sources, uint32_t limit, uint32_t limit_each)
{
    lock_init(&sources->lock, LOCK_RANK_LEAF);
    sources->limit = limit;
    sources->limit_each = limit_each;
    sources->count = 0;
    for (unsigned i = 0; i < SOURCES_BUCKETS; i++)
        list_init(&sources->buckets[i]);
}

void sources_destroy(struct sources *sources)
{
    INVARIANT(sources->count == 0);
    lock_destroy(&sources->lock);
}

/* NULL: no memory for a new one. */
static struct source *source_find_locked(struct sources *sources, const uint8_t key[16])
{
    struct list *bucket = &sources->buckets[source_bucket(key)];
    list_for_each (source, bucket, struct source, link)
    {
        if (memcmp(source->key, key, sizeof(source->key)) == 0)
            return source;
    }
    struct source *made = calloc(1, sizeof(*made));
    if (!made)
        return NULL;
    memcpy(made->key, key, sizeof(made->key));
    list_add_tail(bucket, &made->link);
    return made;
}

int sources_enter(struct sources *sources, const struct sockaddr *address, struct source_seat *seat)
{
    uint8_t key[16];
    struct source *source = NULL;
    AUTO_LOCK(&sources->lock);
    if (sources->count >= sources->limit)
        return -EUSERS;
    if (source_key(address, key))
    {
        source = source_find_locked(sources, key);
        if (!source)
            return -ENOMEM;
        if (source->count >= sources->limit_each)
            return -EDQUOT;
        source->count++;
    }
    sources->count++;
    *seat = (struct source_seat){.is_taken = true, .source = source};
    return 0;
}

void sources_leave(struct sources *sources, struct source_seat *seat)
{
    if (!seat->is_taken)
        return;
    struct source *source = seat->source;
    AUTO_LOCK(&sources->lock);
    sources->count--;
    *seat = (struct source_seat){0};
    if (!source || --source->count > 0)
        return;
    list_remove(&source->link);
    free(source);
}
