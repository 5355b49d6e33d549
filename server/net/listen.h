/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening TCP sockets.
 *
 * When the process is out of descriptors a listener rests for a moment instead of spinning.
 */
#ifndef SERVER_NET_LISTEN_H
#define SERVER_NET_LISTEN_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lun/base/err.h"
#include "server/net/loop.h"

enum
{
    NET_ADDRESS_TEXT_MAX = 64, /* "[v6 address]:port" with its NUL */
};

/* An IPv4 or IPv6 address with a port. */
struct net_address
{
    struct sockaddr_storage storage;
    socklen_t len;
};

/*
 * "10.0.0.1:3260", "[::1]:3260", "0.0.0.0", "[::]", ":3260" or "3260" (both: all addresses).
 * Without a port it is @default_port. Addresses only, no host names: a name server must not hold up
 * a start.
 */
MUST_CHECK int net_address_parse(const char *text, uint16_t default_port,
                                 struct net_address *address, struct reason *why);
/* "10.0.0.1:3260" or "[::1]:3260"; an IPv4 address that arrived on an IPv6 socket is IPv4. */
void net_address_format(const struct net_address *address, char text[NET_ADDRESS_TEXT_MAX]);
uint16_t net_address_port(const struct net_address *address);
bool net_address_is_any(const struct net_address *address);
/* The local and the remote end of a connected or listening socket. */
MUST_CHECK int net_address_local(int fd, struct net_address *address);
MUST_CHECK int net_address_remote(int fd, struct net_address *address);

struct listener;

/* @fd, non-blocking and close-on-exec, is the callee's. Called by the listener's loop. */
typedef void listener_accept_fn(void *opaque, int fd);

/* Listens at once, so that errors show; accepts from the loop's next turn on. */
MUST_CHECK int listener_open(struct loop *loop, const struct net_address *address,
                             listener_accept_fn *accept, void *opaque, struct listener **listener,
                             struct reason *why);
/* By the loop's thread, or when it does not run. NULL is accepted. */
void listener_close(struct listener *listener);
/* With the real port when 0 was asked for. */
const struct net_address *listener_address(const struct listener *listener);

#endif
