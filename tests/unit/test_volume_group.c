/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on several LUNs at one instant: clones of a group, redeploy; attributes of LUNs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/journal.h"
#include "lun/volume/group.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

static void reopen_and_check(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

/* "a" to "d", their blocks 0 are 1 to 4. */
static void start(void)
{
    host_start(&host, NULL);
    for (unsigned i = 0; i < 4; i++)
    {
        char name[2] = {(char)('a' + i), '\0'};
        host_create(&host, name, 16);
        CU_ASSERT_EQUAL(host_write(&host, name, 0, 1, (uint8_t)(i + 1), 0), 0);
    }
}

/* ---- clones of a group */

static void test_group_clone(void)
{
    start();
    struct lun_pair pairs[] = {{"a", "a2"}, {"b", "b2"}, {"a", "a3"}};
    struct lun_clone_args common = {.comment = "all three", .autodelete = true, .expire_ns = 77};
    uint64_t seq = journal_last_seq(host.pool->journal);
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, pairs, 3, &common, &host.why), 0);
    CU_ASSERT_EQUAL(journal_last_seq(host.pool->journal), seq + 1);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 9, 0), 0);
    for (unsigned i = 0; i < 2; i++)
    {
        CU_ASSERT_TRUE(host_holds(&host, "a2", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "a3", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "b2", 0, 1, 2));
        struct lun_info info = host_info(&host, "a3");
        CU_ASSERT_STRING_EQUAL(info.comment, "all three");
        CU_ASSERT_TRUE(info.is_autodelete);
        CU_ASSERT_EQUAL(info.expire_ns, 77);
        CU_ASSERT_STRING_EQUAL(info.origin, "a");
        reopen_and_check();
    }
    /* Both clones of "a" stand on one point. */
    CU_ASSERT_PTR_EQUAL(host_line(&host, "a2")->predecessor, host_line(&host, "a3")->predecessor);
    host_stop(&host);
}

static void test_group_refusals(void)
{
    start();
    host_snapshot(&host, "a", "s");
    host_snapshot(&host, "b", "s");
    struct lun_clone_args common = {0};
    struct lun_pair mixed[] = {{"a", "x"}, {"b@s", "y"}};
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, mixed, 2, &common, &host.why), -EINVAL);
    struct lun_pair same[] = {{"a", "x"}, {"b", "/vol/x"}};
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, same, 2, &common, &host.why), -EEXIST);
    struct lun_pair taken[] = {{"a", "x"}, {"b", "c"}};
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, taken, 2, &common, &host.why), -EEXIST);
    struct lun_pair missing[] = {{"a", "x"}, {"z", "y"}};
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, missing, 2, &common, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, missing, 0, &common, &host.why), -EINVAL);
    CU_ASSERT_FALSE(is_there("x")); /* all or none */
    struct lun_pair snapshots[] = {{"a@s", "x"}, {"b@s", "y"}};
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 9, 0), 0);
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, snapshots, 2, &common, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "x", 0, 1, 1));
    reopen_and_check();
    host_stop(&host);
}

/* ---- redeploy */

static int redeploy(const char *source, const char *one, const char *two, unsigned flags)
{
    const char *names[] = {one, two};
    return lun_redeploy(host.pool, source, names, two ? 2 : 1, "undo", flags, &host.why);
}

static void test_redeploy(void)
{
    start();
    CU_ASSERT_EQUAL(lun_resize(host.pool, "d", 32 * BLK_BYTES, 0, &host.why), 0);
    host_snapshot(&host, "a", "mine");
    struct lun_attributes attributes = {.owner = "me", .is_autodelete = true};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "a", LUN_SET_OWNER | LUN_SET_AUTODELETE,
                                       &attributes, &host.why),
                    0);
    struct lun_info before = host_info(&host, "a");
    CU_ASSERT_EQUAL(redeploy("d", "a", "b", 0), 0);
    for (unsigned i = 0; i < 2; i++)
    {
        struct lun_info after = host_info(&host, "a");
        CU_ASSERT_EQUAL(after.id, before.id);
        CU_ASSERT_EQUAL(memcmp(after.uuid, before.uuid, sizeof(after.uuid)), 0);
        CU_ASSERT_STRING_EQUAL(after.owner, "me");
        CU_ASSERT_TRUE(after.is_autodelete);
        CU_ASSERT_STRING_EQUAL(after.origin, "d");
        CU_ASSERT_EQUAL(after.size_bytes, 32 * BLK_BYTES);
        CU_ASSERT_EQUAL(after.snapshot_count, 2);
        CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 4));
        CU_ASSERT_TRUE(host_holds(&host, "b", 0, 1, 4));
        CU_ASSERT_TRUE(host_holds(&host, "a@mine", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "a@undo", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "b@undo", 0, 1, 2));
        CU_ASSERT_EQUAL(host_info(&host, "b@undo").size_bytes, 16 * BLK_BYTES);
        reopen_and_check();
    }
    /* An older undo snapshot is replaced; the source may be a snapshot. */
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 7, 0), 0);
    host_snapshot(&host, "c", "s");
    CU_ASSERT_EQUAL(redeploy("c@s", "a", NULL, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a@undo", 0, 1, 7));
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 3));
    CU_ASSERT_EQUAL(host_info(&host, "a").snapshot_count, 2);
    host_settle(&host);
    reopen_and_check();
    /* And back: from the very snapshot that is replaced. */
    CU_ASSERT_EQUAL(redeploy("a@undo", "a", "b", 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 7));
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 1, 7));
    CU_ASSERT_TRUE(host_holds(&host, "a@undo", 0, 1, 3));
    CU_ASSERT_TRUE(host_holds(&host, "b@undo", 0, 1, 4));
    host_settle(&host);
    reopen_and_check();
    host_stop(&host);
}

/* A reserved LUN stays so, for its new size, and a thin one thin, whatever the source is. */
static void test_redeploy_reserved(void)
{
    struct lun_attributes reserved = {.is_reserved = true};
    start();
    CU_ASSERT_EQUAL(lun_resize(host.pool, "d", 64 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "a", LUN_SET_RESERVED, &reserved, &host.why), 0);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "c", LUN_SET_RESERVED, &reserved, &host.why), 0);
    CU_ASSERT_EQUAL(redeploy("d", "a", "b", 0), 0);
    CU_ASSERT_TRUE(host_info(&host, "a").is_reserved);
    CU_ASSERT_FALSE(host_info(&host, "b").is_reserved);
    CU_ASSERT(host_info(&host, "a").needed_bytes >= 64 * BLK_BYTES);
    reopen_and_check();
    CU_ASSERT_TRUE(host_info(&host, "a").is_reserved);
    CU_ASSERT_EQUAL(redeploy("c", "b", NULL, 0), 0);
    CU_ASSERT_FALSE(host_info(&host, "b").is_reserved);
    CU_ASSERT_EQUAL(host_info(&host, "b").needed_bytes, 0);
    int r = 0;
    host_create(&host, "filler", 1 << 20);
    for (uint64_t lba = 0; r == 0 && lba + 64 <= 1 << 20; lba += 64)
        r = host_write(&host, "filler", lba, 64, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 64, 5, 0), 0); /* all that was promised */
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 64, 5));
    reopen_and_check();
    host_stop(&host);
}

static void test_redeploy_refusals(void)
{
    start();
    struct lun_create_args args = {.name = "big", .size_bytes = 65536, .sector_bytes = 4096};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), 0);
    CU_ASSERT_EQUAL(redeploy("d", "a", "a", 0), -EINVAL);
    CU_ASSERT_EQUAL(redeploy("d", "a", "d", 0), -EINVAL);
    CU_ASSERT_EQUAL(redeploy("d", "a", "big", 0), -EINVAL);
    CU_ASSERT_EQUAL(redeploy("d", "a", "x", 0), -ENOENT);
    CU_ASSERT_EQUAL(redeploy("x", "a", NULL, 0), -ENOENT);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(redeploy("d", "b", "a@s", 0), -EINVAL);
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "b", 0, &handle, &host.why), 0);
    CU_ASSERT_EQUAL(redeploy("d", "a", "b", 0), -EBUSY);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 1)); /* all or none */
    CU_ASSERT_EQUAL(redeploy("d", "a", "b", LUN_FORCE), 0);
    char byte = 0;
    CU_ASSERT_EQUAL(lun_read(handle, &byte, 1, 0), 0);
    CU_ASSERT_EQUAL(byte, 4);
    lun_close(handle);
    struct lun_attributes attributes = {.locked_until_ns = UINT64_MAX};
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "a", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(redeploy("d", "b", "a", 0), -EPERM);
    /* An undo snapshot that is locked, or part of a volume's, stays. */
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "b@undo", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(redeploy("d", "b", NULL, 0), -EPERM);
    struct volume_attributes volume = {0};
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &volume, &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "c", "v/c", &host.why), 0);
    struct volume_snapshot_args set = {.name = "undo"};
    const char *volumes[] = {"v"};
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, volumes, 1, &set, &host.why), 0);
    CU_ASSERT_EQUAL(redeploy("d", "v/c", NULL, 0), -EEXIST);
    reopen_and_check();
    host_stop(&host);
}

/* ---- attributes */

static void test_attributes(void)
{
    host_start(&host, NULL);
    struct lun_create_args args = {.name = "a",
                                   .size_bytes = 64 * BLK_BYTES,
                                   .attributes = {.is_reserved = true,
                                                  .expire_ns = 5,
                                                  .locked_until_ns = 6,
                                                  .owner = "ci",
                                                  .group = "dev"}};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), 0);
    struct lun_info info = host_info(&host, "a");
    CU_ASSERT_TRUE(info.is_reserved);
    CU_ASSERT_FALSE(info.is_autodelete);
    CU_ASSERT_EQUAL(info.expire_ns, 5);
    CU_ASSERT_EQUAL(info.locked_until_ns, 6);
    CU_ASSERT_STRING_EQUAL(info.owner, "ci");
    CU_ASSERT_STRING_EQUAL(info.group, "dev");
    /* Clones inherit the reservation and whose they are, nothing else. */
    host_clone(&host, "a", "b");
    info = host_info(&host, "b");
    CU_ASSERT_TRUE(info.is_reserved);
    CU_ASSERT_EQUAL(info.expire_ns + info.locked_until_ns, 0);
    CU_ASSERT_STRING_EQUAL(info.owner, "ci");
    struct lun_clone_args clone = {
        .source = "a", .name = "c", .no_reserve = true, .owner = "you", .group = ""};
    CU_ASSERT_EQUAL(lun_clone(host.pool, &clone, &host.why), 0);
    for (unsigned i = 0; i < 2; i++)
    {
        info = host_info(&host, "c");
        CU_ASSERT_FALSE(info.is_reserved);
        CU_ASSERT_STRING_EQUAL(info.owner, "you");
        CU_ASSERT_STRING_EQUAL(info.group, "");
        reopen_and_check();
    }
    struct lun_attributes attributes = {.is_reserved = true, .owner = NULL, .expire_ns = 9};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "c", LUN_SET_RESERVED | LUN_SET_OWNER,
                                       &attributes, &host.why),
                    0);
    info = host_info(&host, "c");
    CU_ASSERT_TRUE(info.is_reserved);
    CU_ASSERT_STRING_EQUAL(info.owner, "");
    CU_ASSERT_EQUAL(info.expire_ns, 0);
    char longest[LUN_OWNER_MAX + 2];
    memset(longest, 'o', sizeof(longest));
    longest[LUN_OWNER_MAX + 1] = '\0';
    attributes.owner = longest;
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "c", LUN_SET_OWNER, &attributes, &host.why),
                    -EINVAL);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "x", LUN_SET_EXPIRE, &attributes, &host.why),
                    -ENOENT);
    reopen_and_check();
    CU_ASSERT_TRUE(host_info(&host, "c").is_reserved);
    host_stop(&host);
}

static void test_lun_locks(void)
{
    start();
    uint64_t later = host.env.env.now_ns(&host.env.env) + UINT64_C(3600000000000);
    struct lun_attributes attributes = {.locked_until_ns = later};
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "a@s", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "a@s", LUN_SET_LOCKED_UNTIL | LUN_SET_EXPIRE,
                                       &attributes, &host.why),
                    -EINVAL);
    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "a", true, LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "a", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "b", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), 0);
    host_snapshot(&host, "b", "s");
    reopen_and_check();
    CU_ASSERT_EQUAL(lun_delete(host.pool, "b", true, LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "b", "s", 0, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "b", 4 * BLK_BYTES, LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "b", 32 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 8, 0), 0);
    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "b", "s", 0, &host.why), 0);
    attributes.locked_until_ns = later - 1;
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "b", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), -EPERM);
    attributes.locked_until_ns = 1;
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "c", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "c", false, 0, &host.why), 0); /* it is over */
    host_stop(&host);
}

static CU_TestInfo group_tests[] = {
    {"clones of a group", test_group_clone},
    {"groups that are refused", test_group_refusals},
    {"redeploy", test_redeploy},
    {"a redeploy of reserved LUNs", test_redeploy_reserved},
    {"redeploys that are refused", test_redeploy_refusals},
    {"attributes", test_attributes},
    {"locks", test_lun_locks},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_group", NULL, NULL, NULL, NULL, group_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
