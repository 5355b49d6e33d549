/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Eight sessions of two initiators and of NBD write and verify two LUNs, while these are cloned,
 * clones are mapped, used, unmapped below their user and deleted, LUNs grow and shrink, and the
 * server is stopped and continued, killed and served again. No byte may be wrong.
 *
 * How a byte is known to be right: each worker owns a region of a LUN, cut into units of 4 KiB. It
 * counts up the version of a unit with every write, and the content of each sector follows from
 * region, unit, version and sector. So whoever reads a unit knows which versions it may have:
 *
 *     lowest  the one acknowledged before the read began; after the server was killed, the one
 *             that a flush had covered
 *     highest the one that was being written when the read ended
 *
 * A sector that is read while it is written may hold words of both, as with other targets on the
 * page cache. A clone may not: see below.
 *
 * Every eighth version is zeros (written, or unmapped). A clone has to hold, of every unit, a
 * version between those acknowledged before the command and those begun before it returned.
 *
 * usage: test_churn [ROUNDS [SEED]]
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/lock.h"
#include "tests/e2e/iscsi/both.h"

enum
{
    UNIT = 4096,
    SECTOR = 512,
    UNITS = 256, /* of a region: 1 MiB */
    WORKERS = 8, /* regions 0 to 3 in the first LUN, 4 to 7 in the second */
    PER_LUN = 4,
    IO_UNITS = 16, /* most of one request */
    ZERO_EVERY = 8,
    LUN_BYTES = 64 << 20,
    WORKER_ISID = 0x100,
};

struct unit
{
    uint32_t flushed, acked, issued;
};

struct worker
{
    unsigned number;
    bool is_iscsi;
    uint64_t seed;
    pthread_t thread;
    struct iscsi_context *iscsi;
    struct nbd_handle *nbd;
    uint64_t requests;
};

/* What main() asks of the workers. */
enum phase
{
    PHASE_RUN,
    PHASE_LOSE, /* the server is being killed: who gets an error waits */
    PHASE_RECOVER,
    PHASE_END,
};

static const char *const lun_names[] = {"first", "second"};
static const uint32_t lun_sectors[] = {512, 4096};
static const int lun_numbers[] = {1, 2};

static struct both both;
static struct lock lock; /* LOCK_RANK_LEAF: all below */
static struct condition changed;
static struct unit units[WORKERS][UNITS];
static enum phase phase;
static unsigned waiting; /* workers that have noticed the phase and done what it asks */
static unsigned failures;
static struct worker workers[WORKERS];

static uint64_t churn_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void churn_fail(const char *what, unsigned region, unsigned unit, uint32_t low,
                       uint32_t high)
{
    AUTO_LOCK(&lock);
    if (failures++ < 10)
        fprintf(stderr, "%s: region %u, unit %u, versions %u to %u\n", what, region, unit, low,
                high);
}

/* ---- contents ------------------------------------------------------------------------------ */

static bool version_is_zeros(uint32_t version)
{
    return version % ZERO_EVERY == 0; /* 0: never written */
}

static void sector_fill(uint8_t *at, unsigned region, unsigned unit, uint32_t version,
                        unsigned sector)
{
    uint32_t words[SECTOR / 4] = {0};
    if (!version_is_zeros(version))
    {
        uint64_t state =
            ((uint64_t)region << 40 | (uint64_t)unit << 8 | sector) * UINT64_C(0x9e3779b97f4a7c15) +
            version;
        words[0] = version;
        words[1] = region << 16 | unit << 4 | sector;
        for (size_t i = 2; i < SECTOR / 4; i++)
            words[i] = (uint32_t)(churn_random(&state) >> 16);
    }
    memcpy(at, words, SECTOR);
}

static void unit_fill(uint8_t *at, unsigned region, unsigned unit, uint32_t version)
{
    for (unsigned i = 0; i < UNIT / SECTOR; i++)
        sector_fill(at + (size_t)i * SECTOR, region, unit, version, i);
}

/* Whether a version from @low to @high is all zeros. */
static bool range_has_zeros(uint32_t low, uint32_t high)
{
    return high / ZERO_EVERY * ZERO_EVERY >= low;
}

/* What is read while it is written is copied from the page cache while it is copied there: words
 * of both. */
static bool sector_is_mixed(const uint8_t *at, unsigned region, unsigned unit, unsigned sector,
                            uint32_t low, uint32_t high)
{
    bool is_known[SECTOR / 8] = {false}, all = true;
    for (uint32_t version = low; version <= high; version++)
    {
        uint8_t expected[SECTOR];
        sector_fill(expected, region, unit, version, sector);
        for (size_t i = 0; i < SECTOR / 8; i++)
            is_known[i] |= memcmp(at + i * 8, expected + i * 8, 8) == 0;
    }
    for (size_t i = 0; i < SECTOR / 8; i++)
        all &= is_known[i];
    return all;
}

static bool sector_is_right(const uint8_t *at, unsigned region, unsigned unit, unsigned sector,
                            uint32_t low, uint32_t high)
{
    static const uint8_t zeros[SECTOR];
    uint8_t expected[SECTOR];
    uint32_t version;
    if (memcmp(at, zeros, SECTOR) == 0)
        return range_has_zeros(low, high);
    memcpy(&version, at, sizeof(version));
    if (version < low || version > high || version_is_zeros(version))
        return false;
    sector_fill(expected, region, unit, version, sector);
    return memcmp(at, expected, SECTOR) == 0;
}

/* What is in a sector that is wrong: of which versions its words are, or of none. */
static void sector_tell(const uint8_t *at, unsigned region, unsigned unit, unsigned sector,
                        uint32_t low, uint32_t high)
{
    fprintf(stderr, "  sector %u begins %02x%02x%02x%02x", sector, at[0], at[1], at[2], at[3]);
    for (uint32_t version = low; version <= high; version++)
    {
        uint8_t expected[SECTOR];
        unsigned alike = 0;
        sector_fill(expected, region, unit, version, sector);
        for (unsigned i = 0; i < SECTOR / 4; i++)
            alike += memcmp(at + (size_t)i * 4, expected + (size_t)i * 4, 4) == 0;
        fprintf(stderr, ", %u words of version %" PRIu32, alike, version);
    }
    fprintf(stderr, "\n");
}

/* @may_mix: they may be written meanwhile. @low and @high of @count units from @first of @region
 * on. */
static void units_check(const char *what, const uint8_t *bytes, unsigned region, unsigned first,
                        unsigned count, const uint32_t *low, const uint32_t *high, bool may_mix)
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned sector = 0; sector < UNIT / SECTOR; sector++)
        {
            const uint8_t *at = bytes + (size_t)i * UNIT + (size_t)sector * SECTOR;
            if (sector_is_right(at, region, first + i, sector, low[i], high[i]) ||
                (may_mix && sector_is_mixed(at, region, first + i, sector, low[i], high[i])))
                continue;
            churn_fail(what, region, first + i, low[i], high[i]);
            sector_tell(at, region, first + i, sector, low[i] > 2 ? low[i] - 2 : 0, high[i] + 2);
            break;
        }
}

static void units_acked(unsigned region, unsigned first, unsigned count, uint32_t *low)
{
    AUTO_LOCK(&lock);
    for (unsigned i = 0; i < count; i++)
        low[i] = units[region][first + i].acked;
}

static void units_issued(unsigned region, unsigned first, unsigned count, uint32_t *high)
{
    AUTO_LOCK(&lock);
    for (unsigned i = 0; i < count; i++)
        high[i] = units[region][first + i].issued;
}

static uint64_t region_offset(unsigned region)
{
    return (uint64_t)(region % PER_LUN) * UNITS * UNIT;
}

/* ---- requests of a worker: 0, or something else if the server is gone ------------------------ */

static int worker_connect(struct worker *worker)
{
    unsigned lun = worker->number / PER_LUN;
    if (!worker->is_iscsi)
    {
        worker->nbd = both_try_connect(&both, lun_names[lun]);
        return worker->nbd ? 0 : -1;
    }
    worker->iscsi = both_try_login(&both, worker->number % 2 ? BOTH_B : BOTH_A,
                                   WORKER_ISID + worker->number, lun_numbers[lun]);
    return worker->iscsi ? 0 : -1;
}

static void worker_disconnect(struct worker *worker)
{
    nbd_close(worker->nbd);
    if (worker->iscsi)
        iscsi_destroy_context(worker->iscsi);
    worker->nbd = NULL;
    worker->iscsi = NULL;
}

/* Management is told by unit attentions, which any command may meet. */
#define RETRIED(result, call)                                                                      \
    do                                                                                             \
        (result) = (call);                                                                         \
    while ((result) >> 16 == SCSI_SENSE_UNIT_ATTENTION || (result) == SCSI_STATUS_BUSY)

static int worker_read(struct worker *worker, void *buf, uint32_t len, uint64_t offset)
{
    unsigned lun = worker->number / PER_LUN;
    int r;
    worker->requests++;
    if (!worker->is_iscsi)
        return nbd_pread(worker->nbd, buf, len, offset, 0);
    RETRIED(r, both_read(worker->iscsi, lun_numbers[lun], lun_sectors[lun], buf, len, offset));
    return r;
}

static int worker_write(struct worker *worker, const void *buf, uint32_t len, uint64_t offset)
{
    unsigned lun = worker->number / PER_LUN;
    int r;
    worker->requests++;
    if (!worker->is_iscsi)
        return nbd_pwrite(worker->nbd, buf, len, offset, 0);
    RETRIED(r, both_write(worker->iscsi, lun_numbers[lun], lun_sectors[lun], buf, len, offset));
    return r;
}

static int worker_unmap(struct worker *worker, uint32_t len, uint64_t offset)
{
    unsigned lun = worker->number / PER_LUN;
    struct unmap_list list = {.lba = offset / lun_sectors[lun], .num = len / lun_sectors[lun]};
    int r;
    worker->requests++;
    if (!worker->is_iscsi)
        return nbd_zero(worker->nbd, len, offset, 0);
    RETRIED(r, both_result(iscsi_unmap_sync(worker->iscsi, lun_numbers[lun], 0, 0, &list, 1)));
    return r;
}

static int worker_flush(struct worker *worker)
{
    uint32_t acked[UNITS];
    int r;
    units_acked(worker->number, 0, UNITS, acked);
    worker->requests++;
    if (worker->is_iscsi)
        RETRIED(r, both_flush(worker->iscsi, lun_numbers[worker->number / PER_LUN]));
    else
        r = nbd_flush(worker->nbd, 0);
    AUTO_LOCK(&lock);
    for (unsigned i = 0; r == 0 && i < UNITS; i++)
        units[worker->number][i].flushed = acked[i];
    return r;
}

/* ---- what a worker does ---------------------------------------------------------------------- */

/* The next version of each unit, or the next that is zeros. */
static void worker_issue(const struct worker *worker, unsigned first, unsigned count, bool zeros)
{
    AUTO_LOCK(&lock);
    for (unsigned i = first; i < first + count; i++)
    {
        struct unit *unit = &units[worker->number][i];
        unit->issued = zeros ? (unit->issued / ZERO_EVERY + 1) * ZERO_EVERY : unit->issued + 1;
    }
}

static void worker_acknowledge(const struct worker *worker, unsigned first, unsigned count)
{
    AUTO_LOCK(&lock);
    for (unsigned i = first; i < first + count; i++)
        units[worker->number][i].acked = units[worker->number][i].issued;
}

static int worker_change(struct worker *worker, unsigned first, unsigned count, bool unmap)
{
    uint8_t bytes[IO_UNITS * UNIT];
    uint32_t version[IO_UNITS];
    uint64_t offset = region_offset(worker->number) + (uint64_t)first * UNIT;
    worker_issue(worker, first, count, unmap);
    units_issued(worker->number, first, count, version);
    for (unsigned i = 0; i < count; i++)
        unit_fill(bytes + (size_t)i * UNIT, worker->number, first + i, version[i]);
    int r = unmap ? worker_unmap(worker, count * UNIT, offset)
                  : worker_write(worker, bytes, count * UNIT, offset);
    if (r == 0)
        worker_acknowledge(worker, first, count);
    return r;
}

static int worker_verify(struct worker *worker, unsigned region, unsigned first, unsigned count)
{
    uint8_t bytes[IO_UNITS * UNIT];
    uint32_t low[IO_UNITS], high[IO_UNITS];
    units_acked(region, first, count, low);
    int r =
        worker_read(worker, bytes, count * UNIT, region_offset(region) + (uint64_t)first * UNIT);
    if (r != 0)
        return r;
    units_issued(region, first, count, high);
    units_check(worker->is_iscsi ? "read by iSCSI" : "read by NBD", bytes, region, first, count,
                low, high, true);
    return 0;
}

static int worker_step(struct worker *worker)
{
    uint64_t dice = churn_random(&worker->seed) >> 8;
    unsigned count = 1 + (unsigned)(dice % IO_UNITS);
    unsigned first = (unsigned)(dice / 64 % (UNITS - count + 1));
    unsigned what = (unsigned)(dice / 65536 % 100);
    /* A neighbour's region of the same LUN, written by the other protocol as often as not. */
    unsigned other =
        worker->number / PER_LUN * PER_LUN + (unsigned)(dice / (65536 * 100) % PER_LUN);
    if (what < 40)
        return worker_change(worker, first, count, false);
    if (what < 48)
        return worker_change(worker, first, count, true);
    if (what < 55)
        return worker_flush(worker);
    return worker_verify(worker, what < 75 ? worker->number : other, first, count);
}

/*
 * After the server was killed: a unit may hold, sector by sector, any version since the last flush.
 * Then it is written anew, so that there is one again.
 */
static int worker_recover(struct worker *worker)
{
    int r = worker_connect(worker);
    for (unsigned first = 0; r == 0 && first < UNITS; first += IO_UNITS)
        r = worker_verify(worker, worker->number, first, IO_UNITS);
    for (unsigned first = 0; r == 0 && first < UNITS; first += IO_UNITS)
        r = worker_change(worker, first, IO_UNITS, false);
    return r == 0 ? worker_flush(worker) : r;
}

static enum phase phase_now(void)
{
    AUTO_LOCK(&lock);
    return phase;
}

/* Counts this worker as one that waits, until the phase is no longer @now. */
static enum phase phase_await_next(enum phase now)
{
    AUTO_LOCK(&lock);
    waiting++;
    condition_wake_all(&changed);
    while (phase == now)
        condition_wait(&changed, &lock);
    return phase;
}

static void *worker_run(void *opaque)
{
    struct worker *worker = opaque;
    if (worker_connect(worker) != 0)
        churn_fail("no connection", worker->number, 0, 0, 0);
    for (enum phase now = PHASE_RUN; now != PHASE_END; now = phase_now())
    {
        if (now == PHASE_RUN || now == PHASE_LOSE)
        {
            if (worker_step(worker) == 0)
                continue;
            now = phase_now();
            if (now != PHASE_LOSE)
            {
                churn_fail("an error without reason", worker->number, 0, 0, 0);
                break;
            }
            worker_disconnect(worker);
            phase_await_next(PHASE_LOSE);
        }
        else if (now == PHASE_RECOVER)
        {
            if (worker_recover(worker) != 0)
            {
                churn_fail("no recovery", worker->number, 0, 0, 0);
                break;
            }
            phase_await_next(PHASE_RECOVER);
        }
    }
    worker_disconnect(worker);
    return NULL;
}

/* ---- main: the phases ------------------------------------------------------------------------ */

static void phase_begin(enum phase next)
{
    AUTO_LOCK(&lock);
    phase = next;
    waiting = 0;
    condition_wake_all(&changed);
}

static bool phase_await_workers(void)
{
    AUTO_LOCK(&lock);
    while (waiting < WORKERS && failures == 0)
        condition_wait_ms(&changed, &lock, 1000);
    return failures == 0;
}

static bool is_good(void)
{
    AUTO_LOCK(&lock);
    return failures == 0;
}

/* Until the workers have done so many requests more; not a matter of time. */
static void let_them_work(uint64_t requests)
{
    uint64_t before[WORKERS] = {0};
    for (unsigned i = 0; i < WORKERS; i++)
    {
        AUTO_LOCK(&lock);
        for (unsigned unit = 0; unit < UNITS; unit++)
            before[i] += units[i][unit].issued;
    }
    for (unsigned i = 0; i < WORKERS && is_good(); i++)
        for (uint64_t now = 0; now < before[i] + requests && is_good();)
        {
            now = 0;
            AUTO_LOCK(&lock);
            for (unsigned unit = 0; unit < UNITS; unit++)
                now += units[i][unit].issued;
            if (now < before[i] + requests)
                condition_wait_ms(&changed, &lock, 5);
        }
}

static void kill_and_recover(void)
{
    phase_begin(PHASE_LOSE);
    nbd_server_kill(&both.server);
    if (!phase_await_workers())
        return;
    {
        AUTO_LOCK(&lock);
        for (unsigned i = 0; i < WORKERS; i++)
            for (unsigned unit = 0; unit < UNITS; unit++)
                units[i][unit].acked = units[i][unit].flushed;
    }
    both_serve(&both, true);
    phase_begin(PHASE_RECOVER);
    if (phase_await_workers())
        phase_begin(PHASE_RUN);
}

/* Requests begun by all workers. */
static uint64_t count_issued(void)
{
    uint64_t sum = 0;
    AUTO_LOCK(&lock);
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned unit = 0; unit < UNITS; unit++)
            sum += units[i][unit].issued;
    return sum;
}

/* The server does not run for a while, as on a machine that is suspended: every worker waits for an
 * answer then, and gets it afterwards. */
static void stop_and_continue(void)
{
    siginfo_t info;
    INVARIANT(kill(both.server.pid, SIGSTOP) == 0);
    INVARIANT(waitid(P_PID, (id_t)both.server.pid, &info, WSTOPPED | WNOWAIT) == 0);
    uint64_t before;
    do
    {
        before = count_issued();
        AUTO_LOCK(&lock);
        condition_wait_ms(&changed, &lock, 300);
    } while (count_issued() != before);
    INVARIANT(kill(both.server.pid, SIGCONT) == 0);
    let_them_work(50);
}

/* ---- main: management ------------------------------------------------------------------------ */

struct versions
{
    uint32_t low[PER_LUN][UNITS], high[PER_LUN][UNITS];
};

/* All regions of a LUN or its clone, by either protocol. */
static void clone_check(unsigned lun, struct iscsi_context *iscsi, int number,
                        struct nbd_handle *nbd, const struct versions *versions)
{
    AUTO_FREE uint8_t *bytes = malloc((size_t)UNITS * UNIT);
    INVARIANT(bytes);
    for (unsigned i = 0; i < PER_LUN; i++)
    {
        int r = iscsi ? both_read(iscsi, number, lun_sectors[lun], bytes, UNITS * UNIT,
                                  region_offset(i))
                      : nbd_pread(nbd, bytes, (size_t)UNITS * UNIT, region_offset(i), 0);
        if (r != 0)
            churn_fail("a clone cannot be read", lun * PER_LUN + i, 0, 0, 0);
        else
            units_check(iscsi ? "clone read by iSCSI" : "clone read by NBD", bytes,
                        lun * PER_LUN + i, 0, UNITS, versions->low[i], versions->high[i], false);
    }
}

struct victim
{
    struct iscsi_context *iscsi;
    struct nbd_handle *nbd;
    int number;
    uint32_t sector;
    bool was_cut;
};

/* Writes a clone until it is taken away. */
static void *victim_run(void *opaque)
{
    struct victim *victim = opaque;
    uint8_t bytes[UNIT];
    memset(bytes, 0xee, sizeof(bytes));
    while (!victim->was_cut)
    {
        int r;
        RETRIED(r, both_write(victim->iscsi, victim->number, victim->sector, bytes, UNIT, 0));
        victim->was_cut = r != 0;
    }
    return NULL;
}

/* Clones, maps, verifies by both, unmaps below a writer, deletes below an NBD client. */
static void clone_round(unsigned round)
{
    unsigned lun = round % 2;
    int number = 10 + (int)round;
    struct versions versions = {0};
    for (unsigned i = 0; i < PER_LUN; i++)
        units_acked(lun * PER_LUN + i, 0, UNITS, versions.low[i]);
    both_do(&both, "lun clone %s clone%u", lun_names[lun], round);
    for (unsigned i = 0; i < PER_LUN; i++)
        units_issued(lun * PER_LUN + i, 0, UNITS, versions.high[i]);
    both_do(&both, "lun map clone%u --igroup g --lun-id %d", round, number);
    char name[32];
    snprintf(name, sizeof(name), "clone%u", round);
    struct victim victim = {.number = number, .sector = lun_sectors[lun]};
    victim.iscsi = both_login(&both, round % 2 ? BOTH_A : BOTH_B, 0x200 + round, number);
    victim.nbd = both_connect(&both, name);
    clone_check(lun, victim.iscsi, number, NULL, &versions);
    clone_check(lun, NULL, 0, victim.nbd, &versions);
    pthread_t thread;
    INVARIANT(pthread_create(&thread, NULL, victim_run, &victim) == 0);
    both_do(&both, "lun unmap clone%u --igroup g", round);
    pthread_join(thread, NULL);
    iscsi_destroy_context(victim.iscsi);
    both_do(&both, "lun delete clone%u --force", round);
    if (nbd_pwrite(victim.nbd, name, sizeof(name), 0, 0) == 0)
        churn_fail("a deleted clone takes writes", lun * PER_LUN, 0, 0, 0);
    nbd_close(victim.nbd);
}

static void resize_round(unsigned round)
{
    both_do(&both, "lun resize %s %d", lun_names[round % 2], LUN_BYTES + (8 << 20));
    both_do(&both, "lun resize %s %d --force", lun_names[round % 2], LUN_BYTES);
}

static void end_and_verify(void)
{
    phase_begin(PHASE_END);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned lun = 0; lun < 2; lun++)
    {
        struct versions versions = {0};
        for (unsigned i = 0; i < PER_LUN; i++)
        {
            units_acked(lun * PER_LUN + i, 0, UNITS, versions.low[i]);
            units_issued(lun * PER_LUN + i, 0, UNITS, versions.high[i]);
        }
        struct iscsi_context *iscsi = both_login(&both, BOTH_A, 0x300, lun_numbers[lun]);
        struct nbd_handle *nbd = both_connect(&both, lun_names[lun]);
        clone_check(lun, iscsi, lun_numbers[lun], NULL, &versions);
        clone_check(lun, NULL, 0, nbd, &versions);
        iscsi_destroy_context(iscsi);
        nbd_close(nbd);
    }
}

static void begin(uint64_t seed)
{
    lock_init(&lock, LOCK_RANK_LEAF);
    condition_init(&changed);
    both_start(&both, "1G");
    for (unsigned lun = 0; lun < 2; lun++)
    {
        both_do(&both, "lun create %s %d --sector %u", lun_names[lun], LUN_BYTES, lun_sectors[lun]);
        both_do(&both, "lun map %s --igroup g --lun-id %d", lun_names[lun], lun_numbers[lun]);
    }
    for (unsigned i = 0; i < WORKERS; i++)
    {
        workers[i] = (struct worker){.number = i,
                                     .is_iscsi = i % PER_LUN < PER_LUN / 2,
                                     .seed = (seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15)};
        INVARIANT(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) == 0);
    }
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 4;
    const char *given = argc > 2 ? argv[2] : getenv("LUNETTE_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
    if (!both_is_durable())
    {
        puts("SKIP: the engine in memory keeps nothing");
        return 77;
    }
    begin(seed);
    for (unsigned round = 0; round < rounds && is_good(); round++)
    {
        let_them_work(200);
        clone_round(round);
        resize_round(round);
        if (is_good())
            stop_and_continue();
        if (round % 2 && is_good())
            kill_and_recover();
    }
    let_them_work(200);
    end_and_verify();
    uint64_t requests = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        requests += workers[i].requests;
    printf("%u rounds, seed %" PRIu64 ": %" PRIu64 " requests, %u failures\n", rounds, seed,
           requests, failures);
    if (failures > 0)
        printf("To repeat it, as far as the machine lets it:\n    %s %u %" PRIu64 "\n", argv[0],
               rounds, seed);
    both_end(&both);
    condition_destroy(&changed);
    lock_destroy(&lock);
    return failures > 0;
}
