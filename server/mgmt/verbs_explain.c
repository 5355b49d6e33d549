/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why something has no room, in words: what is promised to whom, what a quota counts, and which
 * commands would help. The same figures as in the listings, put into an order.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/units.h"

enum
{
    EXPLAIN_LINE_MAX = 512,
    EXPLAIN_TOP = 5,        /* of the LUNs or snapshots that hold most */
    EXPLAIN_STEP_PARTS = 4, /* what is short may grow by such a part of itself, */
    EXPLAIN_STEP_MIB = 16,  /* and by so much at least */
};

/* Sentences for people, and commands that help. */
struct explanation
{
    json_t *lines, *commands;
    bool no_memory;
};

static void explain_add(struct explanation *explanation, json_t *array, const char *format,
                        va_list args) PRINTF_LIKE(3, 0);
static void explain_add(struct explanation *explanation, json_t *array, const char *format,
                        va_list args)
{
    char line[EXPLAIN_LINE_MAX];
    vsnprintf(line, sizeof(line), format, args);
    if (json_array_append_new(array, json_string(line)) != 0)
        explanation->no_memory = true;
}

static void explain_say(struct explanation *explanation, const char *format, ...) PRINTF_LIKE(2, 3);
static void explain_say(struct explanation *explanation, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    explain_add(explanation, explanation->lines, format, args);
    va_end(args);
}

static void explain_try(struct explanation *explanation, const char *format, ...) PRINTF_LIKE(2, 3);
static void explain_try(struct explanation *explanation, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    explain_add(explanation, explanation->commands, format, args);
    va_end(args);
}

static int explain_result(struct verb_request *request, struct explanation *explanation)
{
    request->result =
        json_pack("{s:o, s:o}", "lines", explanation->lines, "try", explanation->commands);
    return request->result && !explanation->no_memory ? 0 : -ENOMEM;
}

static const char *explain_bytes(uint64_t bytes, char text[UNITS_TEXT_MAX])
{
    return units_format_bytes(bytes, 'h', text);
}

/* By how much something of @bytes that is short of room grows, in MiB; by @wanted_bytes at least.
 */
static uint64_t explain_step_mib(uint64_t bytes, uint64_t wanted_bytes)
{
    uint64_t mib = div_round_up(max_u64(bytes / EXPLAIN_STEP_PARTS, wanted_bytes), 1 << 20);
    return max_u64(mib, EXPLAIN_STEP_MIB);
}

/* ---- space --------------------------------------------------------------------------------- */

/* @wanted_bytes: a promise that is to fit. */
static void explain_try_grow(struct explanation *explanation, struct pool *pool,
                             uint64_t wanted_bytes)
{
    uint64_t mib = pool_grow_step_mib(pool, wanted_bytes);
    if (mib == 0) /* a block device, which has to grow first */
        explain_try(explanation, "lunette pool grow");
    else
        explain_try(explanation, "lunette pool grow +%" PRIu64 "M", mib);
}

static void explain_pool(struct explanation *explanation, const struct pool_info *info)
{
    char size[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX], metadata[UNITS_TEXT_MAX], part[UNITS_TEXT_MAX];
    char available[UNITS_TEXT_MAX];
    explain_say(explanation, "Pool %s has %s: %s are data, %s metadata.", info->name,
                explain_bytes(info->size_bytes, size), explain_bytes(info->data_bytes, data),
                explain_bytes(info->metadata_bytes, metadata));
    if (info->deferred_bytes)
        explain_say(explanation, "%s were freed and can be used after the next checkpoint.",
                    explain_bytes(info->deferred_bytes, part));
    explain_say(explanation, "%s are kept back so that deletes and checkpoints always succeed.",
                explain_bytes(info->reserve_bytes, part));
    if (info->promised_bytes)
        explain_say(explanation,
                    "%s are promised to reserved LUNs and guaranteed volumes that have not used "
                    "them yet.",
                    explain_bytes(info->promised_bytes, part));
    explain_say(explanation, "So %s are available to everybody else.",
                explain_bytes(info->available_bytes, available));
    if (info->dying_count)
        explain_say(explanation, "%" PRIu64 " delete%s still giving space back in the background.",
                    info->dying_count, info->dying_count == 1 ? " is" : "s are");
}

static int explain_compare_held(const void *a, const void *b)
{
    const struct lun_info *x = *(const struct lun_info *const *)a;
    const struct lun_info *y = *(const struct lun_info *const *)b;
    uint64_t x_bytes = x->own_bytes + x->snapshot_bytes;
    uint64_t y_bytes = y->own_bytes + y->snapshot_bytes;
    return x_bytes < y_bytes ? 1 : x_bytes > y_bytes ? -1 : 0;
}

/* What snapshots of volumes hold of LUNs that were deleted. */
static uint64_t explain_deleted(struct explanation *explanation, const struct lun_info *list,
                                size_t count, uint64_t volume_id)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
    {
        bool is_same =
            i > 0 && list[i].line_id == list[i - 1].line_id; /* state as the one before */
        if (list[i].is_lun_deleted && !is_same && (!volume_id || list[i].volume_id == volume_id))
            bytes += list[i].own_bytes;
    }
    char text[UNITS_TEXT_MAX];
    if (bytes > 0)
        explain_say(explanation,
                    "Snapshots of volumes hold %s of LUNs that were deleted; 'lunette lun show "
                    "--snapshots' lists them.",
                    explain_bytes(bytes, text));
    return bytes;
}

static void explain_shared(struct explanation *explanation, uint64_t bytes, bool has_clones)
{
    char shared[UNITS_TEXT_MAX];
    if (bytes == 0)
        return;
    explain_say(explanation,
                "%s are shared by %s, and are free when all that share them are deleted; "
                "'lunette tree' shows who does, 'lunette freed NAME NAME...' what that brings.",
                explain_bytes(bytes, shared),
                has_clones ? "LUNs, their clones and snapshots" : "LUNs and their snapshots");
}

/* What LUN @info and its snapshots share with nobody else: no counter has it, since each of them
 * keeps the other's. */
static void explain_together(struct verb_request *request, struct explanation *explanation,
                             const struct lun_info *info)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0, n = 0;
    if (info->snapshot_count == 0 || lun_list(request->pool, info->name, &list, &count, NULL) < 0)
        return;
    AUTO_FREE const char **names = calloc(count + 1, sizeof(*names));
    for (size_t i = 0; names && i < count; i++)
        if (list[i].lun_id == info->id && list[i].volume_snapshot_id == 0)
            names[n++] = list[i].name;
    uint64_t data_bytes, metadata_bytes;
    if (n < 2 ||
        lun_freed_if_deleted(request->pool, names, n, &data_bytes, &metadata_bytes, NULL) < 0)
        return;
    if (data_bytes <= info->own_bytes + info->snapshot_bytes)
        return;
    char text[UNITS_TEXT_MAX];
    explain_say(explanation, "LUN %s and its %zu snapshot%s hold %s together.", info->name, n - 1,
                n == 2 ? "" : "s", explain_bytes(data_bytes, text));
    explain_try(explanation, "lunette lun delete %s --with-snapshots --dry-run", info->name);
}

static int explain_compare_mapped(const void *a, const void *b)
{
    const struct lun_info *x = *(const struct lun_info *const *)a;
    const struct lun_info *y = *(const struct lun_info *const *)b;
    return x->mapped_bytes < y->mapped_bytes ? 1 : x->mapped_bytes > y->mapped_bytes ? -1 : 0;
}

/* The same of those LUNs of @list that may hold most. */
static int explain_snapshotted(struct verb_request *request, struct explanation *explanation,
                               const struct lun_info *list, size_t count, uint64_t volume_id)
{
    size_t n = 0;
    AUTO_FREE const struct lun_info **luns = calloc(count + 1, sizeof(*luns));
    if (!luns)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (list[i].kind == OBJECT_LUN && list[i].snapshot_count > 0 &&
            (!volume_id || list[i].volume_id == volume_id))
            luns[n++] = &list[i];
    qsort(luns, n, sizeof(*luns), explain_compare_mapped);
    for (size_t i = 0; i < n && i < EXPLAIN_TOP; i++)
        explain_together(request, explanation, luns[i]);
    return 0;
}

/* The LUNs that hold most by themselves, and what of @data_bytes none does. @volume_id 0: of all.
 */
static int explain_holders(struct verb_request *request, struct explanation *explanation,
                           uint64_t volume_id, uint64_t data_bytes)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0, n = 0;
    int r = lun_list(request->pool, NULL, &list, &count, &request->why);
    if (r < 0)
        return r;
    AUTO_FREE const struct lun_info **luns = calloc(count + 1, sizeof(*luns));
    if (!luns)
        return -ENOMEM;
    bool has_clones = false;
    for (size_t i = 0; i < count; i++)
    {
        has_clones |= list[i].kind == OBJECT_LUN && list[i].origin[0];
        if (list[i].kind == OBJECT_LUN && (!volume_id || list[i].volume_id == volume_id) &&
            list[i].own_bytes + list[i].snapshot_bytes > 0)
            luns[n++] = &list[i];
    }
    qsort(luns, n, sizeof(*luns), explain_compare_held);
    uint64_t held_bytes = 0;
    for (size_t i = 0; i < n; i++)
        held_bytes += luns[i]->own_bytes + luns[i]->snapshot_bytes;
    held_bytes += explain_deleted(explanation, list, count, volume_id);
    explain_shared(explanation, data_bytes - min_u64(data_bytes, held_bytes), has_clones);
    for (size_t i = 0; i < n && i < EXPLAIN_TOP; i++)
    {
        char own[UNITS_TEXT_MAX], held[UNITS_TEXT_MAX];
        explain_say(explanation, "LUN %s holds %s of its own, its snapshots %s more.",
                    luns[i]->name, explain_bytes(luns[i]->own_bytes, own),
                    explain_bytes(luns[i]->snapshot_bytes, held));
    }
    if (n > 0)
        explain_try(explanation, "lunette freed %s", luns[0]->name);
    return explain_snapshotted(request, explanation, list, count, volume_id);
}

static int explain_volume(struct verb_request *request, struct explanation *explanation,
                          const struct volume_info *info)
{
    char size[UNITS_TEXT_MAX], charged[UNITS_TEXT_MAX], part[UNITS_TEXT_MAX];
    if (info->size_bytes)
        explain_say(explanation,
                    "Volume %s may hold %s and holds %s; %s of that only its "
                    "snapshots still hold.",
                    info->name, explain_bytes(info->size_bytes, size),
                    explain_bytes(info->charged_bytes, charged),
                    explain_bytes(info->snapshot_bytes, part));
    else
        explain_say(explanation, "Volume %s has no size of its own: the pool is its limit.",
                    info->name);
    if (info->reserved_bytes)
        explain_say(explanation, "Its reserved LUNs may still need %s of it.",
                    explain_bytes(info->reserved_bytes, part));
    if (info->is_guaranteed)
        explain_say(explanation, "Its guarantee still needs %s of the pool.",
                    explain_bytes(info->needed_bytes, part));
    explain_say(explanation, "A write to a LUN without a reservation finds %s.",
                explain_bytes(info->available_bytes, part));
    if (info->snapshot_count)
        explain_try(explanation, "lunette snapshot show %s", info->name);
    return explain_holders(request, explanation, info->id, 0);
}

/* Growing what is short: first the volume if that is what limits it, else the pool. */
static void explain_try_room(struct explanation *explanation, struct pool *pool,
                             const struct pool_info *info, const struct volume_info *volume,
                             uint64_t wanted_bytes)
{
    bool is_bound = volume && volume->size_bytes > 0;
    /* A guaranteed volume that grows takes what it grows by of the pool. */
    uint64_t step_mib =
        is_bound ? explain_step_mib(volume->size_bytes, wanted_bytes + wanted_bytes / 16) : 0;
    uint64_t step_bytes = volume && volume->is_guaranteed ? step_mib << 20 : 0;
    bool pool_is_short = !is_bound || info->available_bytes < max_u64(step_bytes, wanted_bytes) ||
                         volume->available_bytes >= info->available_bytes;
    if (pool_is_short)
        explain_try_grow(explanation, pool, max_u64(wanted_bytes, step_bytes));
    if (is_bound)
        explain_try(explanation, "lunette volume resize %s +%" PRIu64 "M", volume->name, step_mib);
    if (!pool_is_short)
        explain_try_grow(explanation, pool, wanted_bytes);
}

static void explain_lun(struct explanation *explanation, const struct lun_info *info)
{
    char size[UNITS_TEXT_MAX], own[UNITS_TEXT_MAX], shared[UNITS_TEXT_MAX], part[UNITS_TEXT_MAX];
    explain_say(explanation,
                "LUN %s has %s; %s of it are its own blocks, %s are shared: a write "
                "there needs new space.",
                info->name, explain_bytes(info->size_bytes, size),
                explain_bytes(info->own_bytes, own), explain_bytes(info->shared_bytes, shared));
    if (info->is_reserved)
        explain_say(explanation,
                    "It is reserved: %s are kept for it, so its writes never lack space. A clone "
                    "or snapshot of it needs all of its size again, since nothing is its own then.",
                    explain_bytes(info->needed_bytes, part));
    else
        explain_say(explanation, "It is not reserved: its writes need what is available.");
    if (info->snapshot_bytes)
        explain_say(explanation, "Its snapshots hold %s that it no longer uses.",
                    explain_bytes(info->snapshot_bytes, part));
    if (info->snapshot_bytes)
        explain_try(explanation, "lunette snapshot show %s", info->name);
    if (info->is_reserved)
        explain_try(explanation, "lunette lun modify %s --space-reserve no", info->name);
}

/* What a name stands for. */
struct explained
{
    bool is_lun, is_in_volume; /* neither: the pool */
    struct lun_info lun;
    struct volume_info volume;
};

static int explain_find(struct verb_request *request, struct explained *found)
{
    const char *name = verb_string(request, "name");
    if (!name)
        return 0;
    found->is_in_volume = volume_get_info(request->pool, name, &found->volume, NULL) == 0;
    if (found->is_in_volume)
        return 0;
    int r = lun_get_info(request->pool, name, &found->lun, &request->why);
    if (r == -ENOENT)
        return reason_set(&request->why, r,
                          "there is no LUN, snapshot or volume '%s'; 'lunette df' lists LUNs and "
                          "volumes",
                          name);
    if (r < 0)
        return r;
    found->is_lun = true;
    found->is_in_volume = found->lun.volume_id != 0;
    return found->is_in_volume
               ? volume_get_info_by_id(request->pool, found->lun.volume_id, &found->volume)
               : 0;
}

/* What the sizes of explain_try_room() are made for. */
static void explain_say_step(struct explanation *explanation, const struct explained *found,
                             uint64_t wanted_bytes)
{
    char wanted[UNITS_TEXT_MAX];
    const char *name = found->is_lun         ? found->lun.name
                       : found->is_in_volume ? found->volume.name
                                             : "";
    if (wanted_bytes > 0)
        explain_say(explanation,
                    "The sizes below make room for %s more, and are a quarter of what is there "
                    "at least.",
                    explain_bytes(wanted_bytes, wanted));
    else
    {
        explain_say(explanation, "The sizes below are a step, a quarter of what is there or more.");
        explain_say(explanation, "For what you need: 'lunette explain space%s%s --wanted SIZE'.",
                    *name ? " " : "", name);
    }
}

int verb_explain_space(struct verb_request *request)
{
    struct pool_info pool;
    struct explained found = {0};
    int r = explain_find(request, &found);
    if (r < 0)
        return r;
    struct explanation explanation = {.lines = json_array(), .commands = json_array()};
    pool_get_info(request->pool, &pool);
    uint64_t reserved_bytes = found.is_lun && found.lun.is_reserved ? found.lun.size_bytes : 0;
    uint64_t wanted_bytes = verb_number(request, "wanted_bytes", reserved_bytes);
    explain_try_room(&explanation, request->pool, &pool, found.is_in_volume ? &found.volume : NULL,
                     wanted_bytes);
    if (found.is_lun)
        explain_lun(&explanation, &found.lun);
    if (found.is_lun && !found.is_in_volume)
        explain_together(request, &explanation, &found.lun);
    if (found.is_in_volume)
        r = explain_volume(request, &explanation, &found.volume);
    explain_pool(&explanation, &pool);
    if (r == 0 && !found.is_lun && !found.is_in_volume)
        r = explain_holders(request, &explanation, 0, pool.dying_count > 0 ? 0 : pool.data_bytes);
    explain_say_step(&explanation, &found, wanted_bytes);
    uint64_t available_bytes =
        found.is_in_volume ? found.volume.available_bytes : pool.available_bytes;
    int said = explain_result(request, &explanation);
    if (said == 0 && json_object_set_new(request->result, "available_bytes",
                                         proto_json_uint(available_bytes)) != 0)
        said = -ENOMEM;
    return r < 0 ? r : said;
}

/* ---- quotas -------------------------------------------------------------------------------- */

static const char *const explain_kinds[] = {
    [QUOTA_TREE] = "tree", [QUOTA_USER] = "user", [QUOTA_GROUP] = "group"};

static uint64_t explain_quota_left(const struct quota_usage *usage)
{
    const struct quota_rule *rule = &usage->rule;
    return rule->hard_bytes > usage->used_bytes ? rule->hard_bytes - usage->used_bytes : 0;
}

static void explain_quota(struct explanation *explanation, const struct quota_usage *usage)
{
    const struct quota_rule *rule = &usage->rule;
    char used[UNITS_TEXT_MAX], hard[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX];
    bool is_tree = rule->type == QUOTA_TREE;
    const char *qtree = is_tree ? rule->target : rule->qtree;
    uint64_t left_bytes = explain_quota_left(usage);
    const char *limit =
        rule->hard_bytes == UINT64_MAX ? "no limit" : explain_bytes(rule->hard_bytes, hard);
    explain_say(explanation,
                "The %s quota%s%s of %s%s%s counts the sizes of %" PRIu64
                " LUN%s: %s of %s; %s are left%s%s.",
                explain_kinds[rule->type], is_tree ? "" : " of ", is_tree ? "" : rule->target,
                rule->volume, qtree[0] ? "/" : "", qtree, usage->lun_count,
                usage->lun_count == 1 ? "" : "s", explain_bytes(usage->used_bytes, used), limit,
                rule->hard_bytes == UINT64_MAX ? "any" : explain_bytes(left_bytes, left),
                usage->is_default ? ", by a default rule" : "",
                usage->is_enabled ? "" : ", and it is off");
    if (usage->used_bytes > rule->hard_bytes)
        explain_say(explanation, "It is over-allocated: clones went through, or the rule came "
                                 "later; growth is refused.");
}

const char *verb_shell_word(const char *word, char text[VERB_WORD_MAX])
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:+-/@";
    if (word[strspn(word, plain)] == '\0')
        return word;
    char *at = text, *end = text + VERB_WORD_MAX - 8;
    *at++ = '\'';
    for (; *word && at < end; word++)
    {
        if (*word == '\'')
            at = stpcpy(at, "'\\'");
        *at++ = *word;
    }
    stpcpy(at, "'");
    return text;
}

static int explain_compare_left(const void *a, const void *b)
{
    uint64_t x = explain_quota_left(a), y = explain_quota_left(b);
    return x < y ? -1 : x > y;
}

static bool explain_has_limit(const struct quota_usage *usage)
{
    return usage->is_enabled && usage->rule.hard_bytes != UINT64_MAX;
}

/* A limit with room for @wanted_bytes more. One of a default rule becomes the target's own. */
static void explain_try_limit(struct explanation *explanation, const struct quota_usage *usage,
                              uint64_t wanted_bytes)
{
    const struct quota_rule *rule = &usage->rule;
    char target[VERB_WORD_MAX];
    if (!explain_has_limit(usage))
        return;
    uint64_t from_bytes = max_u64(usage->used_bytes, rule->hard_bytes);
    explain_try(explanation, "lunette quota rule %s %s --type %s%s%s%s%s --disk-limit %" PRIu64 "M",
                usage->is_default ? "create" : "modify", rule->volume, explain_kinds[rule->type],
                rule->target[0] ? " --target " : "",
                rule->target[0] ? verb_shell_word(rule->target, target) : "",
                rule->qtree[0] ? " --qtree " : "", rule->qtree,
                div_round_up(from_bytes, 1 << 20) +
                    explain_step_mib(rule->hard_bytes, wanted_bytes));
}

/* What the limits of explain_try_limit() are made for: @wanted_bytes, or @lun once more; or NULL.
 */
static void explain_say_limits(struct explanation *explanation, const char *path,
                               const struct lun_info *lun, uint64_t wanted_bytes)
{
    char size[UNITS_TEXT_MAX];
    if (wanted_bytes > 0)
        explain_say(explanation,
                    "The limits below have room for %s more, and for a quarter more at least.",
                    explain_bytes(wanted_bytes, size));
    else if (lun)
        explain_say(explanation,
                    "The limits below have room for one more LUN of the size of %s (%s), and for a "
                    "quarter more at least; for what you need: 'lunette explain quota %s --wanted "
                    "SIZE'.",
                    lun->name, explain_bytes(lun->size_bytes, size), path);
    else
        explain_say(explanation,
                    "The limits below are a step, a quarter more than now; for what you need: "
                    "'lunette explain quota %s --wanted SIZE'.",
                    path);
}

/* Rules of whom no LUN is yet bind those that come. */
static void explain_no_quota(struct verb_request *request, struct explanation *explanation,
                             const char *path, const char *volume)
{
    AUTO_FREE struct quota_rule *rules = NULL;
    size_t count = 0;
    if (quota_rule_list(request->pool, volume, &rules, &count, NULL) < 0 || count == 0)
        explain_say(explanation, "No quota binds %s.", path);
    else
        explain_say(explanation,
                    "No quota counts a LUN of %s; volume %s has %zu rule%s, which 'lunette quota "
                    "rule show %s' lists: they bind what is created by whom they are for.",
                    path, volume, count, count == 1 ? "" : "s", volume);
}

int verb_explain_quota(struct verb_request *request)
{
    AUTO_FREE struct quota_usage *list = NULL;
    size_t count;
    struct lun_info lun;
    const char *path = verb_string(request, "path");
    int r = quota_report(request->pool, path, &list, &count, &request->why);
    if (r < 0)
        return r;
    /* A clone of a LUN needs its size once more. */
    bool is_lun = lun_get_info(request->pool, path, &lun, NULL) == 0;
    if (strncmp(path, "/vol/", 5) == 0)
        path += 5;
    uint64_t asked_bytes = verb_number(request, "wanted_bytes", 0);
    uint64_t wanted_bytes = asked_bytes > 0 ? asked_bytes : is_lun ? lun.size_bytes : 0;
    if (count > 0)
        qsort(list, count, sizeof(*list), explain_compare_left); /* the tightest first */
    struct explanation explanation = {.lines = json_array(), .commands = json_array()};
    explain_say(&explanation,
                "Quotas count the sizes that hosts see, however much of them is shared.");
    bool any_limit = false;
    for (size_t i = 0; i < count; i++)
    {
        any_limit |= explain_has_limit(&list[i]);
        explain_quota(&explanation, &list[i]);
        explain_try_limit(&explanation, &list[i], wanted_bytes);
    }
    if (any_limit)
        explain_say_limits(&explanation, path, is_lun ? &lun : NULL, asked_bytes);
    char volume[LUN_NAME_MAX + 1];
    snprintf(volume, sizeof(volume), "%.*s", (int)strcspn(path, "/"), path);
    if (count == 0)
        explain_no_quota(request, &explanation, path, volume);
    explain_try(&explanation, "lunette quota rule show %s", volume);
    explain_try(&explanation, "lunette quota report %s", path);
    return explain_result(request, &explanation);
}
