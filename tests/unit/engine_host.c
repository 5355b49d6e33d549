/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/engine_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/crc32c.h"
#include "lun/base/env.h"
#include "lun/pool/checkpoint.h"
#include "lun/volume/catalog.h"

static void host_must(struct engine_host *host, int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "the test cannot go on: %s: %s %s\n", what, strerror(-r), host->why.text);
    abort();
}

void host_start(struct engine_host *host, const struct pool_create_options *options)
{
    static const struct pool_create_options defaults = {
        .name = "unit", .size_bytes = HOST_POOL_BYTES, .group_blks = HOST_GROUP_BLKS};
    const struct pool_create_options *used = options ? options : &defaults;
    *host = (struct engine_host){.disk = simdev_new(used->size_bytes, UINT64_C(1) << 40, 1)};
    rng_env_init(&host->env, 1);
    struct device *device = simdev_open(host->disk);
    host_must(host, pool_create_on_device(&host->env.env, device, used, &host->why), "create");
    device_close(device);
    host_must(host, host_open(host, NULL), "open");
}

void host_stop(struct engine_host *host)
{
    host_close(host);
    simdev_destroy(host->disk);
}

int host_open(struct engine_host *host, const struct pool_open_options *options)
{
    struct device *device = simdev_open(host->disk);
    int r = pool_open_device(&host->env.env, device, options, &host->pool, &host->why);
    if (r < 0)
    {
        host->pool = NULL;
        device_close(device);
    }
    return r;
}

void host_start_threads(struct engine_host *host)
{
    host->env.env = *env_system();
    host_must(host, pool_start(host->pool), "start threads");
}

void host_close(struct engine_host *host)
{
    ignore_error(pool_close(host->pool), "tests break pools on purpose");
    host->pool = NULL;
}

void host_crash(struct engine_host *host)
{
    static const struct simdev_crash_policy keep_none = {.keep_percent = 0};
    struct rng rng = rng_of(1);
    simdev_cut_power(host->disk);
    host_close(host);
    simdev_restart(host->disk, &rng, &keep_none);
}

void host_crash_open(struct engine_host *host)
{
    host_crash(host);
    host_must(host, host_open(host, NULL), "open after a crash");
}

void host_reopen(struct engine_host *host)
{
    host_close(host);
    host_must(host, host_open(host, NULL), "open again");
}

static void host_hear(void *opaque, bool is_error, const char *text)
{
    struct engine_host *host = opaque;
    if (is_error && !host->said[0])
        snprintf(host->said, sizeof(host->said), "%s", text);
}

uint64_t host_check(struct engine_host *host)
{
    struct check_result result;
    host->said[0] = '\0';
    host_must(host, pool_check(host->pool, host_hear, host, &result), "check");
    return result.errors;
}

void host_settle(struct engine_host *host)
{
    int r;
    while ((r = pool_run_job_step(host->pool)) > 0)
        continue;
    host_must(host, r, "background work");
    host_must(host, pool_checkpoint(host->pool), "checkpoint");
}

void host_create(struct engine_host *host, const char *name, uint64_t blks)
{
    struct lun_create_args args = {.name = name, .size_bytes = blks * BLK_BYTES};
    host_must(host, lun_create(host->pool, &args, &host->why), "create a LUN");
}

void host_clone(struct engine_host *host, const char *source, const char *name)
{
    struct lun_clone_args args = {.source = source, .name = name};
    host_must(host, lun_clone(host->pool, &args, &host->why), "clone");
}

void host_snapshot(struct engine_host *host, const char *lun, const char *snapshot)
{
    host_must(host, snapshot_create(host->pool, lun, snapshot, NULL, &host->why), "snapshot");
}

void host_delete(struct engine_host *host, const char *name)
{
    const char *at = strchr(name, '@');
    char lun[LUN_NAME_MAX + 1] = "";
    if (at)
        memcpy(lun, name, (size_t)(at - name));
    host_must(host,
              at ? snapshot_delete(host->pool, lun, at + 1, 0, &host->why)
                 : lun_delete(host->pool, name, false, 0, &host->why),
              "delete");
}

static struct lun *host_handle(struct engine_host *host, const char *name, unsigned flags)
{
    struct lun *lun = NULL;
    host_must(host, lun_open(host->pool, name, flags, &lun, &host->why), "open a LUN");
    return lun;
}

int host_write(struct engine_host *host, const char *name, uint64_t lba, uint64_t blks,
               uint8_t value, unsigned flags)
{
    struct lun *lun = host_handle(host, name, 0);
    uint8_t *bytes = malloc(blks * BLK_BYTES);
    memset(bytes, value, blks * BLK_BYTES);
    int r = lun_write(lun, bytes, blks * BLK_BYTES, lba * BLK_BYTES, flags);
    free(bytes);
    lun_close(lun);
    return r;
}

int host_unmap(struct engine_host *host, const char *name, uint64_t lba, uint64_t blks)
{
    struct lun *lun = host_handle(host, name, 0);
    int r = lun_unmap(lun, blks * BLK_BYTES, lba * BLK_BYTES, 0);
    lun_close(lun);
    return r;
}

bool host_holds(struct engine_host *host, const char *name, uint64_t lba, uint64_t blks,
                uint8_t value)
{
    struct lun *lun = host_handle(host, name, LUN_READ_ONLY);
    size_t len = blks * BLK_BYTES;
    uint8_t *bytes = malloc(len);
    bool holds = lun_read(lun, bytes, len, lba * BLK_BYTES) == 0;
    for (size_t i = 0; i < len && holds; i++)
        holds = bytes[i] == value;
    free(bytes);
    lun_close(lun);
    return holds;
}

void host_flush(struct engine_host *host)
{
    host_must(host, journal_commit(host->pool->journal), "flush");
}

struct lun_object *host_object(struct engine_host *host, const char *name)
{
    struct lun_object *object = catalog_find_lun(host->pool, name);
    host_must(host, object ? 0 : -ENOENT, name);
    return object;
}

struct line *host_line(struct engine_host *host, const char *name)
{
    return host_object(host, name)->line;
}

struct lun_info host_info(struct engine_host *host, const char *name)
{
    struct lun_info info;
    host_must(host, lun_get_info(host->pool, name, &info, &host->why), "info");
    return info;
}

uint64_t host_data_blks(struct engine_host *host)
{
    struct space_stats stats;
    space_get_stats(host->pool->space, &stats);
    return stats.data_blks;
}

void host_forge(struct engine_host *host, uint64_t blk, uint64_t offset, const void *bytes,
                size_t len)
{
    uint8_t block[BLK_BYTES];
    simdev_peek(host->disk, block, sizeof(block), blk * BLK_BYTES);
    memcpy(block + offset, bytes, len);
    memset(block, 0, sizeof(struct le32));
    struct le32 crc = le32_put(crc32c(0, block, sizeof(block)));
    memcpy(block, &crc, sizeof(crc));
    simdev_poke(host->disk, block, sizeof(block), blk * BLK_BYTES);
}

bool host_has_event(struct engine_host *host, const char *name, const char *object)
{
    AUTO_FREE struct event *list = NULL;
    size_t count;
    host_must(host, event_list(host->pool, 0, &list, &count), "event_list");
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0 && strcmp(list[i].object, object) == 0)
            return true;
    return false;
}
