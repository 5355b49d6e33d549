/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent reservations in the pool's store.
 *
 * A state is one byte string, cut into values of the store: "scsi/pr/ID/0", "scsi/pr/ID/1" and so
 * on. All of them change in one step. Only what APTPL asks to keep is there; the generation starts
 * anew.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/reader.h"
#include "server/scsi/pr.h"

enum
{
    PR_STORE_VERSION = 1,
    PR_CHUNK_BYTES = 3000,
    PR_CHUNKS_MAX = 64,
    PR_KEY_BYTES = 64,
};

static void pr_encode(const struct pr_state *state, struct writer *writer)
{
    writer_u8(writer, PR_STORE_VERSION);
    writer_u8(writer, state->type);
    writer_le32(writer, state->holder);
    writer_le32(writer, state->count);
    for (uint32_t i = 0; i < state->count; i++)
    {
        const struct pr_registration *registration = &state->list[i];
        size_t name_len = strlen(registration->port.name);
        writer_le64(writer, registration->key);
        writer_bytes(writer, registration->port.isid, sizeof(registration->port.isid));
        writer_le16(writer, registration->port.target_port);
        writer_u8(writer, (uint8_t)name_len);
        writer_bytes(writer, registration->port.name, name_len);
    }
}

static bool pr_decode_registration(struct reader *reader, struct pr_registration *registration)
{
    registration->key = reader_le64(reader);
    const void *isid = reader_bytes(reader, sizeof(registration->port.isid));
    registration->port.target_port = reader_le16(reader);
    size_t name_len = reader_u8(reader);
    const void *name = reader_bytes(reader, name_len);
    if (reader->failed || name_len > PR_NAME_MAX)
        return false;
    memcpy(registration->port.isid, isid, sizeof(registration->port.isid));
    memcpy(registration->port.name, name, name_len);
    return true;
}

static int pr_decode(const uint8_t *bytes, size_t len, struct pr_state *state)
{
    struct reader reader = reader_of(bytes, len);
    uint8_t version = reader_u8(&reader);
    uint8_t type = reader_u8(&reader);
    uint32_t holder = reader_le32(&reader);
    uint32_t count = reader_le32(&reader);
    if (reader.failed || version != PR_STORE_VERSION || count > PR_REGISTRATIONS_MAX)
        return -EBADMSG;
    bool single = type != PR_NONE && !pr_type_all_registrants(type);
    if ((type != PR_NONE && !pr_type_valid(type)) || (type != PR_NONE && count == 0) ||
        (single ? holder >= count : holder != PR_NO_HOLDER))
        return -EBADMSG;
    AUTO_FREE struct pr_registration *list = calloc(count + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        if (!pr_decode_registration(&reader, &list[i]))
            return -EBADMSG;
    pr_state_clear(state);
    *state = (struct pr_state){.type = type,
                               .holder = holder,
                               .is_persistent = true,
                               .list = take_ptr(&list),
                               .count = count};
    return 0;
}

static void pr_store_key(uint64_t lun_id, uint32_t chunk, char *key)
{
    snprintf(key, PR_KEY_BYTES, PR_STORE_PREFIX "%016" PRIx64 "/%u", lun_id, chunk);
}

static int pr_count_key(void *opaque, const char *key, const void *value, size_t len)
{
    (void)key;
    (void)value;
    (void)len;
    uint32_t *count = opaque;
    (*count)++;
    return 0;
}

int pr_store(struct pool *pool, uint64_t lun_id, const struct pr_state *state)
{
    char prefix[PR_KEY_BYTES];
    snprintf(prefix, sizeof(prefix), PR_STORE_PREFIX "%016" PRIx64 "/", lun_id);
    uint32_t stored = 0;
    int r = store_list(pool, prefix, pr_count_key, &stored);
    if (r < 0)
        return r;
    AUTO_WRITER struct writer writer = {0};
    if (state->is_persistent)
        pr_encode(state, &writer);
    if (writer.failed)
        return -ENOMEM;
    uint32_t chunks = (uint32_t)((writer.len + PR_CHUNK_BYTES - 1) / PR_CHUNK_BYTES);
    uint32_t count = chunks > stored ? chunks : stored;
    if (count == 0)
        return 0;
    if (count > PR_CHUNKS_MAX)
        return -ENOSPC;
    char keys[PR_CHUNKS_MAX][PR_KEY_BYTES];
    struct store_change changes[PR_CHUNKS_MAX];
    for (uint32_t i = 0; i < count; i++)
    {
        size_t at = (size_t)i * PR_CHUNK_BYTES;
        pr_store_key(lun_id, i, keys[i]);
        changes[i] = (struct store_change){.key = keys[i]};
        if (i >= chunks)
            continue;
        changes[i].value = writer.bytes + at;
        changes[i].len = writer.len - at < PR_CHUNK_BYTES ? writer.len - at : PR_CHUNK_BYTES;
    }
    return store_apply(pool, changes, count, NULL);
}

struct pr_listing
{
    int (*each)(void *opaque, uint64_t lun_id, uint8_t type);
    void *opaque;
};

/* The first chunk of a state has its type. */
static int pr_list_key(void *opaque, const char *key, const void *value, size_t len)
{
    const struct pr_listing *listing = opaque;
    const uint8_t *bytes = value;
    char *end;
    uint64_t lun_id = strtoull(key + strlen(PR_STORE_PREFIX), &end, 16);
    if (strcmp(end, "/0") != 0)
        return 0;
    bool is_known = len >= 2 && bytes[0] == PR_STORE_VERSION;
    return listing->each(listing->opaque, lun_id, is_known ? bytes[1] : UINT8_MAX);
}

int pr_list_stored(struct pool *pool, int (*each)(void *opaque, uint64_t lun_id, uint8_t type),
                   void *opaque)
{
    struct pr_listing listing = {.each = each, .opaque = opaque};
    return store_list(pool, PR_STORE_PREFIX, pr_list_key, &listing);
}

int pr_load(struct pool *pool, uint64_t lun_id, struct pr_state *state)
{
    AUTO_WRITER struct writer writer = {0};
    for (uint32_t i = 0; i < PR_CHUNKS_MAX; i++)
    {
        char key[PR_KEY_BYTES];
        pr_store_key(lun_id, i, key);
        AUTO_FREE void *value = NULL;
        size_t len = 0;
        int r = store_get(pool, key, &value, &len);
        if (r == -ENOENT)
            break;
        if (r < 0)
            return r;
        writer_bytes(&writer, value, len);
    }
    if (writer.failed)
        return -ENOMEM;
    if (writer.len == 0)
        return 0;
    return pr_decode(writer.bytes, writer.len, state);
}
