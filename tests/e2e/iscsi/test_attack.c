/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything at once against one server, at random, for some seconds: clients of both protocols
 * that write, trim, reserve and hang up in the middle of it; LUNs deleted below them (--force),
 * resized, restored, cloned, unmapped; reservations cleared, sessions ended, limits changed,
 * volumes that pause when they are full, a pool that fills up and grows, scrubs. Two witnesses must
 * not notice; the server must end well and the pool's check find nothing.
 *
 * Then once more with bytes of the pool's file changed underneath: the server may answer with
 * errors, refuse or go read-only, but neither crash nor hang.
 *
 * It is meant for a build with sanitizers, too: tests/run nightly does that.
 *
 * usage: test_attack [SECONDS [SEED]]
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/endian.h"
#include "lun/base/invariant.h"
#include "tests/e2e/iscsi/both.h"
#include "tests/e2e/iscsi/witness.h"
#include "tests/lib/rng.h"

enum
{
    LUNS = 6,
    NBD_CLIENTS = 4,
    ISCSI_CLIENTS = 4,
    IO_MAX = 256 << 10,
    LUN_BYTES = 24 << 20,
    ISCSI_LUN_FIRST = 10,
    BLK = 4096,
    OPERATIONS = 40, /* of a client before it leaves */
};

static struct both both;
static uint64_t seed;
static atomic_bool stops;
static atomic_uint done, refused;

static uint64_t in_lun(struct rng *rng, uint32_t len)
{
    return rng_below(rng, (LUN_BYTES - len) / 512) * 512;
}

/* ---- clients ------------------------------------------------------------------------------- */

static void count(bool is_done)
{
    atomic_fetch_add(is_done ? &done : &refused, 1);
}

static int nbd_operation(struct nbd_handle *nbd, struct rng *rng, uint8_t *buf)
{
    uint32_t len = (uint32_t)rng_between(rng, 1, IO_MAX / 512) * 512;
    uint64_t offset = in_lun(rng, len);
    switch (rng_below(rng, 6))
    {
    case 0:
        return nbd_pread(nbd, buf, len, offset, 0);
    case 1:
        return nbd_trim(nbd, len, offset, 0);
    case 2:
        return nbd_zero(nbd, len, offset, 0);
    case 3:
        return nbd_flush(nbd, 0);
    default:
        rng_fill(rng, buf, len);
        return nbd_pwrite(nbd, buf, len, offset, rng_percent(rng, 20) ? LIBNBD_CMD_FLAG_FUA : 0);
    }
}

/* Some leave in good order, some in the middle of requests. */
static void nbd_leave(struct nbd_handle *nbd, struct rng *rng, uint8_t *buf)
{
    for (unsigned i = 0; rng_percent(rng, 50) && i < 16; i++)
        ignore_error(
            (int)nbd_aio_pwrite(nbd, buf, IO_MAX / 4, in_lun(rng, IO_MAX), NBD_NULL_COMPLETION, 0),
            "the server may be gone");
    if (rng_percent(rng, 30))
        ignore_error(nbd_shutdown(nbd, 0), "the server may be gone");
    nbd_close(nbd);
}

static void *nbd_client(void *opaque)
{
    struct rng rng = rng_of(seed * 100 + (uintptr_t)opaque);
    AUTO_FREE uint8_t *buf = calloc(1, IO_MAX);
    INVARIANT(buf);
    while (!atomic_load(&stops))
    {
        char name[32];
        snprintf(name, sizeof(name), "%sl%d", rng_percent(&rng, 30) ? "v/" : "",
                 (int)rng_below(&rng, LUNS));
        struct nbd_handle *nbd = both_try_connect(&both, name);
        for (int i = 0; nbd && i < OPERATIONS && !atomic_load(&stops); i++)
            count(nbd_operation(nbd, &rng, buf) == 0);
        if (nbd)
            nbd_leave(nbd, &rng, buf);
    }
    return NULL;
}

static int iscsi_operation(struct iscsi_context *iscsi, int lun, struct rng *rng, uint8_t *buf)
{
    uint32_t len = (uint32_t)rng_between(rng, 1, IO_MAX / 512) * 512;
    uint64_t offset = in_lun(rng, len), key = rng_between(rng, 1, 3);
    struct unmap_list unmap = {.lba = offset / 512, .num = len / 512};
    switch (rng_below(rng, 9))
    {
    case 0:
        return both_read(iscsi, lun, 512, buf, len, offset);
    case 1:
        return both_result(iscsi_unmap_sync(iscsi, lun, 0, 0, &unmap, 1));
    case 2:
        return both_flush(iscsi, lun);
    case 3: /* register and ignore */
        return both_reserve_out(iscsi, lun, 6, 0, 0, key, rng_percent(rng, 50));
    case 4:
        return both_reserve_out(iscsi, lun, 1, (int)rng_between(rng, 5, 8), key, 0, false);
    case 5: /* release, clear, preempt */
        return both_reserve_out(iscsi, lun, (int)rng_between(rng, 2, 4), 5, key, key, false);
    default:
        rng_fill(rng, buf, len);
        return both_write(iscsi, lun, 512, buf, len, offset);
    }
}

static void *iscsi_client(void *opaque)
{
    uintptr_t number = (uintptr_t)opaque;
    struct rng rng = rng_of(seed * 100 + 50 + number);
    AUTO_FREE uint8_t *buf = calloc(1, IO_MAX);
    INVARIANT(buf);
    while (!atomic_load(&stops))
    {
        int lun = ISCSI_LUN_FIRST + (int)rng_below(&rng, LUNS);
        /* Two are one initiator port, and end each other's sessions. */
        struct iscsi_context *iscsi =
            both_try_login(&both, number % 2 ? BOTH_A : BOTH_B, (unsigned)(number / 2), lun);
        for (int i = 0; iscsi && i < OPERATIONS && !atomic_load(&stops); i++)
        {
            int result = iscsi_operation(iscsi, lun, &rng, buf);
            count(result == 0);
            if (result == -1)
                break;
        }
        if (!iscsi)
            continue;
        if (rng_percent(&rng, 50))
            ignore_error(iscsi_logout_sync(iscsi), "the session may be gone");
        iscsi_destroy_context(iscsi);
    }
    return NULL;
}

/* ---- management ---------------------------------------------------------------------------- */

/* %d: a LUN's number; what is refused is refused. Each twice as often as it is here twice. */
static const char *const commands[] = {
    "lun delete l%d --force --with-snapshots",
    "lun delete v/l%d --force --with-snapshots",
    "lun create l%d 24M",
    "lun create l%d 24M",
    "lun create v/l%d 24M",
    "lun create v/l%d 24M",
    "lun map l%d --igroup g",
    "lun map l%d --igroup g --lun-id 1%1$d",
    "lun map v/l%d --igroup g --lun-id 1%1$d",
    "lun unmap l%d --igroup g",
    "lun resize l%d 32M",
    "lun resize l%d 24M --force",
    "lun clone l%d c%1$d",
    "lun delete c%d --force",
    "lun reservation clear l%d",
    "lun reservation clear v/l%d",
    "snapshot create l%d@s",
    "snapshot restore l%d@s --force",
    "snapshot delete l%d@s --force",
    "volume snapshot create v@t%d",
    "volume snapshot restore v@t%d --force",
    "volume snapshot delete v@t%d --force",
    "volume modify v --when-full pause --pause 2s",
    "volume modify v --when-full error",
    "volume resize v 2%dM",
    "volume resize v 200M",
    "qos set l%d slow",
    "qos set l%d default",
    "pool scrub --background --rate 100M",
    "pool grow +%dM",
    ("iscsi session terminate " BOTH_B),
    "lun show --snapshots",
    "explain space l%d",
    "job show",
    "pool check",
};

static void *manager(void *opaque)
{
    struct rng rng = rng_of(seed * 100 + 90 + (uintptr_t)opaque);
    /* both_try() keeps what a command says, which is for one thread. */
    struct both own = both;
    while (!atomic_load(&stops))
    {
        const char *command = commands[rng_below(&rng, ARRAY_SIZE(commands))];
        char words[256];
/* The formats are those of the list above, each with one %d or none. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(words, sizeof(words), command, (int)rng_below(&rng, LUNS));
#pragma GCC diagnostic pop
        int status = both_try(&own, "%s", words);
        if (status != 0 && status != 1)
        {
            fprintf(stderr, "lunette %s: status %d: %s\n", words, status, own.said);
            INVARIANT(status == 0 || status == 1); /* 2: not understood; 3: no server */
        }
    }
    return NULL;
}

/* Whether block @blk of the file is metadata now: those say where they are (lun/FORMAT.md). */
static bool vandal_finds_metadata(int fd, uint64_t blk)
{
    struct
    {
        struct be32 crc32c, magic;
        struct le64 pool_id, blk;
    } head;
    return pread(fd, &head, sizeof(head), (off_t)(blk * BLK)) == sizeof(head) &&
           le64_get(head.blk) == blk && be32_get(head.magic) >> 8 == ('L' << 16 | 'U' << 8 | 'N');
}

/* Changes some bytes of the pool's file now and then, mostly of metadata. */
static void *vandal(void *opaque)
{
    struct rng rng = rng_of(seed * 100 + 99);
    char path[128];
    struct stat there;
    unsigned hits = 0;
    snprintf(path, sizeof(path), "%s/pool", both.dir);
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
    INVARIANT(opaque == NULL && fd >= 0 && fstat(fd, &there) == 0);
    uint64_t blks = (uint64_t)there.st_size / BLK;
    while (!atomic_load(&stops))
    {
        uint8_t bytes[64];
        uint32_t len = (uint32_t)rng_between(&rng, 1, sizeof(bytes));
        uint64_t blk = rng_below(&rng, blks);
        rng_fill(&rng, bytes, len);
        for (uint64_t i = 0; i < blks && !vandal_finds_metadata(fd, blk) && rng_below(&rng, blks);
             i++)
            blk = (blk + 1) % blks;
        hits += vandal_finds_metadata(fd, blk);
        INVARIANT(pwrite(fd, bytes, len, (off_t)(blk * BLK + rng_below(&rng, BLK - len))) ==
                  (ssize_t)len);
        usleep(20000);
    }
    printf("%u blocks of metadata were damaged\n", hits);
    return NULL;
}

/* ---- both rounds --------------------------------------------------------------------------- */

static void attack(unsigned seconds, bool is_vandalised)
{
    pthread_t threads[NBD_CLIENTS + ISCSI_CLIENTS + 3];
    size_t n = 0;
    atomic_store(&stops, false);
    for (uintptr_t i = 0; i < NBD_CLIENTS; i++)
        INVARIANT(pthread_create(&threads[n++], NULL, nbd_client, (void *)i) == 0);
    for (uintptr_t i = 0; i < ISCSI_CLIENTS; i++)
        INVARIANT(pthread_create(&threads[n++], NULL, iscsi_client, (void *)i) == 0);
    for (uintptr_t i = 0; i < 2; i++)
        INVARIANT(pthread_create(&threads[n++], NULL, manager, (void *)i) == 0);
    if (is_vandalised)
        INVARIANT(pthread_create(&threads[n++], NULL, vandal, NULL) == 0);
    for (unsigned i = 0; i < 10 * seconds; i++)
    {
        usleep(100000);
        INVARIANT(kill(both.server.pid, 0) == 0);
    }
    atomic_store(&stops, true);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("%s: %u requests done, %u refused\n", is_vandalised ? "damaged" : "sound",
           atomic_load(&done), atomic_load(&refused));
    atomic_store(&done, 0);
    atomic_store(&refused, 0);
}

static void begin(void)
{
    /* What is damaged is to be read again. */
    static const char *const options[] = {"cache-size=1M", "checkpoint-ms=200", NULL};
    both_start_with(&both, "256M", options);
    both_do(&both, "volume create v 100M --when-full pause --pause 2s");
    both_do(&both, "qos class create slow --max-iops 50");
    for (int i = 0; i < LUNS; i++)
        both_do(&both, "lun create l%d 24M", i);
}

/* Not both_end(): what the pool's check says of it is no matter here. */
static void end_damaged(void)
{
    int status = nbd_server_stop(&both.server);
    AUTO_FREE char *log = nbd_server_log(&both.server);
    if (status > 128 || strstr(log, "Sanitizer") || strstr(log, "runtime error"))
    {
        fprintf(stderr, "the server ended with %d\n%s\n", status, log);
        abort();
    }
    int found = both_try(&both, "pool check --pool %s/pool", both.dir);
    printf("the server ended with %d, the check with %d:\n%.300s\n", status, found, both.said);
    INVARIANT(found == 0 || found == 1);
    both_clear(&both);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5;
    const char *given = argc > 2 ? argv[2] : getenv("LUNETTE_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("test_attack %u %" PRIu64 "\n", seconds, seed);
    fflush(stdout);
    if (!both_is_durable())
    {
        printf("SKIP: the engine in memory has no volumes\n");
        return 77;
    }
    begin();
    witnesses_start(&both);
    attack(seconds, false);
    bool is_right = witnesses_stop();
    both_end(&both);
    begin();
    attack(seconds, true);
    end_damaged();
    return !is_right;
}
