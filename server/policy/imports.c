/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Imports that have ended before their LUN was whole: an event, once. That one has ended is seen by
 * nobody having the LUN open, for so long that it cannot be one whose connection was lost and is
 * being made again. Marks of LUNs that are gone go too, unless a snapshot of their volume may bring
 * them back.
 */
#include <errno.h>
#include <stdlib.h>

#include "lun/base/checked.h"
#include "server/import.h"
#include "server/policy/policy_internal.h"

enum
{
    IMPORTS_GRACE_S = 10,
};

/* What was known of LUN @id; or that nobody has had it open from now on. */
static struct policy_import imports_note(struct policy *policy, uint64_t id)
{
    for (size_t i = 0; i < policy->space.import_count; i++)
        if (policy->space.imports[i].lun_id == id)
            return policy->space.imports[i];
    return (struct policy_import){.lun_id = id, .since_ns = policy_passed_ns(policy)};
}

static void imports_look(struct policy *policy, struct policy_import *import,
                         const struct lun_info *lun)
{
    uint64_t now_ns = policy_passed_ns(policy);
    if (lun->open_handles > 0)
    {
        import->since_ns = now_ns;
        import->is_told = false;
    }
    if (import->is_told || now_ns - import->since_ns < IMPORTS_GRACE_S * POLICY_SECOND_NS)
        return;
    import->is_told = true;
    event_add(policy->pool, "warning", "lun.import.interrupted", lun->name,
              "the import of LUN %.100s has ended before the LUN was whole; 'lunette lun import' "
              "again goes on or begins anew, 'lunette lun delete %.60s' removes it",
              lun->name, lun->name);
}

void policy_watch_imports(struct policy *policy)
{
    AUTO_FREE uint64_t *ids = NULL;
    size_t count = 0, noted = 0;
    if (import_list(policy->pool, &ids, &count) < 0)
        return;
    struct policy_import *imports = count > 0 ? calloc(count, sizeof(*imports)) : NULL;
    if (count > 0 && !imports)
        return;
    for (size_t i = 0; i < count; i++)
    {
        struct lun_info lun;
        if (lun_get_info_by_id(policy->pool, ids[i], &lun) < 0)
            continue;
        imports[noted] = imports_note(policy, ids[i]);
        imports_look(policy, &imports[noted++], &lun);
    }
    free(policy->space.imports);
    policy->space.imports = imports;
    policy->space.import_count = noted;
}

int policy_sweep_imports(struct policy *policy)
{
    AUTO_FREE uint64_t *ids = NULL;
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0, lun_count = 0, gone = 0;
    int r = import_list(policy->pool, &ids, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct lun_info lun;
        if (lun_get_info_by_id(policy->pool, ids[i], &lun) == -ENOENT)
            ids[gone++] = ids[i];
    }
    if (r < 0 || gone == 0)
        return r;
    r = lun_list(policy->pool, NULL, &list, &lun_count, NULL);
    for (size_t i = 0; r == 0 && i < gone; i++)
    {
        size_t at = 0;
        while (at < lun_count && list[at].lun_id != ids[i])
            at++;
        if (at == lun_count)
            r = import_end(policy->pool, ids[i], NULL);
    }
    return r;
}
