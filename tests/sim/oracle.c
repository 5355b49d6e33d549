/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/oracle.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/lib/rng.h"

#define ORACLE_MAGIC "SIMS"

/* ---- sectors */

/* Magic, version, sector number; the rest are 64-bit words that follow from the last two. */
struct oracle_sector
{
    char magic[4];
    uint32_t version;
    uint64_t sector;
    uint64_t words[ORACLE_SECTOR_BYTES / 8 - 2];
};
static_assert(sizeof(struct oracle_sector) == ORACLE_SECTOR_BYTES, "a sector");

/* Cheap, since most of the time of a simulated crash would go into these words. */
static uint64_t oracle_first_word(uint32_t version, uint64_t sector)
{
    struct rng rng = rng_of(((uint64_t)version << 32) + sector);
    return rng_next(&rng);
}

static const uint64_t ORACLE_WORD_STEP = UINT64_C(0x9e3779b97f4a7c15);

void oracle_fill(uint8_t bytes[ORACLE_SECTOR_BYTES], uint32_t version, uint64_t sector)
{
    struct oracle_sector wanted = {.version = version, .sector = sector};
    memset(bytes, 0, ORACLE_SECTOR_BYTES);
    if (version == 0)
        return;
    memcpy(wanted.magic, ORACLE_MAGIC, sizeof(wanted.magic));
    uint64_t first = oracle_first_word(version, sector);
    for (uint64_t i = 0; i < ARRAY_SIZE(wanted.words); i++)
        wanted.words[i] = first + i * ORACLE_WORD_STEP;
    memcpy(bytes, &wanted, sizeof(wanted));
}

static bool oracle_is_version(const uint8_t *bytes, uint32_t version, uint64_t sector)
{
    struct oracle_sector found;
    uint64_t wrong = 0;
    memcpy(&found, bytes, sizeof(found));
    if (version == 0)
    {
        static const uint8_t zeros[ORACLE_SECTOR_BYTES];
        return memcmp(bytes, zeros, sizeof(zeros)) == 0;
    }
    if (memcmp(found.magic, ORACLE_MAGIC, sizeof(found.magic)) != 0 || found.version != version ||
        found.sector != sector)
        return false;
    uint64_t first = oracle_first_word(version, sector);
    for (uint64_t i = 0; i < ARRAY_SIZE(found.words); i++)
        wrong |= found.words[i] ^ (first + i * ORACLE_WORD_STEP);
    return wrong == 0;
}

/* What a sector that nobody expected seems to be. */
static void oracle_describe(const uint8_t *bytes, char *text, size_t size)
{
    uint32_t version;
    uint64_t sector;
    memcpy(&version, bytes + 4, sizeof(version));
    memcpy(&sector, bytes + 8, sizeof(sector));
    bool is_stamped = memcmp(bytes, ORACLE_MAGIC, 4) == 0;
    if (is_stamped && oracle_is_version(bytes, version, sector))
        snprintf(text, size, "version %" PRIu32 " of sector %" PRIu64, version, sector);
    else if (is_stamped)
        snprintf(text, size, "a mixture that begins as version %" PRIu32 " of sector %" PRIu64,
                 version, sector);
    else if (oracle_is_version(bytes, 0, 0))
        snprintf(text, size, "zeros");
    else
        snprintf(text, size, "foreign bytes %02x %02x %02x %02x %02x %02x %02x %02x", bytes[0],
                 bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]);
}

/* ---- objects */

void oracle_assign(struct oracle *to, const struct oracle *from)
{
    memcpy(to, from,
           offsetof(struct oracle, pending) + from->pending_count * sizeof(from->pending[0]));
}

struct oracle_object *oracle_find(struct oracle *oracle, const char *name)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        if (oracle->objects[i].name[0] && strcmp(oracle->objects[i].name, name) == 0)
            return &oracle->objects[i];
    }
    return NULL;
}

struct oracle_object *oracle_add(struct oracle *oracle, const char *name, uint32_t sectors)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        if (object->name[0])
            continue;
        *object = (struct oracle_object){.sectors = sectors, .age = oracle->next_age++};
        snprintf(object->name, sizeof(object->name), "%s", name);
        return object;
    }
    return NULL;
}

/* Forgets what is pending for an object, from @sector on. */
static void oracle_forget(struct oracle *oracle, const struct oracle_object *object,
                          uint32_t sector)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < oracle->pending_count; i++)
    {
        const struct oracle_pending *pending = &oracle->pending[i];
        if (&oracle->objects[pending->object] != object || pending->sector < sector)
            oracle->pending[kept++] = *pending;
    }
    oracle->pending_count = kept;
}

/* Whether @name is a snapshot of @lun. */
static bool oracle_is_snapshot_of(const char *name, const char *lun)
{
    size_t len = strlen(lun);
    return strncmp(name, lun, len) == 0 && name[len] == '@';
}

void oracle_remove(struct oracle *oracle, const char *name)
{
    const struct oracle_object *lun = oracle_find(oracle, name);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        if (lun && object->is_member && object->lun_age == lun->age)
            object->lun_traits = oracle_traits_of(lun);
    }
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        if (strcmp(object->name, name) != 0 &&
            (object->is_member || !oracle_is_snapshot_of(object->name, name)))
            continue;
        oracle_forget(oracle, object, 0);
        object->name[0] = '\0';
    }
}

/* "v0/l1" -> "v0"; NULL: it is in no volume. */
static const char *oracle_volume_part(const char *name, char volume[ORACLE_NAME_BYTES])
{
    snprintf(volume, ORACLE_NAME_BYTES, "%.*s", (int)strcspn(name, "/"), name);
    return strchr(name, '/') ? volume : NULL;
}

void oracle_rename(struct oracle *oracle, const char *name, const char *new_name)
{
    char from[ORACLE_NAME_BYTES], to[ORACLE_NAME_BYTES];
    oracle_charge_move(oracle, oracle_find(oracle, name), oracle_volume_part(name, from),
                       oracle_volume_part(new_name, to));
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        bool is_snapshot = !object->is_member && oracle_is_snapshot_of(object->name, name);
        if (!is_snapshot && strcmp(object->name, name) != 0)
            continue;
        char old[ORACLE_NAME_BYTES];
        memcpy(old, object->name, sizeof(old));
        snprintf(object->name, sizeof(object->name), "%s%s", new_name,
                 is_snapshot ? old + strlen(name) : "");
    }
}

struct oracle_traits oracle_traits_of(const struct oracle_object *lun)
{
    struct oracle_traits traits = {
        .is_autodelete = lun->is_autodelete, .note = lun->note, .is_reserved = lun->is_reserved};
    memcpy(traits.owner, lun->owner, sizeof(traits.owner));
    memcpy(traits.group, lun->group, sizeof(traits.group));
    return traits;
}

void oracle_set_traits(struct oracle_object *lun, const struct oracle_traits *traits)
{
    lun->is_autodelete = traits->is_autodelete;
    lun->note = traits->note;
    lun->is_reserved = traits->is_reserved;
    memcpy(lun->owner, traits->owner, sizeof(lun->owner));
    memcpy(lun->group, traits->group, sizeof(lun->group));
}

/* What a clone has of the LUN that it is a clone of. A member's name says where that was, and not
 * where it is. */
static void oracle_inherit(struct oracle *oracle, struct oracle_object *clone, const char *source)
{
    char name[ORACLE_NAME_BYTES];
    const struct oracle_object *from = oracle_find(oracle, source);
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(source, "@"), source);
    const struct oracle_object *lun =
        from->is_member ? oracle_find_age(oracle, from->lun_age) : oracle_find(oracle, name);
    INVARIANT(lun || from->is_member);
    struct oracle_traits traits = lun ? oracle_traits_of(lun) : from->lun_traits;
    traits.is_autodelete = false;
    traits.note = 0;
    oracle_set_traits(clone, &traits);
}

struct oracle_object *oracle_copy(struct oracle *oracle, const char *source, const char *name)
{
    const struct oracle_object *from = oracle_find(oracle, source);
    INVARIANT(from != NULL);
    struct oracle_object *copy = oracle_add(oracle, name, from->sectors);
    if (!copy)
        return NULL;
    memcpy(copy->current, from->current, sizeof(copy->current));
    memcpy(copy->durable, from->current, sizeof(copy->durable));
    oracle_flush(oracle, source); /* its present state is now in a snapshot, or in a frozen point */
    if (!strchr(source, '@'))
        oracle_freeze(oracle_find(oracle, source));
    copy->head = (struct space_rules_head){.has_point = true, .point_blks = from->head.point_blks};
    copy->is_unchanged = true;
    if (!strchr(name, '@'))
        oracle_inherit(oracle, copy, source);
    return copy;
}

void oracle_restore(struct oracle *oracle, const char *lun, const char *snapshot)
{
    struct oracle_object *to = oracle_find(oracle, lun);
    const struct oracle_object *from = oracle_find(oracle, snapshot);
    INVARIANT(to && from);
    oracle_forget(oracle, to, 0);
    memcpy(to->current, from->current, sizeof(to->current));
    memcpy(to->durable, from->durable, sizeof(to->durable));
    to->sectors = from->sectors;
    to->head = (struct space_rules_head){.has_point = true, .point_blks = from->head.point_blks};
    to->is_unchanged = true;
    to->tail_sectors = 0;
}

void oracle_resize(struct oracle *oracle, const char *name, uint32_t sectors)
{
    struct oracle_object *object = oracle_find(oracle, name);
    INVARIANT(object && sectors <= ORACLE_SECTORS_MAX);
    if (sectors < object->sectors)
    {
        oracle_forget(oracle, object, sectors);
        for (uint32_t i = sectors; i < object->sectors; i++)
            object->current[i] = object->durable[i] = 0;
    }
    object->sectors = sectors;
}

void oracle_write(struct oracle *oracle, const char *name, uint32_t sector, uint32_t count,
                  const uint32_t *versions, bool is_atomic)
{
    struct oracle_object *object = oracle_find(oracle, name);
    INVARIANT(object && sector + count <= object->sectors);
    uint32_t group = is_atomic ? ++oracle->next_group : 0;
    for (uint32_t i = 0; i < count; i++)
    {
        INVARIANT(oracle->pending_count < ORACLE_PENDING_MAX);
        object->current[sector + i] = versions ? versions[i] : 0;
        oracle->pending[oracle->pending_count++] = (struct oracle_pending){
            .object = (uint16_t)(object - oracle->objects),
            .sector = (uint16_t)(sector + i),
            .version = object->current[sector + i],
            .group = group,
        };
    }
}

void oracle_write_in_part(struct oracle *oracle, const char *name, uint32_t sector, uint32_t count,
                          const bool *is_done, const uint32_t *old)
{
    struct oracle_object *object = oracle_find(oracle, name);
    INVARIANT(object && oracle->pending_count >= count);
    uint32_t first = oracle->pending_count - count, kept = first;
    for (uint32_t i = 0; i < count; i++)
    {
        if (is_done[i])
            oracle->pending[kept++] = oracle->pending[first + i];
        else
            object->current[sector + i] = old[i];
    }
    oracle->pending_count = kept;
}

void oracle_flush(struct oracle *oracle, const char *name)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        if (!object->name[0] || (name && strcmp(object->name, name) != 0))
            continue;
        memcpy(object->durable, object->current, sizeof(object->durable));
        if (name)
            oracle_forget(oracle, object, 0);
    }
    if (!name)
        oracle->pending_count = 0;
}

void oracle_flush_first(struct oracle *oracle, uint32_t count)
{
    INVARIANT(count <= oracle->pending_count);
    for (uint32_t i = 0; i < count; i++)
    {
        const struct oracle_pending *pending = &oracle->pending[i];
        oracle->objects[pending->object].durable[pending->sector] = pending->version;
    }
    memmove(oracle->pending, oracle->pending + count,
            (oracle->pending_count - count) * sizeof(oracle->pending[0]));
    oracle->pending_count -= count;
}

void oracle_note_text(uint32_t note, char text[16])
{
    text[0] = '\0';
    if (note != 0)
        snprintf(text, 16, "note %" PRIu32, note);
}

void oracle_store_key(unsigned key, char text[16])
{
    snprintf(text, 16, "key/%u", key);
}

/* ---- comparison */

bool oracle_refuse(struct oracle_verdict *verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(verdict->text, sizeof(verdict->text), format, args);
    va_end(args);
    return false;
}

/* The version in @bytes, if the oracle allows it there. */
static bool oracle_recognise(const struct oracle *oracle, const struct oracle_object *object,
                             uint32_t sector, const uint8_t *bytes, bool exactly, uint32_t *version)
{
    *version = exactly ? object->current[sector] : object->durable[sector];
    if (oracle_is_version(bytes, *version, sector))
        return true;
    for (uint32_t i = 0; !exactly && i < oracle->pending_count; i++)
    {
        const struct oracle_pending *pending = &oracle->pending[i];
        *version = pending->version;
        if (&oracle->objects[pending->object] == object && pending->sector == sector &&
            oracle_is_version(bytes, *version, sector))
            return true;
    }
    return false;
}

bool oracle_allows(const struct oracle *oracle, const struct oracle_object *object, uint32_t sector,
                   const uint8_t bytes[ORACLE_SECTOR_BYTES])
{
    uint32_t version;
    return oracle_recognise(oracle, object, sector, bytes, false, &version);
}

bool oracle_once_wrote(const struct oracle *oracle, uint32_t sector,
                       const uint8_t bytes[ORACLE_SECTOR_BYTES])
{
    uint32_t version;
    memcpy(&version, bytes + offsetof(struct oracle_sector, version), sizeof(version));
    return version <= oracle->next_version && oracle_is_version(bytes, version, sector);
}

static bool oracle_fits_object(const struct oracle *oracle, struct pool *pool, bool exactly,
                               const struct oracle_object *object, uint32_t *found,
                               struct oracle_verdict *verdict)
{
    struct lun *lun = NULL;
    struct reason why;
    size_t len = (size_t)object->sectors * ORACLE_SECTOR_BYTES;
    AUTO_FREE uint8_t *bytes = malloc(len + 1);
    INVARIANT(bytes != NULL);
    int r = lun_open(pool, object->name, LUN_READ_ONLY, &lun, &why);
    if (r == 0)
        r = lun_read(lun, bytes, len, 0);
    lun_close(lun);
    if (r < 0)
        return oracle_refuse(verdict, "%s cannot be read: %s", object->name, strerror(-r));
    for (uint32_t i = 0; i < object->sectors; i++)
    {
        char text[128];
        const uint8_t *sector = bytes + (size_t)i * ORACLE_SECTOR_BYTES;
        if (oracle_recognise(oracle, object, i, sector, exactly, &found[i]))
            continue;
        oracle_describe(sector, text, sizeof(text));
        return oracle_refuse(verdict,
                             "%s: sector %" PRIu32 " holds %s; durable is version %" PRIu32
                             ", written was version %" PRIu32,
                             object->name, i, text, object->durable[i], object->current[i]);
    }
    return true;
}

/*
 * Each atomic write must be there as a whole or not at all. Sectors that were written again behind
 * it say nothing, nor do those of one that found the same version there.
 */
static bool oracle_fits_groups(const struct oracle *oracle, const struct oracle *observed,
                               struct oracle_verdict *verdict)
{
    for (uint32_t first = 0; first < oracle->pending_count; first++)
    {
        uint32_t group = oracle->pending[first].group;
        bool has_new = false;
        bool has_old = false;
        if (group == 0 || (first > 0 && oracle->pending[first - 1].group == group))
            continue;
        for (uint32_t i = first; i < oracle->pending_count && oracle->pending[i].group == group;
             i++)
        {
            const struct oracle_pending *pending = &oracle->pending[i];
            const struct oracle_object *object = &observed->objects[pending->object];
            if (oracle->objects[pending->object].current[pending->sector] != pending->version)
                continue;
            has_new |= object->current[pending->sector] == pending->version;
            has_old |= object->current[pending->sector] != pending->version;
        }
        if (has_new && has_old)
            return oracle_refuse(verdict, "%s: an atomic write at sector %u is there in part",
                                 oracle->objects[oracle->pending[first].object].name,
                                 oracle->pending[first].sector);
    }
    return true;
}

static bool oracle_fits_list(const struct oracle *oracle, struct pool *pool,
                             struct oracle_verdict *verdict)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    size_t wanted = 0;
    int r = lun_list(pool, NULL, &list, &count, NULL);
    if (r < 0)
        return oracle_refuse(verdict, "lun_list() gives %d", r);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &oracle->objects[i];
        size_t at = 0;
        if (!object->name[0])
            continue;
        wanted++;
        while (at < count && strcmp(list[at].name, object->name) != 0)
            at++;
        if (at == count)
            return oracle_refuse(verdict, "%s is not there", object->name);
        if (list[at].size_bytes != (uint64_t)object->sectors * ORACLE_SECTOR_BYTES)
            return oracle_refuse(verdict, "%s has %" PRIu64 " bytes instead of %" PRIu32 " sectors",
                                 object->name, list[at].size_bytes, object->sectors);
        char note[16];
        oracle_note_text(object->note, note);
        if (strcmp(list[at].comment, note) != 0)
            return oracle_refuse(verdict, "%s has the comment '%s' instead of '%s'", object->name,
                                 list[at].comment, note);
        if ((list[at].volume_snapshot_id != 0) != object->is_member ||
            list[at].is_autodelete != object->is_autodelete ||
            list[at].is_reserved != object->is_reserved ||
            strcmp(list[at].owner, object->owner) != 0 ||
            strcmp(list[at].group, object->group) != 0)
            return oracle_refuse(verdict, "%s has other attributes than it must have",
                                 object->name);
    }
    size_t at = 0;
    while (at < count && strcmp(list[at].name, ORACLE_FILLER) != 0)
        at++;
    if ((at < count) != oracle->has_filler)
        return oracle_refuse(verdict, "%s is %s", ORACLE_FILLER,
                             at < count ? "there" : "not there");
    wanted += oracle->has_filler;
    if (count != wanted)
        return oracle_refuse(verdict, "there are %zu objects instead of %zu", count, wanted);
    return true;
}

static bool oracle_fits_store(const struct oracle *oracle, struct pool *pool,
                              struct oracle_verdict *verdict)
{
    for (unsigned i = 0; i < ORACLE_KEYS; i++)
    {
        char key[16];
        AUTO_FREE void *value = NULL;
        size_t len = 0;
        uint32_t found = 0;
        oracle_store_key(i, key);
        int r = store_get(pool, key, &value, &len);
        if (r == 0 && len >= sizeof(found))
            memcpy(&found, value, sizeof(found));
        if ((r < 0 && r != -ENOENT) || found != oracle->store[i])
            return oracle_refuse(verdict, "'%s' is %" PRIu32 " instead of %" PRIu32 " (%d)", key,
                                 found, oracle->store[i], r);
    }
    return true;
}

bool oracle_fits(const struct oracle *oracle, struct pool *pool, bool exactly,
                 struct oracle *observed, struct oracle_verdict *verdict)
{
    verdict->text[0] = '\0';
    if (!oracle_fits_list(oracle, pool, verdict) || !oracle_fits_volumes(oracle, pool, verdict) ||
        !oracle_fits_store(oracle, pool, verdict) || !oracle_fits_quotas(oracle, pool, verdict))
        return false;
    AUTO_FREE struct oracle *found = malloc(sizeof(*found));
    INVARIANT(found != NULL);
    oracle_assign(found, oracle);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &oracle->objects[i];
        if (object->name[0] &&
            !oracle_fits_object(oracle, pool, exactly, object, found->objects[i].current, verdict))
            return false;
    }
    if (!exactly && !oracle_fits_groups(oracle, found, verdict))
        return false;
    if (observed)
    {
        oracle_flush(found, NULL);
        oracle_assign(observed, found);
    }
    return true;
}
