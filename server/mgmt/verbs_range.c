/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lun.clone_ranges: blocks of a LUN or snapshot appear in a LUN that is there.
 *
 * They are copied, from one point in time: a snapshot, which the server makes for itself if the
 * source is a LUN. The copy writes as a client does, so quotas, promises, pauses, limits and
 * reservations of hosts hold for it; it runs as long as its client listens.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/size_text.h"
#include "server/access.h"
#include "server/copy.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/moment.h"
#include "server/qos/qos.h"

enum
{
    RANGE_PROGRESS_MS = 200
};

struct range_copy
{
    struct verb_request *request;
    struct lun_info source, to_info;
    struct copy copy;
    struct copy_plan plan;
    struct moment moment;
    struct qos_lun *from_qos, *to_qos;
    uint64_t told_ns;      /* when the client last heard how far it is */
    bool is_writing;       /* else only the plan is made */
    struct reason refusal; /* of a step */
};

/* ---- what is asked ------------------------------------------------------------------------- */

static int range_read(struct verb_request *request, struct copy_range **ranges, size_t *count)
{
    AUTO_FREE const char **texts = NULL;
    size_t n = 0;
    int r = verb_strings(request, "ranges", &texts, &n);
    if (r < 0)
        return r;
    if (n == 0 || n > COPY_RANGES_MAX)
        return reason_set(&request->why, -EINVAL, "%zu ranges; 1 to %d are possible", n,
                          COPY_RANGES_MAX);
    AUTO_FREE struct copy_range *list = calloc(n, sizeof(*list));
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = copy_parse_range(texts[i], &list[i], &request->why);
    if (r < 0)
        return r;
    *ranges = take_ptr(&list);
    *count = n;
    return 0;
}

static int range_find(struct range_copy *copy)
{
    struct verb_request *request = copy->request;
    const char *name = verb_string(request, "name");
    int r =
        lun_get_info(request->pool, verb_string(request, "source"), &copy->source, &request->why);
    if (r == 0)
        r = lun_get_info(request->pool, name, &copy->to_info, &request->why);
    if (r == -ENOENT && copy->source.id)
        return reason_set(&request->why, r,
                          "there is no LUN '%.200s' to copy into; 'lunette lun create %.200s SIZE' "
                          "makes one",
                          name, name);
    if (r < 0)
        return r;
    const struct lun_info *from = &copy->source, *to = &copy->to_info;
    if (to->kind != OBJECT_LUN)
        return reason_set(&request->why, -EINVAL,
                          "'%s' is a snapshot, which never changes; 'lunette lun clone %s NAME' "
                          "makes a LUN of it",
                          to->name, to->name);
    if (from->sector_bytes != to->sector_bytes)
        return reason_set(&request->why, -EINVAL,
                          "blocks of '%s' have %u bytes and those of '%s' %u, so ranges of blocks "
                          "mean different things",
                          from->name, from->sector_bytes, to->name, to->sector_bytes);
    copy->copy.sector_bytes = from->sector_bytes;
    const struct copy_ends ends = {.from_name = from->name,
                                   .to_name = to->name,
                                   .from_blks = from->size_bytes / from->sector_bytes,
                                   .to_blks = to->size_bytes / to->sector_bytes,
                                   .is_same = from->id == to->id};
    return copy_check_ranges(copy->copy.ranges, copy->copy.count, &ends, &request->why);
}

/* ---- whether it may ------------------------------------------------------------------------ */

static int range_say_locked(struct verb_request *request, const char *name, uint64_t until_ns)
{
    char text[32] = "a far day";
    struct tm tm;
    time_t seconds = (time_t)(until_ns / 1000000000);
    if (until_ns <= pool_lock_clock_ns(request->pool))
        return 0;
    if (gmtime_r(&seconds, &tm))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
    return reason_set(&request->why, -EPERM,
                      "'%s' is locked until %s; nothing can shorten that. A clone of it can be "
                      "copied into: lunette lun clone %s NAME",
                      name, text, name);
}

/* What is locked keeps its content, and so does what hosts may only read. */
static int range_check_locks(struct verb_request *request, const struct lun_info *to)
{
    struct volume_info volume;
    struct access *access = target_access(request->target);
    int r = range_say_locked(request, to->name, to->locked_until_ns);
    if (r == 0 && to->volume_id &&
        volume_get_info_by_id(request->pool, to->volume_id, &volume) == 0)
        r = range_say_locked(request, volume.name, volume.locked_until_ns);
    if (r == 0 && access && (access_lun_flags(access, to->id) & ACCESS_LUN_READ_ONLY))
        r = reason_set(&request->why, -EPERM,
                       "LUN '%s' is read-only for hosts, so its content is to stay; 'lunette lun "
                       "modify %s --read-only no' ends that",
                       to->name, to->name);
    return r;
}

/* As for a restore, caches of clients would not notice. */
static int range_check_destination(struct range_copy *copy)
{
    struct verb_request *request = copy->request;
    struct lun_info *to = &copy->to_info;
    int r = range_check_locks(request, to);
    if (r == 0)
        r = target_check_nbd(request->target, to->id, true, &request->why);
    if (r == 0)
        r = target_check_nbd(request->target, copy->source.lun_id, false, &request->why);
    if (r < 0)
        return r;
    verb_await_close(request, to->name);
    r = lun_get_info(request->pool, to->name, to, &request->why);
    if (r == 0 && to->open_handles > 0 && !verb_bool(request, "force"))
        r = reason_set(&request->why, -EBUSY,
                       "LUN '%s' is open by %u client%s, whose caches would not notice that its "
                       "content changes; detach them, or use --force if they know",
                       to->name, to->open_handles, plural_s(to->open_handles));
    return r;
}

static uint64_t range_available_bytes(struct range_copy *copy)
{
    struct volume_info volume;
    struct pool_info pool;
    pool_get_info(copy->request->pool, &pool);
    if (copy->to_info.volume_id &&
        volume_get_info_by_id(copy->request->pool, copy->to_info.volume_id, &volume) == 0)
        return volume.available_bytes;
    return pool.available_bytes;
}

/* What the data takes of free space; what is reserved for the LUN is there. */
static int range_check_room(struct range_copy *copy)
{
    uint64_t available_bytes = range_available_bytes(copy);
    if (copy->to_info.is_reserved || copy->plan.new_bytes <= available_bytes)
        return 0;
    return reason_set(&copy->request->why, -ENOSPC,
                      "copying %s into '%s' takes %s of space, and %s are available; 'lunette "
                      "explain space %s --wanted %" PRIu64 "M' says what helps",
                      size_text(copy->plan.data_bytes).text, copy->to_info.name,
                      size_text(copy->plan.new_bytes).text, size_text(available_bytes).text,
                      copy->to_info.name, div_round_up(copy->plan.new_bytes, 1 << 20));
}

/* ---- steps --------------------------------------------------------------------------------- */

static bool range_is_given_up(void *opaque)
{
    struct verb_request *request = opaque;
    return request->is_cancelled(request);
}

static bool range_is_over_cb(void *opaque, int reason)
{
    (void)reason;
    return range_is_given_up(opaque);
}

static int range_tell(struct range_copy *copy)
{
    uint64_t now_ns = qos_clock_ns();
    if (now_ns - copy->told_ns < RANGE_PROGRESS_MS * UINT64_C(1000000))
        return 0;
    copy->told_ns = now_ns;
    uint64_t done = copy->copy.data_bytes + copy->copy.hole_bytes;
    uint64_t total = copy->plan.data_bytes + copy->plan.hole_bytes;
    return copy->request->send_progress(copy->request,
                                        json_pack("{s:I, s:I, s:I}", "done_bytes", (json_int_t)done,
                                                  "total_bytes", (json_int_t)total, "percent",
                                                  (json_int_t)(done * 100 / max_u64(total, 1))));
}

static int range_admit_cb(void *opaque, uint64_t bytes)
{
    struct range_copy *copy = opaque;
    struct verb_request *request = copy->request;
    if (request->is_cancelled(request))
        return -ECANCELED;
    if (!copy->is_writing)
        return 0;
    int r = target_check_nbd(request->target, copy->to_info.id, true, &copy->refusal);
    if (r == 0)
        r = target_check_nbd(request->target, copy->source.lun_id, false, &copy->refusal);
    if (r == 0)
        r = range_tell(copy);
    if (r == 0 && qos_is_limited(copy->to_qos, QOS_WRITE) &&
        !qos_enter_blocking(copy->to_qos, bytes, range_is_given_up, request))
        r = -ECANCELED;
    if (r == 0 && bytes > 0)
        qos_charge(copy->from_qos, bytes);
    return r;
}

/* ---- opening and closing ------------------------------------------------------------------- */

/* For the figures; as nobody's client. */
static int range_make_plan(struct range_copy *copy)
{
    struct verb_request *request = copy->request;
    struct copy looking = copy->copy;
    int r = lun_open(request->pool, copy->source.name, LUN_READ_ONLY | LUN_BACKGROUND,
                     &looking.from, &request->why);
    if (r == 0)
        r = lun_open(request->pool, copy->to_info.name, LUN_READ_ONLY | LUN_BACKGROUND, &looking.to,
                     &request->why);
    if (r == 0)
        r = copy_plan(&looking, &copy->plan);
    /* The snapshot that is read makes nothing its LUN's own. */
    if (r == 0 && copy->source.id == copy->to_info.id)
        copy->plan.new_bytes = copy->plan.data_bytes;
    lun_close(looking.from);
    lun_close(looking.to);
    return r;
}

static void range_name_moment(struct range_copy *copy)
{
    uint64_t number;
    env_system()->random_bytes(env_system(), &number, sizeof(number));
    copy->moment = (struct moment){.prefix = COPY_STORE_PREFIX, .lun_id = copy->source.id};
    snprintf(copy->moment.snapshot, sizeof(copy->moment.snapshot), "copy-%016" PRIx64, number);
}

static int range_open(struct range_copy *copy)
{
    struct verb_request *request = copy->request;
    struct qos *qos = target_qos(request->target);
    int r = 0;
    if (copy->source.kind == OBJECT_LUN)
    {
        r = moment_create(request->pool, &copy->moment, "what a copy of ranges reads",
                          &request->why);
        if (r == 0)
            r = moment_open(request->pool, &copy->moment, &copy->copy.from, &request->why);
    }
    else
        r = lun_open(request->pool, copy->source.name, LUN_READ_ONLY, &copy->copy.from,
                     &request->why);
    if (r == 0)
        r = lun_open(request->pool, copy->to_info.name, 0, &copy->copy.to, &request->why);
    if (r < 0)
        return r;
    lun_set_is_over(copy->copy.to, range_is_over_cb, request);
    r = qos_lun_open(qos, copy->copy.from, &copy->from_qos);
    return r == 0 ? qos_lun_open(qos, copy->copy.to, &copy->to_qos) : r;
}

static void range_close(struct range_copy *copy)
{
    qos_lun_close(copy->from_qos);
    qos_lun_close(copy->to_qos);
    lun_close(copy->copy.from);
    lun_close(copy->copy.to);
    if (copy->moment.snapshot[0])
        moment_delete(copy->request->pool, &copy->moment);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int range_say_stopped(struct range_copy *copy, int r)
{
    const char *what = copy->refusal.text;
    if (r == -ECANCELED || r == -ENOTCONN)
        what = "it was cancelled";
    else if (r == -ENOSPC || r == -EDQUOT)
        what = "there was no more room";
    else if (r == -ESTALE)
        what = "the destination, or the snapshot that was read, was deleted";
    else if (!what[0])
        what = strerror(-r);
    uint64_t done = copy->copy.data_bytes + copy->copy.hole_bytes;
    uint64_t total = copy->plan.data_bytes + copy->plan.hole_bytes;
    event_add(copy->request->pool, "warning", "lun.ranges.stopped", copy->to_info.name,
              "%s of %s were copied from %.60s, then: %.80s", size_text(done).text,
              size_text(total).text, copy->source.name, what);
    return reason_set(&copy->request->why, r == -ENOTCONN ? -ECANCELED : r,
                      "%s of %s were copied, then: %s. Each other block of '%s' is as it was; the "
                      "same command copies all of it again",
                      size_text(done).text, size_text(total).text, what, copy->to_info.name);
}

static int range_work(struct range_copy *copy)
{
    int r = range_open(copy);
    if (r < 0)
        return r;
    copy->is_writing = true;
    r = copy_run(&copy->copy);
    if (r == 0)
        r = lun_flush(copy->copy.to);
    if (r < 0)
        return range_say_stopped(copy, r);
    event_add(copy->request->pool, "info", "lun.ranges.copied", copy->to_info.name,
              "%zu range%s of %.100s: %s copied, %s holes", copy->copy.count,
              plural_s(copy->copy.count), copy->source.name, size_text(copy->copy.data_bytes).text,
              size_text(copy->copy.hole_bytes).text);
    return 0;
}

static int range_result(struct range_copy *copy, bool dry_run)
{
    uint64_t data = dry_run ? copy->plan.data_bytes : copy->copy.data_bytes;
    uint64_t holes = dry_run ? copy->plan.hole_bytes : copy->copy.hole_bytes;
    copy->request->result =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "source", copy->source.name,
                  "name", copy->to_info.name, "block_bytes", (json_int_t)copy->copy.sector_bytes,
                  "blocks", (json_int_t)((data + holes) / copy->copy.sector_bytes), "copied_bytes",
                  (json_int_t)data, "hole_bytes", (json_int_t)holes, "taken_bytes",
                  (json_int_t)(copy->to_info.is_reserved ? 0 : copy->plan.new_bytes),
                  "available_bytes", (json_int_t)range_available_bytes(copy), "dry_run", dry_run);
    return copy->request->result ? 0 : -ENOMEM;
}

int verb_lun_clone_ranges(struct verb_request *request)
{
    AUTO_FREE struct copy_range *ranges = NULL;
    struct range_copy copy = {.request = request};
    bool dry_run = verb_bool(request, "dry_run");
    int r = range_read(request, &ranges, &copy.copy.count);
    copy.copy.ranges = ranges;
    copy.copy.admit = range_admit_cb;
    copy.copy.opaque = &copy;
    if (r == 0)
        r = range_find(&copy);
    if (r == 0)
        r = import_check(request->pool, &copy.source, &request->why);
    if (r == 0)
        r = import_check(request->pool, &copy.to_info, &request->why);
    if (r == 0)
        r = range_check_destination(&copy);
    if (r == 0)
        r = range_make_plan(&copy);
    if (r == 0)
        r = range_check_room(&copy);
    if (r == 0 && copy.source.kind == OBJECT_LUN)
        range_name_moment(&copy);
    if (r == 0 && dry_run && copy.moment.snapshot[0])
    {
        /* Which makes none, but finds what would be in its way. */
        r = snapshot_create(request->pool, copy.source.name, copy.moment.snapshot, NULL,
                            &request->why);
    }
    if (r == 0 && !dry_run)
    {
        r = range_work(&copy);
        range_close(&copy);
    }
    request->is_done = r == 0;
    return r < 0 ? r : range_result(&copy, dry_run);
}
