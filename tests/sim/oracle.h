/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a pool may show after a power cut.
 *
 * Every sector that a test writes has a version, a number that is never used again; its bytes
 * follow from version and LBA, so that whatever turns up in its place is recognised. Version 0 is
 * zeros. For each sector the oracle knows the version that is surely durable, and those that were
 * written since and are not: after a cut, one of them must be there. LUNs, snapshots, sizes,
 * promises, quotas and the store must be as they are here, exactly.
 *
 * A command that was cut off is done or not done: the caller keeps two oracles, one for each, and
 * asks which of them the pool fits.
 */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/lun.h"
#include "tests/model/space_rules.h"

enum
{
    ORACLE_SECTOR_BYTES = 512,
    ORACLE_SECTORS_MAX = 1024, /* of a LUN */
    ORACLE_OBJECTS_MAX = 40,
    ORACLE_NAME_BYTES = 24,
    ORACLE_PENDING_MAX = 1 << 14,
    ORACLE_KEYS = 8,
    ORACLE_VOLUMES = 4,
    ORACLE_SETS = 3, /* snapshots of a volume */
    ORACLE_RULES = 16,
    ORACLE_OWNER_BYTES = 8,
    ORACLE_BLK_SECTORS = LUN_BLK_BYTES / ORACLE_SECTOR_BYTES,
};

/* A thin LUN that takes what nobody was promised. What it holds does not matter. */
#define ORACLE_FILLER "filler"

/* What a LUN keeps of itself when it is deleted. */
struct oracle_traits
{
    bool is_autodelete, is_reserved;
    uint32_t note;
    char owner[ORACLE_OWNER_BYTES], group[ORACLE_OWNER_BYTES];
};

/* A LUN, "l3" or "v0/l3", or a snapshot, "l3@s1". */
struct oracle_object
{
    char name[ORACLE_NAME_BYTES]; /* "": the place is free */
    uint32_t sectors;
    uint32_t age;     /* snapshots are listed in this order */
    uint32_t lun_age; /* of a member: its LUN, by age, and what this was when it was deleted */
    struct oracle_traits lun_traits;
    bool is_member;     /* a snapshot that is part of one of its volume */
    bool is_autodelete; /* attributes, of LUNs */
    bool is_reserved;
    uint32_t note; /* of the comment, "note 7"; 0: none */
    char owner[ORACLE_OWNER_BYTES], group[ORACLE_OWNER_BYTES]; /* or "" */
    /* Of a LUN as last seen (sim_books.c), or as it will be; of a snapshot only what it shows. */
    struct space_rules_head head;
    bool is_unchanged;     /* since its head was put on its point */
    uint32_t tail_sectors; /* a shrink has cut it to less, and not all is unmapped yet; or 0 */
    uint32_t durable[ORACLE_SECTORS_MAX];
    uint32_t current[ORACLE_SECTORS_MAX];
};

/* A write that no flush has covered. */
struct oracle_pending
{
    uint16_t object, sector;
    uint32_t version;
    uint32_t group; /* of WRITE ATOMIC: all of it or nothing; else 0 */
};

struct oracle_set
{
    char name[8]; /* without the volume's; "": the place is free */
    bool is_deferred;
    uint64_t locked_until_ns;
    bool has_qtree; /* the volume had its */
};

struct oracle_volume
{
    char name[4];    /* "": the place is free */
    char parent[16]; /* "v0@t1", what it depends on; or "" */
    bool has_qtree;
    char qtree[2]; /* its name, "q", once it has had one; it is renamed to "r" and back */
    struct oracle_set sets[ORACLE_SETS];
    uint32_t serial; /* which no other volume has had */
    uint32_t blks;   /* its size; 0: no bound */
    bool is_guaranteed, has_quotas;
    uint64_t charged_blks; /* as last seen, or as it will be */
};

/* A quota. */
struct oracle_rule
{
    bool is_there;
    enum quota_type type;
    char volume[4];
    bool of_qtree;                 /* of the volume's qtree, or of owners within it */
    bool is_default;               /* of all qtrees (which is not one of_qtree), owners or groups */
    char name[ORACLE_OWNER_BYTES]; /* of the owner or group */
    uint64_t hard_bytes, soft_bytes, threshold_bytes;
};

struct oracle
{
    struct oracle_volume volumes[ORACLE_VOLUMES];
    struct oracle_object objects[ORACLE_OBJECTS_MAX];
    struct oracle_rule rules[ORACLE_RULES];
    bool has_filler;
    uint32_t next_serial;
    uint32_t pending_count;
    uint32_t next_version, next_group, next_age;
    uint32_t store[ORACLE_KEYS]; /* value of each key, 0: none */
    uint64_t pool_bytes;
    struct oracle_pending pending[ORACLE_PENDING_MAX]; /* last, see oracle_assign() */
};

/* A sentence about the first thing that the oracle does not allow; "" if there is none. */
struct oracle_verdict
{
    char text[512];
};

/* The name of the qtree; "" for none. */
const char *oracle_qtree(const struct oracle *oracle, const char *volume, bool of_qtree);
void oracle_note_text(uint32_t note, char text[16]);
/* With the LUNs in it and its rules. */
void oracle_rename_qtree(struct oracle *oracle, const char *volume, const char *qtree);
/* With the snapshots of LUNs that it consists of; clones know its new name. */
void oracle_rename_set(struct oracle *oracle, const char *volume, const char *set,
                       const char *new_set);

/* The bytes of a sector. */
void oracle_fill(uint8_t bytes[ORACLE_SECTOR_BYTES], uint32_t version, uint64_t sector);

/* Makes @to the same as @from. */
void oracle_assign(struct oracle *to, const struct oracle *from);

struct oracle_object *oracle_find(struct oracle *oracle, const char *name);
/* NULL when there is no place left. */
struct oracle_object *oracle_add(struct oracle *oracle, const char *name, uint32_t sectors);
/* With its snapshots, if it is a LUN; members stay. */
void oracle_remove(struct oracle *oracle, const char *name);
/* With its snapshots, but for members. */
void oracle_rename(struct oracle *oracle, const char *name, const char *new_name);
/* A new object with the present content of @source, durable: a snapshot, or a clone that has what
 * clones inherit. NULL when there is no place left. */
struct oracle_object *oracle_copy(struct oracle *oracle, const char *source, const char *name);
void oracle_restore(struct oracle *oracle, const char *lun, const char *snapshot);
void oracle_resize(struct oracle *oracle, const char *name, uint32_t sectors);

/* ---- volumes: oracle_volume.c; false: there is no place left */

struct oracle_volume *oracle_find_volume(struct oracle *oracle, const char *name);
bool oracle_add_volume(struct oracle *oracle, const char *name);
/* With all that is in it. */
void oracle_remove_volume(struct oracle *oracle, const char *name);
void oracle_rename_volume(struct oracle *oracle, const char *name, const char *new_name);
/* Whether the LUN or snapshot is in the volume. */
bool oracle_is_in(const struct oracle_object *object, const char *volume);
struct oracle_set *oracle_find_set(struct oracle *oracle, const char *volume, const char *set);
unsigned oracle_count_clones(const struct oracle *oracle, const char *volume, const char *set);
bool oracle_add_set(struct oracle *oracle, const char *volume, const char *set);
void oracle_remove_set(struct oracle *oracle, const char *volume, const char *set);
/* Of one snapshot, and of all of a set; deleted LUNs come back. False: a name is taken. */
bool oracle_restore_snapshot(struct oracle *oracle, const char *snapshot);
bool oracle_restore_set(struct oracle *oracle, const char *volume, const char *set);
/* The LUN of that age; NULL: it was deleted. */
const struct oracle_object *oracle_find_age(const struct oracle *oracle, uint32_t age);
/* Those of a LUN, and giving them to one. */
struct oracle_traits oracle_traits_of(const struct oracle_object *lun);
void oracle_set_traits(struct oracle_object *lun, const struct oracle_traits *traits);
/* Whether a snapshot of its volume holds the LUN. */
bool oracle_is_held(const struct oracle *oracle, const struct oracle_object *lun);
bool oracle_clone_volume(struct oracle *oracle, const char *volume, const char *set,
                         const char *name);
/* A deferred snapshot goes with its last clone. */
void oracle_split_volume(struct oracle *oracle, const char *name);
/* Compares names, parents and snapshots of volumes, and what belongs to them. */
bool oracle_fits_volumes(const struct oracle *oracle, struct pool *pool,
                         struct oracle_verdict *verdict);

/* ---- promises and quotas: oracle_space.c; what they are to be is in the fields above */

/* The LUN stands on a point that holds its present state. */
void oracle_freeze(struct oracle_object *lun);
uint64_t oracle_blks(const struct oracle_object *object);
/* The volume that it is in; NULL: none. */
const struct oracle_volume *oracle_volume_of(const struct oracle *oracle,
                                             const struct oracle_object *object);
uint64_t oracle_lun_needs(const struct oracle_object *lun);
uint64_t oracle_volume_lun_needs(const struct oracle *oracle, const struct oracle_volume *volume);
uint64_t oracle_volume_needs(const struct oracle *oracle, const struct oracle_volume *volume);
bool oracle_has_promises(const struct oracle *oracle);
/* The sum of all, as the pool must keep it. */
uint64_t oracle_promised(const struct oracle *oracle);
/* UINT64_MAX: it has no bound, or is none. */
uint64_t oracle_volume_left(const struct oracle *oracle, const struct oracle_volume *volume);
/* Moves what the head owns from the charge of one volume to that of another (NULL: nobody's). */
void oracle_charge_move(struct oracle *oracle, const struct oracle_object *lun, const char *from,
                        const char *to);

/* Whose sum it is. */
struct oracle_subject
{
    enum quota_type type;
    const struct oracle_volume *volume;
    bool of_qtree;
    const char *name;
};

uint64_t oracle_quota_used(const struct oracle *oracle, const struct oracle_subject *subject,
                           uint64_t *lun_count);
/* Its own rule or the default one; NULL: none. */
const struct oracle_rule *oracle_quota_rule(const struct oracle *oracle,
                                            const struct oracle_subject *subject);
/* Calls @each for all that there can be, until it returns false. */
typedef bool oracle_subject_fn(const struct oracle_subject *subject, void *opaque);
bool oracle_each_subject(const struct oracle *oracle, oracle_subject_fn *each, void *opaque);
/* Whether a quota refuses what makes @after of @before. Clones exceed those of owners and groups.
 */
bool oracle_quota_refuses(const struct oracle *before, const struct oracle *after, bool is_clone);
/* NULL: there is no place left. */
struct oracle_rule *oracle_put_rule(struct oracle *oracle, const struct oracle_rule *rule);
/* Those of a volume or (@of_qtree) its qtree go. */
void oracle_forget_rules(struct oracle *oracle, const char *volume, bool of_qtree);

/* Compares the rules and the report. */
bool oracle_fits_quotas(const struct oracle *oracle, struct pool *pool,
                        struct oracle_verdict *verdict);

/* Notes a write of @versions (NULL: zeros), not durable yet. */
void oracle_write(struct oracle *oracle, const char *name, uint32_t sector, uint32_t count,
                  const uint32_t *versions, bool is_atomic);
/* Only a part of the write noted last was done: @is_done for each of its sectors; before it, the
 * LUN held @old there. */
void oracle_write_in_part(struct oracle *oracle, const char *name, uint32_t sector, uint32_t count,
                          const bool *is_done, const uint32_t *old);
/* The first @count writes that are pending are durable; those behind them are pending still. */
void oracle_flush_first(struct oracle *oracle, uint32_t count);
/* Everything that was written is durable; @name: of this LUN only. */
void oracle_flush(struct oracle *oracle, const char *name);

/* Whether the sector may hold these bytes after a power cut. */
bool oracle_allows(const struct oracle *oracle, const struct oracle_object *object, uint32_t sector,
                   const uint8_t bytes[ORACLE_SECTOR_BYTES]);
/* Whether they are zeros, or what some write once put into a sector of this number. */
bool oracle_once_wrote(const struct oracle *oracle, uint32_t sector,
                       const uint8_t bytes[ORACLE_SECTOR_BYTES]);

/* The value of store key @key: its bytes are @value, repeated. */
void oracle_store_key(unsigned key, char text[16]);

/* Sets the verdict. Returns false. */
bool oracle_refuse(struct oracle_verdict *verdict, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * Compares the pool with the oracle. @exactly: nothing is pending, what was written is there.
 * @observed (may be NULL) becomes the oracle of what was found, if all is well.
 */
bool oracle_fits(const struct oracle *oracle, struct pool *pool, bool exactly,
                 struct oracle *observed, struct oracle_verdict *verdict);

#endif
