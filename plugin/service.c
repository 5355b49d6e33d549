/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of the pool inside nbdkit.
 *
 * nbdkit forks between get_ready and after_fork, so nothing before after_fork may start a thread.
 * Errors before it are seen by the user; later ones nbdkit writes to the system log only, so why it
 * cannot start is written to the standard error of before, too.
 */
#include "plugin/service.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <nbdkit-plugin.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lun/base/log.h"
#include "lun/lun.h"
#include "plugin/clients.h"
#include "plugin/config.h"
#include "plugin/export.h"
#include "plugin/hangup_guard.h"
#include "plugin/shutdown.h"
#include "server/host_key.h"
#include "server/target.h"

/* nbdkit -D lunette.engine=1: nbdkit sets the variable that bears this name. */
extern int lunette_debug_engine;
NBDKIT_DLL_PUBLIC int lunette_debug_engine = 0;

enum
{
    SERVICE_MMAP_BYTES = 512 << 10,
    SERVICE_TRIM_BYTES = 1 << 20,
};

static struct pool *service_the_pool;
static struct target *service_the_target;
static struct host_key service_key; /* from get_ready until the target has it; else zeros */

static int service_starter_fd = -1; /* standard error of whoever started it */
static pid_t service_starter_pid;   /* the process before the fork */

struct pool *service_pool(void)
{
    return service_the_pool;
}

struct target *service_target(void)
{
    return service_the_target;
}

/* nbdkit has two levels: errors are always shown, debug lines with -v. */
static void service_log(enum log_level level, const char *text)
{
    switch (level)
    {
    case LOG_LEVEL_ERROR:
        nbdkit_error("%s", text);
        break;
    case LOG_LEVEL_WARNING:
        nbdkit_error("warning: %s", text);
        break;
    case LOG_LEVEL_INFO:
    case LOG_LEVEL_DEBUG:
        nbdkit_debug("%s", text);
        break;
    }
}

/* A missing default export is no reason to leave all the others unserved. */
static void service_check_default_export(const char *name)
{
    struct lun_info info;
    if (!name || strstr(name, ".."))
        return;
    if (lun_get_info(service_the_pool, name, &info, NULL) == -ENOENT)
        nbdkit_error("warning: default-export=%s: the pool has no such LUN or snapshot (yet)",
                     name);
}

/*
 * Memory holds CHAP secrets, and what guests write: no core dump has it, and no other process of
 * the same user may look into it. A change of the user (nbdkit --user) sets it back.
 */
static void service_keep_memory_private(void)
{
    if (!plugin_config_get()->core_dumps && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        nbdkit_error("warning: cannot switch off core dumps: %s", strerror(errno));
}

/* hangup_guard.c tells which nbdkit needs it. */
static void service_check_hangup_guard(void)
{
    if (!dlsym(RTLD_DEFAULT, "lunette_hangup_guard_is_active") &&
        !dlsym(RTLD_DEFAULT, "nbdkit_disconnect"))
        nbdkit_error("warning: a client that hangs up can end this nbdkit; start it by `lunette "
                     "serve`, or with LD_PRELOAD=.../" HANGUP_GUARD_FILE);
}

/* Until it has started: whoever waits for the end of our output is not to wait for ever. */
static void service_keep_starter(void)
{
    service_starter_pid = getpid();
    service_starter_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static void service_tell_starter(const char *problem)
{
    bool is_heard = getpid() == service_starter_pid; /* in the foreground nbdkit's words are */
    if (problem && !is_heard && service_starter_fd >= 0)
        dprintf(service_starter_fd, "nbdkit: error: cannot start serving the pool %s: %s\n",
                plugin_config_get()->pool_path, problem);
    if (service_starter_fd >= 0)
        close(service_starter_fd);
    service_starter_fd = -1;
}

/* Here, as root still may read what the user that nbdkit changes to may not. */
static int service_read_key(void)
{
    struct reason why;
    reason_clear(&why);
    const char *path = plugin_config_get()->key_file;
    if (!path)
        return 0;
    /* Until the fork; then it is the target's, which keeps it in memory of its own. */
    ignore_error(mlock(&service_key, sizeof(service_key)),
                 "the target tells what cannot be locked");
    if (host_key_read(path, &service_key, &why) == 0)
        return 0;
    nbdkit_error("%s", why.text);
    return -1;
}

static int service_open_pool(void)
{
    const struct plugin_config *config = plugin_config_get();
    const struct pool_open_options options = {
        .take_over = config->take_over,
        .cache_bytes = config->cache_bytes,
        .checkpoint_ms = config->checkpoint_ms,
        .no_discard = config->no_discard,
    };
    struct reason why;
    reason_clear(&why);
    int r = pool_open(env_system(), config->pool_path, &options, &service_the_pool, &why);
    if (r < 0)
    {
        if (why.text[0]) /* it names the pool */
            nbdkit_error("%s", why.text);
        else
            nbdkit_error("cannot open pool '%s': %s", config->pool_path, strerror(-r));
        return -1;
    }
    service_check_default_export(config->default_export);
    return 0;
}

/*
 * Left alone, malloc() lets the size from which it takes memory of its own for a block grow with
 * what is freed, and keeps twice as much at the end of each arena: with two processors and 4 MiB
 * requests that was 16 times 8 to 16 MiB for good, after the clients had gone.
 */
static void service_keep_malloc_small(void)
{
    mallopt(M_MMAP_THRESHOLD, SERVICE_MMAP_BYTES);
    mallopt(M_TRIM_THRESHOLD, SERVICE_TRIM_BYTES);
}

int service_get_ready(void)
{
    service_keep_malloc_small();
    service_keep_memory_private();
    clients_raise_limits();
    log_set_sink(service_log);
    service_check_hangup_guard();
    if (lunette_debug_engine)
        log_set_level(LOG_LEVEL_DEBUG);
    int r = service_read_key();
    if (r == 0)
        r = service_open_pool();
    if (r == 0)
        service_keep_starter();
    return r;
}

static int service_start_target(struct reason *why)
{
    const struct plugin_config *config = plugin_config_get();
    const struct target_options options = {
        .mgmt_socket = config->mgmt_socket,
        .mgmt_mode = config->mgmt_mode,
        .iscsi_portals = (const char *const *)config->iscsi_portals,
        .iscsi_portal_count = config->iscsi_portal_count,
        .iscsi_limits = config->iscsi_limits,
        .iscsi_threads = config->iscsi_threads,
        .iscsi_workers = config->iscsi_workers,
        .iscsi_redirect = config->iscsi_redirect,
        .iscsi_redirect_permanently = config->iscsi_redirect_permanently,
        .nbd_uri = config->nbd_uri,
        .management_group = config->mgmt_group,
        .conf_path = config->conf_path,
        .key = config->key_file ? &service_key : NULL,
        .key_path = config->key_file,
        .policy = {.events_exec = config->events_exec,
                   .events_exec_ms = config->events_exec_ms,
                   .events_syslog = config->events_syslog,
                   .events_severity = config->events_severity,
                   .quiesce_folder = config->quiesce_folder,
                   .refresh_folder = config->refresh_folder,
                   .refresh_ms = config->refresh_ms,
                   .nbd_uri = config->nbd_uri},
    };
    int r = target_start(service_the_pool, &options, &service_the_target, why);
    host_key_wipe(&service_key);
    return r;
}

int service_after_fork(void)
{
    struct reason why;
    reason_clear(&why);
    service_keep_memory_private();
    /* Before the target, so that the sockets it finds listening are nbdkit's. */
    int r = shutdown_watch_start();
    if (r == 0)
        r = clients_start();
    if (r == 0)
        r = pool_start(service_the_pool);
    if (r == 0)
        r = service_start_target(&why);
    const char *problem = r == 0 ? NULL : why.text[0] ? why.text : strerror(-r);
    service_tell_starter(problem);
    if (!problem)
        return 0;

    nbdkit_error("cannot start serving the pool %s: %s", plugin_config_get()->pool_path, problem);
    /* nbdkit exits now without another call. */
    service_cleanup();
    service_unload();
    return -1;
}

void service_cleanup(void)
{
    shutdown_watch_stop();
    target_stop(service_the_target);
    service_the_target = NULL;
}

/* While the pool is still ours, so that no next server of it can have written its own. */
static void service_remove_pid_file(void)
{
    char text[32] = "";
    const char *path = plugin_config_get()->pid_file;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return;
    bool is_ours = fgets(text, sizeof(text), file) && strtol(text, NULL, 10) == (long)getpid();
    fclose(file);
    if (is_ours)
        ignore_error(unlink(path), "it may be in a folder that is not this user's");
}

void service_unload(void)
{
    export_close_all();
    service_remove_pid_file();
    int r = pool_close(service_the_pool);
    service_the_pool = NULL;
    if (r < 0)
        nbdkit_error("the last checkpoint of the pool %s failed: %s",
                     plugin_config_get()->pool_path, strerror(-r));
    log_set_sink(NULL);
    host_key_wipe(&service_key);
    plugin_config_destroy();
}
