/* SPDX-License-Identifier: BSD-3-Clause */
/* lun modify: attributes that the engine, the server's policies and iSCSI keep of a LUN. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

enum modify_kind
{
    MODIFY_BOOL,
    MODIFY_MOMENT,
    MODIFY_TEXT,
};

static const struct modify_attribute
{
    const char *option, *key; /* of an argument */
    const char *view;         /* the key that shows it */
    const char *title;        /* of what iSCSI hosts see; NULL: they do not */
    enum modify_kind kind;
} modify_attributes[] = {
    {"space-reserve", "reserve", "reserved", NULL, MODIFY_BOOL},
    {"autodelete", "autodelete", "autodelete", NULL, MODIFY_BOOL},
    {"expire", "expire", "expire", NULL, MODIFY_MOMENT},
    {"lock-until", "locked_until", "locked_until", NULL, MODIFY_MOMENT},
    {"owner", "owner", "owner", NULL, MODIFY_TEXT},
    {"group", "group", "group", NULL, MODIFY_TEXT},
    {"qos", "qos", "qos", NULL, MODIFY_TEXT},
    {"threshold", "thresholds", "thresholds", NULL, MODIFY_TEXT},
    {"snapshot-policy", "snapshot_policy", "snapshot_policy", NULL, MODIFY_TEXT},
    {"read-only", "read_only", "read_only", "read-only", MODIFY_BOOL},
    {"removable", "removable", "removable", "removable", MODIFY_BOOL},
    {"native-512", "native_512", "native_512", "512 bytes natively", MODIFY_BOOL},
};

/* The two requests that a command line can need; an empty one is not sent. */
struct modify_requests
{
    json_t *own, *iscsi;
};

static void modify_free(struct modify_requests *requests)
{
    json_decref(requests->own);
    json_decref(requests->iscsi);
}

static enum ctl_exit modify_parse(const struct invocation *in, struct modify_requests *requests)
{
    enum ctl_exit status = ctl_put_attributes(in, requests->own);
    ctl_put_text(requests->own, "thresholds", option_text(in, "threshold"));
    ctl_put_text(requests->own, "snapshot_policy", option_text(in, "snapshot-policy"));
    for (size_t i = 0; status == CTL_DONE && i < ARRAY_SIZE(modify_attributes); i++)
        if (modify_attributes[i].title)
            status = ctl_put_bool(in, requests->iscsi, modify_attributes[i].key,
                                  modify_attributes[i].option);
    return status;
}

/* Sends @args with the name, if there are any, and adds what is answered to @result. */
static enum ctl_exit modify_send(const struct invocation *in, const char *verb, const json_t *args,
                                 json_t *result)
{
    AUTO_JSON json_t *answer = NULL;
    if (json_object_size(args) == 0)
        return CTL_DONE;
    json_t *sent = json_copy((json_t *)args);
    ctl_put_text(sent, "name", in->args[0]);
    /* Of the same LUN as the request before, whatever has its name now. */
    if (strcmp(verb, "lun.modify") == 0 && json_object_get(result, "id"))
        ctl_put(sent, "id", json_incref(json_object_get(result, "id")));
    if (option_flag(in, "dry-run"))
        ctl_put(sent, "dry_run", json_true());
    enum ctl_exit status = ctl_ask(in, verb, sent, &answer);
    if (status == CTL_DONE && json_object_update(result, answer) < 0)
        return ctl_no_memory(in);
    return status;
}

/* ---- a dry run ----------------------------------------------------------------------------- */

static const char *modify_text(const struct modify_attribute *attribute, const json_t *value,
                               char *text, size_t size)
{
    time_t at = (time_t)json_number_value(value);
    const char *words = json_string_value(value);
    struct tm tm;
    snprintf(text, size, "%s", words && *words ? words : "none");
    if (attribute->kind == MODIFY_BOOL)
        snprintf(text, size, "%s", json_is_true(value) ? "yes" : "no");
    else if (attribute->kind == MODIFY_MOMENT && at > 0 && localtime_r(&at, &tm))
        strftime(text, size, "%Y-%m-%d %H:%M:%S", &tm);
    return text;
}

/* What the pool keeps for a reserved LUN: metadata comes on top. */
static uint64_t modify_needed_bytes(const json_t *now, bool is_reserved)
{
    uint64_t size_bytes = ctl_get(now, "size_bytes"), own_bytes = ctl_get(now, "own_bytes");
    return is_reserved && size_bytes > own_bytes ? size_bytes - own_bytes : 0;
}

static void modify_print_reserve(const json_t *now, bool is_reserved)
{
    char before[UNITS_TEXT_MAX], after[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    bool was = json_is_true(json_object_get(now, "reserved"));
    uint64_t needed_bytes = modify_needed_bytes(now, is_reserved);
    printf("%s are kept for it now, %s%s afterwards; %s are available.\n",
           units_format_bytes(ctl_get(now, "needed_bytes"), 'h', before),
           needed_bytes > 0 ? "at least " : "",
           was == is_reserved ? before : units_format_bytes(needed_bytes, 'h', after),
           units_format_bytes(ctl_get(now, "available_bytes"), 'h', available));
}

/* {"name":..,"changes":{key:{"before":..,"after":..}},..}, and what people read. */
static enum ctl_exit modify_show_plan(const struct invocation *in, const json_t *now,
                                      const json_t *args)
{
    char before[256], after[256];
    json_t *changes = json_object();
    AUTO_JSON json_t *plan =
        json_pack("{s:s, s:b, s:o}", "name", in->args[0], "dry_run", 1, "changes", changes);
    const json_t *reserve = json_object_get(args, "reserve");
    bool json = option_flag(in, "json");
    if (!json)
        printf("Would change LUN %s; nothing was changed.\n", in->args[0]);
    for (size_t i = 0; i < ARRAY_SIZE(modify_attributes); i++)
    {
        const struct modify_attribute *attribute = &modify_attributes[i];
        json_t *was = json_object_get(now, attribute->view);
        json_t *is = json_object_get(args, attribute->key);
        if (!is)
            continue;
        ctl_put(changes, attribute->view,
                json_pack("{s:O, s:O}", "before", was ? was : json_null(), "after", is));
        if (!json)
            printf("%s: %s -> %s\n", attribute->option,
                   modify_text(attribute, was, before, sizeof(before)),
                   modify_text(attribute, is, after, sizeof(after)));
    }
    if (reserve && !json)
        modify_print_reserve(now, json_is_true(reserve));
    if (!json)
        ctl_print_promised(in, now);
    if (reserve)
        ctl_put(plan, "needed_bytes_at_least",
                proto_json_uint(modify_needed_bytes(now, json_is_true(reserve))));
    ctl_put(plan, "needed_bytes", proto_json_uint(ctl_get(now, "needed_bytes")));
    ctl_put(plan, "promised_bytes", json_copy(json_object_get(now, "promised_bytes")));
    if (json_object_get(now, "available_bytes"))
        ctl_put(plan, "available_bytes", proto_json_uint(ctl_get(now, "available_bytes")));
    if (json)
        table_print_json(stdout, plan);
    return CTL_DONE;
}

/* As it is now, from the two places that know. */
static enum ctl_exit modify_dry_run(const struct invocation *in,
                                    const struct modify_requests *requests)
{
    AUTO_JSON json_t *now = json_object();
    AUTO_JSON json_t *seen = NULL;
    AUTO_JSON json_t *args = json_deep_copy(requests->own);
    enum ctl_exit status = modify_send(in, "lun.modify", requests->iscsi, now);
    if (status == CTL_DONE && json_object_size(requests->iscsi) > 0)
        status = ctl_ask(in, "lun.attribute.show", json_pack("{s:s}", "name", in->args[0]), &seen);
    if (status == CTL_DONE)
        status = modify_send(in, "lun.attributes", requests->own, now);
    if (status != CTL_DONE)
        return status;
    if ((seen && json_object_update(now, seen) < 0) ||
        json_object_update(args, requests->iscsi) < 0)
        return ctl_no_memory(in);
    return modify_show_plan(in, now, args);
}

/* ---- the command --------------------------------------------------------------------------- */

static void modify_print_seen(const struct invocation *in, const json_t *result)
{
    printf("iSCSI hosts see %s as:", in->args[0]);
    bool has_any = false;
    for (size_t i = 0; i < ARRAY_SIZE(modify_attributes); i++)
    {
        if (!modify_attributes[i].title ||
            !json_is_true(json_object_get(result, modify_attributes[i].view)))
            continue;
        printf("%s %s", has_any ? "," : "", modify_attributes[i].title);
        has_any = true;
    }
    puts(has_any ? "." : " an ordinary disk.");
}

/* --importing no: what an interrupted import left is taken as all of it. */
static enum ctl_exit modify_accept(const struct invocation *in)
{
    AUTO_JSON json_t *asked = json_object();
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = ctl_put_bool(in, asked, "importing", "importing");
    if (status != CTL_DONE)
        return status;
    if (json_is_true(json_object_get(asked, "importing")))
        return ctl_usage(in, "only an import marks a LUN as importing; --importing no ends that");
    return ctl_do(in, "lun.import.end",
                  json_pack("{s:s, s:b}", "name", in->args[0], "dry_run", (int)dry_run),
                  "LUN %s %s as whole.", in->args[0], dry_run ? "would count" : "counts");
}

enum ctl_exit ctl_lun_modify(struct invocation *in)
{
    CLEANUP(modify_free)
    struct modify_requests requests = {.own = json_object(), .iscsi = json_object()};
    AUTO_JSON json_t *result = json_object();
    AUTO_JSON json_t *seen = NULL;
    enum ctl_exit status = modify_parse(in, &requests);
    if (status != CTL_DONE)
        return status;
    bool has_own = json_object_size(requests.own) > 0;
    bool has_iscsi = json_object_size(requests.iscsi) > 0;
    if (option_flag(in, "importing"))
        return has_own || has_iscsi ? ctl_usage(in, "--importing no goes without other options")
                                    : modify_accept(in);
    if (option_flag(in, "dry-run") && (has_own || has_iscsi))
        return modify_dry_run(in, &requests);
    status = modify_send(in, "lun.attributes", requests.own, result);
    if (status == CTL_DONE && has_iscsi)
        status = modify_send(in, "lun.modify", requests.iscsi, result);
    else if (status == CTL_DONE && !has_own)
        status = ctl_ask(in, "lun.attribute.show", json_pack("{s:s}", "name", in->args[0]), &seen);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, seen ? seen : result);
    else if (has_own && !has_iscsi)
    {
        printf("Changed LUN %s.\n", in->args[0]);
        ctl_print_promised(in, result);
    }
    else
        modify_print_seen(in, seen ? seen : result);
    return CTL_DONE;
}
