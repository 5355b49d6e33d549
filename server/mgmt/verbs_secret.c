/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iscsi.chap.rewrap: CHAP secrets that lie in the pool in clear, or wrapped by an old key, are
 * wrapped by the server's; then what is left of them elsewhere in the pool is overwritten.
 */
#include <errno.h>

#include "server/access.h"
#include "server/host_key.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"

enum
{
    REWRAP_CALLS = 64, /* between two lines of progress: a call is for a MiB */
};

struct rewrap
{
    struct verb_request *request;
    unsigned calls;
};

static bool rewrap_goes_on(void *opaque, const struct pool_wipe *progress)
{
    struct rewrap *rewrap = opaque;
    struct verb_request *request = rewrap->request;
    if (request->is_cancelled(request))
        return false;
    if (rewrap->calls++ % REWRAP_CALLS != 0)
        return true;
    return request->send_progress(
               request, json_pack("{s:I, s:I}", "done_bytes", (json_int_t)progress->done_bytes,
                                  "total_bytes", (json_int_t)progress->total_bytes)) == 0;
}

/* Who has put another key there means that one, and the server has it after a start only. */
static int rewrap_check_key(struct verb_request *request)
{
    struct reason why = {.text = ""};
    if (target_check_key(request->target, &why) == 0)
        return 0;
    return reason_set(&request->why, -ESTALE,
                      "%s; start the server again first, and then rewrap with --old-key and the "
                      "file of the key that it has now",
                      why.text);
}

static int rewrap_parse_old(struct verb_request *request, struct host_key *old_key)
{
    const char *text = verb_string(request, "old_key");
    if (!text || host_key_parse(text, old_key) == 0)
        return 0;
    return reason_set(&request->why, -EINVAL,
                      "the old key is not the line of a key file; 'lunette iscsi chap rewrap "
                      "--old-key FILE' reads it from one");
}

/* After the records, so that what is overwritten does not come back. */
static int rewrap_wipe(struct verb_request *request, struct pool_wipe *wiped)
{
    struct rewrap rewrap = {.request = request};
    struct reason why = {.text = ""};
    int r = pool_wipe_old(request->pool, rewrap_goes_on, &rewrap, wiped, &why);
    return r == 0
               ? 0
               : reason_set(&request->why, r,
                            "the records are wrapped, but %s; 'lunette iscsi chap rewrap' goes on",
                            why.text);
}

static int rewrap_say(struct verb_request *request, const struct access_rewrap *done,
                      const struct pool_wipe *wiped, struct access *access)
{
    struct access_chap_counts counts;
    access_chap_count(access, &counts);
    const char *needed = done->locked > 0 && counts.needed[0] ? counts.needed : NULL;
    request->result = json_pack(
        "{s:I, s:I, s:I, s:I, s:s?, s:I, s:I, s:s, s:b}", "wrapped", (json_int_t)done->wrapped,
        "moved", (json_int_t)done->moved, "kept", (json_int_t)done->kept, "locked",
        (json_int_t)done->locked, "needed_key", needed, "wiped_blocks",
        (json_int_t)wiped->wiped_blks, "left_blocks", (json_int_t)wiped->left_blks, "key",
        access_key_id(access), "dry_run", (int)verb_bool(request, "dry_run"));
    return request->result ? 0 : -ENOMEM;
}

int verb_chap_rewrap(struct verb_request *request)
{
    struct access *access;
    struct host_key old_key = {0};
    struct access_rewrap done = {0};
    struct pool_wipe wiped = {0};
    bool dry_run = verb_bool(request, "dry_run");
    int r = verb_access(request, &access);
    if (r == 0)
        r = rewrap_check_key(request);
    if (r == 0)
        r = rewrap_parse_old(request, &old_key);
    if (r == 0)
        r = access_chap_rewrap(access, verb_has(request, "old_key") ? &old_key : NULL, dry_run,
                               &done, &request->why);
    host_key_wipe(&old_key);
    if (r == 0 && !dry_run)
        r = rewrap_wipe(request, &wiped);
    request->is_done = r == 0;
    return r < 0 ? r : rewrap_say(request, &done, &wiped, access);
}
