/* SPDX-License-Identifier: BSD-3-Clause */
/* Sense data: formats, and the table from errno to sense key, code and qualifier. */
#include "server/scsi/sense.h"

#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/cdb.h"
#include "server/scsi/scsi_internal.h"

struct sense_row
{
    int err;
    uint8_t status;
    uint32_t on_read, on_write; /* with CHECK CONDITION */
};

/*
 * A full pool is DATA PROTECT, on which initiators stop or pause; ABORTED COMMAND would make them
 * try again for ever. Shortage of memory is BUSY: trying again is right then.
 */
static const struct sense_row sense_rows[] = {
    {-ENOSPC, SCSI_CHECK_CONDITION, SENSE_SPACE_ALLOCATION_FAILED, SENSE_SPACE_ALLOCATION_FAILED},
    {-EDQUOT, SCSI_CHECK_CONDITION, SENSE_SPACE_ALLOCATION_FAILED, SENSE_SPACE_ALLOCATION_FAILED},
    {-EROFS, SCSI_CHECK_CONDITION, SENSE_WRITE_PROTECTED, SENSE_WRITE_PROTECTED},
    {-EIO, SCSI_CHECK_CONDITION, SENSE_READ_ERROR, SENSE_WRITE_ERROR},
    {-EBADMSG, SCSI_CHECK_CONDITION, SENSE_READ_ERROR, SENSE_WRITE_ERROR},
    {-EINVAL, SCSI_CHECK_CONDITION, SENSE_LBA_OUT_OF_RANGE, SENSE_LBA_OUT_OF_RANGE},
    {-ESTALE, SCSI_CHECK_CONDITION, SENSE_LUN_NOT_SUPPORTED, SENSE_LUN_NOT_SUPPORTED},
    {-ENOENT, SCSI_CHECK_CONDITION, SENSE_LUN_NOT_SUPPORTED, SENSE_LUN_NOT_SUPPORTED},
    {-EILSEQ, SCSI_CHECK_CONDITION, SENSE_MISCOMPARE, SENSE_MISCOMPARE},
    {-ECANCELED, SCSI_CHECK_CONDITION, SENSE_ABORTED, SENSE_ABORTED},
    {-ENOMEM, SCSI_BUSY, 0, 0},
    {-EAGAIN, SCSI_BUSY, 0, 0},
    {-EBUSY, SCSI_BUSY, 0, 0},
    {-ETIMEDOUT, SCSI_BUSY, 0, 0},
};

static void sense_key_specific(const struct sense *sense, uint8_t *at)
{
    if (sense->has_field)
    {
        at[0] = (uint8_t)(0x80 | (sense->field_in_cdb ? 0x40 : 0) |
                          (sense->field_bit >= 0 ? 0x08 | sense->field_bit : 0));
        wire_put_u16(at + 1, sense->field_byte);
    }
    else if (sense->has_progress)
    {
        at[0] = 0x80;
        wire_put_u16(at + 1, sense->progress);
    }
}

static size_t sense_format_descriptors(const struct sense *sense, uint8_t *bytes)
{
    bytes[0] = sense->is_deferred ? 0x73 : 0x72;
    bytes[1] = (uint8_t)(sense->code >> 16);
    bytes[2] = (uint8_t)(sense->code >> 8);
    bytes[3] = (uint8_t)sense->code;
    size_t len = 8;
    if (sense->has_information)
    {
        bytes[len + 1] = 10; /* descriptor type 0 */
        bytes[len + 2] = 0x80;
        wire_put_u64(bytes + len + 4, sense->information);
        len += 12;
    }
    if (sense->has_field || sense->has_progress)
    {
        bytes[len] = 2;
        bytes[len + 1] = 6;
        sense_key_specific(sense, bytes + len + 4);
        len += 8;
    }
    bytes[7] = (uint8_t)(len - 8);
    return len;
}

size_t sense_format(const struct sense *sense, bool descriptor_format, uint8_t *bytes)
{
    memset(bytes, 0, SCSI_SENSE_MAX);
    if (descriptor_format)
        return sense_format_descriptors(sense, bytes);
    bytes[0] = sense->is_deferred ? 0x71 : 0x70;
    bytes[2] = (uint8_t)(sense->code >> 16);
    /* Only descriptor format has room for more than 32 bits. */
    if (sense->has_information && sense->information <= UINT32_MAX)
    {
        bytes[0] |= 0x80;
        wire_put_u32(bytes + 3, sense->information);
    }
    bytes[7] = 10;
    bytes[12] = (uint8_t)(sense->code >> 8);
    bytes[13] = (uint8_t)sense->code;
    sense_key_specific(sense, bytes + 15);
    return 18;
}

void sense_set(struct scsi_task *task, const struct sense *sense)
{
    task->status = SCSI_CHECK_CONDITION;
    task->sense_len = (uint8_t)sense_format(sense, task->descriptor_sense, task->sense);
    task->in_len = 0;
    if (task->in_max)
        task->transfer_len = 0; /* nothing comes in; what went out did */
}

void sense_fail(struct scsi_task *task, uint32_t code)
{
    sense_set(task, &(struct sense){.code = code});
}

void sense_fail_cdb(struct scsi_task *task, unsigned byte, int bit)
{
    sense_set(task, &(struct sense){.code = SENSE_INVALID_FIELD_IN_CDB,
                                    .has_field = true,
                                    .field_in_cdb = true,
                                    .field_byte = (uint16_t)byte,
                                    .field_bit = (int8_t)bit});
}

void sense_fail_parameter(struct scsi_task *task, uint32_t code, unsigned byte)
{
    sense_set(task,
              &(struct sense){
                  .code = code, .has_field = true, .field_byte = (uint16_t)byte, .field_bit = -1});
}

void sense_fail_information(struct scsi_task *task, uint32_t code, uint64_t information)
{
    sense_set(task,
              &(struct sense){.code = code, .has_information = true, .information = information});
}

void sense_fail_errno(struct scsi_task *task, int err, bool write)
{
    for (size_t i = 0; i < ARRAY_SIZE(sense_rows); i++)
    {
        const struct sense_row *row = &sense_rows[i];
        if (row->err != err)
            continue;
        if (row->status == SCSI_CHECK_CONDITION)
        {
            sense_fail(task, write ? row->on_write : row->on_read);
        }
        else
        {
            task->status = row->status;
            task->sense_len = 0;
            task->in_len = 0;
        }
        return;
    }
    sense_fail(task, SENSE_INTERNAL_FAILURE);
}
