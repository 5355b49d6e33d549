/* SPDX-License-Identifier: BSD-3-Clause */
/* The real device: locks against another process, short files, vectors, growing, holes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/lun.h"
#include "lun/pool/device.h"
#include "tests/lib/cunit_main.h"

enum
{
    MIB = 1 << 20
};

static char folder[] = "/tmp/device-file-XXXXXX";
static char path[64];

static struct device *open_new(void)
{
    struct device *device = NULL;
    struct device_file_options options = {.create = true, .size_bytes = MIB};
    CU_ASSERT_EQUAL_FATAL(device_file_open(path, &options, &device, NULL), 0);
    return device;
}

/* What opening says in another process. */
static int open_elsewhere(const struct device_file_options *options)
{
    pid_t child = fork();
    if (child == 0)
    {
        struct device *device;
        int r = device_file_open(path, options, &device, NULL);
        _exit(-r);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void test_locks(void)
{
    struct device *device = open_new();
    struct device_file_options write = {0}, read = {.read_only = true},
                               look = {.read_only = true, .no_lock = true};
    CU_ASSERT_EQUAL(open_elsewhere(&write), -EBUSY);
    CU_ASSERT_EQUAL(open_elsewhere(&read), -EBUSY);
    CU_ASSERT_EQUAL(open_elsewhere(&look), 0);
    device_close(device);
    CU_ASSERT_EQUAL(open_elsewhere(&write), 0);
    CU_ASSERT_EQUAL_FATAL(device_file_open(path, &read, &device, NULL), 0);
    CU_ASSERT_EQUAL(open_elsewhere(&read), 0); /* any number of readers */
    CU_ASSERT_EQUAL(open_elsewhere(&write), -EBUSY);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* The one who finds a pool busy is told by whom. */
static void test_busy_pool(void)
{
    struct reason why;
    struct pool_create_options options = {.size_bytes = 16 * MIB};
    CU_ASSERT_EQUAL_FATAL(pool_create(env_system(), path, &options, &why), 0);
    struct pool *pool = NULL;
    CU_ASSERT_EQUAL_FATAL(pool_open(env_system(), path, NULL, &pool, &why), 0);
    struct pool *other = NULL;
    CU_ASSERT_EQUAL(pool_open(env_system(), path, NULL, &other, &why), -EBUSY);
    char pid[32];
    snprintf(pid, sizeof(pid), "process %ld ", (long)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, pid));
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    CU_ASSERT_EQUAL_FATAL(pool_open(env_system(), path, NULL, &pool, &why), 0);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    CU_ASSERT_EQUAL(remove(path), 0);
}

static void test_short_file(void)
{
    struct device *device = open_new();
    uint8_t buf[4096];
    CU_ASSERT_EQUAL(device_read(device, buf, sizeof(buf), MIB - 4096), 0);
    CU_ASSERT_EQUAL(device_read(device, buf, sizeof(buf), MIB - 4095), -EIO);
    CU_ASSERT_EQUAL(device_read(device, buf, sizeof(buf), MIB), -EIO);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* A pool whose file was cut off is not opened. */
static void test_cut_pool(void)
{
    struct reason why;
    struct pool_create_options options = {.size_bytes = 16 * MIB};
    CU_ASSERT_EQUAL_FATAL(pool_create(env_system(), path, &options, &why), 0);
    CU_ASSERT_EQUAL(truncate(path, 12 * MIB), 0);
    struct pool *pool = NULL;
    CU_ASSERT_EQUAL(pool_open(env_system(), path, NULL, &pool, &why), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "cut off"));
    CU_ASSERT_EQUAL(truncate(path, 0), 0);
    CU_ASSERT_TRUE(pool_open(env_system(), path, NULL, &pool, &why) < 0);
    CU_ASSERT_EQUAL(remove(path), 0);
    CU_ASSERT_EQUAL(pool_open(env_system(), path, NULL, &pool, &why), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, path));
}

/* Vectors of many shapes end up in order, whatever they are cut into on the way. */
static void test_vectors(void)
{
    struct device *device = open_new();
    static uint8_t from[600000], to[600000];
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 2654435761u >> 13);
    static const size_t lengths[][5] = {{1, 0, 4096, 3, 70000},
                                        {600000},
                                        {65536, 65536, 65536},
                                        {200000, 1, 200000, 0, 7},
                                        {4096, 4096, 4096, 4096, 4096}};
    static const uint64_t offsets[] = {0, 1, 4096, 65535, 65536, 100001};
    for (size_t shape = 0; shape < 5; shape++)
    {
        for (size_t at = 0; at < sizeof(offsets) / sizeof(offsets[0]); at++)
        {
            struct iovec iov[5];
            size_t total = 0;
            for (unsigned i = 0; i < 5; i++)
            {
                iov[i] = (struct iovec){.iov_base = from + total, .iov_len = lengths[shape][i]};
                total += lengths[shape][i];
            }
            memset(to, 0, sizeof(to));
            CU_ASSERT_EQUAL(device_write(device, to, sizeof(to), 0), 0);
            CU_ASSERT_EQUAL(device->ops->writev(device, iov, 5, offsets[at]), 0);
            CU_ASSERT_EQUAL(device_read(device, to, total, offsets[at]), 0);
            CU_ASSERT_EQUAL(memcmp(from, to, total), 0);
        }
    }
    CU_ASSERT_EQUAL(device_sync(device), 0);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* A file that somebody cuts off is not made long again, with zeros where its blocks were. */
static void test_cut_below(void)
{
    struct device *device = open_new();
    uint8_t block[4096] = {1};
    CU_ASSERT_EQUAL(device_write(device, block, sizeof(block), MIB - 4096), 0);
    CU_ASSERT_EQUAL(truncate(path, MIB / 2), 0);
    CU_ASSERT_EQUAL(device_write(device, block, sizeof(block), MIB - 4096), -EIO);
    CU_ASSERT_EQUAL(device_write(device, block, sizeof(block), 0), -EIO);
    CU_ASSERT_EQUAL(device_write_durable(device, block, sizeof(block), MIB - 4096), -EIO);
    CU_ASSERT_EQUAL(device_read(device, block, sizeof(block), MIB - 8192), -EIO);
    struct stat st;
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, MIB / 2);
    /* Cut off by its own owner it is another matter. */
    CU_ASSERT_EQUAL(truncate(path, MIB), 0);
    CU_ASSERT_EQUAL(device->ops->shrink(device, MIB / 2), 0);
    CU_ASSERT_EQUAL(device_write(device, block, sizeof(block), 0), 0);
    CU_ASSERT_EQUAL(device->ops->grow(device, MIB), 0);
    CU_ASSERT_EQUAL(device_write(device, block, sizeof(block), MIB - 4096), 0);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* Large writes go as a whole where the page cache has all of it (device_file.c). */
static void test_cached(void)
{
    struct device *device = open_new();
    static uint8_t from[MIB], to[MIB];
    for (size_t round = 0; round < 3; round++)
    {
        /* A file without a page in the cache, with all, and with every other run of 16. */
        if (round != 1)
            CU_ASSERT_EQUAL(device->ops->discard(device, MIB, 0), 0);
        for (size_t i = 0; round == 2 && i < MIB; i += 128 << 10)
            CU_ASSERT_EQUAL(device_write(device, from, 64 << 10, i), 0);
        uint8_t before = round == 2 ? from[0] : 0;
        for (size_t i = 0; i < MIB; i++)
            from[i] = (uint8_t)(i * 7 + (i >> 10) + round);
        struct iovec iov[3] = {{.iov_base = from, .iov_len = 4097},
                               {.iov_base = from + 4097, .iov_len = MIB / 2},
                               {.iov_base = from + 4097 + MIB / 2, .iov_len = MIB / 2 - 4097 - 1}};
        CU_ASSERT_EQUAL(device_writev(device, iov, 3, 1), 0);
        CU_ASSERT_EQUAL(device_read(device, to, MIB - 1, 1), 0);
        CU_ASSERT_EQUAL(memcmp(from, to, MIB - 1), 0);
        CU_ASSERT_EQUAL(device_read(device, to, 1, 0), 0);
        CU_ASSERT_EQUAL(to[0], before);
    }
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* Durable writes are there at once, of any length; whether they last only a power cut could tell.
 */
static void test_write_durable(void)
{
    struct device *device = open_new();
    static uint8_t from[300000], to[300000];
    static const size_t lengths[] = {1, 512, 4096, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 2654435761u >> 13);
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
    {
        CU_ASSERT_EQUAL(device_write_durable(device, from + i, lengths[i] - i, 4096 * i + i), 0);
        CU_ASSERT_EQUAL(device_read(device, to, lengths[i] - i, 4096 * i + i), 0);
        CU_ASSERT_EQUAL(memcmp(from + i, to, lengths[i] - i), 0);
    }
    device_close(device);
    struct device_file_options read_only = {.read_only = true};
    CU_ASSERT_EQUAL_FATAL(device_file_open(path, &read_only, &device, NULL), 0);
    CU_ASSERT_EQUAL(device_write_durable(device, from, 512, 0), -EBADF);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* What is to be synced is noted by whatever changes the device, until somebody asks. */
static void test_dirty(void)
{
    struct device *device = open_new();
    CU_ASSERT_TRUE(device_take_dirty(device)); /* by whoever had it before */
    CU_ASSERT_FALSE(device_take_dirty(device));
    uint8_t buf[512] = "data";
    CU_ASSERT_EQUAL(device_write(device, buf, sizeof(buf), 0), 0);
    CU_ASSERT_TRUE(device_take_dirty(device));
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
    CU_ASSERT_EQUAL(device_writev(device, &iov, 1, 0), 0);
    CU_ASSERT_TRUE(device_take_dirty(device));
    CU_ASSERT_EQUAL(device_allocate(device, 4096, 0), 0);
    CU_ASSERT_TRUE(device_take_dirty(device));
    CU_ASSERT_EQUAL(device_write_durable(device, buf, sizeof(buf), 0), 0);
    CU_ASSERT_FALSE(device_take_dirty(device));
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

static void test_size(void)
{
    struct device *device = open_new();
    uint64_t size = 0;
    CU_ASSERT_EQUAL(device->ops->size(device, &size), 0);
    CU_ASSERT_EQUAL(size, MIB);
    CU_ASSERT_EQUAL(device->ops->grow(device, 2 * MIB), 0);
    CU_ASSERT_EQUAL(device->ops->grow(device, MIB), 0); /* never shrinks */
    CU_ASSERT_EQUAL(device->ops->size(device, &size), 0);
    CU_ASSERT_EQUAL(size, 2 * MIB);
    CU_ASSERT_EQUAL(device->ops->allocate(device, MIB, 0), 0);
    CU_ASSERT_EQUAL(device->ops->discard(device, MIB, 0), 0);
    CU_ASSERT_EQUAL(device->ops->prefetch(device, MIB, 0), 0);
    CU_ASSERT_EQUAL(device->ops->size(device, &size), 0);
    CU_ASSERT_EQUAL(size, 2 * MIB);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

/* What the file system says of holes; one that says nothing has an answer of its own. */
static void test_holes(void)
{
    struct device *device = open_new();
    uint64_t hole = 7, len = 7, size = 0, free_bytes = 0;
    CU_ASSERT_EQUAL(device->ops->free_below(device, &free_bytes), 0);
    CU_ASSERT_TRUE(free_bytes > 0 && free_bytes < UINT64_MAX);
    CU_ASSERT_EQUAL(device->ops->allocate(device, MIB / 4, MIB / 4), 0);
    int r = device->ops->find_hole(device, 0, MIB, &hole, &len);
    CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
    if (r == 0)
    {
        CU_ASSERT_EQUAL(hole, 0);
        CU_ASSERT_EQUAL(len, MIB / 4);
        CU_ASSERT_EQUAL(device->ops->find_hole(device, MIB / 4, MIB, &hole, &len), 0);
        CU_ASSERT_EQUAL(hole, MIB / 2);
        CU_ASSERT_EQUAL(len, MIB / 2);
        CU_ASSERT_EQUAL(device->ops->find_hole(device, MIB / 4, MIB / 2, &hole, &len), 0);
        CU_ASSERT_EQUAL(len, 0);
        /* More extents than are asked for at a time. */
        for (uint64_t at = 0; at < MIB; at += 8192)
            CU_ASSERT_EQUAL(device_write(device, &at, sizeof(at), at), 0);
        CU_ASSERT_EQUAL(device_sync(device), 0);
        CU_ASSERT_EQUAL(device->ops->find_hole(device, MIB - 8192, MIB, &hole, &len), 0);
        CU_ASSERT_EQUAL(hole, MIB - 4096);
        CU_ASSERT_EQUAL(len, 4096);
    }
    CU_ASSERT_EQUAL(device->ops->shrink(device, 2 * MIB), 0); /* never grows */
    CU_ASSERT_EQUAL(device->ops->size(device, &size), 0);
    CU_ASSERT_EQUAL(size, MIB);
    CU_ASSERT_EQUAL(device->ops->shrink(device, MIB / 2), 0);
    CU_ASSERT_EQUAL(device->ops->size(device, &size), 0);
    CU_ASSERT_EQUAL(size, MIB / 2);
    device_close(device);
    CU_ASSERT_EQUAL(remove(path), 0);
}

static void test_not_a_file(void)
{
    struct device *device = NULL;
    struct reason why;
    struct device_file_options options = {0};
    CU_ASSERT_EQUAL(device_file_open(path, &options, &device, &why), -ENOENT);
    CU_ASSERT_TRUE(device_file_open(folder, &options, &device, &why) < 0);
    CU_ASSERT_NOT_EQUAL(why.text[0], '\0');
}

static CU_TestInfo device_file_tests[] = {
    {"locks against another process", test_locks},
    {"a busy pool", test_busy_pool},
    {"beyond the end", test_short_file},
    {"a pool cut off", test_cut_pool},
    {"vectors", test_vectors},
    {"large writes, cached or not", test_cached},
    {"a file that is cut off below", test_cut_below},
    {"durable writes", test_write_durable},
    {"what is to be synced", test_dirty},
    {"size, room, holes", test_size},
    {"holes, cutting off", test_holes},
    {"no file, or not one", test_not_a_file},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"device_file", NULL, NULL, NULL, NULL, device_file_tests},
        CU_SUITE_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(path, sizeof(path), "%s/pool", folder);
    int status = cunit_main(suites, argc, argv);
    rmdir(folder);
    return status;
}
