/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands on volumes while their LUNs and snapshots are read and written by others.
 *
 * Nothing is asserted about who wins, only that each call ends well or with an error that it may
 * have, that a LUN never shows a mixture of two writes, and that all is well in the end. Made for
 * the sanitizers.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/volume/news.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    LUNS = 6,
    BLKS = 8,
    WRITERS = 2,
    READERS = 2,
    ROUNDS = 120
};

static struct engine_host host;
static atomic_bool stop;
static atomic_int wrong; /* an error that should not have been */

static void note(int r, int allowed)
{
    if (r < 0 && r != allowed && r != -ESTALE)
        atomic_store(&wrong, r);
}

static void lun_name(char *name, size_t size, unsigned i)
{
    snprintf(name, size, "v/%slun%u", i % 2 ? "q/" : "", i);
}

/* ---- those who read and write */

static void *writer_thread(void *opaque)
{
    unsigned seed = *(unsigned *)opaque;
    struct lun *luns[LUNS];
    for (unsigned i = 0; i < LUNS; i++)
    {
        char name[32];
        lun_name(name, sizeof(name), i);
        INVARIANT(lun_open(host.pool, name, 0, &luns[i], NULL) == 0);
    }
    for (unsigned n = 0; !atomic_load(&stop); n++)
    {
        uint8_t bytes[BLK_BYTES];
        memset(bytes, (int)(1 + n % 200), sizeof(bytes));
        unsigned at = n * 7 + seed;
        note(lun_write(luns[at % LUNS], bytes, sizeof(bytes),
                       (uint64_t)(at / LUNS % BLKS) * BLK_BYTES, 0),
             -ENOSPC); /* until what was deleted in the volume is free */
        if (n % 50 == 0)
            note(lun_flush(luns[at % LUNS]), 0);
        if (n % 64 == 63) /* let the commands get their turn on a busy machine */
            sched_yield();
    }
    for (unsigned i = 0; i < LUNS; i++)
        lun_close(luns[i]);
    return NULL;
}

/* A block is of one write, whatever the commands do. */
static void look_at(const char *name)
{
    struct lun *lun = NULL;
    int r = lun_open(host.pool, name, LUN_READ_ONLY, &lun, NULL);
    if (r < 0)
    {
        note(r, -ENOENT);
        return;
    }
    for (unsigned i = 0; i < BLKS; i++)
    {
        uint8_t bytes[BLK_BYTES];
        r = lun_read(lun, bytes, sizeof(bytes), (uint64_t)i * BLK_BYTES);
        note(r, 0);
        if (r == 0 && strchr(name, '@') && memcmp(bytes, bytes + 1, sizeof(bytes) - 1) != 0)
            atomic_store(&wrong, -EILSEQ);
    }
    lun_close(lun);
}

static void *reader_thread(void *opaque)
{
    unsigned seed = *(unsigned *)opaque;
    static const char *const snapshots[] = {"", "@s0", "@s1", "@undo"};
    for (unsigned n = seed; !atomic_load(&stop); n++)
    {
        char lun[32], name[64];
        lun_name(lun, sizeof(lun), n % LUNS);
        snprintf(name, sizeof(name), "%s%s", lun, snapshots[n / LUNS % ARRAY_SIZE(snapshots)]);
        look_at(name);
        struct volume_info *volumes = NULL;
        size_t count = 0;
        note(volume_list(host.pool, &volumes, &count), 0);
        free(volumes);
        struct lun_info *luns = NULL;
        note(lun_list(host.pool, NULL, &luns, &count, NULL), 0);
        free(luns);
    }
    return NULL;
}

/* ---- commands */

static void run_round(unsigned round)
{
    char set[8], clone[8], other[8];
    snprintf(set, sizeof(set), "s%u", round % 2);
    snprintf(clone, sizeof(clone), "c%u", round % 3);
    snprintf(other, sizeof(other), "d%u", round % 3);
    struct volume_attributes bound = {.size_bytes = (1024 + round % 2) * BLK_BYTES,
                                      .is_guaranteed = round % 2};
    unsigned mask = VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE;
    note(volume_modify(host.pool, "v", mask, &bound, NULL), -ENOSPC);
    const char *volume = "v", *names[] = {"v/lun0", "v/q/lun1"};
    struct volume_snapshot_args snapshot = {.name = set};
    note(volume_snapshot_create(host.pool, &volume, 1, &snapshot, NULL), -EEXIST);
    struct volume_clone_args args = {.volume = "v", .snapshot = set, .name = clone};
    int cloned = volume_clone(host.pool, &args, NULL);
    note(cloned, -ENOSPC); /* it would be guaranteed too */
    note(lun_redeploy(host.pool, "v/lun2", names, 2, "undo", LUN_FORCE, NULL), 0);
    note(volume_snapshot_restore(host.pool, "v", set, LUN_FORCE, NULL), 0);
    if (cloned == 0)
        note(volume_rename(host.pool, clone, other, NULL), 0);
    note(volume_snapshot_delete(host.pool, "v", set, LUN_FORCE | LUN_DEFER, NULL), 0);
    if (cloned < 0)
        return;
    if (round % 2)
        note(volume_clone_split(host.pool, other, NULL), 0);
    note(volume_delete(host.pool, other, true, LUN_FORCE, NULL), 0);
}

static void test_threads(void)
{
    struct pool_create_options options = {.size_bytes = 128 << 20, .journal_bytes = 2 << 20};
    host_start(&host, &options);
    host_start_threads(&host);
    struct volume_attributes attributes = {0};
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    for (unsigned i = 0; i < LUNS; i++)
    {
        char name[32];
        lun_name(name, sizeof(name), i);
        host_create(&host, name, BLKS);
    }
    pthread_t threads[WRITERS + READERS];
    unsigned seeds[WRITERS + READERS];
    for (unsigned i = 0; i < WRITERS + READERS; i++)
    {
        seeds[i] = i;
        INVARIANT(pthread_create(&threads[i], NULL, i < WRITERS ? writer_thread : reader_thread,
                                 &seeds[i]) == 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        run_round(round);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS + READERS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(atomic_load(&wrong), 0);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo thread_tests[] = {
    {"commands beside I/O", test_threads},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_threads", NULL, NULL, NULL, NULL, thread_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
