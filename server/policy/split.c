/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Physical splits: copying what the LUNs of a volume share, in the background.
 *
 * Shared blocks are read and written again in place, which makes them the LUN's own; the content
 * does not change, and I/O goes on. LUNs are gone through by id, each from its beginning. The
 * cursor in the store only saves time: what is copied is not shared any more, so nothing is copied
 * twice. At the end a volume clone stops depending on its parent.
 *
 * Always true: a split never takes the last of the space. It stops before, with an event, and can
 * be started again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/policy/policy_internal.h"
#include "server/units.h"

enum
{
    SPLIT_SLICE_BYTES = 4 << 20, /* copied in one step, at most */
    SPLIT_PIECE_BYTES = 1 << 20, /* what the engine rewrites at once */
    SPLIT_SCAN_BYTES = 256 << 20,
    SPLIT_EXTENTS = 128,
    SPLIT_SAVE_S = 5,
    SPLIT_PER_SECOND = 8,   /* steps, when there is a rate */
    SPLIT_RATE_MIN = 65536, /* bytes a second */
    SPLIT_WAIT_MAX_S = 10,  /* a clock may be set back */
    SPLIT_KEEP_PARTS = 64,  /* of the pool, one is left to others */
};

/* ---- the list ------------------------------------------------------------------------------ */

static struct policy_split *split_find(struct policy *policy, uint64_t volume_id)
{
    for (size_t i = 0; i < policy->split.count; i++)
        if (policy->split.list[i].volume_id == volume_id)
            return &policy->split.list[i];
    return NULL;
}

/* With split_lock held. NULL: no memory. */
static struct policy_split *split_add(struct policy *policy, const struct policy_split *split)
{
    size_t count = policy->split.count + 1;
    struct policy_split *list = realloc(policy->split.list, count * sizeof(*list));
    if (!list)
        return NULL;
    policy->split.list = list;
    policy->split.count = count;
    list[count - 1] = *split;
    return &list[count - 1];
}

static void split_remove(struct policy *policy, const struct policy_split *split)
{
    size_t i = (size_t)(split - policy->split.list);
    memmove(&policy->split.list[i], &policy->split.list[i + 1],
            (policy->split.count - i - 1) * sizeof(*split));
    policy->split.count--;
}

static int split_save(struct policy *policy, const struct policy_split *split, struct reason *why)
{
    char key[POLICY_KEY_MAX];
    policy_key(key, "split", POLICY_OF_VOLUME, split->volume_id);
    json_t *json =
        json_pack("{s:I, s:b, s:s, s:I, s:I, s:I, s:I}", "rate", (json_int_t)split->rate_bytes,
                  "paused", split->is_paused, "reason", split->reason, "lun",
                  (json_int_t)split->lun_id, "offset", (json_int_t)split->offset_bytes, "copied",
                  (json_int_t)split->copied_bytes, "total", (json_int_t)split->total_bytes);
    return json ? policy_save(policy, key, json, why) : reason_set(why, -ENOMEM, "no memory");
}

static int split_forget(struct policy *policy, uint64_t volume_id, struct reason *why)
{
    char key[POLICY_KEY_MAX];
    policy_key(key, "split", POLICY_OF_VOLUME, volume_id);
    return policy_save(policy, key, NULL, why);
}

static int split_load_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct policy *policy = opaque;
    struct policy_split split = {.volume_id = policy_key_id(key)};
    AUTO_JSON json_t *json = policy_parse(policy, key, value, len);
    if (!json || split.volume_id == 0)
        return 0;
    policy_get_number(json, "rate", INT64_MAX, &split.rate_bytes);
    policy_get_number(json, "lun", INT64_MAX, &split.lun_id);
    policy_get_number(json, "offset", INT64_MAX, &split.offset_bytes);
    policy_get_number(json, "copied", INT64_MAX, &split.copied_bytes);
    policy_get_number(json, "total", INT64_MAX, &split.total_bytes);
    policy_get_text(json, "reason", split.reason, sizeof(split.reason));
    split.is_paused = json_is_true(json_object_get(json, "paused"));
    return split_find(policy, split.volume_id) || split_add(policy, &split) ? 0 : -ENOMEM;
}

/* What an earlier server had begun; with split_lock held. */
static void split_load(struct policy *policy)
{
    if (!policy->split.is_loaded)
        policy->split.is_loaded =
            store_list(policy->pool, "policy/split/", split_load_cb, policy) == 0;
}

/* ---- commands ------------------------------------------------------------------------------ */

/* What LUNs of the volume share. */
static uint64_t split_shared_bytes(struct policy *policy, uint64_t volume_id)
{
    struct lun_info lun;
    uint64_t bytes = 0;
    for (uint64_t id = 0; volume_next_lun(policy->pool, volume_id, id, &lun) == 0; id = lun.id)
        bytes += lun.shared_bytes;
    return bytes;
}

static int split_check_room(const struct volume_info *volume, uint64_t needed_bytes,
                            struct reason *why)
{
    char needed[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    if (needed_bytes <= volume->available_bytes)
        return 0;
    return reason_set(why, -ENOSPC,
                      "copying what LUNs of volume '%s' share takes %s, and %s are available; "
                      "'lunette volume clone split start %s' without --physical takes none",
                      volume->name, units_format_bytes(needed_bytes, 'h', needed),
                      units_format_bytes(volume->available_bytes, 'h', available), volume->name);
}

int policy_split_start(struct policy *policy, const char *volume, uint64_t rate_bytes, bool dry_run,
                       struct reason *why)
{
    struct volume_info info;
    int r = volume_get_info(policy->pool, volume, &info, why);
    if (r == 0 && rate_bytes > 0 && rate_bytes < SPLIT_RATE_MIN)
        r = reason_set(why, -EINVAL, "a rate is 64K a second or more");
    if (r < 0)
        return r;
    uint64_t shared_bytes = split_shared_bytes(policy, info.id);
    r = split_check_room(&info, shared_bytes, why);
    if (r < 0 || dry_run)
        return r;
    AUTO_LOCK(&policy->split_lock);
    split_load(policy);
    struct policy_split *split = split_find(policy, info.id);
    bool is_new = !split;
    const struct policy_split fresh = {.volume_id = info.id, .total_bytes = shared_bytes};
    if (is_new)
        split = split_add(policy, &fresh);
    if (!split)
        return reason_set(why, -ENOMEM, "no memory");
    split->rate_bytes = rate_bytes;
    split->is_paused = false;
    split->reason[0] = '\0';
    r = split_save(policy, split, why);
    if (r < 0 && is_new)
        split_remove(policy, split);
    if (r == 0)
        event_add(policy->pool, "info", "volume.split.began", info.name,
                  "what LUNs of volume %.100s share is being copied", info.name);
    policy_poke(policy, POLICY_SPLIT);
    return r;
}

/* The split of a volume. -ENOENT: there is none. With split_lock held. */
static int split_of(struct policy *policy, const char *volume, struct policy_split **split,
                    struct reason *why)
{
    struct volume_info info;
    int r = volume_get_info(policy->pool, volume, &info, why);
    if (r < 0)
        return r;
    split_load(policy);
    *split = split_find(policy, info.id);
    if (*split)
        return 0;
    return reason_set(why, -ENOENT,
                      "nothing of volume '%s' is being copied; 'lunette volume clone split show' "
                      "lists what is",
                      info.name);
}

int policy_split_pause(struct policy *policy, const char *volume, bool dry_run, struct reason *why)
{
    struct policy_split *split;
    AUTO_LOCK(&policy->split_lock);
    int r = split_of(policy, volume, &split, why);
    if (r < 0 || dry_run)
        return r;
    split->is_paused = true;
    snprintf(split->reason, sizeof(split->reason), "paused");
    return split_save(policy, split, why);
}

static int split_stop(struct policy *policy, struct policy_split *split, struct reason *why)
{
    struct volume_info info;
    bool has_name = volume_get_info_by_id(policy->pool, split->volume_id, &info) == 0;
    int r = split_forget(policy, split->volume_id, why);
    if (r < 0)
        return r;
    split_remove(policy, split);
    event_add(policy->pool, "info", "volume.split.cancelled", has_name ? info.name : "",
              "no more is copied; what is stays so");
    return 0;
}

int policy_split_stop(struct policy *policy, const char *volume, bool dry_run, struct reason *why)
{
    struct policy_split *split;
    AUTO_LOCK(&policy->split_lock);
    int r = split_of(policy, volume, &split, why);
    return r < 0 || dry_run ? r : split_stop(policy, split, why);
}

int policy_split_stop_id(struct policy *policy, uint64_t volume_id, struct reason *why)
{
    AUTO_LOCK(&policy->split_lock);
    split_load(policy);
    struct policy_split *split = split_find(policy, volume_id);
    return split ? split_stop(policy, split, why)
                 : reason_set(why, -ENOENT, "there is no such split");
}

int policy_split_list(struct policy *policy, struct policy_split **list, size_t *count)
{
    AUTO_LOCK(&policy->split_lock);
    split_load(policy);
    struct policy_split *copy = calloc(policy->split.count + 1, sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < policy->split.count; i++)
    {
        struct volume_info info;
        copy[i] = policy->split.list[i];
        if (volume_get_info_by_id(policy->pool, copy[i].volume_id, &info) == 0)
            snprintf(copy[i].volume, sizeof(copy[i].volume), "%s", info.name);
    }
    *list = copy;
    *count = policy->split.count;
    return 0;
}

/* ---- copying ------------------------------------------------------------------------------- */

/* The content stays; that it is written makes its blocks the LUN's own. */
static void split_change_nothing(void *opaque, uint8_t *content, size_t len)
{
    (void)opaque, (void)content, (void)len;
}

/* Copies [offset, offset + len) in pieces; steps on in @split. */
static int split_copy(struct lun *lun, struct policy_split *split, uint64_t offset, uint64_t len,
                      uint64_t *budget_bytes)
{
    while (len > 0 && *budget_bytes > 0)
    {
        uint64_t piece = min_u64(len, min_u64(SPLIT_PIECE_BYTES, *budget_bytes));
        int r = lun_read_modify_write(lun, (size_t)piece, offset, 0, split_change_nothing, NULL);
        if (r < 0)
            return r;
        offset += piece;
        len -= piece;
        *budget_bytes -= piece;
        split->copied_bytes += piece;
        split->offset_bytes = offset;
    }
    return 0;
}

/* One look at the map from the cursor on. @is_end: the LUN is through. */
static int split_scan(struct lun *lun, struct policy_split *split, uint64_t budget_bytes,
                      bool *is_end)
{
    struct lun_extent extents[SPLIT_EXTENTS];
    size_t count = 0;
    uint64_t size_bytes = lun_size_bytes(lun);
    *is_end = split->offset_bytes >= size_bytes;
    if (*is_end)
        return 0;
    uint64_t len = min_u64(SPLIT_SCAN_BYTES, size_bytes - split->offset_bytes);
    int r = lun_extents(lun, len, split->offset_bytes, extents, SPLIT_EXTENTS, &count);
    for (size_t i = 0; r == 0 && i < count && budget_bytes > 0; i++)
    {
        if (!extents[i].is_hole && extents[i].is_shared)
            r = split_copy(lun, split, extents[i].offset_bytes, extents[i].len_bytes,
                           &budget_bytes);
        else
            split->offset_bytes = extents[i].offset_bytes + extents[i].len_bytes;
    }
    return r == 0 && count == 0 ? -EIO : r;
}

/* The LUN that the cursor is in, open; NULL: there is none left. */
static int split_open(struct policy *policy, struct policy_split *split, struct lun **lun)
{
    struct lun_info info, opened;
    *lun = NULL;
    if (lun_get_info_by_id(policy->pool, split->lun_id, &info) < 0 ||
        info.volume_id != split->volume_id || info.kind != OBJECT_LUN)
    {
        if (volume_next_lun(policy->pool, split->volume_id, split->lun_id, &info) < 0)
            return 0;
        split->lun_id = info.id;
        split->offset_bytes = 0;
    }
    int r = lun_open(policy->pool, info.name, LUN_BACKGROUND, lun, NULL);
    if (r < 0)
        return r;
    r = lun_describe(*lun, &opened);
    if (r == 0 && opened.id == info.id)
        return 0;
    lun_close(*lun);
    *lun = NULL;
    return -ESTALE; /* renamed or deleted just now: look again */
}

static int split_check_space(struct policy *policy, const struct volume_info *volume)
{
    struct pool_info pool;
    pool_get_info(policy->pool, &pool);
    uint64_t kept_bytes = pool.size_bytes / SPLIT_KEEP_PARTS + SPLIT_SLICE_BYTES;
    return pool.available_bytes < kept_bytes || volume->available_bytes < SPLIT_SLICE_BYTES
               ? -ENOSPC
               : 0;
}

/* A step. 0; 1: the volume is through; < 0: it cannot go on. */
static int split_work(struct policy *policy, struct policy_split *split,
                      const struct volume_info *volume, uint64_t budget_bytes)
{
    struct lun *lun;
    bool is_end = false;
    int r = split_open(policy, split, &lun);
    if (r == -ESTALE || r == -ENOENT)
        return 0;
    if (r < 0 || !lun)
        return r < 0 ? r : 1;
    r = split_check_space(policy, volume);
    if (r == 0)
        r = split_scan(lun, split, budget_bytes, &is_end);
    lun_close(lun);
    if (is_end || r == -ESTALE || r == -EINVAL) /* through, deleted, cut off under us */
    {
        struct lun_info next;
        if (volume_next_lun(policy->pool, split->volume_id, split->lun_id, &next) < 0)
            return 1;
        split->lun_id = next.id;
        split->offset_bytes = 0;
        return 0;
    }
    return r;
}

/* ---- steps --------------------------------------------------------------------------------- */

static void split_end(struct policy *policy, const struct policy_split *split,
                      const struct volume_info *volume, int r)
{
    struct reason why;
    char copied[UNITS_TEXT_MAX];
    reason_clear(&why);
    if (r == 1 && volume->parent_snapshot_id != 0)
        r = volume_clone_split(policy->pool, volume->name, &why);
    if (r == -ENOSPC && !why.text[0])
        ignore_error(
            reason_set(&why, r, "no room; see 'lunette explain space %.40s'", volume->name),
            "it is said below");
    lock_take(&policy->split_lock);
    struct policy_split *found = split_find(policy, split->volume_id);
    bool is_there = found && !found->is_paused;
    if (is_there && r < 0)
    {
        found->is_paused = true;
        snprintf(found->reason, sizeof(found->reason), "stopped: %.80s",
                 why.text[0] ? why.text : strerror(-r));
        ignore_error(split_save(policy, found, NULL), "said by the event, too");
    }
    else if (is_there)
    {
        ignore_error(split_forget(policy, split->volume_id, NULL),
                     "then the next server repeats it");
        split_remove(policy, found);
    }
    lock_release(&policy->split_lock);
    units_format_bytes(split->copied_bytes, 'h', copied);
    if (is_there && r < 0)
        event_add(
            policy->pool, "error", "volume.split.stopped", volume->name,
            "%s were copied, then: %.100s; 'lunette volume clone split start %.40s --physical' "
            "goes on",
            copied, why.text[0] ? why.text : strerror(-r), volume->name);
    else if (is_there)
        event_add(policy->pool, "info", "volume.split.done", volume->name,
                  "volume %.100s shares nothing with others any more; %s were copied", volume->name,
                  copied);
}

static uint64_t split_budget(const struct policy_split *split)
{
    if (split->rate_bytes == 0)
        return SPLIT_SLICE_BYTES;
    uint64_t bytes = round_up(split->rate_bytes / SPLIT_PER_SECOND, LUN_BLK_BYTES);
    return min_u64(SPLIT_SLICE_BYTES, bytes);
}

/* Puts what a step came to into the list, if it is still there. */
static void split_put_back(struct policy *policy, const struct policy_split *split)
{
    uint64_t now_ns = policy_passed_ns(policy);
    AUTO_LOCK(&policy->split_lock);
    struct policy_split *found = split_find(policy, split->volume_id);
    if (!found)
        return;
    uint64_t copied = split->copied_bytes - found->copied_bytes;
    found->lun_id = split->lun_id;
    found->offset_bytes = split->offset_bytes;
    found->copied_bytes = split->copied_bytes;
    found->total_bytes = max_u64(found->total_bytes, found->copied_bytes);
    if (found->rate_bytes > 0)
        found->next_ns = now_ns + (uint64_t)((double)copied * 1e9 / (double)found->rate_bytes);
    if (now_ns - found->saved_ns < SPLIT_SAVE_S * POLICY_SECOND_NS)
        return;
    found->saved_ns = now_ns;
    struct reason why;
    reason_clear(&why);
    if (split_save(policy, found, &why) < 0)
        log_warning("the progress of a split is not noted: %s", why.text);
}

/* The next that is due, by turns; *wait_ms until there is one. */
static bool split_pick(struct policy *policy, struct policy_split *split, uint64_t *wait_ms)
{
    uint64_t now_ns = policy_passed_ns(policy);
    AUTO_LOCK(&policy->split_lock);
    split_load(policy);
    *wait_ms = POLICY_IDLE_MS;
    for (size_t n = 0; n < policy->split.count; n++)
    {
        const struct policy_split *at =
            &policy->split.list[(policy->split.turn + n) % policy->split.count];
        bool waits =
            at->next_ns > now_ns && at->next_ns - now_ns < SPLIT_WAIT_MAX_S * POLICY_SECOND_NS;
        if (at->is_paused)
            continue;
        if (waits)
        {
            *wait_ms = min_u64(*wait_ms, (at->next_ns - now_ns) / 1000000 + 1);
            continue;
        }
        policy->split.turn = policy->split.turn + n + 1;
        *split = *at;
        return true;
    }
    return false;
}

uint64_t policy_step_split(struct policy *policy)
{
    struct policy_split split;
    struct volume_info volume;
    uint64_t wait_ms;
    if (!split_pick(policy, &split, &wait_ms))
        return wait_ms;
    if (volume_get_info_by_id(policy->pool, split.volume_id, &volume) < 0)
    {
        struct reason why;
        if (policy_split_stop_id(policy, split.volume_id, &why) < 0)
            log_warning("a split of a volume that is gone: %s", why.text);
        return 0;
    }
    int r = split_work(policy, &split, &volume, split_budget(&split));
    split_put_back(policy, &split);
    if (r != 0)
        split_end(policy, &split, &volume, r);
    return 0;
}
