/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool in a file, served by iSCSI in this process. */
#include "tests/e2e/iscsi/stage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/iscsi/portal.h"
#include "server/qos/qos.h"

static int stage_serve(struct stage *stage, const char *const *portals, size_t portal_count)
{
    struct reason why = {.text = ""};
    struct scsi_target_options scsi = {.target_name = access_target_name(stage->access),
                                       .qos = stage->qos};
    struct iscsi_options options = {.portals = portals,
                                    .portal_count = portal_count,
                                    .threads = 2,
                                    .limits = {.data_mib = stage->data_mib}};
    INVARIANT(scsi_target_create(stage->pool, stage->access, &scsi, &stage->scsi, &why) == 0);
    int r = iscsi_start(stage->scsi, stage->access, &options, &stage->server, &why);
    if (r == 0)
        pool_set_change_hook(stage->pool, scsi_target_lun_changed, stage->scsi);
    else
        scsi_target_destroy(stage->scsi);
    return r;
}

static void stage_unserve(struct stage *stage)
{
    iscsi_stop(stage->server);
    pool_set_change_hook(stage->pool, NULL, NULL);
    scsi_target_destroy(stage->scsi);
}

static void stage_make_pool(struct stage *stage)
{
    struct reason why = {.text = ""};
    struct pool_create_options create = {.size_bytes = 512 << 20};
    struct pool_open_options open = {.read_only = false};
    struct lun_create_args a = {.name = "a", .size_bytes = STAGE_LUN_BYTES};
    struct lun_create_args b = {.name = "b", .size_bytes = STAGE_LUN_BYTES, .sector_bytes = 4096};
    snprintf(stage->folder, sizeof(stage->folder), "/tmp/lunette-iscsi-XXXXXX");
    INVARIANT(mkdtemp(stage->folder));
    snprintf(stage->path, sizeof(stage->path), "%s/pool", stage->folder);
    INVARIANT(pool_create(env_system(), stage->path, &create, &why) == 0);
    INVARIANT(pool_open(env_system(), stage->path, &open, &stage->pool, &why) == 0);
    INVARIANT(pool_start(stage->pool) == 0);
    INVARIANT(lun_create(stage->pool, &a, &why) == 0);
    INVARIANT(lun_create(stage->pool, &b, &why) == 0);
}

void stage_open(struct stage *stage)
{
    static const char *const portals[] = {"127.0.0.1:0", "[::1]:0"};
    static const char *const initiators[] = {STAGE_INITIATOR, STAGE_INITIATOR ":1",
                                             STAGE_INITIATOR ":2"};
    struct reason why = {.text = ""};
    uint32_t used;
    log_set_level(LOG_LEVEL_ERROR);
    stage_make_pool(stage);
    INVARIANT(access_open(stage->pool, &stage->access, &why) == 0);
    INVARIANT(qos_open(stage->pool, &stage->qos, &why) == 0);
    INVARIANT(access_igroup_create(stage->access, "g", initiators, 3, &why) == 0);
    INVARIANT(access_map(stage->access, "a", "g", 0, &used, &why) == 0);
    INVARIANT(access_map(stage->access, "b", "g", 1, &used, &why) == 0);
    if (stage_serve(stage, portals, 2) < 0)
        INVARIANT(stage_serve(stage, portals, 1) == 0);
}

void stage_restart(struct stage *stage)
{
    char address[ISCSI_ADDRESS_MAX];
    const char *const portals[] = {address};
    snprintf(address, sizeof(address), "%s", stage_address(stage, 0));
    stage_unserve(stage);
    INVARIANT(stage_serve(stage, portals, 1) == 0);
}

void stage_close(struct stage *stage)
{
    stage_unserve(stage);
    qos_close(stage->qos);
    access_close(stage->access);
    INVARIANT(pool_close(stage->pool) == 0);
    unlink(stage->path);
    rmdir(stage->folder);
}

const char *stage_target(const struct stage *stage)
{
    return iscsi_target_name(stage->server);
}

size_t stage_portal_count(const struct stage *stage)
{
    return iscsi_portal_count(stage->server);
}

const char *stage_address(const struct stage *stage, size_t portal)
{
    return iscsi_portal_address(stage->server, portal);
}

size_t stage_session_count(const struct stage *stage)
{
    struct iscsi_session_info *list;
    size_t count;
    INVARIANT(iscsi_session_list(stage->server, &list, &count) == 0);
    free(list);
    return count;
}
