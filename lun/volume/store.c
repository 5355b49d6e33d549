/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration store: small named values, changed together, durable on return. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/map/change.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"

static int store_check(const struct store_change *change, struct reason *why)
{
    size_t len = strlen(change->key);
    if (len == 0 || len > STORE_KEY_MAX)
        return reason_set(why, -EINVAL, "a configuration key has 1 to %d bytes, not %zu",
                          STORE_KEY_MAX, len);
    if (change->value && change->len > STORE_VALUE_MAX)
        return reason_set(why, -EINVAL,
                          "configuration '%s' has %zu bytes, more than the %d allowed", change->key,
                          change->len, STORE_VALUE_MAX);
    return 0;
}

/* Ids of keys that are new in this very command: a key may come twice. */
struct store_ids
{
    const struct store_change *changes;
    uint64_t *ids; /* 0: deleted or not there */
};

static uint64_t store_present_id(struct pool *pool, const struct store_ids *ids, size_t i)
{
    for (size_t before = i; before-- > 0;)
    {
        if (strcmp(ids->changes[before].key, ids->changes[i].key) == 0)
            return ids->ids[before];
    }
    struct store_object *store = catalog_find_store(pool, ids->changes[i].key);
    return store ? store->object.id : 0;
}

static void store_put_action(struct writer *writer, uint64_t id, const struct store_change *change)
{
    struct writer bytes = {0};
    size_t key_len = strlen(change->key);
    writer_le16(&bytes, (uint16_t)key_len);
    writer_le16(&bytes, (uint16_t)change->len);
    writer_bytes(&bytes, change->key, key_len);
    writer_bytes(&bytes, change->value, change->len);
    if (bytes.failed)
        writer->failed = true;
    else
        action_put(writer, DISK_OBJECT_STORE, id, bytes.bytes, bytes.len);
    writer_destroy(&bytes);
}

/* The actions of @changes. *is_growing: they take room. */
static int store_add(struct pool *pool, const struct store_change *changes, size_t count,
                     struct writer *writer, bool *is_growing)
{
    *is_growing = false;
    AUTO_FREE uint64_t *id_array = calloc(count ? count : 1, sizeof(*id_array));
    if (!id_array)
        return -ENOMEM;
    struct store_ids ids = {.changes = changes, .ids = id_array};
    for (size_t i = 0; i < count; i++)
    {
        uint64_t id = store_present_id(pool, &ids, i);
        if (!changes[i].value)
        {
            if (id)
                action_delete(writer, id);
            continue;
        }
        const struct store_object *present = catalog_find_store(pool, changes[i].key);
        *is_growing |= !present || present->value_len < changes[i].len;
        ids.ids[i] = id ? id : pool->next_id++;
        store_put_action(writer, ids.ids[i], &changes[i]);
    }
    return writer->failed ? -ENOMEM : 0;
}

int store_also_add(struct pool *pool, const struct store_also *also, uint64_t id,
                   struct writer *writer, struct reason *why)
{
    enum
    {
        ALSO_MAX = 3
    };
    char keys[ALSO_MAX][STORE_KEY_MAX + 1];
    struct store_change changes[ALSO_MAX];
    bool is_growing;
    INVARIANT(also->count <= ALSO_MAX);
    for (size_t i = 0; i < also->count; i++)
    {
        const char *key = also->changes[i].key;
        changes[i] = also->changes[i];
        if (!*key || key[strlen(key) - 1] != '/')
            continue;
        snprintf(keys[i], sizeof(keys[i]), "%s%016" PRIx64, key, id);
        changes[i].key = keys[i];
    }
    for (size_t i = 0; i < also->count; i++)
    {
        int r = store_check(&changes[i], why);
        if (r < 0)
            return r;
    }
    return store_add(pool, changes, also->count, writer, &is_growing);
}

int store_apply_locked(struct pool *pool, const struct store_change *changes, size_t count,
                       struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    bool is_growing;
    int r = store_add(pool, changes, count, &writer, &is_growing);
    if (r < 0)
        return r;
    if (writer.len == 0 || command_is_dry())
        return 0;
    /* Deletes must have room whatever else there is, and they may have to change what is here. */
    r = change_run_waiting(pool, CHANGE_MANAGEMENT, NULL, writer.bytes, writer.len,
                           is_growing ? SPACE_SETTINGS : SPACE_FREEING);
    if (r < 0)
        reason_set(why, r, "the configuration could not be stored: %s", strerror(-r));
    return r;
}

int store_apply(struct pool *pool, const struct store_change *changes, size_t count,
                struct reason *why)
{
    reason_clear(why);
    int r = pool_may_change(pool);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = store_check(&changes[i], why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = store_apply_locked(pool, changes, count, why);
    }
    return r < 0 ? r : journal_commit(pool->journal);
}

int store_get(struct pool *pool, const char *key, void **value, size_t *len)
{
    rwlock_take_shared(&pool->catalog_lock);
    struct store_object *store = catalog_find_store(pool, key);
    uint8_t *copy = store ? malloc(store->value_len + 1u) : NULL;
    int r = !store ? -ENOENT : copy ? 0 : -ENOMEM;
    if (r == 0)
    {
        memcpy(copy, store->value, store->value_len + 1u);
        *len = store->value_len;
        *value = copy;
    }
    rwlock_release(&pool->catalog_lock);
    return r;
}

struct store_copy
{
    char *key;
    uint8_t *value;
    size_t len;
};

static int compare_copies(const void *a, const void *b)
{
    return strcmp(((const struct store_copy *)a)->key, ((const struct store_copy *)b)->key);
}

static void store_copies_free(struct store_copy *copies, size_t count)
{
    for (size_t i = 0; i < count; i++)
    {
        free(copies[i].key);
        free(copies[i].value);
    }
    free(copies);
}

/* With catalog_lock held. */
static int store_copy_all(struct pool *pool, const char *prefix, struct store_copy **out,
                          size_t *count)
{
    struct store_copy *copies = calloc(pool->store_by_key.count + 1, sizeof(*copies));
    size_t n = 0;
    if (!copies)
        return -ENOMEM;
    for (size_t i = 0; i < pool->store_by_key.bucket_count; i++)
    {
        for (struct hash_link *link = pool->store_by_key.buckets[i]; link; link = link->next)
        {
            struct store_object *store = container_of(link, struct store_object, by_name);
            if (strncmp(store->key, prefix, strlen(prefix)) != 0)
                continue;
            struct store_copy *copy = &copies[n++];
            copy->key = strdup(store->key);
            copy->value = malloc(store->value_len + 1u);
            copy->len = store->value_len;
            if (!copy->key || !copy->value)
            {
                store_copies_free(copies, n);
                return -ENOMEM;
            }
            memcpy(copy->value, store->value, store->value_len + 1u);
        }
    }
    *out = copies;
    *count = n;
    return 0;
}

int store_list(struct pool *pool, const char *prefix, store_each_fn *each, void *opaque)
{
    struct store_copy *copies = NULL;
    size_t count = 0;
    rwlock_take_shared(&pool->catalog_lock);
    int r = store_copy_all(pool, prefix, &copies, &count);
    rwlock_release(&pool->catalog_lock);
    if (r < 0)
        return r;
    qsort(copies, count, sizeof(*copies), compare_copies);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = each(opaque, copies[i].key, copies[i].value, copies[i].len);
    store_copies_free(copies, count);
    return r;
}
