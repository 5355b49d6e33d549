/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/hash.h"

#include <errno.h>
#include <stdlib.h>

#include "lun/base/invariant.h"

int hash_init(struct hash *hash, size_t bucket_count)
{
    hash->buckets = calloc(bucket_count, sizeof(*hash->buckets));
    if (!hash->buckets)
        return -ENOMEM;
    hash->bucket_count = bucket_count;
    hash->count = 0;
    return 0;
}

void hash_destroy(struct hash *hash)
{
    free(hash->buckets);
    *hash = (struct hash){0};
}

static void hash_grow(struct hash *hash)
{
    size_t bucket_count = hash->bucket_count * 2;
    struct hash_link **buckets = calloc(bucket_count, sizeof(*buckets));
    if (!buckets)
        return;
    for (size_t i = 0; i < hash->bucket_count; i++)
    {
        for (struct hash_link *link = hash->buckets[i], *next; link; link = next)
        {
            next = link->next;
            struct hash_link **bucket = &buckets[link->hash & (bucket_count - 1)];
            link->next = *bucket;
            *bucket = link;
        }
    }
    free(hash->buckets);
    hash->buckets = buckets;
    hash->bucket_count = bucket_count;
}

void hash_add(struct hash *hash, struct hash_link *link, uint64_t key_hash)
{
    if (hash->count >= hash->bucket_count)
        hash_grow(hash);
    struct hash_link **bucket = &hash->buckets[key_hash & (hash->bucket_count - 1)];
    link->hash = key_hash;
    link->next = *bucket;
    *bucket = link;
    hash->count++;
}

void hash_remove(struct hash *hash, struct hash_link *link)
{
    struct hash_link **at = &hash->buckets[link->hash & (hash->bucket_count - 1)];
    while (*at != link)
    {
        INVARIANT(*at != NULL);
        at = &(*at)->next;
    }
    *at = link->next;
    link->next = NULL;
    hash->count--;
}

uint64_t hash_u64(uint64_t key)
{
    key ^= key >> 33;
    key *= UINT64_C(0xff51afd7ed558ccd);
    key ^= key >> 33;
    key *= UINT64_C(0xc4ceb9fe1a85ec53);
    key ^= key >> 33;
    return key;
}

uint64_t hash_string(const char *key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *key; key++)
        hash = (hash ^ (uint8_t)*key) * UINT64_C(0x100000001b3);
    return hash_u64(hash);
}
