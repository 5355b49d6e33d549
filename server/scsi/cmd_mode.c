/* SPDX-License-Identifier: BSD-3-Clause */
/* MODE SENSE and MODE SELECT, (6) and (10). */
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"

enum
{
    MODE_BYTES_MAX = 512,
    MODE_WRITE_PROTECTED = 0x80,
    MODE_DPO_FUA = 0x10,
    MODE_LONG_LBA = 0x01,
    BLOCK_DESCRIPTOR_SHORT = 8,
    BLOCK_DESCRIPTOR_LONG = 16,
};

static bool mode_is_10(const struct scsi_task *task)
{
    return task_command(task)->cdb_len == 10;
}

static size_t mode_block_descriptor(const struct scsi_lu *lu, bool is_long, uint8_t *at)
{
    uint64_t blocks = command_block_count(lu);
    if (is_long)
    {
        wire_put_u64(at, blocks);
        wire_put_u32(at + 12, lu->sector_bytes);
        return BLOCK_DESCRIPTOR_LONG;
    }
    wire_put_u32(at, min_u64(blocks, UINT32_MAX));
    wire_put_u32(at + 4, lu->sector_bytes); /* the byte before it is reserved, and 0 */
    return BLOCK_DESCRIPTOR_SHORT;
}

void cmd_mode_sense(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    const uint8_t *cdb = task->cdb;
    bool is_10 = mode_is_10(task);
    enum modepage_control control = cdb[2] >> 6;
    if (control == MODEPAGE_SAVED)
    {
        sense_fail(task, SENSE_SAVING_NOT_SUPPORTED);
        return;
    }
    uint8_t data[MODE_BYTES_MAX] = {0};
    size_t header = is_10 ? 8 : 4, len = header;
    bool is_long = is_10 && cdb[1] & 0x10;
    if (!(cdb[1] & 0x08))
        len += mode_block_descriptor(lu, is_long, data + len);
    size_t descriptor_len = len - header;
    uint32_t threshold_sets = lu_threshold_sets(lu);
    lock_take(&lu->lock);
    struct modepage_values values = lu->mode;
    values.threshold_sets = threshold_sets;
    bool is_protected = lu_write_protected_locked(lu) != 0;
    lock_release(&lu->lock);
    size_t pages =
        modepage_sense(&values, cdb[2] & 0x3f, cdb[3], control, data + len, sizeof(data) - len);
    if (!pages)
    {
        sense_fail_cdb(task, 2, 5);
        return;
    }
    len += pages;
    uint8_t device = (uint8_t)(MODE_DPO_FUA | (is_protected ? MODE_WRITE_PROTECTED : 0));
    if (is_10)
    {
        wire_put_u16(data, len - 2);
        data[3] = device;
        data[4] = is_long ? MODE_LONG_LBA : 0;
        wire_put_u16(data + 6, descriptor_len);
    }
    else
    {
        data[0] = (uint8_t)(len - 1);
        data[2] = device;
        data[3] = (uint8_t)descriptor_len;
    }
    command_reply(task, data, len);
}

/* A block descriptor may come back as it was given; size and sector cannot be changed. */
static bool mode_descriptor_ok(const struct scsi_lu *lu, const uint8_t *at, size_t len)
{
    uint64_t blocks = len == BLOCK_DESCRIPTOR_LONG ? wire_u64(at) : wire_u32(at);
    uint32_t sector = len == BLOCK_DESCRIPTOR_LONG ? wire_u32(at + 12) : wire_u24(at + 5);
    uint64_t real = command_block_count(lu);
    if (len == BLOCK_DESCRIPTOR_SHORT)
        real = min_u64(real, UINT32_MAX);
    return sector == lu->sector_bytes && (blocks == 0 || blocks == real);
}

/* False: sense is set. *pages_at is where the pages begin. */
static bool mode_select_header(struct scsi_task *task, size_t *pages_at)
{
    const uint8_t *list = task->out;
    bool is_10 = mode_is_10(task);
    size_t header = is_10 ? 8 : 4;
    if (task->out_len < header)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    size_t descriptor_len = is_10 ? wire_u16(list + 6) : list[3];
    size_t wanted =
        is_10 && list[4] & MODE_LONG_LBA ? BLOCK_DESCRIPTOR_LONG : BLOCK_DESCRIPTOR_SHORT;
    if (descriptor_len && descriptor_len != wanted)
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, is_10 ? 6 : 3);
        return false;
    }
    if (task->out_len < header + descriptor_len)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    if (descriptor_len && !mode_descriptor_ok(task->lu, list + header, descriptor_len))
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, (unsigned)header);
        return false;
    }
    *pages_at = header + descriptor_len;
    return true;
}

void cmd_mode_select(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    if (task->cdb[1] & 0x01)
    {
        sense_fail_cdb(task, 1, 0); /* nothing can be saved */
        return;
    }
    size_t at = 0;
    if (!command_has_parameters(task))
        return;
    if (task->out_len == 0)
        return;
    if (!mode_select_header(task, &at))
        return;
    const uint8_t *list = task->out;
    size_t bad_byte = 0;
    uint32_t threshold_sets = lu_threshold_sets(lu);
    lock_take(&lu->lock);
    lu->mode.threshold_sets = threshold_sets; /* which may come back, but not changed */
    struct modepage_values before = lu->mode;
    enum modepage_result result =
        modepage_select(&lu->mode, list + at, task->out_len - at, &bad_byte);
    if (result == MODEPAGE_OK && !modepage_values_equal(&before, &lu->mode))
        ua_add_all_locked(lu, ATTENTION_MODE_CHANGED, task->nexus);
    lock_release(&lu->lock);
    if (result == MODEPAGE_BAD_LENGTH)
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
    else if (result == MODEPAGE_BAD_FIELD)
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, (unsigned)(at + bad_byte));
}
