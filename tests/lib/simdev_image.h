/* SPDX-License-Identifier: BSD-3-Clause */
/* A sparse array of bytes for the simulated device: zeros where nothing was written. */
#ifndef TESTS_LIB_SIMDEV_IMAGE_H
#define TESTS_LIB_SIMDEV_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum
{
    SIMDEV_CHUNK_BYTES = 64 << 10
};

/* Chunks are shared by images that were copied, and copied when one of them is written. */
struct simdev_chunk
{
    unsigned refs;
    uint8_t bytes[SIMDEV_CHUNK_BYTES];
};

struct simdev_slot
{
    uint64_t index;
    struct simdev_chunk *chunk; /* NULL: the slot is free */
};

/* Open addressing; a zeroed one is empty. */
struct simdev_image
{
    struct simdev_slot *slots;
    size_t capacity, count;
};

void simdev_image_read(const struct simdev_image *image, void *buf, size_t len, uint64_t offset);
/* @bytes NULL: zeros. */
void simdev_image_write(struct simdev_image *image, const void *bytes, size_t len, uint64_t offset);
/* @to takes the content of @from; what it held is released. */
void simdev_image_copy(struct simdev_image *to, const struct simdev_image *from);
void simdev_image_destroy(struct simdev_image *image);

#endif
