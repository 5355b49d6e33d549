/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client is told before it sends a request, and what a user is told before there is one. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/nbd/nbd_fixture.h"
#include "tests/lib/cunit_main.h"

/* ---- lists --------------------------------------------------------------------------------- */

enum
{
    LISTED_MAX = 16
};

struct listed
{
    size_t count;
    char names[LISTED_MAX][64];
    char descriptions[LISTED_MAX][256];
};

static int listed_cb(void *opaque, const char *name, const char *description)
{
    struct listed *listed = opaque;
    if (listed->count < LISTED_MAX)
    {
        snprintf(listed->names[listed->count], sizeof(listed->names[0]), "%s", name);
        snprintf(listed->descriptions[listed->count], sizeof(listed->descriptions[0]), "%s",
                 description);
    }
    listed->count++;
    return 0;
}

static void list_exports(struct fixture *f, struct listed *listed)
{
    struct nbd_handle *nbd = nbd_create();
    *listed = (struct listed){0};
    nbd_set_opt_mode(nbd, true);
    CU_ASSERT_EQUAL_FATAL(nbd_connect_unix(nbd, f->server.socket_path), 0);
    nbd_list_callback callback = {.callback = listed_cb, .user_data = listed};
    CU_ASSERT_NOT_EQUAL(nbd_opt_list(nbd, callback), -1);
    nbd_opt_abort(nbd);
    nbd_close(nbd);
}

/* The description of @name, or "" if it is not listed. */
static const char *described(const struct listed *listed, const char *name)
{
    for (size_t i = 0; i < min_u64(listed->count, LISTED_MAX); i++)
        if (strcmp(listed->names[i], name) == 0)
            return listed->descriptions[i];
    return "";
}

static void test_list(void)
{
    struct fixture f;
    struct listed listed;
    fixture_start(&f, 256 * MIB);
    list_exports(&f, &listed);
    CU_ASSERT_EQUAL(listed.count, 0);

    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 3 * MIB);
    fixture_do(&f, "snapshot golden base");
    fixture_do(&f, "clone golden vm1");
    fixture_do(&f, "clone golden@base vm2");
    fixture_do(&f, "comment vm1 of-alice");
    fixture_do(&f, "write vm1 %" PRIu64 " %" PRIu64 " 7", MIB, 32 * MIB);
    list_exports(&f, &listed);
    CU_ASSERT_EQUAL(listed.count, 4);
    CU_ASSERT_STRING_EQUAL(described(&listed, "golden"),
                           "LUN of 64.0 MiB, mapped 3.0 MiB, own 0 B");
    CU_ASSERT_PTR_EQUAL(strstr(described(&listed, "golden@base"), "read-only snapshot of 64.0 MiB"),
                        described(&listed, "golden@base"));
    CU_ASSERT_STRING_EQUAL(
        described(&listed, "vm1"),
        "LUN of 64.0 MiB, mapped 4.0 MiB, own 1.0 MiB, clone of golden; of-alice");
    CU_ASSERT_STRING_EQUAL(described(&listed, "vm2"),
                           "LUN of 64.0 MiB, mapped 3.0 MiB, own 0 B, clone of golden@base");

    /* The connected client is told the same. */
    struct nbd_handle *nbd = fixture_connect(&f, "vm1");
    AUTO_FREE char *description = nbd_get_export_description(nbd);
    CU_ASSERT_STRING_EQUAL(description, described(&listed, "vm1"));
    nbd_close(nbd);
    fixture_end(&f);
}

/* nbdkit fails a list that is longer than 10,000. */
static void test_long_list(void)
{
    struct fixture f;
    struct listed listed;
    fixture_start(&f, 1 * GIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "snapshot golden base");
    fixture_do(&f, "clone golden vm-%%05d 9999");
    list_exports(&f, &listed); /* 10,000 LUNs and a snapshot: the snapshot is left out */
    CU_ASSERT_EQUAL(listed.count, 10000);
    CU_ASSERT_STRING_EQUAL(described(&listed, "golden@base"), "");
    fixture_do(&f, "clone golden zz-last");
    list_exports(&f, &listed);
    CU_ASSERT_EQUAL(listed.count, 10000);
    CU_ASSERT(nbd_server_logged(&f.server, "nbdkit can list 10000 exports"));
    nbd_close(fixture_connect(&f, "zz-last"));
    nbd_close(fixture_connect(&f, "golden@base"));
    fixture_end(&f);
}

/* ---- the default export -------------------------------------------------------------------- */

static void test_default_export(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    CU_ASSERT_PTR_NULL(fixture_try_connect(&f, ""));
    CU_ASSERT(nbd_server_logged(&f.server, "the pool has 0 LUNs"));

    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "snapshot golden base"); /* makes nothing ambiguous */
    struct nbd_handle *nbd = fixture_connect(&f, "");
    AUTO_FREE char *name = nbd_get_canonical_export_name(nbd);
    CU_ASSERT_STRING_EQUAL(name, "golden");
    CU_ASSERT_EQUAL(nbd_get_size(nbd), 64 * MIB);
    nbd_close(nbd);

    fixture_do(&f, "clone golden vm1");
    CU_ASSERT_PTR_NULL(fixture_try_connect(&f, ""));
    CU_ASSERT(nbd_server_logged(&f.server, "the pool has 2 LUNs: name one"));
    fixture_end(&f);
}

static void test_default_export_given(void)
{
    struct fixture f;
    fixture_make(&f, 256 * MIB);
    const char *args[] = {"default-export=vm1", NULL};
    fixture_serve(&f, args);
    CU_ASSERT(nbd_server_logged(&f.server, "default-export=vm1: the pool has no such LUN"));
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    CU_ASSERT_PTR_NULL(fixture_try_connect(&f, ""));
    fixture_do(&f, "create vm1 %" PRIu64, 32 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "");
    CU_ASSERT_EQUAL(nbd_get_size(nbd), 32 * MIB);
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- flags --------------------------------------------------------------------------------- */

static void check_writable(struct nbd_handle *nbd, bool writable)
{
    CU_ASSERT_EQUAL(nbd_is_read_only(nbd), !writable);
    CU_ASSERT_EQUAL(nbd_can_trim(nbd), writable);
    CU_ASSERT_EQUAL(nbd_can_zero(nbd), writable);
    CU_ASSERT_EQUAL(nbd_can_fast_zero(nbd), writable);
    CU_ASSERT_EQUAL(nbd_can_fua(nbd), writable);
    CU_ASSERT_EQUAL(nbd_can_multi_conn(nbd), 1);
    CU_ASSERT_EQUAL(nbd_can_cache(nbd), 1);
    CU_ASSERT_EQUAL(nbd_is_rotational(nbd), 0);
    CU_ASSERT_EQUAL(nbd_can_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION), 1);
    CU_ASSERT_EQUAL(nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM), 1);
    CU_ASSERT_EQUAL(nbd_get_block_size(nbd, LIBNBD_SIZE_PREFERRED), 4096);
    CU_ASSERT_EQUAL(nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM), 64 * MIB);
}

/* Whoever writes all the same is refused. */
static void check_refuses_writes(struct nbd_handle *nbd)
{
    char buf[512] = "new";
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, sizeof(buf), 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EPERM);
    CU_ASSERT_EQUAL(nbd_trim(nbd, 4096, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EPERM);
    CU_ASSERT_EQUAL(nbd_zero(nbd, 4096, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EPERM);
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, sizeof(buf), 0, 0), 0);
    CU_ASSERT_EQUAL(buf[0], 7);
}

static void test_flags(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    fixture_do(&f, "snapshot golden base");
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);

    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    check_writable(nbd, true);
    CU_ASSERT_EQUAL(nbd_can_flush(nbd), 1);
    nbd_close(nbd);

    nbd = fixture_connect(&f, "golden@base");
    check_writable(nbd, false);
    check_refuses_writes(nbd);
    nbd_close(nbd);

    nbd = fixture_connect(&f, "golden@base..golden");
    check_writable(nbd, false);
    check_refuses_writes(nbd);
    AUTO_FREE char *description = nbd_get_export_description(nbd);
    CU_ASSERT_PTR_NOT_NULL(strstr(description, "read-only difference of 64.0 MiB"));
    nbd_close(nbd);
    fixture_end(&f);
}

static void test_read_only_server(void)
{
    struct fixture f;
    fixture_make(&f, 256 * MIB);
    const char *args[] = {"-r", NULL};
    fixture_serve(&f, args);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    check_writable(nbd, false);
    check_refuses_writes(nbd);
    nbd_close(nbd);
    fixture_end(&f);
}

static void test_size(void)
{
    struct fixture f;
    const uint64_t sizes[] = {512, 4096, 4608, 64 * MIB + 512, UINT64_C(64) << 40};
    fixture_start(&f, 256 * MIB);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
    {
        fixture_do(&f, "create lun%zu %" PRIu64, i, sizes[i]);
        char name[16];
        snprintf(name, sizeof(name), "lun%zu", i);
        struct nbd_handle *nbd = fixture_connect(&f, name);
        CU_ASSERT_EQUAL((uint64_t)nbd_get_size(nbd), sizes[i]);
        nbd_close(nbd);
    }
    fixture_do(&f, "resize lun0 %" PRIu64, 8 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "lun0");
    CU_ASSERT_EQUAL(nbd_get_size(nbd), 8 * MIB);
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- names --------------------------------------------------------------------------------- */

static void test_refused_names(void)
{
    struct fixture f;
    static const char *const names[] = {
        "missing",
        "golden@missing",
        "missing@base",
        "golden..missing",
        "missing..golden",
        "golden..",
        "..golden",
        "..",
        "@",
        "golden@",
        "@base",
        "golden@base@x",
        " golden",
        "golden ",
        "GOLDEN",
        "golden\nbad",
        "gol\033[31mden",
        "vol/golden",
        "golden/",
        "/vol/none/golden",
        "%s%n",
    };
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "snapshot golden base");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        CU_ASSERT_PTR_NULL(fixture_try_connect(&f, names[i]));
    CU_ASSERT(nbd_server_logged(&f.server, "cannot open export \"missing\": "));
    CU_ASSERT(nbd_server_logged(&f.server, "What there is: nbdinfo --list URI"));
    CU_ASSERT(nbd_server_logged(&f.server, "cannot open export \"golden?bad\""));
    CU_ASSERT_FALSE(nbd_server_logged(&f.server, "\033"));

    AUTO_FREE char *longest = calloc(1, 4097);
    memset(longest, 'x', 4096);
    CU_ASSERT_PTR_NULL(fixture_try_connect(&f, longest));
    /* The server is none the worse for it. */
    nbd_close(fixture_connect(&f, "golden"));
    fixture_end(&f);
}

/* The longest names of LUN and snapshot fit into an export's name. */
static void test_longest_names(void)
{
    struct fixture f;
    struct listed listed;
    char lun[LUN_NAME_MAX + 1];
    char snapshot[LUN_NAME_MAX + 1];
    memset(lun, 'l', sizeof(lun) - 1);
    memset(snapshot, 's', sizeof(snapshot) - 1);
    lun[LUN_NAME_MAX] = snapshot[LUN_NAME_MAX] = '\0';
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create %s %" PRIu64, lun, MIB);
    fixture_do(&f, "snapshot %s %s", lun, snapshot);
    list_exports(&f, &listed);
    CU_ASSERT_EQUAL(listed.count, 2);
    char name[4 * LUN_NAME_MAX + 8];
    snprintf(name, sizeof(name), "%s@%s", lun, snapshot);
    nbd_close(fixture_connect(&f, name));
    snprintf(name, sizeof(name), "%s@%s..%s", lun, snapshot, lun);
    nbd_close(fixture_connect(&f, name));
    nbd_close(fixture_connect(&f, "")); /* the only LUN */
    fixture_end(&f);
}

/* ---- the command line ---------------------------------------------------------------------- */

/* nbdkit with one parameter in addition to the pool does not start, and says @expected. */
static void check_refused_start(const char *pool, const char *parameter, const char *expected)
{
    AUTO_FREE char *output = NULL;
    const char *args[] = {"-f", "-U", "-", fixture_plugin(), pool, parameter, NULL};
    int r = nbd_server_run(args, &output);
    CU_ASSERT_EQUAL(r, 1);
    if (!strstr(output, expected))
        fprintf(stderr, "\n    %s: %s", parameter, output);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, expected));
}

static void test_refused_parameters(void)
{
    static const struct
    {
        const char *parameter, *expected;
    } cases[] = {
        {"nonsense=1", "unknown parameter \"nonsense\""},
        {"pool=/also", "pool= was given twice"},
        {"default-export=", "default-export= needs a value"},
        {"cache-size=12", "cache-size=12 is out of range: 1M to 1T"},
        {"cache-size=2T", "out of range"},
        {"cache-size=many", "could not parse size string"},
        {"checkpoint-ms=5", "out of range: 10 to 600000 milliseconds"},
        {"checkpoint-ms=-1", "checkpoint-ms"},
        {"checkpoint-ms=600001", "out of range"},
        {"discard=maybe", "could not decipher boolean"},
        {"take-over=maybe", "could not decipher boolean"},
        {"mgmt-mode=0999", "mgmt-mode=0999 is no file mode"},
        {"mgmt-mode=", "is no file mode"},
        {"mgmt-mode=1777", "is no file mode"},
        {"mgmt-socket=", "mgmt-socket= needs a path"},
    };
    struct fixture f;
    char pool[160];
    fixture_make(&f, 64 * MIB);
    snprintf(pool, sizeof(pool), "pool=%s", f.pool_path);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_refused_start(pool, cases[i].parameter, cases[i].expected);

    AUTO_FREE char *output = NULL;
    const char *args[] = {"-f", "-U", "-", fixture_plugin(), NULL};
    CU_ASSERT_EQUAL(nbd_server_run(args, &output), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "pool=FILE is missing"));
    fixture_end(&f);
}

static void test_refused_pools(void)
{
    struct fixture f;
    fixture_start(&f, 64 * MIB);
    check_refused_start("pool=/nonexistent/pool", "discard=true",
                        "cannot open pool '/nonexistent/pool': No such");
    check_refused_start("pool=/etc/passwd", "discard=true", "'/etc/passwd' is not a Lunette pool");
    if (fixture_engine_is_durable())
    {
        /* Two servers on one pool: the second names the first. */
        char pool[160];
        char pid[24];
        snprintf(pool, sizeof(pool), "pool=%s", f.pool_path);
        snprintf(pid, sizeof(pid), "%d", (int)f.server.pid);
        check_refused_start(pool, "discard=true", pid);
    }
    fixture_end(&f);
}

/* Waits for the end of a server that was not started as a child. */
static void stop_daemon(pid_t pid)
{
    int status = 0;
    CU_ASSERT_EQUAL(kill(pid, SIGTERM), 0);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* In the background nbdkit is another process than the one that opened the pool. */
static void test_daemon(void)
{
    struct fixture f;
    char pool[160];
    char pid_path[128];
    AUTO_FREE char *output = NULL;
    fixture_make(&f, 256 * MIB);
    snprintf(pool, sizeof(pool), "pool=%s", f.pool_path);
    snprintf(pid_path, sizeof(pid_path), "%s/pid", f.dir);
    snprintf(f.server.socket_path, sizeof(f.server.socket_path), "%s/daemon", f.dir);
    const char *args[] = {"-U", f.server.socket_path, "-P", pid_path, fixture_plugin(), pool, NULL};
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that it can be waited for */
    CU_ASSERT_EQUAL_FATAL(nbd_server_run(args, &output), 0);
    struct listed listed;
    list_exports(&f, &listed); /* it serves now, so it has written its pid */
    CU_ASSERT_EQUAL(listed.count, 0);
    FILE *file = fopen(pid_path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    int pid = 0;
    CU_ASSERT_EQUAL(fscanf(file, "%d", &pid), 1);
    fclose(file);
    if (fixture_engine_is_durable())
    {
        char holder[48];
        snprintf(holder, sizeof(holder), "in use by process %d on host", pid);
        check_refused_start(pool, "discard=true", holder);
    }
    stop_daemon(pid);
    fixture_end(&f);
}

/* All parameters at once, the magic key, and a path relative to where nbdkit starts. */
static void test_parameters(void)
{
    struct fixture f;
    fixture_make(&f, 256 * MIB);
    const char *args[] = {
        "default-export=golden",  "cache-size=16M",
        "checkpoint-ms=50",       "discard=false",
        "take-over=no",           "mgmt-mode=0600",
        "mgmt-group=root",        "nbd-uri=nbd+unix:///?socket=nbd",
        "conf=/etc/lunette.conf", NULL,
    };
    fixture_serve(&f, args);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    nbd_close(fixture_connect(&f, ""));
    fixture_end(&f);
}

static void test_dump_plugin(void)
{
    AUTO_FREE char *output = NULL;
    const char *args[] = {"--dump-plugin", fixture_plugin(), NULL};
    CU_ASSERT_EQUAL(nbd_server_run(args, &output), 0);
    static const char *const lines[] = {
        "\nname=lunette\n",
        "\nmagic_config_key=pool\n",
        "\nmax_thread_model=parallel\n",
        "\nthread_model=parallel\n",
        "\nlunette_version=",
        "\nlunette_block_bytes=4096\n",
        "\nlunette_exports=LUN LUN@SNAPSHOT A..B\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        CU_ASSERT_PTR_NOT_NULL(strstr(output, lines[i]));
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "\nversion=" LUNETTE_VERSION "\n"));
}

static void test_help(void)
{
    static const char *const keys[] = {
        "pool=",       "default-export=", "cache-size=",  "checkpoint-ms=",
        "discard=",    "take-over=",      "mgmt-socket=", "mgmt-mode=",
        "mgmt-group=", "iscsi-portal=",   "nbd-uri=",     "conf=",
    };
    AUTO_FREE char *output = NULL;
    const char *args[] = {"--help", fixture_plugin(), NULL};
    CU_ASSERT_EQUAL(nbd_server_run(args, &output), 0);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        CU_ASSERT_PTR_NOT_NULL(strstr(output, keys[i]));
}

static CU_TestInfo negotiate_tests[] = {
    {"exports and their descriptions are listed", test_list},
    {"a list longer than nbdkit allows is cut, not refused", test_long_list},
    {"the only LUN is the default export", test_default_export},
    {"default-export names it", test_default_export_given},
    {"flags of LUNs, snapshots and differences", test_flags},
    {"nbdkit -r serves nothing writable", test_read_only_server},
    {"sizes", test_size},
    {"names that are refused", test_refused_names},
    {"the longest names", test_longest_names},
    {"parameters that are refused", test_refused_parameters},
    {"pools that are refused", test_refused_pools},
    {"in the background", test_daemon},
    {"parameters", test_parameters},
    {"--dump-plugin", test_dump_plugin},
    {"--help", test_help},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"negotiate", NULL, NULL, NULL, NULL, negotiate_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
