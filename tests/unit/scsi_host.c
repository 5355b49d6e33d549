/* SPDX-License-Identifier: BSD-3-Clause */
/* A host that sends commands to a SCSI target without a transport. */
#include "tests/unit/scsi_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/qos/qos.h"
#include "server/scsi/cdb.h"

static void host_open(struct scsi_host *host)
{
    struct reason why = {0};
    int r = pool_open(env_system(), host->path, &(struct pool_open_options){0}, &host->pool, &why);
    if (r == 0)
        r = access_open(host->pool, &host->access, &why);
    if (r == 0)
        r = qos_open(host->pool, &host->qos, &why);
    struct scsi_target_options options = {
        .target_name = "iqn.2026-11.org.lunette:test", .port_count = 2, .qos = host->qos};
    if (r == 0)
        r = scsi_target_create(host->pool, host->access, &options, &host->target, &why);
    if (r < 0)
        fprintf(stderr, "%s\n", why.text);
    INVARIANT(r == 0);
    pool_set_change_hook(host->pool, scsi_target_lun_changed, host->target);
}

static void host_close(struct scsi_host *host)
{
    pool_set_change_hook(host->pool, NULL, NULL);
    scsi_target_destroy(host->target);
    qos_close(host->qos);
    access_close(host->access);
    INVARIANT(pool_close(host->pool) == 0);
}

void host_start(struct scsi_host *host, uint32_t sector_bytes)
{
    static const char *const initiators[] = {HOST_A, HOST_B, HOST_C};
    *host = (struct scsi_host){.folder = "/tmp/test-scsi-XXXXXX", .sector_bytes = sector_bytes};
    INVARIANT(mkdtemp(host->folder));
    snprintf(host->path, sizeof(host->path), "%s/pool", host->folder);
    struct pool_create_options create = {.name = "test", .size_bytes = UINT64_C(512) << 20};
    INVARIANT(pool_create(env_system(), host->path, &create, NULL) == 0);
    host_open(host);
    static const char *const names[] = {"disk", "other"};
    INVARIANT(access_igroup_create(host->access, "hosts", initiators, 3, NULL) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    {
        struct lun_create_args args = {
            .name = names[i], .size_bytes = HOST_LUN_BYTES, .sector_bytes = sector_bytes};
        INVARIANT(lun_create(host->pool, &args, NULL) == 0);
        INVARIANT(access_map(host->access, names[i], "hosts", (int32_t)i, NULL, NULL) == 0);
    }
}

void host_restart(struct scsi_host *host)
{
    host_close(host);
    host_open(host);
}

void host_stop(struct scsi_host *host)
{
    host_close(host);
    unlink(host->path);
    rmdir(host->folder);
}

static void host_ignore_change(void *opaque)
{
    (void)opaque;
}

struct scsi_nexus *host_login(struct scsi_host *host, const char *initiator, uint8_t isid)
{
    struct scsi_nexus_args args = {.initiator_name = initiator,
                                   .isid = {0x80, 0, 0, 0, 0, isid},
                                   .portal_group_tag = 1,
                                   .changed = host_ignore_change};
    struct scsi_nexus *nexus = NULL;
    INVARIANT(scsi_nexus_create(host->target, &args, &nexus) == 0);
    return nexus;
}

void host_fill_task(struct scsi_task *task, struct scsi_nexus *nexus, const struct sending *sending)
{
    memset(task, 0, sizeof(*task));
    task->nexus = nexus;
    wire_put_u16(task->lun, sending->lun < 256 ? sending->lun : 0x4000 | sending->lun);
    memcpy(task->cdb, sending->cdb, sending->cdb_len);
    task->cdb_len = 16;
    task->attribute = SCSI_SIMPLE;
    task->edtl_out = sending->out_len;
    task->edtl_in = sending->in_len;
}

static struct outcome host_outcome;

void host_give_buffers(struct scsi_task *task, const struct sending *sending)
{
    task->out = sending->out;
    task->out_len = (size_t)min_u64(task->edtl_out, task->out_wanted);
    task->in = host_outcome.in;
    task->in_capacity = (size_t)min_u64(task->edtl_in, task->in_max);
    INVARIANT(task->in_capacity <= sizeof(host_outcome.in));
}

static void host_parse_sense(const struct scsi_task *task, struct outcome *outcome)
{
    const uint8_t *sense = task->sense;
    bool descriptors = (sense[0] & 0x7f) == 0x72;
    outcome->key = descriptors ? sense[1] : sense[2] & 0xf;
    outcome->asc = descriptors ? sense[2] : sense[12];
    outcome->ascq = descriptors ? sense[3] : sense[13];
    if (!descriptors && sense[0] & 0x80)
    {
        outcome->has_information = true;
        outcome->information = wire_u32(sense + 3);
    }
    if (!descriptors && sense[15] & 0x80)
        outcome->field_byte = wire_u16(sense + 16);
}

const struct outcome *host_send(struct scsi_nexus *nexus, const struct sending *sending)
{
    struct outcome *outcome = &host_outcome;
    struct scsi_task task;
    host_fill_task(&task, nexus, sending);
    enum scsi_step step = scsi_task_begin(&task);
    if (step == SCSI_GO)
    {
        host_give_buffers(&task, sending);
        step = scsi_execute_inline(&task);
        if (step == SCSI_WOULD_BLOCK)
            step = scsi_execute(&task);
    }
    INVARIANT(step == SCSI_DONE);
    bool is_answered = scsi_task_end(&task);
    INVARIANT(is_answered);
    outcome->status = task.status;
    outcome->key = outcome->asc = outcome->ascq = 0;
    outcome->has_information = false;
    outcome->field_byte = -1;
    outcome->residual = scsi_task_residual(&task);
    outcome->len = task.in_len;
    INVARIANT(task.in_len <= task.in_capacity);
    INVARIANT((task.status == SCSI_CHECK_CONDITION) == (task.sense_len > 0));
    if (task.sense_len)
        host_parse_sense(&task, outcome);
    return outcome;
}

const struct outcome *host_simple(struct scsi_nexus *nexus, const void *out, size_t out_len,
                                  size_t in_len, const uint8_t *cdb, size_t cdb_len)
{
    struct sending sending = {
        .cdb = cdb, .cdb_len = cdb_len, .out = out, .out_len = out_len, .in_len = in_len};
    return host_send(nexus, &sending);
}

unsigned host_clear(struct scsi_nexus *nexus, uint32_t lun)
{
    struct sending sending = {.lun = lun, .cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    unsigned count = 0;
    for (const struct outcome *outcome = host_send(nexus, &sending);
         outcome->status != SCSI_GOOD && count < 32; outcome = host_send(nexus, &sending))
        count++;
    return count;
}

const struct outcome *host_read(struct scsi_nexus *nexus, uint32_t lba, uint16_t blocks,
                                uint32_t sector_bytes)
{
    uint8_t cdb[10] = {0x28};
    wire_put_u32(cdb + 2, lba);
    wire_put_u16(cdb + 7, blocks);
    return host_simple(nexus, NULL, 0, (size_t)blocks * sector_bytes, cdb, sizeof(cdb));
}

const struct outcome *host_write(struct scsi_nexus *nexus, uint32_t lba, uint16_t blocks,
                                 const void *bytes, uint32_t sector_bytes)
{
    uint8_t cdb[10] = {0x2a};
    wire_put_u32(cdb + 2, lba);
    wire_put_u16(cdb + 7, blocks);
    return host_simple(nexus, bytes, (size_t)blocks * sector_bytes, 0, cdb, sizeof(cdb));
}
