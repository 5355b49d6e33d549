/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the scrub share. */
#ifndef LUN_CHECK_SCRUB_INTERNAL_H
#define LUN_CHECK_SCRUB_INTERNAL_H

#include "lun/base/reader.h"
#include "lun/check/scrub.h"
#include "lun/lun.h"
#include "lun/pool/pool_internal.h"

enum
{
    SCRUB_BATCH = 32,     /* blocks of one step, about */
    SCRUB_TOLD_MAX = 500, /* findings that are kept, and make events */
    SCRUB_NAMED_MAX = 32, /* findings whose users are all looked for */
    SCRUB_PASSES_MAX = 8, /* of new lines that were made behind the scrub's back */
};

enum scrub_phase
{
    SCRUB_BEGIN, /* a checkpoint: what was changed lately is on the device then */
    SCRUB_SUPERS,
    SCRUB_JOURNAL,
    SCRUB_SPACE,
    SCRUB_PAGES,
    SCRUB_LINES,
    SCRUB_REWRITE,
    SCRUB_END,
};

/* A walk through one tree; it goes on at a key, whatever has become of the tree meanwhile. */
struct scrub_walk
{
    uint64_t line_id; /* 0: an index of the catalog */
    bool in_drops;
    struct tree_key at;
    bool is_over;
    /* The inner nodes that the walk is in, and whether it was in them from their first child on. */
    struct scrub_inner
    {
        struct node_ref ref;
        bool is_whole;
    } inner[DISK_LEVELS_MAX];
};

struct scrub
{
    struct pool *pool;
    struct lock lock;      /* LOCK_RANK_LEAF: guards info, said, is_stopped, has_thread */
    struct condition wake; /* is_stopped */
    struct scrub_info info;
    struct writer said; /* findings: a byte for is_error, the text, a NUL */
    bool is_stopped, has_thread;
    pthread_t thread;
    uint64_t rate_bytes;
    /* The rest is for who makes the steps. */
    enum scrub_phase phase;
    uint64_t step_blks; /* read in this step */
    uint64_t group;     /* SCRUB_SPACE */
    unsigned index;     /* SCRUB_PAGES: which of the trees is walked */
    uint64_t page;      /* the next one, once these were */
    struct scrub_walk walk;
    uint64_t *lines; /* ids, rising: those of this pass */
    size_t line_count, line_at;
    uint64_t last_line; /* no line up to this one is left out */
    unsigned passes;
    bool wants_checkpoint; /* the damage found is gone with it, or with the one after it */
    unsigned bad_supers;   /* a bit for each copy */
    bool bad_journal;
    uint64_t rewritten_pages; /* copies and nodes of the index, likewise */
    uint64_t *bad_slots;      /* blocks of bitmaps and tables in force: see scrub_space.c */
    size_t bad_slot_count;
    uint64_t **visited; /* by group: nodes that were read; NULL: none there */
    uint64_t visited_groups;
};

/* A finding: damage. Locks that come before LOCK_RANK_EVENT may be held. @object: whom it hits
 * first, or NULL. */
void scrub_say_damage(struct scrub *scrub, const char *object, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The same of a block that nothing needs: a warning, as it is to a check. */
void scrub_warn_damage(struct scrub *scrub, const char *format, ...) PRINTF_LIKE(2, 3);
/* A line that is no damage. */
void scrub_say(struct scrub *scrub, const char *format, ...) PRINTF_LIKE(2, 3);

/* Reads a block from the device and counts it. Without the gate. */
MUST_CHECK int scrub_read(struct scrub *scrub, uint64_t blk, void *buf);
/* @r of a read or of a check, as a finding says it. */
const char *scrub_what(int r);

/* Steps of the phases. 1: go on with it, 0: it is over. */
MUST_CHECK int scrub_step_supers(struct scrub *scrub);
MUST_CHECK int scrub_step_journal(struct scrub *scrub);
MUST_CHECK int scrub_step_space(struct scrub *scrub);
MUST_CHECK int scrub_step_pages(struct scrub *scrub);
MUST_CHECK int scrub_step_lines(struct scrub *scrub);
/* After the checkpoints: looks again at what was damaged. */
MUST_CHECK int scrub_step_rewritten(struct scrub *scrub);

#endif
