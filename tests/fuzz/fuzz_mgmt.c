/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Management requests, on a pool in memory. Bit 0 of the first byte says whether the client may
 * change things, the rest is what it sends: lines of JSON. The pool must be in order afterwards,
 * whatever was asked for.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pool_image.h"
#include "tests/lib/rng.h"

enum
{
    FUZZ_REQUESTS = 40,
    FUZZ_STEPS = 4,        /* of each kind of work that the server does by itself */
    FUZZ_BYTES = 32 << 10, /* what a socket takes without a reader */
    FUZZ_LINE_MS = 60000,
};

static struct pool *pool;
static struct target *target;

static void fuzz_log(enum log_level level, const char *text)
{
    (void)level, (void)text;
}

/* ---- what mgmt.c gives a verb -------------------------------------------------------------- */

static int fuzz_send_progress(struct verb_request *request, json_t *progress)
{
    (void)request;
    INVARIANT(progress);
    json_decref(progress);
    return 0;
}

/* Who waits is told at once that the client is gone. */
static bool fuzz_is_cancelled(struct verb_request *request)
{
    (void)request;
    return true;
}

/* A reply has to be something that can be sent. */
static void fuzz_check_reply(const struct verb *verb, int r, struct verb_request *request)
{
    char hint[512];
    if (r < 0)
    {
        INVARIANT(r > -4096);
        verb_hint(verb, r, request->args, request->why.text, hint, sizeof(hint));
        INVARIANT(strlen(hint) < sizeof(hint));
        return;
    }
    if (!request->result)
        return;
    AUTO_FREE char *text = json_dumps(request->result, JSON_COMPACT);
    INVARIANT(text && !strchr(text, '\n'));
}

static void fuzz_call(const struct verb *verb, json_t *args, bool may_change)
{
    struct verb_request request = {.target = target,
                                   .pool = pool,
                                   .peer = {.may_change = may_change},
                                   .connections = 1,
                                   .args = args,
                                   .send_progress = fuzz_send_progress,
                                   .is_cancelled = fuzz_is_cancelled};
    command_dry_run(verb_bool(&request, "dry_run"));
    int r = verb->handler(&request);
    command_dry_run(false);
    fuzz_check_reply(verb, r, &request);
    json_decref(request.result);
}

/* False: the connection would end. */
static bool fuzz_line(const char *line, size_t len, bool may_change)
{
    struct reason why = {.text = ""};
    AUTO_JSON json_t *message = NULL;
    int r = proto_parse(line, len, PROTO_DEPTH_MAX, &message, &why);
    if (r < 0)
    {
        INVARIANT(r == -EBADMSG && why.text[0]);
        return false;
    }
    AUTO_JSON json_t *none = json_object();
    const char *name = json_string_value(json_object_get(message, "verb"));
    const struct verb *verb = name ? verb_find(name) : NULL;
    json_t *args = json_object_get(message, "args");
    args = args ? args : none;
    if (!verb)
        return true;
    r = verb_check_args(verb, args, &why);
    INVARIANT(r == 0 || (r == -EINVAL && why.text[0]));
    if (r == 0 && (may_change || verb->access == VERB_LOOKS))
        fuzz_call(verb, args, may_change);
    return true;
}

/* ---- the pool ------------------------------------------------------------------------------ */

static void fuzz_open(struct simdev *disk, struct rng_env *env)
{
    /* One thread, so that a run can be repeated. */
    struct target_options options = {.policy = {.env = &env->env, .no_threads = true}};
    struct reason why;
    struct device *device = simdev_open(disk);
    INVARIANT(pool_open_device(&env->env, device, &(struct pool_open_options){.take_over = true},
                               &pool, &why) == 0);
    INVARIANT(target_start(pool, &options, &target, &why) == 0);
}

static void fuzz_close(void)
{
    struct check_result result;
    for (int i = 0; i < FUZZ_STEPS * POLICY_WORKS; i++)
        policy_step(target_policy(target), (enum policy_work)(i % POLICY_WORKS));
    target_stop(target);
    INVARIANT(pool_check(pool, NULL, NULL, &result) == 0 && result.errors == 0);
    INVARIANT(pool_close(pool) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rng_env env;
    struct proto_stream stream;
    int fds[2];
    log_set_sink(fuzz_log);
    if (size < 1 || size > FUZZ_BYTES)
        return 0;
    rng_env_init(&env, 3);
    struct pool_copy *copy = pool_copy_new(pool_image(POOL_IMAGE_CLOSED));
    struct simdev *disk = pool_copy_disk(copy);
    pool_copy_free(copy);
    fuzz_open(disk, &env);
    INVARIANT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    INVARIANT(send(fds[0], data + 1, size - 1, 0) == (ssize_t)size - 1);
    close(fds[0]);
    proto_stream_init(&stream, fds[1], -1, PROTO_LOOKER_MAX_BYTES);
    char *line;
    size_t len;
    unsigned requests = 0;
    while (requests++ < FUZZ_REQUESTS && proto_read_line(&stream, FUZZ_LINE_MS, &line, &len) == 0 &&
           fuzz_line(line, len, data[0] & 1))
        continue;
    proto_stream_destroy(&stream);
    close(fds[1]);
    fuzz_close();
    simdev_destroy(disk);
    return 0;
}
