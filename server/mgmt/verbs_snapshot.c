/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on snapshots. Dry runs as in verbs_lun.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

/* "LUN@SNAPSHOT" of the arguments, which the engine checks; *name is to be freed. */
static int verb_snapshot_name(struct verb_request *request, char **name)
{
    const char *lun = verb_string(request, "lun");
    const char *snapshot = verb_string(request, "snapshot");
    size_t size = strlen(lun) + strlen(snapshot) + 2;
    char *joined = malloc(size);
    if (!joined)
        return -ENOMEM;
    memcpy(joined, lun, strlen(lun));
    joined[strlen(lun)] = '@';
    memcpy(joined + strlen(lun) + 1, snapshot, strlen(snapshot) + 1);
    *name = joined;
    return 0;
}

int verb_snapshot_create(struct verb_request *request)
{
    return snapshot_create(request->pool, verb_string(request, "lun"),
                           verb_string(request, "snapshot"), verb_string(request, "comment"),
                           &request->why);
}

int verb_snapshot_show(struct verb_request *request)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count;
    int r = lun_list(request->pool, verb_string(request, "lun"), &list, &count, &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (list[i].kind == OBJECT_SNAPSHOT &&
            json_array_append_new(array, view_lun(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("snapshots", array);
    return request->result ? r : -ENOMEM;
}

int verb_snapshot_delete(struct verb_request *request)
{
    struct lun_info info;
    AUTO_FREE char *name = NULL;
    int r = verb_snapshot_name(request, &name);
    if (r < 0)
        return r;
    verb_await_close(request, name);
    if (!verb_bool(request, "dry_run"))
        return snapshot_delete(request->pool, verb_string(request, "lun"),
                               verb_string(request, "snapshot"), verb_force_flag(request),
                               &request->why);
    r = lun_get_info(request->pool, name, &info, &request->why);
    if (r < 0)
        return r;
    if (info.open_handles > 0 && !verb_bool(request, "force"))
        return reason_set(&request->why, -EBUSY, "%u clients have \"%s\" open", info.open_handles,
                          name);
    return verb_show_freed(request, (const char *const *)&name, 1);
}

int verb_snapshot_rename(struct verb_request *request)
{
    return snapshot_rename(request->pool, verb_string(request, "lun"),
                           verb_string(request, "snapshot"), verb_string(request, "new_snapshot"),
                           &request->why);
}

/* What the LUN has that the snapshot has not is what a restore loses. */
static int verb_plan_restore(struct verb_request *request)
{
    const char *lun = verb_string(request, "lun");
    struct lun_info now, then;
    AUTO_FREE char *name = NULL;
    uint64_t changed_bytes = 0;
    int r = verb_snapshot_name(request, &name);
    if (r == 0)
        r = lun_get_info(request->pool, name, &then, &request->why);
    if (r == 0)
        r = lun_get_info(request->pool, lun, &now, &request->why);
    if (r < 0)
        return r;
    if (now.open_handles > 0 && !verb_bool(request, "force"))
        return reason_set(&request->why, -EBUSY, "%u clients have LUN \"%s\" open",
                          now.open_handles, lun);
    size_t size = strlen(name) + strlen(lun) + sizeof("..");
    AUTO_FREE char *difference = malloc(size);
    if (!difference)
        return -ENOMEM;
    stpcpy(stpcpy(stpcpy(difference, name), ".."), lun);
    r = verb_count_mapped(request, difference, 0, &changed_bytes);
    if (r < 0)
        return r;
    request->result =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "lun", lun, "snapshot", name, "old_size_bytes",
                  (json_int_t)now.size_bytes, "size_bytes", (json_int_t)then.size_bytes,
                  "lost_bytes", (json_int_t)changed_bytes, "dry_run", 1);
    return request->result ? 0 : -ENOMEM;
}

int verb_snapshot_restore(struct verb_request *request)
{
    verb_await_close(request, verb_string(request, "lun"));
    if (verb_bool(request, "dry_run"))
        return verb_plan_restore(request);
    return snapshot_restore(request->pool, verb_string(request, "lun"),
                            verb_string(request, "snapshot"), verb_force_flag(request),
                            &request->why);
}
