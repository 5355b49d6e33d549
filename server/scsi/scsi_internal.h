/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of server/scsi share: targets, nexuses, logical units, the command table's shape.
 *
 * Who is alive: the target holds its units; a unit stays until the target goes or its LUN is gone
 * and nobody uses it. An ITL (a nexus's view of a unit) holds its nexus and is freed when it is
 * detached and its last task has ended; the unit's engine handle is open while it has ITLs.
 */
#ifndef SERVER_SCSI_SCSI_INTERNAL_H
#define SERVER_SCSI_SCSI_INTERNAL_H

#include "lun/base/lock.h"
#include "server/access.h"
#include "server/qos/qos.h"
#include "server/scsi/cdb.h"
#include "server/scsi/fence.h"
#include "server/scsi/modepage.h"
#include "server/scsi/pr.h"
#include "server/scsi/scsi.h"
#include "server/scsi/sense.h"
#include "server/scsi/ua.h"

enum
{
    SCSI_LU_BUCKETS = 256,
    SCSI_WRITE_SAME_BLOCKS_MAX = 65535,
    SCSI_UNMAP_DESCRIPTORS_MAX = 256,
    SCSI_UNMAP_BLOCKS_MAX = 1 << 20,
    SCSI_CAW_MAX_BYTES = 1 << 20,
    SCSI_ATOMIC_MAX_BYTES = 1 << 20,
    SCSI_ORWRITE_MAX_BYTES = 1 << 20,
    SCSI_PHYSICAL_BYTES = LUN_BLK_BYTES,
    SCSI_COPY_STEP_BYTES = 1 << 20,
    SCSI_TARGET_PORT_GROUP = 1,
    SCSI_THRESHOLD_PERCENT = 10,           /* of the pool: less is left, and hosts are told */
    SCSI_THRESHOLD_AGAIN_PERCENT = 12,     /* more is left, and they may be told again */
    SCSI_THRESHOLD_CHECK_BYTES = 16 << 20, /* written between two looks at it */
    SCSI_THRESHOLD_EXPONENT = 11,          /* sets of 2^11 blocks in figures of provisioned space */
};

struct odx_tokens; /* cmd_odx.c */

struct scsi_target
{
    struct pool *pool;     /* immutable */
    struct access *access; /* immutable */
    struct qos *qos;       /* immutable; NULL: none */
    char name[SCSI_NAME_MAX + 1];
    uint16_t port_count;

    struct lock lock; /* LOCK_RANK_SERVER: the sets of nexuses and units, ITL tables */
    struct list nexuses;
    struct list buckets[SCSI_LU_BUCKETS]; /* of units, by LUN id */
    struct list roomless;                 /* tasks with a room_lu */
    uint64_t room_round;                  /* of looks for room */
    uint32_t background_count;            /* threads that work on their own (SANITIZE, room.c) */
    struct condition background_ended;
    bool is_stopping;
    bool is_looking_for_room; /* a thread does */
    bool is_low_on_space;

    struct lock wait_lock;  /* LOCK_RANK_LEAF */
    struct list waiting;    /* task management that waits; under wait_lock */
    uint64_t aborted_count; /* aborted tasks not yet ended, of all units; under wait_lock */

    struct fences fences; /* has a lock of its own */
    struct odx_tokens *tokens;
};

struct scsi_nexus
{
    struct scsi_target *target; /* immutable */
    char initiator_name[SCSI_NAME_MAX + 1];
    struct pr_port port; /* its identity in persistent reservations */
    void (*changed)(void *opaque);
    void *opaque;

    struct list target_link; /* under target->lock */

    struct lock lock;       /* LOCK_RANK_SESSION */
    struct scsi_itl **itls; /* by LUN number; under lock */
    size_t itl_count;
    uint32_t references; /* 1 while attached, 1 per ITL, 1 per task without a unit; under lock */

    struct lock changed_lock;  /* LOCK_RANK_EVENT: held over changed(), which posts to a loop */
    struct list changed_tasks; /* under changed_lock */
    bool is_detached;          /* under changed_lock: no more calls to changed() */
};

/* The last EXTENDED COPY of a nexus, for RECEIVE COPY RESULTS. */
struct copy_record
{
    bool is_valid, has_failed;
    uint8_t list_id;
    uint16_t segments;
    uint64_t bytes;
};

struct scsi_itl
{
    struct scsi_nexus *nexus;
    struct scsi_lu *lu;
    uint32_t number;     /* the LUN number towards this nexus */
    struct list lu_link; /* in lu->itls; under lu->lock, as all below */
    uint32_t task_count;
    bool is_detached;
    bool is_marked; /* scratch of a rebuild, under target->lock */
    bool prevents_removal;
    bool is_registered; /* derived from the unit's registrations, so that checks cost nothing */
    bool is_holder;
    uint32_t attentions; /* bits of enum attention */
    struct copy_record copy;
};

enum sanitize_state
{
    SANITIZE_IDLE,
    SANITIZE_RUNNING,
    SANITIZE_FAILED,
};

struct scsi_counters
{
    uint64_t reads, writes, read_blocks, written_blocks;
};

struct scsi_lu
{
    struct scsi_target *target;
    uint64_t lun_id; /* immutable, as all down to flags */
    uint8_t uuid[16];
    uint32_t sector_bytes;
    unsigned sector_shift;
    bool is_snapshot;
    struct list bucket_link; /* under target->lock */
    uint32_t use_count;      /* ITLs not yet freed, background work, tasks that have or had no room
                                in it; under target->lock */
    uint64_t room_round;     /* the last that looked at it; under target->lock */
    bool is_gone;            /* its LUN was deleted; under target->lock */
    struct lun *handle;      /* open while use_count > 0, as the next */
    struct qos_lun *qos;     /* NULL: none */

    struct lock pr_lock; /* LOCK_RANK_SESSION: one change of registrations at a time */

    struct lock lock; /* LOCK_RANK_LU: all below */
    unsigned flags;   /* enum access_lun_flags */
    struct list itls;
    struct list tasks; /* the task set: oldest first, HEAD OF QUEUE before all */
    uint32_t task_count;
    uint32_t strict_count;        /* tasks in the set that are ORDERED or HEAD OF QUEUE */
    uint64_t aborted_count;       /* tasks aborted and not yet ended; under target->wait_lock */
    struct condition changed;     /* a task was aborted, an aborted one ended, a SANITIZE ended */
    struct scsi_itl *reserved_by; /* RESERVE */
    struct pr_state pr;
    struct fence fence; /* follows these two: lu_update_fence_locked() */
    struct modepage_values mode;
    bool is_stopped, is_ejected;
    uint32_t prevent_count;
    enum sanitize_state sanitize;
    uint16_t sanitize_progress;
    bool sanitize_ause; /* a failed one may be left by EXIT FAILURE MODE */
    struct scsi_counters counters;
    uint64_t written_unchecked_bytes; /* since the pool's space was looked at */
};

enum task_state
{
    TASK_NEW,
    TASK_WAITING, /* begun; waits for data or for its turn */
    TASK_DORMANT, /* was told to wait for its turn */
    TASK_CLAIMED, /* had its turn, is on its way to a worker */
    TASK_RUNNING,
};

/* ---- the command table --------------------------------------------------------------------- */

/* How much data a command moves, from its CDB. */
enum command_length
{
    LEN_NONE,
    LEN_ALLOCATION, /* Data-In: an allocation length */
    LEN_PARAMETERS, /* Data-Out: a parameter list length */
    LEN_READ,       /* Data-In: blocks */
    LEN_WRITE,      /* Data-Out: blocks */
    LEN_RANGE,      /* a number of blocks, but no data */
    LEN_COMPARE,    /* Data-Out: twice the blocks */
    LEN_WRITE_SAME, /* Data-Out: one block, or none with NDOB */
    LEN_VERIFY,     /* Data-Out: by BYTCHK */
    LEN_FIXED,      /* Data-In: length_at bytes */
};

/* What other nexuses' reservations mean, as the tables of SPC and SBC have it. */
enum command_reservation
{
    RESERVE_ALLOWED, /* always */
    RESERVE_READ,    /* conflicts with exclusive access */
    RESERVE_WRITE,   /* conflicts with any, unless registered where that counts */
    RESERVE_SELF,    /* the handler decides: PERSISTENT RESERVE OUT, RESERVE, RELEASE */
};

enum command_flags
{
    CMD_NO_LUN = 1,            /* answered for a LUN that is not there, too */
    CMD_IGNORES_ATTENTION = 2, /* does not report a unit attention */
    CMD_MEDIUM = 4,            /* needs a medium that is ready */
    CMD_WRITES = 8,            /* refused on a write-protected medium */
    CMD_BLOCKS = 16,           /* never inline */
    CMD_SMALL_INLINE = 32,     /* inline up to SCSI_INLINE_MAX_BYTES and without FUA */
    CMD_OLD_RESERVE_OK = 64,   /* not stopped by another's RESERVE */
    CMD_WHILE_SANITIZE = 128,  /* allowed while a SANITIZE runs or has failed */
    CMD_RESERVE_BY_START =
        256, /* START STOP UNIT, PREVENT ALLOW: allowed where they do nothing bad */
};

struct scsi_command
{
    uint8_t opcode;
    bool has_action;
    uint16_t action;
    const char *name;
    uint8_t cdb_len;
    uint8_t length; /* enum command_length */
    uint8_t length_at, length_bytes;
    uint8_t reservation; /* enum command_reservation */
    uint16_t flags;
    void (*run)(struct scsi_task *task);
    uint8_t usage[16]; /* bits of the CDB that are looked at; others must be zero */
};

extern const struct scsi_command scsi_commands[];
extern const size_t scsi_command_count;

/* The entry for this CDB, or NULL with sense set. */
const struct scsi_command *dispatch_find(struct scsi_task *task);
/* Checks bits and lengths, sets out_wanted and in_max. False: sense is set. */
bool dispatch_measure(struct scsi_task *task);
/* What it is to quality of service. */
void dispatch_weigh(struct scsi_task *task);
/* The entry of an opcode and service action; NULL: none. */
const struct scsi_command *dispatch_lookup(uint8_t opcode, uint16_t action);

static inline const struct scsi_command *task_command(const struct scsi_task *task)
{
    return task->command;
}

/* ---- helpers of the handlers --------------------------------------------------------------- */

/* A range of logical blocks from a CDB. */
struct scsi_range
{
    uint64_t lba, blocks;
    uint64_t offset_bytes, len_bytes;
};

/*
 * Reads LBA and length of a 6, 10, 12 or 16 byte CDB and checks them against the LUN's size. False:
 * sense is set.
 */
bool command_range(struct scsi_task *task, struct scsi_range *range);
/* The length alone, as the table says where it is; READ(6)'s and WRITE(6)'s 0 is 256. */
uint64_t command_length_field(const struct scsi_command *command, const uint8_t *cdb);
uint64_t command_block_count(const struct scsi_lu *lu);

/* Data-In of a command with an allocation length: cut to it and to the buffer. */
void command_reply(struct scsi_task *task, const void *bytes, size_t len);
/* For LEN_PARAMETERS: all of the list came. Else sense is set. */
bool command_has_parameters(struct scsi_task *task);

/* ---- handlers ------------------------------------------------------------------------------ */

void cmd_test_unit_ready(struct scsi_task *task);
void cmd_request_sense(struct scsi_task *task);
void cmd_inquiry(struct scsi_task *task);
void cmd_mode_sense(struct scsi_task *task);
void cmd_mode_select(struct scsi_task *task);
void cmd_log_sense(struct scsi_task *task);
void cmd_read_capacity10(struct scsi_task *task);
void cmd_read_capacity16(struct scsi_task *task);
void cmd_get_lba_status(struct scsi_task *task);
void cmd_report_luns(struct scsi_task *task);
void cmd_report_opcodes(struct scsi_task *task);
void cmd_report_tmfs(struct scsi_task *task);
void cmd_report_port_groups(struct scsi_task *task);
void cmd_read_defects10(struct scsi_task *task);
void cmd_read_defects12(struct scsi_task *task);
void cmd_read(struct scsi_task *task);
void cmd_write(struct scsi_task *task);
void cmd_write_verify(struct scsi_task *task);
void cmd_verify(struct scsi_task *task);
void cmd_orwrite(struct scsi_task *task);
void cmd_write_atomic(struct scsi_task *task);
void cmd_compare_and_write(struct scsi_task *task);
void cmd_write_same(struct scsi_task *task);
void cmd_unmap(struct scsi_task *task);
void cmd_prefetch(struct scsi_task *task);
void cmd_synchronize_cache(struct scsi_task *task);
void cmd_start_stop(struct scsi_task *task);
void cmd_prevent_allow(struct scsi_task *task);
void cmd_sanitize(struct scsi_task *task);
void cmd_reserve(struct scsi_task *task);
void cmd_release(struct scsi_task *task);
void cmd_pr_in(struct scsi_task *task);
void cmd_pr_out(struct scsi_task *task);
void cmd_extended_copy(struct scsi_task *task);
void cmd_copy_operating_parameters(struct scsi_task *task);
void cmd_copy_status(struct scsi_task *task);
void cmd_receive_copy_data(struct scsi_task *task);
void cmd_failed_segment_details(struct scsi_task *task);
void cmd_populate_token(struct scsi_task *task);
void cmd_write_using_token(struct scsi_task *task);
void cmd_rod_token_information(struct scsi_task *task);

/* ---- lifetimes (target.c) ------------------------------------------------------------------ */

/* A detached ITL whose last task has ended. Takes target->lock; no lock is held. */
void itl_free(struct scsi_itl *itl);
void nexus_put(struct scsi_nexus *nexus);
/* Keeps an ITL and its unit usable, as a task does. The caller holds nexus->lock. */
void itl_hold(struct scsi_itl *itl);
void itl_release(struct scsi_itl *itl); /* no lock is held */
/* NULL: none has been made, or its LUN is gone. The caller holds target->lock. */
struct scsi_lu *target_find_lu_locked(struct scsi_target *target, uint64_t lun_id);
/* One user less; closes the handle with the last. The caller holds target->lock. */
void lu_put_locked(struct scsi_lu *lu);
/* What is left of the pool at the threshold, in sets of 2^SCSI_THRESHOLD_EXPONENT blocks. */
uint32_t lu_threshold_sets(const struct scsi_lu *lu);
/* The ITL of this nexus for an 8 byte LUN; the caller holds nexus->lock. NULL: not there. */
struct scsi_itl *nexus_find_itl_locked(struct scsi_nexus *nexus, const uint8_t *lun);
/* A LUN number as 8 bytes: peripheral addressing below 256, flat above. */
void lun_number_put(uint8_t *at, uint32_t number);
/* Whether writes are refused, and by what sense code; 0: they are not. Caller holds lu->lock. */
uint32_t lu_write_protected_locked(const struct scsi_lu *lu);
/* The sense code of a medium that is not ready, or 0. */
uint32_t lu_not_ready_locked(const struct scsi_lu *lu);
/* What a hard or logical unit reset does to the unit; its tasks are the caller's. */
void lu_reset_locked(struct scsi_lu *lu);

/* ---- task sets (task.c) -------------------------------------------------------------------- */

/* Aborts one task. The caller holds lu->lock. */
void task_abort_locked(struct scsi_task *task);
/* Those of @only (NULL: of everybody), but not @except (may be NULL). */
void task_abort_all_locked(struct scsi_lu *lu, const struct scsi_nexus *only,
                           const struct scsi_task *except);
/* A dormant one may try again. The caller holds lu->lock. */
void task_go_on_locked(struct scsi_task *task);
/* Whether the task's turn has come; the caller holds lu->lock. */
bool task_has_turn_locked(const struct scsi_task *task);
/* Wakes dormant tasks whose turn has come. */
void task_wake_locked(struct scsi_lu *lu);
/* Calls done() of task management whose tasks are all gone. No lock of a leaf's rank is held. */
void tmf_check_waiting(struct scsi_target *target);

/* What `is_registered` and `is_holder` of an ITL say follows from the registrations. */
void itl_refresh_registration_locked(struct scsi_itl *itl);
/* What the unit's reservations mean to others than SCSI hosts. */
void lu_update_fence_locked(struct scsi_lu *lu);
/*
 * Puts change->after in the place of the unit's registrations, and tells those of before. @aborter:
 * a task with which the others of who is preempted are aborted; NULL: none are.
 */
void lu_switch_pr_locked(struct scsi_lu *lu, const struct pr_change *change,
                         const struct scsi_task *aborter);
/* Whether @reservation of a command conflicts with others' reservations. */
bool lu_reservation_conflict_locked(const struct scsi_task *task);

/* Whether a task with a command may take its data in pieces (piece.c). */
bool piece_is_allowed(const struct scsi_task *task);

MUST_CHECK int odx_create(struct scsi_target *target, struct odx_tokens **tokens);
void odx_destroy(struct odx_tokens *tokens);

#endif
