/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/reader.h"

#include <stdlib.h>
#include <string.h>

#include "lun/base/endian.h"

const void *reader_bytes(struct reader *reader, size_t len)
{
    if (reader->failed || (size_t)(reader->end - reader->at) < len)
    {
        reader->failed = true;
        return NULL;
    }
    const void *bytes = reader->at;
    reader->at += len;
    return bytes;
}

uint8_t reader_u8(struct reader *reader)
{
    const uint8_t *bytes = reader_bytes(reader, 1);
    return bytes ? *bytes : 0;
}

#define DEFINE_READ(name, type, get)                                                               \
    type reader_##name(struct reader *reader)                                                      \
    {                                                                                              \
        const void *bytes = reader_bytes(reader, sizeof(struct name));                             \
        if (!bytes)                                                                                \
            return 0;                                                                              \
        struct name value;                                                                         \
        memcpy(&value, bytes, sizeof(value));                                                      \
        return get(value);                                                                         \
    }

DEFINE_READ(le16, uint16_t, le16_get)
DEFINE_READ(le32, uint32_t, le32_get)
DEFINE_READ(le64, uint64_t, le64_get)
DEFINE_READ(be16, uint16_t, be16_get)
DEFINE_READ(be32, uint32_t, be32_get)
DEFINE_READ(be64, uint64_t, be64_get)

void *writer_room(struct writer *writer, size_t len)
{
    if (writer->failed)
        return NULL;
    if (len > SIZE_MAX / 2 - writer->len)
    {
        writer->failed = true; /* doubling would wrap */
        return NULL;
    }
    if (!writer->bytes || writer->capacity - writer->len < len)
    {
        size_t capacity = writer->capacity ? writer->capacity : 256;
        while (capacity - writer->len < len)
            capacity *= 2;
        uint8_t *bytes = realloc(writer->bytes, capacity);
        if (!bytes)
        {
            writer->failed = true;
            return NULL;
        }
        writer->bytes = bytes;
        writer->capacity = capacity;
    }
    void *room = writer->bytes + writer->len;
    writer->len += len;
    return room;
}

void writer_bytes(struct writer *writer, const void *bytes, size_t len)
{
    void *room = writer_room(writer, len);
    if (room && len)
        memcpy(room, bytes, len);
}

void writer_u8(struct writer *writer, uint8_t value)
{
    writer_bytes(writer, &value, 1);
}

void writer_le16(struct writer *writer, uint16_t value)
{
    struct le16 v = le16_put(value);
    writer_bytes(writer, &v, sizeof(v));
}

void writer_le32(struct writer *writer, uint32_t value)
{
    struct le32 v = le32_put(value);
    writer_bytes(writer, &v, sizeof(v));
}

void writer_le64(struct writer *writer, uint64_t value)
{
    struct le64 v = le64_put(value);
    writer_bytes(writer, &v, sizeof(v));
}

void writer_destroy(struct writer *writer)
{
    free(writer->bytes);
    *writer = (struct writer){0};
}
