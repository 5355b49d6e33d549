/* SPDX-License-Identifier: BSD-3-Clause */
/* Options, details and examples of "serve". */
#include "server/ctl/command.h"

const struct command_option command_serve_options[] = {
    {"conf", 'c', "FILE", "conf file (default: /etc/lunette/lunette.conf if no --pool is given)",
     false},
    {"pool", 'p', "PATH", "the pool to serve", false},
    {"nbd-socket", 0, "PATH",
     "serve NBD on this Unix socket (default: nbd.sock beside the "
     "management socket)",
     false},
    {"nbd-mode", 0, "OCTAL", "permissions of that socket, 0660 for example (default: by the umask)",
     false},
    {"nbd-listen", 0, "ADDRESS:PORT", "serve NBD on TCP instead", false},
    {"nbd-tls", 0, "MODE", "TLS of NBD: off, on or require", false},
    {"nbd-tls-certificates", 0, "FOLDER", "with the certificates in FOLDER", false},
    {"nbd-tls-psk", 0, "FILE", "with pre-shared keys, \"user:key\" lines in FILE", false},
    {"iscsi", 0, "ADDRESS:PORT", "serve iSCSI there; may be repeated", true},
    {"group", 0, "GROUP", "its members may change things", false},
    {"mode", 0, "OCTAL", "permissions of the management socket (default: 0666)", false},
    {"threads", 0, "N", "NBD requests in flight per connection", false},
    {"pid-file", 0, "PATH", "(default: lunette.pid beside the management socket)", false},
    {"user", 0, "USER", "become this user once the pool is open", false},
    {"key-file", 0, "FILE", "wrap CHAP secrets in the pool with this key (\"key create\")", false},
    {"refresh-folder", 0, "FOLDER", "where the programs of \"refresh create --hook\" lie", false},
    {"quiesce-folder", 0, "FOLDER", "where those of \"snapshot create --quiesce\" lie", false},
    {"take-over", 0, NULL, "open the pool although another host, known to be dead, held it", false},
    {"read-only", 0, NULL, "let NBD clients only read", false},
    {"foreground", 0, NULL, "stay in the foreground, log to standard error", false},
    {"background", 0, NULL, "return when the server is ready (default)", false},
    {"wait", 0, "TIME", "how long to wait for it to be ready (default: 60s)", false},
    {"nbdkit", 0, "PATH", "the nbdkit program (default: found on PATH)", false},
    {"plugin", 0, "PATH",
     "the plugin (default: the one built beside this program, else the "
     "installed one)",
     false},
    {"verbose", 'v', NULL, "let nbdkit log each request", false},
    {0},
};

const char command_serve_details[] =
    "Starts nbdkit with the lunette plugin, by a conf file or by options, which override it. "
    "Returns once NBD and management answer. What stands behind -- is given to nbdkit: filters "
    "and their parameters, for example. How it was started is noted beside the management socket, "
    "in serve.last: a command that finds no server there shows it.";

const char command_serve_example[] =
    "lunette serve --pool /srv/pool.lunette\n"
    "lunette serve --conf /etc/lunette/lunette.conf --foreground\n"
    "lunette serve --pool /srv/pool.lunette --nbd-listen 127.0.0.1:10809 -- --filter=rate "
    "rate=1G\n";
