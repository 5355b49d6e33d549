/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What verbs have to do with LUNs that an import fills (server/import.h): making one, saying that
 * it is whole, and refusing to hand on one that is not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"

int verb_check_whole(struct verb_request *request, const char *name)
{
    struct lun_info info;
    /* What is not there is refused by who looks for it. */
    if (lun_get_info(request->pool, name, &info, NULL) < 0)
        return 0;
    return import_check(request->pool, &info, &request->why);
}

int verb_check_whole_all(struct verb_request *request, const char *const *names, size_t count)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = verb_check_whole(request, names[i]);
    return r;
}

int verb_check_whole_volume(struct verb_request *request, const char *volume, const char *snapshot)
{
    AUTO_FREE struct lun_info *parts = NULL;
    AUTO_FREE uint64_t *ids = NULL;
    struct volume_info info;
    struct lun_info lun;
    size_t count = 0, part_count = 0;
    int r = import_list(request->pool, &ids, &count);
    if (r < 0 || count == 0 || volume_get_info(request->pool, volume, &info, NULL) < 0)
        return r;
    if (snapshot)
        r = verb_list_parts(request, volume, snapshot, &parts, &part_count);
    for (size_t i = 0; r == 0 && i < part_count; i++)
        r = import_check(request->pool, &parts[i], &request->why);
    for (size_t i = 0; r == 0 && !snapshot && i < count; i++)
        if (lun_get_info_by_id(request->pool, ids[i], &lun) == 0 && lun.volume_id == info.id)
            r = import_check(request->pool, &lun, &request->why);
    return r;
}

int verb_say_not_whole(struct verb_request *request, const char *volume)
{
    AUTO_FREE uint64_t *ids = NULL;
    struct volume_info info;
    struct lun_info lun;
    size_t count = 0;
    if (volume_get_info(request->pool, volume, &info, NULL) < 0)
        return 0;
    int r = import_list(request->pool, &ids, &count);
    json_t *names = json_array();
    for (size_t i = 0; r == 0 && i < count; i++)
        if (lun_get_info_by_id(request->pool, ids[i], &lun) == 0 && lun.volume_id == info.id &&
            json_array_append_new(names, json_string(lun.name)) != 0)
            r = -ENOMEM;
    if (r < 0 || json_array_size(names) == 0)
    {
        json_decref(names);
        return r;
    }
    return json_object_set_new(request->result, "not_whole", names) == 0 ? 0 : -ENOMEM;
}

/* ---- beginning and ending ------------------------------------------------------------------ */

/* A LUN of that name is there, and has the mark: nobody else may be at it. */
static int verb_take_over(struct verb_request *request, struct verb_import *import,
                          const struct lun_info *found)
{
    struct lun_info info;
    const char *name = verb_string(request, "name");
    verb_await_close(request, name);
    int r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == 0 && info.id != found->id)
        r = reason_set(&request->why, -EBUSY, "LUN '%s' was replaced by another just now", name);
    if (r == 0 && info.open_handles > 0)
        r = reason_set(&request->why, -EBUSY, "another import is filling LUN '%s' now", name);
    if (r < 0)
        return r;
    import->resumes = verb_bool(request, "resume");
    import->replaces = !import->resumes;
    const struct lun_delete_condition condition = {.id = info.id, .keeps_snapshots = true};
    return import->resumes ? 0 : lun_delete_if(request->pool, &condition, 0, &request->why);
}

int verb_import_begin(struct verb_request *request, struct verb_import *import)
{
    const char *name = verb_string(request, "name"), *source = verb_string(request, "import");
    bool resume = verb_bool(request, "resume");
    struct lun_info info;
    if (!source)
        return resume ? reason_set(&request->why, -EINVAL, "only an import can be resumed") : 0;
    import->change = (struct store_change){.key = IMPORT_STORE_PREFIX,
                                           .value = source,
                                           .len = min_u64(strlen(source), STORE_VALUE_MAX)};
    import->also = (struct store_also){.changes = &import->change, .count = 1};
    int r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == -ENOENT && !resume)
    {
        reason_clear(&request->why);
        return 0;
    }
    if (r < 0)
        return r;
    r = import_check(request->pool, &info, &request->why);
    if (r == -EBUSY)
    {
        reason_clear(&request->why);
        return verb_take_over(request, import, &info);
    }
    if (r == 0 && resume)
        r = reason_set(&request->why, -EEXIST, "LUN '%s' is whole: no import of it is unfinished",
                       name);
    return r; /* lun_create() says that the name is taken */
}

int verb_import_say_lost(struct verb_request *request, int r)
{
    struct reason why = request->why;
    return reason_set(&request->why, r,
                      "what an earlier import left of the LUN was deleted, and then: %.900s",
                      why.text[0] ? why.text : strerror(-r));
}

int verb_import_say(struct verb_request *request, const struct verb_import *import)
{
    char export[IMPORT_EXPORT_MAX];
    struct lun_info info;
    const char *name = verb_string(request, "name");
    if (!verb_has(request, "import"))
        return 0;
    if (json_object_update_new(request->result,
                               json_pack("{s:b, s:b}", "resumes", (int)import->resumes, "replaces",
                                         (int)import->replaces)) != 0)
        return -ENOMEM;
    if (verb_bool(request, "dry_run"))
        return 0;
    int r = lun_get_info(request->pool, name, &info, &request->why);
    if (r < 0)
        return r;
    import_export_name(info.name, info.id, export);
    return json_object_set_new(request->result, "export", json_string(export)) == 0 ? 0 : -ENOMEM;
}

int verb_import_end(struct verb_request *request)
{
    struct lun_info info;
    const char *name = verb_string(request, "name");
    uint64_t id = verb_number(request, "id", 0);
    int r = id ? lun_get_info_by_id(request->pool, id, &info)
               : lun_get_info(request->pool, name, &info, &request->why);
    if (id && r == -ENOENT)
        r = reason_set(&request->why, r, "LUN '%s' was deleted meanwhile", name);
    if (r == 0 && info.kind != OBJECT_LUN)
        r = reason_set(&request->why, -EINVAL, "'%s' is a snapshot; imports fill LUNs", name);
    /* Who does not know its id is not the importer. */
    if (r == 0 && !id)
        verb_await_close(request, name);
    if (r == 0 && !id)
        r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == 0 && !id && info.open_handles > 0)
        r = reason_set(&request->why, -EBUSY, "an import is filling LUN '%s' now", name);
    if (r == 0)
        r = import_end(request->pool, info.id, &request->why);
    if (r == 0 && !verb_bool(request, "dry_run"))
        event_add(request->pool, "info", id ? "lun.imported" : "lun.import.accepted", info.name,
                  id ? "all of LUN '%.150s' was imported"
                     : "LUN '%.100s' counts as whole as an import left it",
                  info.name);
    return r;
}
