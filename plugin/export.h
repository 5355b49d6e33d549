/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exports: what a client names, lists and negotiates.
 *
 * A connection has one struct export, made by export_open() and freed by export_close(). nbdkit
 * does not close those that are open when it is told to stop: export_close_all() does.
 */
#ifndef PLUGIN_EXPORT_H
#define PLUGIN_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/list.h"
#include "lun/base/lock.h"

struct lun;
struct qos_lun;
struct nbd_error;
struct nbdkit_exports;

struct export
{
    struct list link; /* under the lock of the list of all */
    struct lun *lun;  /* immutable, as its id; 0: a difference, which has none */
    uint64_t lun_id;
    struct qos_lun *qos; /* immutable; NULL: nothing is limited or counted */
    char *name;          /* immutable: as the client gave it */
    char *description;   /* the connection's thread only, while it negotiates */
    struct lock lock;
    unsigned logged; /* under lock: kinds of errors that this connection has logged */
    bool is_hung_up; /* under lock: the client is gone, or about to be */
};

/* nbdkit's callbacks. Those that can fail return -1 or NULL after nbdkit_error(). */
int export_list(int readonly, int is_tls, struct nbdkit_exports *exports);
const char *export_default(int readonly, int is_tls);
void *export_open(int readonly);
void export_close(void *handle);
const char *export_description(void *handle);
int64_t export_get_size(void *handle);
int export_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum);
int export_can_write(void *handle);
int export_can_flush(void *handle);
int export_can_fua(void *handle);
int export_can_extents(void *handle);
int export_can_cache(void *handle);
int export_can_multi_conn(void *handle);
int export_is_rotational(void *handle);

/* Closes what is still open. No connection may be alive. */
void export_close_all(void);

/*
 * For a request that waits, in a worker of its connection: whether the wait makes no sense any
 * more, because the client hung up or the server stops.
 */
bool export_is_over(struct export *export);

/* Logs why @what is refused, unless this connection has logged a refusal before. */
void export_log_refusal(struct export *export, const struct nbd_error *error, const char *what,
                        const struct reason *why);

/* Logs that @what failed, unless this connection has logged an error of that kind before. */
void export_log_error(struct export *export, const struct nbd_error *error, const char *what,
                      uint64_t len, uint64_t offset);

#endif
