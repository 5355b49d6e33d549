/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit says when a client comes (.preconnect, in the thread of its connection), but not when one
 * goes that never opened an export. That thread's end tells: a value of the thread that has a
 * destructor. This code may run in threads that end while nbdkit unloads the plugin, so it is
 * linked to stay in memory (-z nodelete).
 */
#include "plugin/clients.h"

#include <dlfcn.h>
#include <errno.h>
#include <nbdkit-plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "lun/base/checked.h"
#include "plugin/config.h"
#include "server/net/sources.h"

enum
{
    CLIENTS_DEFAULT = 1024,
    CLIENTS_PER_SOURCE_DEFAULT = 512,
    CLIENTS_MIN = 16,         /* however few descriptors there are */
    CLIENTS_FDS_EACH = 3,     /* nbdkit's: the socket and a pipe */
    CLIENTS_FDS_OTHERS = 512, /* the pool, management, programs */
    CLIENTS_ISCSI_FDS = 2048, /* the default of connections in server/limits.h */
    CLIENTS_SAY_S = 10,
    CLIENTS_HANDSHAKE_MS = 30000,
};

static struct sources clients_sources;
static pthread_key_t clients_key;
static struct lock clients_said_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_RANK_LEAF};
static time_t clients_said_s; /* CLOCK_MONOTONIC; 0: never; under clients_said_lock, as below */
static uint64_t clients_refused;
/* NULL: nothing was preloaded; constant once started. */
static void (*clients_end_handshake)(void);
static void (*clients_resume_handshake)(void);

void clients_raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        nbdkit_debug("the limit of descriptors stays: %s", strerror(errno));
}

/* As many as asked for, if there are descriptors for so many. */
static uint32_t clients_limit(const struct plugin_config *config)
{
    uint32_t asked = config->nbd_connections ? config->nbd_connections : CLIENTS_DEFAULT;
    uint64_t others = CLIENTS_FDS_OTHERS;
    struct rlimit limit;
    if (config->iscsi_portal_count > 0)
        others +=
            config->iscsi_limits.connections ? config->iscsi_limits.connections : CLIENTS_ISCSI_FDS;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return asked;
    uint64_t left = limit.rlim_cur > others ? (limit.rlim_cur - others) / CLIENTS_FDS_EACH : 0;
    uint32_t possible = (uint32_t)max_u64(CLIENTS_MIN, min_u64(left, UINT32_MAX));
    if (possible >= asked)
        return asked;
    nbdkit_error(
        "warning: NBD takes %u clients, not %u: the process may open %llu files, and iSCSI "
        "and management need some (LimitNOFILE= of the service, ulimit -n)",
        possible, asked, (unsigned long long)limit.rlim_cur);
    return possible;
}

static void clients_gone_cb(void *opaque)
{
    struct source_seat *seat = opaque;
    sources_leave(&clients_sources, seat);
    free(seat);
}

/* What is preloaded hangs up on those who do not end their negotiation (handshake_guard.c). */
static void clients_limit_handshakes(const struct plugin_config *config)
{
    void (*set_limit)(unsigned long limit_ms) = NULL;
    *(void **)&set_limit = dlsym(RTLD_DEFAULT, "lunette_handshake_set_limit");
    *(void **)&clients_end_handshake = dlsym(RTLD_DEFAULT, "lunette_handshake_is_over");
    *(void **)&clients_resume_handshake = dlsym(RTLD_DEFAULT, "lunette_handshake_goes_on");
    if (set_limit && clients_end_handshake && clients_resume_handshake)
        set_limit(config->nbd_handshake_ms ? config->nbd_handshake_ms : CLIENTS_HANDSHAKE_MS);
}

void clients_handshake_is_over(void)
{
    if (clients_end_handshake)
        clients_end_handshake();
}

void clients_handshake_goes_on(void)
{
    if (clients_resume_handshake)
        clients_resume_handshake();
}

int clients_start(void)
{
    const struct plugin_config *config = plugin_config_get();
    clients_limit_handshakes(config);
    uint32_t each = config->nbd_connections_per_source;
    sources_init(&clients_sources, clients_limit(config), each ? each : CLIENTS_PER_SOURCE_DEFAULT);
    return -pthread_key_create(&clients_key, clients_gone_cb);
}

/* Whether it is time to say so once more; *refused: since the last time. */
static bool clients_may_say(uint64_t *refused)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    AUTO_LOCK(&clients_said_lock);
    clients_refused++;
    if (clients_said_s != 0 && now.tv_sec - clients_said_s < CLIENTS_SAY_S)
        return false;
    *refused = clients_refused;
    clients_said_s = now.tv_sec;
    clients_refused = 0;
    return true;
}

static void clients_say(int r)
{
    uint64_t refused;
    if (!clients_may_say(&refused))
        return;
    if (r == -ENOMEM)
        nbdkit_error("NBD client refused: no memory");
    else
        nbdkit_error("NBD client refused: there are %u %s (connections%s in [nbd]); %llu refused "
                     "since this was last said",
                     r == -EDQUOT ? clients_sources.limit_each : clients_sources.limit,
                     r == -EDQUOT ? "from its address" : "in all",
                     r == -EDQUOT ? "_per_source" : "", (unsigned long long)refused);
}

int clients_preconnect(int readonly)
{
    (void)readonly;
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(address);
    /* On standard input there is no address, and it is the only client. */
    if (nbdkit_peer_name((struct sockaddr *)&address, &len) < 0)
        return 0;
    struct source_seat *seat = calloc(1, sizeof(*seat));
    int r = seat ? sources_enter(&clients_sources, (struct sockaddr *)&address, seat) : -ENOMEM;
    if (r == 0)
        r = -pthread_setspecific(clients_key, seat);
    if (r == 0)
        return 0;
    if (seat)
        clients_gone_cb(seat);
    clients_say(r);
    return -1;
}
