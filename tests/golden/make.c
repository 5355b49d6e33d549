/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes a golden image: a pool with everything that the format has, as a power cut leaves it.
 *
 *   golden_make IMAGE EXPECTED
 *
 * The image has a checkpoint, and behind it records in the journal that no checkpoint has. EXPECTED
 * says what later versions must find in it: a line for each LUN and snapshot with size and SHA-256
 * of the content, and one for each value of the store.
 *
 * Time and randomness come from a seed and there are no threads, so one version of the engine makes
 * the same image each time. When the format changes, add a new image beside the old ones.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/crc32c.h"
#include "lun/lun.h"
#include "lun/pool/format.h"
#include "tests/golden/golden.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"

enum
{
    MAKE_POOL_BYTES = 16 << 20,
    MAKE_GROUP_BLKS = 512,
    MAKE_JOURNAL_BYTES = 256 << 10,
};

static struct pool *pool;
static struct reason why;

__attribute__((noreturn)) static void give_up(int r, const char *what)
{
    fprintf(stderr, "golden_make: %s: %s %s\n", what, strerror(-r), why.text);
    exit(EXIT_FAILURE);
}

static void must(int r, const char *what)
{
    if (r < 0)
        give_up(r, what);
}

/* Each block differs from all others and compresses well. */
static void write_blks(const char *name, uint64_t lba, uint64_t blks, uint32_t salt)
{
    struct lun *lun = NULL;
    must(lun_open(pool, name, 0, &lun, &why), "open");
    for (uint64_t i = 0; i < blks; i++)
    {
        uint64_t words[BLK_BYTES / 8];
        for (unsigned w = 0; w < BLK_BYTES / 8; w++)
        {
            struct le64 word = le64_put((uint64_t)salt << 32 | (lba + i));
            memcpy(&words[w], &word, sizeof(word));
        }
        must(lun_write(lun, words, sizeof(words), (lba + i) * BLK_BYTES, 0), "write");
    }
    lun_close(lun);
}

static void write_bytes(const char *name, const char *text, uint64_t offset)
{
    struct lun *lun = NULL;
    must(lun_open(pool, name, 0, &lun, &why), "open");
    must(lun_write(lun, text, strlen(text), offset, 0), "write");
    lun_close(lun);
}

static void unmap_blks(const char *name, uint64_t lba, uint64_t blks)
{
    struct lun *lun = NULL;
    must(lun_open(pool, name, 0, &lun, &why), "open");
    must(lun_unmap(lun, blks * BLK_BYTES, lba * BLK_BYTES, 0), "unmap");
    lun_close(lun);
}

static void flush(const char *name)
{
    struct lun *lun = NULL;
    must(lun_open(pool, name, 0, &lun, &why), "open");
    must(lun_flush(lun), "flush");
    lun_close(lun);
}

static void create(const char *name, uint64_t blks, uint32_t sector_bytes, const char *comment)
{
    struct lun_create_args args = {.name = name,
                                   .size_bytes = blks * BLK_BYTES,
                                   .sector_bytes = sector_bytes,
                                   .comment = comment};
    must(lun_create(pool, &args, &why), "create");
}

static void clone_many(const char *source, const char *name, uint32_t count)
{
    struct lun_clone_args args = {.source = source, .name = name, .count = count};
    must(lun_clone(pool, &args, &why), "clone");
}

static void store(const char *key, const void *value, size_t len)
{
    struct store_change change = {.key = key, .value = value, .len = len};
    must(store_apply(pool, &change, 1, &why), "store");
}

static void snapshot_volumes(const char *one, const char *two, const char *name)
{
    const char *volumes[] = {one, two};
    struct volume_snapshot_args args = {
        .name = name, .comment = "of one instant", .locked_until_ns = 1};
    must(volume_snapshot_create(pool, volumes, two ? 2 : 1, &args, &why), "volume snapshot");
}

/* Volumes, qtrees, sets, clones, attributes: format feature VOLUMES. */
static void make_volumes(void)
{
    struct volume_attributes attributes = {
        .size_bytes = 8 << 20, .pauses_when_full = true, .pause_ms = 1000, .comment = "databases"};
    must(volume_create(pool, "db", &attributes, &why), "volume");
    attributes = (struct volume_attributes){.locked_until_ns = 1};
    must(volume_create(pool, "web", &attributes, &why), "volume");
    must(qtree_create(pool, "db/logs", "of all of them", &why), "qtree");
    create("db/data", 64, 512, NULL);
    create("db/logs/redo", 64, 4096, "in a qtree");
    create("web/root", 32, 512, NULL);
    write_blks("db/data", 0, 30, 20);
    write_blks("db/logs/redo", 3, 10, 21);
    write_blks("web/root", 1, 5, 22);
    struct lun_attributes lun = {
        .is_autodelete = true, .expire_ns = 2, .locked_until_ns = 1, .owner = "ci", .group = "dev"};
    must(lun_set_attributes(pool, "db/data",
                            LUN_SET_AUTODELETE | LUN_SET_EXPIRE | LUN_SET_LOCKED_UNTIL |
                                LUN_SET_OWNER | LUN_SET_GROUP,
                            &lun, &why),
         "attributes");
    snapshot_volumes("db", "web", "nightly");
    write_blks("db/data", 10, 5, 23);
    struct volume_clone_args clone = {.volume = "db", .snapshot = "nightly", .name = "db-test"};
    must(volume_clone(pool, &clone, &why), "volume clone");
    write_blks("db-test/data", 0, 3, 24);
    clone = (struct volume_clone_args){.volume = "web", .name = "web-test"};
    must(volume_clone(pool, &clone, &why), "volume clone");
    must(volume_snapshot_delete(pool, "db", "nightly", LUN_DEFER, &why), "defer");
}

/* LUNs that are elsewhere or deleted since their volume was snapshotted: format feature PLACES. */
static void make_places(void)
{
    struct volume_attributes attributes = {0};
    must(volume_create(pool, "app", &attributes, &why), "volume");
    must(qtree_create(pool, "app/old", "as it was", &why), "qtree");
    must(qtree_create(pool, "app/empty", NULL, &why), "qtree");
    create("app/old/data", 32, 512, "deleted later");
    create("app/conf", 16, 512, NULL);
    create("app/spare", 16, 512, NULL);
    write_blks("app/old/data", 0, 9, 30);
    write_blks("app/conf", 2, 4, 31);
    write_blks("app/spare", 0, 2, 32);
    struct lun_attributes lun = {.owner = "ops", .group = "prod"};
    must(lun_set_attributes(pool, "app/old/data", LUN_SET_OWNER | LUN_SET_GROUP, &lun, &why),
         "attributes");
    snapshot_volumes("app", NULL, "first");
    write_blks("app/old/data", 4, 3, 33);
    snapshot_volumes("app", NULL, "second");
    must(lun_delete(pool, "app/old/data", false, 0, &why), "delete");
    must(qtree_delete(pool, "app/old", &why), "delete a qtree");
    must(lun_rename(pool, "app/conf", "app/empty/conf", &why), "rename");
}

/* The same, for the journal. */
static void change_places(void)
{
    must(lun_delete(pool, "app/spare", false, 0, &why), "delete");
    must(volume_rename(pool, "app", "apps", &why), "rename a volume");
    struct volume_clone_args clone = {.volume = "apps", .snapshot = "first", .name = "app-test"};
    must(volume_clone(pool, &clone, &why), "volume clone");
    must(snapshot_restore(pool, "apps/old/data", "second", 0, &why), "restore a deleted LUN");
    must(lun_delete(pool, "apps/old/data", false, 0, &why), "delete");
    snapshot_volumes("apps", NULL, "third");
}

/* The same kinds of things, for the journal. */
static void change_volumes(void)
{
    must(volume_rename(pool, "web", "www", &why), "rename a volume");
    must(qtree_rename(pool, "db/logs", "redo-logs", &why), "rename a qtree");
    snapshot_volumes("www", NULL, "weekly");
    struct lun_pair pairs[] = {{"db/data", "db/data2"}, {"www/root", "www/root2"}};
    struct lun_clone_args common = {.comment = "of one instant"};
    must(lun_clone_group(pool, pairs, 2, &common, &why), "clone a group");
    const char *names[] = {"db/data2"};
    must(lun_redeploy(pool, "db-test/data", names, 1, "before", 0, &why), "redeploy");
    must(volume_clone_split(pool, "web-test", &why), "split");
    must(volume_snapshot_restore(pool, "www", "nightly", 0, &why), "restore a volume");
    struct volume_attributes attributes = {0};
    must(volume_create(pool, "short-lived", &attributes, &why), "volume");
    must(volume_delete(pool, "short-lived", false, 0, &why), "delete a volume");
}

/* What the last checkpoint has. */
static void make_first_part(void)
{
    char large[STORE_VALUE_MAX];
    memset(large, 'L', sizeof(large));
    create("golden", 4096, 512, "the image that all are cloned from");
    for (uint64_t i = 0; i < 300; i++) /* more than a leaf holds */
        write_blks("golden", 2 * i, 1, 1);
    write_blks("golden", 1000, 40, 2);
    must(snapshot_create(pool, "golden", "monday", "before the change", &why), "snapshot");
    write_blks("golden", 990, 20, 3);
    unmap_blks("golden", 100, 100);
    create("sectors", 64, 4096, NULL);
    write_blks("sectors", 8, 8, 4);
    clone_many("golden", "vm-%03d", 5);
    write_blks("vm-001", 0, 10, 5);
    write_blks("vm-002", 5, 10, 6);
    must(snapshot_create(pool, "golden", "tuesday", NULL, &why), "snapshot");
    write_blks("golden", 0, 5, 7);
    must(lun_resize(pool, "sectors", 40 * BLK_BYTES, LUN_FORCE, &why), "resize");
    make_volumes();
    make_places();
    store("chap/initiator", "not a secret", 12);
    store("map/large", large, sizeof(large));
    store("map/gone", "x", 1);
    must(pool_checkpoint(pool), "checkpoint");
}

/* What only the journal has: each action at least once. */
static void make_journal_part(void)
{
    write_blks("vm-003", 7, 3, 8);
    write_bytes("vm-003", "a few bytes across two blocks", 8 * BLK_BYTES - 10);
    flush("vm-003");
    clone_many("vm-003", "late", 1);
    write_blks("late", 1004, 4, 9);
    unmap_blks("late", 0, 20);
    must(snapshot_delete(pool, "golden", "monday", 0, &why), "delete a snapshot");
    must(lun_delete(pool, "vm-000", false, 0, &why), "delete");
    must(lun_delete(pool, "vm-002", false, 0, &why), "delete");
    must(lun_rename(pool, "vm-004", "renamed", &why), "rename");
    must(snapshot_restore(pool, "golden", "tuesday", 0, &why), "restore");
    create("fresh", 4, 512, "only in the journal");
    write_blks("fresh", 0, 2, 10);
    store("map/gone", NULL, 0);
    store("chap/initiator", "changed", 7);
    for (unsigned steps = 0; steps < 40; steps++) /* some background work is left to do */
        must(pool_run_job_step(pool), "background work");
    change_volumes();
    change_places();
    create("dying", 2048, 512, NULL);
    for (uint64_t i = 0; i < 600; i++)
        write_blks("dying", 3 * i, 1, 11);
    must(lun_delete(pool, "dying", false, 0, &why), "delete");
    flush("golden");
    write_blks("fresh", 3, 1, 12);
    flush("fresh"); /* the last batch is verified by its data */
}

/* The image must not say on which machine it was made. */
static void hide_holder(uint8_t *image)
{
    static const uint64_t copies[] = {0, 1, MAKE_GROUP_BLKS, MAKE_GROUP_BLKS + 1};
    for (unsigned i = 0; i < 4; i++)
    {
        struct disk_super *super = (void *)(image + copies[i] * BLK_BYTES);
        memset(super->holder_host, 0, sizeof(super->holder_host));
        memset(super->holder_boot, 0, sizeof(super->holder_boot));
        super->holder_pid = le64_put(0);
        super->header.crc32c = le32_put(0);
        super->header.crc32c = le32_put(crc32c(0, super, BLK_BYTES));
    }
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file) != 0)
        must(-errno, path);
}

int main(int argc, char **argv)
{
    if (argc != 3)
    {
        fprintf(stderr, "usage: golden_make IMAGE EXPECTED\n");
        return EXIT_FAILURE;
    }
    struct rng_env env;
    rng_env_init(&env, 1);
    struct simdev *disk = simdev_new(MAKE_POOL_BYTES, MAKE_POOL_BYTES, 1);
    struct device *device = simdev_open(disk);
    struct pool_create_options options = {.name = "golden-pool",
                                          .size_bytes = MAKE_POOL_BYTES,
                                          .journal_bytes = MAKE_JOURNAL_BYTES,
                                          .group_blks = MAKE_GROUP_BLKS};
    must(pool_create_on_device(&env.env, device, &options, &why), "make a pool");
    must(pool_open_device(&env.env, device, NULL, &pool, &why), "open the pool");
    make_first_part();
    struct pool_info before, after;
    pool_get_info(pool, &before);
    make_journal_part();
    pool_get_info(pool, &after);
    if (before.checkpoint_id != after.checkpoint_id)
        must(-ENOSPC, "the journal was too small: there was a checkpoint");

    AUTO_FREE uint8_t *image = malloc(MAKE_POOL_BYTES);
    simdev_peek(disk, image, MAKE_POOL_BYTES, 0);
    hide_holder(image);
    write_file(argv[1], image, MAKE_POOL_BYTES);
    FILE *expected = fopen(argv[2], "w");
    if (!expected)
        give_up(-errno, argv[2]);
    must(golden_describe(pool, expected), "describe the content");
    if (fclose(expected) != 0)
        must(-errno, argv[2]);
    must(pool_close(pool), "close");
    simdev_destroy(disk);
    return EXIT_SUCCESS;
}
