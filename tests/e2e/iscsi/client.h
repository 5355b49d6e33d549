/* SPDX-License-Identifier: BSD-3-Clause */
/* libiscsi as a client of a stage. */
#ifndef TESTS_E2E_ISCSI_CLIENT_H
#define TESTS_E2E_ISCSI_CLIENT_H

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/e2e/iscsi/stage.h"

struct choice
{
    const char *initiator;
    enum iscsi_header_digest digest;
    enum iscsi_immediate_data immediate;
    const char *user, *secret, *target_user, *target_secret;
    size_t portal;
    uint32_t isid; /* 0: one of its own, at random */
};

/* Connected and logged in, or NULL. */
struct iscsi_context *client_login(const struct stage *stage, const struct choice *choice);
void client_logout(struct iscsi_context *iscsi);

/* Status, and with CHECK CONDITION sense key << 16 | ASC and ASCQ. */
int client_result(struct scsi_task *task);
/* TEST UNIT READY. */
int client_ready(struct iscsi_context *iscsi, int lun);
/* Takes the unit attentions that a new session has; the last result. */
int client_settle(struct iscsi_context *iscsi, int lun);

/* Bytes that follow from @seed. */
void client_fill(uint8_t *bytes, size_t len, uint32_t seed);
/* Writes such bytes and reads them back. */
void client_verify(struct iscsi_context *iscsi, int lun, uint32_t sector, uint64_t lba,
                   uint32_t len, uint32_t seed);

#endif
