/* SPDX-License-Identifier: BSD-3-Clause */
/* Classes and subjects: what is allowed, what is stored; requests that wait, on real threads. */
#include "server/qos/qos.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/lib/cunit_main.h"

static char folder[64], path[96];
static struct pool *pool;
static struct qos *qos;
static struct reason why;

static void open_all(void)
{
    CU_ASSERT_EQUAL_FATAL(
        pool_open(env_system(), path, &(struct pool_open_options){0}, &pool, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(qos_open(pool, &qos, &why), 0);
}

static void close_all(void)
{
    qos_close(qos);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
}

static void reopen(void)
{
    close_all();
    open_all();
}

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-qos-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pool", folder);
    struct pool_create_options create = {.name = "test", .size_bytes = UINT64_C(256) << 20};
    CU_ASSERT_EQUAL_FATAL(pool_create(env_system(), path, &create, NULL), 0);
    open_all();
    for (unsigned i = 0; i < 3; i++)
    {
        char name[16];
        snprintf(name, sizeof(name), "lun%u", i);
        struct lun_create_args args = {.name = name, .size_bytes = 1 << 20};
        CU_ASSERT_EQUAL_FATAL(lun_create(pool, &args, NULL), 0);
    }
}

static void tear_down(void)
{
    close_all();
    unlink(path);
    rmdir(folder);
}

static uint64_t lun_id(const char *name)
{
    struct lun_info info;
    CU_ASSERT_EQUAL_FATAL(lun_get_info(pool, name, &info, NULL), 0);
    return info.id;
}

static int set(const char *name, const char *class_name)
{
    uint64_t id = lun_id(name);
    return qos_set(qos, QOS_LUN, &id, 1, class_name, &why);
}

static int create(const char *name, uint64_t iops)
{
    struct qos_class_change change = {.has_iops = true, .limits.max_iops = iops};
    return qos_class_create(qos, name, &change, &why);
}

static struct qos_class_info class_info(const char *name)
{
    AUTO_FREE struct qos_class_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(qos_class_list(qos, name, &list, &count, &why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    return list[0];
}

/* What is known of LUN @name; all zero: nothing. */
static struct qos_lun_info known(const char *name)
{
    AUTO_FREE struct qos_lun_info *list = NULL;
    size_t count = 0;
    uint64_t id = lun_id(name);
    CU_ASSERT_EQUAL_FATAL(qos_lun_list(qos, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id)
            return list[i];
    return (struct qos_lun_info){0};
}

/* ---- classes ------------------------------------------------------------------------------- */

static void test_built_in(void)
{
    set_up();
    CU_ASSERT_TRUE(class_info("default").is_built_in);
    CU_ASSERT_EQUAL(class_info("default").limits.max_iops, 0);
    CU_ASSERT_TRUE(class_info("background").limits.max_iops > 0);
    CU_ASSERT(class_info("background").limits.weight < class_info("default").limits.weight);
    CU_ASSERT_EQUAL(qos_class_delete(qos, "default", false, &why), -EPERM);
    CU_ASSERT_EQUAL(create("background", 1), -EEXIST);
    struct qos_class_change change = {.has_weight = true, .limits.weight = 7};
    CU_ASSERT_EQUAL(qos_class_modify(qos, "background", &change, &why), 0);
    reopen();
    CU_ASSERT_EQUAL(class_info("background").limits.weight, 7);
    CU_ASSERT_EQUAL(class_info("background").limits.max_iops, 500);
    tear_down();
}

static void test_refusals(void)
{
    static const char *const names[] = {"", "-a", ".a", "a b", "a/b", "\xc3\xa9", "a\n"};
    char long_name[QOS_NAME_MAX + 2];
    set_up();
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        CU_ASSERT_EQUAL(create(names[i], 1), -EINVAL);
    CU_ASSERT_EQUAL(create(long_name, 1), -EINVAL);
    long_name[QOS_NAME_MAX] = '\0';
    CU_ASSERT_EQUAL(create(long_name, 1), 0);
    CU_ASSERT_EQUAL(create("a", QOS_RATE_MAX + 1), -EINVAL);
    static const struct qos_class_change bad[] = {
        {.has_weight = true, .limits.weight = 0},
        {.has_weight = true, .limits.weight = QOS_WEIGHT_MAX + 1},
        {.has_burst = true, .limits.burst_ms = QOS_BURST_MS_MIN - 1},
        {.has_burst = true, .limits.burst_ms = QOS_BURST_MS_MAX + 1},
        {.has_bps = true, .limits.max_bps = UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        CU_ASSERT_EQUAL(qos_class_create(qos, "a", &bad[i], &why), -EINVAL);
        CU_ASSERT_EQUAL(qos_class_modify(qos, "background", &bad[i], &why), -EINVAL);
    }
    CU_ASSERT_EQUAL(qos_class_modify(qos, "none", &bad[0], &why), -ENOENT);
    CU_ASSERT_EQUAL(qos_class_delete(qos, "none", false, &why), -ENOENT);
    CU_ASSERT_EQUAL(set("lun0", "none"), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "none"));
    tear_down();
}

static void test_life_of_a_class(void)
{
    set_up();
    CU_ASSERT_EQUAL(create("gold", 1000), 0);
    CU_ASSERT_EQUAL(set("lun0", "gold"), 0);
    CU_ASSERT_EQUAL(set("lun1", "gold"), 0);
    CU_ASSERT_EQUAL(class_info("gold").users, 2);
    CU_ASSERT_EQUAL(qos_class_delete(qos, "gold", true, &why), -EBUSY);
    reopen();
    CU_ASSERT_EQUAL(class_info("gold").users, 2);
    CU_ASSERT_EQUAL(class_info("gold").limits.max_iops, 1000);
    CU_ASSERT_STRING_EQUAL(known("lun1").class_name, "gold");
    CU_ASSERT_EQUAL(set("lun0", "default"), 0);
    CU_ASSERT_EQUAL(set("lun1", "background"), 0);
    CU_ASSERT_EQUAL(qos_class_delete(qos, "gold", true, &why), 0);
    CU_ASSERT_EQUAL(class_info("gold").users, 0);
    CU_ASSERT_EQUAL(qos_class_delete(qos, "gold", false, &why), 0);
    CU_ASSERT_EQUAL(set("lun0", "gold"), -ENOENT);
    reopen();
    CU_ASSERT_FALSE(known("lun0").is_assigned);
    CU_ASSERT_STRING_EQUAL(known("lun1").class_name, "background");
    tear_down();
}

static void test_order_of_classes(void)
{
    AUTO_FREE struct qos_class_info *list = NULL;
    size_t count = 0;
    set_up();
    CU_ASSERT_EQUAL(create("zinc", 1), 0);
    CU_ASSERT_EQUAL(create("copper", 1), 0);
    CU_ASSERT_EQUAL(qos_class_list(qos, NULL, &list, &count, &why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 4);
    for (size_t i = 1; i < count; i++)
        CU_ASSERT(strcmp(list[i - 1].name, list[i].name) < 0);
    tear_down();
}

static void test_groups(void)
{
    AUTO_FREE struct qos_group_info *list = NULL;
    size_t count = 0;
    const uint64_t none = 0;
    struct volume_info info;
    set_up();
    CU_ASSERT_EQUAL_FATAL(volume_create(pool, "vol", &(struct volume_attributes){0}, &why), 0);
    CU_ASSERT_EQUAL_FATAL(volume_get_info(pool, "vol", &info, NULL), 0);
    const uint64_t volume = info.id;
    CU_ASSERT_EQUAL(create("all", 5000), 0);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_POOL, &none, 1, "all", &why), 0);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_VOLUME, &volume, 1, "background", &why), 0);
    reopen();
    CU_ASSERT_EQUAL(qos_group_list(qos, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_EQUAL(list[0].kind, QOS_POOL);
    CU_ASSERT_STRING_EQUAL(list[0].class_name, "all");
    CU_ASSERT_EQUAL(list[0].limits.max_iops, 5000);
    CU_ASSERT_EQUAL(list[1].id, volume);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_VOLUME, &volume, 1, "default", &why), 0);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_POOL, &none, 1, "default", &why), 0);
    /* The limits of "default" are for LUNs. */
    struct qos_class_change change = {.has_iops = true, .limits.max_iops = 3};
    CU_ASSERT_EQUAL(qos_class_modify(qos, "default", &change, &why), 0);
    free(take_ptr(&list));
    CU_ASSERT_EQUAL(qos_group_list(qos, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_STRING_EQUAL(list[0].class_name, "");
    CU_ASSERT_EQUAL(list[0].limits.max_iops, 0);
    /* What is stored ends with the volume: at once, or at the next start. */
    CU_ASSERT_EQUAL(qos_set(qos, QOS_VOLUME, &volume, 1, "all", &why), 0);
    qos_forget_volume(qos, volume);
    CU_ASSERT_EQUAL(class_info("all").users, 0);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_VOLUME, &volume, 1, "all", &why), 0);
    CU_ASSERT_EQUAL(volume_delete(pool, "vol", true, 0, NULL), 0);
    reopen();
    CU_ASSERT_EQUAL(class_info("all").users, 0);
    tear_down();
}

static void test_gone_lun(void)
{
    set_up();
    uint64_t id = lun_id("lun0");
    char key[64];
    void *value = NULL;
    size_t len = 0;
    snprintf(key, sizeof(key), "qos/lun/%016llx", (unsigned long long)id);
    CU_ASSERT_EQUAL(set("lun0", "background"), 0);
    CU_ASSERT_EQUAL(store_get(pool, key, &value, &len), 0);
    free(take_ptr(&value));
    /* Without a word to QoS, as after a crash: the next start drops the entry. */
    CU_ASSERT_EQUAL(lun_delete(pool, "lun0", false, 0, NULL), 0);
    reopen();
    CU_ASSERT_EQUAL(store_get(pool, key, &value, &len), -ENOENT);
    CU_ASSERT_EQUAL(class_info("background").users, 0);
    CU_ASSERT_EQUAL(set("lun1", "background"), 0);
    qos_forget_lun(qos, lun_id("lun1"));
    CU_ASSERT_EQUAL(class_info("background").users, 0);
    qos_forget_lun(qos, 123456);
    tear_down();
}

static void put(const char *key, const char *value)
{
    const struct store_change change = {.key = key, .value = value, .len = strlen(value)};
    CU_ASSERT_EQUAL_FATAL(store_apply(pool, &change, 1, NULL), 0);
}

/* What is not understood does not count, is told of, and does not keep the pool from being served.
 */
static void test_unreadable(void)
{
    char key[64];
    set_up();
    snprintf(key, sizeof(key), "qos/lun/%016llx", (unsigned long long)lun_id("lun0"));
    put("qos/class/bad", "max_iops=1");
    put("qos/class/negative", "max_iops=-1 max_bps=0 burst_ms=100 weight=100");
    put("qos/class/zero", "max_iops=1 max_bps=0 burst_ms=100 weight=0");
    put("qos/class/more", "max_iops=1 max_bps=0 burst_ms=100 weight=100 more=1");
    put("qos/class/a b", "max_iops=1 max_bps=0 burst_ms=100 weight=100");
    put("qos/class/good", "max_iops=12 max_bps=0 burst_ms=100 weight=100");
    put(key, "nothing");
    put("qos/lun/12", "good");
    put("qos/pool", "nothing");
    put("qos/volume/zz", "good");
    reopen();
    CU_ASSERT_EQUAL(class_info("good").limits.max_iops, 12);
    AUTO_FREE struct qos_class_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(qos_class_list(qos, NULL, &list, &count, &why), 0);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_FALSE(known("lun0").is_assigned);
    AUTO_FREE struct event *events = NULL;
    size_t told = 0;
    CU_ASSERT_EQUAL(event_list(pool, 0, &events, &count), 0);
    for (size_t i = 0; i < count; i++)
        told += strcmp(events[i].name, "qos.unreadable") == 0;
    CU_ASSERT_EQUAL(told, 9);
    tear_down();
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct lun *open_lun(const char *name, struct qos_lun **lun)
{
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(pool, name, 0, &handle, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(qos_lun_open(qos, handle, lun), 0);
    return handle;
}

static void no_wake(struct qos_sink *sink)
{
    (void)sink;
}

static bool never(void *opaque)
{
    (void)opaque;
    return false;
}

static bool when_asked(void *opaque)
{
    unsigned *asked = opaque;
    return ++*asked > 1;
}

static void test_without_qos(void)
{
    set_up();
    struct qos_lun *lun = (struct qos_lun *)&pool; /* anything */
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(pool, "lun0", 0, &handle, NULL), 0);
    CU_ASSERT_EQUAL(qos_lun_open(NULL, handle, &lun), 0);
    CU_ASSERT_PTR_NULL(lun);
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_READ));
    qos_account(lun, QOS_READ, 1, 1);
    qos_charge(lun, 1);
    qos_lun_close(lun);
    lun_close(handle);
    tear_down();
}

static void test_flag_follows_limits(void)
{
    struct qos_lun *lun;
    const uint64_t none = 0;
    set_up();
    struct lun *handle = open_lun("lun0", &lun);
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_READ));
    CU_ASSERT_EQUAL(set("lun0", "background"), 0);
    CU_ASSERT_TRUE(qos_is_limited(lun, QOS_READ));
    CU_ASSERT_TRUE(qos_is_limited(lun, QOS_UNMAP));
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_FLUSH));
    struct qos_class_change change = {.has_iops = true, .has_bps = true};
    CU_ASSERT_EQUAL(qos_class_modify(qos, "background", &change, &why), 0);
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_WRITE));
    change.limits.max_bps = 1;
    CU_ASSERT_EQUAL(qos_class_modify(qos, "default", &change, &why), 0);
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_WRITE));
    CU_ASSERT_EQUAL(set("lun0", "default"), 0);
    CU_ASSERT_TRUE(qos_is_limited(lun, QOS_WRITE));
    change.limits.max_bps = 0;
    CU_ASSERT_EQUAL(qos_class_modify(qos, "default", &change, &why), 0);
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_WRITE));
    CU_ASSERT_EQUAL(create("all", 9), 0);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_POOL, &none, 1, "all", &why), 0);
    CU_ASSERT_TRUE(qos_is_limited(lun, QOS_WRITE));
    qos_lun_close(lun);
    lun_close(handle);
    tear_down();
}

/* A LUN has the limits of the volume that it is in, also when it gets there in use. */
static void test_volume(void)
{
    struct qos_lun *lun;
    struct volume_info info;
    set_up();
    CU_ASSERT_EQUAL_FATAL(volume_create(pool, "vol", &(struct volume_attributes){0}, &why), 0);
    CU_ASSERT_EQUAL_FATAL(volume_get_info(pool, "vol", &info, NULL), 0);
    CU_ASSERT_EQUAL(qos_set(qos, QOS_VOLUME, &info.id, 1, "background", &why), 0);
    struct lun *handle = open_lun("lun0", &lun);
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_READ));
    CU_ASSERT_EQUAL(lun_rename(pool, "lun0", "vol/lun0", &why), 0);
    qos_lun_renamed(qos, lun->id, "vol/lun0");
    CU_ASSERT_TRUE(qos_is_limited(lun, QOS_READ));
    CU_ASSERT_EQUAL(known("vol/lun0").volume_id, info.id);
    CU_ASSERT_EQUAL(lun_rename(pool, "vol/lun0", "lun0", &why), 0);
    qos_lun_renamed(qos, lun->id, "vol/lun0"); /* old news */
    CU_ASSERT_TRUE(qos_is_limited(lun, QOS_READ));
    qos_lun_renamed(qos, lun->id, "lun0");
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_READ));
    qos_lun_close(lun);
    lun_close(handle);
    tear_down();
}

static void test_figures(void)
{
    struct qos_lun *lun, *again;
    set_up();
    struct lun *handle = open_lun("lun0", &lun);
    qos_account(lun, QOS_WRITE, 4096, 5000);
    CU_ASSERT_EQUAL(qos_lun_open(qos, handle, &again), 0);
    CU_ASSERT_PTR_EQUAL(lun, again);
    CU_ASSERT_EQUAL(known("lun0").users, 2);
    qos_lun_close(again);
    qos_lun_close(lun);
    /* They stay when nobody uses it any more, and go with the LUN. */
    struct qos_lun_info info = known("lun0");
    CU_ASSERT_EQUAL(info.users, 0);
    CU_ASSERT_EQUAL(info.io[QOS_WRITE].ops, 1);
    CU_ASSERT_EQUAL(info.io[QOS_WRITE].bytes, 4096);
    CU_ASSERT_STRING_EQUAL(info.class_name, "default");
    qos_forget_lun(qos, lun_id("lun0"));
    CU_ASSERT_EQUAL(known("lun0").id, 0);
    lun_close(handle);
    tear_down();
}

static void test_blocked_and_given_up(void)
{
    struct qos_lun *lun;
    unsigned asked = 0;
    set_up();
    struct qos_class_change slow = {.has_bps = true, .limits.max_bps = 1};
    CU_ASSERT_EQUAL(qos_class_create(qos, "slow", &slow, &why), 0);
    CU_ASSERT_EQUAL(set("lun0", "slow"), 0);
    struct lun *handle = open_lun("lun0", &lun);
    CU_ASSERT_TRUE(qos_enter_blocking(lun, 1 << 20, never, NULL)); /* and owes for years */
    CU_ASSERT_FALSE(qos_enter_blocking(lun, 1, when_asked, &asked));
    CU_ASSERT_EQUAL(asked, 2);
    CU_ASSERT_EQUAL(known("lun0").waiting, 0);
    qos_lun_close(lun);
    lun_close(handle);
    tear_down();
}

static void *enter_slow(void *opaque)
{
    CU_ASSERT_TRUE(qos_enter_blocking(opaque, 1, never, NULL));
    return NULL;
}

static void wait_for_waiting(const char *name, uint32_t count)
{
    for (int i = 0; i < 60000 && known(name).waiting != count; i++)
        usleep(1000);
    CU_ASSERT_EQUAL_FATAL(known(name).waiting, count);
}

/* A change of limits reaches those that wait; so does the end. */
static void test_blocked_are_let_go(void)
{
    struct qos_lun *lun;
    pthread_t threads[4];
    set_up();
    struct qos_class_change slow = {.has_bps = true, .limits.max_bps = 1};
    CU_ASSERT_EQUAL(qos_class_create(qos, "slow", &slow, &why), 0);
    CU_ASSERT_EQUAL(set("lun0", "slow"), 0);
    struct lun *handle = open_lun("lun0", &lun);
    qos_charge(lun, 1 << 20);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, enter_slow, lun), 0);
    wait_for_waiting("lun0", 4);
    CU_ASSERT_EQUAL(set("lun0", "default"), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(known("lun0").held_ops, 4);
    CU_ASSERT(known("lun0").held_ns > 0);

    CU_ASSERT_EQUAL(set("lun0", "slow"), 0);
    qos_charge(lun, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[0], NULL, enter_slow, lun), 0);
    wait_for_waiting("lun0", 1);
    qos_close(qos);
    pthread_join(threads[0], NULL);
    CU_ASSERT_TRUE(qos_enter_blocking(lun, 1, never, NULL));
    CU_ASSERT_FALSE(qos_is_limited(lun, QOS_READ));
    qos_lun_close(lun); /* the last one: all of it goes */
    lun_close(handle);
    CU_ASSERT_EQUAL_FATAL(qos_open(pool, &qos, &why), 0);
    tear_down();
}

static void test_sink(void)
{
    struct qos_lun *lun;
    struct qos_wait waits[3] = {0};
    struct qos_sink sink;
    set_up();
    struct qos_class_change slow = {.has_bps = true, .limits.max_bps = 1};
    CU_ASSERT_EQUAL(qos_class_create(qos, "slow", &slow, &why), 0);
    CU_ASSERT_EQUAL(set("lun0", "slow"), 0);
    struct lun *handle = open_lun("lun0", &lun);
    qos_sink_init(&sink, no_wake);
    CU_ASSERT_PTR_NULL(qos_sink_next(&sink));
    qos_charge(lun, 1 << 20);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_FALSE(qos_enter(lun, 1, &waits[i], &sink));
    CU_ASSERT_PTR_NULL(qos_sink_next(&sink));
    qos_leave(lun, &waits[1]); /* while it waits */
    qos_leave(lun, &waits[1]);
    CU_ASSERT_EQUAL(set("lun0", "default"), 0);
    for (int i = 0; i < 60000 && known("lun0").waiting > 0; i++)
        usleep(1000);
    qos_leave(lun, &waits[2]); /* when it may go, and nobody has taken note */
    CU_ASSERT_PTR_EQUAL(qos_sink_next(&sink), &waits[0]);
    CU_ASSERT_PTR_NULL(qos_sink_next(&sink));
    qos_leave(lun, &waits[0]); /* when it is through */
    qos_lun_close(lun);
    lun_close(handle);
    tear_down();
}

static CU_TestInfo class_tests[] = {
    {"built-in classes", test_built_in},
    {"refusals", test_refusals},
    {"from create to delete", test_life_of_a_class},
    {"classes are in order", test_order_of_classes},
    {"pool and volumes", test_groups},
    {"LUNs that are gone", test_gone_lun},
    {"what is stored and not understood", test_unreadable},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo request_tests[] = {
    {"without QoS", test_without_qos},
    {"the flag follows the limits", test_flag_follows_limits},
    {"the limits of a volume", test_volume},
    {"figures outlive their users", test_figures},
    {"a blocked request is given up", test_blocked_and_given_up},
    {"blocked requests are let go by a change and by the end", test_blocked_are_let_go},
    {"requests come out of a sink, or leave", test_sink},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"classes", NULL, NULL, NULL, NULL, class_tests},
        {"requests", NULL, NULL, NULL, NULL, request_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
