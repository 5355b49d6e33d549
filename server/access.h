/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may see which LUN: initiator groups, LUN mappings, LUN attributes, CHAP secrets.
 *
 * An igroup is a named set of initiators (iSCSI names, lower case). A mapping gives a LUN (or a
 * snapshot, read-only) a LUN number towards an igroup. An initiator sees the mappings of all the
 * igroups it is in; one that is in none sees nothing.
 *
 * Always true:
 *  - all of it is stored in the pool (store_*), durable when a function returns 0;
 *  - a mapping names a LUN by its id: it follows a rename, ends with a delete, and a clone has
 * none;
 *  - no initiator has two LUNs under one number, or one LUN under two numbers;
 *  - a number chosen automatically is the one used longest ago or never, so that a host that still
 *    caches what was there does not write to a LUN that came in its place.
 *
 * All functions may be called from any thread. Secrets leave only through access_find_chap().
 */
#ifndef SERVER_ACCESS_H
#define SERVER_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"

struct access;
struct host_key;

enum
{
    ACCESS_NAME_MAX = 64,       /* bytes of an igroup's name */
    ACCESS_INITIATOR_MAX = 223, /* bytes of an iSCSI name */
    ACCESS_INITIATORS_PER_GROUP_MAX = 256,
    ACCESS_GROUPS_MAX = 4096,
    ACCESS_LUN_NUMBER_MAX = 4095,
    ACCESS_LUN_AUTOMATIC = -1,
    ACCESS_CHAP_USER_MAX = 255,
    ACCESS_CHAP_SECRET_MIN = 12,
    ACCESS_CHAP_SECRET_MAX = 255,
    ACCESS_CHAP_KEY_BYTES = 17,
};

/* Reads everything from the pool's store, which outlives it. -EBADMSG: not understood. */
MUST_CHECK int access_open(struct pool *pool, struct access **access, struct reason *why);
/*
 * With the key of this host, which is copied: it unwraps the CHAP secrets that it has wrapped, and
 * wraps those that are set. NULL: they are set in clear. Records that need another key are locked:
 * who has to prove himself by one is refused, and everything else works.
 */
MUST_CHECK int access_open_with_key(struct pool *pool, const struct host_key *key,
                                    struct access **access, struct reason *why);
void access_close(struct access *access); /* NULL is accepted */

/*
 * Called after each change of what somebody sees, without locks. One hook. NULL removes it; when
 * that returns, no call runs any more.
 */
typedef void access_hook(void *opaque);
void access_set_hook(struct access *access, access_hook *hook, void *opaque);

/* The name of the one target, "iqn...": made at first from the pool's uuid, then stored. */
const char *access_target_name(struct access *access);
/* Takes effect at the next start. */
MUST_CHECK int access_set_target_name(struct access *access, const char *name, struct reason *why);

/*
 * Checks an iSCSI name (iqn. eui. naa.) and writes it normalised (lower case) to @normal, which has
 * ACCESS_INITIATOR_MAX + 1 bytes.
 */
MUST_CHECK int access_normalise_name(const char *name, char *normal, struct reason *why);

/* ---- igroups ------------------------------------------------------------------------------- */

MUST_CHECK int access_igroup_create(struct access *access, const char *group,
                                    const char *const *initiators, size_t count,
                                    struct reason *why);
MUST_CHECK int access_igroup_add(struct access *access, const char *group, const char *initiator,
                                 struct reason *why);
MUST_CHECK int access_igroup_remove(struct access *access, const char *group, const char *initiator,
                                    struct reason *why);
/* -EBUSY while it has mappings, unless @force: they go too. */
MUST_CHECK int access_igroup_delete(struct access *access, const char *group, bool force,
                                    struct reason *why);

struct access_igroup
{
    char name[ACCESS_NAME_MAX + 1];
    uint32_t mapping_count;
    size_t initiator_count;
    char (*initiators)[ACCESS_INITIATOR_MAX + 1];
};

/* All, by name, or only @group. Free with access_igroups_free(). -ENOENT. */
MUST_CHECK int access_igroup_list(struct access *access, const char *group,
                                  struct access_igroup **groups, size_t *count, struct reason *why);
void access_igroups_free(struct access_igroup *groups, size_t count);

/* ---- mappings ------------------------------------------------------------------------------ */

/* @number: 0 to ACCESS_LUN_NUMBER_MAX or ACCESS_LUN_AUTOMATIC; *used gets what it became. */
MUST_CHECK int access_map(struct access *access, const char *lun_name, const char *group,
                          int32_t number, uint32_t *used, struct reason *why);
/* What it would refuse, and *used. */
MUST_CHECK int access_map_plan(struct access *access, const char *lun_name, const char *group,
                               int32_t number, uint32_t *used, struct reason *why);
/* @group NULL: from all igroups. -ENOENT if there is no such mapping. */
MUST_CHECK int access_unmap(struct access *access, const char *lun_name, const char *group,
                            struct reason *why);

struct access_mapping
{
    uint64_t lun_id;
    uint32_t number;
    char group[ACCESS_NAME_MAX + 1];
    char lun_name[2 * LUN_NAME_MAX + 2]; /* now; "" if the LUN is gone */
};

/* By group and number. NULL: all. Free *list. */
MUST_CHECK int access_mapping_list(struct access *access, const char *lun_name, const char *group,
                                   struct access_mapping **list, size_t *count, struct reason *why);

/* What @initiator sees, by number, without a look at the engine: lun_name is "". Free *list. */
MUST_CHECK int access_visible(struct access *access, const char *initiator,
                              struct access_mapping **list, size_t *count);

/* Its name now, for lun_open(); @name has 2 * LUN_NAME_MAX + 2 bytes. -ENOENT: gone. */
MUST_CHECK int access_lun_name(struct access *access, uint64_t lun_id, char *name);

/* Drops all that is stored for a LUN that is gone (mappings, attributes, reservations). */
void access_forget_lun(struct access *access, uint64_t lun_id);

/* ---- attributes of a LUN towards hosts ----------------------------------------------------- */

enum access_lun_flags
{
    ACCESS_LUN_READ_ONLY = 1,   /* write-protected */
    ACCESS_LUN_REMOVABLE = 2,   /* presented with a removable medium */
    ACCESS_LUN_NO_PHYSICAL = 4, /* no word of 4 KiB physical blocks, for hosts that refuse 512e */
};

MUST_CHECK int access_set_lun_flags(struct access *access, const char *lun_name, unsigned flags,
                                    struct reason *why);
/* The same by its id, whatever it is called now. */
MUST_CHECK int access_set_flags_of(struct access *access, uint64_t lun_id, unsigned flags,
                                   struct reason *why);
unsigned access_lun_flags(struct access *access, uint64_t lun_id);

/* ---- CHAP ---------------------------------------------------------------------------------- */

/*
 * Who must prove himself. The most special record counts: an initiator's own, else its igroups'
 * (the first by name that has one), else the default ("*"). None: no authentication is asked.
 */
struct access_chap
{
    char user[ACCESS_CHAP_USER_MAX + 1]; /* "" in the inbound direction: no CHAP */
    char secret[ACCESS_CHAP_SECRET_MAX + 1];
    char mutual_user[ACCESS_CHAP_USER_MAX + 1]; /* "": one-way */
    char mutual_secret[ACCESS_CHAP_SECRET_MAX + 1];
};

/* @subject: an initiator's name, "igroup:NAME", "*", or "discovery" for discovery sessions. */
MUST_CHECK int access_chap_set(struct access *access, const char *subject,
                               const struct access_chap *chap, struct reason *why);
MUST_CHECK int access_chap_delete(struct access *access, const char *subject, struct reason *why);

enum access_chap_stored
{
    ACCESS_CHAP_CLEAR,
    ACCESS_CHAP_WRAPPED,
    ACCESS_CHAP_LOCKED, /* wrapped, and not to be unwrapped: another key, or damaged */
};
/* "in clear", "wrapped", "locked". */
const char *access_chap_stored_name(enum access_chap_stored stored);

struct access_chap_info
{
    char subject[ACCESS_INITIATOR_MAX + 1];
    char user[ACCESS_CHAP_USER_MAX + 1];
    char mutual_user[ACCESS_CHAP_USER_MAX + 1];
    enum access_chap_stored stored;
    char key[ACCESS_CHAP_KEY_BYTES]; /* id of the key that wraps it; "": none */
};

/* Without secrets. Free *list. */
MUST_CHECK int access_chap_list(struct access *access, struct access_chap_info **list,
                                size_t *count);

/*
 * What @initiator (normalised) must prove; for a discovery session @discovery. 0 and *chap filled,
 * or -ENOENT: nothing. -EKEYREJECTED: he must, but the record is locked, so nobody can: refuse
 * him. An event says so once for each record. Wipe *chap after use with access_chap_wipe().
 */
MUST_CHECK int access_find_chap(struct access *access, const char *initiator, bool discovery,
                                struct access_chap *chap);
void access_chap_wipe(struct access_chap *chap);

/* How many records lie in which way. */
struct access_chap_counts
{
    size_t clear, wrapped, locked;
    char needed[ACCESS_CHAP_KEY_BYTES]; /* id of the key that locked ones need; "": none does */
    bool needs_more;                    /* others need further keys */
};
void access_chap_count(struct access *access, struct access_chap_counts *counts);

struct access_rewrap
{
    size_t wrapped; /* were in clear */
    size_t moved;   /* from the old key to this host's */
    size_t kept;    /* have this host's key already */
    size_t locked;  /* need yet another key, and stay */
};

/*
 * Wraps with this host's key what lies in clear, or is wrapped by @old_key (NULL: none). One record
 * at a time: after a failure the same call goes on. -ENOKEY: this host has no key.
 */
MUST_CHECK int access_chap_rewrap(struct access *access, const struct host_key *old_key,
                                  bool dry_run, struct access_rewrap *done, struct reason *why);
/* The id of this host's key; NULL: it has none. */
const char *access_key_id(const struct access *access);

#endif
