/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loans: what they show, when there are none, and that nothing of another LUN gets under one,
 * whatever is deleted or restored meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lun/pool/device.h"
#include "lun/pool/device_map.h"
#include "lun/volume/lun_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* ---- a simulated disk that lends ----------------------------------------------------------- */

static struct
{
    struct device_ops ops;
    unsigned out;
    int refuses; /* with this error */
} lender;

/* Nobody reads from there. */
static const uint8_t lender_bytes[1];

static int lender_lend(struct device *device, uint64_t len, uint64_t offset, const void **at)
{
    (void)device;
    (void)len;
    (void)offset;
    *at = lender_bytes;
    lender.out += lender.refuses == 0;
    return lender.refuses;
}

static void lender_take_back(struct device *device, uint64_t offset)
{
    (void)device;
    (void)offset;
    lender.out--;
}

/* "a" with 64 blocks, of which the first eight are mapped. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 1, 0), 0);
    struct device *device = host.pool->device;
    lender.ops = *device->ops;
    lender.ops.lend = lender_lend;
    lender.ops.take_back = lender_take_back;
    lender.out = 0;
    lender.refuses = 0;
    device->ops = &lender.ops;
}

static void stop(void)
{
    CU_ASSERT_EQUAL(lender.out, 0);
    CU_ASSERT_EQUAL(atomic_load(&host.pool->loans.counts[0]), 0);
    CU_ASSERT_EQUAL(atomic_load(&host.pool->loans.counts[1]), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "%s\n", host.said);
    host_stop(&host);
}

static struct lun *open_lun(const char *name)
{
    struct lun *lun = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, LUN_READ_ONLY, &lun, &host.why), 0);
    return lun;
}

static bool loan_holds(const struct lun_loan *loan, uint8_t value)
{
    static uint8_t bytes[4 * BLK_BYTES];
    CU_ASSERT_EQUAL(lun_loan_read(loan, bytes, sizeof(bytes), 0), 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* All background work but checkpoints. */
static void work(void)
{
    int r;
    while ((r = pool_run_job_step(host.pool)) > 0)
        continue;
    CU_ASSERT_EQUAL(r, 0);
}

/* ---- lines that go while they are lent ----------------------------------------------------- */

static _Atomic bool worker_is_done;

static void *worker_run(void *opaque)
{
    int *r = opaque;
    while ((*r = pool_run_job_step(host.pool)) > 0)
        continue;
    atomic_store(&worker_is_done, true);
    return NULL;
}

/*
 * Block 2 of "b" is lent, which @go takes from it. Then all work is done that can be, while
 * "@other" has shared that block and writes to it, and again when the loan is back, when it is its
 * own.
 */
static void lent_while(void (*go)(void), const char *other, uint8_t value)
{
    struct lun *lun = open_lun("b");
    struct lun_loan loan;
    work();
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, 4 * BLK_BYTES, 0, &loan), 0);
    CU_ASSERT_TRUE(loan_holds(&loan, value));
    CU_ASSERT_TRUE(loan_is_awaited(host.pool));
    uint32_t epoch = atomic_load(&host.pool->loans.now);
    go();
    pthread_t worker;
    int r = 0;
    atomic_store(&worker_is_done, false);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&worker, NULL, worker_run, &r), 0);
    while (atomic_load(&host.pool->loans.now) == epoch && !atomic_load(&worker_is_done))
        sched_yield();
    CU_ASSERT_FALSE(atomic_load(&worker_is_done));
    /* Nothing is held meanwhile: this waits for management, and the write for nothing. */
    CU_ASSERT_EQUAL(lun_set_comment(host.pool, other, "still there", &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, other, 0, 4, 9, 0), 0);
    CU_ASSERT_TRUE(loan_holds(&loan, value));
    lun_return(&loan);
    CU_ASSERT_EQUAL(pthread_join(worker, NULL), 0);
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_TRUE(loan_is_awaited(host.pool));
    CU_ASSERT_TRUE(host_holds(&host, other, 0, 4, 9));
    lun_close(lun);
}

static void delete_b(void)
{
    CU_ASSERT_EQUAL(lun_delete(host.pool, "b", false, LUN_FORCE, &host.why), 0);
}

static void test_deleted(void)
{
    start();
    host_clone(&host, "a", "b");
    lent_while(delete_b, "a", 1);
    stop();
}

static void restore_b(void)
{
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "b", "s", LUN_FORCE, &host.why), 0);
}

static void test_restored(void)
{
    start();
    host_clone(&host, "a", "b");
    host_snapshot(&host, "b", "s");
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 8, 5, 0), 0);
    host_clone(&host, "b", "c");
    lent_while(restore_b, "c", 5);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 8, 1));
    stop();
}

static void redeploy_b(void)
{
    const char *names[] = {"b"};
    /* The second one replaces what the first one kept. */
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "golden", names, 1, "u", LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "golden", names, 1, "u", LUN_FORCE, &host.why), 0);
}

static void test_redeployed(void)
{
    start();
    host_create(&host, "golden", 64);
    CU_ASSERT_EQUAL(host_write(&host, "golden", 0, 8, 7, 0), 0);
    host_clone(&host, "a", "b");
    lent_while(redeploy_b, "a", 1);
    stop();
}

/* A snapshot, whose point is merged into the LUN. */
static void test_snapshot_deleted(void)
{
    start();
    host_snapshot(&host, "a", "s");
    struct lun *lun = open_lun("a@s");
    struct lun_loan loan;
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, BLK_BYTES, 0, &loan), 0);
    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", LUN_FORCE, &host.why), 0);
    CU_ASSERT_FALSE(loan_is_awaited(host.pool));
    lun_return(&loan);
    work();
    CU_ASSERT_TRUE(loan_is_awaited(host.pool));
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 0, &loan), -ESTALE);
    lun_close(lun);
    stop();
}

/* A line goes between a job's wait and its step: the merge waits again. */
static void test_late_departure(void)
{
    start();
    host_clone(&host, "a", "b");
    work();
    delete_b();
    while (line_is_hidden_point(host_line(&host, "a")->predecessor) &&
           host_line(&host, "a")->predecessor->child_count > 1)
        CU_ASSERT_EQUAL_FATAL(pool_run_job_step(host.pool), 1);
    loan_note_departure(host.pool); /* so that the first wait shows */
    uint32_t epoch = atomic_load(&host.pool->loans.now), loan;
    pthread_t worker;
    int r = 0;
    atomic_store(&worker_is_done, false);
    lock_take(&host.pool->management);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&worker, NULL, worker_run, &r), 0);
    while (atomic_load(&host.pool->loans.now) == epoch)
        sched_yield();
    loan = epochs_enter(&host.pool->loans);
    loan_note_departure(host.pool);
    lock_release(&host.pool->management);
    while (atomic_load(&host.pool->loans.now) == epoch + 1 && !atomic_load(&worker_is_done))
        sched_yield();
    CU_ASSERT_FALSE(atomic_load(&worker_is_done));
    CU_ASSERT_PTR_NOT_NULL(host_line(&host, "a")->predecessor);
    epochs_leave(&host.pool->loans, loan);
    CU_ASSERT_EQUAL(pthread_join(worker, NULL), 0);
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_PTR_NULL(host_line(&host, "a")->predecessor);
    stop();
}

/* What is freed under a loan is not used again: a checkpoint waits. */
static void *checkpoint_run_one(void *opaque)
{
    *(int *)opaque = pool_checkpoint(host.pool);
    atomic_store(&worker_is_done, true);
    return NULL;
}

static void test_freed(void)
{
    start();
    struct lun *lun = open_lun("a");
    struct lun_loan loan;
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, 4 * BLK_BYTES, 0, &loan), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 0, 8), 0);
    uint32_t epoch = atomic_load(&host.pool->reads.now);
    pthread_t thread;
    int r = -1;
    atomic_store(&worker_is_done, false);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, checkpoint_run_one, &r), 0);
    while (atomic_load(&host.pool->reads.now) == epoch && !atomic_load(&worker_is_done))
        sched_yield();
    CU_ASSERT_EQUAL(host_write(&host, "a", 16, 32, 3, 0), 0);
    CU_ASSERT_TRUE(loan_holds(&loan, 1));
    CU_ASSERT_FALSE(atomic_load(&worker_is_done));
    lun_return(&loan);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(r, 0);
    lun_close(lun);
    stop();
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void test_refusals(void)
{
    struct lun_loan loan;
    start();
    struct lun *lun = open_lun("a");
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 64 * BLK_BYTES, &loan), -EINVAL);
    lender.refuses = -EAGAIN;
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 0, &loan), -EAGAIN);
    lender.refuses = 0;
    pool_stop_lending(host.pool);
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 0, &loan), -EAGAIN);
    pool_allow_lending(host.pool);
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 0, &loan), 0);
    lun_return(&loan);
    /* Every second block is mapped: too many parts. */
    for (uint64_t i = 16; i < 48; i += 2)
        CU_ASSERT_EQUAL(host_write(&host, "a", i, 1, 4, 0), 0);
    CU_ASSERT_EQUAL(lun_lend(lun, 16 * BLK_BYTES, 16 * BLK_BYTES, &loan), -EAGAIN);
    CU_ASSERT_EQUAL(lender.out, 0);
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, 8 * BLK_BYTES, 16 * BLK_BYTES, &loan), 0);
    CU_ASSERT_EQUAL(loan.count, 8);
    CU_ASSERT_PTR_NULL(loan.parts[1].at);
    uint8_t bytes[3 * BLK_BYTES];
    CU_ASSERT_EQUAL(lun_loan_read(&loan, bytes, sizeof(bytes), BLK_BYTES - 1), 0);
    CU_ASSERT_EQUAL(bytes[0], 4);
    CU_ASSERT_EQUAL(bytes[1], 0);
    CU_ASSERT_EQUAL(bytes[BLK_BYTES + 1], 4);
    CU_ASSERT_EQUAL(bytes[2 * BLK_BYTES + 1], 0);
    CU_ASSERT_EQUAL(lun_loan_read(&loan, bytes, BLK_BYTES, 8 * BLK_BYTES - 1), -EINVAL);
    lun_return(&loan);
    lun_close(lun);
    host_snapshot(&host, "a", "s");
    lun = open_lun("a@s..a");
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 0, &loan), -ENOTSUP);
    lun_close(lun);
    lun = open_lun("a");
    lender.ops.lend = NULL;
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 0, &loan), -ENOTSUP);
    lun_close(lun);
    stop();
}

/* ---- a file -------------------------------------------------------------------------------- */

static char path[64];
static struct pool *file_pool;

enum
{
    FILE_BLKS = 256,
};

static uint8_t file_byte(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / 251);
}

/* "f", of which the blocks from 64 to 128 are a hole. */
static struct lun *file_start(void)
{
    struct pool_create_options create = {.size_bytes = 256 << 20};
    struct lun_create_args args = {.name = "f", .size_bytes = FILE_BLKS * BLK_BYTES};
    struct lun *lun = NULL;
    static uint8_t bytes[FILE_BLKS * BLK_BYTES];
    snprintf(path, sizeof(path), "/tmp/test-loan-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    CU_ASSERT_EQUAL_FATAL(pool_create(env_system(), path, &create, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(
        pool_open(env_system(), path, &(struct pool_open_options){0}, &file_pool, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(lun_create(file_pool, &args, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(lun_open(file_pool, "f", 0, &lun, NULL), 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = file_byte(i);
    CU_ASSERT_EQUAL(lun_write(lun, bytes, 64 * BLK_BYTES, 0, 0), 0);
    CU_ASSERT_EQUAL(lun_write(lun, bytes + 128 * BLK_BYTES, 128 * BLK_BYTES, 128 * BLK_BYTES, 0),
                    0);
    CU_ASSERT_EQUAL(lun_flush(lun), 0);
    return lun;
}

static void file_stop(struct lun *lun)
{
    lun_close(lun);
    CU_ASSERT_EQUAL(pool_close(file_pool), 0);
    unlink(path);
}

/* What the kernel copies out of it. */
static bool file_loan_is_right(const struct lun_loan *loan, uint64_t offset)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    bool is_right = true;
    for (unsigned i = 0; i < loan->count; i++)
    {
        const struct lun_loan_part *part = &loan->parts[i];
        for (size_t at = 0; at < part->len && part->at; at += BLK_BYTES)
        {
            uint8_t bytes[BLK_BYTES];
            CU_ASSERT_EQUAL(write(fds[0], (const uint8_t *)part->at + at, BLK_BYTES), BLK_BYTES);
            CU_ASSERT_EQUAL(read(fds[1], bytes, BLK_BYTES), BLK_BYTES);
            for (size_t j = 0; j < BLK_BYTES; j++)
                is_right &= bytes[j] == file_byte(offset + at + j);
        }
        offset += part->len;
    }
    close(fds[0]);
    close(fds[1]);
    return is_right;
}

static void test_file(void)
{
    struct lun_loan loan;
    struct lun *lun = file_start();
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, 16 * BLK_BYTES, 3 * BLK_BYTES, &loan), 0);
    CU_ASSERT_EQUAL(loan.count, 1);
    CU_ASSERT_TRUE(file_loan_is_right(&loan, 3 * BLK_BYTES));
    lun_return(&loan);
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, 80 * BLK_BYTES, 56 * BLK_BYTES, &loan), 0);
    CU_ASSERT_EQUAL(loan.count, 3);
    CU_ASSERT_PTR_NULL(loan.parts[1].at);
    CU_ASSERT_EQUAL(loan.parts[1].len, 64 * BLK_BYTES);
    CU_ASSERT_TRUE(file_loan_is_right(&loan, 56 * BLK_BYTES));
    lun_return(&loan);
    file_stop(lun);
}

/* Neither is in memory, so both are refused, and read() says what there is. */
static void test_file_absent(void)
{
    struct lun_loan loan;
    uint8_t bytes[BLK_BYTES];
    struct lun *lun = file_start();
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    struct statfs below;
    CU_ASSERT_EQUAL_FATAL(fstat(fd, &st), 0);
    CU_ASSERT_EQUAL_FATAL(fstatfs(fd, &below), 0);
    if (below.f_type == TMPFS_MAGIC) /* all of it is always in memory */
    {
        close(fd);
        file_stop(lun);
        return;
    }
    CU_ASSERT_EQUAL(fsync(fd), 0);
    CU_ASSERT_EQUAL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    CU_ASSERT_EQUAL(lun_lend(lun, 4 * BLK_BYTES, 8 * BLK_BYTES, &loan), -EAGAIN);
    CU_ASSERT_EQUAL(lun_read(lun, bytes, sizeof(bytes), 8 * BLK_BYTES), 0);
    CU_ASSERT_EQUAL(bytes[1], file_byte(8 * BLK_BYTES + 1));
    CU_ASSERT_EQUAL(lun_read(lun, bytes, sizeof(bytes), 8 * BLK_BYTES), 0);
    CU_ASSERT_EQUAL_FATAL(lun_lend(lun, BLK_BYTES, 8 * BLK_BYTES, &loan), 0);
    CU_ASSERT_TRUE(file_loan_is_right(&loan, 8 * BLK_BYTES));
    /* Cut off under the loan: the kernel says so, and nobody is killed. */
    uint64_t cut = loan.parts[0].device_offset;
    AUTO_FREE uint8_t *tail = malloc((size_t)st.st_size - cut);
    CU_ASSERT_EQUAL(pread(fd, tail, (size_t)st.st_size - cut, (off_t)cut), st.st_size - (off_t)cut);
    CU_ASSERT_EQUAL(ftruncate(fd, (off_t)cut), 0);
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CU_ASSERT_EQUAL(write(fds[0], loan.parts[0].at, BLK_BYTES), -1);
    CU_ASSERT_EQUAL(errno, EFAULT);
    CU_ASSERT_EQUAL(lun_loan_read(&loan, bytes, sizeof(bytes), 0), -EIO);
    lun_return(&loan);
    CU_ASSERT_EQUAL(lun_lend(lun, BLK_BYTES, 8 * BLK_BYTES, &loan), -EAGAIN);
    CU_ASSERT_EQUAL(lun_read(lun, bytes, sizeof(bytes), 8 * BLK_BYTES), -EIO);
    CU_ASSERT_EQUAL(pwrite(fd, tail, (size_t)st.st_size - cut, (off_t)cut),
                    st.st_size - (off_t)cut);
    close(fds[0]);
    close(fds[1]);
    close(fd);
    file_stop(lun);
}

static CU_TestInfo loan_tests[] = {
    {"a clone that is deleted", test_deleted},
    {"a LUN that is restored", test_restored},
    {"a LUN that is redeployed", test_redeployed},
    {"a snapshot that is deleted", test_snapshot_deleted},
    {"a line that goes late", test_late_departure},
    {"blocks that are freed", test_freed},
    {"what is not lent", test_refusals},
    {"what a file lends", test_file},
    {"what is not in memory, or nowhere", test_file_absent},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"loan", NULL, NULL, NULL, NULL, loan_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
