/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI layer and access control in memory, for tests of the iSCSI layer alone.
 *
 * One disk of 512-byte blocks as LUN 0 for everybody. Each command says in the last byte of its CDB
 * how it wants to be run (enum fake_scsi_control), so that a test can force every path.
 */
#ifndef TESTS_LIB_FAKE_SCSI_H
#define TESTS_LIB_FAKE_SCSI_H

#include "server/access.h"
#include "server/scsi/scsi.h"

enum
{
    FAKE_SCSI_BYTES = 8 << 20,
    FAKE_SCSI_RUNS = 4096,
};

enum fake_scsi_control
{
    FAKE_SCSI_INLINE = 0,
    FAKE_SCSI_BLOCK = 1,     /* not inline: on a worker */
    FAKE_SCSI_GATE = 2,      /* on a worker, which waits until fake_scsi_open_gate() */
    FAKE_SCSI_DORMANT = 3,   /* dormant until fake_scsi_wake() */
    FAKE_SCSI_PIECES = 4,    /* takes a write's data in pieces */
    FAKE_SCSI_ONE_PIECE = 5, /* only the first one */
    FAKE_SCSI_LEND = 6,      /* lends what it reads, in parts; zeros as such */
    FAKE_SCSI_LEND_LOST = 7, /* the same, but where it lent it nothing is any more */
    FAKE_SCSI_LEND_GONE = 8, /* nor anywhere else */
    FAKE_SCSI_HOLD = 9,      /* inline, where it waits at the gate and holds up its thread */
};

struct scsi_target *fake_scsi_create(void);
void fake_scsi_destroy(struct scsi_target *target);
uint8_t *fake_scsi_bytes(struct scsi_target *target);
/* Lets all gated commands go on, now and from now on; false closes it for those to come. */
void fake_scsi_open_gate(struct scsi_target *target, bool open);
/* How many wait at the gate. Blocks until it is at least @count. */
void fake_scsi_wait_gated(struct scsi_target *target, unsigned count);
/* One of those that wait at the gate goes on. */
void fake_scsi_pass_gate(struct scsi_target *target);
/* The LBAs of the reads and writes that were run, in that order: the last FAKE_SCSI_RUNS of them.
 * How many there were. */
unsigned fake_scsi_runs(struct scsi_target *target, uint32_t lbas[FAKE_SCSI_RUNS]);
/* All dormant tasks may run. */
void fake_scsi_wake(struct scsi_target *target);
/* Until @count are dormant. */
void fake_scsi_wait_dormant(struct scsi_target *target, unsigned count);
/* Tasks that were ever begun, those between begin and end, and nexuses there are. */
unsigned fake_scsi_begun_count(struct scsi_target *target);
unsigned fake_scsi_task_count(struct scsi_target *target);
unsigned fake_scsi_nexus_count(struct scsi_target *target);
/* Of all targets: loans that are out, and that were ever given. */
unsigned fake_scsi_loans_out(void);
unsigned fake_scsi_loans_given(void);

/* An access control that knows @chap (NULL: none asked) and shows the disk if @is_visible. */
struct access *fake_access_create(const struct access_chap *chap, bool is_visible);
void fake_access_destroy(struct access *access);

#endif
