/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots while applications hold still: a program is called with "freeze" before, and with
 * "thaw" afterwards, whatever came in between.
 *
 * Always true:
 *  - only programs in the host's quiesce folder are called; a pool only names one;
 *  - who was told to freeze is told to thaw: also when freeze failed or took too long, and by the
 *    next server when this one ends in between, for which a note is in the store;
 *  - one at a time, so that nobody's thaw ends somebody else's freeze.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/policy/policy_internal.h"

enum
{
    QUIESCE_OBJECTS_MAX = 2048, /* bytes of their names, for the program */
};

int policy_check_quiesce(const struct policy *policy, const struct policy_quiesce *quiesce,
                         struct reason *why)
{
    const char *program = quiesce->program;
    char path[4096];
    if (!policy->quiesce_folder)
        return reason_set(why, -ENOENT,
                          "the server calls no programs before a snapshot: it was started without "
                          "--quiesce-folder, and its conf file has no \"folder\" in [quiesce]");
    if (strchr(program, '/') || program[0] == '.' || !program[0])
        return reason_set(why, -EINVAL,
                          "\"%.80s\" is no program in %s: give its name there, without a folder",
                          program, policy->quiesce_folder);
    int n = snprintf(path, sizeof(path), "%s/%s", policy->quiesce_folder, program);
    if (n < 0 || (size_t)n >= sizeof(path))
        return reason_set(why, -EINVAL, "the path of \"%s\" is too long", program);
    if (access(path, X_OK) < 0)
        return reason_set(why, -ENOENT, "%s cannot be run: %s", path, strerror(errno));
    return 0;
}

static int quiesce_call(struct policy *policy, const struct policy_freeze *freeze,
                        const char *argument, struct reason *why)
{
    char path[4096], snapshot[2 * LUN_NAME_MAX + 32], objects[QUIESCE_OBJECTS_MAX + 32];
    int r = policy_check_quiesce(policy, &freeze->quiesce, why);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", policy->quiesce_folder, freeze->quiesce.program);
    snprintf(snapshot, sizeof(snapshot), "LUNETTE_SNAPSHOT=%s", freeze->snapshot);
    snprintf(objects, sizeof(objects), "LUNETTE_OBJECTS=%s", freeze->objects);
    const char *const env[] = {snapshot, objects, NULL};
    const uint32_t timeout_ms = freeze->quiesce.timeout_ms;
    const struct policy_program program = {.path = path,
                                           .argument = argument,
                                           .env = env,
                                           .timeout_ms =
                                               timeout_ms ? timeout_ms : POLICY_QUIESCE_MS};
    return policy_run(policy, &program, why);
}

static int quiesce_note(struct policy *policy, struct policy_freeze *freeze, struct reason *why)
{
    snprintf(freeze->key, sizeof(freeze->key), "policy/frozen/%016" PRIx64, policy_now_ns(policy));
    json_t *json = json_pack("{s:s, s:s, s:s, s:I}", "program", freeze->quiesce.program, "snapshot",
                             freeze->snapshot, "objects", freeze->objects, "timeout_ms",
                             (json_int_t)freeze->quiesce.timeout_ms);
    return json ? policy_save(policy, freeze->key, json, why) : -ENOMEM;
}

int policy_freeze(struct policy *policy, const struct policy_quiesce *quiesce,
                  const char *const *objects, size_t count, const char *snapshot,
                  struct policy_freeze *freeze, struct reason *why)
{
    char text[QUIESCE_OBJECTS_MAX] = "";
    size_t at = 0;
    for (size_t i = 0; i < count && at < sizeof(text); i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", objects[i]);
    *freeze = (struct policy_freeze){.quiesce = *quiesce};
    snprintf(freeze->objects, sizeof(freeze->objects), "%s", text);
    snprintf(freeze->snapshot, sizeof(freeze->snapshot), "%s", snapshot);
    int r = policy_check_quiesce(policy, quiesce, why);
    lock_take(&policy->quiesce_lock);
    freeze->is_held = true;
    if (r == 0)
        r = quiesce_note(policy, freeze, why);
    if (r < 0)
        return r;
    freeze->has_begun = true;
    r = quiesce_call(policy, freeze, "freeze", why);
    freeze->is_frozen = r == 0;
    return r;
}

static void quiesce_thaw(struct policy *policy, const struct policy_freeze *freeze)
{
    struct reason why;
    reason_clear(&why);
    int r = quiesce_call(policy, freeze, "thaw", &why);
    if (r == -ECANCELED)
        return; /* the next server finds the note */
    if (r < 0)
        event_add(policy->pool, "error", "snapshot.thaw.failed", freeze->snapshot,
                  "what was frozen for a snapshot may still be: %.200s", why.text);
    r = policy_save(policy, freeze->key, NULL, &why);
    if (r < 0)
        log_warning("a note on a thawed program stays: %s", why.text);
}

void policy_thaw(struct policy *policy, struct policy_freeze *freeze)
{
    if (freeze->has_begun)
        quiesce_thaw(policy, freeze);
    if (freeze->is_held)
        lock_release(&policy->quiesce_lock);
    *freeze = (struct policy_freeze){0};
}

/* What a server that ended left frozen. */
static int quiesce_recover_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct policy *policy = opaque;
    struct policy_freeze freeze = {0};
    uint64_t timeout_ms = 0;
    AUTO_JSON json_t *json = policy_parse(policy, key, value, len);
    snprintf(freeze.key, sizeof(freeze.key), "%s", key);
    policy_get_text(json, "program", freeze.quiesce.program, sizeof(freeze.quiesce.program));
    policy_get_text(json, "snapshot", freeze.snapshot, sizeof(freeze.snapshot));
    policy_get_text(json, "objects", freeze.objects, sizeof(freeze.objects));
    policy_get_number(json, "timeout_ms", UINT32_MAX, &timeout_ms);
    freeze.quiesce.timeout_ms = (uint32_t)timeout_ms;
    event_add(policy->pool, "warning", "snapshot.thaw", freeze.snapshot,
              "the server ended while %.60s was frozen for a snapshot; it is thawed now",
              freeze.objects);
    quiesce_thaw(policy, &freeze);
    return 0;
}

void policy_thaw_all(struct policy *policy)
{
    ignore_error(store_list(policy->pool, "policy/frozen/", quiesce_recover_cb, policy),
                 "without memory: at the next start");
}

const char *policy_consistency(const struct policy_freeze *freeze)
{
    return freeze->is_frozen ? "[application-consistent]" : "[crash-consistent]";
}

static int quiesce_create(struct policy *policy, const struct policy_snapshot_args *args,
                          const char *comment, struct reason *why)
{
    const struct volume_snapshot_args of_volumes = {
        .name = args->name, .comment = comment, .locked_until_ns = args->locked_until_ns};
    if (args->is_lun)
        return snapshot_create_until(policy->pool, args->objects[0], args->name, comment,
                                     args->locked_until_ns, why);
    return volume_snapshot_create(policy->pool, args->objects, args->count, &of_volumes, why);
}

int policy_snapshot(struct policy *policy, const struct policy_snapshot_args *args,
                    struct reason *why)
{
    struct policy_freeze freeze = {0};
    char comment[LUN_COMMENT_MAX + 64];
    int r = policy_check_quiesce(policy, args->quiesce, why);
    if (r < 0)
        return r;
    if (args->dry_run)
        return quiesce_create(policy, args, args->comment, why);
    r = policy_freeze(policy, args->quiesce, args->objects, args->count, args->name, &freeze, why);
    if (r < 0 && (args->quiesce->is_required || !freeze.has_begun || r == -ECANCELED))
    {
        policy_thaw(policy, &freeze);
        return r;
    }
    if (r < 0)
        event_add(policy->pool, "warning", "snapshot.freeze.failed", args->name,
                  "the snapshot is only crash-consistent: %.200s", why ? why->text : "");
    snprintf(comment, sizeof(comment), "%s%s%s", policy_consistency(&freeze),
             args->comment ? " " : "", args->comment ? args->comment : "");
    r = quiesce_create(policy, args, comment, why);
    policy_thaw(policy, &freeze);
    return r;
}
