/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write order across LUNs, as clients see it: tests/unit/test_volume_order.c for a real server.
 *
 * Writers have connections of their own to each LUN, by NBD or by iSCSI, and count: each writes its
 * numbers to the LUNs in turn, the next one when the one before was acknowledged. One chain of
 * numbers is all writers' together. Meanwhile snapshots of the two volumes are taken by the command
 * line. One that holds number n of a chain must hold the whole row up to n: every LUN has the
 * largest number up to n that belongs there. n is at least what was acknowledged when the command
 * began, at most what had begun when it returned.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/lock.h"
#include "tests/e2e/iscsi/both.h"
#include "tests/lib/cunit_main.h"

enum
{
    LUNS = 6, /* by turns in either volume */
    NBD_WRITERS = 3,
    ISCSI_WRITERS = 1,
    WRITERS = NBD_WRITERS + ISCSI_WRITERS,
    CHAINS = WRITERS + 1, /* the last one is all writers' */
    CUTS = 16,
    TURNS = 2 * LUNS, /* between two cuts */
    BLOCK = 4096,
};

static struct both both;

static struct
{
    _Atomic uint64_t started[CHAINS], acked[CHAINS];
    struct lock shared; /* of the last chain */
    atomic_bool stop;
    atomic_int error;
} world;

/* Its connections; only one of the arrays is in use. */
struct writer_client
{
    unsigned chain;
    struct nbd_handle *nbd[LUNS];
    struct iscsi_context *iscsi[LUNS];
};

static void lun_name(unsigned i, char name[32])
{
    snprintf(name, 32, "%s/l%u", i % 2 ? "v" : "w", i);
}

/* ---- writers ------------------------------------------------------------------------------- */

static void client_open(struct writer_client *client, unsigned chain)
{
    *client = (struct writer_client){.chain = chain};
    for (unsigned i = 0; i < LUNS; i++)
    {
        char name[32];
        lun_name(i, name);
        if (chain < NBD_WRITERS)
            client->nbd[i] = both_connect(&both, name);
        else
            client->iscsi[i] = both_login(&both, BOTH_A, 100 * chain + i, (int)i);
    }
}

static void client_close(struct writer_client *client)
{
    for (unsigned i = 0; i < LUNS; i++)
    {
        nbd_close(client->nbd[i]);
        if (client->iscsi[i])
            iscsi_destroy_context(client->iscsi[i]);
    }
}

static void write_number(const struct writer_client *client, unsigned chain, uint64_t number)
{
    uint64_t words[BLOCK / 8], offset = (uint64_t)chain * BLOCK;
    unsigned i = (unsigned)(number % LUNS);
    for (size_t word = 0; word < BLOCK / 8; word++)
        words[word] = number;
    atomic_store(&world.started[chain], number);
    int r = client->nbd[i]
                ? nbd_pwrite(client->nbd[i], words, sizeof(words), offset, 0)
                : both_write(client->iscsi[i], (int)i, 512, words, sizeof(words), offset);
    if (r != 0)
        atomic_store(&world.error, 1);
    atomic_store(&world.acked[chain], number);
}

static void *writer_thread(void *opaque)
{
    const struct writer_client *client = opaque;
    for (uint64_t number = 1; !atomic_load(&world.stop); number++)
    {
        write_number(client, client->chain, number);
        AUTO_LOCK(&world.shared);
        write_number(client, CHAINS - 1, atomic_load(&world.acked[CHAINS - 1]) + 1);
    }
    return NULL;
}

/* ---- cuts ---------------------------------------------------------------------------------- */

struct cut
{
    uint64_t low[CHAINS], high[CHAINS];
};

static void load_counters(const _Atomic uint64_t *counters, uint64_t *values)
{
    for (unsigned chain = 0; chain < CHAINS; chain++)
        values[chain] = atomic_load(&counters[chain]);
}

static void make_cut(unsigned number, struct cut *cut)
{
    uint64_t before[CHAINS];
    load_counters(world.acked, before);
    for (unsigned chain = 0; chain < WRITERS; chain++)
    {
        while (atomic_load(&world.acked[chain]) < before[chain] + TURNS &&
               !atomic_load(&world.error))
            sched_yield();
    }
    load_counters(world.acked, cut->low);
    both_do(&both, "snapshot create v@s%u --with w", number);
    load_counters(world.started, cut->high);
}

/* The largest number up to @n that belongs to LUN @i; 0: none. */
static uint64_t number_of(uint64_t i, uint64_t n)
{
    uint64_t back = (n % LUNS + LUNS - i) % LUNS;
    return n > back ? n - back : 0;
}

/* The numbers of all chains that LUN @i has in cut @number. */
static void read_numbers(unsigned i, unsigned number, uint64_t found[CHAINS])
{
    char name[32], export[64];
    uint64_t words[CHAINS][BLOCK / 8];
    lun_name(i, name);
    snprintf(export, sizeof(export), "%s@s%u", name, number);
    struct nbd_handle *nbd = both_connect(&both, export);
    CU_ASSERT_EQUAL(nbd_pread(nbd, words, sizeof(words), 0, 0), 0);
    nbd_close(nbd);
    for (unsigned chain = 0; chain < CHAINS; chain++)
    {
        found[chain] = words[chain][0];
        for (size_t word = 0; word < BLOCK / 8; word++)
            if (words[chain][word] != words[chain][0])
                found[chain] = UINT64_MAX;
    }
}

/* It holds one instant of every chain. */
static void expect_instant(unsigned number, const struct cut *cut)
{
    uint64_t found[LUNS][CHAINS];
    for (unsigned i = 0; i < LUNS; i++)
        read_numbers(i, number, found[i]);
    for (unsigned chain = 0; chain < CHAINS; chain++)
    {
        uint64_t n = 0;
        for (unsigned i = 0; i < LUNS; i++)
            n = found[i][chain] > n ? found[i][chain] : n;
        CU_ASSERT(n >= cut->low[chain]);
        CU_ASSERT(n <= cut->high[chain]);
        for (unsigned i = 0; i < LUNS; i++)
            CU_ASSERT_EQUAL(found[i][chain], number_of(i, n));
    }
}

/* ---- the test ------------------------------------------------------------------------------ */

static void start(void)
{
    both_start(&both, "512M");
    memset(&world, 0, sizeof(world));
    lock_init(&world.shared, LOCK_RANK_SERVER);
    both_do(&both, "volume create v");
    both_do(&both, "volume create w");
    for (unsigned i = 0; i < LUNS; i++)
    {
        char name[32];
        lun_name(i, name);
        both_do(&both, "lun create %s 4M", name);
        both_do(&both, "lun map %s --igroup g --lun-id %u", name, i);
    }
}

static void test_order(void)
{
    static struct writer_client clients[WRITERS];
    static struct cut cuts[CUTS];
    pthread_t threads[WRITERS];
    start();
    for (unsigned i = 0; i < WRITERS; i++)
        client_open(&clients[i], i);
    for (unsigned i = 0; i < WRITERS; i++)
        INVARIANT(pthread_create(&threads[i], NULL, writer_thread, &clients[i]) == 0);
    for (unsigned number = 0; number < CUTS; number++)
        make_cut(number, &cuts[number]);
    atomic_store(&world.stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(atomic_load(&world.error), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        client_close(&clients[i]);
    for (unsigned number = 0; number < CUTS; number++)
        expect_instant(number, &cuts[number]);
    if (both_is_durable())
    {
        /* What a snapshot holds outlives the server. */
        nbd_server_kill(&both.server);
        both_serve(&both, true);
        expect_instant(CUTS - 1, &cuts[CUTS - 1]);
    }
    both_end(&both);
    lock_destroy(&world.shared);
}

static CU_TestInfo order_tests[] = {
    {"write order across LUNs, over NBD and iSCSI", test_order},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"order", NULL, NULL, NULL, NULL, order_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
