/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "lun/map/change.h"
#include "lun/map/lineage.h"
#include "lun/pool/grow.h"
#include "lun/pool/record.h"
#include "lun/pool/space.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/info.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/promise.h"

enum
{
    COMMAND_SMALL_BYTES = 4096, /* of a record: of one LUN */
    COMMAND_PAGES = 4, /* blocks for each block of a record: two copies, beside those until now */
};

static _Thread_local bool is_dry;
static _Thread_local int64_t promised_bytes;

void command_dry_run(bool on)
{
    is_dry = on;
}

bool command_is_dry(void)
{
    return is_dry;
}

void command_note_promised(int64_t bytes)
{
    promised_bytes = bytes;
}

int64_t command_promised_bytes(void)
{
    return promised_bytes;
}

/* A record is one batch of one half of the journal, which is as large as the pool was made for. */
static int command_explain_size(struct pool *pool, size_t bytes, struct reason *why)
{
    uint64_t journal_bytes, pool_bytes;
    pool_size_for_record(bytes, &journal_bytes, &pool_bytes);
    return reason_set(why, -EMSGSIZE,
                      "this is too much for one step: the journal of pool '%s' takes %" PRIu64
                      " bytes at once, and this needs %zu; do it in several commands, for fewer "
                      "LUNs or with fewer in a volume, or in a pool with a larger journal "
                      "('lunette pool create --journal %" PRIu64
                      "K', for which the pool must have %s)",
                      pool->name, journal_record_max(pool->journal), bytes, journal_bytes / 1024,
                      size_text(pool_bytes).text);
}

static int command_explain_room(struct pool *pool, size_t bytes, struct reason *why)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t there = stats.free_blks + stats.deferred_blks;
    uint64_t kept = stats.reserve_blks + stats.promised_blks + stats.asked_blks;
    return reason_set(
        why, -ENOSPC,
        "pool '%s' is full, no metadata can be added%s: %s are available, and %s are kept for "
        "deleting what there is; 'lunette df' shows what uses it, %s",
        pool->name,
        bytes > COMMAND_SMALL_BYTES ? ", or not as much at once (what is done in several commands, "
                                      "for fewer LUNs, takes less)"
                                    : "",
        size_text((there - min_u64(there, kept)) * BLK_BYTES).text,
        size_text(stats.reserve_blks * BLK_BYTES).text,
        grow_advice(pool, COMMAND_PAGES * div_round_up(bytes, BLK_BYTES)).text);
}

int command_explain(struct pool *pool, int r, size_t bytes, struct reason *why)
{
    if (r == -EMSGSIZE)
        return command_explain_size(pool, bytes, why);
    return r == -ENOSPC ? command_explain_room(pool, bytes, why) : r;
}

int command_run(struct pool *pool, struct lun_object *lun, struct writer *writer, bool is_freeing,
                struct reason *why)
{
    int r = writer->failed ? -ENOMEM : 0;
    if (r == 0 && !is_dry)
        r = change_run_waiting(pool, CHANGE_MANAGEMENT, lun, writer->bytes, writer->len,
                               is_freeing ? SPACE_FREEING : SPACE_THIN);
    promise_end(pool); /* if it was not run */
    return command_explain(pool, r, writer->len, why);
}

int command_begin(struct pool *pool, struct reason *why)
{
    reason_clear(why);
    promised_bytes = 0;
    int r = pool_may_change(pool);
    if (r < 0)
        return reason_set(why, r, "pool '%s' takes no changes: it is %s", pool->name,
                          pool->is_read_only ? "opened read-only"
                                             : pool_health_name(atomic_load(&pool->health)));
    return 0;
}

int command_check_id(const char *name, uint64_t id, uint64_t only_id, struct reason *why)
{
    if (only_id == 0 || id == only_id)
        return 0;
    return reason_set(why, -ESTALE, "'%s' is the name of another one since a moment ago", name);
}

int lun_find(struct pool *pool, const char *name, struct lun_object **lun, struct reason *why)
{
    *lun = catalog_find_lun(pool, name);
    if (*lun)
        return 0;
    if (!strchr(name, '@') && lun_was_deleted(pool, name))
        return reason_set(why, -ENOENT, LUN_WAS_DELETED, name, name);
    return reason_set(why, -ENOENT,
                      strchr(name, '@')
                          ? "there is no snapshot '%s'; 'lunette snapshot show' lists them"
                          : "there is no LUN '%s'; 'lunette lun show' lists them",
                      name);
}

int lun_find_kind(struct pool *pool, const char *name, enum disk_object_kind kind,
                  struct lun_object **lun, struct reason *why)
{
    int r = lun_find(pool, name, lun, why);
    if (r == 0 && (*lun)->object.kind != kind)
        r = reason_set(why, -EINVAL, "'%s' is a snapshot, not a LUN", name);
    return r;
}

int snapshot_find(struct pool *pool, const char *lun_name, const char *snapshot,
                  struct lun_object **object, struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    int r = name_join(full, sizeof(full), lun_name, snapshot, why);
    return r < 0 ? r : lun_find(pool, full, object, why);
}

int volume_find(struct pool *pool, const char *name, struct volume_object **volume,
                struct reason *why)
{
    *volume = catalog_find_volume(pool, name);
    if (*volume)
        return 0;
    return reason_set(why, -ENOENT, "there is no volume '%s'; 'lunette volume show' lists them",
                      name);
}

int name_is_free(struct pool *pool, const char *full, struct reason *why)
{
    const struct lun_object *lun = catalog_find_lun(pool, full);
    const char *what = lun && lun->object.kind == DISK_OBJECT_SNAPSHOT ? "snapshot"
                       : lun                                           ? "LUN"
                       : catalog_find_volume(pool, full)               ? "volume"
                       : catalog_find_qtree(pool, full)                ? "qtree"
                       : catalog_find_volume_snapshot(pool, full)      ? "snapshot"
                                                                       : NULL;
    if (!what)
        return 0;
    return reason_set(why, -EEXIST, "a %s named '%s' is there already", what, full);
}

int lun_find_place(struct pool *pool, const char *name, struct lun_place *place, struct reason *why)
{
    *place = (struct lun_place){.name = name_strip(name)};
    struct name_path *path = &place->path;
    int r = name_split(place->name, path, why);
    if (r < 0)
        return r;
    if (path->volume[0])
        place->volume = catalog_find_volume(pool, path->volume);
    if (path->qtree[0])
        place->qtree = catalog_find_qtree(pool, path->qtree);
    if (path->volume[0] && !place->volume)
        return reason_set(why, -ENOENT,
                          "there is no volume '%s'; 'lunette volume create %s' makes it",
                          path->volume, path->volume);
    if (path->qtree[0] && !place->qtree)
        return reason_set(why, -ENOENT,
                          "there is no qtree '%s'; 'lunette qtree create %s' makes it", path->qtree,
                          path->qtree);
    return name_is_free(pool, place->name, why);
}

void lun_draft_place(struct lun_draft *draft, const struct lun_place *place)
{
    draft->name = place->path.lun;
    draft->volume_id = place->volume ? place->volume->object.id : 0;
    draft->qtree_id = place->qtree ? place->qtree->object.id : 0;
}

int comment_check(const char *comment, struct reason *why)
{
    if (comment && strlen(comment) > LUN_COMMENT_MAX)
        return reason_set(why, -EINVAL, "a comment has at most %d bytes, this one %zu",
                          LUN_COMMENT_MAX, strlen(comment));
    return 0;
}

int owner_check(const char *owner, struct reason *why)
{
    if (owner && strlen(owner) > LUN_OWNER_MAX)
        return reason_set(why, -EINVAL,
                          "the name of an owner or group has at most %d bytes, not %zu",
                          LUN_OWNER_MAX, strlen(owner));
    return 0;
}

int lun_check_idle(const struct lun_object *lun, const char *what, unsigned flags,
                   struct reason *why)
{
    uint32_t handles = atomic_load(&lun->open_handles);
    if (handles == 0 || (flags & LUN_FORCE))
        return 0;
    return reason_set(why, -EBUSY,
                      "'%s' is open by %u client%s; %s needs them to go first, or --force, which "
                      "gives them errors",
                      lun->name, handles, handles == 1 ? "" : "s", what);
}

/* Clocks are put right by little steps. */
#define LOCK_CLOCK_SLACK_NS (UINT64_C(300) * 1000000000)

uint64_t pool_lock_clock_ns(struct pool *pool)
{
    uint64_t passed_ns = env_passed_ns(pool->env) - pool->opened_passed_ns;
    return min_u64(pool->env->now_ns(pool->env), pool->opened_ns + passed_ns + LOCK_CLOCK_SLACK_NS);
}

struct lock_text
{
    char text[32];
};

static struct lock_text lock_text(uint64_t until_ns)
{
    time_t seconds = (time_t)(until_ns / 1000000000);
    struct tm tm;
    struct lock_text text = {"a far day"};
    if (gmtime_r(&seconds, &tm))
        strftime(text.text, sizeof(text.text), "%Y-%m-%d %H:%M:%S UTC", &tm);
    return text;
}

int lock_check(struct pool *pool, uint64_t until_ns, const char *name, struct reason *why)
{
    if (until_ns == 0 || until_ns <= pool_lock_clock_ns(pool))
        return 0;
    struct lock_text until = lock_text(until_ns);
    if (until_ns <= pool->env->now_ns(pool->env))
        return reason_set(why, -EPERM,
                          "'%s' is locked until %s; the clock says that this is over, but was set "
                          "forward while the pool was served: if it is right, restart the server",
                          name, until.text);
    return reason_set(why, -EPERM, "'%s' is locked until %s; nothing can shorten that", name,
                      until.text);
}

int lock_check_clone(struct pool *pool, uint64_t until_ns, const char *name, struct reason *why)
{
    if (until_ns == 0 || until_ns <= pool_lock_clock_ns(pool))
        return 0;
    return reason_set(why, -EPERM,
                      "'%s' is locked until %s, and a clone would not be; --unlocked makes one "
                      "nevertheless, without a lock",
                      name, lock_text(until_ns).text);
}

int lun_check_clonable(struct pool *pool, const struct lun_object *source, struct reason *why)
{
    const struct lun_object *lun = source->lun;
    const struct volume_snapshot_object *set = source->volume_snapshot;
    const struct volume_object *volume = lun->volume;
    int r = lock_check_clone(pool, source->locked_until_ns, source->name, why);
    if (r == 0 && lun != source)
        r = lock_check_clone(pool, lun->locked_until_ns, lun->name, why);
    if (r == 0 && set)
        r = lock_check_clone(pool, set->locked_until_ns, set->name, why);
    if (r == 0 && volume)
        r = lock_check_clone(pool, volume->locked_until_ns, volume->name, why);
    return r;
}

int lock_check_change(struct pool *pool, uint64_t until_ns, uint64_t new_until_ns, const char *name,
                      struct reason *why)
{
    return new_until_ns >= until_ns ? 0 : lock_check(pool, until_ns, name, why);
}

int lun_check_unlocked(struct pool *pool, const struct lun_object *lun, struct reason *why)
{
    int r = lock_check(pool, lun->locked_until_ns, lun->name, why);
    const struct volume_snapshot_object *set = lun->volume_snapshot;
    if (r == 0 && set)
        r = lock_check(pool, set->locked_until_ns, set->name, why);
    const struct volume_object *volume = lun->lun->volume;
    if (r == 0 && volume)
        r = lock_check(pool, volume->locked_until_ns, volume->name, why);
    return r;
}

int lun_check_restorable(struct pool *pool, const struct lun_object *lun, unsigned flags,
                         struct reason *why)
{
    int r = lun_check_unlocked(pool, lun, why);
    uint32_t handles = atomic_load(&lun->open_handles);
    if (r < 0 || handles == 0 || (flags & LUN_FORCE))
        return r;
    return reason_set(why, -EBUSY,
                      "LUN '%s' is open by %u client%s, whose caches would not notice that its "
                      "content changes; detach them, or use --force",
                      lun->name, handles, handles == 1 ? "" : "s");
}

int lun_put_draft(struct pool *pool, struct lun_object *lun, const struct lun_draft *draft,
                  struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    lun_draft_put(draft, &writer);
    return command_run(pool, lun, &writer, true, why);
}
