/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th allocation of each management request fails, n = 1, 2, ... until none is asked for any
 * more: the requests are those of the fuzzer's corpus, on its pool.
 *
 * What is refused has changed nothing of what the server shows or stores, and what is not refused
 * is done: the next try gets further, and the last one, for which there is memory, is answered as
 * it is on a server where nothing failed. Where the answer itself has no memory, the request is
 * done all the same, and the answer says less; nobody aborts, and the pool is in order.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/host_key.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "tests/fuzz/pool_image.h"
#include "tests/lib/cunit_main.h"
#include "tests/lib/no_memory.h"
#include "tests/lib/rng.h"

enum
{
    LINES_MAX = 100,
    FILES_MAX = 400,
};

static struct simdev *disk;
static struct rng_env env;
static struct pool *pool;
static struct target *target;
static bool is_called[1000]; /* by place in the table of verbs */
static uint64_t tries, refusals, fresh_pools;
static uint64_t spread = UINT64_MAX; /* the later ones of many allocations are not tried all */

static void log_nothing(enum log_level level, const char *text)
{
    (void)level, (void)text;
}

/* ---- a server ------------------------------------------------------------------------------ */

static const struct host_key key = {.bytes = "some key of this host", .id = "0123456789abcdef"};
static const struct target_options no_threads = {.key = &key,
                                                 .policy = {.env = &env.env, .no_threads = true}};

static void open_pool(void)
{
    struct pool_copy *copy = pool_copy_new(pool_image(POOL_IMAGE_CLOSED));
    disk = pool_copy_disk(copy);
    pool_copy_free(copy);
    rng_env_init(&env, 3);
    struct device *device = simdev_open(disk);
    memory_spare_disk(device);
    CU_ASSERT_EQUAL_FATAL(pool_open_device(&env.env, device,
                                           &(struct pool_open_options){.take_over = true}, &pool,
                                           NULL),
                          0);
}

static void start(void)
{
    open_pool();
    CU_ASSERT_EQUAL_FATAL(target_start(pool, &no_threads, &target, NULL), 0);
}

static bool is_healthy(void)
{
    struct pool_info info;
    pool_get_info(pool, &info);
    return info.health == POOL_HEALTHY;
}

static void stop(void)
{
    struct check_result result;
    bool was_healthy = is_healthy();
    target_stop(target);
    CU_ASSERT_EQUAL(pool_check(pool, NULL, NULL, &result), 0);
    CU_ASSERT_EQUAL(result.errors, 0);
    int r = pool_close(pool);
    CU_ASSERT_TRUE(r == 0 || !was_healthy);
    simdev_destroy(disk);
}

/* ---- requests ------------------------------------------------------------------------------ */

static int send_progress(struct verb_request *request, json_t *progress)
{
    (void)request;
    json_decref(progress);
    return 0;
}

static bool is_cancelled(struct verb_request *request)
{
    (void)request;
    return true;
}

/* ---- what there is ------------------------------------------------------------------------- */

static int send_progress(struct verb_request *request, json_t *progress);
static bool is_cancelled(struct verb_request *request);

/* Without what differs from one time to the next: what was made and undone has another id. */
static void prune(json_t *json)
{
    static const char *const volatile_keys[] = {
        "id",        "uuid",       "object_id", "created", "created_ns", "time",
        "own_bytes", "generation", "value",     "next",    "open",       "available_bytes"};
    const char *name;
    json_t *value;
    size_t i;
    void *next;
    for (size_t k = 0; json_is_object(json) && k < ARRAY_SIZE(volatile_keys); k++)
        json_object_del(json, volatile_keys[k]);
    json_array_foreach(json, i, value) prune(value);
    json_object_foreach_safe(json, next, name, value) prune(value);
}

/* All that listings tell, to be freed. */
static char *state(void)
{
    static const char *const shows[] = {"lun.show",
                                        "snapshot.show",
                                        "volume.show",
                                        "qtree.show",
                                        "igroup.show",
                                        "mapping.show",
                                        "qos.show",
                                        "qos.class.show",
                                        "iscsi.chap.show",
                                        "refresh.show",
                                        "store.list",
                                        "pool.settings.show",
                                        "snapshot.policy.show",
                                        "autodelete.show"};
    bool was_armed = memory_spare();
    AUTO_JSON json_t *all = json_array();
    for (size_t i = 0; i < ARRAY_SIZE(shows); i++)
    {
        AUTO_JSON json_t *args = json_object();
        struct verb_request request = {.target = target,
                                       .pool = pool,
                                       .args = args,
                                       .send_progress = send_progress,
                                       .is_cancelled = is_cancelled};
        const struct verb *verb = verb_find(shows[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(verb);
        ignore_error(verb->handler(&request), "some are not there");
        json_array_append_new(all, request.result);
    }
    struct pool_info info;
    pool_get_info(pool, &info);
    json_array_append_new(all, json_integer((json_int_t)info.size_bytes));
    prune(all);
    char *text = json_dumps(all, JSON_SORT_KEYS | JSON_INDENT(1));
    memory_unspare(was_armed);
    return text;
}

static int handle(const struct verb *verb, json_t *args)
{
    struct verb_request request = {.target = target,
                                   .pool = pool,
                                   .peer = {.may_change = true},
                                   .connections = 1,
                                   .args = args,
                                   .send_progress = send_progress,
                                   .is_cancelled = is_cancelled};
    char hint[512];
    int r = verb_run(verb, &request);
    if (r < 0)
        verb_hint(verb, r, args, request.why.text, hint, sizeof(hint));
    json_decref(request.result);
    return r;
}

/* 1: it is none that can be called. */
static int request(const char *line)
{
    struct reason why;
    reason_clear(&why);
    AUTO_JSON json_t *message = NULL;
    int r = proto_parse(line, strlen(line), PROTO_DEPTH_MAX, &message, &why);
    if (r < 0)
        return r == -ENOMEM ? r : 1;
    const char *name = json_string_value(json_object_get(message, "verb"));
    const struct verb *verb = name ? verb_find(name) : NULL;
    json_t *args = json_object_get(message, "args");
    if (!verb || !args || verb_check_args(verb, args, &why) < 0)
        return 1;
    for (size_t i = 0; verb_at(i); i++)
        is_called[i] |= verb_at(i) == verb;
    return handle(verb, args);
}

/* ---- files of requests --------------------------------------------------------------------- */

struct script
{
    const char *name;
    char *text, *lines[LINES_MAX];
    int results[LINES_MAX]; /* where nothing fails */
    size_t count;
};

static void script_load(struct script *script, const char *folder, const char *name)
{
    char path[1024];
    size_t len = 0;
    *script = (struct script){.name = name, .text = calloc(1, 65536)};
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_FATAL(file && script->text);
    len = fread(script->text, 1, 65535, file);
    fclose(file);
    char *at = script->text + (len > 0); /* behind the byte that says who asks */
    for (char *end; script->count < LINES_MAX && (end = strchr(at, '\n')); at = end + 1)
    {
        *end = '\0';
        script->lines[script->count++] = at;
    }
}

static void show_difference(const char *before, const char *now)
{
    const char *line = before;
    for (; *before && *before == *now; before++, now++)
        line = *before == '\n' ? before + 1 : line;
    printf("\n    %.60s became %.300s", line, now);
}

static void complain(const struct script *script, size_t i, uint64_t n, int r)
{
    printf("\n    %s, %.100s, allocation %" PRIu64 ": %s instead of %s ", script->name,
           script->lines[i], n, strerror(-r), strerror(-script->results[i]));
    CU_FAIL("see above");
}

static void run_before(const struct script *script, size_t end)
{
    start();
    for (size_t i = 0; i < end; i++)
        CU_ASSERT_EQUAL(request(script->lines[i]), script->results[i]);
}

static void begin_anew(const struct script *script, size_t end)
{
    fresh_pools++;
    stop();
    run_before(script, end);
}

/* One request, from where all before it were done, and again on the same server. */
static void try_line(const struct script *script, size_t i, bool is_for_ever)
{
    uint64_t failed = 1;
    char *before = state();
    for (uint64_t n = 0; failed > 0 && CU_get_number_of_failures() < 30; n += 1 + n / spread)
    {
        memory_arm(n, is_for_ever);
        int r = request(script->lines[i]);
        failed = memory_disarm();
        tries++;
        refusals += r < 0 && failed > 0;
        if (r != script->results[i] && (r != -ENOMEM || failed == 0))
            complain(script, i, n, r);
        if (!is_healthy())
            complain(script, i, n, -EROFS);
        AUTO_FREE char *now = state();
        if (r < 0 && strcmp(now, before) != 0)
        {
            show_difference(before, now);
            complain(script, i, n, -EEXIST);
        }
        if (failed == 0 || (r == -ENOMEM && strcmp(now, before) == 0))
            continue;
        begin_anew(script, i);
        free(before);
        before = state();
    }
    free(before);
}

static void try_script(const char *folder, const char *name)
{
    struct script script;
    script_load(&script, folder, name);
    start();
    for (size_t i = 0; i < script.count; i++)
        script.results[i] = request(script.lines[i]);
    stop();
    for (int is_for_ever = 0; is_for_ever < 2; is_for_ever++)
    {
        start();
        for (size_t i = 0; i < script.count; i++)
            try_line(&script, i, is_for_ever);
        stop();
    }
    free(script.text);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those that were written, not what a fuzzer made of them. */
static void try_all(void)
{
    static char *names[FILES_MAX];
    size_t count = 0;
    struct dirent *entry;
    DIR *folder = opendir(CORPUS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
    while ((entry = readdir(folder)) != NULL && count < FILES_MAX)
    {
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, "grown", 5) != 0)
            names[count++] = strdup(entry->d_name);
    }
    closedir(folder);
    qsort(names, count, sizeof(*names), compare_names);
    tries = refusals = fresh_pools = 0;
    for (size_t i = 0; i < count; i++)
    {
        try_script(CORPUS, names[i]);
        free(names[i]);
    }
    printf("(%" PRIu64 " tries, %" PRIu64 " refused, %" PRIu64 " fresh pools) ", tries, refusals,
           fresh_pools);
}

static void test_requests(void)
{
    log_set_sink(log_nothing);
    try_all();
    for (size_t i = 0; verb_at(i); i++)
    {
        if (!is_called[i])
            printf("\n    %s is not tried", verb_at(i)->name);
        CU_ASSERT_TRUE(is_called[i]);
    }
}

/* What the answer is made of cannot be had either. */
static void test_answers(void)
{
    spread = 20;
    proto_wipe_json(); /* from now on jansson has the server's allocator, which is what fails */
    try_all();
}

static void test_start(void)
{
    for (int is_for_ever = 0; is_for_ever < 2; is_for_ever++)
    {
        uint64_t failed = 1;
        open_pool();
        for (uint64_t n = 0; failed > 0; n++)
        {
            struct reason why;
            memory_arm(n, is_for_ever);
            int r = target_start(pool, &no_threads, &target, &why);
            failed = memory_disarm();
            CU_ASSERT_TRUE(r == 0 || (r == -ENOMEM && failed > 0));
            if (r == 0 && failed > 0)
                target_stop(target);
        }
        stop();
    }
}

static CU_TestInfo no_memory_verbs_tests[] = {
    {"starting", test_start},
    {"requests", test_requests},
    {"answers", test_answers},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"no memory, verbs", NULL, NULL, NULL, NULL, no_memory_verbs_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
