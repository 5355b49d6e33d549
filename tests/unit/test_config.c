/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file: every example loads, every mistake is named with file and line. */
#include "server/config.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/lib/cunit_main.h"

static char config_path[] = "/tmp/lunette-config-XXXXXX";

/* Loads @text; *why is set on failure. */
static int load(const char *text, struct config **config, struct reason *why)
{
    FILE *file = fopen(config_path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
    return config_load(config_path, config, why);
}

static void test_examples(void)
{
    const char *source = getenv("LUNETTE_SOURCE");
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/conf/*.conf", source ? source : ".");
    CU_ASSERT_EQUAL_FATAL(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
    {
        struct config *config = NULL;
        struct reason why = {.text = ""};
        int r = config_load(found.gl_pathv[i], &config, &why);
        if (r < 0)
            printf("\n%s\n", why.text);
        CU_ASSERT_EQUAL(r, 0);
        CU_ASSERT_PTR_NOT_NULL(r == 0 ? config->pool_path : NULL);
        config_free(config);
    }
    globfree(&found);
}

/* The example's commented lines are valid too: what a user uncomments has to load. */
static void test_commented_lines(void)
{
    const char *source = getenv("LUNETTE_SOURCE");
    char path[4096], line[512], text[16384] = "", *at = text;
    snprintf(path, sizeof(path), "%s/conf/lunette.conf", source ? source : ".");
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (fgets(line, sizeof(line), file))
    {
        bool is_key = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' && strstr(line, " = ");
        CU_ASSERT_FATAL(at + strlen(line) < text + sizeof(text));
        at = stpcpy(at, is_key ? line + 1 : line);
    }
    fclose(file);
    struct config *config = NULL;
    struct reason why = {.text = ""};
    int r = load(text, &config, &why);
    if (r < 0)
        printf("\n%s\n", why.text);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    CU_ASSERT_EQUAL(config->cache_bytes, 64 << 20);
    CU_ASSERT_EQUAL(config->checkpoint_ms, 5000);
    CU_ASSERT_EQUAL(config->mgmt_mode, 0666);
    CU_ASSERT_EQUAL(config->iscsi_portals.count, 1);
    CU_ASSERT_EQUAL(config->iscsi_sessions, 1024);
    CU_ASSERT_EQUAL(config->iscsi_login_ms, 15000);
    CU_ASSERT_EQUAL(config->iscsi_data_bytes, UINT64_C(1) << 30);
    CU_ASSERT_STRING_EQUAL(config->iscsi_redirect, "192.0.2.11:3260");
    config_free(config);
}

static void test_values(void)
{
    struct config *config = NULL;
    struct reason why = {.text = ""};
    int r = load("# comment\n"
                 "\n"
                 "[pool]\n"
                 "path=/a b/c\n"
                 "   cache = 1.5G   \n"
                 "discard = no\n"
                 "[iscsi]\n"
                 "portal = 10.0.0.1:3260\n"
                 "portal = [fe80::1]:3260\n"
                 "[management]\n"
                 "mode = 0660\n",
                 &config, &why);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    CU_ASSERT_STRING_EQUAL(config->pool_path, "/a b/c");
    CU_ASSERT_EQUAL(config->cache_bytes, UINT64_C(3) << 29);
    CU_ASSERT_FALSE(config->discard);
    CU_ASSERT_FALSE(config->take_over);
    CU_ASSERT_EQUAL(config->mgmt_mode, 0660);
    CU_ASSERT_EQUAL(config->iscsi_portals.count, 2);
    CU_ASSERT_STRING_EQUAL(config->iscsi_portals.values[1], "[fe80::1]:3260");
    CU_ASSERT_PTR_NULL(config->nbd_socket);
    config_free(config);
}

static void test_mistakes(void)
{
    char long_line[512] = "[pool]\npath = /";
    memset(long_line + strlen(long_line), 'x', 300);
    const struct
    {
        const char *text;
        int line;
        const char *says;
    } cases[] = {
        {"[pool]\npath = /p\npaht = /q\n", 3, "no key \"paht\""},
        {"[pool]\npath = /p\n[poool]\npath = /q\n", 4, "no section [poool]"},
        {"path = /p\n", 1, "before the first"},
        {"[pool]\npath = p\n", 2, "not an absolute path"},
        {"[pool]\npath =\n", 2, "has no value"},
        {"[pool]\npath = /p\n\npath = /q\n", 4, "given twice"},
        {"[pool]\ncache = lots\n", 2, "not a size"},
        {"[pool]\ncache = 1K\n", 2, "out of range"},
        {"[pool]\ncheckpoint_interval = 5 parsecs\n", 2, "not a duration"},
        {"[pool]\ndiscard = perhaps\n", 2, "neither yes nor no"},
        {"[nbd]\nthreads = 0\n", 2, "outside 1 to 1024"},
        {"[iscsi]\nsessions = 0\n", 2, "outside 1 to 60000"},
        {"[iscsi]\nlogin_timeout = 1ms\n", 2, "out of range"},
        {"[iscsi]\nredirect = elsewhere\n", 2, "not ADDRESS:PORT"},
        {"[nbd]\ntls = sometimes\n", 2, "none of: off on require"},
        {"[nbd]\ntls = o\n", 2, "none of: off on require"},
        {"[nbd]\nlisten = example.com\n", 2, "not ADDRESS:PORT"},
        {"[nbd]\nlisten = ::1:10809\n", 2, "write an IPv6 address as"},
        {"[nbd]\nlisten = 0.0.0.0:70000\n", 2, "not ADDRESS:PORT"},
        {"[management]\nmode = 0888\n", 2, "not a whole number"},
        {"[pool]\nthis is no setting\n", 2, "neither a [section] nor"},
        {"[pool\npath = /p\n", 1, "neither a [section] nor"},
        {long_line, 2, "longer than 190"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct config *config = NULL;
        struct reason why = {.text = ""};
        char place[128];
        snprintf(place, sizeof(place), "%s:%d: ", config_path, cases[i].line);
        int r = load(cases[i].text, &config, &why);
        if (r == 0 || strncmp(why.text, place, strlen(place)) != 0 ||
            !strstr(why.text, cases[i].says))
            printf("\n%s -> %d %s\n", cases[i].text, r, why.text);
        CU_ASSERT_TRUE(r == -EINVAL || r == -ERANGE);
        CU_ASSERT_PTR_NULL(config);
        CU_ASSERT_EQUAL(strncmp(why.text, place, strlen(place)), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, cases[i].says));
    }
}

static void test_too_many(void)
{
    char text[1024] = "[iscsi]\n", *at = text + strlen(text);
    struct config *config = NULL;
    struct reason why = {.text = ""};
    for (int i = 0; i <= CONFIG_LIST_MAX; i++)
        at = stpcpy(at, "portal = 10.0.0.1:3260\n");
    CU_ASSERT_EQUAL(load(text, &config, &why), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, ":18: "));
}

static void test_missing(void)
{
    struct config *config = NULL;
    struct reason why = {.text = ""};
    CU_ASSERT_EQUAL(config_load("/nonexistent/lunette.conf", &config, &why), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "/nonexistent/lunette.conf"));
}

static void test_set(void)
{
    struct config *config = config_new();
    struct reason why = {.text = ""};
    CU_ASSERT_PTR_NOT_NULL_FATAL(config);
    CU_ASSERT_EQUAL(config_set(config, "pool.path", "/a", &why), 0);
    CU_ASSERT_EQUAL(config_set(config, "pool.path", "/b", &why), 0);
    CU_ASSERT_STRING_EQUAL(config->pool_path, "/b");
    CU_ASSERT_EQUAL(config_set(config, "pool.nothing", "/b", &why), -EINVAL);
    CU_ASSERT_EQUAL(config_set(config, "nothing", "/b", &why), -EINVAL);
    CU_ASSERT_EQUAL(config_set(config, "pool.path", "relative", &why), -EINVAL);
    CU_ASSERT_STRING_EQUAL(config->pool_path, "/b");
    config_free(config);
    config_free(NULL);
}

static void test_addresses(void)
{
    char host[64], port[16];
    CU_ASSERT_EQUAL(config_parse_address("10809", host, sizeof(host), port, sizeof(port), NULL), 0);
    CU_ASSERT_STRING_EQUAL(host, "");
    CU_ASSERT_STRING_EQUAL(port, "10809");
    CU_ASSERT_EQUAL(config_parse_address("[::1]:0", host, sizeof(host), port, sizeof(port), NULL),
                    0);
    CU_ASSERT_STRING_EQUAL(host, "::1");
    CU_ASSERT_EQUAL(config_parse_address("host.example:80", host, 5, port, sizeof(port), NULL),
                    -EINVAL);
    CU_ASSERT_EQUAL(config_parse_address(":80", host, sizeof(host), port, sizeof(port), NULL),
                    -EINVAL);
}

static CU_TestInfo config_tests[] = {
    {"every example loads", test_examples},
    {"what the example comments out loads", test_commented_lines},
    {"values", test_values},
    {"mistakes are named with file and line", test_mistakes},
    {"too many values", test_too_many},
    {"no such file", test_missing},
    {"options override", test_set},
    {"addresses", test_addresses},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"config", NULL, NULL, NULL, NULL, config_tests},
        CU_SUITE_INFO_NULL,
    };
    AUTO_CLOSE int fd = mkstemp(config_path);
    if (fd < 0)
        return cunit_skip("no temporary file");
    int status = cunit_main(suites, argc, argv);
    unlink(config_path);
    return status;
}
