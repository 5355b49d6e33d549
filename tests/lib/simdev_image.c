/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/simdev_image.h"

#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"

/* Where chunk @index is, or where it would go. */
static size_t simdev_image_find(const struct simdev_image *image, uint64_t index)
{
    size_t at = (size_t)(index * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (image->capacity - 1);
    while (image->slots[at].chunk && image->slots[at].index != index)
        at = (at + 1) & (image->capacity - 1);
    return at;
}

static void simdev_image_make_room(struct simdev_image *image)
{
    if (2 * (image->count + 1) <= image->capacity)
        return;
    struct simdev_image grown = {.capacity = image->capacity ? 2 * image->capacity : 64};
    grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
    INVARIANT(grown.slots != NULL);
    for (size_t i = 0; i < image->capacity; i++)
    {
        if (image->slots[i].chunk)
            grown.slots[simdev_image_find(&grown, image->slots[i].index)] = image->slots[i];
    }
    grown.count = image->count;
    free(image->slots);
    *image = grown;
}

static struct simdev_chunk *simdev_chunk_new(const struct simdev_chunk *content)
{
    struct simdev_chunk *chunk = calloc(1, sizeof(*chunk));
    INVARIANT(chunk != NULL);
    if (content)
        memcpy(chunk->bytes, content->bytes, SIMDEV_CHUNK_BYTES);
    chunk->refs = 1;
    return chunk;
}

static void simdev_chunk_put(struct simdev_chunk *chunk)
{
    if (--chunk->refs == 0)
        free(chunk);
}

/* Chunk @index, held by this image alone. */
static struct simdev_chunk *simdev_image_own_chunk(struct simdev_image *image, uint64_t index)
{
    simdev_image_make_room(image);
    struct simdev_slot *slot = &image->slots[simdev_image_find(image, index)];
    struct simdev_chunk *chunk = slot->chunk;
    if (!chunk)
    {
        chunk = simdev_chunk_new(NULL);
        *slot = (struct simdev_slot){.index = index, .chunk = chunk};
        image->count++;
    }
    else if (chunk->refs > 1)
    {
        chunk = simdev_chunk_new(chunk);
        simdev_chunk_put(slot->chunk);
        slot->chunk = chunk;
    }
    return chunk;
}

void simdev_image_read(const struct simdev_image *image, void *buf, size_t len, uint64_t offset)
{
    for (uint8_t *to = buf; len > 0;)
    {
        size_t in_chunk = (size_t)(offset % SIMDEV_CHUNK_BYTES);
        size_t part = (size_t)min_u64(len, SIMDEV_CHUNK_BYTES - in_chunk);
        const struct simdev_chunk *chunk = NULL;
        if (image->capacity > 0)
            chunk = image->slots[simdev_image_find(image, offset / SIMDEV_CHUNK_BYTES)].chunk;
        if (chunk)
            memcpy(to, chunk->bytes + in_chunk, part);
        else
            memset(to, 0, part);
        to += part;
        offset += part;
        len -= part;
    }
}

void simdev_image_write(struct simdev_image *image, const void *bytes, size_t len, uint64_t offset)
{
    for (const uint8_t *from = bytes; len > 0;)
    {
        size_t in_chunk = (size_t)(offset % SIMDEV_CHUNK_BYTES);
        size_t part = (size_t)min_u64(len, SIMDEV_CHUNK_BYTES - in_chunk);
        uint8_t *to = simdev_image_own_chunk(image, offset / SIMDEV_CHUNK_BYTES)->bytes + in_chunk;
        if (from)
            memcpy(to, from, part);
        else
            memset(to, 0, part);
        from = from ? from + part : NULL;
        offset += part;
        len -= part;
    }
}

void simdev_image_copy(struct simdev_image *to, const struct simdev_image *from)
{
    struct simdev_image copy = *from;
    copy.slots = calloc(from->capacity + 1, sizeof(*copy.slots));
    INVARIANT(copy.slots != NULL);
    for (size_t i = 0; i < from->capacity; i++)
    {
        copy.slots[i] = from->slots[i];
        if (copy.slots[i].chunk)
            copy.slots[i].chunk->refs++;
    }
    simdev_image_destroy(to);
    *to = copy;
}

void simdev_image_destroy(struct simdev_image *image)
{
    for (size_t i = 0; i < image->capacity; i++)
    {
        if (image->slots[i].chunk)
            simdev_chunk_put(image->slots[i].chunk);
    }
    free(image->slots);
    *image = (struct simdev_image){0};
}
