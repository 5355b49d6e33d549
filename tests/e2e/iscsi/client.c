/* SPDX-License-Identifier: BSD-3-Clause */
/* libiscsi as a client of a stage. */
#include "tests/e2e/iscsi/client.h"

#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/lib/cunit_main.h"

enum
{
    CLIENT_ANSWER_S = 120, /* then it gives up on a command; some wait for room meanwhile */
};

struct iscsi_context *client_login(const struct stage *stage, const struct choice *choice)
{
    struct iscsi_context *iscsi = iscsi_create_context(choice->initiator);
    INVARIANT(iscsi);
    iscsi_set_noautoreconnect(iscsi, 1);
    iscsi_set_timeout(iscsi, CLIENT_ANSWER_S);
    iscsi_set_targetname(iscsi, stage_target(stage));
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(iscsi, choice->digest);
    iscsi_set_immediate_data(iscsi, choice->immediate);
    if (choice->isid)
        iscsi_set_isid_random(iscsi, choice->isid, 0);
    if (choice->user)
        iscsi_set_initiator_username_pwd(iscsi, choice->user, choice->secret);
    if (choice->target_user)
        iscsi_set_target_username_pwd(iscsi, choice->target_user, choice->target_secret);
    if (iscsi_connect_sync(iscsi, stage_address(stage, choice->portal)) == 0 &&
        iscsi_login_sync(iscsi) == 0)
        return iscsi;
    iscsi_destroy_context(iscsi);
    return NULL;
}

void client_logout(struct iscsi_context *iscsi)
{
    CU_ASSERT_EQUAL(iscsi_logout_sync(iscsi), 0);
    iscsi_destroy_context(iscsi);
}

int client_result(struct scsi_task *task)
{
    if (!task)
        return -1;
    int result = task->status;
    if (task->status == SCSI_STATUS_CHECK_CONDITION)
        result = (int)task->sense.key << 16 | task->sense.ascq;
    scsi_free_scsi_task(task);
    return result;
}

int client_ready(struct iscsi_context *iscsi, int lun)
{
    return client_result(iscsi_testunitready_sync(iscsi, lun));
}

int client_settle(struct iscsi_context *iscsi, int lun)
{
    int result = client_ready(iscsi, lun);
    for (int i = 0; i < 4 && result >> 16 == SCSI_SENSE_UNIT_ATTENTION; i++)
        result = client_ready(iscsi, lun);
    return result;
}

void client_fill(uint8_t *bytes, size_t len, uint32_t seed)
{
    for (size_t i = 0; i + 4 <= len; i += 4)
    {
        seed = seed * 1664525 + 1013904223;
        memcpy(bytes + i, &seed, 4);
    }
}

void client_verify(struct iscsi_context *iscsi, int lun, uint32_t sector, uint64_t lba,
                   uint32_t len, uint32_t seed)
{
    AUTO_FREE uint8_t *wrote = malloc(len);
    INVARIANT(wrote);
    client_fill(wrote, len, seed);
    CU_ASSERT_EQUAL(
        client_result(iscsi_write16_sync(iscsi, lun, lba, wrote, len, (int)sector, 0, 0, 0, 0, 0)),
        SCSI_STATUS_GOOD);
    struct scsi_task *task = iscsi_read16_sync(iscsi, lun, lba, len, (int)sector, 0, 0, 0, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    CU_ASSERT_EQUAL(task->status, SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL_FATAL(task->datain.size, (int)len);
    CU_ASSERT_EQUAL(memcmp(task->datain.data, wrote, len), 0);
    scsi_free_scsi_task(task);
}
