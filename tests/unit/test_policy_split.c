/* SPDX-License-Identifier: BSD-3-Clause */
/* Physical splits: what is copied, what is not, and what may come in between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

enum
{
    STEPS_MAX = 2000
};

static size_t splits(struct policy_split *first)
{
    struct policy_split *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(policy_split_list(policy, &list, &count), 0);
    if (count > 0 && first)
        *first = list[0];
    free(list);
    return count;
}

static void run(void)
{
    for (int i = 0; i < STEPS_MAX && splits(NULL) > 0; i++)
    {
        policy_step(policy, POLICY_SPLIT);
        policy_host_advance(1);
    }
    CU_ASSERT_EQUAL(splits(NULL), 0);
}

static uint64_t shared_bytes(const char *name)
{
    return host_info(&host, name).shared_bytes;
}

/* Volume "db" with LUNs of 300 and 900 blocks, of which each second block is written, and a clone
 * of it, "test". */
static void begin(void)
{
    policy_host_start(NULL);
    policy_host_volume("db", 0);
    host_create(&host, "db/a", 300);
    host_create(&host, "db/b", 900);
    CU_ASSERT_EQUAL(host_write(&host, "db/a", 10, 200, 1, 0), 0);
    for (uint64_t lba = 0; lba < 900; lba += 2)
        CU_ASSERT_EQUAL(host_write(&host, "db/b", lba, 1, (uint8_t)(lba / 2 + 1), 0), 0);
    const struct volume_clone_args clone = {.volume = "db", .name = "test"};
    CU_ASSERT_EQUAL_FATAL(volume_clone(host.pool, &clone, &host.why), 0);
}

static void check_content(void)
{
    unsigned wrong = 0;
    CU_ASSERT_TRUE(host_holds(&host, "test/a", 10, 200, 1));
    CU_ASSERT_TRUE(host_holds(&host, "db/a", 10, 200, 1));
    CU_ASSERT_TRUE(host_holds(&host, "test/a", 210, 90, 0));
    for (uint64_t lba = 0; lba < 900; lba += 2)
        wrong += !host_holds(&host, "test/b", lba, 1, (uint8_t)(lba / 2 + 1)) ||
                 !host_holds(&host, "test/b", lba + 1, 1, 0);
    CU_ASSERT_EQUAL(wrong, 0);
}

static bool is_clone(const char *volume)
{
    struct volume_info info;
    CU_ASSERT_EQUAL(volume_get_info(host.pool, volume, &info, &host.why), 0);
    return info.parent_snapshot_id != 0;
}

static void test_copies(void)
{
    begin();
    CU_ASSERT_EQUAL(shared_bytes("test/a") / BLK_BYTES, 200);
    CU_ASSERT_EQUAL(shared_bytes("test/b") / BLK_BYTES, 450);
    uint64_t before = host_data_blks(&host);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, true, &host.why), 0);
    CU_ASSERT_EQUAL(splits(NULL), 0); /* a dry run */
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), 0);
    struct policy_split split;
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_STRING_EQUAL(split.volume, "test");
    CU_ASSERT_EQUAL(split.total_bytes / BLK_BYTES, 650);
    run();
    CU_ASSERT_EQUAL(policy_host_events("volume.split.done", "2.53 MiB were copied"), 1);
    CU_ASSERT_EQUAL(shared_bytes("test/a"), 0);
    CU_ASSERT_EQUAL(shared_bytes("test/b"), 0);
    CU_ASSERT_FALSE(is_clone("test"));
    CU_ASSERT_EQUAL(host_data_blks(&host) - before, 650); /* holes are none of it */
    check_content();
    CU_ASSERT_EQUAL(volume_delete(host.pool, "db", true, 0, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_TRUE(host_holds(&host, "test/a", 10, 200, 1));
    policy_host_stop();
}

/* Also of LUN clones in a volume that is none. */
static void test_plain_volume(void)
{
    policy_host_start(NULL);
    policy_host_volume("db", 0);
    host_create(&host, "db/golden", 64);
    CU_ASSERT_EQUAL(host_write(&host, "db/golden", 0, 64, 1, 0), 0);
    host_clone(&host, "db/golden", "db/vm1");
    host_clone(&host, "db/golden", "db/vm2");
    CU_ASSERT_EQUAL(policy_split_start(policy, "db", 0, false, &host.why), 0);
    run();
    CU_ASSERT_EQUAL(shared_bytes("db/vm1") + shared_bytes("db/vm2") + shared_bytes("db/golden"), 0);
    CU_ASSERT_TRUE(host_holds(&host, "db/vm2", 0, 64, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

static void test_rate(void)
{
    struct policy_split split;
    begin();
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 100, false, &host.why), -EINVAL);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 64 << 10, false, &host.why), 0);
    uint64_t wait_ms = 0;
    for (int i = 0; i < 5 && wait_ms == 0; i++)
        wait_ms = policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_EQUAL(split.copied_bytes, 8 << 10); /* an eighth of a second's */
    CU_ASSERT_TRUE(wait_ms > 60 && wait_ms <= 126);
    for (int i = 0; i < 20; i++)
        policy_step(policy, POLICY_SPLIT); /* too early */
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_EQUAL(split.copied_bytes, 8 << 10);
    policy_host_advance(1);
    policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_EQUAL(split.copied_bytes, 16 << 10);
    host.env.now_ns -= UINT64_C(3600000000000); /* the clock is set back: it does not stand still */
    policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_EQUAL(split.copied_bytes, 24 << 10);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), 0); /* another rate */
    run();
    check_content();
    policy_host_stop();
}

static void test_pause_and_stop(void)
{
    struct policy_split split;
    begin();
    CU_ASSERT_EQUAL(policy_split_pause(policy, "test", false, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(policy_split_stop(policy, "nope", false, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 80 << 10, false, &host.why), 0);
    policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(policy_split_pause(policy, "test", false, &host.why), 0);
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_TRUE(split.is_paused);
    uint64_t copied = split.copied_bytes;
    for (int i = 0; i < 10; i++)
    {
        policy_host_advance(1);
        policy_step(policy, POLICY_SPLIT);
    }
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_EQUAL(split.copied_bytes, copied);
    policy_host_restart(NULL); /* it stays so */
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_TRUE(split.is_paused);
    CU_ASSERT_EQUAL(policy_split_stop(policy, "test", true, &host.why), 0);
    CU_ASSERT_EQUAL(splits(NULL), 1);
    CU_ASSERT_EQUAL(policy_split_stop(policy, "test", false, &host.why), 0);
    CU_ASSERT_EQUAL(splits(NULL), 0);
    CU_ASSERT_TRUE(is_clone("test"));
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), 0);
    uint64_t id = 0;
    CU_ASSERT_EQUAL(splits(&split), 1);
    id = split.volume_id;
    CU_ASSERT_EQUAL(policy_split_stop_id(policy, id, &host.why), 0); /* job cancel */
    CU_ASSERT_EQUAL(policy_split_stop_id(policy, id, &host.why), -ENOENT);
    check_content();
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* Crashes on the way: it goes on where it was, and nothing is copied twice. */
static void test_crashes(void)
{
    begin();
    uint64_t before = host_data_blks(&host);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 512 << 10, false, &host.why), 0);
    int crashes = 0;
    for (int i = 0; i < STEPS_MAX && splits(NULL) > 0; i++)
    {
        policy_host_advance(7);
        policy_step(policy, POLICY_SPLIT);
        if (i % 7 == 3)
        {
            host_crash_open(&host);
            policy_host_restart(NULL);
            crashes++;
        }
    }
    CU_ASSERT_TRUE(crashes > 2);
    CU_ASSERT_EQUAL(splits(NULL), 0);
    CU_ASSERT_EQUAL(shared_bytes("test/a") + shared_bytes("test/b"), 0);
    CU_ASSERT_FALSE(is_clone("test"));
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host) - before, 650);
    check_content();
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* It is refused with figures, or stops on the way, and can be started again. */
static void test_no_room(void)
{
    struct policy_split split;
    policy_host_start(NULL);
    policy_host_volume("db", 0);
    host_create(&host, "db/a", 3000);
    CU_ASSERT_EQUAL(host_write(&host, "db/a", 0, 2500, 1, 0), 0);
    const struct volume_clone_args clone = {.volume = "db", .name = "test"};
    CU_ASSERT_EQUAL_FATAL(volume_clone(host.pool, &clone, &host.why), 0);
    host_create(&host, "filler", 8000);
    CU_ASSERT_EQUAL(host_write(&host, "filler", 0, 2800, 2, 0), 0);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "takes 9.76 MiB"));
    CU_ASSERT_EQUAL(splits(NULL), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "filler", 0, 8000), 0);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), 0);
    int r = 0; /* others write meanwhile */
    for (uint64_t lba = 0; r == 0 && lba < 4500; lba += 100)
        r = host_write(&host, "filler", lba, 100, 2, 0);
    for (int i = 0; i < 100; i++)
    {
        policy_step(policy, POLICY_SPLIT);
        policy_host_advance(1);
    }
    CU_ASSERT_EQUAL(policy_host_events("volume.split.stopped", "no room"), 1);
    CU_ASSERT_EQUAL(splits(&split), 1);
    CU_ASSERT_TRUE(split.is_paused);
    CU_ASSERT_PTR_NOT_NULL(strstr(split.reason, "no room"));
    CU_ASSERT_TRUE(is_clone("test"));
    CU_ASSERT_TRUE(host_holds(&host, "test/a", 0, 2500, 1));
    CU_ASSERT_EQUAL(host_write(&host, "filler", 5000, 20, 2, 0), 0); /* some is left to others */
    host_delete(&host, "filler");
    host_settle(&host);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), 0);
    run();
    CU_ASSERT_EQUAL(shared_bytes("test/a"), 0);
    CU_ASSERT_TRUE(host_holds(&host, "test/a", 0, 2500, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* LUNs and the volume may be renamed, written, shrunk and deleted meanwhile; the split does not
 * count as a client. */
static void test_changes_meanwhile(void)
{
    begin();
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 64 << 10, false, &host.why), 0);
    policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(host_info(&host, "test/a").open_handles, 0);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "test", "other", &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "other/b", "other/c", &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, "other/c", 0, 900, 9, 0), 0);
    policy_host_advance(1);
    policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "other/a", true, 0, &host.why), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "other/c", 100 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    run();
    CU_ASSERT_FALSE(is_clone("other"));
    CU_ASSERT_TRUE(host_holds(&host, "other/c", 0, 100, 9));
    CU_ASSERT_TRUE(host_holds(&host, "db/a", 10, 200, 1));
    policy_host_stop();

    begin();
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 64 << 10, false, &host.why), 0);
    policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "test", true, 0, &host.why), 0);
    run();
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* A handle of the server's own work forbids nothing and learns of a delete. */
static void test_background_handle(void)
{
    struct lun *lun;
    char byte;
    policy_host_start(NULL);
    host_create(&host, "one", 16);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "one", LUN_BACKGROUND, &lun, &host.why), 0);
    CU_ASSERT_EQUAL(host_info(&host, "one").open_handles, 0);
    CU_ASSERT_EQUAL(lun_write(lun, "x", 1, 0, 0), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "one", false, 0, &host.why), 0);
    CU_ASSERT_EQUAL(lun_read(lun, &byte, 1, 0), -ESTALE);
    lun_close(lun);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

static void test_several(void)
{
    begin();
    const struct volume_clone_args clone = {.volume = "db", .name = "test2"};
    CU_ASSERT_EQUAL_FATAL(volume_clone(host.pool, &clone, &host.why), 0);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 64 << 10, false, &host.why), 0);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test2", 64 << 10, false, &host.why), 0);
    policy_step(policy, POLICY_SPLIT);
    policy_step(policy, POLICY_SPLIT);
    struct policy_split *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(policy_split_list(policy, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_EQUAL(list[0].copied_bytes, 8 << 10); /* by turns */
    CU_ASSERT_EQUAL(list[1].copied_bytes, 8 << 10);
    free(list);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test", 0, false, &host.why), 0);
    CU_ASSERT_EQUAL(policy_split_start(policy, "test2", 0, false, &host.why), 0);
    run();
    CU_ASSERT_FALSE(is_clone("test") || is_clone("test2"));
    check_content();
    policy_host_stop();
}

static void test_hostile_store(void)
{
    static const char *const keys[] = {"policy/split/volume/00000000000000ff", "policy/split/x",
                                       "policy/split/volume/zzzzzzzzzzzzzzzz"};
    policy_host_start(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
    {
        static const char value[] = "{\"rate\":-5,\"lun\":\"x\",\"copied\":99999999999999999999}";
        static const char sane[] = "{\"rate\":1,\"lun\":7,\"offset\":9999999999999}";
        const struct store_change changes[] = {
            {.key = keys[i], .value = i ? value : sane, .len = strlen(i ? value : sane)}};
        CU_ASSERT_EQUAL(store_apply(host.pool, changes, 1, &host.why), 0);
    }
    for (int i = 0; i < 10; i++)
        policy_step(policy, POLICY_SPLIT);
    CU_ASSERT_EQUAL(splits(NULL), 0);
    policy_host_stop();
}

static CU_TestInfo split_tests[] = {
    {"all that is shared is copied, and nothing else", test_copies},
    {"a volume that is no clone", test_plain_volume},
    {"a rate", test_rate},
    {"pause, stop, cancel", test_pause_and_stop},
    {"crashes on the way", test_crashes},
    {"no room", test_no_room},
    {"LUNs and the volume change meanwhile", test_changes_meanwhile},
    {"a handle of the server's own", test_background_handle},
    {"several at a time", test_several},
    {"a store that makes no sense", test_hostile_store},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy split", NULL, NULL, NULL, NULL, split_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
