/* SPDX-License-Identifier: BSD-3-Clause */
/* Quota rules of the pool, and its report, beside what the oracle sums up. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "tests/sim/oracle.h"

static bool oracle_is_rule(const struct oracle *oracle, const struct oracle_rule *rule,
                           const struct quota_rule *found)
{
    bool is_tree = rule->type == QUOTA_TREE;
    const char *tree = oracle_qtree(oracle, rule->volume, rule->of_qtree);
    if (is_tree && rule->is_default)
        tree = "*";
    const char *name = rule->is_default ? "*" : rule->name;
    return found->type == rule->type && strcmp(found->volume, rule->volume) == 0 &&
           strcmp(is_tree ? found->target : found->qtree, tree) == 0 &&
           (is_tree || strcmp(found->target, name) == 0) && found->hard_bytes == rule->hard_bytes &&
           found->soft_bytes == rule->soft_bytes && found->threshold_bytes == rule->threshold_bytes;
}

static int oracle_count_cb(void *opaque, const char *key, const void *value, size_t len)
{
    (void)key, (void)value, (void)len;
    ++*(size_t *)opaque;
    return 0;
}

static bool oracle_fits_rules(const struct oracle *oracle, struct pool *pool,
                              struct oracle_verdict *verdict)
{
    AUTO_FREE struct quota_rule *list = NULL;
    size_t count = 0, wanted = 0;
    int r = quota_rule_list(pool, NULL, &list, &count, NULL);
    if (r < 0)
        return oracle_refuse(verdict, "quota_rule_list() gives %d", r);
    for (unsigned i = 0; i < ORACLE_RULES; i++)
    {
        const struct oracle_rule *rule = &oracle->rules[i];
        size_t at = 0;
        if (!rule->is_there)
            continue;
        wanted++;
        while (at < count && !oracle_is_rule(oracle, rule, &list[at]))
            at++;
        if (at == count)
            return oracle_refuse(
                verdict, "a quota of volume %s (type %d, '%s') is not there, or is another",
                rule->volume, (int)rule->type, rule->is_default ? "*" : rule->name);
    }
    if (wanted != count)
        return oracle_refuse(verdict, "there are %zu quota rules instead of %zu", count, wanted);
    /* Those of what is gone are not listed any more. */
    size_t stored = 0;
    r = store_list(pool, "quota/", oracle_count_cb, &stored);
    if (r < 0 || stored != wanted)
        return oracle_refuse(verdict, "%zu quota rules are stored instead of %zu (%d)", stored,
                             wanted, r);
    return true;
}

struct oracle_report
{
    const struct oracle *oracle;
    const struct quota_usage *list;
    size_t count, wanted;
    struct oracle_verdict *verdict;
};

static bool oracle_is_row_of(const struct quota_rule *row, const struct oracle_subject *subject)
{
    const char *tree = subject->of_qtree ? subject->volume->qtree : "";
    bool is_tree = subject->type == QUOTA_TREE;
    return row->type == subject->type && strcmp(row->volume, subject->volume->name) == 0 &&
           strcmp(is_tree ? row->target : row->qtree, tree) == 0 &&
           (is_tree || strcmp(row->target, subject->name) == 0);
}

/* A row for each tree, for each owner and group that has something, and for each rule of one. */
static bool oracle_fits_row(const struct oracle_subject *subject, void *opaque)
{
    struct oracle_report *report = opaque;
    const struct oracle_rule *rule = oracle_quota_rule(report->oracle, subject);
    if (!rule)
        return true;
    uint64_t luns, used = oracle_quota_used(report->oracle, subject, &luns);
    size_t at = 0;
    if (rule->is_default && subject->type != QUOTA_TREE && luns == 0)
        return true;
    report->wanted++;
    while (at < report->count && !oracle_is_row_of(&report->list[at].rule, subject))
        at++;
    const struct quota_usage *row = at < report->count ? &report->list[at] : NULL;
    if (row && row->used_bytes == used && row->lun_count == luns &&
        row->is_default == rule->is_default && row->is_enabled == subject->volume->has_quotas &&
        row->rule.hard_bytes == rule->hard_bytes && row->rule.soft_bytes == rule->soft_bytes)
        return true;
    if (row && row->used_bytes == used && row->lun_count == luns)
        return oracle_refuse(
            report->verdict,
            "the quota of '%s' in volume %s%s is %" PRIu64 "%s%s, must be %" PRIu64 "%s%s",
            subject->name, subject->volume->name, subject->of_qtree ? "/qtree" : "",
            row->rule.hard_bytes, row->is_default ? " by default" : "",
            row->is_enabled ? "" : ", off", rule->hard_bytes, rule->is_default ? " by default" : "",
            subject->volume->has_quotas ? "" : ", off");
    return oracle_refuse(report->verdict,
                         "the quota report has %" PRIu64 " bytes of %" PRIu64
                         " LUNs for '%s' in volume %s%s; there are %" PRIu64 " of %" PRIu64,
                         row ? row->used_bytes : 0, row ? row->lun_count : 0, subject->name,
                         subject->volume->name, subject->of_qtree ? "/qtree" : "", used, luns);
}

bool oracle_fits_quotas(const struct oracle *oracle, struct pool *pool,
                        struct oracle_verdict *verdict)
{
    AUTO_FREE struct quota_usage *list = NULL;
    struct oracle_report report = {.oracle = oracle, .verdict = verdict};
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        /* A volume without rules has no row that would tell. */
        const struct oracle_volume *volume = &oracle->volumes[i];
        const struct volume_object *object =
            volume->name[0] ? catalog_find_volume(pool, volume->name) : NULL;
        if (object && ((object->flags & DISK_VOLUME_QUOTAS) != 0) != volume->has_quotas)
            return oracle_refuse(verdict, "the quotas of volume %s must be %s", volume->name,
                                 volume->has_quotas ? "on" : "off");
    }
    if (!oracle_fits_rules(oracle, pool, verdict))
        return false;
    int r = quota_report(pool, NULL, &list, &report.count, NULL);
    if (r < 0)
        return oracle_refuse(verdict, "quota_report() gives %d", r);
    report.list = list;
    if (!oracle_each_subject(oracle, oracle_fits_row, &report))
        return false;
    if (report.wanted != report.count)
        return oracle_refuse(verdict, "the quota report has %zu rows instead of %zu", report.count,
                             report.wanted);
    return true;
}
