/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of access control share.
 *
 * Changes are one at a time (change_lock): each is prepared, stored, and only then made visible in
 * memory (lock). So readers never wait for the disk, and what they see is durable. Who holds
 * change_lock may read everything without lock, as nobody else writes.
 */
#ifndef SERVER_ACCESS_INTERNAL_H
#define SERVER_ACCESS_INTERNAL_H

#include "lun/base/cleanup.h"
#include "lun/base/lock.h"
#include "server/access.h"
#include "server/host_key.h"
#include "server/secret_memory.h"

enum
{
    ACCESS_KEY_BYTES = STORE_KEY_MAX + 1,
    ACCESS_AUTOMATIC_MAX =
        1023, /* hosts look no further by default; above only when all are taken */
    ACCESS_CHAPS_MAX = 8192,
    ACCESS_CHAP_VALUE_MAX = 2304, /* of a record as it is stored */
};

struct access_initiator
{
    char *name;
    uint32_t slot; /* its key in the store */
};

struct access_map_entry
{
    uint64_t lun_id;
    uint32_t number;
    char lun_name[2 * LUN_NAME_MAX + 2]; /* when it was last looked at */
};

struct access_group
{
    char name[ACCESS_NAME_MAX + 1];
    struct access_initiator *initiators;
    size_t initiator_count;
    struct access_map_entry *maps; /* by number */
    size_t map_count;
    uint32_t next_number; /* where the search for an automatic number begins */
};

struct access_flags
{
    uint64_t lun_id;
    unsigned flags;
};

/* A record with its secrets. It lies in secret memory, for the length of a call. */
struct access_chap_entry
{
    char subject[ACCESS_INITIATOR_MAX + 1];
    struct access_chap chap; /* no secrets if it is locked */
    enum access_chap_stored stored;
    char key[ACCESS_CHAP_KEY_BYTES]; /* id of the key that wraps it; "": nothing, or damaged */
};
SECRET_CLEANUP(access_free_entry, struct access_chap_entry)
#define AUTO_CHAP_ENTRY CLEANUP(access_free_entry)

/* What is kept of it: secrets are sealed by a key of this process, so that the pages may be swapped
 * out, of which there can be thousands. */
struct access_chap_record
{
    char subject[ACCESS_INITIATOR_MAX + 1];
    char user[ACCESS_CHAP_USER_MAX + 1];
    char mutual_user[ACCESS_CHAP_USER_MAX + 1];
    uint8_t sealed[2][HOST_KEY_WRAPPED_BYTES]; /* the initiator's, the target's */
    enum access_chap_stored stored;
    char key[ACCESS_CHAP_KEY_BYTES];
    bool is_told; /* that a login was refused since it is locked */
};

struct access
{
    struct pool *pool;
    struct lock change_lock;      /* LOCK_RANK_SESSION */
    struct lock lock;             /* LOCK_RANK_LU; all below */
    struct access_group **groups; /* by name */
    size_t group_count;
    struct access_flags *flags;
    size_t flags_count;
    struct access_chap_record *chaps; /* by subject */
    size_t chap_count;
    struct host_key *key;  /* NULL: none; secret memory, immutable once open, as is the next */
    struct host_key *seal; /* of what is in chaps */
    bool is_swap_told;     /* under change_lock */
    char target_name[ACCESS_INITIATOR_MAX + 1]; /* immutable once open */

    access_hook *hook;
    void *hook_opaque;
    unsigned hook_calls; /* running now */
    struct condition hook_idle;
};

/* access.c: tells the hook; without locks. */
void access_announce(struct access *access);
struct access_group *access_find_group(const struct access *access, const char *name);
bool access_group_has(const struct access_group *group, const char *initiator);
/* -ENOENT with a reason. */
MUST_CHECK int access_require_group(struct access *access, const char *name,
                                    struct access_group **group, struct reason *why);

/*
 * Memory only; the caller holds lock. -ENOMEM. Where something is stored, too, it is done in two:
 * room is had first, then it is stored, then it is put there, which cannot fail.
 */
MUST_CHECK int access_group_insert(struct access *access, const char *name,
                                   struct access_group **group);
MUST_CHECK int access_group_add_initiator(struct access_group *group, const char *initiator,
                                          uint32_t slot);
MUST_CHECK int access_group_add_map(struct access_group *group,
                                    const struct access_map_entry *entry);
MUST_CHECK int access_put_flags(struct access *access, uint64_t lun_id, unsigned flags);
MUST_CHECK int access_put_chap(struct access *access, const struct access_chap_entry *entry);
/* The first time that there are secrets in memory that can be swapped out: an event says so. */
void access_tell_swap(struct access *access);
void access_drop_chap(struct access *access, const char *subject);
void access_group_free(struct access_group *group);

/* access_store.c: keys and values. */
void access_key_group(const char *group, char key[ACCESS_KEY_BYTES]);
void access_key_initiator(const char *group, uint32_t slot, char key[ACCESS_KEY_BYTES]);
void access_key_map(const char *group, uint64_t lun_id, char key[ACCESS_KEY_BYTES]);
void access_key_flags(uint64_t lun_id, char key[ACCESS_KEY_BYTES]);
void access_key_chap(const char *subject, char key[ACCESS_KEY_BYTES]);
/* NULL: no key. */
const struct host_key *access_key(const struct access *access);

/* access_secret.c. @key NULL: in clear. Wipe @value, also after a failure. */
MUST_CHECK int access_chap_encode(const struct host_key *key, const char *subject,
                                  const struct access_chap *chap, char value[ACCESS_CHAP_VALUE_MAX],
                                  size_t *len);
/*
 * @value is ended by a NUL behind @len. What is wrapped and cannot be unwrapped by @key (NULL:
 * none) is 0 too, and locked. -EBADMSG: neither clear nor wrapped. Wipe *entry.
 */
MUST_CHECK int access_chap_decode(const struct host_key *key, const char *subject,
                                  const char *value, size_t len, struct access_chap_entry *entry);
MUST_CHECK int access_load(struct access *access, struct reason *why);
#define ACCESS_KEY_TARGET_NAME "access/target-name"

#endif
