/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that overlap: what each may take, and whether a refusal has a reason.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "lun/base/checked.h"
#include "lun/pool/space.h"
#include "tests/model/clients.h"

enum
{
    CL_COMMAND_BLKS = 128, /* metadata that a command asks for beside what it promises */
    /* What the pool's own threads ask for beside the clients, by merges above all. */
    CL_JOBS_BLKS = 2 * SPACE_RULES_MARGIN_BLKS,
};

static uint64_t cl_less(uint64_t of, uint64_t what)
{
    return of > what ? of - what : 0;
}

/* Of space twice: what is held for a command and what it has booked are both there for a moment. */
static void cl_amounts_add(struct cl_amounts *sum, const struct cl_amounts *more)
{
    sum->pool_blks += 2 * more->pool_blks;
    for (unsigned v = 0; v < CL_VOLUMES; v++)
    {
        sum->in[v].blks += 2 * more->in[v].blks;
        sum->in[v].modifies |= more->in[v].modifies;
        for (unsigned i = 0; i < CL_TREES * CL_WHOS; i++)
        {
            int64_t bytes = more->in[v].sums[i / CL_WHOS][i % CL_WHOS].bytes;
            if (bytes > 0)
                sum->in[v].sums[i / CL_WHOS][i % CL_WHOS].add += (uint64_t)bytes;
            else
                sum->in[v].sums[i / CL_WHOS][i % CL_WHOS].drop += (uint64_t)-bytes;
        }
    }
}

/* What nobody was promised and nobody has asked for. */
static uint64_t cl_available(struct cl *cl)
{
    struct space_stats stats;
    space_get_stats(cl->pool->space, &stats);
    return cl_less(stats.free_blks + stats.deferred_blks,
                   stats.promised_blks + stats.reserve_blks + stats.asked_blks);
}

static uint64_t cl_left(struct cl_client *client, int volume, const char *name)
{
    struct volume_info info;
    if (volume_get_info(client->cl->pool, name, &info, &client->why) < 0)
        cl_fail(client, "volume %d, '%s', is not there: %s", volume, name, client->why.text);
    if (info.size_bytes == 0)
        return UINT64_MAX;
    return cl_less(info.size_bytes, info.charged_bytes + info.reserved_bytes) / CL_BLK;
}

void cl_call_new(struct cl_client *client)
{
    struct cl_call *call = &client->call;
    cl_adopt_all(client);
    AUTO_LOCK(&client->cl->lock);
    *call = (struct cl_call){.need.pool_blks = CL_COMMAND_BLKS};
    for (unsigned v = 0; v < CL_VOLUMES; v++)
    {
        call->left[v] = UINT64_MAX;
        call->volumes[v] = client->cl->volumes[v];
    }
    client->why.text[0] = '\0';
}

void cl_call_need(struct cl_client *client, int volume, uint64_t blks)
{
    struct cl_call *call = &client->call;
    if (volume >= 0)
        call->need.in[volume].blks += blks;
    /* For others it counts at any rate: a guarantee may end meanwhile. */
    call->need.pool_blks += blks;
}

void cl_call_sign(struct cl_client *client, cl_sign_fn *is_done, uint64_t number,
                  const char *format, ...)
{
    struct cl_sign *sign = &client->call.sign;
    va_list args;
    *sign = (struct cl_sign){.is_done = is_done, .number = number};
    va_start(args, format);
    vsnprintf(sign->name, sizeof(sign->name), format, args);
    va_end(args);
}

void cl_call_begin(struct cl_client *client)
{
    struct cl *cl = client->cl;
    struct cl_call *call = &client->call;
    {
        AUTO_LOCK(&cl->lock);
        for (unsigned c = 0; c < CL_CLIENTS; c++)
        {
            struct cl_call *other = &cl->clients[c].call;
            if (other == call || !other->is_active)
                continue;
            cl_amounts_add(&call->overlap, &other->need);
            cl_amounts_add(&other->overlap, &call->need);
        }
        for (unsigned v = 0; v < CL_VOLUMES; v++)
            call->volumes[v] = cl->volumes[v];
        call->is_active = true;
        call->least_available = UINT64_MAX;
    }
    /* Read after it was announced: what others take from here on is in the overlap. */
    call->available = cl_available(cl);
    for (int v = 0; v < CL_VOLUMES; v++)
    {
        if (call->need.in[v].blks > 0 && call->volumes[v].is_there && call->left[v] == UINT64_MAX)
            call->left[v] = cl_left(client, v, call->volumes[v].name);
    }
}

/* ---- space --------------------------------------------------------------------------------- */

/* Some limit was less than what is needed, if others had taken @is_with_others ? all that they said
 * : nothing. */
static bool cl_may_lack(const struct cl_call *call, bool is_with_others, bool has_threads)
{
    uint64_t jobs = is_with_others && has_threads ? CL_JOBS_BLKS : 0;
    uint64_t others = is_with_others ? call->overlap.pool_blks + jobs : 0;
    uint64_t available = min_u64(cl_less(call->available, others), call->least_available);
    bool lacks = call->has_tail || (!call->is_promised && available < call->need.pool_blks);
    for (unsigned v = 0; v < CL_VOLUMES; v++)
    {
        const struct cl_share *need = &call->need.in[v], *of_others = &call->overlap.in[v];
        if (need->blks == 0)
            continue;
        uint64_t taken = is_with_others ? of_others->blks + jobs : 0;
        lacks |= call->left[v] != UINT64_MAX && cl_less(call->left[v], taken) < need->blks;
        lacks |= is_with_others && of_others->modifies;
    }
    return lacks;
}

static void cl_judge_space(struct cl_client *client, const char *what)
{
    const struct cl_call *call = &client->call;
    bool has_threads = client->cl->has_threads;
    if (cl_may_lack(call, false, has_threads))
    {
        cl_count(client, "no space: by figures");
        return;
    }
    cl_count(client, "no space: only by what others claim");
    if (cl_may_lack(call, true, has_threads))
        return;
    for (int v = 0; v < CL_VOLUMES; v++)
    {
        if (call->need.in[v].blks > 0)
            cl_say(client, "needs %" PRIu64 " in '%s', left %" PRIu64 ", others %" PRIu64,
                   call->need.in[v].blks, call->volumes[v].name, call->left[v],
                   call->overlap.in[v].blks);
    }
    cl_fail(client,
            "%s finds no space without a reason: it needs %" PRIu64 " blocks at most%s, %" PRIu64
            " were available, %" PRIu64 " at least, of which others may have taken %" PRIu64 ": %s",
            what, call->need.pool_blks, call->is_promised ? ", which are promised" : "",
            call->available, call->least_available, call->overlap.pool_blks, client->why.text);
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* The power may have gone in it: then whether it was done is found out when it is back. */
static int cl_call_outcome(struct cl_client *client, int r)
{
    struct cl_call *call = &client->call;
    if (r == 0 || !cl_is_off(client->cl))
        return r;
    cl_crash(client);
    call->has_crashed = true;
    bool is_done = call->sign.is_done && call->sign.is_done(client, &call->sign);
    cl_say(client, "  after the crash it %s done", is_done ? "is" : "is not");
    return is_done ? 0 : r;
}

/* What others may see of it from now on is in the figures. */
static void cl_call_leave(struct cl_client *client, bool is_done)
{
    struct cl *cl = client->cl;
    struct cl_call *call = &client->call;
    uint64_t available = cl_available(cl);
    AUTO_LOCK(&cl->lock);
    call->is_active = false;
    call->least_available = min_u64(call->least_available, available);
    for (unsigned i = 0; is_done && i < CL_VOLUMES * CL_TREES * CL_WHOS; i++)
    {
        unsigned v = i / (CL_TREES * CL_WHOS), tree = i / CL_WHOS % CL_TREES, who = i % CL_WHOS;
        cl->volumes[v].sums[tree][who] += (uint64_t)call->need.in[v].sums[tree][who].bytes;
    }
}

bool cl_call_end(struct cl_client *client, const char *what, int r)
{
    r = cl_call_outcome(client, r);
    cl_call_leave(client, r == 0);
    if (client->call.has_crashed)
    {
        cl_count(client, "%s: %s, in a crash", what, r == 0 ? "done" : "not done");
        return r == 0;
    }
    const char *end = r == 0 ? "done" : r == -ENOSPC ? "no space" : "quota";
    cl_count(client, "%s: %s", what, end);
    cl_check_events(client, r);
    if (r == 0)
    {
        cl_judge_done(client, what);
        return true;
    }
    if ((r != -ENOSPC && r != -EDQUOT) || !client->why.text[0])
        cl_fail(client, "%s gives %d: %s", what, r, client->why.text);
    cl_say(client, "  refused: %s", client->why.text);
    if (r == -ENOSPC)
        cl_judge_space(client, what);
    else
        cl_judge_quota(client, what);
    return false;
}

bool cl_call_end_io(struct cl_client *client, const char *what, int r, const struct cl_lun *lun)
{
    struct cl_call *call = &client->call;
    bool is_reserved = lun->is_reserved;
    r = cl_call_outcome(client, r);
    cl_call_leave(client, r == 0);
    call->is_promised = lun->volume >= 0 && call->volumes[lun->volume].is_guaranteed &&
                        !call->overlap.in[lun->volume].modifies;
    const char *promised = is_reserved || call->is_promised ? ", promised" : "";
    if (call->has_crashed)
    {
        cl_count(client, "%s: in a crash", what);
        return false;
    }
    cl_count(client, "%s: %s%s", what, r == 0 ? "done" : "no space", promised);
    if (r == 0)
        return true;
    if (r != -ENOSPC)
        cl_fail(client, "%s gives %d", what, r);
    cl_say(client, "  finds no space");
    if (is_reserved)
        cl_fail(client, "%s of a reserved LUN has met -ENOSPC", what);
    cl_judge_space(client, what);
    return false;
}
