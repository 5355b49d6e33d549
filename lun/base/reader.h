/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounded parsing and building of byte strings.
 *
 * A reader remembers its first error (a read past the end) and returns zeros from then on, so a
 * parser checks once, at the end. A writer grows its own buffer and remembers ENOMEM likewise.
 */
#ifndef LUN_BASE_READER_H
#define LUN_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

struct reader
{
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

/* @bytes may be NULL if there are none. */
static inline struct reader reader_of(const void *bytes, size_t len)
{
    return (struct reader){.at = bytes, .end = bytes ? (const uint8_t *)bytes + len : NULL};
}

/* The next @len bytes, in place, or NULL. */
const void *reader_bytes(struct reader *reader, size_t len);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_le16(struct reader *reader);
uint32_t reader_le32(struct reader *reader);
uint64_t reader_le64(struct reader *reader);
uint16_t reader_be16(struct reader *reader);
uint32_t reader_be32(struct reader *reader);
uint64_t reader_be64(struct reader *reader);

static inline size_t reader_left(const struct reader *reader)
{
    return reader->failed ? 0 : (size_t)(reader->end - reader->at);
}

struct writer
{
    uint8_t *bytes; /* owned; free with writer_destroy() */
    size_t len;
    size_t capacity;
    bool failed;
};

/* Room for @len more bytes, uninitialised, or NULL. */
void *writer_room(struct writer *writer, size_t len);
void writer_bytes(struct writer *writer, const void *bytes, size_t len);
void writer_u8(struct writer *writer, uint8_t value);
void writer_le16(struct writer *writer, uint16_t value);
void writer_le32(struct writer *writer, uint32_t value);
void writer_le64(struct writer *writer, uint64_t value);
void writer_destroy(struct writer *writer);
#define AUTO_WRITER CLEANUP(writer_destroy)

#endif
