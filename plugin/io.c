/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: nbdkit's flags into the engine's, the engine's errors into NBD's, and what quality of
 * service (server/qos) has to say and to count.
 */
#include "plugin/io.h"

#include <errno.h>
#include <nbdkit-plugin.h>
#include <stdbool.h>

#include "lun/base/checked.h"
#include "lun/lun.h"
#include "plugin/export.h"
#include "plugin/nbd_error.h"
#include "plugin/service.h"
#include "plugin/shutdown.h"
#include "server/qos/qos.h"
#include "server/target.h"

enum
{
    /* Of one answer to NBD_CMD_BLOCK_STATUS. It may cover less than was asked, and an answer
     * without a bound would be 8 MiB for 4 GiB of alternating blocks. */
    IO_EXTENTS_MAX = 1 << 16,
    IO_EXTENTS_BATCH = 128,
};

/* Turns the engine's result into nbdkit's; logs the first error of each kind on a connection. */
static int io_result(struct export *export, int r, const char *what, uint64_t len, uint64_t offset)
{
    if (r >= 0)
        return 0;
    /* nbdkit has let the range through, by the size that the client was told. */
    if (r == -EINVAL && !range_ok(offset, len, lun_size_bytes(export->lun)))
        r = -ESTALE;
    const struct nbd_error *error = nbd_error_of(r);
    /* A client that asks for fast zeroes wants to know, and goes on. */
    if (r != -ENOTSUP)
        export_log_error(export, error, what, len, offset);
    errno = error->nbd_errno;
    return -1;
}

/*
 * Whether an iSCSI initiator's reservation keeps the client out. A flush passes: it changes
 * nothing. 0, or -1 with errno.
 */
static int io_admit(struct export *export, bool write, const char *what)
{
    struct target *target = service_target();
    struct reason why;
    int r = target ? target_check_nbd(target, export->lun_id, write, NULL) : 0;
    if (r == 0)
        return 0;
    /* Once more, for the words; it may have been released since. */
    reason_clear(&why);
    r = target_check_nbd(target, export->lun_id, write, &why);
    if (r == 0)
        return 0;
    const struct nbd_error *error = nbd_error_of(r);
    export_log_refusal(export, error, what, &why);
    errno = error->nbd_errno;
    return -1;
}

static unsigned io_flags(uint32_t flags)
{
    unsigned result = 0;
    if (flags & NBDKIT_FLAG_FUA)
        result |= LUN_FUA;
    if (flags & NBDKIT_FLAG_MAY_TRIM)
        result |= LUN_MAY_UNMAP;
    if (flags & NBDKIT_FLAG_FAST_ZERO)
        result |= LUN_FAST_ONLY;
    return result;
}

static bool io_is_over_cb(void *opaque)
{
    return export_is_over(opaque);
}

/*
 * Waits until the limits of the LUN let the request go. Who stops the server is not kept waiting:
 * it answers what is in flight. -ECANCELED: the client is gone.
 */
static int io_enter(struct export *export, enum qos_io io, uint64_t bytes)
{
    if (!qos_is_limited(export->qos, io) || shutdown_is_told())
        return 0;
    if (qos_enter_blocking(export->qos, bytes, io_is_over_cb, export) || shutdown_is_told())
        return 0;
    return -ECANCELED;
}

int io_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)flags;
    struct export *export = handle;
    if (io_admit(export, false, "read") < 0)
        return -1;
    uint64_t begun_ns = qos_clock_ns();
    int r = io_enter(export, QOS_READ, count);
    if (r == 0)
        r = lun_read(export->lun, buf, count, offset);
    if (r == 0)
        qos_account(export->qos, QOS_READ, count, qos_clock_ns() - begun_ns);
    return io_result(export, r, "read", count, offset);
}

int io_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
    struct export *export = handle;
    if (io_admit(export, true, "write") < 0)
        return -1;
    uint64_t begun_ns = qos_clock_ns();
    int r = io_enter(export, QOS_WRITE, count);
    if (r == 0)
        r = lun_write(export->lun, buf, count, offset, io_flags(flags));
    if (r == 0)
        qos_account(export->qos, QOS_WRITE, count, qos_clock_ns() - begun_ns);
    return io_result(export, r, "write", count, offset);
}

int io_flush(void *handle, uint32_t flags)
{
    (void)flags;
    struct export *export = handle;
    uint64_t begun_ns = qos_clock_ns();
    int r = lun_flush(export->lun);
    if (r == 0)
        qos_account(export->qos, QOS_FLUSH, 0, qos_clock_ns() - begun_ns);
    return io_result(export, r, "flush", 0, 0);
}

/* lun_unmap() or lun_zero(). */
typedef int io_unmap_fn(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags);

static int io_unmap(struct export *export, io_unmap_fn *unmap, const char *what, uint64_t len,
                    uint64_t offset, uint32_t flags)
{
    if (io_admit(export, true, what) < 0)
        return -1;
    uint64_t begun_ns = qos_clock_ns();
    int r = io_enter(export, QOS_UNMAP, 0);
    if (r == 0)
        r = unmap(export->lun, len, offset, io_flags(flags));
    if (r == 0)
        qos_account(export->qos, QOS_UNMAP, 0, qos_clock_ns() - begun_ns);
    return io_result(export, r, what, len, offset);
}

int io_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    return io_unmap(handle, lun_unmap, "trim", count, offset, flags);
}

int io_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    return io_unmap(handle, lun_zero, "zero", count, offset, flags);
}

int io_cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)flags;
    struct export *export = handle;
    if (io_admit(export, false, "cache") < 0)
        return -1;
    return io_result(export, lun_cache(export->lun, count, offset), "cache", count, offset);
}

/* Where an answer has got to. */
struct io_extents_answer
{
    struct nbdkit_extents *extents;
    uint64_t at, end;
    uint32_t first_type;
    size_t added;
    bool one_only, is_done;
};

/* -1 after nbdkit_error(). */
static int io_extents_add(struct io_extents_answer *answer, const struct lun_extent *extent)
{
    uint32_t type = extent->is_hole ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;
    if (answer->added == 0)
        answer->first_type = type;
    /* Own and shared blocks are alike to a client: nbdkit joins them, so one may take several. */
    if (answer->one_only && type != answer->first_type)
    {
        answer->is_done = true;
        return 0;
    }
    uint64_t len = min_u64(extent->len_bytes, answer->end - answer->at);
    if (nbdkit_add_extent(answer->extents, answer->at, len, type) < 0)
        return -1;
    answer->at += len;
    answer->added++;
    answer->is_done = answer->at == answer->end || answer->added == IO_EXTENTS_MAX;
    return 0;
}

int io_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
               struct nbdkit_extents *extents)
{
    struct export *export = handle;
    struct io_extents_answer answer = {
        .extents = extents,
        .at = offset,
        .end = offset + count,
        .one_only = flags & NBDKIT_FLAG_REQ_ONE,
    };
    if (io_admit(export, false, "block status") < 0)
        return -1;
    while (!answer.is_done)
    {
        struct lun_extent batch[IO_EXTENTS_BATCH];
        size_t n = 0;
        int r = lun_extents(export->lun, answer.end - answer.at, answer.at, batch,
                            ARRAY_SIZE(batch), &n);
        if (r == 0 && n == 0)
            r = -EBADMSG;
        if (r < 0)
            return io_result(export, r, "block status", count, offset);
        for (size_t i = 0; i < n && !answer.is_done; i++)
            if (io_extents_add(&answer, &batch[i]) < 0)
                return -1;
    }
    return 0;
}
