/* SPDX-License-Identifier: BSD-3-Clause */
/* Qtrees: named parts of a volume, the subject of tree quotas. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/place.h"
#include "lun/volume/quota.h"
#include "lun/volume/volume_internal.h"

/* "VOLUME/QTREE", taken apart like a LUN's name: *volume and the own name. */
static int qtree_split(struct pool *pool, const char *path, struct name_path *parts,
                       struct volume_object **volume, struct reason *why)
{
    int r = name_split(path, parts, why);
    if (r == 0 && (!parts->volume[0] || parts->qtree[0]))
        r = reason_set(why, -EINVAL, "a qtree is named VOLUME/QTREE, not '%s'", path);
    if (r == 0 && strlen(path) > VOLUME_NAME_MAX)
        r = reason_set(why, -EINVAL, "qtree path has %zu bytes; at most %d are allowed",
                       strlen(path), VOLUME_NAME_MAX);
    return r == 0 ? volume_find(pool, parts->volume, volume, why) : r;
}

static int qtree_find(struct pool *pool, const char *path, struct qtree_object **qtree,
                      struct reason *why)
{
    *qtree = catalog_find_qtree(pool, path);
    if (*qtree)
        return 0;
    return reason_set(why, -ENOENT, "there is no qtree '%s'; 'lunette qtree show' lists them",
                      path);
}

int qtree_create(struct pool *pool, const char *path, const char *comment, struct reason *why)
{
    path = name_strip(path);
    int r = command_begin(pool, why);
    if (r == 0)
        r = comment_check(comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct name_path parts;
        struct volume_object *volume;
        r = qtree_split(pool, path, &parts, &volume, why);
        if (r == 0)
            r = name_is_free(pool, path, why);
        if (r < 0)
            return r;
        struct qtree_draft draft = qtree_draft_new(pool, volume->object.id, parts.lun);
        draft.comment = comment;
        AUTO_WRITER struct writer writer = {0};
        qtree_draft_put(&draft, &writer);
        r = command_run(pool, NULL, &writer, false, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "qtree.created", path, "qtree '%s' created", path);
    return r;
}

static int rename_check_paths(const struct qtree_object *qtree, const char *new_path,
                              struct reason *why)
{
    list_for_each (lun, &qtree->luns, struct lun_object, qtree_link)
    {
        if (strlen(lun->name) - strlen(qtree->name) + strlen(new_path) > LUN_NAME_MAX)
            return reason_set(why, -EINVAL,
                              "LUN '%s' would have a name of more than %d bytes; rename it first",
                              lun->name, LUN_NAME_MAX);
    }
    return 0;
}

/* Snapshots of volumes keep what LUNs in it were named; others are renamed with them. */
static int rename_check_snapshots(struct pool *pool, const struct qtree_object *qtree,
                                  const char *new_path, struct reason *why)
{
    int r = 0;
    list_for_each (lun, &qtree->luns, struct lun_object, qtree_link)
    {
        char path[2 * LUN_NAME_MAX + 2];
        snprintf(path, sizeof(path), "%s/%s", new_path, name_own(lun->name));
        if (r == 0)
            r = place_old_snapshots(pool, lun, why);
        if (r == 0)
            r = place_check_snapshots(pool, lun, path, why);
    }
    return r;
}

static int qtree_rename_locked(struct pool *pool, const char *path, const char *new_path,
                               struct lun_news *news, struct reason *why)
{
    struct qtree_object *qtree;
    struct name_path parts;
    struct volume_object *volume;
    int r = qtree_find(pool, path, &qtree, why);
    if (r == 0)
        r = qtree_split(pool, new_path, &parts, &volume, why);
    if (r == 0 && volume != qtree->volume)
        r = reason_set(why, -EINVAL, "qtree '%s' stays in its volume", qtree->name);
    if (r == 0)
        r = name_is_free(pool, new_path, why);
    if (r == 0)
        r = rename_check_paths(qtree, new_path, why);
    if (r == 0)
        r = rename_check_snapshots(pool, qtree, new_path, why);
    if (r < 0)
        return r;
    struct qtree_draft draft = qtree_draft_of(qtree);
    draft.name = parts.lun;
    AUTO_WRITER struct writer writer = {0};
    qtree_draft_put(&draft, &writer);
    r = command_run(pool, NULL, &writer, true, why);
    if (r < 0)
        return r;
    list_for_each (lun, &qtree->luns, struct lun_object, qtree_link)
        lun_news_add(news, lun->object.id, lun->name);
    return 0;
}

int qtree_rename(struct pool *pool, const char *path, const char *new_name, struct reason *why)
{
    path = name_strip(path);
    new_name = name_strip(new_name);
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    char new_path[2 * LUN_NAME_MAX + 2];
    const char *slash = strchr(path, '/');
    if (slash && new_name && !strchr(new_name, '/'))
        snprintf(new_path, sizeof(new_path), "%.*s/%s", (int)(slash - path), path, new_name);
    else
        snprintf(new_path, sizeof(new_path), "%s", new_name ? new_name : "");
    AUTO_LUN_NEWS struct lun_news news = {0};
    {
        AUTO_LOCK(&pool->management);
        r = qtree_rename_locked(pool, path, new_path, &news, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "qtree.renamed", new_path, "qtree '%s' is now '%s'", path, new_path);
    lun_news_tell(&news, pool, LUN_CHANGE_RENAMED);
    return 0;
}

int qtree_delete(struct pool *pool, const char *path, struct reason *why)
{
    path = name_strip(path);
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct qtree_object *qtree;
        r = qtree_find(pool, path, &qtree, why);
        if (r == 0)
            r = lock_check(pool, qtree->volume->locked_until_ns, qtree->volume->name, why);
        if (r == 0 && qtree->lun_count > 0)
            r = reason_set(why, -EBUSY,
                           "qtree '%s' holds %" PRIu64
                           " LUN%s; delete what is in it, or 'lunette lun rename' moves it "
                           "elsewhere",
                           path, qtree->lun_count, plural_s(qtree->lun_count));
        if (r < 0)
            return r;
        AUTO_WRITER struct writer writer = {0};
        quota_forget(pool, qtree->volume, qtree, &writer);
        action_delete(&writer, qtree->object.id);
        r = command_run(pool, NULL, &writer, true, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "qtree.deleted", path, "qtree '%s' deleted", path);
    return r;
}
