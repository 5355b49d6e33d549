/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts and stops what serves a pool, in the order that lets either be undone. */
#include "server/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/copy.h"
#include "server/host_key.h"
#include "server/mgmt/mgmt.h"
#include "server/moment.h"
#include "server/qos/qos.h"
#ifdef LUNETTE_ISCSI
#include "server/iscsi/portal.h"
#endif

struct target
{
    struct pool *pool;
    struct target_options options; /* strings owned */
    char *portals[TARGET_PORTALS_MAX];
    struct mgmt *mgmt;
    struct qos *qos;
    struct policy *policy;
    struct access *access; /* NULL: access_problem says why */
    struct reason access_problem;
    struct host_key_mark key_mark; /* of the key file when it was started */
    struct scsi_target *scsi;      /* NULL where access is */
    struct iscsi_server *iscsi;    /* NULL without portals */
};

struct pool *target_pool(struct target *target)
{
    return target->pool;
}

const struct target_options *target_options_of(const struct target *target)
{
    return &target->options;
}

/* Copies a string that may be NULL. */
static int target_copy(const char *from, const char **to)
{
    *to = from ? strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

static int target_copy_options(struct target *target, const struct target_options *options)
{
    struct target_options *own = &target->options;
    own->mgmt_mode = options->mgmt_mode;
    int r = target_copy(options->mgmt_socket, &own->mgmt_socket);
    r = keep_first(r, target_copy(options->management_group, &own->management_group));
    r = keep_first(r, target_copy(options->nbd_uri, &own->nbd_uri));
    r = keep_first(r, target_copy(options->conf_path, &own->conf_path));
    r = keep_first(r, target_copy(options->key_path, &own->key_path));
    own->iscsi_portals = (const char *const *)target->portals;
    for (size_t i = 0; i < options->iscsi_portal_count; i++)
    {
        const char *copy;
        r = keep_first(r, target_copy(options->iscsi_portals[i], &copy));
        target->portals[i] = (char *)copy;
    }
    own->iscsi_portal_count = options->iscsi_portal_count;
    own->iscsi_limits = options->iscsi_limits;
    own->iscsi_threads = options->iscsi_threads;
    own->iscsi_workers = options->iscsi_workers;
    own->iscsi_redirect_permanently = options->iscsi_redirect_permanently;
    r = keep_first(r, target_copy(options->iscsi_redirect, &own->iscsi_redirect));
    return r;
}

struct access *target_access(struct target *target)
{
    return target->access;
}

const char *target_access_problem(const struct target *target)
{
    return target->access_problem.text;
}

struct qos *target_qos(struct target *target)
{
    return target->qos;
}

struct policy *target_policy(struct target *target)
{
    return target->policy;
}

struct scsi_target *target_scsi(struct target *target)
{
    return target->scsi;
}

struct iscsi_server *target_iscsi(struct target *target)
{
    return target->iscsi;
}

int target_check_key(struct target *target, struct reason *why)
{
    const char *id = target->access ? access_key_id(target->access) : NULL;
    if (!id || !target->options.key_path)
        return 0;
    return host_key_compare(target->options.key_path, &target->key_mark, id, why);
}

/* ---- iSCSI --------------------------------------------------------------------------------- */

#ifdef LUNETTE_ISCSI
/* Also without portals: reservations that wait for their initiators hold for NBD, too. */
static int target_open_scsi(struct target *target, struct reason *why)
{
    const struct scsi_target_options options = {
        .target_name = access_target_name(target->access),
        .port_count = (uint16_t)target->options.iscsi_portal_count,
        .qos = target->qos,
    };
    return scsi_target_create(target->pool, target->access, &options, &target->scsi, why);
}

static void target_scsi_lun_changed(struct target *target, enum lun_change change, uint64_t lun_id,
                                    const char *name)
{
    if (target->scsi)
        scsi_target_lun_changed(target->scsi, change, lun_id, name);
}

/* What somebody has to do something about. */
static void target_tell_secrets(struct target *target)
{
    struct access_chap_counts counts;
    const char *key = access_key_id(target->access);
    access_chap_count(target->access, &counts);
    if (counts.locked > 0)
        event_add(target->pool, "error", "iscsi.chap.locked", "",
                  "CHAP secrets that are locked: %zu; they need the key %s%s, the server has %s, "
                  "and who needs them cannot log in; 'lunette iscsi chap show' lists them",
                  counts.locked, counts.needed[0] ? counts.needed : "that they had before a damage",
                  counts.needs_more ? " and others" : "", key ? key : "none");
    if (key && counts.clear > 0)
        event_add(target->pool, "warning", "iscsi.chap.clear", "",
                  "CHAP secrets that lie in the pool in clear though the server has a key: %zu; "
                  "'lunette iscsi chap rewrap' wraps them",
                  counts.clear);
}

/* Unreadable access control is no reason not to serve NBD; only portals depend on it. */
static int target_open_access(struct target *target, const struct host_key *key, struct reason *why)
{
    reason_clear(&target->access_problem);
    int r = access_open_with_key(target->pool, key, &target->access, &target->access_problem);
    if (r == 0)
        target_tell_secrets(target);
    if (r == 0)
        return target_open_scsi(target, why);
    if (target->options.iscsi_portal_count > 0)
        return reason_set(why, r, "%s", target->access_problem.text);
    event_add(target->pool, "error", "access.unreadable", "",
              "igroups and mappings cannot be read: %s", target->access_problem.text);
    return 0;
}

static int target_start_iscsi(struct target *target, struct reason *why)
{
    const struct target_options *own = &target->options;
    const struct iscsi_options options = {
        .portals = own->iscsi_portals,
        .portal_count = own->iscsi_portal_count,
        .threads = own->iscsi_threads,
        .workers = own->iscsi_workers,
        .limits = own->iscsi_limits,
        .redirect = own->iscsi_redirect,
        .redirect_permanently = own->iscsi_redirect_permanently,
    };
    int r = iscsi_start(target->scsi, target->access, &options, &target->iscsi, why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < iscsi_portal_count(target->iscsi); i++)
        event_add(target->pool, "info", "iscsi.listening", "", "iSCSI target %s listens on %s",
                  iscsi_target_name(target->iscsi), iscsi_portal_address(target->iscsi, i));
    return 0;
}

static void target_stop_iscsi(struct target *target)
{
    iscsi_stop(target->iscsi);
    scsi_target_destroy(target->scsi);
    access_close(target->access);
}

int target_check_nbd(struct target *target, uint64_t lun_id, bool write, struct reason *why)
{
    return target->scsi ? scsi_target_check_foreign(target->scsi, lun_id, write, why) : 0;
}

size_t target_iscsi_portals(const struct target *target)
{
    return target->iscsi ? iscsi_portal_count(target->iscsi) : 0;
}

const char *target_iscsi_portal(const struct target *target, size_t i)
{
    return iscsi_portal_address(target->iscsi, i);
}

const char *target_iscsi_name(const struct target *target)
{
    return target->iscsi ? iscsi_target_name(target->iscsi) : NULL;
}
#else
static int target_open_access(struct target *target, const struct host_key *key, struct reason *why)
{
    (void)key, (void)why;
    return reason_set(&target->access_problem, 0, "this build has no iSCSI");
}

static int target_start_iscsi(struct target *target, struct reason *why)
{
    return reason_set(why, -ENOTSUP, "this build has no iSCSI: leave out the portal %s",
                      target->options.iscsi_portals[0]);
}

static void target_stop_iscsi(struct target *target)
{
    (void)target;
}

static void target_scsi_lun_changed(struct target *target, enum lun_change change, uint64_t lun_id,
                                    const char *name)
{
    (void)target, (void)change, (void)lun_id, (void)name;
}

int target_check_nbd(struct target *target, uint64_t lun_id, bool write, struct reason *why)
{
    (void)target, (void)lun_id, (void)write, (void)why;
    return 0;
}

size_t target_iscsi_portals(const struct target *target)
{
    (void)target;
    return 0;
}

const char *target_iscsi_portal(const struct target *target, size_t i)
{
    (void)target, (void)i;
    return NULL;
}

const char *target_iscsi_name(const struct target *target)
{
    (void)target;
    return NULL;
}
#endif

/* ---- start and stop ------------------------------------------------------------------------ */

static void target_lun_changed(void *opaque, enum lun_change change, uint64_t lun_id,
                               const char *name)
{
    struct target *target = opaque;
    target_scsi_lun_changed(target, change, lun_id, name);
    if (change == LUN_CHANGE_DELETED)
        qos_forget_lun(target->qos, lun_id);
    else if (change == LUN_CHANGE_RENAMED)
        qos_lun_renamed(target->qos, lun_id, name);
}

static void target_free(struct target *target)
{
    policy_stop(target->policy);
    /* Nobody changes LUNs any more; what the hook looks at goes now. */
    pool_set_change_hook(target->pool, NULL, NULL);
    target_stop_iscsi(target);
    qos_close(target->qos);
    free((char *)target->options.mgmt_socket);
    free((char *)target->options.management_group);
    free((char *)target->options.nbd_uri);
    free((char *)target->options.conf_path);
    free((char *)target->options.key_path);
    free((char *)target->options.iscsi_redirect);
    for (size_t i = 0; i < TARGET_PORTALS_MAX; i++)
        free(target->portals[i]);
    free(target);
}

int target_start(struct pool *pool, const struct target_options *options, struct target **target,
                 struct reason *why)
{
    if (options->iscsi_portal_count > TARGET_PORTALS_MAX)
        return reason_set(why, -EINVAL, "%zu iSCSI portals; %d are possible",
                          options->iscsi_portal_count, TARGET_PORTALS_MAX);
    struct target *started = calloc(1, sizeof(*started));
    if (!started)
        return reason_set(why, -ENOMEM, "no memory");
    started->pool = pool;
    int r = target_copy_options(started, options);
    if (r < 0)
        r = reason_set(why, r, "no memory");
    if (r == 0)
        r = qos_open(pool, &started->qos, why);
    if (r == 0 && moment_delete_left(pool, COPY_STORE_PREFIX) < 0)
        log_warning("what copies of an earlier server left is not known; it stays");
    if (r == 0 && options->key_path)
        host_key_take_mark(options->key_path, &started->key_mark);
    if (r == 0)
        r = target_open_access(started, options->key, why);
    if (r == 0 && options->iscsi_portal_count > 0)
        r = target_start_iscsi(started, why);
    if (r == 0)
        pool_set_change_hook(pool, target_lun_changed, started);
    if (r == 0)
        r = policy_start(pool, &options->policy, &started->policy, why);
    /* Last: who finds the socket finds everything else running. */
    if (r == 0 && options->mgmt_socket)
        r = mgmt_start(started, NULL, &started->mgmt, why);
    if (r < 0)
    {
        target_free(started);
        return r;
    }
    *target = started;
    return 0;
}

void target_stop(struct target *target)
{
    if (!target)
        return;
    /* A command may wait for a program. */
    policy_begin_stop(target->policy);
    mgmt_stop(target->mgmt);
    target_free(target);
}
