/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools to be spoiled: a few small images made once, of which each input gets a copy.
 *
 * The engine is repeatable, so an image is the same in every run of one version. What a checksum
 * covers is sealed again after it was changed, or nothing would get past the checksums; the chain
 * from bitmaps over tables to the superblocks, and that of the journal's batches, too.
 */
#ifndef TESTS_FUZZ_POOL_IMAGE_H
#define TESTS_FUZZ_POOL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/reader.h"
#include "tests/lib/simdev.h"

enum pool_image_number
{
    POOL_IMAGE_CLOSED,  /* in order, clones and snapshots in it */
    POOL_IMAGE_CRASHED, /* the same, with work under way and a journal to replay */
    POOL_IMAGE_PENDING, /* a checkpoint with much work under way, and no journal */
    POOL_IMAGES,
};

struct pool_image;

/* Made at the first call. */
const struct pool_image *pool_image(enum pool_image_number number);

/* The image's metadata in memory, to be changed. */
struct pool_copy;
struct pool_copy *pool_copy_new(const struct pool_image *image);
void pool_copy_free(struct pool_copy *copy);

unsigned pool_copy_count(const struct pool_copy *copy);
/* The bytes of the @index-th metadata block (modulo their count), and how many of them are in use,
 * with a little room behind. */
uint8_t *pool_copy_block(struct pool_copy *copy, unsigned index, unsigned *used_bytes);
/* Changed on purpose: its checksum stays wrong. */
void pool_copy_spoil(struct pool_copy *copy, unsigned index);

/* Makes checksums right, but those of spoiled blocks. */
void pool_copy_seal(struct pool_copy *copy);

/* Adds a batch of @payload (records as struct disk_record has them) to the journal. False: it does
 * not fit. */
bool pool_copy_add_batch(struct pool_copy *copy, const struct writer *payload, uint64_t records,
                         uint32_t flags);
/* The sequence number of the next record. */
uint64_t pool_copy_next_seq(struct pool_copy *copy);

/* A disk that holds it; the caller's. */
struct simdev *pool_copy_disk(const struct pool_copy *copy);

/* Opens the pool on @disk, looks at all there is, and (@is_changed) changes what can be changed.
 * What is damaged is refused or reported; nothing here may abort. Ends @disk. */
void pool_image_use(struct simdev *disk, bool is_changed);

/* Calls @each for every record in the journal of POOL_IMAGE_CRASHED. */
typedef void pool_record_fn(void *opaque, const uint8_t *actions, size_t len, const uint64_t *nodes,
                            unsigned node_count);
void pool_image_each_record(pool_record_fn *each, void *opaque);

#endif
