/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many connections there are, in all and from each source, so that one host can not take the
 * place of all others.
 *
 * A source is an IPv4 address, or the first 64 bits of an IPv6 address, as that is what one host or
 * customer usually has all of (but for link-local ones, which are alike in them). Who has no
 * address, a client of a Unix socket for example, is of no source and counts in all only.
 */
#ifndef SERVER_NET_SOURCES_H
#define SERVER_NET_SOURCES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lun/base/err.h"
#include "lun/base/list.h"
#include "lun/base/lock.h"

struct source;

enum
{
    SOURCES_BUCKETS = 256,
};

struct sources
{
    struct lock lock;
    uint32_t limit, limit_each; /* immutable */
    uint32_t count;             /* under lock, as all below */
    struct list buckets[SOURCES_BUCKETS];
};

/* One connection that is counted; zeroed: none. */
struct source_seat
{
    bool is_taken;
    struct source *source; /* NULL: of none. Alike for connections of one source. */
};

void sources_init(struct sources *sources, uint32_t limit, uint32_t limit_each);
/* All seats have to be given back. */
void sources_destroy(struct sources *sources);

/* @address may be NULL. -EUSERS: there are too many. -EDQUOT: too many of this source. -ENOMEM. */
MUST_CHECK int sources_enter(struct sources *sources, const struct sockaddr *address,
                             struct source_seat *seat);
/* Does nothing for a seat that is not taken, or was given back. */
void sources_leave(struct sources *sources, struct source_seat *seat);

#endif
