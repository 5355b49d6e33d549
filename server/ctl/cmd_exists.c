/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --if-not-exists: what was to be made is there already, and is what was asked for.
 *
 * It is looked at after the server refused to make it, not before, so that of two who make the same
 * thing at once one makes it and the other finds it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

enum
{
    EXISTS_COMPARED_MAX = 2,
    EXISTS_TEXT_MAX = 1024,
};

/* How to find what a verb refused to make, and what of it has to be the same. */
struct exists_rule
{
    const char *verb, *kind;
    const char *name;             /* of its arguments */
    const char *look, *look_name; /* the verb that shows it, and its argument */
    const char *list;             /* in its result */
    struct
    {
        const char *asked, *is, *title;
    } compared[EXISTS_COMPARED_MAX];
};

/* What is compared of all of them, but only if it was asked for. */
static const struct
{
    const char *asked, *is, *title;
} exists_if_asked[] = {
    {"reserve", "reserved", "space reservation"},
    {"autodelete", "autodelete", "autodelete"},
    {"owner", "owner", "owner"},
    {"group", "group", "group"},
    {"qos", "qos", "QoS class"},
    {"guarantee", "guarantee", "guarantee"},
    {"full_policy", "full_policy", "policy when full"},
};

static const struct exists_rule exists_rules[] = {
    {"lun.create",
     "LUN",
     "name",
     "lun.show",
     "name",
     "luns",
     {{"size_bytes", "size_bytes", "size"}, {"sector_bytes", "sector_bytes", "sector size"}}},
    {"lun.clone", "LUN", "name", "lun.show", "name", "luns", {{"source", "origin", "source"}}},
    {"volume.create",
     "volume",
     "name",
     "volume.show",
     "name",
     "volumes",
     {{"size_bytes", "size_bytes", "size"}}},
    {"volume.clone",
     "volume",
     "name",
     "volume.show",
     "name",
     "volumes",
     {{"volume", "parent_volume", "parent"}}},
    {"snapshot.create", "snapshot", "name", "snapshot.show", "lun", "snapshots", {{0}}},
    {"qtree.create", "qtree", "path", "qtree.show", "volume", "qtrees", {{0}}},
    {"igroup.create",
     "igroup",
     "name",
     "igroup.show",
     "name",
     "igroups",
     {{"initiators", "initiators", "initiators"}}},
};

/* "/vol/db/a" is "db/a". */
static const char *exists_name(const char *name)
{
    return name + (strncmp(name, "/vol/", 5) == 0 ? 5 : 0);
}

static bool exists_has(const json_t *array, const json_t *value)
{
    size_t i;
    const json_t *one;
    json_array_foreach(array, i, one)
    {
        if (json_equal(one, value))
            return true;
    }
    return false;
}

/* Whether @asked, NULL if it was not, is what is there. */
static bool exists_is_same(const json_t *asked, const json_t *is)
{
    size_t i;
    const json_t *one;
    if (json_is_string(asked))
        return strcmp(exists_name(json_string_value(asked)),
                      json_is_string(is) ? json_string_value(is) : "") == 0;
    if (json_is_boolean(asked)) /* a guarantee is told in words */
        return json_is_true(asked) == (json_is_string(is)
                                           ? strcmp(json_string_value(is), "volume") == 0
                                           : json_is_true(is));
    if (!json_is_array(asked))
        return json_integer_value(asked) == json_integer_value(is);
    json_array_foreach(asked, i, one)
    {
        if (!exists_has(is, one))
            return false;
    }
    return json_array_size(asked) == json_array_size(is);
}

static void exists_format(const json_t *value, char text[UNITS_TEXT_MAX])
{
    if (json_is_string(value) && *json_string_value(value))
        snprintf(text, UNITS_TEXT_MAX, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        snprintf(text, UNITS_TEXT_MAX, json_is_true(value) ? "yes" : "no");
    else if (json_integer_value(value) > 0)
        units_format_bytes((uint64_t)json_integer_value(value), 'h', text);
    else
        snprintf(text, UNITS_TEXT_MAX, json_is_array(value) ? "others" : "none");
}

/* What is there has @is for @title, and @asked was asked for. */
static enum ctl_exit exists_refuse(const struct invocation *in, const char *title, const json_t *is,
                                   const json_t *asked, const struct client_refusal *refusal)
{
    char text[EXISTS_TEXT_MAX], there[UNITS_TEXT_MAX], wanted[UNITS_TEXT_MAX];
    exists_format(is, there);
    exists_format(asked, wanted);
    snprintf(text, sizeof(text), "%.600s, and is another: its %s is %s, not %s", refusal->why.text,
             title, there, wanted);
    return ctl_fail(in, -EEXIST, text, refusal->hint);
}

/* @entry, which there is, as @args wanted it? CTL_EXISTS, or what was refused. */
static enum ctl_exit exists_compare(const struct invocation *in, const struct exists_rule *rule,
                                    const json_t *args, const json_t *entry,
                                    const struct client_refusal *refusal)
{
    char text[EXISTS_TEXT_MAX];
    for (size_t i = 0; i < EXISTS_COMPARED_MAX && rule->compared[i].asked; i++)
    {
        const json_t *wanted = json_object_get(args, rule->compared[i].asked);
        const json_t *there = json_object_get(entry, rule->compared[i].is);
        if (json_is_array(wanted) && !exists_is_same(wanted, there))
        {
            snprintf(text, sizeof(text), "%.600s, and is another: its %s are others",
                     refusal->why.text, rule->compared[i].title);
            return ctl_fail(in, -EEXIST, text, refusal->hint);
        }
        if (!exists_is_same(wanted, there))
            return exists_refuse(in, rule->compared[i].title, there, wanted, refusal);
    }
    for (size_t i = 0; i < ARRAY_SIZE(exists_if_asked); i++)
    {
        const json_t *wanted = json_object_get(args, exists_if_asked[i].asked);
        const json_t *there = json_object_get(entry, exists_if_asked[i].is);
        if (wanted && !exists_is_same(wanted, there))
            return exists_refuse(in, exists_if_asked[i].title, there, wanted, refusal);
    }
    /* A clone of a snapshot is named after it. */
    const char *snapshot = json_string_value(json_object_get(args, "snapshot"));
    const char *parent = json_string_value(json_object_get(entry, "parent"));
    const char *at = parent ? strchr(parent, '@') : NULL;
    if (snapshot && at && strcmp(at + 1, snapshot) != 0)
    {
        snprintf(text, sizeof(text), "%.600s, and is another: its parent is %.200s",
                 refusal->why.text, parent);
        return ctl_fail(in, -EEXIST, text, refusal->hint);
    }
    return CTL_EXISTS;
}

/* What @rule's verb shows of @name, in *entry, which is in *result; false: nothing. */
static bool exists_find(struct client *client, const struct exists_rule *rule, const char *name,
                        json_t **result, const json_t **entry)
{
    struct client_refusal refusal;
    char *key = NULL;
    const char *slash = strchr(exists_name(name), '/');
    bool is_qtree = strcmp(rule->kind, "qtree") == 0, found = false;
    size_t i;
    const json_t *one;
    /* Qtrees are shown by their volume, snapshots by their LUN or volume. */
    size_t len = strcmp(rule->kind, "snapshot") == 0 ? strcspn(name, "@")
                 : is_qtree && slash                 ? (size_t)(slash - name)
                                                     : strlen(name);
    if (asprintf(&key, "%.*s", (int)len, name) < 0)
        return false;
    int r = client_call(client, rule->look, json_pack("{s:s}", rule->look_name, key), NULL, NULL,
                        result, &refusal);
    free(key);
    if (r < 0)
        return false;
    json_array_foreach(json_object_get(*result, rule->list), i, one)
    {
        const char *text = json_string_value(json_object_get(one, "name"));
        const char *path = json_string_value(json_object_get(one, "path"));
        *entry = one;
        found = (text && strcmp(text, exists_name(name)) == 0) ||
                (path && strcmp(path, exists_name(name)) == 0);
        if (found)
            break;
    }
    return found;
}

static enum ctl_exit exists_check(const struct invocation *in, struct client *client,
                                  const struct exists_rule *rule, const char *name,
                                  const json_t *args, const struct client_refusal *refusal)
{
    AUTO_JSON json_t *result = NULL;
    const json_t *entry = NULL;
    if (!exists_find(client, rule, name, &result, &entry))
        return ctl_fail(in, -EEXIST, refusal->why.text, refusal->hint);
    enum ctl_exit status = exists_compare(in, rule, args, entry, refusal);
    if (status != CTL_EXISTS)
        return status;
    if (option_flag(in, "json"))
    {
        AUTO_JSON json_t *said = json_deep_copy(entry);
        ctl_put(said, "existed", json_true());
        table_print_json(stdout, said);
    }
    else
        printf("There is %s %s already; nothing was changed.\n", rule->kind, name);
    return CTL_EXISTS;
}

/* Several clones: each as it was asked for. */
static enum ctl_exit exists_check_group(const struct invocation *in, struct client *client,
                                        const json_t *args, const struct client_refusal *refusal)
{
    const struct exists_rule *rule = &exists_rules[1];
    const json_t *sources = json_object_get(args, "sources");
    enum ctl_exit status = CTL_EXISTS;
    size_t i;
    const json_t *name;
    json_array_foreach(json_object_get(args, "names"), i, name)
    {
        AUTO_JSON json_t *result = NULL;
        AUTO_JSON json_t *one = json_copy((json_t *)args); /* which is only read */
        ctl_put(one, "source", json_incref(json_array_get(sources, i)));
        const json_t *entry = NULL;
        if (status != CTL_EXISTS)
            break;
        if (exists_find(client, rule, json_string_value(name), &result, &entry))
            status = exists_compare(in, rule, one, entry, refusal);
        else
            status = ctl_fail(in, -EEXIST, refusal->why.text, refusal->hint);
    }
    if (status == CTL_EXISTS && option_flag(in, "json"))
    {
        AUTO_JSON json_t *said = json_pack("{s:O, s:O, s:b}", "sources", sources, "names",
                                           json_object_get(args, "names"), "existed", 1);
        table_print_json(stdout, said);
    }
    else if (status == CTL_EXISTS)
        printf("There are these %zu LUNs already; nothing was changed.\n", i);
    return status;
}

/* Whether there are snapshots of the name @args have, of the other volumes too. */
static bool exists_has_others(struct client *client, const struct exists_rule *rule,
                              const json_t *args)
{
    char name[2 * LUN_NAME_MAX + 2];
    bool found = true;
    size_t i;
    const json_t *volume;
    json_array_foreach(json_object_get(args, "with"), i, volume)
    {
        AUTO_JSON json_t *result = NULL;
        const json_t *entry;
        snprintf(name, sizeof(name), "%s@%s", json_string_value(volume),
                 json_string_value(json_object_get(args, "snapshot")));
        found = found && exists_find(client, rule, name, &result, &entry);
    }
    return found;
}

enum ctl_exit ctl_check_existing(const struct invocation *in, struct client *client,
                                 const char *verb, const json_t *args,
                                 const struct client_refusal *refusal)
{
    char name[2 * LUN_NAME_MAX + 2];
    const char *lun = json_string_value(json_object_get(args, "lun"));
    if (strcmp(verb, "lun.clone_group") == 0)
        return exists_check_group(in, client, args, refusal);
    for (size_t i = 0; i < ARRAY_SIZE(exists_rules); i++)
    {
        const struct exists_rule *rule = &exists_rules[i];
        const char *asked = json_string_value(json_object_get(args, rule->name));
        if (strcmp(rule->verb, verb) != 0)
            continue;
        if (lun)
            snprintf(name, sizeof(name), "%s@%s", lun,
                     json_string_value(json_object_get(args, "snapshot")));
        else
            snprintf(name, sizeof(name), "%s", asked ? asked : "");
        if (!exists_has_others(client, rule, args))
            break;
        return exists_check(in, client, rule, name, args, refusal);
    }
    return ctl_fail(in, -EEXIST, refusal->why.text, refusal->hint);
}
