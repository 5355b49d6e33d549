/* SPDX-License-Identifier: BSD-3-Clause */
/* New content for LUNs that are there: what clones of an old golden image become when there is a
 * new one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/group.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/news.h"

struct redeploy
{
    struct lun_group group;
    struct lun_object *source;
    const char *undo;
    unsigned flags;
    struct lun_news news;
};

/* The snapshot of that name that it replaces, in *old; NULL: there is none. */
static int redeploy_find_old(struct redeploy *redeploy, const struct lun_object *lun,
                             struct lun_object **old, struct reason *why)
{
    struct pool *pool = redeploy->group.pool;
    char full[2 * LUN_NAME_MAX + 2];
    int r = name_join(full, sizeof(full), lun->name, redeploy->undo, why);
    if (r < 0)
        return r;
    *old = catalog_find_lun(pool, full);
    if (!*old)
        return 0;
    if ((*old)->volume_snapshot)
        return reason_set(
            why, -EEXIST,
            "'%s' is part of a snapshot of a volume; choose another name for what the "
            "LUN holds now",
            full);
    r = lun_check_unlocked(pool, *old, why);
    return r < 0 ? r : lun_check_idle(*old, "replacing it", redeploy->flags, why);
}

static int redeploy_check(struct redeploy *redeploy, const struct lun_object *lun,
                          struct reason *why)
{
    const struct lun_object *source = redeploy->source;
    if (lun == source)
        return reason_set(why, -EINVAL, "LUN '%s' cannot be redeployed from itself", lun->name);
    if (lun->sector_bytes != source->sector_bytes)
        return reason_set(why, -EINVAL,
                          "LUN '%s' has sectors of %u bytes, '%s' has %u: clients would not "
                          "understand the content",
                          lun->name, lun->sector_bytes, source->name, source->sector_bytes);
    return lun_check_restorable(redeploy->group.pool, lun, redeploy->flags, why);
}

static int redeploy_plan(struct redeploy *redeploy, struct lun_object *lun, struct reason *why)
{
    struct lun_group *group = &redeploy->group;
    struct lun_object *source = redeploy->source, *old = NULL;
    int r = redeploy_check(redeploy, lun, why);
    if (r == 0)
        r = redeploy_find_old(redeploy, lun, &old, why);
    if (r < 0)
        return r;
    struct lun_draft draft = lun_draft_of(lun);
    draft.line_id = group->pool->next_id++;
    draft.size_bytes = atomic_load(&source->size_bytes);
    draft.trim_end_bytes = 0;
    draft.origin = source->name;
    struct lun_draft undo = lun_draft_new(group->pool, DISK_OBJECT_SNAPSHOT, redeploy->undo);
    undo.lun_id = lun->object.id;
    undo.size_bytes = atomic_load(&lun->size_bytes);
    undo.sector_bytes = lun->sector_bytes;
    lun_group_head(group, draft.line_id, source);
    lun_group_restore(group, lun, source);
    if (old)
    {
        lun_group_add(group, old);
        action_delete(&group->actions, old->object.id);
    }
    lun_group_snapshot(group, &undo, lun);
    lun_draft_put(&draft, &group->actions);
    lun_news_add(&redeploy->news, lun->object.id, lun->name);
    return 0;
}

static int redeploy_run(struct redeploy *redeploy, const char *source, const char *const *names,
                        size_t count, struct reason *why)
{
    struct pool *pool = redeploy->group.pool;
    int r = lun_find(pool, source, &redeploy->source, why);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct lun_object *lun;
        r = lun_find_kind(pool, names[i], DISK_OBJECT_LUN, &lun, why);
        if (r == 0 && lun != redeploy->source && lun->group_round == pool->group_round)
            r = reason_set(why, -EINVAL, "LUN '%s' is named twice", lun->name);
        if (r == 0)
            r = redeploy_plan(redeploy, lun, why);
    }
    return r < 0 ? r : lun_group_run(&redeploy->group, false, why);
}

int lun_redeploy(struct pool *pool, const char *source, const char *const *names, size_t count,
                 const char *undo, unsigned flags, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_check(undo, "snapshot", why);
    if (r == 0 && (count == 0 || count > LUN_SET_MAX))
        r = reason_set(why, -EINVAL, "1 to %d LUNs are redeployed at once, not %zu", LUN_SET_MAX,
                       count);
    if (r < 0)
        return r;
    struct redeploy redeploy = {.undo = undo, .flags = flags};
    {
        AUTO_LOCK(&pool->management);
        lun_group_begin(&redeploy.group, pool);
        r = redeploy_run(&redeploy, source, names, count, why);
        lun_group_end(&redeploy.group);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
    {
        source = name_strip(source);
        event_add(pool, "info", "lun.redeployed", source,
                  "%zu LUN%s got the content of '%s'; what they held is in their snapshots '%s'",
                  count, count == 1 ? "" : "s", source, undo);
        lun_news_tell(&redeploy.news, pool, LUN_CHANGE_RESTORED);
    }
    lun_news_destroy(&redeploy.news);
    return r;
}
