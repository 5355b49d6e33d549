/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of a journal: replayed as a crash would have left them, then the pool is looked at.
 *
 * The first byte says which image of pool_image.h they follow on (bits 0-1), whether the batch is
 * to be verified by its data (bit 2), whether records that are not whole count (bit 3), and whether
 * the pool is changed afterwards (bit 4). Each record is two bytes of length, a count of nodes,
 * the actions, and the nodes' blocks, two bytes each.
 */
#include "lun/base/log.h"
#include "lun/base/reader.h"
#include "lun/pool/format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pool_image.h"

/* False: there is no more. */
static bool fuzz_record(struct reader *reader, uint64_t seq, struct writer *payload)
{
    size_t len = reader_le16(reader);
    unsigned node_count = reader_u8(reader);
    len = len < reader_left(reader) ? len : reader_left(reader);
    const uint8_t *actions = reader_bytes(reader, len);
    if (!actions)
        return false;
    writer_le32(payload, (uint32_t)len);
    writer_le32(payload, node_count);
    writer_le64(payload, seq);
    writer_bytes(payload, actions, len);
    for (unsigned i = 0; i < node_count; i++)
        writer_le64(payload, reader_le16(reader));
    return true;
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
    struct writer payload = {0};
    uint64_t records = 0, seq = pool_copy_next_seq(copy);
    while (reader_left(&reader) > 0 && fuzz_record(&reader, seq + records, &payload))
        records++;
    if (choice & 8)
        writer_bytes(&payload, "cut off", 7);
    if (records > 0 &&
        pool_copy_add_batch(copy, &payload, records, choice & 4 ? DISK_BATCH_VERIFY : 0))
        pool_image_use(pool_copy_disk(copy), choice & 16);
    writer_destroy(&payload);
    pool_copy_free(copy);
    return 0;
}
