/* SPDX-License-Identifier: BSD-3-Clause */
/* CHAP records: who must prove what. Secrets are wiped wherever they were. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "server/access_internal.h"

enum
{
    CHAP_VALUE_MAX = 4 * (ACCESS_CHAP_SECRET_MAX + 1),
};

void access_chap_wipe(struct access_chap *chap)
{
    explicit_bzero(chap, sizeof(*chap));
}

static size_t chap_place(const struct access *access, const char *subject, bool *found)
{
    size_t i = 0;
    while (i < access->chap_count && strcmp(access->chaps[i].subject, subject) < 0)
        i++;
    *found = i < access->chap_count && strcmp(access->chaps[i].subject, subject) == 0;
    return i;
}

int access_put_chap(struct access *access, const char *subject, const struct access_chap *chap)
{
    bool found;
    size_t place = chap_place(access, subject, &found);
    if (!found)
    {
        /* Not realloc(), which would leave a copy of the secrets behind. */
        struct access_chap_entry *list = calloc(access->chap_count + 1, sizeof(*list));
        if (!list)
            return -ENOMEM;
        if (access->chap_count)
        {
            size_t behind = access->chap_count - place;
            memcpy(list, access->chaps, place * sizeof(*list));
            memcpy(list + place + 1, access->chaps + place, behind * sizeof(*list));
            explicit_bzero(access->chaps, access->chap_count * sizeof(*list));
        }
        free(access->chaps);
        access->chaps = list;
        access->chap_count++;
        snprintf(list[place].subject, sizeof(list[place].subject), "%s", subject);
    }
    access->chaps[place].chap = *chap;
    return 0;
}

void access_drop_chap(struct access *access, const char *subject)
{
    bool found;
    size_t place = chap_place(access, subject, &found);
    if (!found)
        return;
    memmove(access->chaps + place, access->chaps + place + 1,
            (access->chap_count - place - 1) * sizeof(*access->chaps));
    access->chap_count--;
    access_chap_wipe(&access->chaps[access->chap_count].chap);
}

/* The subject as it is stored. */
static int check_subject(struct access *access, const char *subject, char *normal,
                         struct reason *why)
{
    if (strcmp(subject, "*") == 0 || strcmp(subject, "discovery") == 0)
    {
        snprintf(normal, ACCESS_INITIATOR_MAX + 1, "%s", subject);
        return 0;
    }
    if (strncmp(subject, "igroup:", 7) != 0)
        return access_normalise_name(subject, normal, why);
    struct access_group *group;
    int r = access_require_group(access, subject + 7, &group, why);
    if (r == 0)
        snprintf(normal, ACCESS_INITIATOR_MAX + 1, "%s", subject);
    return r;
}

static int check_pair(const char *user, const char *secret, const char *what, struct reason *why)
{
    size_t len = strlen(secret);
    if (user[0] == '\0')
        return reason_set(why, -EINVAL, "the %s CHAP user is empty", what);
    if (len < ACCESS_CHAP_SECRET_MIN)
        return reason_set(why, -EINVAL,
                          "the %s CHAP secret has %zu characters; RFC 7143 asks for %d at least",
                          what, len, ACCESS_CHAP_SECRET_MIN);
    return 0;
}

static int check_chap(const struct access_chap *chap, struct reason *why)
{
    int r = check_pair(chap->user, chap->secret, "initiator's", why);
    if (r < 0 || !chap->mutual_user[0])
        return r;
    r = check_pair(chap->mutual_user, chap->mutual_secret, "target's", why);
    if (r == 0 && strcmp(chap->secret, chap->mutual_secret) == 0)
        return reason_set(why, -EINVAL,
                          "both directions have the same CHAP secret, which lets an attacker "
                          "answer with what he was asked");
    return r;
}

static size_t put_string(char *at, const char *text)
{
    size_t len = strlen(text) + 1;
    memcpy(at, text, len);
    return len;
}

static int store_chap(struct access *access, const char *subject, const struct access_chap *chap,
                      struct reason *why)
{
    char key[ACCESS_KEY_BYTES], value[CHAP_VALUE_MAX];
    access_key_chap(subject, key);
    size_t len = put_string(value, chap->user);
    len += put_string(value + len, chap->secret);
    len += put_string(value + len, chap->mutual_user);
    len += put_string(value + len, chap->mutual_secret);
    struct store_change change = {key, value, len};
    int r = store_apply(access->pool, &change, 1, why);
    explicit_bzero(value, sizeof(value));
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    return access_put_chap(access, subject, chap);
}

int access_chap_set(struct access *access, const char *subject, const struct access_chap *chap,
                    struct reason *why)
{
    char normal[ACCESS_INITIATOR_MAX + 1];
    int r = check_chap(chap, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->change_lock);
    r = check_subject(access, subject, normal, why);
    if (r < 0)
        return r;
    if (access->chap_count >= ACCESS_CHAPS_MAX)
        return reason_set(why, -ENOSPC,
                          "there are %d CHAP records, and no more are possible; 'lunette iscsi "
                          "chap delete' makes room",
                          ACCESS_CHAPS_MAX);
    return store_chap(access, normal, chap, why);
}

int access_chap_delete(struct access *access, const char *subject, struct reason *why)
{
    char normal[ACCESS_INITIATOR_MAX + 1], key[ACCESS_KEY_BYTES];
    AUTO_LOCK(&access->change_lock);
    int r = check_subject(access, subject, normal, why);
    if (r < 0)
        return r;
    bool found;
    chap_place(access, normal, &found);
    if (!found)
        return reason_set(why, -ENOENT,
                          "there is no CHAP record of '%s'; 'lunette iscsi chap show' lists them",
                          subject);
    access_key_chap(normal, key);
    struct store_change change = {.key = key};
    r = store_apply(access->pool, &change, 1, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    access_drop_chap(access, normal);
    return 0;
}

int access_chap_list(struct access *access, struct access_chap_info **list, size_t *count)
{
    AUTO_LOCK(&access->lock);
    struct access_chap_info *infos = calloc(access->chap_count + 1, sizeof(*infos));
    if (!infos)
        return -ENOMEM;
    for (size_t i = 0; i < access->chap_count; i++)
    {
        const struct access_chap_entry *entry = &access->chaps[i];
        memcpy(infos[i].subject, entry->subject, sizeof(entry->subject));
        memcpy(infos[i].user, entry->chap.user, sizeof(entry->chap.user));
        memcpy(infos[i].mutual_user, entry->chap.mutual_user, sizeof(entry->chap.mutual_user));
    }
    *list = infos;
    *count = access->chap_count;
    return 0;
}

static const struct access_chap *find_chap(const struct access *access, const char *subject)
{
    bool found;
    size_t place = chap_place(access, subject, &found);
    return found ? &access->chaps[place].chap : NULL;
}

int access_find_chap(struct access *access, const char *initiator, bool discovery,
                     struct access_chap *chap)
{
    AUTO_LOCK(&access->lock);
    const struct access_chap *found = find_chap(access, discovery ? "discovery" : initiator);
    for (size_t i = 0; !found && !discovery && i < access->group_count; i++)
    {
        char subject[ACCESS_NAME_MAX + 8];
        if (!access_group_has(access->groups[i], initiator))
            continue;
        snprintf(subject, sizeof(subject), "igroup:%s", access->groups[i]->name);
        found = find_chap(access, subject);
    }
    if (!found && !discovery)
        found = find_chap(access, "*");
    if (!found)
        return -ENOENT;
    *chap = *found;
    return 0;
}
