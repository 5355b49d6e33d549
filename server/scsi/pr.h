/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent reservations: the state of one logical unit, as plain data.
 *
 * A change is prepared on a copy, stored in the pool if APTPL asks for it, and then put in place of
 * the old state; so a stored state is always a whole one, and what a host was told survives a
 * crash. The commands around it are cmd_pr.c.
 *
 * Always true:
 *  - no two registrations have the same port;
 *  - if type is not 0, the holder is registered; with an "all registrants" type everybody is
 * holder.
 */
#ifndef SERVER_SCSI_PR_H
#define SERVER_SCSI_PR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"

enum
{
    PR_NAME_MAX = 223,
    PR_REGISTRATIONS_MAX = 512,
    PR_NO_HOLDER = UINT32_MAX,
};

enum pr_type
{
    PR_NONE = 0,
    PR_WRITE_EXCLUSIVE = 1,
    PR_EXCLUSIVE_ACCESS = 3,
    PR_WRITE_EXCLUSIVE_REGISTRANTS = 5,
    PR_EXCLUSIVE_ACCESS_REGISTRANTS = 6,
    PR_WRITE_EXCLUSIVE_ALL = 7,
    PR_EXCLUSIVE_ACCESS_ALL = 8,
};

/* An I_T nexus: an initiator port (name and ISID) and a target port. */
struct pr_port
{
    char name[PR_NAME_MAX + 1];
    uint8_t isid[6];
    uint16_t target_port;
};

bool pr_port_equal(const struct pr_port *a, const struct pr_port *b);

struct pr_registration
{
    struct pr_port port;
    uint64_t key;
};

struct pr_state
{
    uint32_t generation;
    uint8_t type;       /* enum pr_type */
    uint32_t holder;    /* index; PR_NO_HOLDER without a reservation and with "all registrants" */
    bool is_persistent; /* APTPL */
    struct pr_registration *list;
    uint32_t count;
};

void pr_state_init(struct pr_state *state);
void pr_state_clear(struct pr_state *state);
MUST_CHECK int pr_state_copy(const struct pr_state *from, struct pr_state *to);
/* Index of @port's registration, or PR_NO_HOLDER. */
uint32_t pr_find(const struct pr_state *state, const struct pr_port *port);
bool pr_is_holder(const struct pr_state *state, uint32_t index);

static inline bool pr_type_valid(uint8_t type)
{
    return type == 1 || type == 3 || (type >= 5 && type <= 8);
}

static inline bool pr_type_all_registrants(uint8_t type)
{
    return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* Registrants may do what the holder may. */
static inline bool pr_type_registrants(uint8_t type)
{
    return type >= PR_WRITE_EXCLUSIVE_REGISTRANTS;
}

static inline bool pr_type_exclusive_access(uint8_t type)
{
    return type == PR_EXCLUSIVE_ACCESS || type == PR_EXCLUSIVE_ACCESS_REGISTRANTS ||
           type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* ---- service actions, on a copy ------------------------------------------------------------ */

enum pr_result
{
    PR_DONE,
    PR_CONFLICT,        /* RESERVATION CONFLICT */
    PR_INVALID_RELEASE, /* 26h/04h */
    PR_INVALID_KEY,     /* SERVICE ACTION RESERVATION KEY is not allowed */
    PR_INVALID_PORT,    /* the port to move to */
    PR_NO_RESOURCES,    /* too many registrations */
    PR_NO_MEMORY,
};

/* What the hosts of registrations that were there before are told; index as before the change. */
enum pr_notice
{
    PR_NOTICE_NONE,
    PR_NOTICE_RELEASED,
    PR_NOTICE_PREEMPTED, /* reservations preempted (CLEAR) */
    PR_NOTICE_REGISTRATION_PREEMPTED,
};

struct pr_change
{
    const struct pr_state *before;
    struct pr_state *after;     /* a copy of before, to be edited */
    const struct pr_port *port; /* who asks */
    uint64_t key;               /* RESERVATION KEY */
    uint64_t action_key;        /* SERVICE ACTION RESERVATION KEY */
    uint8_t type;
    bool aptpl;
    uint8_t *notices; /* before->count of them, zero at first */
};

/* REGISTER (@ignore_key: AND IGNORE EXISTING KEY) of @ports, the first of which is change->port. */
enum pr_result pr_register(struct pr_change *change, bool ignore_key, const struct pr_port *ports,
                           uint32_t port_count);
enum pr_result pr_reserve(struct pr_change *change);
enum pr_result pr_release(struct pr_change *change);
enum pr_result pr_clear(struct pr_change *change);
/* Those with the notice REGISTRATION_PREEMPTED are who AND ABORT is about. */
enum pr_result pr_preempt(struct pr_change *change);
/*
 * The administrator's: takes the registrations of @initiator away, with the reservation if it was
 * theirs alone, or with NULL all there is. change->port is nobody. PR_CONFLICT: there are none.
 */
enum pr_result pr_evict(struct pr_change *change, const char *initiator);
enum pr_result pr_register_and_move(struct pr_change *change, const struct pr_port *to,
                                    bool unregister);

/* ---- storage ------------------------------------------------------------------------------- */

/* Makes what is stored for @lun_id equal to @state, or nothing if it is not persistent. */
MUST_CHECK int pr_store(struct pool *pool, uint64_t lun_id, const struct pr_state *state);
/* Empty if nothing is stored. -EBADMSG: not understood. */
MUST_CHECK int pr_load(struct pool *pool, uint64_t lun_id, struct pr_state *state);
/* For each LUN that has something stored: the type of its reservation, 0xff if not understood. */
MUST_CHECK int pr_list_stored(struct pool *pool,
                              int (*each)(void *opaque, uint64_t lun_id, uint8_t type),
                              void *opaque);
/* Keys of stored reservations begin so: "scsi/pr/", 16 digits of the LUN's id, "/", a number. */
#define PR_STORE_PREFIX "scsi/pr/"

#endif
