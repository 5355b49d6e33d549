/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write order across LUNs: what a snapshot of a volume holds is what the disks held at one instant.
 *
 * Writers count: each writes its numbers to the LUNs in turn, the next one when the one before was
 * acknowledged. One chain of numbers is all writers' together, each number by whoever comes next.
 * A snapshot that holds number n of a chain must hold the whole row up to n: every LUN has the
 * largest number up to n that belongs there. n is at least what was acknowledged when the command
 * began, at most what had begun when it returned. The same holds for clones of a group and of the
 * volume, and after a power cut.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/volume/group.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    LUNS = 12,
    WRITERS = 3,
    CHAINS = WRITERS + 1, /* the last one is all writers' */
    CUTS = 24,
    SPINS = 20000,
    TURNS = 2 * LUNS,  /* between two cuts: most blocks are the LUNs' own again */
    WRITES_MAX = 20000 /* of a writer: enough for the slowest machine */
};

static struct engine_host host;

static struct
{
    struct lun *luns[LUNS];
    _Atomic uint64_t started[CHAINS], acked[CHAINS];
    struct lock shared; /* of the last chain */
    atomic_bool stop;
    atomic_int error;
} world;

/* ---- writers */

static void write_number(unsigned chain, uint64_t number)
{
    uint64_t words[BLK_BYTES / 8];
    for (size_t i = 0; i < BLK_BYTES / 8; i++)
        words[i] = number;
    atomic_store(&world.started[chain], number);
    int r = lun_write(world.luns[number % LUNS], words, sizeof(words), (uint64_t)chain * BLK_BYTES,
                      number % 64 == 0 ? LUN_FUA : 0);
    if (r < 0)
        atomic_store(&world.error, r);
    atomic_store(&world.acked[chain], number);
}

static void *writer_thread(void *opaque)
{
    unsigned chain = *(unsigned *)opaque;
    for (uint64_t number = 1; number < WRITES_MAX && !atomic_load(&world.stop); number++)
    {
        write_number(chain, number);
        AUTO_LOCK(&world.shared);
        write_number(CHAINS - 1, atomic_load(&world.acked[CHAINS - 1]) + 1);
    }
    return NULL;
}

/* A write takes some microseconds, so that commands find it in flight. */
static void slow_write(void *opaque, enum simdev_op op, const uint8_t *head)
{
    (void)opaque, (void)head;
    for (unsigned volatile i = 0; op == SIMDEV_WRITE && i < SPINS; i++)
        continue;
}

/* ---- looking */

/* The largest number up to @n that belongs to LUN @i; 0: none. */
static uint64_t number_of(uint64_t i, uint64_t n)
{
    uint64_t back = (n % LUNS + LUNS - i) % LUNS;
    return n > back ? n - back : 0;
}

static uint64_t read_number(const char *name, unsigned chain)
{
    struct lun *lun = NULL;
    uint64_t words[BLK_BYTES / 8] = {0};
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, LUN_READ_ONLY, &lun, &host.why), 0);
    CU_ASSERT_EQUAL(lun_read(lun, words, sizeof(words), (uint64_t)chain * BLK_BYTES), 0);
    lun_close(lun);
    CU_ASSERT_EQUAL(words[0], words[BLK_BYTES / 8 - 1]);
    return words[0];
}

/* What LUN @i is in cut @cut: a clone of a group or a snapshot, by turns. */
static void cut_name(char *name, size_t size, unsigned i, unsigned cut)
{
    if (cut % 2)
        snprintf(name, size, "clone%u-%u", i, cut);
    else
        snprintf(name, size, "%s/lun%u@s%u", i % 2 ? "v" : "w", i, cut);
}

struct cut
{
    uint64_t low[CHAINS], high[CHAINS];
    uint64_t found[CHAINS][LUNS];
};

static void look_at(unsigned cut, uint64_t found[CHAINS][LUNS])
{
    for (unsigned i = 0; i < LUNS; i++)
    {
        char name[64];
        cut_name(name, sizeof(name), i, cut);
        for (unsigned chain = 0; chain < CHAINS; chain++)
            found[chain][i] = read_number(name, chain);
    }
}

/* It holds one instant of every chain. */
static void expect_instant(const struct cut *cut)
{
    for (unsigned chain = 0; chain < CHAINS; chain++)
    {
        uint64_t n = 0;
        for (unsigned i = 0; i < LUNS; i++)
            n = cut->found[chain][i] > n ? cut->found[chain][i] : n;
        CU_ASSERT_TRUE(n >= cut->low[chain]);
        CU_ASSERT_TRUE(n <= cut->high[chain]);
        for (unsigned i = 0; i < LUNS; i++)
            CU_ASSERT_EQUAL(cut->found[chain][i], number_of(i, n));
    }
}

/* It still holds what it held. */
static void expect_same(const struct cut *cuts)
{
    static uint64_t found[CHAINS][LUNS];
    for (unsigned cut = 0; cut < CUTS; cut++)
    {
        look_at(cut, found);
        CU_ASSERT_EQUAL(memcmp(found, cuts[cut].found, sizeof(found)), 0);
    }
}

/* ---- cutting */

static void cut_snapshot(unsigned number)
{
    char name[32];
    snprintf(name, sizeof(name), "s%u", number);
    const char *volumes[] = {"v", "w"};
    struct volume_snapshot_args args = {.name = name};
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, volumes, 2, &args, &host.why), 0);
}

static void cut_group(unsigned number)
{
    char sources[LUNS][32], names[LUNS][32];
    struct lun_pair pairs[LUNS];
    for (unsigned i = 0; i < LUNS; i++)
    {
        snprintf(sources[i], sizeof(sources[i]), "%s/lun%u", i % 2 ? "v" : "w", i);
        cut_name(names[i], sizeof(names[i]), i, number);
        pairs[i] = (struct lun_pair){.source = sources[i], .name = names[i]};
    }
    struct lun_clone_args common = {0};
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, pairs, LUNS, &common, &host.why), 0);
}

static void load_counters(const _Atomic uint64_t *counters, uint64_t *values)
{
    for (unsigned chain = 0; chain < CHAINS; chain++)
        values[chain] = atomic_load(&counters[chain]);
}

static void start(void)
{
    struct pool_create_options options = {.size_bytes = 256 << 20, .journal_bytes = 4 << 20};
    host_start(&host, &options);
    host_start_threads(&host);
    simdev_set_hook(host.disk, slow_write, NULL);
    memset(&world, 0, sizeof(world));
    lock_init(&world.shared, LOCK_RANK_SERVER);
    struct volume_attributes attributes = {0};
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(volume_create(host.pool, "w", &attributes, &host.why), 0);
    for (unsigned i = 0; i < LUNS; i++)
    {
        char name[32];
        snprintf(name, sizeof(name), "%s/lun%u", i % 2 ? "v" : "w", i);
        host_create(&host, name, CHAINS);
        CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, 0, &world.luns[i], &host.why), 0);
    }
}

static void make_cut(unsigned number, struct cut *cut)
{
    uint64_t before[CHAINS];
    load_counters(world.acked, before);
    for (unsigned chain = 0; chain < WRITERS; chain++)
    {
        while (atomic_load(&world.acked[chain]) < before[chain] + TURNS &&
               atomic_load(&world.acked[chain]) + 1 < WRITES_MAX && !atomic_load(&world.error))
            sched_yield();
    }
    load_counters(world.acked, cut->low);
    if (number % 2)
        cut_group(number);
    else
        cut_snapshot(number);
    load_counters(world.started, cut->high);
    look_at(number, cut->found);
}

static void test_order(void)
{
    static struct cut cuts[CUTS];
    start();
    pthread_t threads[WRITERS];
    unsigned chains[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++)
    {
        chains[i] = i;
        INVARIANT(pthread_create(&threads[i], NULL, writer_thread, &chains[i]) == 0);
    }
    for (unsigned cut = 0; cut < CUTS; cut++)
        make_cut(cut, &cuts[cut]);
    atomic_store(&world.stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(atomic_load(&world.error), 0);
    for (unsigned i = 0; i < LUNS; i++)
        lun_close(world.luns[i]);
    for (unsigned cut = 0; cut < CUTS; cut++)
        expect_instant(&cuts[cut]);
    expect_same(cuts);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    expect_same(cuts);
    lock_destroy(&world.shared);
    host_stop(&host);
}

static CU_TestInfo order_tests[] = {
    {"write order across LUNs", test_order},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_order", NULL, NULL, NULL, NULL, order_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
