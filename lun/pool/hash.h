/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hash table, intrusive, growing. Not locked: its owner says by what.
 */
#ifndef LUN_POOL_HASH_H
#define LUN_POOL_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/list.h"

struct hash_link
{
    struct hash_link *next;
    uint64_t hash;
};

struct hash
{
    struct hash_link **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
};

MUST_CHECK int hash_init(struct hash *hash, size_t bucket_count);
void hash_destroy(struct hash *hash);
/* Grows if memory allows, else chains become longer: cannot fail. */
void hash_add(struct hash *hash, struct hash_link *link, uint64_t key_hash);
void hash_remove(struct hash *hash, struct hash_link *link);

uint64_t hash_u64(uint64_t key);
uint64_t hash_string(const char *key);

/* All links whose hash is @key_hash; the caller compares keys. */
#define hash_for_each(link, hash_, key_hash)                                                       \
    for (struct hash_link *link = (hash_)->buckets[(key_hash) & ((hash_)->bucket_count - 1)];      \
         link; link = link->next)                                                                  \
        if (link->hash == (key_hash))

#endif
