/* SPDX-License-Identifier: BSD-3-Clause */
/* Management as lines of text, for tests: the table of verbs. */
#include "tests/lib/pool_verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"

enum
{
    VERB_WORDS_MAX = 6,
    VERB_WRITE_BYTES = 1 << 20,
};

/* A line in its words, and where its answer goes. */
struct verb_call
{
    struct pool *pool;
    char *words[VERB_WORDS_MAX];
    size_t count;
    char *text;
    struct reason why;
};

static uint64_t verb_number(const struct verb_call *call, size_t at)
{
    return at < call->count ? strtoull(call->words[at], NULL, 0) : 0;
}

static bool verb_has(const struct verb_call *call, const char *word)
{
    for (size_t i = 0; i < call->count; i++)
        if (strcmp(call->words[i], word) == 0)
            return true;
    return false;
}

static unsigned verb_flags(const struct verb_call *call)
{
    return verb_has(call, "force") ? LUN_FORCE : 0;
}

static int verb_create(struct verb_call *call)
{
    const struct lun_create_args args = {
        .name = call->words[1],
        .size_bytes = verb_number(call, 2),
    };
    return lun_create(call->pool, &args, &call->why);
}

static int verb_clone(struct verb_call *call)
{
    const struct lun_clone_args args = {
        .source = call->words[1],
        .name = call->words[2],
        .count = (uint32_t)verb_number(call, 3),
    };
    return lun_clone(call->pool, &args, &call->why);
}

static int verb_snapshot(struct verb_call *call)
{
    return snapshot_create(call->pool, call->words[1], call->words[2], NULL, &call->why);
}

static int verb_restore(struct verb_call *call)
{
    return snapshot_restore(call->pool, call->words[1], call->words[2], verb_flags(call),
                            &call->why);
}

static int verb_delete(struct verb_call *call)
{
    char *at = strchr(call->words[1], '@');
    if (!at)
        return lun_delete(call->pool, call->words[1], verb_has(call, "snapshots"), verb_flags(call),
                          &call->why);
    *at = '\0';
    return snapshot_delete(call->pool, call->words[1], at + 1, verb_flags(call), &call->why);
}

static int verb_resize(struct verb_call *call)
{
    return lun_resize(call->pool, call->words[1], verb_number(call, 2), verb_flags(call),
                      &call->why);
}

static int verb_rename(struct verb_call *call)
{
    return lun_rename(call->pool, call->words[1], call->words[2], &call->why);
}

static int verb_comment(struct verb_call *call)
{
    return lun_set_comment(call->pool, call->words[1], call->words[2], &call->why);
}

static int verb_write(struct verb_call *call)
{
    struct lun *lun = NULL;
    int r = lun_open(call->pool, call->words[1], 0, &lun, &call->why);
    if (r < 0)
        return r;
    AUTO_FREE char *buf = malloc(VERB_WRITE_BYTES);
    if (!buf)
        r = -ENOMEM;
    else
        memset(buf, (int)verb_number(call, 4), VERB_WRITE_BYTES);
    uint64_t end = verb_number(call, 3) + verb_number(call, 2);
    for (uint64_t at = verb_number(call, 3); at < end && r == 0; at += VERB_WRITE_BYTES)
        r = lun_write(lun, buf, min_u64(VERB_WRITE_BYTES, end - at), at, 0);
    if (r == 0)
        r = lun_flush(lun);
    lun_close(lun);
    return r;
}

/* A volume that pauses when it is full. */
static int verb_volume(struct verb_call *call)
{
    const struct volume_attributes attributes = {
        .size_bytes = verb_number(call, 2),
        .pauses_when_full = true,
        .pause_ms = (uint32_t)verb_number(call, 3),
    };
    return volume_create(call->pool, call->words[1], &attributes, &call->why);
}

/* How many there were of a kind. */
static int verb_events(struct verb_call *call)
{
    struct event *list = NULL;
    size_t count = 0;
    uint64_t found = 0;
    int r = event_list(call->pool, 0, &list, &count);
    for (size_t i = 0; i < count; i++)
        found += strcmp(list[i].name, call->words[1]) == 0;
    free(list);
    snprintf(call->text, POOL_VERB_TEXT_BYTES, "count %" PRIu64, found);
    return r;
}

static int verb_grow(struct verb_call *call)
{
    return pool_grow(call->pool, verb_number(call, 1), &call->why);
}

static int verb_show(struct verb_call *call)
{
    struct lun_info info;
    int r = lun_get_info(call->pool, call->words[1], &info, &call->why);
    if (r == 0)
        snprintf(call->text, POOL_VERB_TEXT_BYTES,
                 "size %" PRIu64 " mapped %" PRIu64 " own %" PRIu64 " open %u", info.size_bytes,
                 info.mapped_bytes, info.own_bytes, info.open_handles);
    return r;
}

static int verb_pool(struct verb_call *call)
{
    struct pool_info info;
    pool_get_info(call->pool, &info);
    snprintf(call->text, POOL_VERB_TEXT_BYTES,
             "available %" PRIu64 " free %" PRIu64 " deferred %" PRIu64 " luns %" PRIu64,
             info.available_bytes, info.free_bytes, info.deferred_bytes, info.lun_count);
    return 0;
}

static int verb_settle(struct verb_call *call)
{
    int r = job_wait(call->pool, 0, 0);
    return r < 0 ? r : pool_checkpoint(call->pool);
}

static void verb_check_report(void *opaque, bool is_error, const char *text)
{
    struct verb_call *call = opaque;
    if (is_error && !call->why.text[0])
        reason_set(&call->why, 0, "%s", text);
}

static int verb_check(struct verb_call *call)
{
    struct check_result result;
    int r = pool_check(call->pool, verb_check_report, call, &result);
    snprintf(call->text, POOL_VERB_TEXT_BYTES, "errors %" PRIu64, result.errors);
    return r == 0 && result.errors > 0 ? -EBADMSG : r;
}

static const struct
{
    const char *name;
    size_t words; /* at least, with its name */
    int (*run)(struct verb_call *call);
} verbs[] = {
    {"create", 3, verb_create}, {"clone", 3, verb_clone},     {"snapshot", 3, verb_snapshot},
    {"delete", 2, verb_delete}, {"restore", 3, verb_restore}, {"resize", 3, verb_resize},
    {"rename", 3, verb_rename}, {"comment", 3, verb_comment}, {"write", 5, verb_write},
    {"grow", 2, verb_grow},     {"show", 2, verb_show},       {"pool", 1, verb_pool},
    {"settle", 1, verb_settle}, {"check", 1, verb_check},     {"volume", 4, verb_volume},
    {"events", 2, verb_events},
};

int pool_verb(struct pool *pool, const char *line, char text[POOL_VERB_TEXT_BYTES])
{
    AUTO_FREE char *copy = strdup(line);
    struct verb_call call = {.pool = pool, .text = text};
    reason_clear(&call.why);
    text[0] = '\0';
    char *rest = copy;
    for (char *word = strsep(&rest, " \n"); word; word = strsep(&rest, " \n"))
        if (word[0] && call.count < VERB_WORDS_MAX)
            call.words[call.count++] = word;

    for (size_t i = 0; i < ARRAY_SIZE(verbs) && call.count > 0; i++)
    {
        if (strcmp(verbs[i].name, call.words[0]) != 0 || call.count < verbs[i].words)
            continue;
        int r = verbs[i].run(&call);
        if (r < 0)
            snprintf(text, POOL_VERB_TEXT_BYTES, "%s",
                     call.why.text[0] ? call.why.text : strerror(-r));
        return r;
    }
    snprintf(text, POOL_VERB_TEXT_BYTES, "no such verb: %s", line);
    return -EINVAL;
}

int pool_verb_send(const char *socket_path, const char *line, char text[POOL_VERB_TEXT_BYTES])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || shutdown(fd, SHUT_WR) < 0)
        return -errno;
    char answer[POOL_VERB_TEXT_BYTES + 16];
    ssize_t len = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
    if (len <= 0)
        return len < 0 ? -errno : -EPIPE;
    answer[len] = '\0';
    char *end = answer;
    long r = strtol(answer, &end, 10);
    snprintf(text, POOL_VERB_TEXT_BYTES, "%s", *end == ' ' ? end + 1 : end);
    return (int)r;
}
