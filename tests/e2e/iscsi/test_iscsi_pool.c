/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads of a pool in a file, many outstanding: what is in the page cache is lent and goes from
 * there to the socket, the rest is read. Every byte is looked at, whatever happens to file and LUN.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/pool/device.h"
#include "lun/pool/pool_internal.h"
#include "tests/e2e/iscsi/client.h"
#include "tests/lib/cunit_main.h"

enum
{
    POOL_READ_BYTES = 64 << 10,
    POOL_DEPTH = 32,
    POOL_SPAN_BYTES = 16 << 20, /* of the LUN; the rest is a hole */
    POOL_READS = 512,
    POOL_ROUNDS = 10,
};

/* ---- what is lent -------------------------------------------------------------------------- */

static struct
{
    const struct device_ops *inner;
    struct device_ops ops;
    _Atomic uint64_t lent, refused;
} counter;

static int counter_lend(struct device *device, uint64_t len, uint64_t offset, const void **at)
{
    int r = counter.inner->lend(device, len, offset, at);
    atomic_fetch_add(r == 0 ? &counter.lent : &counter.refused, 1);
    return r;
}

static void counter_start(struct stage *stage)
{
    struct device *device = stage->pool->device;
    counter.inner = device->ops;
    counter.ops = *device->ops;
    counter.ops.lend = counter_lend;
    device->ops = &counter.ops;
    atomic_store(&counter.lent, 0);
    atomic_store(&counter.refused, 0);
}

/* ---- a client ------------------------------------------------------------------------------ */

struct looker
{
    struct iscsi_context *iscsi;
    int lun;
    const uint8_t *expected; /* POOL_SPAN_BYTES, zeros behind them */
    uint32_t next, count, outstanding;
    _Atomic uint32_t good;
    uint32_t failed, wrong;
    struct read
    {
        struct looker *looker;
        uint64_t offset;
        struct scsi_iovec iov;
        uint8_t *bytes;
    } reads[POOL_DEPTH];
};

static void looker_submit(struct read *read);

static bool looker_is_right(const struct read *read)
{
    static const uint8_t zeros[POOL_READ_BYTES];
    for (size_t at = 0; at < POOL_READ_BYTES; at += 512)
    {
        uint64_t offset = read->offset + at;
        const uint8_t *expected =
            offset < POOL_SPAN_BYTES ? read->looker->expected + offset : zeros;
        if (memcmp(read->bytes + at, expected, 512) != 0)
            return false;
    }
    return true;
}

static void looker_done(struct iscsi_context *iscsi, int status, void *command, void *opaque)
{
    struct read *read = opaque;
    struct looker *looker = read->looker;
    (void)iscsi;
    scsi_free_scsi_task(command);
    looker->outstanding--;
    looker->good += status == SCSI_STATUS_GOOD;
    looker->failed += status != SCSI_STATUS_GOOD;
    looker->wrong += status == SCSI_STATUS_GOOD && !looker_is_right(read);
    if (looker->next < looker->count && looker->failed == 0)
        looker_submit(read);
}

static void looker_submit(struct read *read)
{
    struct looker *looker = read->looker;
    /* Off the borders of blocks, and over the end of what is written. */
    read->offset =
        (uint64_t)looker->next++ * (POOL_READ_BYTES - 1536) % (POOL_SPAN_BYTES + POOL_READ_BYTES);
    memset(read->bytes, 0xee, POOL_READ_BYTES);
    struct scsi_task *task =
        iscsi_read16_task(looker->iscsi, looker->lun, read->offset / 512, POOL_READ_BYTES, 512, 0,
                          0, 0, 0, 0, looker_done, read);
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    read->iov = (struct scsi_iovec){.iov_base = read->bytes, .iov_len = POOL_READ_BYTES};
    scsi_task_set_iov_in(task, &read->iov, 1);
    looker->outstanding++;
}

static void looker_init(struct looker *looker, const struct stage *stage, int lun,
                        const uint8_t *expected)
{
    struct choice choice = {.initiator = STAGE_INITIATOR};
    *looker = (struct looker){.lun = lun, .expected = expected};
    looker->iscsi = client_login(stage, &choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(looker->iscsi);
    CU_ASSERT_EQUAL(client_settle(looker->iscsi, lun), SCSI_STATUS_GOOD);
    for (unsigned i = 0; i < POOL_DEPTH; i++)
    {
        looker->reads[i].looker = looker;
        looker->reads[i].bytes = malloc(POOL_READ_BYTES);
    }
}

static void looker_destroy(struct looker *looker)
{
    client_logout(looker->iscsi);
    for (unsigned i = 0; i < POOL_DEPTH; i++)
        free(looker->reads[i].bytes);
}

/* @count reads, or until one fails. */
static void looker_run(struct looker *looker, uint32_t count)
{
    looker->count = count;
    looker->next = looker->failed = looker->wrong = 0;
    atomic_store(&looker->good, 0);
    for (unsigned i = 0; i < POOL_DEPTH; i++)
        looker_submit(&looker->reads[i]);
    while (looker->outstanding > 0)
    {
        struct pollfd ready = {.fd = iscsi_get_fd(looker->iscsi),
                               .events = (short)iscsi_which_events(looker->iscsi)};
        CU_ASSERT_FATAL(poll(&ready, 1, 60000) > 0);
        CU_ASSERT_EQUAL_FATAL(iscsi_service(looker->iscsi, ready.revents), 0);
    }
    CU_ASSERT_EQUAL(looker->wrong, 0);
}

static void write_lun(struct stage *stage, const char *name, const uint8_t *bytes)
{
    struct lun *lun = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(stage->pool, name, 0, &lun, NULL), 0);
    CU_ASSERT_EQUAL(lun_write(lun, bytes, POOL_SPAN_BYTES, 0, 0), 0);
    CU_ASSERT_EQUAL(lun_flush(lun), 0);
    lun_close(lun);
}

static uint8_t *new_bytes(uint32_t seed)
{
    uint8_t *bytes = malloc(POOL_SPAN_BYTES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    client_fill(bytes, POOL_SPAN_BYTES, seed);
    return bytes;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_hot_and_cold(void)
{
    struct stage stage;
    struct looker looker;
    stage_open(&stage);
    counter_start(&stage);
    AUTO_FREE uint8_t *bytes = new_bytes(1);
    write_lun(&stage, "a", bytes);
    looker_init(&looker, &stage, 0, bytes);
    looker_run(&looker, POOL_READS);
    CU_ASSERT_EQUAL(looker.good, POOL_READS);
    CU_ASSERT(atomic_load(&counter.lent) > 0);
    int fd = open(stage.path, O_RDONLY | O_CLOEXEC);
    for (unsigned round = 0; round < 3; round++)
    {
        CU_ASSERT_EQUAL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        looker_run(&looker, POOL_READS);
        CU_ASSERT_EQUAL(looker.good, POOL_READS);
    }
    close(fd);
    looker_destroy(&looker);
    stage_close(&stage);
}

/* The file is cut behind the target's back: errors, and after its return all is well. */
static void test_cut(void)
{
    struct stage stage;
    struct looker looker;
    stage_open(&stage);
    counter_start(&stage);
    AUTO_FREE uint8_t *bytes = new_bytes(2);
    write_lun(&stage, "a", bytes);
    CU_ASSERT_EQUAL(pool_checkpoint(stage.pool), 0);
    looker_init(&looker, &stage, 0, bytes);
    looker_run(&looker, POOL_READS);
    CU_ASSERT(atomic_load(&counter.lent) > 0);
    int fd = open(stage.path, O_RDWR | O_CLOEXEC);
    struct stat st;
    CU_ASSERT_EQUAL_FATAL(fstat(fd, &st), 0);
    struct lun *lun = NULL;
    struct lun_loan loan;
    CU_ASSERT_EQUAL_FATAL(lun_open(stage.pool, "a", LUN_READ_ONLY, &lun, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, 4096, POOL_SPAN_BYTES / 2, &loan), 0);
    off_t cut = (off_t)loan.parts[0].device_offset;
    lun_return(&loan);
    lun_close(lun);
    size_t len = (size_t)(st.st_size - cut);
    AUTO_FREE uint8_t *tail = malloc(len);
    CU_ASSERT_EQUAL(pread(fd, tail, len, cut), (ssize_t)len);
    CU_ASSERT_EQUAL(ftruncate(fd, cut), 0);
    looker_run(&looker, POOL_READS);
    CU_ASSERT(looker.failed > 0);
    for (size_t at = 0; at < len;)
    {
        ssize_t done = pwrite(fd, tail + at, len - at, cut + (off_t)at);
        CU_ASSERT_FATAL(done > 0);
        at += (size_t)done;
    }
    looker_run(&looker, POOL_READS);
    CU_ASSERT_EQUAL(looker.good, POOL_READS);
    close(fd);
    looker_destroy(&looker);
    stage_close(&stage);
}

struct deletion
{
    struct stage *stage;
    const struct looker *looker;
    const uint8_t *bytes;
};

/* Once reads of it are under way, "c" goes, and its source is overwritten, in place once it has the
 * blocks to itself. */
static void *delete_run(void *opaque)
{
    const struct deletion *deletion = opaque;
    struct pool *pool = deletion->stage->pool;
    while (atomic_load(&deletion->looker->good) < POOL_DEPTH)
        usleep(100);
    CU_ASSERT_EQUAL(lun_delete(pool, "c", false, LUN_FORCE, NULL), 0);
    CU_ASSERT_EQUAL(job_wait(pool, 0, 0), 0);
    write_lun(deletion->stage, "a", deletion->bytes);
    return NULL;
}

static void test_deleted(void)
{
    struct stage stage;
    struct looker looker;
    stage_open(&stage);
    counter_start(&stage);
    AUTO_FREE uint8_t *odd = new_bytes(3), *even = new_bytes(4);
    const uint8_t *bytes[2] = {odd, even};
    write_lun(&stage, "a", bytes[0]);
    for (unsigned round = 0; round < POOL_ROUNDS; round++)
    {
        struct lun_clone_args args = {.source = "a", .name = "c"};
        struct reason why = {.text = ""};
        uint32_t used;
        CU_ASSERT_EQUAL_FATAL(lun_clone(stage.pool, &args, &why), 0);
        CU_ASSERT_EQUAL_FATAL(access_map(stage.access, "c", "g", 2, &used, &why), 0);
        looker_init(&looker, &stage, 2, bytes[round % 2]);
        struct deletion deletion = {&stage, &looker, bytes[(round + 1) % 2]};
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, delete_run, &deletion), 0);
        looker_run(&looker, UINT32_MAX);
        CU_ASSERT(looker.failed > 0);
        CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
        looker_destroy(&looker);
    }
    CU_ASSERT(atomic_load(&counter.lent) > 0);
    stage_close(&stage);
}

static CU_TestInfo pool_tests[] = {
    {"in the page cache or not", test_hot_and_cold},
    {"a file that is cut", test_cut},
    {"a clone that is deleted under its reads", test_deleted},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_pool", NULL, NULL, NULL, NULL, pool_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
