/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit with a plugin, as a child process that a test starts, stops and kills.
 *
 * It listens on a Unix socket that is bound here and handed over (systemd socket activation), so a
 * client can connect at once and no test waits for a server to come up. The child dies with the
 * test. What it says goes to a log file in the same directory.
 */
#ifndef TESTS_LIB_NBD_SERVER_H
#define TESTS_LIB_NBD_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "lun/base/err.h"

struct nbd_server
{
    pid_t pid; /* 0: not running */
    char socket_path[108];
    char log_path[256];
};

/* In the environment of a test: one more library to preload into its servers. */
#define NBD_SERVER_MORE "LUNETTE_TEST_PRELOAD"

/*
 * Starts nbdkit with @args (filters, the plugin's path, parameters; NULL at the end) in @dir, where
 * the socket is "nbd" and the log "nbdkit.log", appended to. Returns when it serves clients;
 * -ECHILD if it ended instead, which nbd_server_log() explains.
 */
MUST_CHECK int nbd_server_start(struct nbd_server *server, const char *dir,
                                const char *const *args);

/* SIGTERM, then the exit status, or 128 + the signal that ended it. Waits for it. */
int nbd_server_stop(struct nbd_server *server);

/* SIGKILL, and waits for its end: a crash of the server, not of the machine. */
void nbd_server_kill(struct nbd_server *server);

/*
 * Runs nbdkit with @args until it ends by itself, as it does for --dump-plugin and when it cannot
 * start. The exit status, and in *output what it printed on either stream, to be freed.
 */
MUST_CHECK int nbd_server_run(const char *const *args, char **output);

/*
 * The command line that runs nbdkit with what a sanitized plugin needs, for who starts it
 * otherwise: words to put before "nbdkit", none (NULL) in a plain build.
 */
const char *const *nbd_server_prefix(void);

/* All that the log has, to be freed; never NULL. */
char *nbd_server_log(const struct nbd_server *server);

/* Whether the log holds @text. */
bool nbd_server_logged(const struct nbd_server *server, const char *text);

#endif
