/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file: sections of "key = value" lines, as in conf/lunette.conf.
 *
 * It holds only what belongs to a host: paths, addresses, threads. What must move with the pool
 * (mappings, secrets, quotas) lives in the pool. Unknown sections and keys, bad values and single
 * keys given twice are errors that name file and line. Read with inih: INI files are what admins
 * of such servers know, comments included, and every value's line number is at hand.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

enum
{
    CONFIG_LINE_MAX = 190, /* inih's own limit is 200 */
    CONFIG_LIST_MAX = 16,  /* values of a key that may be given more than once */
};

struct config_list
{
    size_t count;
    char *values[CONFIG_LIST_MAX];
};

struct config
{
    char *pool_path;
    uint64_t cache_bytes;   /* 0: the engine's default */
    uint64_t checkpoint_ms; /* 0: the engine's default */
    bool discard;           /* true unless switched off */
    bool take_over;

    char
        *nbd_socket; /* NULL and no nbd_listen: serve chooses a path beside the management socket */
    char *nbd_listen;     /* "ADDRESS:PORT" or "PORT"; NULL: no TCP */
    uint64_t nbd_mode;    /* permissions of nbd_socket; 0: by the umask */
    uint64_t nbd_threads; /* 0: nbdkit's default */
    uint64_t nbd_connections, nbd_connections_per_source; /* 0: the plugin's defaults */
    uint64_t nbd_handshake_ms;                            /* the same */
    char *nbd_tls; /* "off", "on", "require"; NULL: nbdkit's default */
    char *nbd_tls_certificates;
    char *nbd_tls_psk;
    bool nbd_tls_verify_peer;

    char *mgmt_socket;
    char *mgmt_group;
    uint64_t mgmt_mode; /* 0: the default of target.h */

    struct config_list iscsi_portals;
    /* 0 in any of them: the default of limits.h. */
    uint64_t iscsi_connections, iscsi_connections_per_source, iscsi_half_open, iscsi_sessions,
        iscsi_queue_depth;
    uint64_t iscsi_login_ms, iscsi_idle_ms, iscsi_answer_ms, iscsi_send_ms;
    uint64_t iscsi_output_bytes, iscsi_data_bytes;
    uint64_t iscsi_threads, iscsi_workers;
    char *iscsi_redirect; /* "ADDRESS:PORT"; NULL: logins are taken here */
    bool iscsi_redirect_permanently;

    char *events_exec; /* program that gets each event; NULL: none */
    uint64_t events_exec_ms;
    bool events_syslog;
    char *events_severity;
    char *quiesce_folder; /* where programs that freeze and thaw are; NULL: there are none */
    char *refresh_folder; /* where programs that mask are; NULL: there are none */
    uint64_t refresh_ms;  /* how long one may take; 0: the default */

    char *pid_file;
    char *user;     /* nbdkit changes to it after opening the pool; NULL: stays */
    char *key_file; /* key that wraps secrets in the pool; NULL: none, or systemd's credential */
    bool core_dumps;
    char *nbdkit; /* program; NULL: found on PATH */
    char *plugin; /* NULL: beside this program, else the installed one */
};

/* -EINVAL: @why has "FILE:LINE: ...". -ENOENT and other errors of reading. *config is untouched. */
MUST_CHECK int config_load(const char *path, struct config **config, struct reason *why);

/* An empty configuration with the defaults. NULL: no memory. */
struct config *config_new(void);
void config_free(struct config *config); /* NULL is accepted */

/*
 * Sets one value as if the file had it, but a later value replaces an earlier one. @name is
 * "section.key". For command line options, which override the file.
 */
MUST_CHECK int config_set(struct config *config, const char *name, const char *value,
                          struct reason *why);

/* "ADDRESS:PORT", "[IPV6]:PORT" or "PORT" in its parts; @host gets "" without an address. */
MUST_CHECK int config_parse_address(const char *text, char *host, size_t host_size, char *port,
                                    size_t port_size, struct reason *why);

#endif
