/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A damaged pool: opened, checked, dumped, read and changed.
 *
 * The first byte says which image of pool_image.h it is (bits 0-1), whether checksums stay wrong
 * where something was changed (bit 2), and whether the pool is changed after it was looked at (bit
 * 3). Then come records of what is done to the image's metadata: a kind (one byte), a block of the
 * image (one byte), an offset (two bytes, modulo what is in use of the block), and
 *
 *   0 set     length - 1 (bits 0-3 of a byte), and these bytes
 *   1 add     width (a byte), a signed number (a byte): to a little-endian number there
 *   2 copy    length (a byte), block (a byte), offset (two bytes): from there
 *   3 replace block (a byte): the whole block; at an odd offset it says that it is meant for here
 *   4 spoil   a byte: what the rest of the block becomes; its checksum is not put right
 */
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "lun/base/reader.h"
#include "lun/pool/format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pool_image.h"

enum damage
{
    DAMAGE_SET,
    DAMAGE_ADD,
    DAMAGE_COPY,
    DAMAGE_REPLACE,
    DAMAGE_SPOIL,
    DAMAGES,
};

enum
{
    FUZZ_RECORDS_MAX = 64
};

/* A place in a block: how many bytes there are from it on. */
struct place
{
    uint8_t *at;
    size_t left;
};

static struct place fuzz_place(struct pool_copy *copy, struct reader *reader, unsigned *index)
{
    unsigned used;
    *index = reader_u8(reader);
    unsigned offset = reader_le16(reader);
    uint8_t *block = pool_copy_block(copy, *index, &used);
    offset %= used;
    return (struct place){.at = block + offset, .left = BLK_BYTES - offset};
}

static void fuzz_set(struct place to, struct reader *reader)
{
    size_t len = (reader_u8(reader) & 15) + 1u;
    const void *from = reader_bytes(reader, len);
    if (from)
        memcpy(to.at, from, min_u64(len, to.left));
}

static void fuzz_add(struct place to, struct reader *reader)
{
    static const uint8_t widths[] = {1, 2, 4, 5, 6, 8};
    size_t width = widths[reader_u8(reader) % ARRAY_SIZE(widths)];
    int8_t delta = (int8_t)reader_u8(reader);
    uint64_t number = 0;
    if (width > to.left)
        return;
    for (size_t i = width; i-- > 0;)
        number = number << 8 | to.at[i];
    number += (uint64_t)(int64_t)delta;
    for (size_t i = 0; i < width; i++, number >>= 8)
        to.at[i] = (uint8_t)number;
}

static void fuzz_copy(struct pool_copy *copy, struct place to, struct reader *reader)
{
    unsigned index;
    size_t len = reader_u8(reader);
    struct place from = fuzz_place(copy, reader, &index);
    memmove(to.at, from.at, min_u64(len, min_u64(from.left, to.left)));
}

static void fuzz_replace(struct pool_copy *copy, struct place to, struct reader *reader)
{
    unsigned used;
    const uint8_t *from = pool_copy_block(copy, reader_u8(reader), &used);
    uint8_t *block = to.at - (BLK_BYTES - to.left);
    struct disk_header header;
    memcpy(&header, block, sizeof(header));
    memmove(block, from, BLK_BYTES);
    if (to.left % 2 != 0)
        memcpy(block, &header, sizeof(header));
}

static void fuzz_damage(struct pool_copy *copy, struct reader *reader)
{
    unsigned index, kind = reader_u8(reader) % DAMAGES;
    struct place to = fuzz_place(copy, reader, &index);
    switch ((enum damage)kind)
    {
    case DAMAGE_SET:
        fuzz_set(to, reader);
        break;
    case DAMAGE_ADD:
        fuzz_add(to, reader);
        break;
    case DAMAGE_COPY:
        fuzz_copy(copy, to, reader);
        break;
    case DAMAGE_REPLACE:
        fuzz_replace(copy, to, reader);
        break;
    case DAMAGE_SPOIL:
        memset(to.at, reader_u8(reader), to.left);
        pool_copy_spoil(copy, index);
        break;
    case DAMAGES:
        break;
    }
}

static void fuzz_log(enum log_level level, const char *text)
{
    (void)level, (void)text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    log_set_sink(fuzz_log);
    uint8_t choice = reader_u8(&reader);
    struct pool_copy *copy = pool_copy_new(pool_image((choice & 3) % POOL_IMAGES));
    for (unsigned i = 0; i < FUZZ_RECORDS_MAX && reader_left(&reader) > 0; i++)
        fuzz_damage(copy, &reader);
    if (!(choice & 4))
        pool_copy_seal(copy);
    struct simdev *disk = pool_copy_disk(copy);
    pool_copy_free(copy);
    pool_image_use(disk, choice & 8);
    return 0;
}
