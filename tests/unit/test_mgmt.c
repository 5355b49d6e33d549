/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management thread over its socket, on the engine in memory: requests and refusals, clients
 * that are slow, rude or too many, sockets of live and dead servers, stopping under load.
 */
#include "server/mgmt/mgmt.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lun/base/checked.h"
#include "server/ctl/client.h"
#include "server/host_key.h"
#include "server/mgmt/listen.h"
#include "server/mgmt/proto.h"
#include "server/target.h"
#include "tests/lib/cunit_main.h"

static char folder[] = "/tmp/lunette-mgmt-XXXXXX";
static char socket_path[64], pool_path[64];
static struct pool *pool;

static int set_up(void)
{
    struct reason why = {.text = ""};
    const struct pool_create_options create = {.size_bytes = 1 << 30};
    const struct pool_open_options options = {0};
    if (!mkdtemp(folder))
        return 1;
    snprintf(socket_path, sizeof(socket_path), "%s/mgmt.sock", folder);
    snprintf(pool_path, sizeof(pool_path), "%s/pool", folder);
    int r = pool_create(env_system(), pool_path, &create, &why);
    if (r == 0)
        r = pool_open(env_system(), pool_path, &options, &pool, &why);
    if (r == 0)
        r = pool_start(pool);
    if (r < 0)
        printf("%s\n", why.text);
    return r < 0;
}

static int tear_down(void)
{
    int r = pool_close(pool);
    unlink(pool_path);
    return r < 0 || rmdir(folder) < 0; /* nothing may be left behind in it */
}

static struct target *start(void)
{
    const struct target_options options = {.mgmt_socket = socket_path, .nbd_uri = "nbd://x/"};
    struct target *target = NULL;
    struct reason why = {.text = ""};
    int r = target_start(pool, &options, &target, &why);
    if (r < 0)
        printf("\n%s\n", why.text);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    return target;
}

/* One request; the result, or NULL with *err. */
static json_t *ask(const char *verb, const char *args, int *err)
{
    struct client client;
    struct client_refusal refusal;
    json_t *result = NULL;
    CU_ASSERT_EQUAL_FATAL(client_connect(&client, socket_path, NULL), 0);
    *err = client_call(&client, verb, json_loads(args, 0, NULL), NULL, NULL, &result, &refusal);
    client_close(&client);
    return *err == 0 ? result : NULL;
}

static int ask_error(const char *verb, const char *args)
{
    int err;
    json_decref(ask(verb, args, &err));
    return err;
}

/* A plain connection. */
static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    size_t len = strlen(text);
    CU_ASSERT_EQUAL(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* What the server says until it closes or has said a line, in @text. */
static void hear(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len + 1 < size && (n = read(fd, text + len, size - len - 1)) > 0)
    {
        len += (size_t)n;
        if (text[len - 1] == '\n')
            break;
    }
    text[len] = '\0';
}

static bool is_closed(int fd)
{
    char byte;
    return read(fd, &byte, 1) <= 0;
}

/* ---- requests ------------------------------------------------------------------------------ */

static void test_life_of_a_lun(void)
{
    struct target *target = start();
    int err;
    CU_ASSERT_EQUAL(ask_error("lun.create", "{\"name\":\"golden\",\"size_bytes\":1048576}"), 0);
    CU_ASSERT_EQUAL(ask_error("lun.create", "{\"name\":\"golden\",\"size_bytes\":1048576}"),
                    -EEXIST);
    CU_ASSERT_EQUAL(ask_error("snapshot.create", "{\"lun\":\"golden\",\"snapshot\":\"s\"}"), 0);
    CU_ASSERT_EQUAL(
        ask_error("lun.clone", "{\"source\":\"golden@s\",\"name\":\"vm-%03d\",\"count\":20}"), 0);
    AUTO_JSON json_t *all = ask("lun.show", "{\"snapshots\":true}", &err);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(all, "luns")), 22);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(all, "count")), 22);
    AUTO_JSON json_t *one = ask("lun.show", "{\"name\":\"vm-007\"}", &err);
    const json_t *lun = json_array_get(json_object_get(one, "luns"), 0);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(lun, "origin")), "golden@s");
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(lun, "size_bytes")), 1048576);
    CU_ASSERT_EQUAL(ask_error("lun.rename", "{\"name\":\"vm-007\",\"new_name\":\"bond\"}"), 0);
    CU_ASSERT_EQUAL(ask_error("lun.show", "{\"name\":\"vm-007\"}"), -ENOENT);
    CU_ASSERT_EQUAL(ask_error("lun.delete", "{\"name\":\"golden\"}"), -EBUSY);
    CU_ASSERT_EQUAL(ask_error("lun.delete", "{\"name\":\"golden\",\"with_snapshots\":true}"), 0);
    CU_ASSERT_EQUAL(ask_error("lun.show", "{\"name\":\"bond\"}"), 0);
    char by_id[64];
    long long id = json_integer_value(json_object_get(lun, "id"));
    snprintf(by_id, sizeof(by_id), "{\"name\":\"bond\",\"id\":%lld}", id + 1);
    CU_ASSERT_EQUAL(ask_error("lun.delete", by_id), -ESTALE); /* another one has the name by now */
    CU_ASSERT_EQUAL(ask_error("snapshot.create", "{\"lun\":\"bond\",\"snapshot\":\"s\"}"), 0);
    snprintf(by_id, sizeof(by_id), "{\"name\":\"bond\",\"id\":%lld}", id);
    CU_ASSERT_EQUAL(ask_error("lun.delete", by_id), -EBUSY);
    CU_ASSERT_EQUAL(ask_error("snapshot.delete", "{\"lun\":\"bond\",\"snapshot\":\"s\"}"), 0);
    CU_ASSERT_EQUAL(ask_error("lun.delete", by_id), 0);
    for (int i = 0; i < 20; i++)
    {
        char args[64];
        snprintf(args, sizeof(args), "{\"name\":\"vm-%03d\"}", i);
        CU_ASSERT_EQUAL(ask_error("lun.delete", args), i == 7 ? -ENOENT : 0);
    }
    target_stop(target);
}

/* A dry run of a delete of @args, of @count LUNs and snapshots, lacks @option. */
static void expect_needs(const char *args, size_t count, const char *option)
{
    int err;
    AUTO_JSON json_t *plan = ask("lun.delete", args, &err);
    const json_t *needs = json_object_get(plan, "needs");
    CU_ASSERT_EQUAL(json_array_size(json_object_get(plan, "goes")), count);
    CU_ASSERT_TRUE(json_integer_value(json_object_get(plan, "freed_bytes")) > 0);
    CU_ASSERT_TRUE(json_is_string(json_object_get(plan, "refused")));
    CU_ASSERT_EQUAL_FATAL(json_array_size(needs), 1);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(needs, 0)), option);
}

static void test_dry_runs(void)
{
    struct target *target = start();
    int err;
    CU_ASSERT_EQUAL(
        ask_error("lun.create", "{\"name\":\"a\",\"size_bytes\":1048576,\"dry_run\":true}"), 0);
    CU_ASSERT_EQUAL(ask_error("lun.show", "{\"name\":\"a\"}"), -ENOENT);
    CU_ASSERT_EQUAL(ask_error("lun.create", "{\"name\":\"a\",\"size_bytes\":1048576}"), 0);
    struct lun *lun;
    char data[8192] = "x";
    CU_ASSERT_EQUAL_FATAL(lun_open(pool, "a", 0, &lun, NULL), 0);
    CU_ASSERT_EQUAL(lun_write(lun, data, sizeof(data), 4096, 0), 0);
    /* Open: what the real one refuses the dry one does too, with the figures. */
    expect_needs("{\"name\":\"a\",\"dry_run\":true}", 1, "--force");
    lun_close(lun);
    CU_ASSERT_EQUAL(ask_error("snapshot.create", "{\"lun\":\"a\",\"snapshot\":\"s\"}"), 0);
    CU_ASSERT_EQUAL_FATAL(lun_open(pool, "a", 0, &lun, NULL), 0);
    data[0] = 'y';
    CU_ASSERT_EQUAL(lun_write(lun, data, 4096, 4096, 0), 0);
    lun_close(lun);
    expect_needs("{\"name\":\"a\",\"dry_run\":true}", 2, "--with-snapshots");
    CU_ASSERT_EQUAL(ask_error("lun.delete", "{\"name\":\"a\",\"only_check\":true}"), -EBUSY);
    AUTO_JSON json_t *gone =
        ask("lun.delete", "{\"name\":\"a\",\"dry_run\":true,\"with_snapshots\":true}", &err);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(gone, "goes")), 2);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(gone, "freed_data_bytes")), 3 * 4096);
    AUTO_JSON json_t *lost =
        ask("snapshot.restore", "{\"lun\":\"a\",\"snapshot\":\"s\",\"dry_run\":true}", &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(lost, "lost_bytes")), 4096);
    AUTO_JSON json_t *cut =
        ask("lun.resize", "{\"name\":\"a\",\"size_bytes\":8192,\"dry_run\":true}", &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(cut, "cut_bytes")), 4096);
    CU_ASSERT_EQUAL(ask_error("lun.clone", "{\"source\":\"a\",\"name\":\"a\",\"dry_run\":true}"),
                    -EEXIST);
    CU_ASSERT_EQUAL(
        ask_error("lun.clone", "{\"source\":\"a\",\"name\":\"%d%d\",\"count\":2,\"dry_run\":true}"),
        -EINVAL);
    CU_ASSERT_EQUAL(ask_error("lun.clone",
                              "{\"source\":\"a\",\"name\":\"b%05d\",\"count\":2,\"dry_run\":true}"),
                    0);
    CU_ASSERT_EQUAL(ask_error("lun.show", "{\"name\":\"b00000\"}"), -ENOENT);
    AUTO_JSON json_t *still = ask("lun.show", "{\"name\":\"a\",\"snapshots\":true}", &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(still, "count")), 2);
    CU_ASSERT_EQUAL(ask_error("lun.delete", "{\"name\":\"a\",\"with_snapshots\":true}"), 0);
    target_stop(target);
}

static void test_status(void)
{
    struct target *target = start();
    int err;
    AUTO_JSON json_t *status = ask("server.status", "{}", &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(status, "pid")), getpid());
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(status, "nbd_uri")), "nbd://x/");
    CU_ASSERT_TRUE(json_is_true(json_object_get(status, "may_change")));
    CU_ASSERT_TRUE(json_is_null(json_object_get(status, "conf")));
    target_stop(target);
}

/* With a key: what is set is wrapped, and no answer has a key or a secret in it. */
static void test_key(void)
{
    struct host_key key = {.bytes = "thirty-two bytes, and not one mo"};
    char old_key[256];
    snprintf(key.id, sizeof(key.id), "0123456789abcdef");
    const struct target_options options = {.mgmt_socket = socket_path, .key = &key};
    struct target *target = NULL;
    int err;
    CU_ASSERT_EQUAL_FATAL(target_start(pool, &options, &target, NULL), 0);
    AUTO_JSON json_t *set = ask("iscsi.chap.set",
                                "{\"subject\":\"*\",\"user\":\"u\",\"secret\":"
                                "\"correct-horse-battery\"}",
                                &err);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(set, "stored")), "wrapped");
    snprintf(old_key, sizeof(old_key),
             "{\"old_key\":\"lunette-key-1 fedcba9876543210 %064d\",\"dry_run\":false}", 7);
    AUTO_JSON json_t *rewrapped = ask("iscsi.chap.rewrap", old_key, &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(rewrapped, "kept")), 1);
    CU_ASSERT_PTR_NULL(json_object_get(rewrapped, "old_key"));
    AUTO_JSON json_t *status = ask("server.status", "{}", &err);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(status, "key")), key.id);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(status, "secrets_wrapped")), 1);
    AUTO_JSON json_t *shown = ask("iscsi.chap.show", "{}", &err);
    AUTO_FREE char *text = json_dumps(shown, 0);
    CU_ASSERT_PTR_NULL(strstr(text, "battery"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, key.id));
    target_stop(target);
    /* Another server has not got it. */
    target = start();
    AUTO_JSON json_t *later = ask("server.status", "{}", &err);
    CU_ASSERT_TRUE(json_is_null(json_object_get(later, "key")));
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(later, "secrets_locked")), 1);
    CU_ASSERT_EQUAL(ask_error("iscsi.chap.delete", "{\"subject\":\"*\"}"), 0);
    target_stop(target);
}

/* Igroups, mappings and CHAP work without a portal; what a LUN had ends with it. */
static void test_access_verbs(void)
{
    struct target *target = start();
    int err;
    CU_ASSERT_EQUAL(ask_error("lun.create", "{\"name\":\"acc\",\"size_bytes\":1048576}"), 0);
    CU_ASSERT_EQUAL(
        ask_error("igroup.create", "{\"name\":\"g\",\"initiators\":[\"iqn.2001-04.c:a\"]}"), 0);
    CU_ASSERT_EQUAL(ask_error("igroup.create", "{\"name\":\"g\"}"), -EEXIST);
    CU_ASSERT_EQUAL(ask_error("lun.map", "{\"name\":\"acc\",\"igroup\":\"g\",\"lun_id\":4096}"),
                    -EINVAL);
    AUTO_JSON json_t *mapped =
        ask("lun.map", "{\"name\":\"acc\",\"igroup\":\"g\",\"lun_id\":7}", &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(mapped, "lun_id")), 7);
    CU_ASSERT_EQUAL(ask_error("lun.map", "{\"name\":\"acc\",\"igroup\":\"none\"}"), -ENOENT);
    CU_ASSERT_EQUAL(ask_error("igroup.delete", "{\"name\":\"g\",\"dry_run\":true}"), -EBUSY);
    CU_ASSERT_EQUAL(ask_error("lun.delete", "{\"name\":\"acc\"}"), 0);
    AUTO_JSON json_t *left = ask("mapping.show", "{}", &err);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(left, "count")), 0);

    CU_ASSERT_EQUAL(ask_error("iscsi.chap.set", "{\"subject\":\"igroup:g\",\"user\":\"u\","
                                                "\"secret\":\"0123456789abcdef\"}"),
                    0);
    AUTO_JSON json_t *chap = ask("iscsi.chap.show", "{}", &err);
    AUTO_FREE char *text = json_dumps(chap, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "igroup:g"));
    CU_ASSERT_PTR_NULL(strstr(text, "0123456789abcdef"));
    CU_ASSERT_EQUAL(ask_error("iscsi.chap.set", "{\"subject\":\"*\",\"user\":\"u\",\"secret\":"
                                                "\"0123456789abcdef\",\"mutual_user\":\"t\"}"),
                    -EINVAL);
    CU_ASSERT_EQUAL(ask_error("iscsi.chap.rewrap", "{}"), -ENOKEY);
    CU_ASSERT_EQUAL(ask_error("iscsi.chap.rewrap", "{\"old_key\":\"0123\"}"), -EINVAL);
    CU_ASSERT_EQUAL(ask_error("iscsi.session.terminate", "{\"tsih\":1}"), -ENOTSUP);
    CU_ASSERT_EQUAL(ask_error("iscsi.session.terminate", "{}"), -EINVAL);
    CU_ASSERT_EQUAL(ask_error("igroup.delete", "{\"name\":\"g\"}"), 0);
    AUTO_JSON json_t *none = ask("iscsi.chap.show", "{}", &err); /* it went with its igroup */
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(none, "count")), 0);
    target_stop(target);
}

static void test_store(void)
{
    struct target *target = start();
    int err;
    const struct store_change put = {.key = "test/a", .value = "one", .len = 3};
    const struct store_change bytes = {.key = "test/b", .value = "\xff\x00", .len = 2};
    CU_ASSERT_EQUAL(store_apply(pool, &put, 1, NULL), 0);
    const struct store_change nul = {.key = "test/c", .value = "user\0secret", .len = 12};
    CU_ASSERT_EQUAL(store_apply(pool, &bytes, 1, NULL), 0);
    CU_ASSERT_EQUAL(store_apply(pool, &nul, 1, NULL), 0);
    AUTO_JSON json_t *one = ask("store.get", "{\"key\":\"test/a\"}", &err);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(one, "value")), "one");
    CU_ASSERT_EQUAL(ask_error("store.get", "{\"key\":\"test/none\"}"), -ENOENT);
    AUTO_JSON json_t *all = ask("store.list", "{\"prefix\":\"test/\"}", &err);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(all, "entries")), 3);
    for (size_t i = 1; i < 3; i++)
    {
        const json_t *other = json_array_get(json_object_get(all, "entries"), i);
        CU_ASSERT_TRUE(json_is_null(json_object_get(other, "value"))); /* not text */
    }
    target_stop(target);
}

/* ---- clients ------------------------------------------------------------------------------- */

static void test_garbage(void)
{
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\n", "\n", "[]\n", "{\"verb\"\n", "\x01\x02\xff\xfe\n", "null\n",
    };
    struct target *target = start();
    char text[1024];
    for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
    {
        AUTO_CLOSE int fd = dial();
        say(fd, garbage[i]);
        hear(fd, text, sizeof(text));
        CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"errno\":\"EBADMSG\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"id\":null"));
        CU_ASSERT_TRUE(is_closed(fd));
    }
    CU_ASSERT_EQUAL(ask_error("pool.show", "{}"), 0);
    target_stop(target);
}

/* A request that is JSON but makes no sense is refused, and the connection goes on. */
static void test_wrong_requests(void)
{
    static const char *const wrong[] = {
        "{}\n",
        "{\"id\":1}\n",
        "{\"id\":1,\"verb\":7}\n",
        "{\"id\":1,\"verb\":\"lun.fly\"}\n",
        "{\"id\":1,\"verb\":\"lun.show\",\"args\":[]}\n",
        "{\"id\":1,\"verb\":\"lun.show\",\"args\":{\"wings\":2}}\n",
    };
    struct target *target = start();
    char text[2048];
    AUTO_CLOSE int fd = dial();
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
    {
        say(fd, wrong[i]);
        hear(fd, text, sizeof(text));
        CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"errno\":\"EINVAL\""));
    }
    say(fd, "{\"id\":{\"any\":[\"thing\"]},\"verb\":\"pool.show\"}\n");
    hear(fd, text, sizeof(text));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"id\":{\"any\":[\"thing\"]}"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"ok\":true"));
    target_stop(target);
}

static void test_oversized(void)
{
    struct target *target = start();
    size_t len = PROTO_REQUEST_MAX_BYTES + 2;
    char *big = malloc(len), text[1024];
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    memset(big, ' ', len);
    AUTO_CLOSE int fd = dial();
    ignore_error((int)send(fd, big, len, MSG_NOSIGNAL), "the server may close before all is sent");
    free(big);
    hear(fd, text, sizeof(text));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "EMSGSIZE"));
    CU_ASSERT_TRUE(is_closed(fd));
    CU_ASSERT_EQUAL(ask_error("pool.show", "{}"), 0);
    target_stop(target);
}

/* Clients that send half a request, or ask and do not read, hold up nobody. */
static void test_slow_clients(void)
{
    struct target *target = start();
    int fds[32];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    {
        fds[i] = dial();
        if (i % 2)
            say(fds[i], "{\"id\":1,\"verb\":\"poo");
        else
            for (int n = 0; n < 100; n++)
                say(fds[i], "{\"id\":1,\"verb\":\"pool.show\"}\n");
    }
    for (int i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(ask_error("pool.show", "{}"), 0);
    say(fds[1], "l.show\"}\n");
    char text[4096];
    hear(fds[1], text, sizeof(text));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"ok\":true"));
    target_stop(target); /* with all of them still connected */
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

static struct mgmt *start_limited(struct target **target, const struct mgmt_limits *limits)
{
    const struct target_options options = {0};
    /* A target without a socket lends its pool; the limits are the test's. */
    static struct target_options with_socket;
    struct mgmt *mgmt = NULL;
    struct reason why = {.text = ""};
    CU_ASSERT_EQUAL_FATAL(target_start(pool, &options, target, &why), 0);
    with_socket = *target_options_of(*target);
    with_socket.mgmt_socket = socket_path;
    *(struct target_options *)target_options_of(*target) = with_socket;
    int r = mgmt_start(*target, limits, &mgmt, &why);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    return mgmt;
}

static void stop_limited(struct target *target, struct mgmt *mgmt)
{
    mgmt_stop(mgmt);
    ((struct target_options *)target_options_of(target))->mgmt_socket = NULL; /* not its own */
    target_stop(target);
}

static void test_too_many(void)
{
    struct target *target;
    struct mgmt *mgmt = start_limited(&target, &(struct mgmt_limits){.connections = 3});
    int fds[3];
    char text[1024];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    {
        fds[i] = dial();
        say(fds[i], "{\"id\":1,\"verb\":\"pool.show\"}\n");
        hear(fds[i], text, sizeof(text));
        CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"ok\":true"));
    }
    CU_ASSERT_EQUAL(ask_error("pool.show", "{}"), -EAGAIN);
    close(fds[0]);
    /* The place is free once the server has seen that: ask until it has. */
    int r;
    do
        r = ask_error("pool.show", "{}");
    while (r == -EAGAIN);
    CU_ASSERT_EQUAL(r, 0);
    close(fds[1]);
    close(fds[2]);
    stop_limited(target, mgmt);
}

/* A request has to arrive in its time: a client that stalls loses its place. */
static void test_stalled(void)
{
    struct target *target;
    struct mgmt *mgmt = start_limited(&target, &(struct mgmt_limits){.request_ms = 1});
    AUTO_CLOSE int fd = dial();
    CU_ASSERT_TRUE(is_closed(fd));
    stop_limited(target, mgmt);
}

/* A client that asks for a lot and does not read it loses its place. */
static void test_does_not_read(void)
{
    struct target *target;
    struct mgmt *mgmt = start_limited(&target, &(struct mgmt_limits){.reply_ms = 1});
    AUTO_CLOSE int fd = dial();
    for (int i = 0; i < 100000; i++)
    {
        static const char request[] = "{\"id\":1,\"verb\":\"pool.show\"}\n";
        if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
            break;
    }
    char byte = ' ';
    CU_ASSERT_TRUE(send(fd, &byte, 1, MSG_NOSIGNAL) < 0);
    stop_limited(target, mgmt);
}

static void *ask_often(void *opaque)
{
    size_t *failures = opaque;
    for (int i = 0; i < 10; i++)
    {
        struct client client;
        struct client_refusal refusal;
        json_t *result = NULL;
        int r = client_connect(&client, socket_path, NULL);
        if (r == 0)
        {
            r = client_call(&client, i % 2 ? "lun.show" : "pool.show", NULL, NULL, NULL, &result,
                            &refusal);
            client_close(&client);
        }
        json_decref(result);
        *failures += r != 0;
    }
    return NULL;
}

static void test_parallel(void)
{
    struct target *target = start();
    pthread_t threads[100];
    size_t failures[ARRAY_SIZE(threads)] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, ask_often, &failures[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
    {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(failures[i], 0);
    }
    target_stop(target);
}

/* ---- long verbs ---------------------------------------------------------------------------- */

static int stop_at_third(void *opaque, const json_t *progress)
{
    int *seen = opaque;
    CU_ASSERT_PTR_NOT_NULL(json_object_get(progress, "text"));
    return ++*seen == 3 ? -ECANCELED : 0;
}

static void *follow(void *opaque)
{
    int *seen = opaque;
    struct client client;
    struct client_refusal refusal;
    json_t *result = NULL;
    int r = client_connect(&client, socket_path, NULL);
    if (r == 0)
        r = client_call(&client, "event.follow", json_pack("{s:i}", "after", 0), stop_at_third,
                        seen, &result, &refusal);
    client_close(&client);
    return (void *)(intptr_t)r;
}

static void test_follow(void)
{
    struct target *target = start();
    pthread_t thread;
    void *r;
    int seen = 0;
    for (int i = 0; i < 2; i++)
        event_add(pool, "info", "test.event", "", "number %d", i);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, follow, &seen), 0);
    event_add(pool, "info", "test.event", "", "the third");
    pthread_join(thread, &r);
    CU_ASSERT_EQUAL((intptr_t)r, -ECANCELED);
    CU_ASSERT_EQUAL(seen, 3);
    target_stop(target);
}

/* Stopping ends who follows and who waits, with an answer. */
static void test_stop_under_followers(void)
{
    struct target *target = start();
    int fds[8];
    char text[4096];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    {
        fds[i] = dial();
        say(fds[i], "{\"id\":1,\"verb\":\"event.follow\",\"args\":{\"after\":0}}\n");
        hear(fds[i], text, sizeof(text)); /* so it is in there */
    }
    target_stop(target);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    {
        size_t total = 0;
        ssize_t n;
        char last[4096] = "";
        while ((n = read(fds[i], last, sizeof(last) - 1)) > 0)
        {
            last[n] = '\0';
            total += (size_t)n;
        }
        CU_ASSERT_TRUE(total > 0);
        close(fds[i]);
    }
}

/* ---- sockets ------------------------------------------------------------------------------- */

static void test_live_socket_is_not_stolen(void)
{
    struct target *target = start(), *second = NULL;
    const struct target_options options = {.mgmt_socket = socket_path};
    struct reason why = {.text = ""};
    CU_ASSERT_EQUAL(target_start(pool, &options, &second, &why), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, socket_path));
    CU_ASSERT_EQUAL(ask_error("pool.show", "{}"), 0);
    target_stop(target);
    CU_ASSERT_EQUAL(access(socket_path, F_OK), -1);
}

static void test_dead_socket_is_replaced(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(take_fd(&fd)); /* the path stays, nobody listens */
    struct target *target = start();
    CU_ASSERT_EQUAL(ask_error("pool.show", "{}"), 0);
    target_stop(target);
}

/* A server that does not lock (another program's) is not robbed of its socket either. */
static void test_foreign_socket_is_not_stolen(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct reason why = {.text = ""};
    struct mgmt_listener listener = MGMT_LISTENER_NONE;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 1), 0);
    CU_ASSERT_EQUAL(mgmt_listen(socket_path, 0600, &listener, &why), -EBUSY);
    CU_ASSERT_EQUAL(access(socket_path, F_OK), 0);
    unlink(socket_path);
}

static void test_other_file_is_left_alone(void)
{
    struct reason why = {.text = ""};
    struct mgmt_listener listener = MGMT_LISTENER_NONE;
    AUTO_CLOSE int fd = open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(mgmt_listen(socket_path, 0600, &listener, &why), -EEXIST);
    CU_ASSERT_EQUAL(access(socket_path, F_OK), 0);
    unlink(socket_path);
    char path[200];
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    CU_ASSERT_EQUAL(mgmt_listen(path, 0600, &listener, &why), -EINVAL);
    CU_ASSERT_EQUAL(mgmt_listen("", 0600, &listener, &why), -EINVAL);
    CU_ASSERT_EQUAL(mgmt_listen("/nonexistent/sock", 0600, &listener, &why), -ENOENT);
    mgmt_unlisten(&listener);
}

static void test_mode(void)
{
    struct stat there;
    struct mgmt_listener listener = MGMT_LISTENER_NONE;
    CU_ASSERT_EQUAL_FATAL(mgmt_listen(socket_path, 0640, &listener, NULL), 0);
    CU_ASSERT_EQUAL(stat(socket_path, &there), 0);
    CU_ASSERT_EQUAL(there.st_mode & 0777, 0640);
    mgmt_unlisten(&listener);
    CU_ASSERT_EQUAL(access(socket_path, F_OK), -1);
}

static void test_bad_options(void)
{
    struct target *target = NULL;
    struct reason why = {.text = ""};
    struct target_options options = {.mgmt_socket = socket_path,
                                     .management_group = "no such group"};
    CU_ASSERT_EQUAL(target_start(pool, &options, &target, &why), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "no such group"));
    CU_ASSERT_EQUAL(access(socket_path, F_OK), -1);
    target_stop(NULL);
    mgmt_stop(NULL);
}

static CU_TestInfo mgmt_tests[] = {
    {"life of a LUN", test_life_of_a_lun},
    {"dry runs", test_dry_runs},
    {"status", test_status},
    {"a key", test_key},
    {"igroups, mappings and CHAP", test_access_verbs},
    {"store", test_store},
    {"garbage", test_garbage},
    {"requests that make no sense", test_wrong_requests},
    {"a request that is too long", test_oversized},
    {"slow clients hold up nobody", test_slow_clients},
    {"too many clients", test_too_many},
    {"a client that stalls", test_stalled},
    {"a client that does not read", test_does_not_read},
    {"100 clients at once", test_parallel},
    {"following events", test_follow},
    {"stopping under followers", test_stop_under_followers},
    {"a live socket is not stolen", test_live_socket_is_not_stolen},
    {"a dead socket is replaced", test_dead_socket_is_replaced},
    {"a foreign socket is not stolen", test_foreign_socket_is_not_stolen},
    {"another file is left alone", test_other_file_is_left_alone},
    {"permissions of the socket", test_mode},
    {"options that cannot be", test_bad_options},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"mgmt", set_up, tear_down, NULL, NULL, mgmt_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
