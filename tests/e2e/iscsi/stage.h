/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool in a file, served by iSCSI in this process. LUN "a" is number 0 with 512-byte sectors, "b"
 * is 1 with 4,096; STAGE_INITIATOR and the same with ":1" and ":2" see them.
 *
 * Says nothing of scsi.h, whose names libiscsi has too.
 */
#ifndef TESTS_E2E_ISCSI_STAGE_H
#define TESTS_E2E_ISCSI_STAGE_H

#include "lun/lun.h"
#include "server/access.h"

#define STAGE_INITIATOR "iqn.2026-11.test:client"

enum
{
    STAGE_LUN_BYTES = 64 << 20,
};

struct stage
{
    char folder[64], path[96];
    struct pool *pool;
    struct access *access;
    struct qos *qos;
    struct scsi_target *scsi;
    struct iscsi_server *server;
    uint32_t data_mib; /* limits.data_mib, set before stage_open(); 0: the default */
};

/* On 127.0.0.1 and, if the machine has it, on ::1. Aborts when it fails. */
void stage_open(struct stage *stage);
/* Aborts if the pool does not close clean. */
void stage_close(struct stage *stage);
/* Stops the target and starts it anew on the same port of 127.0.0.1. */
void stage_restart(struct stage *stage);
const char *stage_target(const struct stage *stage);
size_t stage_portal_count(const struct stage *stage);
const char *stage_address(const struct stage *stage, size_t portal);
size_t stage_session_count(const struct stage *stage);

#endif
