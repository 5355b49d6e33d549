/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts and stops what serves a pool, in the order that lets either be undone. */
#include "server/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "server/mgmt/mgmt.h"

struct target
{
    struct pool *pool;
    struct target_options options; /* strings owned */
    char *portals[TARGET_PORTALS_MAX];
    struct mgmt *mgmt;
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
    own->iscsi_portals = (const char *const *)target->portals;
    for (size_t i = 0; i < options->iscsi_portal_count; i++)
    {
        const char *copy;
        r = keep_first(r, target_copy(options->iscsi_portals[i], &copy));
        target->portals[i] = (char *)copy;
    }
    own->iscsi_portal_count = options->iscsi_portal_count;
    return r;
}

static void target_free(struct target *target)
{
    free((char *)target->options.mgmt_socket);
    free((char *)target->options.management_group);
    free((char *)target->options.nbd_uri);
    free((char *)target->options.conf_path);
    for (size_t i = 0; i < TARGET_PORTALS_MAX; i++)
        free(target->portals[i]);
    free(target);
}

int target_start(struct pool *pool, const struct target_options *options, struct target **target,
                 struct reason *why)
{
    if (options->iscsi_portal_count > 0)
        return reason_set(why, -ENOTSUP, "this build has no iSCSI: leave out the portal %s",
                          options->iscsi_portals[0]);
    struct target *started = calloc(1, sizeof(*started));
    if (!started)
        return reason_set(why, -ENOMEM, "no memory");
    started->pool = pool;
    int r = target_copy_options(started, options);
    if (r < 0)
        r = reason_set(why, r, "no memory");
    else if (options->mgmt_socket)
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
    mgmt_stop(target->mgmt);
    target_free(target);
}
