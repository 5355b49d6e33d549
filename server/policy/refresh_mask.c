/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hooks of refreshes: a program works on a clone of the source before its content gets anywhere, so
 * that what is to be masked is never in the LUN that is refreshed.
 *
 * Always true:
 *  - only programs in the host's folder are called, and only if nobody but root and the server's
 *    user can change them; a pool only names one;
 *  - the clone has no mapping and goes when the run is over, whatever came of it; also at the next
 *    start, for which a note is in the store before it is there. Then only a LUN with the name and
 *    the comment of a note is deleted;
 *  - while the run lasts, the clone is known by its id: whoever renames it, and puts another LUN
 *    in its place, gets that LUN nowhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/policy/refresh_internal.h"

enum
{
    MASK_TARGETS_MAX = 2048, /* bytes of their names, for the program */
};

/* ---- the program --------------------------------------------------------------------------- */

static int mask_check_safe(const char *path, struct reason *why)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return reason_set(why, -ENOENT, "%s cannot be run: %s", path, strerror(errno));
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
        return reason_set(why, -EPERM,
                          "%s is not run: others than root and the server's user may change it",
                          path);
    return 0;
}

static int mask_path(const struct policy *policy, const char *hook, char *path, size_t size,
                     struct reason *why)
{
    if (!policy->refresh_folder)
        return reason_set(why, -ENOENT,
                          "the server calls no programs in a refresh: it was started without "
                          "--refresh-folder, and its conf file has no \"folder\" in [refresh]");
    if (strchr(hook, '/') || hook[0] == '.' || !hook[0])
        return reason_set(why, -EINVAL,
                          "\"%.80s\" is no program in %s: give its name there, without a folder",
                          hook, policy->refresh_folder);
    int n = snprintf(path, size, "%s/%s", policy->refresh_folder, hook);
    return n < 0 || (size_t)n >= size
               ? reason_set(why, -EINVAL, "the path of \"%s\" is too long", hook)
               : 0;
}

int refresh_check_hook(const struct policy *policy, const char *hook, struct reason *why)
{
    char path[4096];
    int r = mask_path(policy, hook, path, sizeof(path), why);
    if (r == 0)
        r = mask_check_safe(policy->refresh_folder, why);
    if (r == 0)
        r = mask_check_safe(path, why);
    if (r == 0 && access(path, X_OK) < 0)
        r = reason_set(why, -ENOENT, "%s cannot be run: %s", path, strerror(errno));
    if (r == 0 && !policy->nbd_uri)
        r = reason_set(why, -ENOENT,
                       "the server does not know where it is reached by NBD, which a program that "
                       "works on a LUN needs");
    return r;
}

/* Where NBD clients find @name; names need no escaping (lun.h). */
static void mask_uri(const struct policy *policy, const char *name, char *text, size_t size)
{
    const char *server = policy->nbd_uri, *query = strchrnul(server, '?');
    int len = (int)(query - server);
    snprintf(text, size, "LUNETTE_URI=%.*s%s%s%s", len, server,
             len > 0 && server[len - 1] == '/' ? "" : "/", name, query);
}

static int mask_run(struct policy *policy, const char *point, const struct refresh *list,
                    size_t count, const struct refresh_mask *mask, struct reason *why)
{
    char path[4096], uri[4096], lun[LUN_NAME_MAX + 32], source[REFRESH_NAME_MAX + 32];
    char targets[MASK_TARGETS_MAX] = "LUNETTE_TARGETS=";
    size_t at = strlen(targets);
    int r = refresh_check_hook(policy, list[0].hook, why);
    if (r == 0)
        r = mask_path(policy, list[0].hook, path, sizeof(path), why);
    if (r < 0)
        return r;
    /* Whole names, as many as fit. */
    for (size_t i = 0; i < count && at + strlen(list[i].lun) + 2 < sizeof(targets); i++)
        at +=
            (size_t)snprintf(targets + at, sizeof(targets) - at, "%s%s", i ? " " : "", list[i].lun);
    mask_uri(policy, mask->name, uri, sizeof(uri));
    snprintf(lun, sizeof(lun), "LUNETTE_LUN=%s", mask->name);
    snprintf(source, sizeof(source), "LUNETTE_SOURCE=%s", point);
    const char *const env[] = {uri, lun, source, targets, NULL};
    const struct policy_program program = {
        .path = path, .argument = "refresh", .env = env, .timeout_ms = policy->refresh_ms};
    return policy_run(policy, &program, why);
}

/* ---- the clone ----------------------------------------------------------------------------- */

static void mask_name(uint64_t number, struct refresh_mask *mask)
{
    snprintf(mask->key, sizeof(mask->key), "policy/masking/%016" PRIx64, number);
    snprintf(mask->name, sizeof(mask->name), "refresh-%016" PRIx64, number);
    snprintf(mask->comment, sizeof(mask->comment),
             "a refresh works on it, and deletes it: %016" PRIx64, number);
}

/* A number that no LUN and no note has. */
static int mask_find_number(struct policy *policy, uint64_t *found)
{
    for (uint64_t number = policy_now_ns(policy);; number++)
    {
        struct refresh_mask mask = {0};
        struct lun_info info;
        mask_name(number, &mask);
        AUTO_JSON json_t *note = NULL;
        int r = policy_load(policy, mask.key, &note);
        if (r < 0)
            return r;
        *found = number;
        if (!note && lun_get_info(policy->pool, mask.name, &info, NULL) == -ENOENT)
            return 0;
    }
}

/* What is there of the clone, by the name that it has now. */
static bool mask_find_clone(struct policy *policy, const struct refresh_mask *mask,
                            struct lun_info *info)
{
    if (mask->id == 0)
        return lun_get_info(policy->pool, mask->name, info, NULL) == 0 &&
               strcmp(info->comment, mask->comment) == 0;
    struct lun_info named; /* one that is deleted may still have its id, but has no name */
    return lun_get_info_by_id(policy->pool, mask->id, info) == 0 &&
           lun_get_info(policy->pool, info->name, &named, NULL) == 0 && named.id == mask->id;
}

/* By name, which the program may have changed, as may anybody else. */
static int mask_follow(struct policy *policy, struct refresh_mask *mask, struct reason *why)
{
    struct lun_info info;
    if (!mask_find_clone(policy, mask, &info))
        return reason_set(why, -EIO, "the clone that the program worked on is gone");
    snprintf(mask->name, sizeof(mask->name), "%.*s", LUN_NAME_MAX, info.name);
    return 0;
}

/* Makes the clone, and notes which it is. */
static int mask_clone(struct policy *policy, const char *point, struct refresh_mask *mask,
                      struct reason *why)
{
    const struct lun_clone_args args = {
        .source = point,
        .name = mask->name,
        .comment = mask->comment,
        .no_reserve = true,
        .unlocked = true}; /* what lun_redeploy() takes, it takes locked too */
    struct lun_info info;
    int r = lun_clone(policy->pool, &args, why);
    if (r < 0)
        return r;
    if (!mask_find_clone(policy, mask, &info))
        return reason_set(why, -EIO, "the clone for the program is gone");
    mask->id = info.id;
    return 0;
}

int refresh_mask(struct policy *policy, const char *point, const struct refresh *list, size_t count,
                 struct refresh_mask *mask, struct reason *why)
{
    *mask = (struct refresh_mask){.key = ""};
    int r = refresh_check_hook(policy, list[0].hook, why);
    uint64_t number = 0;
    if (r == 0)
        r = mask_find_number(policy, &number);
    if (r < 0)
        return r;
    mask_name(number, mask);
    json_t *note = json_pack("{s:s}", "point", point);
    r = note ? policy_save(policy, mask->key, note, why) : -ENOMEM;
    if (r == 0)
        r = mask_clone(policy, point, mask, why);
    if (r == 0)
        r = mask_run(policy, point, list, count, mask, why);
    return r < 0 ? r : mask_follow(policy, mask, why);
}

void refresh_unmask(struct policy *policy, const struct refresh_mask *mask)
{
    struct lun_info info;
    struct reason why;
    int r = 0;
    if (!mask->key[0])
        return; /* there was none */
    reason_clear(&why);
    if (mask_find_clone(policy, mask, &info))
        r = lun_delete(policy->pool, info.name, true, LUN_FORCE, &why);
    if (r == 0)
        r = policy_save(policy, mask->key, NULL, &why);
    if (r < 0)
        event_add(
            policy->pool, "error", "refresh.clone.kept", mask->name,
            "a clone for a refresh could not be deleted: %.120s; 'lunette lun delete %s' does",
            why.text[0] ? why.text : strerror(-r), mask->name);
}

static int unmask_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct refresh_mask mask = {0};
    uint64_t number = policy_key_id(key);
    (void)value, (void)len;
    if (number > 0)
    {
        mask_name(number, &mask);
        refresh_unmask(opaque, &mask);
    }
    return 0;
}

void refresh_unmask_all(struct policy *policy)
{
    ignore_error(store_list(policy->pool, "policy/masking/", unmask_cb, policy),
                 "without memory: at the next start");
}
