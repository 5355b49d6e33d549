/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small pools, filled to refusal in random ways and emptied in random order: whatever is in a full
 * pool can be deleted, in whatever order, also in large commands, after power cuts, and while
 * others take what becomes free. In the end nothing is left.
 *
 *   full_random [--seed N] [--runs N] [--trace]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/volume/catalog.h"
#include "tests/unit/engine_host.h"

enum
{
    VOLUMES = 6,
    FAT_BLKS = 65536,
    FILL_OPS = 400,
    REFUSALS = 60, /* then the pool is filled */
};

static struct engine_host host;
static struct rng rng;
static uint64_t seed, refused, deleted, cuts, next_name;
static bool trace;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "seed %" PRIu64 ": ", seed);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void say(const char *what, const char *name, int r)
{
    if (trace)
        printf("%s %s: %s\n", what, name, r < 0 ? strerror(-r) : "done");
}

/* ---- what there is ------------------------------------------------------------------------- */

static struct lun_object *pick_lun(void)
{
    uint64_t at = host.pool->lun_count ? rng_below(&rng, host.pool->lun_count) : 0;
    list_for_each (lun, &host.pool->luns, struct lun_object, all_link)
    {
        if (at-- == 0)
            return lun;
    }
    return NULL;
}

static struct volume_object *pick_volume(void)
{
    uint64_t count = host.pool->volume_count, at = count ? rng_below(&rng, count) : 0;
    list_for_each (volume, &host.pool->volumes, struct volume_object, all_link)
    {
        if (at-- == 0)
            return volume;
    }
    return NULL;
}

static struct volume_snapshot_object *pick_volume_snapshot(void)
{
    struct volume_snapshot_object *picked = NULL;
    uint64_t met = 0;
    list_for_each (volume, &host.pool->volumes, struct volume_object, all_link)
    {
        list_for_each (snapshot, &volume->snapshots, struct volume_snapshot_object, volume_link)
        {
            if (rng_below(&rng, ++met) == 0)
                picked = snapshot;
        }
    }
    return picked;
}

static const char *part(const char *name)
{
    const char *at = strrchr(name, '@');
    return at ? at + 1 : name;
}

/* Some long, so that objects need large pages. */
static void make_name(char *name, size_t size, const char *end)
{
    const struct volume_object *volume = rng_percent(&rng, 70) ? pick_volume() : NULL;
    char filler[120];
    size_t len = rng_percent(&rng, 20) ? 100 : rng_below(&rng, 30);
    memset(filler, 'x', len);
    filler[len] = '\0';
    snprintf(name, size, "%s%sn%" PRIu64 "%s%s", volume ? volume->name : "", volume ? "/" : "",
             next_name++, filler, end);
}

/* ---- the power --------------------------------------------------------------------------- */

/* What fails now says nothing about the pool. */
static bool is_off(void)
{
    return simdev_is_off(host.disk);
}

static void recover(void)
{
    struct simdev_crash_policy policy = {.keep_percent = (unsigned)rng_below(&rng, 101),
                                         .tear_percent = (unsigned)rng_below(&rng, 40)};
    simdev_cut_power(host.disk);
    host_close(&host);
    simdev_restart(host.disk, &rng, &policy);
    int r = host_open(&host, NULL);
    if (r < 0)
        fail("no recovery: %s: %s", strerror(-r), host.why.text);
    cuts++;
}

/* ---- adding: may be refused ---------------------------------------------------------------- */

static int add_volume(void)
{
    char name[32];
    struct volume_attributes attributes = {0};
    if (host.pool->volume_count >= VOLUMES)
        return 0;
    snprintf(name, sizeof(name), "v%" PRIu64, next_name++);
    if (rng_percent(&rng, 15))
        attributes = (struct volume_attributes){.size_bytes = rng_between(&rng, 1, 4) << 20,
                                                .is_guaranteed = true};
    int r = volume_create(host.pool, name, &attributes, &host.why);
    say("volume", name, r);
    return r;
}

/* Snapshots of the volume have copies of them. */
static int add_qtrees(void)
{
    const struct volume_object *volume = pick_volume();
    char path[64];
    int r = 0;
    for (uint64_t i = volume ? rng_between(&rng, 1, 20) : 0; i > 0 && r == 0; i--)
    {
        snprintf(path, sizeof(path), "%s/q%" PRIu64, volume->name, next_name++);
        r = qtree_create(host.pool, path, NULL, &host.why);
    }
    return r;
}

static int add_lun(void)
{
    char name[256];
    make_name(name, sizeof(name), "");
    struct lun_create_args args = {.name = name,
                                   .size_bytes = rng_between(&rng, 1, 512) * BLK_BYTES};
    args.attributes.is_reserved = rng_percent(&rng, 10);
    int r = lun_create(host.pool, &args, &host.why);
    say("lun", name, r);
    return r;
}

static int add_clones(void)
{
    const struct lun_object *source = pick_lun();
    if (!source)
        return 0;
    char name[256], from[LUN_NAME_MAX + 1];
    snprintf(from, sizeof(from), "%s", source->name);
    make_name(name, sizeof(name), "-%d");
    uint32_t most = rng_percent(&rng, 30) ? 900 : 60;
    struct lun_clone_args args = {.source = from,
                                  .name = name,
                                  .count = (uint32_t)rng_between(&rng, 2, most),
                                  .no_reserve = true};
    int r = lun_clone(host.pool, &args, &host.why);
    if (trace)
        printf("%u ", args.count);
    say("clones", from, r);
    return r;
}

static int add_snapshot(void)
{
    const struct lun_object *lun = pick_lun();
    if (!lun)
        return 0;
    char name[32];
    snprintf(name, sizeof(name), "s%" PRIu64, next_name++);
    return snapshot_create(host.pool, lun->name, name, NULL, &host.why);
}

static int add_volume_snapshot(void)
{
    const struct volume_object *volume = pick_volume();
    if (!volume)
        return 0;
    char name[32];
    snprintf(name, sizeof(name), "s%" PRIu64, next_name++);
    const char *volumes[] = {volume->name};
    struct volume_snapshot_args args = {.name = name};
    int r = volume_snapshot_create(host.pool, volumes, 1, &args, &host.why);
    say("volume snapshot", volume->name, r);
    return r;
}

static int add_volume_clone(void)
{
    const struct volume_snapshot_object *snapshot = pick_volume_snapshot();
    if (!snapshot || host.pool->volume_count >= VOLUMES)
        return 0;
    char name[32];
    snprintf(name, sizeof(name), "v%" PRIu64, next_name++);
    struct volume_clone_args args = {.volume = snapshot->volume->name,
                                     .snapshot = part(snapshot->name),
                                     .name = name,
                                     .unguaranteed = true,
                                     .no_reserve = true};
    int r = volume_clone(host.pool, &args, &host.why);
    say("volume clone", name, r);
    return r;
}

static int restore_volume(void)
{
    const struct volume_snapshot_object *snapshot = pick_volume_snapshot();
    if (!snapshot)
        return 0;
    char volume[LUN_NAME_MAX + 1];
    snprintf(volume, sizeof(volume), "%s", snapshot->volume->name);
    int r = volume_snapshot_restore(host.pool, volume, part(snapshot->name), 0, &host.why);
    say("restore", volume, r);
    return r == -EEXIST ? 0 : r;
}

static int rename_lun(void)
{
    const struct lun_object *lun = pick_lun();
    if (!lun)
        return 0;
    char name[256], from[LUN_NAME_MAX + 1];
    snprintf(from, sizeof(from), "%s", lun->name);
    snprintf(name, sizeof(name), "%.60s-renamed-%080" PRIu64, from, next_name++);
    int r = lun_rename(host.pool, from, name, &host.why);
    return r == -EBUSY || r == -EINVAL ? 0 : r;
}

static int put_setting(void)
{
    char key[32];
    static const char value[2000];
    snprintf(key, sizeof(key), "test/%" PRIu64, rng_below(&rng, 40));
    struct store_change change = {
        .key = key, .value = value, .len = rng_between(&rng, 1, sizeof(value))};
    return store_apply(host.pool, &change, 1, &host.why);
}

static int change_data(const char *name, uint64_t lba, uint64_t blks, bool is_write)
{
    static const uint8_t bytes[64 * BLK_BYTES];
    struct lun *lun = NULL;
    int r = lun_open(host.pool, name, 0, &lun, &host.why);
    if (r < 0)
        return r;
    r = is_write ? lun_write(lun, bytes, blks * BLK_BYTES, lba * BLK_BYTES, 0)
                 : lun_unmap(lun, blks * BLK_BYTES, lba * BLK_BYTES, 0);
    lun_close(lun);
    return r;
}

static int write_some(void)
{
    const struct lun_object *lun = pick_lun();
    if (!lun)
        return 0;
    uint64_t blks = atomic_load(&lun->size_bytes) / BLK_BYTES;
    uint64_t lba = rng_below(&rng, blks), len = rng_between(&rng, 1, 64);
    return change_data(lun->name, lba, len < blks - lba ? len : blks - lba, true);
}

static int unmap_some(void)
{
    const struct lun_object *lun = pick_lun();
    if (!lun)
        return 0;
    uint64_t blks = atomic_load(&lun->size_bytes) / BLK_BYTES;
    return change_data(lun->name, rng_below(&rng, blks), 1, false);
}

static void add_something(void)
{
    static int (*const ops[])(void) = {
        add_volume,   add_qtrees,          add_lun,          add_clones,     add_clones,
        add_snapshot, add_volume_snapshot, add_volume_clone, restore_volume, rename_lun,
        put_setting,  write_some,          write_some,       write_some,     unmap_some};
    int r = ops[rng_below(&rng, sizeof(ops) / sizeof(ops[0]))]();
    if (r < 0 && r != -ENOSPC && r != -EDQUOT && r != -EMSGSIZE && !is_off())
        fail("an addition: %s: %s", strerror(-r), host.why.text);
    refused += r < 0 && !is_off();
    if (is_off())
        recover();
}

/* Until not one block more is taken. */
static void fill(void)
{
    struct lun_create_args args = {.size_bytes = (uint64_t)FAT_BLKS * BLK_BYTES};
    char name[32];
    snprintf(name, sizeof(name), "fat%" PRIu64, next_name++);
    args.name = name;
    if (lun_create(host.pool, &args, &host.why) < 0)
        return;
    for (uint64_t step = 64, lba = 0; step > 0; step /= 8)
    {
        while (lba + step <= FAT_BLKS && change_data(name, lba, step, true) == 0)
            lba += step;
    }
}

/* ---- deleting: never for want of room ------------------------------------------------------ */

static void expect_deleted(const char *what, const char *name, int r)
{
    say(what, name, r);
    if (r < 0 && r != -EBUSY && !is_off())
        fail("%s '%s': %s: %s", what, name, strerror(-r), host.why.text);
    deleted += r == 0;
    if (is_off())
        recover();
}

/* Not part of a volume's; NULL: none. */
static const char *own_snapshot(const struct lun_object *lun)
{
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (!snapshot->volume_snapshot)
            return part(snapshot->name);
    }
    return NULL;
}

static void delete_something(void)
{
    char name[2 * LUN_NAME_MAX + 2];
    const struct lun_object *lun = pick_lun();
    const struct volume_object *volume = pick_volume();
    const struct volume_snapshot_object *set = pick_volume_snapshot();
    uint64_t dice = rng_below(&rng, 100);
    if (dice < 12 && volume)
    {
        snprintf(name, sizeof(name), "%s", volume->name);
        expect_deleted("delete volume", name, volume_delete(host.pool, name, true, 0, &host.why));
    }
    else if (dice < 30 && set)
    {
        snprintf(name, sizeof(name), "%s", set->volume->name);
        expect_deleted("delete snapshot of volume", name,
                       volume_snapshot_delete(host.pool, name, part(set->name), 0, &host.why));
    }
    else if (dice < 45 && lun && own_snapshot(lun))
    {
        snprintf(name, sizeof(name), "%s", lun->name);
        expect_deleted("delete snapshot of", name,
                       snapshot_delete(host.pool, name, own_snapshot(lun), 0, &host.why));
    }
    else if (lun)
    {
        snprintf(name, sizeof(name), "%s", lun->name);
        expect_deleted("delete", name,
                       lun_delete(host.pool, name, rng_percent(&rng, 80), 0, &host.why));
    }
}

static bool has_objects(void)
{
    return host.pool->lun_count + host.pool->volume_count > 0;
}

/* ---- a run --------------------------------------------------------------------------------- */

static void expect_usable(void)
{
    struct pool_info info;
    int r = pool_checkpoint(host.pool);
    pool_get_info(host.pool, &info);
    if (is_off())
        recover();
    else if (r < 0 || info.health > POOL_OUT_OF_SPACE)
        fail("the pool is %s: %s", pool_health_name(info.health), strerror(-r));
}

static void run_jobs(uint64_t steps)
{
    while (steps-- > 0)
    {
        int r = pool_run_job_step(host.pool);
        if (is_off())
            recover();
        else if (r < 0 && r != -ENOSPC)
            fail("a job: %s", strerror(-r));
        if (r <= 0)
            return;
    }
}

static void disturb(void)
{
    uint64_t dice = rng_below(&rng, 100);
    if (dice < 15)
        run_jobs(rng_below(&rng, 100));
    else if (dice < 25)
        expect_usable();
    else if (dice < 28)
        recover();
    else if (dice < 40)
        simdev_cut_power_at(host.disk, rng_between(&rng, 1, 300));
    else if (dice < 41)
        fill();
    if (is_off())
        recover();
}

static void expect_empty(void)
{
    for (uint64_t i = 0; i < 40; i++)
    {
        char key[32];
        snprintf(key, sizeof(key), "test/%" PRIu64, i);
        struct store_change change = {.key = key};
        int r = store_apply(host.pool, &change, 1, &host.why);
        if (r < 0 && r != -ENOENT)
            fail("a setting is not deleted: %s: %s", strerror(-r), host.why.text);
    }
    host_settle(&host);
    expect_usable();
    uint64_t errors = host_check(&host);
    if (errors > 0)
        fail("%" PRIu64 " errors: %s", errors, host.said);
    struct space_stats stats;
    space_get_stats(host.pool->space, &stats);
    const struct pool *pool = host.pool;
    uint64_t catalog = catalog_blks_to_write(pool->page_count, pool->page_count) + 8;
    if (stats.data_blks > 0 || stats.node_blks > catalog || stats.promised_blks > 0 ||
        pool->line_count > 0 || pool->used_page_count > 1)
        fail("left: %" PRIu64 " blocks of data, %" PRIu64 " of metadata (%" PRIu64
             " are the catalog's), %" PRIu64 " promised, %" PRIu64 " lines, %" PRIu64
             " pages with objects",
             stats.data_blks, stats.node_blks, catalog, stats.promised_blks, pool->line_count,
             pool->used_page_count);
}

static void run(void)
{
    static const uint64_t sizes_mib[] = {16, 20, 24, 32, 48, 64, 96};
    struct pool_create_options options = {
        .name = "unit",
        .size_bytes = sizes_mib[rng_below(&rng, sizeof(sizes_mib) / sizeof(*sizes_mib))] << 20,
        .group_blks = HOST_GROUP_BLKS,
        .journal_bytes = rng_between(&rng, 1, 3) << 20};
    refused = deleted = cuts = next_name = 0;
    host_start(&host, &options);
    for (unsigned i = 0; i < FILL_OPS && refused < REFUSALS; i++)
    {
        add_something();
        if (rng_percent(&rng, 10))
            disturb();
    }
    fill();
    if (is_off())
        recover();
    uint64_t pages = host.pool->used_page_count;
    while (has_objects())
    {
        delete_something();
        if (rng_percent(&rng, 15))
            disturb();
        if (deleted < 300 && rng_percent(&rng, 30))
            add_something();
    }
    recover(); /* and so no cut is to come */
    expect_empty();
    printf("seed %" PRIu64 ": %" PRIu64 " MiB, %" PRIu64 " pages, %" PRIu64 " refusals, %" PRIu64
           " deleted, %" PRIu64 " cuts\n",
           seed, options.size_bytes >> 20, pages, refused, deleted, cuts);
    host_stop(&host);
}

int main(int argc, char **argv)
{
    uint64_t runs = 12, first = 1;
    for (int i = 1; i < argc; i++)
    {
        if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            first = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--runs") == 0)
            runs = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: full_random [--seed N] [--runs N] [--trace]\n"), 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (seed = first; seed < first + runs; seed++)
    {
        rng = rng_of(seed);
        run();
    }
    return 0;
}
