/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An iSCSI logical unit as one side of a transfer, through libiscsi's asynchronous calls.
 *
 * Zeroing is WRITE SAME with the UNMAP bit, which leaves zeros whatever the unit does with it; the
 * UNMAP command may do nothing for what is not aligned to its liking, so it zeroes nothing for
 * certain and is not used. libiscsi does not reconnect here: what was written and not flushed may
 * be gone with the connection, and only the pipeline knows what that is.
 *
 * Of what libiscsi is told to do nothing lives on a stack: it calls back when its context is
 * destroyed, too, and so its own synchronous calls, which do that to their stack, are not used. It
 * may also never call back, for a command whose answer is no PDU: then its task is still ours.
 *
 * Nothing that the target says is taken on trust. libiscsi does not count the bytes of an answer,
 * so each sector of a buffer ends with a mark before it is read into: one that is still there was
 * not sent, whatever residual the target tells.
 */
#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/reader.h"
#include "server/ctl/transfer_endpoint.h"

enum
{
    ISCSI_COMMAND_S = 30,
    ISCSI_LOGOUT_MS = 5000,
    ISCSI_BLOCK_MAX = 65536,
    ISCSI_MARK_EACH = 512, /* bytes; the smallest sector */
    ASC_LBA_RANGE = 0x21,
    ASC_WRITE_PROTECT = 0x27,
    ASCQ_SPACE_ALLOCATION_FAILED = 0x07,
    ASC_INVALID_OPCODE = 0x20,
    ASC_INVALID_FIELD = 0x24,
};

struct iscsi_side
{
    struct endpoint base;
    char *url;
    struct iscsi_context *iscsi; /* NULL: not connected */
    int lun;
    uint32_t sector_bytes;
    bool can_unmap;
    bool is_broken;              /* a callback has learnt that the connection is gone */
    struct list requests;        /* struct request: those under way */
    uint8_t *zeros;              /* one sector */
    uint8_t mark[16];            /* random: what no disk holds */
    int call_result;             /* of iscsi_side_wait(): 0: under way, 1: done, or the error */
    struct scsi_task *call_task; /* the same: what is asked; NULL: no command */
};

static const char iscsi_side_initiator[] = "iqn.2024-01.io.github.lunette:transfer";

/* Of a text of libiscsi's, without the newlines that it may end in. */
static int iscsi_side_text_len(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    return (int)len;
}

/* Why the unit did not tell @what. */
static int iscsi_side_untold(struct iscsi_side *side, int err, const char *what, struct reason *why)
{
    const char *text = iscsi_get_error(side->iscsi);
    return reason_set(why, err, "%s does not tell its %s: %.*s", side->base.name, what,
                      iscsi_side_text_len(text), text);
}

/* Where each part of a buffer of @len bytes has its mark. */
static void iscsi_side_put_marks(const struct iscsi_side *side, uint8_t *data, uint64_t len)
{
    for (uint64_t end = ISCSI_MARK_EACH; end <= len; end += ISCSI_MARK_EACH)
        memcpy(data + end - sizeof(side->mark), side->mark, sizeof(side->mark));
}

static bool iscsi_side_has_mark(const struct iscsi_side *side, const uint8_t *data, uint64_t len)
{
    for (uint64_t end = ISCSI_MARK_EACH; end <= len; end += ISCSI_MARK_EACH)
    {
        if (memcmp(data + end - sizeof(side->mark), side->mark, sizeof(side->mark)) == 0)
            return true;
    }
    return false;
}

/* errno of a command that ended with sense data. */
static int iscsi_side_sense_result(const struct request *request, const struct scsi_sense *sense)
{
    unsigned asc = (unsigned)sense->ascq >> 8;
    unsigned ascq = (unsigned)sense->ascq & 0xff;
    switch (sense->key)
    {
    case SCSI_SENSE_UNIT_ATTENTION:
    case SCSI_SENSE_COMMAND_ABORTED:
    case SCSI_SENSE_NOT_READY:
        return -EAGAIN;
    case SCSI_SENSE_DATA_PROTECTION:
        return asc == ASC_WRITE_PROTECT && ascq == ASCQ_SPACE_ALLOCATION_FAILED ? -ENOSPC : -EROFS;
    case SCSI_SENSE_ILLEGAL_REQUEST:
        if ((request->kind == REQUEST_ZERO || request->kind == REQUEST_MAP) &&
            (asc == ASC_INVALID_OPCODE || asc == ASC_INVALID_FIELD))
            return -ENOTSUP;
        return asc == ASC_LBA_RANGE ? -EIO : -EINVAL;
    default:
        return -EIO;
    }
}

static int iscsi_side_read_result(const struct iscsi_side *side, const struct request *request,
                                  const struct scsi_task *task, char *text, size_t size)
{
    if (task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL)
        snprintf(text, size, "%zu bytes are missing in the answer", task->residual);
    else if (iscsi_side_has_mark(side, request->data, request->len_bytes))
        snprintf(text, size, "the answer is shorter than it says");
    else
        return 0;
    return -EIO;
}

static int iscsi_side_result(const struct iscsi_side *side, const struct request *request,
                             int status, const struct scsi_task *task, char *text, size_t size)
{
    switch (status)
    {
    case SCSI_STATUS_GOOD:
        if (request->kind == REQUEST_READ)
            return iscsi_side_read_result(side, request, task, text, size);
        return 0;
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
        return -EAGAIN;
    case SCSI_STATUS_RESERVATION_CONFLICT:
        snprintf(text, size, "the LUN is reserved by another initiator");
        return -EBUSY;
    case SCSI_STATUS_CHECK_CONDITION:
    {
        const char *key = scsi_sense_key_str((int)task->sense.key);
        const char *ascq = scsi_sense_ascq_str(task->sense.ascq);
        snprintf(text, size, "%s, %s", key ? key : "unknown sense", ascq ? ascq : "unknown code");
        return iscsi_side_sense_result(request, &task->sense);
    }
    default: /* libiscsi's own: cancelled, error, timeout */
        return -ENOTCONN;
    }
}

/* What came with the answer to a command. libiscsi's own parser believes the lengths in it. */
static struct reader iscsi_side_data(const struct scsi_task *task)
{
    return reader_of(task->datain.data, task->datain.size > 0 ? (size_t)task->datain.size : 0);
}

static int iscsi_side_take_map(struct iscsi_side *side, struct request *request,
                               const struct scsi_task *task)
{
    struct reader reader = iscsi_side_data(task);
    uint64_t at = request->offset_bytes;
    uint64_t end = at + request->len_bytes;
    uint64_t told = (uint64_t)reader_be32(&reader) + 4; /* bytes, where they are not cut off */
    ignore_error(!reader_bytes(&reader, 4), "shows in the next");
    request->extent_count = 0;
    for (uint64_t used = 24; used <= told && at < end; used += 16)
    {
        uint64_t lba = reader_be64(&reader);
        uint64_t blks = reader_be32(&reader);
        unsigned status = reader_u8(&reader) & 15;
        ignore_error(!reader_bytes(&reader, 3), "shows in the next line");
        uint64_t len = min_u64(blks * side->sector_bytes, end - at);
        if (reader.failed || len == 0 || lba != at / side->sector_bytes ||
            request->extent_count == ENDPOINT_EXTENTS_MAX)
            break;
        /* Whatever is not said to be a hole may have data. */
        bool is_zero = status == SCSI_PROVISIONING_TYPE_DEALLOCATED ||
                       status == SCSI_PROVISIONING_TYPE_ANCHORED;
        request->extents[request->extent_count++] =
            (struct block_extent){.offset_bytes = at, .len_bytes = len, .is_zero = is_zero};
        at += len;
    }
    return request->extent_count > 0 ? 0 : -ENOTSUP;
}

static void iscsi_side_command_cb(struct iscsi_context *iscsi, int status, void *command_data,
                                  void *opaque)
{
    (void)iscsi;
    struct request *request = opaque;
    struct iscsi_side *side = request->carrier;
    struct scsi_task *task = command_data;
    char text[sizeof(request->text)] = "";
    int result = iscsi_side_result(side, request, status, task, text, sizeof(text));
    if (result == 0 && request->kind == REQUEST_MAP)
        result = iscsi_side_take_map(side, request, task);
    if (result == -ENOTCONN)
        side->is_broken = true;
    list_remove(&request->link);
    request->command = NULL;
    scsi_free_scsi_task(task);
    endpoint_complete(&side->base, request, result, text);
}

/* What the last call has brought is not needed any more. */
static void iscsi_side_forget(struct iscsi_side *side)
{
    if (side->call_task)
        scsi_free_scsi_task(side->call_task);
    side->call_task = NULL;
}

/* Closes the connection and hands back what was under way. */
static void iscsi_side_disconnect(struct endpoint *endpoint)
{
    struct iscsi_side *side = container_of(endpoint, struct iscsi_side, base);
    side->base.lost = true;
    if (side->iscsi)
        iscsi_destroy_context(side->iscsi); /* may call back for what is under way */
    side->iscsi = NULL;
    iscsi_side_forget(side);
    list_for_each_safe (request, &side->requests, struct request, link)
    {
        list_remove(&request->link);
        scsi_free_scsi_task(request->command);
        endpoint_complete(endpoint, request, -ENOTCONN, NULL);
    }
}

static struct scsi_task *iscsi_side_send(struct iscsi_side *side, struct request *request)
{
    uint64_t lba = request->offset_bytes / side->sector_bytes;
    uint32_t len = (uint32_t)request->len_bytes;
    int sector = (int)side->sector_bytes;
    switch (request->kind)
    {
    case REQUEST_READ:
    {
        iscsi_side_put_marks(side, request->data, len);
        struct scsi_task *task = iscsi_read16_task(side->iscsi, side->lun, lba, len, sector, 0, 0,
                                                   0, 0, 0, iscsi_side_command_cb, request);
        if (task)
            ignore_error(scsi_task_add_data_in_buffer(task, (int)len, request->data),
                         "a failure shows as missing bytes");
        return task;
    }
    case REQUEST_WRITE:
        return iscsi_write16_task(side->iscsi, side->lun, lba, request->data, len, sector, 0, 0, 0,
                                  0, 0, iscsi_side_command_cb, request);
    case REQUEST_ZERO:
        return iscsi_writesame16_task(side->iscsi, side->lun, lba, side->zeros, side->sector_bytes,
                                      (uint32_t)(request->len_bytes / side->sector_bytes), 0,
                                      side->can_unmap, 0, 0, iscsi_side_command_cb, request);
    case REQUEST_FLUSH:
        return iscsi_synchronizecache16_task(side->iscsi, side->lun, 0, 0, 0, 0,
                                             iscsi_side_command_cb, request);
    case REQUEST_MAP:
        return iscsi_get_lba_status_task(side->iscsi, side->lun, lba, 8 + 16 * ENDPOINT_EXTENTS_MAX,
                                         iscsi_side_command_cb, request);
    }
    return NULL;
}

static void iscsi_side_submit(struct endpoint *endpoint, struct request *request)
{
    struct iscsi_side *side = container_of(endpoint, struct iscsi_side, base);
    request->carrier = side;
    list_add_tail(&side->requests, &request->link);
    request->command = iscsi_side_send(side, request);
    if (request->command)
        return;
    list_remove(&request->link);
    side->is_broken = true; /* no memory or no connection: both are cured by a new one, or not */
    endpoint_complete(endpoint, request, -ENOTCONN, iscsi_get_error(side->iscsi));
}

static size_t iscsi_side_pollfds(struct endpoint *endpoint, struct pollfd *fds, int *timeout_ms)
{
    struct iscsi_side *side = container_of(endpoint, struct iscsi_side, base);
    if (side->is_broken)
        *timeout_ms = 0;
    if (!side->iscsi)
        return 0;
    fds[0] = (struct pollfd){.fd = iscsi_get_fd(side->iscsi),
                             .events = (short)iscsi_which_events(side->iscsi)};
    return 1;
}

static void iscsi_side_service(struct endpoint *endpoint, const struct pollfd *fds, size_t count)
{
    struct iscsi_side *side = container_of(endpoint, struct iscsi_side, base);
    if (!side->iscsi)
        return;
    /* Without events too: that is how libiscsi notices its timeouts. */
    if (iscsi_service(side->iscsi, count > 0 ? fds[0].revents : 0) < 0 || side->is_broken ||
        !iscsi_is_logged_in(side->iscsi))
        iscsi_side_disconnect(endpoint);
}

static uint64_t iscsi_side_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Of a call that iscsi_side_wait() waits for. The task of a command stays ours: call_task. */
static void iscsi_side_call_cb(struct iscsi_context *iscsi, int status, void *command_data,
                               void *opaque)
{
    (void)iscsi;
    (void)command_data;
    struct iscsi_side *side = opaque;
    side->call_result = status == SCSI_STATUS_GOOD ? 1 : -ENOTCONN;
}

/* Until the call that was begun with a result of 0 is done, failed or out of time. */
static int iscsi_side_wait(struct iscsi_side *side, uint64_t patience_ms)
{
    uint64_t deadline_ms = iscsi_side_now_ms() + patience_ms;
    while (side->call_result == 0)
    {
        struct pollfd fd = {.fd = iscsi_get_fd(side->iscsi),
                            .events = (short)iscsi_which_events(side->iscsi)};
        if (iscsi_side_now_ms() >= deadline_ms)
            return -ETIMEDOUT;
        if (poll(&fd, 1, 500) < 0)
            fd.revents = 0;
        if (iscsi_service(side->iscsi, fd.revents) < 0)
            return -ENOTCONN;
    }
    return side->call_result < 0 ? side->call_result : 0;
}

static int iscsi_side_login(struct iscsi_side *side, const struct iscsi_url *url)
{
    side->call_result = 0;
    if (iscsi_full_connect_async(side->iscsi, url->portal, url->lun, iscsi_side_call_cb, side) < 0)
        return -ENOTCONN;
    return iscsi_side_wait(side, ENDPOINT_CONNECT_MS);
}

/*
 * Whether the unit answered to the command that was begun by making @task: what it said is in
 * *@reader until the next iscsi_side_forget(). An answer that does not come is an end of the
 * connection: it may come later.
 */
static bool iscsi_side_has_answer(struct iscsi_side *side, struct scsi_task *task,
                                  struct reader *reader)
{
    side->call_task = task;
    int r = task ? iscsi_side_wait(side, ISCSI_COMMAND_S * UINT64_C(1000)) : -ENOTCONN;
    side->is_broken = side->is_broken || side->call_result == 0 || !task;
    if (r == 0)
        *reader = iscsi_side_data(task);
    return r == 0;
}

/* The first @len bytes of a page of vital product data; NULL if the unit has no such page. */
static const uint8_t *iscsi_side_inquire(struct iscsi_side *side, uint8_t page, size_t len)
{
    struct reader reader;
    iscsi_side_forget(side);
    side->call_result = 0;
    if (!iscsi_side_has_answer(
            side,
            iscsi_inquiry_task(side->iscsi, side->lun, 1, page, 255, iscsi_side_call_cb, side),
            &reader))
        return NULL;
    const uint8_t *bytes = reader_bytes(&reader, len);
    return bytes && bytes[1] == page ? bytes : NULL;
}

static void iscsi_side_learn_limits(struct iscsi_side *side)
{
    struct endpoint *base = &side->base;
    uint32_t sector = side->sector_bytes;
    const uint8_t *limits = iscsi_side_inquire(side, SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, 44);
    if (limits)
    {
        struct reader reader = reader_of(limits + 8, 4);
        uint64_t io_max = reader_be32(&reader);
        reader = reader_of(limits + 36, 8);
        uint64_t zero_max = min_u64(reader_be64(&reader), UINT32_MAX);
        if (io_max > 0)
            base->max_io_bytes = (uint32_t)min_u64(base->max_io_bytes, io_max * sector);
        if (zero_max > 0)
            base->max_zero_bytes = min_u64(base->max_zero_bytes, zero_max * sector);
    }
    if (side->is_broken)
        return;
    const uint8_t *thin =
        iscsi_side_inquire(side, SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, 8);
    side->can_unmap = thin && thin[5] & 0x40; /* LBPWS */
}

static int iscsi_side_learn_capacity(struct iscsi_side *side, struct reason *why)
{
    struct endpoint *base = &side->base;
    struct reader reader;
    side->call_result = 0;
    if (!iscsi_side_has_answer(
            side, iscsi_readcapacity16_task(side->iscsi, side->lun, iscsi_side_call_cb, side),
            &reader))
        return iscsi_side_untold(side, -EIO, "size", why);
    uint64_t last = reader_be64(&reader), sectors;
    uint32_t sector = reader_be32(&reader);
    uint32_t flags = reader_be32(&reader) >> 8 & 0xc0;
    if (reader.failed)
        return reason_set(why, -EIO, "%s does not tell its size", base->name);
    if (sector < 512 || sector > ISCSI_BLOCK_MAX || (sector & (sector - 1)) != 0 ||
        !checked_add(last, 1, &sectors) || !checked_mul(sectors, sector, &base->size_bytes))
        return reason_set(why, -EINVAL, "%s has sectors of %u bytes, the last is %llu", base->name,
                          sector, (unsigned long long)last);
    side->sector_bytes = sector;
    base->align_bytes = sector;
    base->can_map = flags == 0xc0; /* LBPME, LBPRZ */
    base->can_zero = true;         /* until WRITE SAME is refused */
    return 0;
}

static int iscsi_side_learn(struct iscsi_side *side, struct reason *why)
{
    int r = iscsi_side_learn_capacity(side, why);
    if (r == 0)
        iscsi_side_learn_limits(side);
    if (!side->is_broken)
        iscsi_side_forget(side);
    if (r == 0 && side->is_broken)
        r = iscsi_side_untold(side, -ENOTCONN, "limits", why);
    return r;
}

static int iscsi_side_start(struct iscsi_side *side, struct reason *why)
{
    const char *initiator = getenv("LUNETTE_INITIATOR_NAME");
    side->is_broken = false;
    side->iscsi = iscsi_create_context(initiator && *initiator ? initiator : iscsi_side_initiator);
    if (!side->iscsi)
        return -ENOMEM;
    struct iscsi_url *url = iscsi_parse_full_url(side->iscsi, side->url);
    if (!url) /* libiscsi's text would show the password */
        return reason_set(why, -EINVAL,
                          "%s is no iSCSI URL: iscsi://[USER[%%PASSWORD]@]HOST[:PORT]/TARGET/LUN",
                          side->base.name);
    side->lun = url->lun;
    iscsi_set_targetname(side->iscsi, url->target);
    iscsi_set_session_type(side->iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(side->iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
    iscsi_set_noautoreconnect(side->iscsi, 1);
    iscsi_set_timeout(side->iscsi, ISCSI_COMMAND_S);
    if (url->user[0])
        iscsi_set_initiator_username_pwd(side->iscsi, url->user, url->passwd);
    if (url->target_user[0])
        iscsi_set_target_username_pwd(side->iscsi, url->target_user, url->target_passwd);
    int r = iscsi_side_login(side, url);
    explicit_bzero(url->passwd, sizeof(url->passwd));
    explicit_bzero(url->target_passwd, sizeof(url->target_passwd));
    iscsi_destroy_url(url);
    if (r < 0)
    {
        const char *text = r == -ETIMEDOUT ? "no answer" : iscsi_get_error(side->iscsi);
        return reason_set(why, -ENOTCONN, "cannot log in to %s: %.*s", side->base.name,
                          iscsi_side_text_len(text), text);
    }
    return iscsi_side_learn(side, why);
}

static int iscsi_side_reconnect(struct endpoint *endpoint, struct reason *why)
{
    struct iscsi_side *side = container_of(endpoint, struct iscsi_side, base);
    int r = iscsi_side_start(side, why);
    if (r < 0)
        iscsi_side_disconnect(endpoint);
    else
        side->base.lost = false;
    return r;
}

static void iscsi_side_destroy(struct endpoint *endpoint, bool undo)
{
    struct iscsi_side *side = container_of(endpoint, struct iscsi_side, base);
    (void)undo;
    if (side->iscsi && list_is_empty(&side->requests) && !side->is_broken &&
        iscsi_is_logged_in(side->iscsi))
    {
        side->call_result = 0;
        if (iscsi_logout_async(side->iscsi, iscsi_side_call_cb, side) == 0)
            ignore_error(iscsi_side_wait(side, ISCSI_LOGOUT_MS), "it is closed in any case");
    }
    iscsi_side_disconnect(endpoint);
    if (side->url)
        explicit_bzero(side->url, strlen(side->url));
    free(side->url);
    free(side->zeros);
    free(side);
}

static const struct endpoint_ops iscsi_side_ops = {
    .submit = iscsi_side_submit,
    .pollfds = iscsi_side_pollfds,
    .service = iscsi_side_service,
    .disconnect = iscsi_side_disconnect,
    .reconnect = iscsi_side_reconnect,
    .destroy = iscsi_side_destroy,
};

int endpoint_open_iscsi(const struct endpoint_open_args *args, struct endpoint **endpoint,
                        struct reason *why)
{
    struct iscsi_side *side = calloc(1, sizeof(*side));
    if (!side)
        return -ENOMEM;
    list_init(&side->requests);
    if (getrandom(side->mark, sizeof(side->mark), 0) != sizeof(side->mark))
    {
        free(side);
        return -EIO;
    }
    int r = endpoint_init(&side->base, &iscsi_side_ops, args->place);
    side->url = strdup(args->place);
    side->zeros = calloc(1, ISCSI_BLOCK_MAX);
    if (r == 0 && (!side->url || !side->zeros))
        r = -ENOMEM;
    if (r == 0)
        r = iscsi_side_start(side, why);
    if (r < 0)
    {
        endpoint_destroy(&side->base, true);
        return r;
    }
    *endpoint = &side->base;
    return 0;
}
