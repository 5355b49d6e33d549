/* SPDX-License-Identifier: BSD-3-Clause */
/* The real device on system calls that are interrupted, do a part, or fail: what callers get, and
 * what is on the disk then. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/lun.h"
#include "lun/pool/device.h"
#include "tests/lib/cunit_main.h"

enum
{
    FILE_BYTES = 1 << 20,
    LEN = 16 << 10, /* one system call, if nothing happens */
};

/* ---- system calls --------------------------------------------------------------------------- */

/* What the next calls do: fail, or transfer @most bytes (0: all). */
struct fate
{
    int error;
    size_t most;
    bool is_late; /* it fails when the bytes are written: in the sync that is part of it */
};

static const struct fate *fates;
static size_t fate_count, syncs;

static struct fate fate_next(void)
{
    struct fate fate = {0};
    if (fate_count > 0)
    {
        fate = *fates++;
        fate_count--;
    }
    return fate;
}

#define FATES(...)                                                                                 \
    do                                                                                             \
    {                                                                                              \
        static const struct fate list_[] = {__VA_ARGS__};                                          \
        fates = list_;                                                                             \
        fate_count = ARRAY_SIZE(list_);                                                            \
    } while (0)

ssize_t __real_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int iov_count, off_t offset, int flags);
int __wrap_fdatasync(int fd);

static ssize_t fail(int error)
{
    errno = error;
    return -1;
}

static size_t part(size_t len, size_t most)
{
    return most && most < len ? most : len;
}

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset)
{
    struct fate fate = fate_next();
    return fate.error ? fail(fate.error) : __real_pread(fd, buf, part(len, fate.most), offset);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    struct fate fate = fate_next();
    return fate.error ? fail(fate.error) : __real_pwrite(fd, buf, part(len, fate.most), offset);
}

/* The device gives it one vector. */
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int iov_count, off_t offset, int flags)
{
    CU_ASSERT_EQUAL_FATAL(iov_count, 1);
    CU_ASSERT_EQUAL(flags, RWF_DSYNC);
    struct fate fate = fate_next();
    if (fate.error && !fate.is_late)
        return fail(fate.error);
    ssize_t done = __real_pwrite(fd, iov->iov_base, part(iov->iov_len, fate.most), offset);
    return fate.error ? fail(fate.error) : done;
}

int __wrap_fdatasync(int fd)
{
    (void)fd;
    syncs++;
    struct fate fate = fate_next();
    return fate.error ? (int)fail(fate.error) : 0;
}

/* What was asked of the file; fstat() asks for all. */
static unsigned asked;

int __real_statx(int dir, const char *restrict path, int flags, unsigned mask,
                 struct statx *restrict st);
int __wrap_statx(int dir, const char *restrict path, int flags, unsigned mask,
                 struct statx *restrict st);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);

int __wrap_statx(int dir, const char *restrict path, int flags, unsigned mask,
                 struct statx *restrict st)
{
    asked |= mask;
    return __real_statx(dir, path, flags, mask, st);
}

int __wrap_fstat(int fd, struct stat *st)
{
    asked |= STATX_BASIC_STATS;
    return __real_fstat(fd, st);
}

/* ---- the device ----------------------------------------------------------------------------- */

static char path[] = "/tmp/device-errors-XXXXXX";
static struct device *device;
static uint8_t written[LEN], got[LEN];

static void set_up(void)
{
    struct device_file_options options = {.create = true, .size_bytes = FILE_BYTES};
    snprintf(path, sizeof(path), "/tmp/device-errors-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    CU_ASSERT_EQUAL_FATAL(device_file_open(path, &options, &device, NULL), 0);
    for (size_t i = 0; i < LEN; i++)
        written[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
    memset(got, 0, sizeof(got));
    fate_count = syncs = 0;
}

static void tear_down(void)
{
    device_close(device);
    unlink(path);
}

static bool is_there(void)
{
    CU_ASSERT_EQUAL(fate_count, 0); /* all that was in store has happened */
    CU_ASSERT_EQUAL(device_read(device, got, LEN, 4096), 0);
    return memcmp(got, written, LEN) == 0;
}

static void test_read(void)
{
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), 0);
    FATES({.error = EINTR}, {.most = 100}, {.error = EINTR}, {.most = 4096});
    CU_ASSERT_EQUAL(device_read(device, got, LEN, 4096), 0);
    CU_ASSERT_EQUAL(memcmp(got, written, LEN), 0);
    CU_ASSERT_EQUAL(fate_count, 0);
    FATES({.most = 100}, {.error = EIO});
    CU_ASSERT_EQUAL(device_read(device, got, LEN, 4096), -EIO);
}

static void test_write(void)
{
    FATES({.error = EINTR}, {.most = 1000}, {.error = EINTR}, {.most = 1});
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), 0);
    CU_ASSERT_TRUE(is_there());
    /* A quota of the file system is as a full one to whoever is told of it. */
    FATES({.most = 1000}, {.error = EDQUOT});
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), -ENOSPC);
    FATES({.error = EIO});
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), -EIO);
}

static void test_durable(void)
{
    FATES({.error = EINTR});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), 0);
    CU_ASSERT_TRUE(is_there());
    CU_ASSERT_EQUAL(syncs, 0);
    FATES({.error = EDQUOT});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -ENOSPC);
    FATES({.error = EIO});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -EIO);
    CU_ASSERT_EQUAL(syncs, 0);
}

/* Where the file system cannot, or does a part only, it is written and synced. */
static void test_durable_otherwise(void)
{
    FATES({.error = EOPNOTSUPP}, {.most = 1000});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), 0);
    CU_ASSERT_EQUAL(syncs, 1);
    CU_ASSERT_TRUE(is_there());
    written[LEN - 1] ^= 1; /* behind the part that is done */
    FATES({.most = LEN / 2});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), 0);
    CU_ASSERT_EQUAL(syncs, 2);
    CU_ASSERT_TRUE(is_there());
    /* Neither an error of the write nor one of the sync is lost. */
    FATES({.error = EOPNOTSUPP}, {.error = EIO});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -EIO);
    CU_ASSERT_EQUAL(syncs, 2);
    FATES({.error = EOPNOTSUPP}, {.most = 0}, {.error = EIO});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -EIO);
    CU_ASSERT_EQUAL(syncs, 3);
}

static void test_sync(void)
{
    CU_ASSERT_EQUAL(device_sync(device), 0);
    FATES({.error = EIO});
    CU_ASSERT_EQUAL(device_sync(device), -EIO);
    /* It is never asked for again. */
    FATES({.error = ENOMEM});
    CU_ASSERT_EQUAL(device_sync(device), -ENOMEM);
    FATES({.error = EINTR});
    CU_ASSERT_EQUAL(device_sync(device), -EINTR);
    CU_ASSERT_EQUAL(syncs, 4);
}

/* ---- no memory in the kernel ---------------------------------------------------------------- */

#define TIMES_7(...)                                                                               \
    __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__

/* For a while, or for as long as anybody waits for it. */
static void test_memory(void)
{
    FATES({.error = ENOMEM}, {.most = 1000}, {.error = EAGAIN}, {.error = ENOMEM});
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), 0);
    CU_ASSERT_TRUE(is_there());
    memset(got, 0, sizeof(got));
    FATES({.error = ENOMEM}, {.most = 100}, {.error = EAGAIN});
    CU_ASSERT_EQUAL(device_read(device, got, LEN, 4096), 0);
    CU_ASSERT_EQUAL(memcmp(got, written, LEN), 0);
    CU_ASSERT_EQUAL(fate_count, 0);
    FATES(TIMES_7({.error = ENOMEM}), {.error = ENOMEM});
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), -ENOMEM);
    CU_ASSERT_EQUAL(fate_count, 0);
    FATES(TIMES_7({.error = EAGAIN}), {.error = EAGAIN});
    CU_ASSERT_EQUAL(device_read(device, got, LEN, 4096), -ENOMEM);
    CU_ASSERT_EQUAL(fate_count, 0);
}

/* A durable write is made again if it wrote nothing, for then nothing was synced; else it was the
 * sync that failed. What is looked at before is the second fate. */
static void test_durable_memory(void)
{
    FATES({.error = ENOMEM}, {.most = 0}, {.error = EAGAIN}, {.most = 0}, {.error = EINTR});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), 0);
    CU_ASSERT_TRUE(is_there());
    written[0] ^= 1;
    FATES({.error = ENOMEM, .is_late = true}, {.most = 0});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -EIO);
    CU_ASSERT_TRUE(is_there());
    written[0] ^= 1;
    FATES({.error = ENOMEM, .is_late = true, .most = 4096}, {.most = 0});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -EIO);
    CU_ASSERT_EQUAL(fate_count, 0);
    /* It cannot be looked at. */
    written[0] ^= 1;
    FATES({.error = ENOMEM}, {.error = EIO});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -EIO);
    CU_ASSERT_EQUAL(fate_count, 0);
    FATES(TIMES_7({.error = ENOMEM}, {.most = 0}), {.error = ENOMEM}, {.most = 0});
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), -ENOMEM);
    CU_ASSERT_EQUAL(fate_count, 0);
    CU_ASSERT_EQUAL(syncs, 0);
}

/* Who asks for times has the kernel write the inode with each sync, too. */
static void test_size_alone(void)
{
    asked = 0;
    CU_ASSERT_EQUAL(device_write(device, written, LEN, 4096), 0);
    CU_ASSERT_EQUAL(device_write_durable(device, written, LEN, 4096), 0);
    CU_ASSERT_EQUAL(device_sync(device), 0);
    CU_ASSERT_EQUAL(asked, STATX_SIZE);
}

static CU_TestInfo device_error_tests[] = {
    {"reads", test_read},
    {"writes", test_write},
    {"durable writes", test_durable},
    {"durable writes where there are none", test_durable_otherwise},
    {"syncs", test_sync},
    {"writes ask for the size alone", test_size_alone},
    {"no memory in the kernel", test_memory},
    {"the same, of durable writes", test_durable_memory},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"device errors", NULL, NULL, set_up, tear_down, device_error_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
