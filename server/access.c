/* SPDX-License-Identifier: BSD-3-Clause */
/* Access control: names, initiator groups, the table in memory. Mappings: access_map.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/size_text.h"
#include "server/access_internal.h"

enum
{
    ACCESS_CHANGES_MAX = ACCESS_INITIATORS_PER_GROUP_MAX + 1,
};

/* ---- names --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(const char *text, size_t len)
{
    return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

/* "iqn.2001-04.com.example:storage"; RFC 7143 section 4.2.7. */
static bool is_iqn(const char *name)
{
    static const char form[] = "iqn.dddd-dd.";
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' && i >= 4 ? !is_digit(name[i]) : name[i] != form[i])
            return false;
    const char *rest = name + sizeof(form) - 1;
    return rest[0] && rest[strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789.:-")] == '\0';
}

int access_normalise_name(const char *name, char *normal, struct reason *why)
{
    size_t len = strlen(name);
    if (len == 0 || len > ACCESS_INITIATOR_MAX)
        return reason_set(why, -EINVAL,
                          "'%.80s' is no iSCSI name: it has %zu bytes, and 1 to %d are allowed",
                          name, len, ACCESS_INITIATOR_MAX);
    char lower[ACCESS_INITIATOR_MAX + 1] = "";
    for (size_t i = 0; i <= len; i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
    bool ok = is_iqn(lower) || (strncmp(lower, "eui.", 4) == 0 && is_hex(lower + 4, 16)) ||
              (strncmp(lower, "naa.", 4) == 0 && (is_hex(lower + 4, 16) || is_hex(lower + 4, 32)));
    if (!ok)
        return reason_set(why, -EINVAL,
                          "'%s' is no iSCSI name; such a name looks like "
                          "iqn.2001-04.com.example:host1, eui.0123456789abcdef or "
                          "naa.0123456789abcdef",
                          name);
    memcpy(normal, lower, len + 1);
    return 0;
}

static int check_group_name(const char *name, struct reason *why)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:+-";
    size_t len = strlen(name);
    if (len > 0 && len <= ACCESS_NAME_MAX && strspn(name, allowed) == len && name[0] != '-')
        return 0;
    return reason_set(why, -EINVAL,
                      "'%.80s' cannot be the name of an igroup: 1 to %d letters, digits and "
                      ". _ : + - are allowed, the first not -",
                      name, ACCESS_NAME_MAX);
}

/* ---- the table in memory ------------------------------------------------------------------- */

/* The place of @name in the sorted groups. */
static size_t group_place(const struct access *access, const char *name)
{
    size_t low = 0, high = access->group_count;
    while (low < high)
    {
        size_t middle = (low + high) / 2;
        if (strcmp(access->groups[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct access_group *access_find_group(const struct access *access, const char *name)
{
    size_t place = group_place(access, name);
    if (place == access->group_count || strcmp(access->groups[place]->name, name) != 0)
        return NULL;
    return access->groups[place];
}

int access_require_group(struct access *access, const char *name, struct access_group **group,
                         struct reason *why)
{
    *group = access_find_group(access, name);
    if (*group)
        return 0;
    return reason_set(why, -ENOENT,
                      "there is no igroup '%s'; 'lunette igroup show' lists them, 'lunette igroup "
                      "create %s' makes it",
                      name, name);
}

static size_t find_initiator(const struct access_group *group, const char *initiator)
{
    size_t i = 0;
    while (i < group->initiator_count && strcmp(group->initiators[i].name, initiator) != 0)
        i++;
    return i;
}

bool access_group_has(const struct access_group *group, const char *initiator)
{
    return find_initiator(group, initiator) < group->initiator_count;
}

void access_group_free(struct access_group *group)
{
    if (!group)
        return;
    for (size_t i = 0; i < group->initiator_count; i++)
        free(group->initiators[i].name);
    free(group->initiators);
    free(group->maps);
    free(group);
}

static int access_reserve_group(struct access *access)
{
    struct access_group **groups =
        realloc(access->groups, (access->group_count + 1) * sizeof(struct access_group *));
    if (!groups)
        return -ENOMEM;
    access->groups = groups;
    return 0;
}

/* After access_reserve_group(). */
static void access_put_group(struct access *access, struct access_group *group)
{
    size_t place = group_place(access, group->name);
    memmove(access->groups + place + 1, access->groups + place,
            (access->group_count - place) * sizeof(struct access_group *));
    access->groups[place] = group;
    access->group_count++;
}

int access_group_insert(struct access *access, const char *name, struct access_group **out)
{
    struct access_group *group = calloc(1, sizeof(*group));
    int r = group ? access_reserve_group(access) : -ENOMEM;
    if (r < 0)
    {
        free(group);
        return r;
    }
    snprintf(group->name, sizeof(group->name), "%s", name);
    access_put_group(access, group);
    *out = group;
    return 0;
}

static int access_group_reserve_initiator(struct access_group *group, const char *initiator,
                                          char **name)
{
    struct access_initiator *list =
        realloc(group->initiators, (group->initiator_count + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    group->initiators = list;
    char *copy = strdup(initiator);
    if (!copy)
        return -ENOMEM;
    *name = copy;
    return 0;
}

static void access_group_place_initiator(struct access_group *group, char *name, uint32_t slot)
{
    group->initiators[group->initiator_count++] =
        (struct access_initiator){.name = name, .slot = slot};
}

int access_group_add_initiator(struct access_group *group, const char *initiator, uint32_t slot)
{
    char *name;
    int r = access_group_reserve_initiator(group, initiator, &name);
    if (r == 0)
        access_group_place_initiator(group, name, slot);
    return r;
}

/* ---- open and close ------------------------------------------------------------------------ */

/* From the pool's uuid, which makes it unique. */
static void make_target_name(struct pool *pool, char name[ACCESS_INITIATOR_MAX + 1])
{
    struct pool_info info;
    pool_get_info(pool, &info);
    int len = snprintf(name, ACCESS_INITIATOR_MAX + 1, "iqn.2026-11.org.lunette:");
    for (size_t i = 0; i < sizeof(info.uuid); i++)
        len += snprintf(name + len, (size_t)(ACCESS_INITIATOR_MAX + 1 - len), "%02x", info.uuid[i]);
}

static int load_target_name(struct access *access, struct reason *why)
{
    AUTO_FREE void *value = NULL;
    size_t len = 0;
    int r = store_get(access->pool, ACCESS_KEY_TARGET_NAME, &value, &len);
    if (r == -ENOENT)
    {
        make_target_name(access->pool, access->target_name);
        return 0;
    }
    if (r == 0 && len > ACCESS_INITIATOR_MAX)
        r = -EBADMSG;
    if (r < 0)
        return reason_set(why, r, "the target's name cannot be read from the pool: %s",
                          strerror(-r));
    snprintf(access->target_name, sizeof(access->target_name), "%s", (const char *)value);
    return 0;
}

const struct host_key *access_key(const struct access *access)
{
    return access->key;
}

int access_open(struct pool *pool, struct access **out, struct reason *why)
{
    return access_open_with_key(pool, NULL, out, why);
}

static int take_keys(struct access *access, const struct host_key *key, struct reason *why)
{
    access->seal = secret_alloc(sizeof(*access->seal));
    if (key)
        access->key = secret_alloc(sizeof(*access->key));
    if (!access->seal || (key && !access->key))
        return reason_set(why, -ENOMEM, "no memory for keys");
    if (key)
        *access->key = *key;
    int r = host_key_choose(access->seal);
    return r < 0 ? reason_set(why, r, "there are no random bytes for a key") : 0;
}

int access_open_with_key(struct pool *pool, const struct host_key *key, struct access **out,
                         struct reason *why)
{
    struct access *access = calloc(1, sizeof(*access));
    if (!access)
        return reason_set(why, -ENOMEM, "no memory for igroups and mappings");
    access->pool = pool;
    lock_init(&access->change_lock, LOCK_RANK_SESSION);
    lock_init(&access->lock, LOCK_RANK_LU);
    condition_init(&access->hook_idle);
    int r = take_keys(access, key, why);
    if (r == 0)
        r = load_target_name(access, why);
    if (r == 0)
        r = access_load(access, why);
    if (r < 0)
    {
        access_close(access);
        return r;
    }
    if (key || access->chap_count > 0)
        access_tell_swap(access);
    *out = access;
    return 0;
}

void access_close(struct access *access)
{
    if (!access)
        return;
    for (size_t i = 0; i < access->group_count; i++)
        access_group_free(access->groups[i]);
    secret_free(access->key, sizeof(*access->key));
    secret_free(access->seal, sizeof(*access->seal));
    free(access->groups);
    free(access->flags);
    free(access->chaps);
    condition_destroy(&access->hook_idle);
    lock_destroy(&access->lock);
    lock_destroy(&access->change_lock);
    free(access);
}

const char *access_target_name(struct access *access)
{
    return access->target_name;
}

int access_set_target_name(struct access *access, const char *name, struct reason *why)
{
    char normal[ACCESS_INITIATOR_MAX + 1] = "";
    int r = access_normalise_name(name, normal, why);
    if (r < 0)
        return r;
    struct store_change change = {ACCESS_KEY_TARGET_NAME, normal, strlen(normal)};
    return store_apply(access->pool, &change, 1, why);
}

/* ---- hook ---------------------------------------------------------------------------------- */

void access_set_hook(struct access *access, access_hook *hook, void *opaque)
{
    AUTO_LOCK(&access->lock);
    access->hook = hook;
    access->hook_opaque = opaque;
    while (access->hook_calls > 0)
        condition_wait(&access->hook_idle, &access->lock);
}

void access_announce(struct access *access)
{
    lock_take(&access->lock);
    access_hook *hook = access->hook;
    void *opaque = access->hook_opaque;
    access->hook_calls++;
    lock_release(&access->lock);
    if (hook)
        hook(opaque);
    AUTO_LOCK(&access->lock);
    access->hook_calls--;
    condition_wake_all(&access->hook_idle);
}

/* ---- igroups ------------------------------------------------------------------------------- */

/* Normalises @initiators into @normal; no name twice. */
static int normalise_all(const char *const *initiators, size_t count,
                         char (*normal)[ACCESS_INITIATOR_MAX + 1], struct reason *why)
{
    for (size_t i = 0; i < count; i++)
    {
        int r = access_normalise_name(initiators[i], normal[i], why);
        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (strcmp(normal[i], normal[j]) == 0)
                return reason_set(why, -EINVAL, "initiator '%s' is given twice", normal[i]);
    }
    return 0;
}

static int store_new_group(struct access *access, const char *group,
                           char (*normal)[ACCESS_INITIATOR_MAX + 1], size_t count,
                           struct reason *why)
{
    AUTO_FREE struct store_change *changes = calloc(count + 1, sizeof(*changes));
    AUTO_FREE char(*keys)[ACCESS_KEY_BYTES] = calloc(count + 1, sizeof(*keys));
    if (!changes || !keys)
        return reason_set(why, -ENOMEM, "no memory for igroup '%s'", group);
    access_key_group(group, keys[0]);
    changes[0] = (struct store_change){keys[0], "0", 1};
    for (size_t i = 0; i < count; i++)
    {
        access_key_initiator(group, (uint32_t)i, keys[i + 1]);
        changes[i + 1] = (struct store_change){keys[i + 1], normal[i], strlen(normal[i])};
    }
    return store_apply(access->pool, changes, count + 1, why);
}

/* What memory has of it is made first: once it is stored nothing can fail. */
static int create_stored(struct access *access, const char *name,
                         char (*normal)[ACCESS_INITIATOR_MAX + 1], size_t count, struct reason *why)
{
    struct access_group *group = calloc(1, sizeof(*group));
    int r = group ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = access_group_add_initiator(group, normal[i], (uint32_t)i);
    if (r == 0)
    {
        AUTO_LOCK(&access->lock);
        r = access_reserve_group(access);
    }
    if (r < 0)
        r = reason_set(why, r, "no memory for igroup '%s'", name);
    else
        r = store_new_group(access, name, normal, count, why);
    if (r < 0)
    {
        access_group_free(group);
        return r;
    }
    snprintf(group->name, sizeof(group->name), "%s", name);
    AUTO_LOCK(&access->lock);
    access_put_group(access, group);
    return 0;
}

int access_igroup_create(struct access *access, const char *group, const char *const *initiators,
                         size_t count, struct reason *why)
{
    int r = check_group_name(group, why);
    if (r < 0)
        return r;
    if (count > ACCESS_INITIATORS_PER_GROUP_MAX)
        return reason_set(why, -EINVAL,
                          "igroup '%s' would have %zu initiators, and %d are possible; another "
                          "igroup can be mapped to the same LUNs",
                          group, count, ACCESS_INITIATORS_PER_GROUP_MAX);
    AUTO_FREE char(*normal)[ACCESS_INITIATOR_MAX + 1] = calloc(count + 1, sizeof(*normal));
    if (!normal)
        return reason_set(why, -ENOMEM, "no memory for igroup '%s'", group);
    r = normalise_all(initiators, count, normal, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->change_lock);
    if (access_find_group(access, group))
        return reason_set(why, -EEXIST,
                          "there is an igroup '%s' already; 'lunette igroup add %s INITIATOR' adds "
                          "initiators to it",
                          group, group);
    if (access->group_count >= ACCESS_GROUPS_MAX)
        return reason_set(
            why, -ENOSPC,
            "there are %d igroups, and no more are possible; 'lunette igroup delete' makes "
            "room for one",
            ACCESS_GROUPS_MAX);
    return create_stored(access, group, normal, count, why); /* nothing is mapped to it yet */
}

static uint32_t free_slot(const struct access_group *group)
{
    uint32_t slot = 0;
    for (size_t i = 0; i < group->initiator_count; i++)
        if (group->initiators[i].slot >= slot)
            slot = group->initiators[i].slot + 1;
    return slot;
}

/* What else @initiator sees must not collide with what it would see by @group. */
static int check_joins(const struct access *access, const struct access_group *group,
                       const char *initiator, struct reason *why)
{
    for (size_t i = 0; i < access->group_count; i++)
    {
        const struct access_group *other = access->groups[i];
        if (other == group || !access_group_has(other, initiator))
            continue;
        for (size_t a = 0; a < group->map_count; a++)
            for (size_t b = 0; b < other->map_count; b++)
            {
                const struct access_map_entry *x = &group->maps[a], *y = &other->maps[b];
                if ((x->lun_id == y->lun_id) == (x->number == y->number))
                    continue;
                return reason_set(why, -EBUSY,
                                  "initiator '%s' is in igroup '%s' too, where '%s' is LUN %u; in "
                                  "'%s' '%s' is LUN %u, and it can see one of them there; 'lunette "
                                  "lun unmap %s --igroup %s' takes one away",
                                  initiator, other->name, y->lun_name, y->number, group->name,
                                  x->lun_name, x->number, x->lun_name, group->name);
            }
    }
    return 0;
}

static int add_locked(struct access *access, const char *group_name, const char *initiator,
                      struct reason *why)
{
    struct access_group *group;
    int r = access_require_group(access, group_name, &group, why);
    if (r < 0)
        return r;
    if (access_group_has(group, initiator))
        return reason_set(
            why, -EEXIST,
            "initiator '%s' is in igroup '%s' already; 'lunette igroup show %s' lists "
            "those that are",
            initiator, group_name, group_name);
    if (group->initiator_count >= ACCESS_INITIATORS_PER_GROUP_MAX)
        return reason_set(why, -ENOSPC,
                          "igroup '%s' has %d initiators, and no more are possible; another igroup "
                          "can be mapped to the same LUNs",
                          group_name, ACCESS_INITIATORS_PER_GROUP_MAX);
    r = check_joins(access, group, initiator, why);
    if (r < 0)
        return r;
    char key[ACCESS_KEY_BYTES];
    uint32_t slot = free_slot(group);
    access_key_initiator(group_name, slot, key);
    struct store_change change = {key, initiator, strlen(initiator)};
    AUTO_FREE char *name = NULL;
    {
        AUTO_LOCK(&access->lock);
        r = access_group_reserve_initiator(group, initiator, &name);
    }
    if (r == 0)
        r = store_apply(access->pool, &change, 1, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    access_group_place_initiator(group, take_ptr(&name), slot);
    return 0;
}

int access_igroup_add(struct access *access, const char *group, const char *initiator,
                      struct reason *why)
{
    char normal[ACCESS_INITIATOR_MAX + 1] = "";
    int r = access_normalise_name(initiator, normal, why);
    if (r < 0)
        return r;
    lock_take(&access->change_lock);
    r = add_locked(access, group, normal, why);
    lock_release(&access->change_lock);
    if (r == 0)
        access_announce(access);
    return r;
}

static int remove_locked(struct access *access, const char *group_name, const char *initiator,
                         struct reason *why)
{
    struct access_group *group;
    int r = access_require_group(access, group_name, &group, why);
    if (r < 0)
        return r;
    size_t i = find_initiator(group, initiator);
    if (i == group->initiator_count)
        return reason_set(why, -ENOENT,
                          "initiator '%s' is not in igroup '%s'; 'lunette igroup show %s' lists "
                          "those that are",
                          initiator, group_name, group_name);
    char key[ACCESS_KEY_BYTES];
    access_key_initiator(group_name, group->initiators[i].slot, key);
    struct store_change change = {.key = key};
    r = store_apply(access->pool, &change, 1, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    free(group->initiators[i].name);
    group->initiators[i] = group->initiators[--group->initiator_count];
    return 0;
}

int access_igroup_remove(struct access *access, const char *group, const char *initiator,
                         struct reason *why)
{
    char normal[ACCESS_INITIATOR_MAX + 1] = "";
    int r = access_normalise_name(initiator, normal, why);
    if (r < 0)
        return r;
    lock_take(&access->change_lock);
    r = remove_locked(access, group, normal, why);
    lock_release(&access->change_lock);
    if (r == 0)
        access_announce(access);
    return r;
}

/* All keys of @group go in one step. */
static int delete_stored(struct access *access, const struct access_group *group,
                         struct reason *why)
{
    size_t count = 2 + group->initiator_count + group->map_count, used = 0;
    AUTO_FREE struct store_change *changes = calloc(count, sizeof(*changes));
    AUTO_FREE char(*keys)[ACCESS_KEY_BYTES] = calloc(count, sizeof(*keys));
    if (!changes || !keys)
        return reason_set(why, -ENOMEM, "no memory to delete igroup '%s'", group->name);
    access_key_group(group->name, keys[used++]);
    for (size_t i = 0; i < group->initiator_count; i++)
        access_key_initiator(group->name, group->initiators[i].slot, keys[used++]);
    for (size_t i = 0; i < group->map_count; i++)
        access_key_map(group->name, group->maps[i].lun_id, keys[used++]);
    char subject[ACCESS_NAME_MAX + 8];
    snprintf(subject, sizeof(subject), "igroup:%s", group->name);
    access_key_chap(subject, keys[used++]);
    for (size_t i = 0; i < used; i++)
        changes[i].key = keys[i];
    return store_apply(access->pool, changes, used, why);
}

static int delete_locked(struct access *access, const char *name, bool force, struct reason *why)
{
    struct access_group *group;
    int r = access_require_group(access, name, &group, why);
    if (r < 0)
        return r;
    if (group->map_count > 0 && !force)
        return reason_set(
            why, -EBUSY,
            "igroup '%s' has %zu mapping%s; 'lunette mapping show --igroup %s' lists them; with "
            "--force they go too, and no LUN is left to its %zu initiator%s",
            name, group->map_count, plural_s(group->map_count), name, group->initiator_count,
            plural_s(group->initiator_count));
    r = delete_stored(access, group, why);
    if (r < 0)
        return r;
    char subject[ACCESS_NAME_MAX + 8];
    snprintf(subject, sizeof(subject), "igroup:%s", name);
    AUTO_LOCK(&access->lock);
    size_t place = group_place(access, name);
    memmove(access->groups + place, access->groups + place + 1,
            (access->group_count - place - 1) * sizeof(struct access_group *));
    access->group_count--;
    access_group_free(group);
    access_drop_chap(access, subject);
    return 0;
}

int access_igroup_delete(struct access *access, const char *group, bool force, struct reason *why)
{
    lock_take(&access->change_lock);
    int r = delete_locked(access, group, force, why);
    lock_release(&access->change_lock);
    if (r == 0)
        access_announce(access);
    return r;
}

/* ---- listing ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int copy_group(const struct access_group *group, struct access_igroup *out)
{
    snprintf(out->name, sizeof(out->name), "%s", group->name);
    out->mapping_count = (uint32_t)group->map_count;
    out->initiators = calloc(group->initiator_count + 1, sizeof(*out->initiators));
    if (!out->initiators)
        return -ENOMEM;
    for (size_t i = 0; i < group->initiator_count; i++)
        snprintf(out->initiators[i], sizeof(out->initiators[i]), "%s", group->initiators[i].name);
    qsort(out->initiators, group->initiator_count, sizeof(*out->initiators), compare_names);
    out->initiator_count = group->initiator_count;
    return 0;
}

int access_igroup_list(struct access *access, const char *group, struct access_igroup **groups,
                       size_t *count, struct reason *why)
{
    AUTO_LOCK(&access->lock);
    struct access_group *only = NULL;
    if (group)
    {
        int r = access_require_group(access, group, &only, why);
        if (r < 0)
            return r;
    }
    struct access_igroup *list = calloc(access->group_count + 1, sizeof(*list));
    if (!list)
        return reason_set(why, -ENOMEM, "no memory for the list");
    size_t used = 0;
    for (size_t i = 0; i < access->group_count; i++)
    {
        if (only && access->groups[i] != only)
            continue;
        int r = copy_group(access->groups[i], &list[used]);
        if (r < 0)
        {
            access_igroups_free(list, used);
            return reason_set(why, r, "no memory for the list");
        }
        used++;
    }
    *groups = list;
    *count = used;
    return 0;
}

void access_igroups_free(struct access_igroup *groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(groups[i].initiators);
    free(groups);
}
