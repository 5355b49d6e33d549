/* SPDX-License-Identifier: BSD-3-Clause */
/* Key files: how they are made, which are refused; and what unwraps only as it was wrapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/host_key.h"
#include "tests/lib/cunit_main.h"

static char folder[64], path[96];
static struct reason why;

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-key-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/key", folder);
    reason_clear(&why);
}

static void tear_down(void)
{
    unlink(path);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static void write_bytes(const char *bytes, size_t len, mode_t mode)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fchmod(fileno(file), mode), 0);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, len, file), len);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static void write_file(const char *text, mode_t mode)
{
    write_bytes(text, strlen(text), mode);
}

static void test_create(void)
{
    struct host_key made, read, other;
    struct stat stat_;
    umask(0);
    CU_ASSERT_EQUAL(host_key_create(path, &made, &why), 0);
    CU_ASSERT_EQUAL(stat(path, &stat_), 0);
    CU_ASSERT_EQUAL(stat_.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(host_key_read(path, &read, &why), 0);
    CU_ASSERT_EQUAL(memcmp(&made, &read, sizeof(made)), 0);
    CU_ASSERT_EQUAL(strlen(read.id), HOST_KEY_ID_DIGITS);
    CU_ASSERT_EQUAL(host_key_create(path, &other, &why), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, path));
    CU_ASSERT_EQUAL(host_key_read(path, &read, &why), 0);
    CU_ASSERT_EQUAL(memcmp(&made, &read, sizeof(made)), 0);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(host_key_create(path, &other, &why), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(&made, &other, sizeof(made)), 0);
    CU_ASSERT_NOT_EQUAL(strcmp(made.id, other.id), 0);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(host_key_create("/nonexistent/key", &other, &why), -ENOENT);
    host_key_wipe(&made);
    for (size_t i = 0; i < sizeof(made); i++)
        CU_ASSERT_EQUAL(((uint8_t *)&made)[i], 0);
}

#define ID "fedcba9876543210 "
#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void test_parse(void)
{
    static const char *const wrong[] = {
        "",
        "lunette-key-1",
        "lunette-key-1 ",
        "lunette-key-1 " HEX,
        "lunette-key-2 " ID HEX,
        "lunette-key-1 " ID HEX "0",
        "lunette-key-1 " ID HEX "\n\n",
        "lunette-key-1 " ID HEX "\r\n",
        "lunette-key-1 " ID HEX "\nmore",
        "lunette-key-1 " ID " 00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "lunette-key-1 " ID "000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "lunette-key-1 " ID "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "lunette-key-1 fedcba987654321x " HEX,
        "lunette-key-1 fedcba9876543210-" HEX,
        "-----BEGIN PRIVATE KEY-----",
    };
    struct host_key key;
    char text[HOST_KEY_TEXT_BYTES];
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        CU_ASSERT_EQUAL(host_key_parse(wrong[i], &key), -EINVAL);
    CU_ASSERT_EQUAL(host_key_parse("lunette-key-1 " ID HEX "\n", &key), 0);
    CU_ASSERT_EQUAL(host_key_parse("lunette-key-1 " ID HEX, &key), 0);
    for (unsigned i = 0; i < HOST_KEY_BYTES; i++)
        CU_ASSERT_EQUAL(key.bytes[i], i);
    host_key_print(&key, text);
    CU_ASSERT_STRING_EQUAL(text, "lunette-key-1 " ID HEX);
    CU_ASSERT_STRING_EQUAL(key.id, "fedcba9876543210");
}

static void test_files(void)
{
    static const mode_t loose[] = {0640, 0604, 0620, 0610, 0777};
    struct host_key key;
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, path));
    for (size_t i = 0; i < ARRAY_SIZE(loose); i++)
    {
        write_file("lunette-key-1 " ID HEX "\n", loose[i]);
        CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -EPERM);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "chmod 600"));
        CU_ASSERT_PTR_NULL(strstr(why.text, "0001020304"));
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
    write_file("lunette-key-1 " ID HEX "\n", 0400);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), 0);
    /* systemd gives its credentials to the service's user by an ACL. */
    CU_ASSERT_EQUAL(chmod(path, 0440), 0);
    CU_ASSERT_EQUAL(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), 0);
    CU_ASSERT_EQUAL(chmod(path, 0444), 0);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -EPERM);
    CU_ASSERT_EQUAL(chmod(path, 0440), 0);
    CU_ASSERT_EQUAL(setenv("CREDENTIALS_DIRECTORY", "/tmp/test-ke", 1), 0);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -EPERM);
    CU_ASSERT_EQUAL(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    CU_ASSERT_EQUAL(unlink(path), 0);
    write_file("correct horse battery staple\n", 0600);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "lunette key create"));
    CU_ASSERT_PTR_NULL(strstr(why.text, "horse"));
    CU_ASSERT_EQUAL(host_key_read(folder, &key, &why), -EINVAL);
    static const char with_nul[] = "lunette-key-1 " ID HEX "\0",
                      with_both[] = "lunette-key-1 " ID HEX "\n\0more";
    write_bytes(with_nul, sizeof(with_nul) - 1, 0600);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -EINVAL);
    write_bytes(with_both, sizeof(with_both) - 1, 0600);
    CU_ASSERT_EQUAL(host_key_read(path, &key, &why), -EINVAL);
}

static void test_compare(void)
{
    struct host_key key, other;
    struct host_key_mark mark, none = {0};
    CU_ASSERT_EQUAL_FATAL(host_key_create(path, &key, &why), 0);
    host_key_take_mark(path, &mark);
    CU_ASSERT_NOT_EQUAL(mark.inode, 0);
    CU_ASSERT_EQUAL(host_key_compare(path, &mark, key.id, &why), 0);
    /* The same in another file. */
    CU_ASSERT_EQUAL(host_key_compare(path, &none, key.id, &why), 0);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(host_key_compare(path, &mark, key.id, &why), -ESTALE);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, key.id));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, path));
    CU_ASSERT_EQUAL_FATAL(host_key_create(path, &other, &why), 0);
    CU_ASSERT_EQUAL(host_key_compare(path, &mark, key.id, &why), -ESTALE);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, key.id));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, other.id));
    CU_ASSERT_EQUAL(unlink(path), 0);
    write_file("something else\n", 0600);
    CU_ASSERT_EQUAL(host_key_compare(path, &mark, key.id, &why), -ESTALE);
    host_key_take_mark("/nonexistent/key", &mark);
    CU_ASSERT_EQUAL(memcmp(&mark, &none, sizeof(mark)), 0);
}

static void test_wrap(void)
{
    struct host_key key, other;
    char secret[HOST_KEY_SECRET_BYTES] = "correct-horse-battery", out[HOST_KEY_SECRET_BYTES];
    const char zeros[HOST_KEY_SECRET_BYTES] = "";
    uint8_t wrapped[HOST_KEY_WRAPPED_BYTES], again[HOST_KEY_WRAPPED_BYTES];
    CU_ASSERT_EQUAL_FATAL(host_key_create(path, &key, &why), 0);
    CU_ASSERT_EQUAL_FATAL(unlink(path), 0);
    CU_ASSERT_EQUAL_FATAL(host_key_create(path, &other, &why), 0);
    CU_ASSERT_EQUAL_FATAL(host_key_wrap(&key, "host1", 5, secret, wrapped), 0);
    CU_ASSERT_PTR_NULL(memmem(wrapped, sizeof(wrapped), secret, 8));
    CU_ASSERT_EQUAL(host_key_unwrap(&key, "host1", 5, wrapped, out), 0);
    CU_ASSERT_EQUAL(memcmp(secret, out, sizeof(out)), 0);
    /* The same twice does not look the same. */
    CU_ASSERT_EQUAL(host_key_wrap(&key, "host1", 5, secret, again), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(wrapped, again, sizeof(again)), 0);
    CU_ASSERT_EQUAL(host_key_unwrap(&other, "host1", 5, wrapped, out), -EKEYREJECTED);
    CU_ASSERT_EQUAL(memcmp(zeros, out, sizeof(out)), 0);
    CU_ASSERT_EQUAL(host_key_unwrap(&key, "host2", 5, wrapped, out), -EKEYREJECTED);
    CU_ASSERT_EQUAL(host_key_unwrap(&key, "host1", 4, wrapped, out), -EKEYREJECTED);
    for (size_t i = 0; i < sizeof(wrapped); i++)
    {
        wrapped[i] ^= 1;
        memset(out, 'x', sizeof(out));
        CU_ASSERT_EQUAL(host_key_unwrap(&key, "host1", 5, wrapped, out), -EKEYREJECTED);
        CU_ASSERT_EQUAL(memcmp(zeros, out, sizeof(out)), 0);
        wrapped[i] ^= 1;
    }
    CU_ASSERT_EQUAL(host_key_unwrap(&key, "host1", 5, wrapped, out), 0);
}

static CU_TestInfo key_tests[] = {
    {"create", test_create},
    {"parse", test_parse},
    {"which files are taken", test_files},
    {"wrap and unwrap", test_wrap},
    {"the file later on", test_compare},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"host_key", NULL, NULL, set_up, tear_down, key_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
