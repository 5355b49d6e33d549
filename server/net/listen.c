/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening sockets and the text form of their addresses. */
#include "server/net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lun/base/cleanup.h"
#include "lun/base/list.h"
#include "lun/base/log.h"

enum
{
    LISTEN_BACKLOG = 1024,
    LISTEN_ACCEPTS_PER_TURN = 64, /* then the connections there are get their turn */
    LISTEN_REST_MS = 200,
};

struct listener
{
    struct loop_watch watch;
    struct loop_timer rest_timer;
    struct loop *loop;
    listener_accept_fn *accept;
    void *opaque;
    struct net_address address;
    int fd;
    bool is_resting; /* was out of descriptors, and said so */
};

/* ---- addresses ----------------------------------------------------------------------------- */

static bool net_parse_port(const char *text, uint16_t *port)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

static void net_set_v6(struct net_address *address, const struct in6_addr *host, uint16_t port)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    *v6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *host};
    address->len = sizeof(*v6);
}

/* Splits @text into @host (empty: all addresses) and @port. */
static bool net_split(const char *text, char host[NET_ADDRESS_TEXT_MAX], bool *is_v6,
                      uint16_t *port)
{
    const char *start = text, *end;
    *is_v6 = *text == '[';
    if (*is_v6)
    {
        start = text + 1;
        end = strchr(start, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
        text = end + 1;
    }
    else
    {
        end = strchr(text, ':');
        if (!end && !strchr(text, '.'))
        {
            host[0] = '\0';
            return net_parse_port(text, port);
        }
        end = end ? end : text + strlen(text);
        text = end;
    }
    size_t len = (size_t)(end - start);
    if (len >= NET_ADDRESS_TEXT_MAX)
        return false;
    memcpy(host, start, len);
    host[len] = '\0';
    return *text == '\0' || net_parse_port(text + 1, port);
}

int net_address_parse(const char *text, uint16_t default_port, struct net_address *address,
                      struct reason *why)
{
    char host[NET_ADDRESS_TEXT_MAX];
    bool is_v6;
    uint16_t port = default_port;
    struct in_addr v4_host;
    struct in6_addr v6_host = in6addr_any;
    struct net_address parsed = {.len = 0};
    if (net_split(text, host, &is_v6, &port))
    {
        if (host[0] == '\0' || (is_v6 && inet_pton(AF_INET6, host, &v6_host) == 1))
        {
            net_set_v6(&parsed, &v6_host, port);
        }
        else if (!is_v6 && inet_pton(AF_INET, host, &v4_host) == 1)
        {
            struct sockaddr_in *v4 = (struct sockaddr_in *)&parsed.storage;
            *v4 = (struct sockaddr_in){
                .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = v4_host};
            parsed.len = sizeof(*v4);
        }
    }
    if (parsed.len == 0)
        return reason_set(why, -EINVAL,
                          "\"%s\" is not an address to listen on. Write it as 10.0.0.1:3260, "
                          "[fd00::1]:3260, or :3260 for all addresses.",
                          text);
    *address = parsed;
    return 0;
}

uint16_t net_address_port(const struct net_address *address)
{
    if (address->storage.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
}

bool net_address_is_any(const struct net_address *address)
{
    if (address->storage.ss_family == AF_INET6)
    {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;
        return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    }
    return ((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr == INADDR_ANY;
}

void net_address_format(const struct net_address *address, char text[NET_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->storage.ss_family == AF_INET6)
    {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        {
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof(host));
            snprintf(text, NET_ADDRESS_TEXT_MAX, "%s:%u", host, net_address_port(address));
            return;
        }
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(text, NET_ADDRESS_TEXT_MAX, "[%s]:%u", host, net_address_port(address));
        return;
    }
    inet_ntop(AF_INET, &((const struct sockaddr_in *)&address->storage)->sin_addr, host,
              sizeof(host));
    snprintf(text, NET_ADDRESS_TEXT_MAX, "%s:%u", host, net_address_port(address));
}

int net_address_local(int fd, struct net_address *address)
{
    struct net_address found = {.len = sizeof(found.storage)};
    if (getsockname(fd, (struct sockaddr *)&found.storage, &found.len) < 0)
        return -errno;
    *address = found;
    return 0;
}

int net_address_remote(int fd, struct net_address *address)
{
    struct net_address found = {.len = sizeof(found.storage)};
    if (getpeername(fd, (struct sockaddr *)&found.storage, &found.len) < 0)
        return -errno;
    *address = found;
    return 0;
}

/* ---- listener ------------------------------------------------------------------------------ */

static void listener_rest_over(struct loop_timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, rest_timer);
    loop_watch_change(&listener->watch, EPOLLIN);
}

static void listener_rest(struct listener *listener, int err)
{
    if (!listener->is_resting)
    {
        char text[NET_ADDRESS_TEXT_MAX];
        net_address_format(&listener->address, text);
        log_warning("cannot accept connections on %s for now: %s. Raise LimitNOFILE of the "
                    "service if this goes on.",
                    text, strerror(err));
    }
    listener->is_resting = true;
    loop_watch_change(&listener->watch, 0);
    loop_timer_set(listener->loop, &listener->rest_timer, LISTEN_REST_MS);
}

static void listener_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct listener *listener = container_of(watch, struct listener, watch);
    for (unsigned i = 0; i < LISTEN_ACCEPTS_PER_TURN; i++)
    {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
        {
            listener->is_resting = false;
            listener->accept(listener->opaque, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listener_rest(listener, errno);
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static int listener_bind(const struct net_address *address)
{
    AUTO_CLOSE int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int one = 1, only_v6 = net_address_is_any(address) ? 0 : 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -errno;
    if (address->storage.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6)) < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0)
        return -errno;
    if (listen(fd, LISTEN_BACKLOG) < 0)
        return -errno;
    return take_fd(&fd);
}

int listener_open(struct loop *loop, const struct net_address *address, listener_accept_fn *accept,
                  void *opaque, struct listener **out, struct reason *why)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    char text[NET_ADDRESS_TEXT_MAX];
    net_address_format(address, text);
    listener->loop = loop;
    listener->accept = accept;
    listener->opaque = opaque;
    loop_timer_init(&listener->rest_timer, listener_rest_over);
    listener->fd = listener_bind(address);
    int r = listener->fd < 0 ? listener->fd : net_address_local(listener->fd, &listener->address);
    if (r == 0)
        r = loop_watch_add(loop, &listener->watch, listener->fd, EPOLLIN, listener_ready);
    if (r < 0)
    {
        listener_close(listener);
        return reason_set(why, r, "cannot listen on %s: %s.%s", text, strerror(-r),
                          r == -EADDRINUSE ? " Another program has this port; `ss -ltnp` names it."
                                           : "");
    }
    *out = listener;
    return 0;
}

void listener_close(struct listener *listener)
{
    if (!listener)
        return;
    loop_watch_remove(&listener->watch);
    loop_timer_cancel(&listener->rest_timer);
    cleanup_close(&listener->fd);
    free(listener);
}

const struct net_address *listener_address(const struct listener *listener)
{
    return &listener->address;
}
