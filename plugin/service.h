/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of the pool inside nbdkit.
 *
 *   load -> get_ready -> (fork) -> after_fork -> clients -> cleanup -> unload
 *           opens, locks           threads,                 stops       closes what clients left
 *           and recovers           target                   the target  open, last checkpoint
 *
 * The pool is open from get_ready to unload. nbdkit may go from any state straight to unload.
 */
#ifndef PLUGIN_SERVICE_H
#define PLUGIN_SERVICE_H

struct pool;
struct target;

/* The open pool; only while clients can be connected. */
struct pool *service_pool(void);

/* What serves it besides NBD; from after_fork to cleanup. NULL outside of that. */
struct target *service_target(void);

/* nbdkit's callbacks: 0, or -1 after nbdkit_error(). */
int service_get_ready(void);
int service_after_fork(void);
void service_cleanup(void);
void service_unload(void);

#endif
