/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unit attentions: conditions that a nexus learns of with its next command to the unit.
 *
 * Pending ones are bits in the ITL, in the order of their priority: the lowest is reported first.
 * The same condition twice is one; a reset covers all that it makes moot.
 */
#ifndef SERVER_SCSI_UA_H
#define SERVER_SCSI_UA_H

#include <stdbool.h>
#include <stdint.h>

struct scsi_itl;
struct scsi_lu;
struct scsi_nexus;

enum attention
{
    ATTENTION_POWER_ON,                /* 29h/00h */
    ATTENTION_TARGET_RESET,            /* 29h/02h */
    ATTENTION_LUN_RESET,               /* 29h/03h */
    ATTENTION_COMMANDS_CLEARED,        /* 2Fh/00h */
    ATTENTION_MEDIUM_CHANGED,          /* 28h/00h */
    ATTENTION_MODE_CHANGED,            /* 2Ah/01h */
    ATTENTION_PREEMPTED,               /* 2Ah/03h reservations preempted */
    ATTENTION_RELEASED,                /* 2Ah/04h reservations released */
    ATTENTION_REGISTRATIONS_PREEMPTED, /* 2Ah/05h */
    ATTENTION_CAPACITY_CHANGED,        /* 2Ah/09h */
    ATTENTION_INQUIRY_CHANGED,         /* 3Fh/03h */
    ATTENTION_LUNS_CHANGED,            /* 3Fh/0Eh */
    ATTENTION_SOFT_THRESHOLD,          /* 38h/07h */
    ATTENTION_COUNT,
};

/* All under the unit's lock. */
void ua_add_locked(struct scsi_itl *itl, enum attention attention);
/* To every nexus of the unit but @except (may be NULL). */
void ua_add_all_locked(struct scsi_lu *lu, enum attention attention,
                       const struct scsi_nexus *except);
/* Takes the most important one. False: none is pending. *code is that of its sense. */
bool ua_take_locked(struct scsi_itl *itl, uint32_t *code);
/* The same without taking it. */
bool ua_peek_locked(const struct scsi_itl *itl, uint32_t *code);

#endif
