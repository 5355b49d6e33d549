/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running target: an open pool with everything that serves it but NBD.
 *
 * target_start() starts the management thread and the iSCSI portals on a pool that the caller has
 * opened and started; target_stop() ends them. The caller (the nbdkit plugin, or a test) keeps the
 * pool and closes it afterwards.
 */
#ifndef SERVER_TARGET_H
#define SERVER_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"
#include "server/limits.h"
#include "server/policy/policy.h"

struct access;
struct host_key;
struct iscsi_server;
struct scsi_target;
struct qos;
struct target;

enum
{
    TARGET_PORTALS_MAX = 16
};

struct target_options
{
    const char *mgmt_socket;      /* path of the Unix socket; NULL: no management */
    unsigned mgmt_mode;           /* its permissions; 0: 0666, everybody may look */
    const char *management_group; /* name or number of the group that may change things; or NULL */
    const char *const *iscsi_portals; /* "ADDRESS:PORT", "[ADDRESS]:PORT" */
    size_t iscsi_portal_count;
    struct iscsi_limits iscsi_limits;
    unsigned iscsi_threads, iscsi_workers; /* 0: by the number of processors; 16 */
    const char *iscsi_redirect; /* where all logins are sent instead, "ADDRESS:PORT"; or NULL */
    bool iscsi_redirect_permanently;
    const char *nbd_uri;          /* where NBD clients connect, without an export name; or NULL */
    const char *conf_path;        /* only shown; or NULL */
    const struct host_key *key;   /* that wraps secrets in the pool; NULL: none. Not kept as such */
    const char *key_path;         /* the file that it was read from; or NULL */
    struct policy_options policy; /* what the server does by itself */
};

/*
 * Starts threads, so call it after the last fork. Copies @options. On failure nothing is left
 * running. -EBUSY: a live server has the socket. -EEXIST: the socket's path is something else.
 * -ENOTSUP: iSCSI portals asked of a build without iSCSI.
 */
MUST_CHECK int target_start(struct pool *pool, const struct target_options *options,
                            struct target **target, struct reason *why);

/* Ends all threads, also commands that still run, and removes the socket. NULL is accepted. */
void target_stop(struct target *target);

/* The portals that listen, with their real ports, and the target's name; NULL without iSCSI. */
size_t target_iscsi_portals(const struct target *target);
const char *target_iscsi_portal(const struct target *target, size_t i);
const char *target_iscsi_name(const struct target *target);

/*
 * Igroups, mappings and CHAP records, portals or not. NULL: what the pool stores of them could not
 * be read (it is served all the same, without portals), and target_access_problem() says why.
 */
struct access *target_access(struct target *target);
const char *target_access_problem(const struct target *target);
/*
 * Whether the key that the server works with is still that of its file: -ESTALE if not, and @why
 * says so. What is wrapped then is locked after the next start.
 */
MUST_CHECK int target_check_key(struct target *target, struct reason *why);
/* Limits and figures of LUNs. Whoever opens a LUN of it may close that after target_stop(). */
struct qos *target_qos(struct target *target);

/* What the server does by itself. */
struct policy *target_policy(struct target *target);
/* NULL where target_access() is. */
struct scsi_target *target_scsi(struct target *target);
/* NULL without portals. */
struct iscsi_server *target_iscsi(struct target *target);

/*
 * Whether an NBD client may write to @lun_id (with @write false: read from it), or an iSCSI
 * initiator's reservation keeps it out: -EPERM, then @why (may be NULL) names the holder. For each
 * request; does not block but where it refuses.
 */
MUST_CHECK int target_check_nbd(struct target *target, uint64_t lun_id, bool write,
                                struct reason *why);

/* What it was started with; lives as long as @target. */
struct pool *target_pool(struct target *target);
const struct target_options *target_options_of(const struct target *target);

#endif
