/* SPDX-License-Identifier: BSD-3-Clause */
/* INQUIRY, TEST UNIT READY, REQUEST SENSE: the commands of every device. */
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"
#include "server/scsi/vpd.h"

enum
{
    INQUIRY_BYTES = 96,
    INQUIRY_NO_UNIT = 0x7f, /* no such logical unit, no type */
    INQUIRY_SPC4 = 6,
};

/* SAM-5, SPC-4, SBC-3, iSCSI. */
static const uint16_t inquiry_versions[] = {0x00a0, 0x0460, 0x04c0, 0x0960};

static void inquiry_standard(struct scsi_task *task)
{
    uint8_t data[INQUIRY_BYTES] = {0};
    if (!task->lu)
    {
        data[0] = INQUIRY_NO_UNIT;
    }
    else
    {
        AUTO_LOCK(&task->lu->lock);
        data[1] = (uint8_t)(task->lu->flags & ACCESS_LUN_REMOVABLE ? 0x80 : 0);
    }
    data[2] = INQUIRY_SPC4;
    data[3] = 0x12; /* HISUP, response data format 2 */
    data[4] = INQUIRY_BYTES - 5;
    data[5] = 0x18; /* TPGS: implicit; 3PC */
    data[6] = 0x10; /* MULTIP */
    data[7] = 0x02; /* CMDQUE */
    memcpy(data + 8, "LUNETTE ", 8);
    memcpy(data + 16, "LUN             ", 16);
    memcpy(data + 32, "0001", 4);
    for (size_t i = 0; i < ARRAY_SIZE(inquiry_versions); i++)
        wire_put_u16(data + 58 + 2 * i, inquiry_versions[i]);
    command_reply(task, data, sizeof(data));
}

void cmd_inquiry(struct scsi_task *task)
{
    uint8_t page = task->cdb[2];
    if (!(task->cdb[1] & 1))
    {
        if (page)
            sense_fail_cdb(task, 2, -1);
        else
            inquiry_standard(task);
        return;
    }
    struct vpd vpd;
    if (!task->lu || !vpd_build(&vpd, page, task->lu, task->nexus))
    {
        sense_fail_cdb(task, 2, -1);
        return;
    }
    command_reply(task, vpd.bytes, vpd.len);
}

void cmd_test_unit_ready(struct scsi_task *task)
{
    (void)task; /* what stops it was checked before */
}

/* What TEST UNIT READY would meet, as data; a unit attention is told only once. */
static void sense_of_unit(struct scsi_task *task, struct sense *sense)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    uint32_t code;
    if (ua_take_locked(task->itl, &code))
    {
        sense->code = code;
    }
    else if (lu->sanitize == SANITIZE_RUNNING)
    {
        sense->code = SENSE_SANITIZE_IN_PROGRESS;
        sense->has_progress = true;
        sense->progress = lu->sanitize_progress;
    }
    else if (lu->sanitize == SANITIZE_FAILED)
    {
        sense->code = SENSE_SANITIZE_FAILED;
    }
    else
    {
        sense->code = lu_not_ready_locked(lu);
    }
}

void cmd_request_sense(struct scsi_task *task)
{
    struct sense sense = {.code = SENSE_LUN_NOT_SUPPORTED};
    if (task->lu)
        sense_of_unit(task, &sense);
    uint8_t data[SCSI_SENSE_MAX];
    size_t len = sense_format(&sense, task->cdb[1] & 1, data);
    command_reply(task, data, len);
}
