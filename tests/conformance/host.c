/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serves a fresh pool by iSCSI on a port of its own, for suites that test a target from outside.
 *
 * usage: conformance_host POOL-FILE LUN-BYTES INITIATOR...
 *
 * LUN 0: 512-byte sectors, as a disk without 4 KiB physical blocks. LUN 1: 4,096-byte sectors. LUN
 * 2: write-protected. LUN 3: with a removable medium. LUN 4: 512-byte sectors on 4 KiB blocks.
 * Prints "ADDRESS TARGET" when it is ready and ends at the end of its standard input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/iscsi/portal.h"

enum
{
    GROUP_INITIATORS_MAX = 8,
    POOL_ROOM = 8, /* LUN sizes that the pool holds */
    IDLE_MS = 600000,
};

static const struct
{
    const char *name;
    uint32_t sector_bytes;
    unsigned flags;
} host_luns[] = {
    {"disk512", 512, ACCESS_LUN_NO_PHYSICAL},
    {"disk4096", 4096, 0},
    {"readonly", 512, ACCESS_LUN_READ_ONLY},
    {"removable", 512, ACCESS_LUN_REMOVABLE},
    {"disk512e", 512, 0},
};

struct host
{
    struct pool *pool;
    struct access *access;
    struct scsi_target *scsi;
    struct iscsi_server *iscsi;
};

static int host_open_pool(struct host *host, const char *path, uint64_t lun_bytes,
                          struct reason *why)
{
    struct pool_create_options create = {.name = "conformance",
                                         .size_bytes = POOL_ROOM * lun_bytes};
    int r = pool_create(env_system(), path, &create, why);
    if (r == 0)
        r = pool_open(env_system(), path, &(struct pool_open_options){0}, &host->pool, why);
    if (r == 0)
        r = pool_start(host->pool);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(host_luns); i++)
    {
        struct lun_create_args args = {.name = host_luns[i].name,
                                       .size_bytes = lun_bytes,
                                       .sector_bytes = host_luns[i].sector_bytes};
        r = lun_create(host->pool, &args, why);
    }
    return r;
}

static int host_map(struct host *host, const char *const *initiators, size_t count,
                    struct reason *why)
{
    int r = access_open(host->pool, &host->access, why);
    if (r == 0)
        r = access_igroup_create(host->access, "testers", initiators, count, why);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(host_luns); i++)
    {
        r = access_map(host->access, host_luns[i].name, "testers", (int32_t)i, NULL, why);
        if (r == 0)
            r = access_set_lun_flags(host->access, host_luns[i].name, host_luns[i].flags, why);
    }
    return r;
}

static int host_start(struct host *host, struct reason *why)
{
    static const char *const portals[] = {"127.0.0.1:0"};
    struct scsi_target_options scsi = {.target_name = access_target_name(host->access),
                                       .port_count = 1};
    /* The suite sleeps for a minute without an eye on its connection; that is no dead initiator. */
    struct iscsi_options iscsi = {.portals = portals, .portal_count = 1, .limits.idle_ms = IDLE_MS};
    int r = scsi_target_create(host->pool, host->access, &scsi, &host->scsi, why);
    if (r == 0)
        r = iscsi_start(host->scsi, host->access, &iscsi, &host->iscsi, why);
    if (r == 0)
        pool_set_change_hook(host->pool, scsi_target_lun_changed, host->scsi);
    return r;
}

static void host_stop(struct host *host)
{
    iscsi_stop(host->iscsi);
    if (host->pool)
        pool_set_change_hook(host->pool, NULL, NULL);
    scsi_target_destroy(host->scsi);
    access_close(host->access);
    int r = pool_close(host->pool);
    if (r < 0)
        fprintf(stderr, "closing the pool: %s\n", strerror(-r));
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 3 + GROUP_INITIATORS_MAX)
    {
        fprintf(stderr, "usage: %s POOL-FILE LUN-BYTES INITIATOR...\n", argv[0]);
        return 2;
    }
    struct host host = {0};
    struct reason why = {0};
    uint64_t lun_bytes = strtoull(argv[2], NULL, 10);
    int r = host_open_pool(&host, argv[1], lun_bytes, &why);
    if (r == 0)
        r = host_map(&host, (const char *const *)argv + 3, (size_t)argc - 3, &why);
    if (r == 0)
        r = host_start(&host, &why);
    if (r < 0)
    {
        fprintf(stderr, "%s (%s)\n", why.text, strerror(-r));
    }
    else
    {
        printf("%s %s\n", iscsi_portal_address(host.iscsi, 0), iscsi_target_name(host.iscsi));
        fflush(stdout);
        char ignored[64];
        while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0)
            continue;
    }
    host_stop(&host);
    return r < 0;
}
