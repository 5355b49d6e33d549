/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve: starts nbdkit with the plugin.
 *
 *   conf file, then options  ->  struct config  ->  nbdkit's command line  ->  exec
 *
 * In the background nbdkit forks by itself, in a session of its own: a Ctrl-C, or the end of the
 * terminal or script that started it, is not meant for the server. This process is made the
 * subreaper of what it leaves behind, so that it learns of a server that dies while it starts, and
 * returns only when management answers (NBD listens before that).
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/config.h"
#include "server/ctl/ctl.h"
#include "server/ctl/serve_note.h"
#include "server/ctl/uri.h"
#include "server/units.h"

enum
{
    SERVE_ARGS_MAX = 128,
    SERVE_POLL_MS = 10,
    SERVE_WAIT_MS = 60000,
    SERVE_DYING_MS = 1000,
};

static const char serve_default_conf[] = "/etc/lunette/lunette.conf";

struct serve
{
    const struct invocation *in;
    struct config *config;
    char *conf_path; /* NULL: none */
    char *nbd_uri;
    char *args[SERVE_ARGS_MAX + 1];
    size_t arg_count;
    bool out_of_memory;
};

static void serve_destroy(struct serve *serve)
{
    config_free(serve->config);
    free(serve->conf_path);
    free(serve->nbd_uri);
    for (size_t i = 0; i < serve->arg_count; i++)
        free(serve->args[i]);
}

static char *serve_absolute(const char *path)
{
    char *absolute;
    if (*path == '/')
        return strdup(path);
    AUTO_FREE char *here = getcwd(NULL, 0);
    return here && asprintf(&absolute, "%s/%s", here, path) >= 0 ? absolute : NULL;
}

/* ---- configuration ------------------------------------------------------------------------- */

/* Which option sets which key; paths are made absolute. */
static const struct
{
    const char *option;
    const char *key;
    bool is_path;
} serve_settings[] = {
    {"pool", "pool.path", true},
    {"nbd-socket", "nbd.socket", true},
    {"nbd-listen", "nbd.listen", false},
    {"threads", "nbd.threads", false},
    {"socket", "management.socket", true},
    {"group", "management.group", false},
    {"mode", "management.mode", false},
    {"pid-file", "server.pid_file", true},
    {"user", "server.user", false},
    {"key-file", "server.key_file", true},
    {"nbd-mode", "nbd.mode", false},
    {"nbdkit", "server.nbdkit", true},
    {"plugin", "server.plugin", true},
    {"nbd-tls", "nbd.tls", false},
    {"nbd-tls-psk", "nbd.tls_psk", true},
    {"nbd-tls-certificates", "nbd.tls_certificates", true},
    {"refresh-folder", "refresh.folder", true},
    {"quiesce-folder", "quiesce.folder", true},
};

static enum ctl_exit serve_set(struct serve *serve, const char *option, const char *key,
                               const char *value, bool is_path)
{
    struct reason why;
    char text[sizeof(why.text) + 64];
    AUTO_FREE char *absolute = is_path ? serve_absolute(value) : strdup(value);
    if (!absolute)
        return ctl_no_memory(serve->in);
    if (config_set(serve->config, key, absolute, &why) == 0)
        return CTL_DONE;
    snprintf(text, sizeof(text), "--%s: %s", option, why.text);
    return ctl_usage(serve->in, text);
}

static enum ctl_exit serve_load(struct serve *serve)
{
    struct reason why;
    const char *conf = option_text(serve->in, "conf");
    if (!conf && !option_text(serve->in, "pool") && access(serve_default_conf, F_OK) == 0)
        conf = serve_default_conf;
    if (!conf)
        serve->config = config_new();
    else
    {
        serve->conf_path = serve_absolute(conf);
        int r = config_load(conf, &serve->config, &why);
        if (r < 0)
            return ctl_fail(serve->in, r, why.text, NULL);
    }
    if (!serve->config || (conf && !serve->conf_path))
        return ctl_no_memory(serve->in);
    return CTL_DONE;
}

static enum ctl_exit serve_apply_options(struct serve *serve)
{
    const struct invocation *in = serve->in;
    enum ctl_exit status = CTL_DONE;
    for (size_t i = 0; status == CTL_DONE && i < ARRAY_SIZE(serve_settings); i++)
    {
        const char *value = option_text(in, serve_settings[i].option);
        if (value)
            status = serve_set(serve, serve_settings[i].option, serve_settings[i].key, value,
                               serve_settings[i].is_path);
    }
    size_t count;
    char *const *portals = option_texts(in, "iscsi", &count);
    for (size_t i = 0; status == CTL_DONE && i < count; i++)
        status = serve_set(serve, "iscsi", "iscsi.portal", portals[i], false);
    if (option_flag(in, "take-over"))
        serve->config->take_over = true;
    return status;
}

static char *serve_noted_value(const char *option, const char *value)
{
    bool is_path = strcmp(option, "conf") == 0;
    for (size_t i = 0; i < ARRAY_SIZE(serve_settings); i++)
        is_path |= serve_settings[i].is_path && strcmp(serve_settings[i].option, option) == 0;
    return is_path ? serve_absolute(value) : NULL;
}

static char *serve_beside(const char *path, const char *name)
{
    char *result;
    int len = (int)(strrchr(path, '/') - path);
    return asprintf(&result, "%.*s/%s", len, path, name) >= 0 ? result : NULL;
}

/* Where the management socket goes if nobody says; its folder is made. */
static char *serve_default_socket(void)
{
    const char *named = getenv("LUNETTE_SOCKET");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    AUTO_FREE char *folder = NULL;
    char *path;
    if (named && *named)
        return serve_absolute(named);
    if (geteuid() != 0 && runtime && *runtime == '/')
    {
        if (asprintf(&folder, "%s/lunette", runtime) < 0)
            return NULL;
    }
    else
        folder = strdup("/run/lunette");
    if (!folder)
        return NULL;
    ignore_error(mkdir(folder, 0755), "it may exist; if it cannot, the server says so");
    return asprintf(&path, "%s/mgmt.sock", folder) >= 0 ? path : NULL;
}

/* The user of the first of the keys; NULL: none. Free it. */
static char *serve_first_user(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "re");
    char *user = NULL;
    while (file && !user && fgets(line, sizeof(line), file))
        if (*line != '#' && strchr(line, ':'))
            user = strndup(line, strcspn(line, ":"));
    if (file)
        fclose(file);
    explicit_bzero(line, sizeof(line));
    return user;
}

/* Tells the server's clients, this program among them, that there is TLS and where its secrets are.
 */
static enum ctl_exit serve_require_tls(struct serve *serve)
{
    const struct config *config = serve->config;
    AUTO_FREE char *user = config->nbd_tls_psk ? serve_first_user(config->nbd_tls_psk) : NULL;
    if (config->nbd_tls_psk && !user)
        return ctl_fail(serve->in, -ENOENT,
                        "there is no \"user:key\" line to be read in the file of keys",
                        "psktool --username=USER --pskfile=FILE");
    AUTO_FREE char *plain = serve->nbd_uri;
    serve->nbd_uri = uri_with_tls(plain, config->nbd_tls_certificates, config->nbd_tls_psk, user);
    return serve->nbd_uri ? CTL_DONE : ctl_no_memory(serve->in);
}

/* The credential that systemd gives the service, if there is one of that name. */
static char *serve_credential(const char *name)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char *path = NULL;
    if (!folder || asprintf(&path, "%s/%s", folder, name) < 0)
        return NULL;
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static enum ctl_exit serve_fill_in(struct serve *serve)
{
    struct config *config = serve->config;
    char host[256], port[16] = "";
    if (!config->pool_path)
        return ctl_usage(serve->in, "name the pool: --pool PATH, or \"path\" in [pool] of --conf");
    if (config->nbd_socket && config->nbd_listen)
        return ctl_usage(serve->in, "NBD is served on a socket or on TCP, not on both");
    if (!config->key_file)
        config->key_file = serve_credential("lunette.key");
    if (!config->mgmt_socket)
        config->mgmt_socket = serve_default_socket();
    if (config->mgmt_socket && !config->pid_file)
        config->pid_file = serve_beside(config->mgmt_socket, "lunette.pid");
    if (config->mgmt_socket && !config->nbd_socket && !config->nbd_listen)
        config->nbd_socket = serve_beside(config->mgmt_socket, "nbd.sock");
    if (config->nbd_tls_certificates && config->nbd_tls_psk)
        return ctl_usage(serve->in, "TLS has certificates or pre-shared keys, not both");
    if (config->nbd_socket)
        serve->nbd_uri = uri_of_socket(config->nbd_socket);
    else if (config->nbd_listen && config_parse_address(config->nbd_listen, host, sizeof(host),
                                                        port, sizeof(port), NULL) == 0)
        serve->nbd_uri = uri_of_address(host, port);
    if (config->nbd_listen && strtoul(port, NULL, 10) == 0)
        return ctl_usage(serve->in, "NBD needs a port of 1 to 65535; the usual one is 10809");
    if (!config->mgmt_socket || !config->pid_file || !serve->nbd_uri)
        return ctl_no_memory(serve->in);
    bool tls = config->nbd_tls && strcmp(config->nbd_tls, "require") == 0;
    return tls ? serve_require_tls(serve) : CTL_DONE;
}

/* ---- nbdkit's command line ----------------------------------------------------------------- */

static void serve_add(struct serve *serve, const char *format, ...) PRINTF_LIKE(2, 3);

static void serve_add(struct serve *serve, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text;
    if (serve->arg_count == SERVE_ARGS_MAX || vasprintf(&text, format, args) < 0)
        serve->out_of_memory = true;
    else
        serve->args[serve->arg_count++] = text;
    va_end(args);
}

static void serve_add_address(struct serve *serve)
{
    const struct config *config = serve->config;
    char host[256], port[16];
    if (config->nbd_socket)
        serve_add(serve, "--unix=%s", config->nbd_socket);
    else if (config_parse_address(config->nbd_listen, host, sizeof(host), port, sizeof(port),
                                  NULL) == 0)
    {
        if (*host)
            serve_add(serve, "--ipaddr=%s", host);
        serve_add(serve, "--port=%s", port);
    }
    if (config->nbd_tls)
        serve_add(serve, "--tls=%s", config->nbd_tls);
    if (config->nbd_tls_certificates)
        serve_add(serve, "--tls-certificates=%s", config->nbd_tls_certificates);
    if (config->nbd_tls_psk)
        serve_add(serve, "--tls-psk=%s", config->nbd_tls_psk);
    if (config->nbd_tls_verify_peer)
        serve_add(serve, "--tls-verify-peer");
}

/* @file, built with this program, wherever the build put it, or installed; NULL: neither. */
static char *serve_find(const char *file)
{
    static const char *const places[] = {"", "/../plugin", "/../../plugin", "/../lib/lunette"};
    char here[4096];
    ssize_t len = readlink("/proc/self/exe", here, sizeof(here) - 1);
    here[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(here, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++)
    {
        AUTO_FREE char *path = NULL;
        if (asprintf(&path, "%s%s/%s", here, places[i], file) < 0)
            return NULL;
        char *real = realpath(path, NULL);
        if (real)
            return real;
    }
    return NULL;
}

static void serve_add_iscsi(struct serve *serve)
{
    const struct config *config = serve->config;
    const struct
    {
        const char *parameter;
        uint64_t value;
    } numbers[] = {
        {"connections", config->iscsi_connections},
        {"connections-per-source", config->iscsi_connections_per_source},
        {"half-open", config->iscsi_half_open},
        {"sessions", config->iscsi_sessions},
        {"queue-depth", config->iscsi_queue_depth},
        {"login-ms", config->iscsi_login_ms},
        {"idle-ms", config->iscsi_idle_ms},
        {"answer-ms", config->iscsi_answer_ms},
        {"send-ms", config->iscsi_send_ms},
        {"output-bytes", config->iscsi_output_bytes},
        {"data-mib", config->iscsi_data_bytes >> 20},
        {"threads", config->iscsi_threads},
        {"workers", config->iscsi_workers},
    };
    for (size_t i = 0; i < config->iscsi_portals.count; i++)
        serve_add(serve, "iscsi-portal=%s", config->iscsi_portals.values[i]);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (numbers[i].value > 0)
            serve_add(serve, "iscsi-%s=%" PRIu64, numbers[i].parameter, numbers[i].value);
    if (config->iscsi_redirect)
        serve_add(serve, "iscsi-redirect=%s", config->iscsi_redirect);
    if (config->iscsi_redirect && config->iscsi_redirect_permanently)
        serve_add(serve, "iscsi-redirect-permanently=yes");
}

static void serve_add_policy(struct serve *serve)
{
    const struct config *config = serve->config;
    if (config->events_exec)
        serve_add(serve, "events-exec=%s", config->events_exec);
    if (config->events_exec_ms > 0)
        serve_add(serve, "events-exec-ms=%" PRIu64, config->events_exec_ms);
    if (config->events_syslog)
        serve_add(serve, "events-syslog=yes");
    if (config->events_severity)
        serve_add(serve, "events-severity=%s", config->events_severity);
    if (config->quiesce_folder)
        serve_add(serve, "quiesce-folder=%s", config->quiesce_folder);
    if (config->refresh_folder)
        serve_add(serve, "refresh-folder=%s", config->refresh_folder);
    if (config->refresh_ms > 0)
        serve_add(serve, "refresh-ms=%" PRIu64, config->refresh_ms);
}

static void serve_add_plugin(struct serve *serve)
{
    const struct config *config = serve->config;
    AUTO_FREE char *plugin =
        config->plugin ? strdup(config->plugin) : serve_find("nbdkit-lunette-plugin.so");
    serve_add(serve, "%s", plugin ? plugin : "lunette");
    serve_add(serve, "pool=%s", config->pool_path);
    if (config->cache_bytes > 0)
        serve_add(serve, "cache-size=%" PRIu64, config->cache_bytes);
    if (config->checkpoint_ms > 0)
        serve_add(serve, "checkpoint-ms=%" PRIu64, config->checkpoint_ms);
    if (!config->discard)
        serve_add(serve, "discard=false");
    if (config->take_over)
        serve_add(serve, "take-over=yes");
    if (config->key_file)
        serve_add(serve, "key-file=%s", config->key_file);
    serve_add(serve, "pid-file=%s", config->pid_file);
    if (config->core_dumps)
        serve_add(serve, "core-dumps=yes");
    serve_add(serve, "mgmt-socket=%s", config->mgmt_socket);
    if (config->mgmt_mode > 0)
        serve_add(serve, "mgmt-mode=%" PRIo64, config->mgmt_mode);
    if (config->mgmt_group)
        serve_add(serve, "mgmt-group=%s", config->mgmt_group);
    if (config->nbd_connections > 0)
        serve_add(serve, "nbd-connections=%" PRIu64, config->nbd_connections);
    if (config->nbd_connections_per_source > 0)
        serve_add(serve, "nbd-connections-per-source=%" PRIu64, config->nbd_connections_per_source);
    if (config->nbd_handshake_ms > 0)
        serve_add(serve, "nbd-handshake-ms=%" PRIu64, config->nbd_handshake_ms);
    serve_add_iscsi(serve);
    serve_add_policy(serve);
    serve_add(serve, "nbd-uri=%s", serve->nbd_uri);
    if (serve->conf_path)
        serve_add(serve, "conf=%s", serve->conf_path);
}

static enum ctl_exit serve_build(struct serve *serve)
{
    const struct invocation *in = serve->in;
    const struct config *config = serve->config;
    serve_add(serve, "%s", config->nbdkit ? config->nbdkit : "nbdkit");
    if (option_flag(in, "foreground"))
        serve_add(serve, "--foreground");
    if (option_flag(in, "verbose"))
        serve_add(serve, "--verbose");
    if (option_flag(in, "read-only"))
        serve_add(serve, "--readonly");
    serve_add(serve, "--pidfile=%s", config->pid_file);
    if (config->nbd_threads > 0)
        serve_add(serve, "--threads=%" PRIu64, config->nbd_threads);
    if (config->user)
        serve_add(serve, "--user=%s", config->user);
    serve_add_address(serve);
    for (size_t i = 0; i < in->arg_count; i++)
        if (in->args[i][0] == '-')
            serve_add(serve, "%s", in->args[i]);
    serve_add_plugin(serve);
    for (size_t i = 0; i < in->arg_count; i++)
        if (in->args[i][0] != '-')
            serve_add(serve, "%s", in->args[i]);
    return serve->out_of_memory ? ctl_fail(in, -ENOMEM, "no memory, or too many arguments", NULL)
                                : CTL_DONE;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* Whether nobody listens on the socket any more. One that was killed may take a moment to end. */
static bool serve_is_left(const struct sockaddr_un *address)
{
    const struct timespec pause = {.tv_nsec = SERVE_POLL_MS * 1000000L};
    for (unsigned waited_ms = 0; waited_ms < SERVE_DYING_MS; waited_ms += SERVE_POLL_MS)
    {
        AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
            errno == ECONNREFUSED)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* nbdkit leaves its socket behind when it is killed, and refuses to start then. */
static enum ctl_exit serve_clear_nbd_socket(const struct serve *serve)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[256];
    struct stat there;
    const char *path = serve->config->nbd_socket;
    if (!path || lstat(path, &there) < 0)
        return CTL_DONE;
    if (strlen(path) >= sizeof(address.sun_path) || !S_ISSOCK(there.st_mode))
        return ctl_fail(serve->in, -EEXIST, "the path for the NBD socket is something else already",
                        NULL);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (serve_is_left(&address))
    {
        unlink(path);
        return CTL_DONE;
    }
    snprintf(text, sizeof(text),
             "another server listens on %.150s; --nbd-socket or LUNETTE_SOCKET names another place",
             path);
    return ctl_fail(serve->in, -EADDRINUSE, text, "lunette server status");
}

/* The default, /run/lunette, is there for root and for systemd only: others learn what to say. */
static enum ctl_exit serve_check_folder(const struct serve *serve)
{
    char text[512];
    AUTO_FREE char *folder = serve_beside(serve->config->mgmt_socket, "");
    if (!folder)
        return ctl_no_memory(serve->in);
    if (access(folder, W_OK | X_OK) == 0)
        return CTL_DONE;
    int r = -errno;
    snprintf(text, sizeof(text), "its sockets belong into %s: %s", folder, strerror(-r));
    return ctl_fail(serve->in, r, text,
                    "export LUNETTE_SOCKET=FOLDER/mgmt.sock, a folder of yours");
}

/* The rest of what may be wrong with it nbdkit's process says, which opens it. */
static enum ctl_exit serve_check_pool(const struct serve *serve)
{
    char text[512], hint[512];
    const char *path = serve->config->pool_path;
    if (access(path, F_OK) == 0 || errno != ENOENT)
        return CTL_DONE;
    snprintf(text, sizeof(text), "there is no pool %.400s", path);
    snprintf(hint, sizeof(hint), "lunette pool create %.400s SIZE", path);
    return ctl_fail(serve->in, -ENOENT, text, hint);
}

static enum ctl_exit serve_check_free(const struct serve *serve)
{
    struct client client;
    char text[256];
    enum ctl_exit status = serve_check_pool(serve);
    if (status == CTL_DONE)
        status = serve_check_folder(serve);
    if (status != CTL_DONE)
        return status;
    if (client_connect(&client, serve->config->mgmt_socket, NULL) == 0)
    {
        snprintf(text, sizeof(text), "a server, process %d, answers on %s already",
                 client.server_pid, serve->config->mgmt_socket);
        client_close(&client);
        return ctl_fail(serve->in, -EBUSY, text, "lunette server stop");
    }
    return serve_clear_nbd_socket(serve);
}

/* Clients that hang up would end nbdkit without it. */
static void serve_preload_guard(void)
{
    AUTO_FREE char *guard = serve_find("lunette-hangup-guard.so");
    const char *others = getenv("LD_PRELOAD");
    AUTO_FREE char *list = NULL;
    if (!guard)
        ctl_note("warning: lunette-hangup-guard.so is neither built nor installed beside this "
                 "program: NBD clients that hang up can end the server");
    if (guard && asprintf(&list, "%s%s%s", guard, others ? ":" : "", others ? others : "") >= 0)
        setenv("LD_PRELOAD", list, 1);
}

static enum ctl_exit serve_exec(const struct serve *serve)
{
    char text[256];
    serve_preload_guard();
    execvp(serve->args[0], serve->args);
    int r = -errno;
    snprintf(text, sizeof(text), "%s: %s", serve->args[0], strerror(-r));
    return ctl_fail(serve->in, r, text, r == -ENOENT ? "apt install nbdkit" : NULL);
}

/* Asks for the status; NULL: it does not answer yet. */
static json_t *serve_ask(const struct serve *serve)
{
    struct client client;
    struct client_refusal refusal;
    json_t *result = NULL;
    if (client_connect(&client, serve->config->mgmt_socket, NULL) < 0)
        return NULL;
    if (client_call(&client, "server.status", NULL, NULL, NULL, &result, &refusal) < 0)
        result = NULL;
    client_close(&client);
    return result;
}

/* What nbdkit had to say, in one line, where its own lines would not be JSON. */
static enum ctl_exit serve_refused(const struct serve *serve, FILE *said)
{
    char text[2048] = "";
    if (!said)
        return ctl_fail(serve->in, -EIO, "nbdkit refused, as it says above", NULL);
    rewind(said);
    size_t len = fread(text, 1, sizeof(text) - 1, said);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    if (strncmp(text, "{\"error\"", strlen("{\"error\"")) == 0) /* it was our child's */
        return fprintf(stderr, "%s\n", text), CTL_REFUSED;
    for (char *at = text; *at; at++)
        if (*at == '\n')
            *at = ';';
    return ctl_fail(serve->in, -EIO, *text ? text : "nbdkit refused and gave no reason", NULL);
}

static enum ctl_exit serve_wait(const struct serve *serve, FILE *said, uint64_t timeout_ms,
                                json_t **result)
{
    char text[128];
    const struct timespec pause = {.tv_nsec = SERVE_POLL_MS * 1000000L};
    for (uint64_t waited_ms = 0; waited_ms < timeout_ms; waited_ms += SERVE_POLL_MS)
    {
        int wait_status;
        *result = serve_ask(serve);
        if (*result)
            return CTL_DONE;
        if (waitpid(-1, &wait_status, WNOHANG) > 0)
            return said ? serve_refused(serve, said)
                        : ctl_fail(serve->in, -EIO,
                                   "the server ended while it started, for the reason above; if "
                                   "there is none, the system log may have it",
                                   NULL);
        nanosleep(&pause, NULL);
    }
    snprintf(text, sizeof(text), "it is not ready after %" PRIu64 " s; it may still become so",
             timeout_ms / 1000);
    return ctl_fail(serve->in, -ETIMEDOUT, text, "lunette server status --wait 5m");
}

/*
 * nbdkit sets its own umask, so its socket gets the wanted permissions once it is there. Until then
 * only its owner can connect.
 */
static enum ctl_exit serve_set_mode(const struct serve *serve)
{
    char text[512];
    const struct config *config = serve->config;
    if (!config->nbd_socket || config->nbd_mode == 0 ||
        chmod(config->nbd_socket, (mode_t)config->nbd_mode) == 0)
        return CTL_DONE;
    int r = -errno;
    snprintf(text, sizeof(text), "permissions of %s: %s", config->nbd_socket, strerror(-r));
    return ctl_fail(serve->in, r, text, NULL);
}

/* With their real ports: what was asked for may be port 0. */
static void serve_print_portals(const json_t *status)
{
    size_t i;
    json_t *portal;
    json_array_foreach(json_object_get(status, "iscsi_portals"), i, portal)
        printf("iSCSI:      %s\n", json_string_value(portal));
    fflush(stdout);
}

/* The iSCSI half of the pool may be shut for want of a key: not only an event should say so. */
static void serve_tell_secrets(const json_t *status)
{
    uint64_t locked = ctl_get(status, "secrets_locked");
    const char *needed = json_string_value(json_object_get(status, "needed_key"));
    const char *key = json_string_value(json_object_get(status, "key"));
    if (locked == 0)
        return;
    ctl_note("warning: %" PRIu64 " CHAP secret%s locked, and who has to log in by %s is refused; "
             "%s%s, the server has %s; 'lunette iscsi chap show' lists them",
             locked, locked == 1 ? " is" : "s are", locked == 1 ? "it" : "them",
             needed ? "they need the key " : "they were damaged", needed ? needed : "",
             key ? key : "none (--key-file)");
}

/* In the foreground this process becomes nbdkit, so a grandchild waits until it answers. */
static void serve_finish_later(const struct serve *serve, uint64_t timeout_ms)
{
    bool sets_mode = serve->config->nbd_socket && serve->config->nbd_mode != 0;
    if (!sets_mode && serve->config->iscsi_portals.count == 0)
        return;
    fflush(stdout);
    pid_t server = getpid(), child = fork();
    if (child > 0)
        waitpid(child, NULL, 0);
    if (child != 0)
        return;
    if (fork() != 0)
        _exit(0);
    const struct timespec pause = {.tv_nsec = SERVE_POLL_MS * 1000000L};
    for (uint64_t waited_ms = 0; waited_ms < timeout_ms && kill(server, 0) == 0;
         waited_ms += SERVE_POLL_MS)
    {
        AUTO_JSON json_t *status = serve_ask(serve);
        if (status)
        {
            serve_print_portals(status);
            serve_tell_secrets(status);
            _exit((int)serve_set_mode(serve));
        }
        nanosleep(&pause, NULL);
    }
    _exit(CTL_REFUSED); /* the server says itself what is wrong with it */
}

static void serve_close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static enum ctl_exit serve_in_background(const struct serve *serve, uint64_t timeout_ms)
{
    AUTO_JSON json_t *status = NULL;
    CLEANUP(serve_close_file)
    FILE *said = option_flag(serve->in, "json") ? tmpfile() : NULL;
    int wait_status;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
    {
        setsid();
        if (said)
            dup2(fileno(said), STDERR_FILENO);
        _exit((int)serve_exec(serve));
    }
    if (child < 0 || waitpid(child, &wait_status, 0) != child)
        return ctl_fail(serve->in, -errno, NULL, NULL);
    if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0)
        return serve_refused(serve, said);
    enum ctl_exit exit = serve_wait(serve, said, timeout_ms, &status);
    if (exit == CTL_DONE)
        serve_note_write(serve->in, serve->config->mgmt_socket, serve_noted_value);
    if (exit == CTL_DONE)
        exit = serve_set_mode(serve);
    if (exit != CTL_DONE)
        return exit;
    if (option_flag(serve->in, "json"))
        table_print_json(stdout, status);
    else
    {
        printf("Serving pool %s, process %" PRIu64 ".\nNBD:        %s\nManagement: %s\n",
               json_string_value(json_object_get(status, "pool")), ctl_get(status, "pid"),
               serve->nbd_uri, serve->config->mgmt_socket);
        serve_print_portals(status);
    }
    serve_tell_secrets(status);
    return CTL_DONE;
}

enum ctl_exit ctl_serve(struct invocation *in)
{
    CLEANUP(serve_destroy) struct serve serve = {.in = in};
    uint64_t timeout_ms = SERVE_WAIT_MS;
    enum ctl_exit status = ctl_duration(in, "wait", &timeout_ms);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "foreground") && option_flag(in, "background"))
        return ctl_usage(in, "--foreground or --background, not both");
    status = serve_load(&serve);
    if (status == CTL_DONE)
        status = serve_apply_options(&serve);
    if (status == CTL_DONE)
        status = serve_fill_in(&serve);
    if (status == CTL_DONE)
        status = serve_build(&serve);
    if (status == CTL_DONE)
        status = serve_check_free(&serve);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "foreground"))
    {
        serve_note_write(in, serve.config->mgmt_socket, serve_noted_value);
        serve_finish_later(&serve, timeout_ms);
        return serve_exec(&serve);
    }
    return serve_in_background(&serve, timeout_ms);
}
