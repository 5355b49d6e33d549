/* SPDX-License-Identifier: BSD-3-Clause */
/* CHAP records: who must prove what. Secrets are wiped wherever they were. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "server/access_internal.h"

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

/* ---- sealed secrets ------------------------------------------------------------------------- */

static const char seal_context[2] = {'i', 'm'};

static int seal_secret(const struct access *access, bool is_mutual, const char *secret,
                       struct access_chap_record *record)
{
    return host_key_wrap(access->seal, &seal_context[is_mutual], 1, secret,
                         record->sealed[is_mutual]);
}

static int access_seal_chap(const struct access *access, const struct access_chap_entry *entry,
                            struct access_chap_record *record)
{
    *record = (struct access_chap_record){.stored = entry->stored};
    memcpy(record->subject, entry->subject, sizeof(record->subject));
    memcpy(record->user, entry->chap.user, sizeof(record->user));
    memcpy(record->mutual_user, entry->chap.mutual_user, sizeof(record->mutual_user));
    memcpy(record->key, entry->key, sizeof(record->key));
    if (entry->stored == ACCESS_CHAP_LOCKED)
        return 0;
    int r = seal_secret(access, false, entry->chap.secret, record);
    return r < 0 ? r : seal_secret(access, true, entry->chap.mutual_secret, record);
}

/* Not of a locked one. */
static int unseal(const struct access *access, const struct access_chap_record *record,
                  struct access_chap *chap)
{
    memcpy(chap->user, record->user, sizeof(chap->user));
    memcpy(chap->mutual_user, record->mutual_user, sizeof(chap->mutual_user));
    int r =
        host_key_unwrap(access->seal, &seal_context[false], 1, record->sealed[false], chap->secret);
    return r < 0 ? r
                 : host_key_unwrap(access->seal, &seal_context[true], 1, record->sealed[true],
                                   chap->mutual_secret);
}

static int unseal_entry(const struct access *access, const struct access_chap_record *record,
                        struct access_chap_entry *entry)
{
    explicit_bzero(entry, sizeof(*entry));
    memcpy(entry->subject, record->subject, sizeof(entry->subject));
    memcpy(entry->key, record->key, sizeof(entry->key));
    entry->stored = record->stored;
    return record->stored == ACCESS_CHAP_LOCKED ? 0 : unseal(access, record, &entry->chap);
}

void access_tell_swap(struct access *access)
{
    if (access->is_swap_told || secret_memory_is_locked())
        return;
    access->is_swap_told = true;
    event_add(access->pool, "warning", "memory.unlocked", "",
              "keys and CHAP secrets in the server's memory may be swapped out: it may lock no "
              "pages; LimitMEMLOCK=1M in the unit, or ulimit -l 1024, lets it");
}

static int access_reserve_chap(struct access *access)
{
    struct access_chap_record *list =
        realloc(access->chaps, (access->chap_count + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    access->chaps = list;
    return 0;
}

static void access_place_chap(struct access *access, const struct access_chap_record *record)
{
    bool found;
    size_t place = chap_place(access, record->subject, &found);
    if (!found)
    {
        memmove(access->chaps + place + 1, access->chaps + place,
                (access->chap_count - place) * sizeof(*access->chaps));
        access->chap_count++;
    }
    access->chaps[place] = *record;
}

int access_put_chap(struct access *access, const struct access_chap_entry *entry)
{
    struct access_chap_record record;
    int r = access_seal_chap(access, entry, &record);
    if (r == 0)
        r = access_reserve_chap(access);
    if (r == 0)
        access_place_chap(access, &record);
    return r;
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

static int store_chap(struct access *access, const char *subject, const struct access_chap *chap,
                      struct reason *why)
{
    const struct host_key *host_key = access_key(access);
    AUTO_CHAP_ENTRY struct access_chap_entry *entry = secret_alloc(sizeof(*entry));
    char key[ACCESS_KEY_BYTES], value[ACCESS_CHAP_VALUE_MAX];
    struct store_change change = {key, value, 0};
    if (!entry)
        return reason_set(why, -ENOMEM, "no memory for a CHAP record");
    access_key_chap(subject, key);
    snprintf(entry->subject, sizeof(entry->subject), "%s", subject);
    entry->chap = *chap;
    if (host_key)
    {
        entry->stored = ACCESS_CHAP_WRAPPED;
        memcpy(entry->key, host_key->id, sizeof(entry->key));
    }
    int r = access_chap_encode(host_key, subject, chap, value, &change.len);
    if (r < 0)
        r = reason_set(why, r, "the CHAP secret cannot be wrapped: %s", strerror(-r));
    struct access_chap_record record;
    if (r == 0 && (r = access_seal_chap(access, entry, &record)) < 0)
        r = reason_set(why, r, "the CHAP secret cannot be sealed: %s", strerror(-r));
    if (r == 0)
    {
        AUTO_LOCK(&access->lock);
        r = access_reserve_chap(access);
    }
    if (r == 0)
        r = store_apply(access->pool, &change, 1, why);
    explicit_bzero(value, sizeof(value));
    if (r == 0)
    {
        access_tell_swap(access);
        AUTO_LOCK(&access->lock);
        access_place_chap(access, &record);
    }
    return r;
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
        const struct access_chap_record *record = &access->chaps[i];
        memcpy(infos[i].subject, record->subject, sizeof(record->subject));
        memcpy(infos[i].user, record->user, sizeof(record->user));
        memcpy(infos[i].mutual_user, record->mutual_user, sizeof(record->mutual_user));
        memcpy(infos[i].key, record->key, sizeof(record->key));
        infos[i].stored = record->stored;
    }
    *list = infos;
    *count = access->chap_count;
    return 0;
}

const char *access_chap_stored_name(enum access_chap_stored stored)
{
    static const char *const names[] = {[ACCESS_CHAP_CLEAR] = "in clear",
                                        [ACCESS_CHAP_WRAPPED] = "wrapped",
                                        [ACCESS_CHAP_LOCKED] = "locked"};
    return names[stored];
}

/* A damaged one needs none. */
static void count_needed(const struct access_chap_record *record, const char *own,
                         struct access_chap_counts *counts)
{
    if (record->stored != ACCESS_CHAP_LOCKED || !record->key[0] ||
        (own && strcmp(own, record->key) == 0))
        return;
    if (!counts->needed[0])
        memcpy(counts->needed, record->key, sizeof(counts->needed));
    else if (strcmp(counts->needed, record->key) != 0)
        counts->needs_more = true;
}

void access_chap_count(struct access *access, struct access_chap_counts *counts)
{
    *counts = (struct access_chap_counts){0};
    size_t *const of[] = {[ACCESS_CHAP_CLEAR] = &counts->clear,
                          [ACCESS_CHAP_WRAPPED] = &counts->wrapped,
                          [ACCESS_CHAP_LOCKED] = &counts->locked};
    AUTO_LOCK(&access->lock);
    for (size_t i = 0; i < access->chap_count; i++)
    {
        (*of[access->chaps[i].stored])++;
        count_needed(&access->chaps[i], access_key_id(access), counts);
    }
}

/* ---- what an initiator must prove ---------------------------------------------------------- */

static struct access_chap_record *find_chap(struct access *access, const char *subject)
{
    bool found;
    size_t place = chap_place(access, subject, &found);
    return found ? &access->chaps[place] : NULL;
}

static struct access_chap_record *find_chap_of(struct access *access, const char *initiator,
                                               bool discovery)
{
    struct access_chap_record *found = find_chap(access, discovery ? "discovery" : initiator);
    for (size_t i = 0; !found && !discovery && i < access->group_count; i++)
    {
        char subject[ACCESS_NAME_MAX + 8];
        if (!access_group_has(access->groups[i], initiator))
            continue;
        snprintf(subject, sizeof(subject), "igroup:%s", access->groups[i]->name);
        found = find_chap(access, subject);
    }
    return found || discovery ? found : find_chap(access, "*");
}

/* The text of an event is short: what helps has to fit, so a long subject is cut. */
static void tell_locked(struct access *access, const char *initiator, const char *subject,
                        const char *key)
{
    const char *own = access_key_id(access);
    if (!key[0] || (own && strcmp(own, key) == 0))
        event_add(access->pool, "error", "iscsi.chap.locked", initiator,
                  "login refused: the CHAP secret of '%.64s' is damaged, or was put there from "
                  "elsewhere; 'lunette iscsi chap set %.64s' sets it anew",
                  subject, subject);
    else if (own)
        event_add(
            access->pool, "error", "iscsi.chap.locked", initiator,
            "login refused: the CHAP secret of '%.64s' needs the key %s, and the server has "
            "another; 'lunette iscsi chap rewrap --old-key FILE' moves it, 'lunette iscsi chap "
            "set' makes a new one",
            subject, key);
    else
        event_add(access->pool, "error", "iscsi.chap.locked", initiator,
                  "login refused: the CHAP secret of '%.64s' needs the key %s, and the server has "
                  "none; 'lunette serve --key-file FILE' serves with it",
                  subject, key);
}

int access_find_chap(struct access *access, const char *initiator, bool discovery,
                     struct access_chap *chap)
{
    char subject[ACCESS_INITIATOR_MAX + 1], key[ACCESS_CHAP_KEY_BYTES];
    bool is_told;
    {
        AUTO_LOCK(&access->lock);
        struct access_chap_record *found = find_chap_of(access, initiator, discovery);
        if (!found)
            return -ENOENT;
        if (found->stored != ACCESS_CHAP_LOCKED)
            return unseal(access, found, chap);
        memcpy(subject, found->subject, sizeof(subject));
        memcpy(key, found->key, sizeof(key));
        is_told = found->is_told;
        found->is_told = true;
    }
    if (!is_told)
        tell_locked(access, initiator, subject, key);
    return -EKEYREJECTED;
}

/* ---- another key --------------------------------------------------------------------------- */

const char *access_key_id(const struct access *access)
{
    return access->key ? access->key->id : NULL;
}

/* The record as it is stored, by the old key. */
static int read_by_old_key(struct access *access, const struct host_key *old_key,
                           struct access_chap_entry *entry)
{
    char subject[ACCESS_INITIATOR_MAX + 1], key[ACCESS_KEY_BYTES];
    AUTO_FREE void *value = NULL;
    size_t len;
    memcpy(subject, entry->subject, sizeof(subject)); /* decoding begins by wiping the entry */
    access_key_chap(subject, key);
    int r = store_get(access->pool, key, &value, &len);
    return r < 0 ? r : access_chap_decode(old_key, subject, value, len, entry);
}

/* Under change_lock; @at is a copy of the record. */
static int rewrap_one(struct access *access, struct access_chap_entry *at,
                      const struct host_key *old_key, bool dry_run, struct access_rewrap *done,
                      struct reason *why)
{
    bool is_clear = at->stored == ACCESS_CHAP_CLEAR;
    if (at->stored == ACCESS_CHAP_WRAPPED)
    {
        done->kept++;
        return 0;
    }
    if (at->stored == ACCESS_CHAP_LOCKED && old_key)
    {
        int r = read_by_old_key(access, old_key, at);
        if (r < 0)
            return reason_set(why, r, "the CHAP record cannot be read: %s", strerror(-r));
    }
    if (at->stored == ACCESS_CHAP_LOCKED)
    {
        done->locked++;
        return 0;
    }
    int r = dry_run ? 0 : store_chap(access, at->subject, &at->chap, why);
    if (r == 0)
        (*(is_clear ? &done->wrapped : &done->moved))++;
    return r;
}

static int refuse_without_key(struct access *access, struct reason *why)
{
    struct access_chap_counts counts;
    access_chap_count(access, &counts);
    if (!counts.needed[0])
        return reason_set(why, -ENOKEY,
                          "this server has no key to wrap with: 'lunette key create "
                          "/etc/lunette/lunette.key' makes one, and 'lunette serve --key-file "
                          "/etc/lunette/lunette.key' serves with it");
    return reason_set(
        why, -ENOKEY,
        "this server has no key to wrap with, and %zu CHAP secrets need the key %s%s: "
        "it has to be started with the file of that (--key-file, key_file in the "
        "conf file); 'lunette key show' with a file's path tells which key it has",
        counts.locked, counts.needed, counts.needs_more ? " and others" : "");
}

int access_chap_rewrap(struct access *access, const struct host_key *old_key, bool dry_run,
                       struct access_rewrap *done, struct reason *why)
{
    memset(done, 0, sizeof(*done));
    if (!access->key)
        return refuse_without_key(access, why);
    AUTO_LOCK(&access->change_lock);
    AUTO_CHAP_ENTRY struct access_chap_entry *entry = secret_alloc(sizeof(*entry));
    if (!entry)
        return reason_set(why, -ENOMEM, "no memory for a CHAP record");
    int r = 0;
    for (size_t i = 0; r == 0 && i < access->chap_count; i++)
    {
        r = unseal_entry(access, &access->chaps[i], entry);
        if (r < 0)
            r = reason_set(why, r, "a CHAP record in memory is damaged: %s", strerror(-r));
        else
            r = rewrap_one(access, entry, old_key, dry_run, done, why);
    }
    return r;
}
