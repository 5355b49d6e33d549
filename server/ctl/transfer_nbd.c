/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NBD export as one side of a transfer, through libnbd's asynchronous calls.
 *
 * Where the server says that a flush on one connection covers the writes of all (multi-conn), there
 * are several connections, and each request goes to the one with the least to do. One lost
 * connection loses the endpoint: what was written and not flushed may be gone with it.
 */
#include <errno.h>
#include <libnbd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/ctl/transfer_endpoint.h"

enum
{
    NBD_LINKS_MAX = 8,
    NBD_LINKS_DEFAULT = 4,
    NBD_MAP_MAX_BYTES = 1 << 30
};

struct nbd_side;

struct nbd_link
{
    struct nbd_side *side;
    struct nbd_handle *nbd;
    uint32_t in_flight;
    struct list requests; /* struct request: those under way */
};

struct nbd_side
{
    struct endpoint base;
    char *uri;
    bool is_destination;
    uint32_t links_wanted;
    uint32_t link_count;
    struct nbd_link links[NBD_LINKS_MAX];
};

static const char nbd_side_context[] = "base:allocation";

/* What the server meant: one that shuts down is as good as gone. */
static int nbd_side_result(int error)
{
    switch (error)
    {
    case 0:
        return 0;
    case ENOTCONN:
    case ESHUTDOWN:
    case ECONNRESET:
    case EPIPE:
        return -ENOTCONN;
    case EOPNOTSUPP:
        return -ENOTSUP;
    default:
        return -error;
    }
}

/* Called by libnbd with the handle locked: nothing of libnbd may be called from here. */
static int nbd_side_completion_cb(void *opaque, int *error)
{
    struct request *request = opaque;
    struct nbd_link *link = request->carrier;
    int result = nbd_side_result(*error);
    if (result == 0 && request->kind == REQUEST_MAP && request->extent_count == 0)
        result = -ENOTSUP; /* the server said nothing of use */
    list_remove(&request->link);
    link->in_flight--;
    endpoint_complete(&link->side->base, request, result, NULL);
    return 1; /* the command is done with */
}

static int nbd_side_extent_cb(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                              size_t entry_count, int *error)
{
    struct request *request = opaque;
    (void)error;
    if (strcmp(context, nbd_side_context) != 0)
        return 0;
    uint64_t at = offset;
    uint64_t end = request->offset_bytes + request->len_bytes;
    for (size_t i = 0; i + 1 < entry_count && at < end; i += 2)
    {
        uint64_t len = min_u64(entries[i], end - at);
        if (len == 0 || request->extent_count == ENDPOINT_EXTENTS_MAX)
            break;
        request->extents[request->extent_count++] = (struct block_extent){
            .offset_bytes = at, .len_bytes = len, .is_zero = entries[i + 1] & 2 /* STATE_ZERO */};
        at += len;
    }
    return 0;
}

/* Closes all connections and hands back what was under way. */
static void nbd_side_disconnect(struct endpoint *endpoint)
{
    struct nbd_side *side = container_of(endpoint, struct nbd_side, base);
    side->base.lost = true;
    for (uint32_t i = 0; i < side->link_count; i++)
    {
        struct nbd_link *link = &side->links[i];
        nbd_close(link->nbd); /* makes no completion callbacks */
        link->nbd = NULL;
        list_for_each_safe (request, &link->requests, struct request, link)
        {
            list_remove(&request->link);
            endpoint_complete(&side->base, request, -ENOTCONN, NULL);
        }
        link->in_flight = 0;
    }
    side->link_count = 0;
}

static struct nbd_link *nbd_side_least_busy(struct nbd_side *side)
{
    struct nbd_link *least = &side->links[0];
    for (uint32_t i = 1; i < side->link_count; i++)
        if (side->links[i].in_flight < least->in_flight)
            least = &side->links[i];
    return least;
}

static int64_t nbd_side_send(struct nbd_handle *nbd, struct request *request)
{
    nbd_completion_callback done = {.callback = nbd_side_completion_cb, .user_data = request};
    nbd_extent_callback extent = {.callback = nbd_side_extent_cb, .user_data = request};
    switch (request->kind)
    {
    case REQUEST_READ:
        return nbd_aio_pread(nbd, request->data, request->len_bytes, request->offset_bytes, done,
                             0);
    case REQUEST_WRITE:
        return nbd_aio_pwrite(nbd, request->data, request->len_bytes, request->offset_bytes, done,
                              0);
    case REQUEST_ZERO:
        return nbd_aio_zero(nbd, request->len_bytes, request->offset_bytes, done, 0);
    case REQUEST_FLUSH:
        return nbd_aio_flush(nbd, done, 0);
    case REQUEST_MAP:
        request->extent_count = 0;
        return nbd_aio_block_status(nbd, min_u64(request->len_bytes, NBD_MAP_MAX_BYTES),
                                    request->offset_bytes, extent, done, 0);
    }
    return -1;
}

static void nbd_side_submit(struct endpoint *endpoint, struct request *request)
{
    struct nbd_side *side = container_of(endpoint, struct nbd_side, base);
    struct nbd_link *link = nbd_side_least_busy(side);
    if (request->kind == REQUEST_FLUSH && nbd_can_flush(link->nbd) == 0)
    {
        endpoint_complete(endpoint, request, 0, NULL); /* it says that it has nothing to flush */
        return;
    }
    request->carrier = link;
    list_add_tail(&link->requests, &request->link);
    link->in_flight++;
    if (nbd_side_send(link->nbd, request) >= 0)
        return;
    int error = nbd_get_errno();
    bool is_gone = nbd_aio_is_dead(link->nbd) == 1 || nbd_aio_is_closed(link->nbd) == 1;
    list_remove(&request->link);
    link->in_flight--;
    endpoint_complete(endpoint, request, is_gone ? -ENOTCONN : nbd_side_result(error ? error : EIO),
                      nbd_get_error());
    if (is_gone)
        nbd_side_disconnect(endpoint);
}

static size_t nbd_side_pollfds(struct endpoint *endpoint, struct pollfd *fds, int *timeout_ms)
{
    struct nbd_side *side = container_of(endpoint, struct nbd_side, base);
    (void)timeout_ms;
    for (uint32_t i = 0; i < side->link_count; i++)
    {
        unsigned direction = nbd_aio_get_direction(side->links[i].nbd);
        short events = direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0;
        if (direction & LIBNBD_AIO_DIRECTION_WRITE)
            events |= POLLOUT;
        fds[i] = (struct pollfd){.fd = nbd_aio_get_fd(side->links[i].nbd), .events = events};
    }
    return side->link_count;
}

static void nbd_side_service(struct endpoint *endpoint, const struct pollfd *fds, size_t count)
{
    struct nbd_side *side = container_of(endpoint, struct nbd_side, base);
    bool is_gone = false;
    for (uint32_t i = 0; i < side->link_count && i < count; i++)
    {
        struct nbd_handle *nbd = side->links[i].nbd;
        unsigned direction = nbd_aio_get_direction(nbd);
        int r = 0;
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR) && direction & LIBNBD_AIO_DIRECTION_READ)
            r = nbd_aio_notify_read(nbd);
        else if (fds[i].revents & (POLLOUT | POLLHUP | POLLERR) &&
                 direction & LIBNBD_AIO_DIRECTION_WRITE)
            r = nbd_aio_notify_write(nbd);
        if (r < 0 || fds[i].revents & POLLNVAL || nbd_aio_is_dead(nbd) == 1 ||
            nbd_aio_is_closed(nbd) == 1)
            is_gone = true;
    }
    if (is_gone)
        nbd_side_disconnect(endpoint);
}

static uint64_t nbd_side_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Connects and negotiates, within ENDPOINT_CONNECT_MS. */
static int nbd_side_handshake(struct nbd_side *side, struct nbd_handle *nbd)
{
    if (nbd_set_uri_allow_local_file(nbd, true) < 0 ||
        nbd_add_meta_context(nbd, nbd_side_context) < 0 ||
        nbd_set_pread_initialize(nbd, false) < 0 || nbd_aio_connect_uri(nbd, side->uri) < 0)
        return -1;
    uint64_t deadline_ms = nbd_side_now_ms() + ENDPOINT_CONNECT_MS;
    while (nbd_aio_is_connecting(nbd) == 1)
    {
        uint64_t now_ms = nbd_side_now_ms();
        if (now_ms >= deadline_ms)
            return -ETIMEDOUT;
        if (nbd_poll(nbd, (int)(deadline_ms - now_ms)) < 0 && nbd_get_errno() != EINTR)
            return -1;
    }
    return nbd_aio_is_ready(nbd) == 1 ? 0 : -1;
}

static int nbd_side_add_link(struct nbd_side *side, struct reason *why)
{
    struct nbd_link *link = &side->links[side->link_count];
    struct nbd_handle *nbd = nbd_create();
    if (!nbd)
        return -ENOMEM;
    int r = nbd_side_handshake(side, nbd);
    if (r < 0)
    {
        int error = r == -ETIMEDOUT ? ETIMEDOUT : nbd_get_errno();
        const char *text = nbd_get_error();
        reason_set(why, 0, "cannot connect to %s: %s", side->base.name,
                   r == -ETIMEDOUT ? "no answer"
                   : text          ? text
                                   : "the server hung up");
        nbd_close(nbd);
        return error == ENOMEM || error == EINVAL || error == ENOENT ? -error : -ENOTCONN;
    }
    *link = (struct nbd_link){.side = side, .nbd = nbd};
    list_init(&link->requests);
    side->link_count++;
    return 0;
}

static int nbd_side_learn(struct nbd_side *side, struct reason *why)
{
    struct endpoint *base = &side->base;
    struct nbd_handle *nbd = side->links[0].nbd;
    int64_t size = nbd_get_size(nbd);
    if (size < 0)
        return reason_set(why, -EIO, "%s does not tell its size: %s", base->name, nbd_get_error());
    if (side->is_destination && nbd_is_read_only(nbd) == 1)
        return reason_set(why, -EROFS, "%s is read-only", base->name);
    base->size_bytes = (uint64_t)size;
    base->can_map = nbd_can_meta_context(nbd, nbd_side_context) == 1;
    base->can_zero = nbd_can_zero(nbd) == 1;
    int64_t min_bytes = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);
    int64_t max_bytes = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
    if (min_bytes > 0)
        base->align_bytes = (uint32_t)min_bytes;
    if (max_bytes > 0 && max_bytes < base->max_io_bytes)
        base->max_io_bytes = (uint32_t)max_bytes;
    return 0;
}

static int nbd_side_connect(struct nbd_side *side, struct reason *why)
{
    int r = nbd_side_add_link(side, why);
    if (r == 0)
        r = nbd_side_learn(side, why);
    bool is_multi = r == 0 && nbd_can_multi_conn(side->links[0].nbd) == 1;
    /* One more that cannot be had is no failure: the first one does all the work too. */
    while (r == 0 && is_multi && side->link_count < side->links_wanted)
        if (nbd_side_add_link(side, NULL) < 0)
            break;
    if (r < 0)
        nbd_side_disconnect(&side->base);
    else
        side->base.lost = false;
    return r;
}

static int nbd_side_reconnect(struct endpoint *endpoint, struct reason *why)
{
    return nbd_side_connect(container_of(endpoint, struct nbd_side, base), why);
}

static void nbd_side_destroy(struct endpoint *endpoint, bool undo)
{
    struct nbd_side *side = container_of(endpoint, struct nbd_side, base);
    (void)undo;
    /* Says goodbye, so that the server does not log a lost connection. */
    for (uint32_t i = 0; i < side->link_count; i++)
        if (side->links[i].in_flight == 0 && nbd_aio_is_ready(side->links[i].nbd) == 1)
            ignore_error(nbd_aio_disconnect(side->links[i].nbd, 0), "it is closed in any case");
    nbd_side_disconnect(endpoint);
    free(side->uri);
    free(side);
}

static const struct endpoint_ops nbd_side_ops = {
    .submit = nbd_side_submit,
    .pollfds = nbd_side_pollfds,
    .service = nbd_side_service,
    .disconnect = nbd_side_disconnect,
    .reconnect = nbd_side_reconnect,
    .destroy = nbd_side_destroy,
};

int endpoint_open_nbd(const struct endpoint_open_args *args, struct endpoint **endpoint,
                      struct reason *why)
{
    struct nbd_side *side = calloc(1, sizeof(*side));
    if (!side)
        return -ENOMEM;
    side->is_destination = args->is_destination;
    side->links_wanted = args->connections ? args->connections : NBD_LINKS_DEFAULT;
    if (side->links_wanted > NBD_LINKS_MAX)
        side->links_wanted = NBD_LINKS_MAX;
    int r = endpoint_init(&side->base, &nbd_side_ops, args->place);
    side->uri = strdup(args->place);
    if (r == 0 && !side->uri)
        r = -ENOMEM;
    if (r == 0)
        r = nbd_side_connect(side, why);
    if (r < 0)
    {
        endpoint_destroy(&side->base, true);
        return r;
    }
    *endpoint = &side->base;
    return 0;
}
