/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CHAP records that a key wraps: what is stored, who gets them back, and that nobody gets in where
 * they cannot be had.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/access.h"
#include "server/host_key.h"
#include "tests/lib/cunit_main.h"

#define HOST_1 "iqn.2001-04.com.example:host1"
#define HOST_2 "iqn.2001-04.com.example:host2"
#define SECRET "correct-horse-battery"
#define MUTUAL "staple-in-the-other-way"

static char folder[64], path[96];
static struct pool *pool;
static struct access *table;
static struct host_key key_1, key_2;
static struct reason why;

static void open_with(const struct host_key *key)
{
    CU_ASSERT_EQUAL_FATAL(access_open_with_key(pool, key, &table, &why), 0);
}

static void reopen_with(const struct host_key *key)
{
    access_close(table);
    open_with(key);
}

static void make_key(const char *digit, struct host_key *key)
{
    char text[HOST_KEY_TEXT_BYTES] = "lunette-key-1 ";
    for (unsigned i = 0; i <= HOST_KEY_ID_DIGITS + 2 * HOST_KEY_BYTES; i++)
        snprintf(text + strlen(text), 2, "%s", i == HOST_KEY_ID_DIGITS ? " " : digit);
    CU_ASSERT_EQUAL_FATAL(host_key_parse(text, key), 0);
}

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-secret-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pool", folder);
    struct pool_create_options create = {.name = "test", .size_bytes = UINT64_C(256) << 20};
    CU_ASSERT_EQUAL_FATAL(pool_create(env_system(), path, &create, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(
        pool_open(env_system(), path, &(struct pool_open_options){0}, &pool, NULL), 0);
    make_key("1", &key_1);
    make_key("2", &key_2);
    reason_clear(&why);
    open_with(NULL);
}

static void tear_down(void)
{
    access_close(table);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    unlink(path);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static int set_chap(const char *subject, const char *user, const char *secret, const char *mutual)
{
    struct access_chap chap = {0};
    snprintf(chap.user, sizeof(chap.user), "%s", user);
    snprintf(chap.secret, sizeof(chap.secret), "%s", secret);
    snprintf(chap.mutual_user, sizeof(chap.mutual_user), "%s", mutual ? "target" : "");
    snprintf(chap.mutual_secret, sizeof(chap.mutual_secret), "%s", mutual ? mutual : "");
    return access_chap_set(table, subject, &chap, &why);
}

/* Whether @initiator has to prove himself by these, or what access_find_chap() says. */
static int finds(const char *initiator, const char *secret, const char *mutual)
{
    struct access_chap chap;
    int r = access_find_chap(table, initiator, false, &chap);
    if (r < 0)
        return r;
    bool is_it = strcmp(chap.secret, secret) == 0 && strcmp(chap.mutual_secret, mutual) == 0;
    access_chap_wipe(&chap);
    return is_it;
}

static struct access_chap_counts counts(void)
{
    struct access_chap_counts now;
    access_chap_count(table, &now);
    return now;
}

static bool counts_are(size_t clear, size_t wrapped, size_t locked)
{
    struct access_chap_counts now = counts();
    return now.clear == clear && now.wrapped == wrapped && now.locked == locked;
}

static size_t stored(const char *subject, char *value, size_t room)
{
    char key[64];
    AUTO_FREE void *found = NULL;
    size_t len = 0;
    snprintf(key, sizeof(key), "access/chap/%s", subject);
    CU_ASSERT_EQUAL_FATAL(store_get(pool, key, &found, &len), 0);
    CU_ASSERT_FATAL(len < room);
    memcpy(value, found, len);
    value[len] = '\0';
    return len;
}

static void store(const char *subject, const char *value, size_t len)
{
    char key[64];
    snprintf(key, sizeof(key), "access/chap/%s", subject);
    struct store_change change = {key, value, len};
    CU_ASSERT_EQUAL_FATAL(store_apply(pool, &change, 1, NULL), 0);
}

static size_t events(const char *mentions)
{
    AUTO_FREE struct event *list = NULL;
    size_t count = 0, found = 0;
    CU_ASSERT_EQUAL_FATAL(event_list(pool, 0, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
    {
        found += strcmp(list[i].name, "iscsi.chap.locked") == 0 && strstr(list[i].text, mentions);
        CU_ASSERT_PTR_NULL(strstr(list[i].text, SECRET));
    }
    return found;
}

static bool has(const char *value, size_t len, const char *text)
{
    return memmem(value, len, text, strlen(text)) != NULL;
}

static void test_wrapped(void)
{
    char value[4096];
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, "web", SECRET, MUTUAL), 0);
    CU_ASSERT_EQUAL(set_chap("*", "any", MUTUAL, NULL), 0);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), 1);
    size_t len = stored(HOST_1, value, sizeof(value));
    CU_ASSERT_FALSE(has(value, len, SECRET));
    CU_ASSERT_FALSE(has(value, len, MUTUAL));
    /* A program that knows only the clear form finds no end of a first string. */
    CU_ASSERT_PTR_NULL(memchr(value, '\0', len));
    CU_ASSERT_TRUE(has(value, len, key_1.id));
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), 1);
    CU_ASSERT_EQUAL(finds(HOST_2, MUTUAL, ""), 1);
    CU_ASSERT_TRUE(counts_are(0, 2, 0));
    CU_ASSERT_STRING_EQUAL(access_key_id(table), key_1.id);
}

/* The longest there may be, with every byte that a text can have. */
static void test_longest(void)
{
    char user[ACCESS_CHAP_USER_MAX + 1], secret[ACCESS_CHAP_SECRET_MAX + 1];
    char mutual[ACCESS_CHAP_SECRET_MAX + 1];
    for (unsigned i = 0; i < ACCESS_CHAP_USER_MAX; i++)
        user[i] = secret[i] = (char)(i + 1);
    memcpy(mutual, secret, sizeof(mutual));
    user[ACCESS_CHAP_USER_MAX] = secret[ACCESS_CHAP_SECRET_MAX] = '\0';
    mutual[0] = 'x';
    mutual[ACCESS_CHAP_SECRET_MAX] = '\0';
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, user, secret, mutual), 0);
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, secret, mutual), 1);
    struct access_chap chap;
    CU_ASSERT_EQUAL(access_find_chap(table, HOST_1, false, &chap), 0);
    CU_ASSERT_STRING_EQUAL(chap.user, user);
}

static void test_wrong_key(void)
{
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, "web", SECRET, NULL), 0);
    CU_ASSERT_EQUAL(set_chap("discovery", "finder", SECRET, NULL), 0);
    for (unsigned i = 0; i < 2; i++)
    {
        struct access_chap chap;
        reopen_with(i == 0 ? NULL : &key_2);
        CU_ASSERT_TRUE(counts_are(0, 0, 2));
        CU_ASSERT_EQUAL(finds(HOST_1, SECRET, ""), -EKEYREJECTED);
        CU_ASSERT_EQUAL(finds(HOST_1, SECRET, ""), -EKEYREJECTED);
        CU_ASSERT_EQUAL(access_find_chap(table, HOST_2, true, &chap), -EKEYREJECTED);
        CU_ASSERT_EQUAL(finds(HOST_2, SECRET, ""), -ENOENT); /* nothing is asked of it */
        /* Once for each record and start, with what helps. */
        CU_ASSERT_EQUAL(events(key_1.id), 2 * (i + 1));
    }
    CU_ASSERT_EQUAL(events("'lunette serve --key-file FILE'"), 2);
    CU_ASSERT_EQUAL(events("'lunette iscsi chap rewrap --old-key FILE'"), 2);
    /* A new secret in its place works at once, wrapped by the key that is there. */
    CU_ASSERT_EQUAL(set_chap(HOST_1, "web", MUTUAL, NULL), 0);
    CU_ASSERT_EQUAL(finds(HOST_1, MUTUAL, ""), 1);
    CU_ASSERT_TRUE(counts_are(0, 1, 1));
    CU_ASSERT_EQUAL(access_chap_delete(table, "discovery", &why), 0);
    reopen_with(&key_2);
    CU_ASSERT_EQUAL(finds(HOST_1, MUTUAL, ""), 1);
    CU_ASSERT_TRUE(counts_are(0, 1, 0));
}

/* Each byte in turn is another, each length is cut off: nobody is let in, or asked for other than
 * what was set. */
static void test_damaged(void)
{
    char value[4096];
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, "web", SECRET, NULL), 0);
    size_t len = stored(HOST_1, value, sizeof(value)), prefix = strlen("wrapped-chap-1 ");
    for (size_t i = prefix; i < len; i++)
    {
        value[i] = value[i] == '0' ? '1' : '0';
        store(HOST_1, value, len);
        reopen_with(&key_1);
        CU_ASSERT_EQUAL(finds(HOST_1, SECRET, ""), -EKEYREJECTED);
        stored(HOST_1, value, sizeof(value));
        value[i] = '?';
        store(HOST_1, value, len);
        reopen_with(&key_1);
        CU_ASSERT_EQUAL(finds(HOST_1, SECRET, ""), -EKEYREJECTED);
        CU_ASSERT_EQUAL(set_chap(HOST_1, "web", SECRET, NULL), 0);
        len = stored(HOST_1, value, sizeof(value));
    }
    for (size_t cut = prefix; cut < len; cut++)
    {
        store(HOST_1, value, cut);
        reopen_with(&key_1);
        CU_ASSERT_EQUAL(finds(HOST_1, SECRET, ""), -EKEYREJECTED);
        CU_ASSERT_TRUE(counts_are(0, 0, 1));
    }
    CU_ASSERT_NOT_EQUAL(events("damaged"), 0);
    CU_ASSERT_NOT_EQUAL(events("'lunette iscsi chap set " HOST_1 "'"), 0);
    /* What does not even say that it is wrapped is refused as a whole, as by older programs. */
    struct access *other = NULL;
    store(HOST_1, value, prefix - 1);
    CU_ASSERT_EQUAL(access_open_with_key(pool, &key_1, &other, &why), -EBADMSG);
    value[prefix - 2] = '2';
    store(HOST_1, value, len);
    CU_ASSERT_EQUAL(access_open_with_key(pool, &key_1, &other, &why), -EBADMSG);
    value[prefix - 2] = '1';
    store(HOST_1, value, len);
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, ""), 1);
}

/* One record in the place of another, and one direction in that of the other. */
static void test_swapped(void)
{
    char one[4096], two[4096];
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, "same", SECRET, MUTUAL), 0);
    CU_ASSERT_EQUAL(set_chap(HOST_2, "same", "one-that-he-knows", NULL), 0);
    size_t one_len = stored(HOST_1, one, sizeof(one));
    size_t two_len = stored(HOST_2, two, sizeof(two));
    store(HOST_1, two, two_len);
    store(HOST_2, one, one_len);
    reopen_with(&key_1);
    CU_ASSERT_TRUE(counts_are(0, 0, 2));
    CU_ASSERT_EQUAL(finds(HOST_1, "one-that-he-knows", ""), -EKEYREJECTED);
    CU_ASSERT_EQUAL(finds(HOST_2, SECRET, MUTUAL), -EKEYREJECTED);
    /* "wrapped-chap-1 KEY USER SECRET USER SECRET": the last two for the first two. */
    char *word = one;
    for (unsigned i = 0; i < 2; i++)
        word = strchr(word, ' ') + 1;
    char *second = strchr(strchr(word, ' ') + 1, ' ') + 1;
    size_t head = (size_t)(word - one), tail = one_len - (size_t)(second - one);
    memcpy(two, one, head);
    memcpy(two + head, second, tail);
    store(HOST_1, two, head + tail);
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, MUTUAL, ""), -EKEYREJECTED);
}

static void test_rewrap(void)
{
    struct access_rewrap done;
    char value[4096];
    CU_ASSERT_EQUAL(set_chap(HOST_1, "web", SECRET, MUTUAL), 0);
    CU_ASSERT_EQUAL(set_chap("*", "any", SECRET, NULL), 0);
    CU_ASSERT_TRUE(counts_are(2, 0, 0));
    CU_ASSERT_EQUAL(access_chap_rewrap(table, NULL, false, &done, &why), -ENOKEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "lunette key create"));
    /* With a key, what is in clear is as good as ever. */
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), 1);
    CU_ASSERT_EQUAL(set_chap("discovery", "finder", SECRET, NULL), 0);
    CU_ASSERT_TRUE(counts_are(2, 1, 0));
    CU_ASSERT_EQUAL(access_chap_rewrap(table, NULL, true, &done, &why), 0);
    CU_ASSERT_TRUE(done.wrapped == 2 && done.moved == 0 && done.kept == 1 && done.locked == 0);
    CU_ASSERT_TRUE(counts_are(2, 1, 0));
    CU_ASSERT_EQUAL(access_chap_rewrap(table, NULL, false, &done, &why), 0);
    CU_ASSERT_TRUE(done.wrapped == 2 && done.moved == 0 && done.kept == 1 && done.locked == 0);
    CU_ASSERT_TRUE(counts_are(0, 3, 0));
    CU_ASSERT_FALSE(has(value, stored(HOST_1, value, sizeof(value)), SECRET));
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), 1);
    CU_ASSERT_EQUAL(finds(HOST_2, SECRET, ""), 1);
    /* To another key: only who has the old one. */
    reopen_with(&key_2);
    CU_ASSERT_EQUAL(access_chap_rewrap(table, NULL, false, &done, &why), 0);
    CU_ASSERT_TRUE(done.wrapped == 0 && done.moved == 0 && done.kept == 0 && done.locked == 3);
    CU_ASSERT_EQUAL(access_chap_rewrap(table, &key_2, false, &done, &why), 0);
    CU_ASSERT_TRUE(done.moved == 0 && done.locked == 3);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), -EKEYREJECTED);
    CU_ASSERT_EQUAL(access_chap_rewrap(table, &key_1, true, &done, &why), 0);
    CU_ASSERT_TRUE(done.moved == 3 && done.locked == 0 && counts_are(0, 0, 3));
    CU_ASSERT_EQUAL(access_chap_rewrap(table, &key_1, false, &done, &why), 0);
    CU_ASSERT_TRUE(done.moved == 3 && done.locked == 0 && counts_are(0, 3, 0));
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), 1);
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), -EKEYREJECTED);
    reopen_with(&key_2);
    CU_ASSERT_EQUAL(finds(HOST_1, SECRET, MUTUAL), 1);
}

static void test_listed(void)
{
    AUTO_FREE struct access_chap_info *list = NULL;
    size_t count;
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, "one", SECRET, NULL), 0);
    reopen_with(NULL);
    CU_ASSERT_EQUAL(set_chap(HOST_2, "two", SECRET, "mutual-mutual"), 0);
    CU_ASSERT_EQUAL(access_chap_list(table, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(list[0].user, "one"); /* of a locked one too */
    CU_ASSERT_STRING_EQUAL(list[0].key, key_1.id);
    CU_ASSERT_STRING_EQUAL(access_chap_stored_name(list[0].stored), "locked");
    CU_ASSERT_STRING_EQUAL(list[1].mutual_user, "target");
    CU_ASSERT_STRING_EQUAL(list[1].key, "");
    CU_ASSERT_STRING_EQUAL(access_chap_stored_name(list[1].stored), "in clear");
    CU_ASSERT_PTR_NULL(access_key_id(table));
}

/* Which key is missing is told, also if it is not the only one. */
static void test_needed(void)
{
    struct access_rewrap done;
    CU_ASSERT_EQUAL(access_chap_rewrap(table, NULL, false, &done, &why), -ENOKEY);
    CU_ASSERT_PTR_NULL(strstr(why.text, key_1.id));
    reopen_with(&key_1);
    CU_ASSERT_EQUAL(set_chap(HOST_1, "one", SECRET, NULL), 0);
    CU_ASSERT_STRING_EQUAL(counts().needed, "");
    reopen_with(NULL);
    CU_ASSERT_STRING_EQUAL(counts().needed, key_1.id);
    CU_ASSERT_FALSE(counts().needs_more);
    CU_ASSERT_EQUAL(access_chap_rewrap(table, NULL, false, &done, &why), -ENOKEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, key_1.id));
    reopen_with(&key_2);
    CU_ASSERT_STRING_EQUAL(counts().needed, key_1.id);
    CU_ASSERT_EQUAL(set_chap(HOST_2, "two", SECRET, NULL), 0);
    CU_ASSERT_FALSE(counts().needs_more);
    reopen_with(NULL);
    CU_ASSERT_TRUE(counts().needs_more);
}

static CU_TestInfo secret_tests[] = {
    {"wrapped", test_wrapped},
    {"the longest", test_longest},
    {"without the key, with another", test_wrong_key},
    {"damaged and cut off", test_damaged},
    {"swapped", test_swapped},
    {"rewrap", test_rewrap},
    {"listed", test_listed},
    {"which key is needed", test_needed},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"access_secret", NULL, NULL, set_up, tear_down, secret_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
