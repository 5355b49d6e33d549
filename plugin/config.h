/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plugin's parameters.
 *
 * Always true once plugin_config_complete() has returned 0: every path is absolute (nbdkit changes
 * its directory when it goes into the background) and every number is within its range. Nothing
 * here opens a file or looks into the pool.
 */
#ifndef PLUGIN_CONFIG_H
#define PLUGIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/target.h"

/* Strings are owned; NULL when not given. */
struct plugin_config
{
    char *pool_path;
    char *default_export;
    uint64_t cache_bytes;   /* 0: the engine's default */
    uint32_t checkpoint_ms; /* 0: the engine's default */
    bool no_discard;
    bool take_over;
    bool core_dumps;
    char *key_file;
    char *mgmt_socket;
    unsigned mgmt_mode; /* 0: the target's default */
    char *mgmt_group;
    uint32_t nbd_connections, nbd_connections_per_source; /* 0: the default */
    uint32_t nbd_handshake_ms;                            /* 0: the default */
    char *nbd_uri;
    char *conf_path;
    char *pid_file; /* which nbdkit makes */
    char *iscsi_portals[TARGET_PORTALS_MAX];
    size_t iscsi_portal_count;
    struct iscsi_limits iscsi_limits; /* 0 in any: the default */
    uint32_t iscsi_threads, iscsi_workers;
    char *iscsi_redirect;
    bool iscsi_redirect_permanently;
    char *events_exec;
    uint32_t events_exec_ms; /* 0: the default */
    bool events_syslog;
    char *events_severity;
    char *quiesce_folder;
    char *refresh_folder;
    uint32_t refresh_ms; /* 0: the default */
};

extern const char plugin_config_help[];

/* What was given; constant once plugin_config_complete() has been called. */
const struct plugin_config *plugin_config_get(void);

/* nbdkit's callbacks: 0, or -1 after nbdkit_error(). */
int plugin_config_set(const char *key, const char *value);
int plugin_config_complete(void);

/* Prints key=value lines for nbdkit --dump-plugin. */
void plugin_config_dump_plugin(void);

/* Frees everything. */
void plugin_config_destroy(void);

#endif
