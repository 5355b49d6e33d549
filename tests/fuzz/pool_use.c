/* SPDX-License-Identifier: BSD-3-Clause */
/* All that can be done with a pool, on one that may be damaged. Every step may fail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/lun.h"
#include "tests/fuzz/pool_image.h"
#include "tests/lib/rng.h"

enum
{
    USE_SALVAGED_BYTES = 16 << 20, /* of each */
    USE_LUNS = 12,                 /* at most so many are looked at, */
    USE_DIFFERENCES = 3,           /* so many pairs of them, */
    USE_LINES = 16,                /* so many lines, */
    USE_EXTENTS = 16,              /* so many extents at a time, */
    USE_EXTENT_CALLS = 2,          /* so many times, */
    USE_READ_BYTES = 48 << 10,
    USE_JOB_STEPS = 600, /* and so much background work done */
};

static uint8_t bytes[USE_READ_BYTES];

/* Errors are fine: what is damaged may be refused anywhere. */
static void may_fail(int r)
{
    INVARIANT(r > -4096 && r <= 1);
}

static void use_report(void *opaque, bool is_error, const char *text)
{
    (void)is_error;
    *(size_t *)opaque += strlen(text);
}

static void use_line(void *opaque, const char *text)
{
    *(size_t *)opaque += strlen(text);
}

static int use_value(void *opaque, const char *key, const void *value, size_t len)
{
    (void)value;
    *(size_t *)opaque += strlen(key) + len;
    return 0;
}

/* ---- looking ------------------------------------------------------------------------------- */

static void look_at_extents(struct lun *lun)
{
    struct lun_extent extents[USE_EXTENTS];
    uint64_t at = 0, end = lun_size_bytes(lun);
    for (unsigned calls = 0; calls < USE_EXTENT_CALLS && at < end; calls++)
    {
        size_t count = 0;
        int r = lun_extents(lun, end - at, at, extents, USE_EXTENTS, &count);
        may_fail(r);
        if (r < 0 || count == 0)
            return;
        for (size_t i = 0; i < count; i++)
        {
            INVARIANT(extents[i].offset_bytes == at && extents[i].len_bytes > 0);
            INVARIANT(range_ok(at, extents[i].len_bytes, end));
            if (!extents[i].is_hole)
                may_fail(lun_read(lun, bytes, (size_t)min_u64(extents[i].len_bytes, USE_READ_BYTES),
                                  at));
            at += extents[i].len_bytes;
        }
    }
}

static void look_at_lun(struct pool *pool, const char *name)
{
    struct lun *lun;
    struct lun_info info;
    int r = lun_open(pool, name, LUN_READ_ONLY, &lun, NULL);
    may_fail(r);
    if (r < 0)
        return;
    may_fail(lun_describe(lun, &info));
    uint64_t size = lun_size_bytes(lun);
    size_t len = (size_t)min_u64(size, USE_READ_BYTES);
    may_fail(lun_read(lun, bytes, len, 0));
    may_fail(lun_read(lun, bytes, len, size - len));
    look_at_extents(lun);
    lun_close(lun);
}

static void look_at_luns(struct pool *pool)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    may_fail(lun_list(pool, NULL, &list, &count, NULL));
    count = (size_t)min_u64(count, USE_LUNS);
    const char *names[USE_LUNS];
    for (size_t i = 0; i < count; i++)
    {
        char text[4 * LUN_NAME_MAX + 16];
        size_t told = 0;
        names[i] = list[i].name;
        look_at_lun(pool, list[i].name);
        snprintf(text, sizeof(text), "map %s", list[i].name);
        may_fail(pool_dump(pool, text, use_line, &told, NULL));
        if (i == 0 || i > USE_DIFFERENCES)
            continue;
        snprintf(text, sizeof(text), "%s..%s", list[i - 1].name, list[i].name);
        look_at_lun(pool, text);
    }
    uint64_t data, metadata;
    may_fail(lun_freed_if_deleted(pool, names, count, &data, &metadata, NULL));
    may_fail(lun_freed_if_deleted(pool, names, count / 2, &data, &metadata, NULL));
}

static void look_at_lines(struct pool *pool)
{
    AUTO_FREE struct line_info *list = NULL;
    size_t count = 0, told = 0;
    may_fail(pool_list_lines(pool, &list, &count));
    for (size_t i = 0; i < count && i < USE_LINES; i++)
    {
        char text[64];
        snprintf(text, sizeof(text), "drops %llu", (unsigned long long)list[i].id);
        may_fail(pool_dump(pool, text, use_line, &told, NULL));
    }
}

static void look_for_errors(struct pool *pool)
{
    struct check_result result;
    size_t told = 0;
    may_fail(pool_check(pool, use_report, &told, &result));
}

static void scrub(struct pool *pool)
{
    uint64_t id;
    struct scrub_info info;
    size_t told = 0;
    int r = pool_scrub_start(pool, &(struct scrub_options){0}, &id, NULL);
    may_fail(r);
    while (r == 0 && (r = pool_scrub_step(pool)) > 0)
        r = 0;
    may_fail(r);
    may_fail(pool_scrub_get(pool, &info, use_report, &told));
}

static void look(struct pool *pool)
{
    static const char *const dumps[] = {"superblock", "groups",  "objects",
                                        "lines",      "journal", "block 1"};
    struct pool_info info;
    size_t told = 0, count;
    AUTO_FREE struct job_info *jobs = NULL;
    pool_get_info(pool, &info);
    look_for_errors(pool);
    for (size_t i = 0; i < ARRAY_SIZE(dumps); i++)
        may_fail(pool_dump(pool, dumps[i], use_line, &told, NULL));
    look_at_luns(pool);
    look_at_lines(pool);
    may_fail(store_list(pool, "", use_value, &told));
    may_fail(job_list(pool, &jobs, &count));
    scrub(pool);
}

/* ---- changing ------------------------------------------------------------------------------ */

static void work(struct pool *pool)
{
    int r = 1;
    for (unsigned steps = 0; steps < USE_JOB_STEPS && r > 0; steps++)
        r = pool_run_job_step(pool);
    may_fail(r);
}

static void change_content(struct pool *pool, const char *name)
{
    struct lun *lun;
    size_t at;
    int r = lun_open(pool, name, 0, &lun, NULL);
    may_fail(r);
    if (r < 0)
        return;
    memset(bytes, 1, sizeof(bytes));
    may_fail(lun_write(lun, bytes, 3 * LUN_BLK_BYTES, 100, 0));
    may_fail(lun_write(lun, bytes, 9 * LUN_BLK_BYTES, 600 * LUN_BLK_BYTES, LUN_FUA));
    may_fail(lun_write_atomic(lun, bytes, 2 * LUN_BLK_BYTES, 8 * LUN_BLK_BYTES, 0));
    may_fail(lun_compare_and_write(lun, bytes, bytes, 512, 512, 0, &at));
    may_fail(lun_unmap(lun, 40 * LUN_BLK_BYTES, 20 * LUN_BLK_BYTES, 0));
    may_fail(lun_zero(lun, 1000, 300 * LUN_BLK_BYTES, 0));
    may_fail(lun_flush(lun));
    lun_close(lun);
}

static void change_lun(struct pool *pool, const char *name, unsigned number)
{
    char copy[32];
    snprintf(copy, sizeof(copy), "fuzz-%u", number);
    change_content(pool, name);
    may_fail(snapshot_create(pool, name, "fuzz", NULL, NULL));
    may_fail(lun_clone(pool, &(struct lun_clone_args){.source = name, .name = copy}, NULL));
    change_content(pool, copy);
    may_fail(snapshot_delete(pool, name, "fuzz", LUN_FORCE, NULL));
    switch (number % 4)
    {
    case 0:
        may_fail(lun_delete(pool, name, true, LUN_FORCE, NULL));
        break;
    case 1:
        may_fail(lun_resize(pool, name, LUN_BLK_BYTES, LUN_FORCE, NULL));
        break;
    case 2:
        may_fail(snapshot_restore(pool, name, "tuesday", LUN_FORCE, NULL));
        break;
    default:
        may_fail(lun_rename(pool, name, "fuzz-renamed", NULL));
        break;
    }
}

static void change(struct pool *pool)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    work(pool);
    may_fail(lun_list(pool, NULL, &list, &count, NULL));
    for (size_t i = 0, luns = 0; i < count && luns < USE_LUNS / 2; i++)
        if (list[i].kind == OBJECT_LUN)
            change_lun(pool, list[i].name, (unsigned)luns++);
    may_fail(
        store_apply(pool, &(struct store_change){.key = "fuzz", .value = "x", .len = 1}, 1, NULL));
    may_fail(pool_checkpoint(pool));
    work(pool);
}

/* ---- both ---------------------------------------------------------------------------------- */

static struct pool *use_open(struct simdev *disk, struct rng_env *env, bool is_read_only)
{
    struct pool_open_options options = {.read_only = is_read_only, .take_over = true};
    struct device *device = simdev_open(disk);
    struct pool *pool = NULL;
    struct reason why;
    int r = pool_open_device(&env->env, device, &options, &pool, &why);
    may_fail(r);
    if (r == 0)
        return pool;
    INVARIANT(why.text[0]); /* refused, with a message */
    device_close(device);
    return NULL;
}

/* A copy of it. What a repair made opens. */
static void repair(const struct simdev *disk, struct rng_env *env)
{
    struct simdev *copy = simdev_copy((struct simdev *)(uintptr_t)disk, 1);
    struct repair_options options = {.take_over = true, .discard_journal = true};
    struct repair_result result;
    struct reason why;
    size_t told = 0;
    int r = pool_repair_device(&env->env, simdev_open(copy), &options, use_report, &told, &result,
                               &why);
    may_fail(r);
    struct pool *pool = r == 0 ? use_open(copy, env, false) : NULL;
    INVARIANT(r < 0 || pool);
    if (pool)
    {
        look_for_errors(pool);
        change(pool);
        may_fail(pool_close(pool));
    }
    simdev_destroy(copy);
}

struct salvage_use
{
    uint64_t end, told;
};

static int use_part(void *opaque, uint64_t offset, uint64_t len, const void *part)
{
    struct salvage_use *use = opaque;
    INVARIANT(offset >= use->end && len > 0);
    use->end = offset + len;
    use->told += part ? len : 0;
    return use->told > USE_SALVAGED_BYTES ? 1 : 0;
}

static void salvage(struct simdev *disk, struct rng_env *env)
{
    struct salvage *salvage;
    struct reason why;
    int r = salvage_open_device(&env->env, simdev_open(disk), &salvage, &why);
    may_fail(r);
    if (r < 0)
        return;
    for (size_t i = 0; i < salvage_count(salvage) && i < USE_LUNS; i++)
    {
        struct salvage_use use = {0};
        r = salvage_read(salvage, salvage_item(salvage, i)->name, use_part, &use, &why);
        may_fail(r > 0 ? 0 : r);
    }
    salvage_close(salvage);
}

void pool_image_use(struct simdev *disk, bool is_changed)
{
    struct rng_env env;
    rng_env_init(&env, 2);
    if (is_changed)
        repair(disk, &env);
    salvage(disk, &env);
    struct pool *pool = use_open(disk, &env, true);
    if (pool)
    {
        look(pool);
        may_fail(pool_close(pool));
    }
    pool = is_changed ? use_open(disk, &env, false) : NULL;
    if (pool)
    {
        change(pool);
        look_for_errors(pool);
        may_fail(pool_close(pool));
        pool = use_open(disk, &env, true);
        if (pool)
            look_for_errors(pool);
        may_fail(pool_close(pool));
    }
    simdev_destroy(disk);
}
