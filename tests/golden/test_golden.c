/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images of earlier versions: each opens, checks clean, has the content that it had, takes changes,
 * and lets all that is in it be deleted without a leak.
 *
 * NAME.img.gz and NAME.expected are in this folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/env.h"
#include "lun/base/invariant.h"
#include "lun/pool/format.h"
#include "lun/pool/pool_internal.h"
#include "tests/golden/golden.h"
#include "tests/lib/cunit_main.h"

static char folder[] = "/tmp/golden-XXXXXX";
static char image[64];

/* Whole content of @file, NUL-terminated; the caller's. */
static char *read_all(FILE *file)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (int c = fgetc(file); c != EOF; c = fgetc(file))
        fputc(c, out);
    fclose(out);
    return text;
}

static int unpack(const char *name)
{
    char packed[512];
    snprintf(packed, sizeof(packed), "%s/%s.img.gz", GOLDEN_FOLDER, name);
    char *argv[] = {"gzip", "-dc", packed, NULL};
    posix_spawn_file_actions_t actions;
    CU_ASSERT_EQUAL_FATAL(posix_spawn_file_actions_init(&actions), 0);
    CU_ASSERT_EQUAL_FATAL(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, image,
                                                           O_WRONLY | O_CREAT | O_TRUNC, 0600),
                          0);
    pid_t pid;
    CU_ASSERT_EQUAL_FATAL(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = -1;
    while (waitpid(pid, &status, 0) < 0)
        INVARIANT(errno == EINTR);
    return status;
}

static char *expected_of(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s.expected", GOLDEN_FOLDER, name);
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char *text = read_all(file);
    fclose(file);
    return text;
}

static char *describe(struct pool *pool)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CU_ASSERT_EQUAL(golden_describe(pool, out), 0);
    fclose(out);
    return text;
}

static void hear(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    if (is_error)
        fprintf(stderr, "%s\n", text);
}

static struct check_result check(struct pool *pool)
{
    struct check_result result = {0};
    CU_ASSERT_EQUAL(pool_check(pool, hear, NULL, &result), 0);
    CU_ASSERT_EQUAL(result.errors, 0);
    return result;
}

static struct pool *open_image(const struct pool_open_options *options)
{
    struct pool *pool = NULL;
    struct reason why;
    int r = pool_open(env_system(), image, options, &pool, &why);
    if (r < 0)
        fprintf(stderr, "%s\n", why.text);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    return pool;
}

static void compare(struct pool *pool, const char *expected)
{
    AUTO_FREE char *found = describe(pool);
    CU_ASSERT_STRING_EQUAL(found, expected);
    if (strcmp(found, expected) != 0)
        fprintf(stderr, "found:\n%sexpected:\n%s", found, expected);
    check(pool);
}

static void work(struct pool *pool)
{
    int r;
    while ((r = pool_run_job_step(pool)) > 0)
        continue;
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_EQUAL(pool_checkpoint(pool), 0);
}

/* Clones before what they depend on. */
static void delete_volumes(struct pool *pool)
{
    struct volume_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(volume_list(pool, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].parent[0])
            CU_ASSERT_EQUAL(volume_delete(pool, list[i].name, true, 0, NULL), 0);
    }
    for (size_t i = 0; i < count; i++)
    {
        if (!list[i].parent[0])
            CU_ASSERT_EQUAL(volume_delete(pool, list[i].name, true, 0, NULL), 0);
    }
    free(list);
}

static void delete_all(struct pool *pool)
{
    delete_volumes(pool);
    struct lun_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(lun_list(pool, NULL, &list, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].kind == OBJECT_LUN)
            CU_ASSERT_EQUAL(lun_delete(pool, list[i].name, true, 0, NULL), 0);
    }
    free(list);
}

static void try_image(const char *name)
{
    CU_ASSERT_EQUAL_FATAL(unpack(name), 0);
    AUTO_FREE char *expected = expected_of(name);
    CU_ASSERT_TRUE(strlen(expected) > 0);

    /* Only looking, twice: nothing is written. */
    for (unsigned i = 0; i < 2; i++)
    {
        struct pool *pool = open_image(&(struct pool_open_options){.read_only = true});
        compare(pool, expected);
        CU_ASSERT_EQUAL(pool_close(pool), 0);
    }
    /* Recovered, worked on, opened again. */
    struct pool *pool = open_image(NULL);
    compare(pool, expected);
    work(pool);
    compare(pool, expected);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    pool = open_image(NULL);
    compare(pool, expected);
    delete_all(pool);
    work(pool);
    check(pool);
    struct pool_info info;
    pool_get_info(pool, &info);
    CU_ASSERT_EQUAL(info.data_bytes, 0);
    CU_ASSERT_EQUAL(info.line_count, 0);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    CU_ASSERT_EQUAL(remove(image), 0);
}

/* Of the newest superblock of the image. */
static uint64_t incompatible_features(void)
{
    static const uint64_t copies[] = {0, 1, 512, 513}; /* as make.c has them */
    uint64_t newest = 0, features = 0;
    FILE *file = fopen(image, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (unsigned i = 0; i < 4; i++)
    {
        static struct disk_super super;
        CU_ASSERT_EQUAL(fseek(file, (long)(copies[i] * BLK_BYTES), SEEK_SET), 0);
        CU_ASSERT_EQUAL(fread(&super, sizeof(super), 1, file), 1);
        if (le64_get(super.header.cp_id) <= newest)
            continue;
        newest = le64_get(super.header.cp_id);
        features = le64_get(super.feature_incompat);
    }
    fclose(file);
    return features;
}

static void test_version_1(void)
{
    try_image("v1");
}

/* With the feature VOLUMES. */
static void test_volumes(void)
{
    try_image("v2");
}

/* With the feature PLACES: LUNs that only snapshots of their volume have. */
static void test_places(void)
{
    try_image("v3");
}

/* With the feature TWICE. */
static void test_twice(void)
{
    try_image("v4");
}

/* How many pages of the catalog are there once only. */
static uint64_t pages_once(const struct pool *pool)
{
    uint64_t once = 0;
    for (uint64_t i = 0; i < pool->page_count; i++)
        once += pool->pages[i]->blks[1] == 0;
    return once;
}

/* Opened for writing, a pool gets the feature, so that older versions leave it alone. */
static void test_old_refuses(void)
{
    CU_ASSERT_EQUAL_FATAL(unpack("v1"), 0);
    CU_ASSERT_EQUAL(incompatible_features(), 0);
    struct pool *pool = open_image(&(struct pool_open_options){.read_only = true});
    CU_ASSERT_EQUAL(pages_once(pool), pool->page_count);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    CU_ASSERT_EQUAL(incompatible_features(), 0);
    pool = open_image(NULL);
    CU_ASSERT_EQUAL(pages_once(pool), 0);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    CU_ASSERT_EQUAL(incompatible_features(), DISK_FEATURES_ALWAYS);
    pool = open_image(NULL);
    check(pool);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    CU_ASSERT_EQUAL(remove(image), 0);
}

static CU_TestInfo golden_tests[] = {
    {"format version 1", test_version_1},           {"version 1 with volumes", test_volumes},
    {"version 1 with places", test_places},         {"the catalog twice", test_twice},
    {"an older version refuses", test_old_refuses}, CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"golden", NULL, NULL, NULL, NULL, golden_tests},
        CU_SUITE_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(image, sizeof(image), "%s/pool", folder);
    int status = cunit_main(suites, argc, argv);
    rmdir(folder);
    return status;
}
