/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: nbdkit's data callbacks on an open export.
 *
 * Each returns 0, or -1 with errno set to what nbd_error.h makes of the engine's error. nbdkit has
 * checked the range against the size at connect and, for writers, that the export is writable;
 * the engine checks again against the size of now. Called by many threads at once.
 */
#ifndef PLUGIN_IO_H
#define PLUGIN_IO_H

#include <stdint.h>

struct nbdkit_extents;

int io_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags);
int io_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags);
int io_flush(void *handle, uint32_t flags);
int io_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
int io_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
int io_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
               struct nbdkit_extents *extents);
int io_cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags);

#endif
