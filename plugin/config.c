/* SPDX-License-Identifier: BSD-3-Clause */
/* The plugin's parameters: one table of keys, each with the function that parses it. */
#include "plugin/config.h"

#include <nbdkit-plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/limits.h"

#define PLUGIN_CONFIG_CACHE_MIN_BYTES (INT64_C(1) << 20)
#define PLUGIN_CONFIG_CACHE_MAX_BYTES (INT64_C(1) << 40)

enum
{
    PLUGIN_CONFIG_CHECKPOINT_MIN_MS = 10,
    PLUGIN_CONFIG_CHECKPOINT_MAX_MS = 600000,
};

const char plugin_config_help[] =
    "pool=FILE                 (required) The pool: a file or a block device, made by\n"
    "                          'lunette pool create'. 'pool=' may be left out.\n"
    "default-export=NAME       What a client gets that names no export. Default: the only\n"
    "                          LUN of the pool, if there is just one.\n"
    "cache-size=SIZE           Memory for metadata, 1M to 1T. Default: 64M.\n"
    "checkpoint-ms=MS          Longest age of a change before a checkpoint, 10 to 600000.\n"
    "                          Default: 5000. Shorter means a shorter recovery.\n"
    "discard=true|false        Give freed space back to the file system below. Default: true.\n"
    "take-over=yes|no          Open the pool although another host is noted as its holder.\n"
    "                          Only when that host is known to be down. Default: no.\n"
    "key-file=FILE             Key that wraps the CHAP secrets in the pool ('lunette key create'); "
    "read\n"
    "                          before nbdkit changes its user.\n"
    "core-dumps=yes|no         Whether a crash may leave the memory, secrets and all, in a file.\n"
    "                          Default: no.\n"
    "mgmt-socket=PATH          Unix socket on which the 'lunette' command is answered.\n"
    "mgmt-mode=OCTAL           Permissions of that socket. Default: 0666, everybody may look.\n"
    "mgmt-group=GROUP          Group whose members may change things through it, besides root.\n"
    "iscsi-portal=ADDR[:PORT]  Serve iSCSI there too. May be given several times.\n"
    "iscsi-LIMIT=N             LIMIT is connections, connections-per-source, half-open, sessions,\n"
    "                          queue-depth, login-ms, idle-ms, answer-ms, send-ms, output-bytes,\n"
    "                          data-mib, threads, workers.\n"
    "iscsi-redirect=ADDR:PORT  Send iSCSI logins there; -redirect-permanently=yes: for ever.\n"
    "events-exec=PATH          Program that gets each event, as JSON on its standard input.\n"
    "events-exec-ms=MS         How long it may take. Default: 10000.\n"
    "events-syslog=yes|no      Write events to syslog. Default: no.\n"
    "events-severity=WHICH     Only those: info (default), warning, error.\n"
    "quiesce-folder=PATH       Where programs are that 'lunette snapshot create --quiesce' calls.\n"
    "refresh-folder=PATH       Where programs are that 'lunette refresh create --hook' names.\n"
    "refresh-ms=MS             How long one may take. Default: 3600000.\n"
    "nbd-connections=N         NBD clients at a time; the next ones are hung up on. Default: "
    "1024,\n"
    "                          or as many as there are descriptors for.\n"
    "nbd-connections-per-source=N  Of one address (IPv6: one /64). Default: 512.\n"
    "nbd-handshake-ms=N        How long an NBD client may negotiate. Default: 30000.\n"
    "nbd-uri=URI               Where this server is reached, for the 'lunette' command to show.\n"
    "conf=FILE                 The server's conf file, for what is not in the pool.\n"
    "pid-file=FILE             What nbdkit's --pidfile makes: to be removed when the server ends.\n"
    "Exports are LUN, LUN@SNAPSHOT (read-only) and A..B (what B has that A has not).\n"
    "nbdkit -r serves everything read-only. -D lunette.engine=1 -v shows the engine's debug lines.";

static struct plugin_config plugin_config;

const struct plugin_config *plugin_config_get(void)
{
    return &plugin_config;
}

/* Stores a copy of @value that the table owns, once. */
static int plugin_config_set_string(char **field, const char *key, const char *value)
{
    if (*field)
    {
        nbdkit_error("%s= was given twice", key);
        return -1;
    }
    if (value[0] == '\0')
    {
        nbdkit_error("%s= needs a value", key);
        return -1;
    }
    *field = strdup(value);
    if (!*field)
    {
        nbdkit_error("no memory for %s=", key);
        return -1;
    }
    return 0;
}

static int plugin_config_set_path(char **field, const char *key, const char *value)
{
    if (*field)
    {
        nbdkit_error("%s= was given twice", key);
        return -1;
    }
    if (value[0] == '\0')
    {
        nbdkit_error("%s= needs a path", key);
        return -1;
    }
    *field = nbdkit_absolute_path(value); /* tells the user when it fails */
    return *field ? 0 : -1;
}

static int plugin_config_set_bool(bool *field, const char *value)
{
    int r = nbdkit_parse_bool(value);
    if (r < 0)
        return -1;
    *field = r > 0;
    return 0;
}

static int plugin_config_set_pool(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.pool_path, key, value);
}

static int plugin_config_set_default_export(const char *key, const char *value)
{
    return plugin_config_set_string(&plugin_config.default_export, key, value);
}

static int plugin_config_set_cache_size(const char *key, const char *value)
{
    int64_t bytes = nbdkit_parse_size(value);
    if (bytes < 0)
        return -1;
    if (bytes < PLUGIN_CONFIG_CACHE_MIN_BYTES || bytes > PLUGIN_CONFIG_CACHE_MAX_BYTES)
    {
        nbdkit_error("%s=%s is out of range: 1M to 1T", key, value);
        return -1;
    }
    plugin_config.cache_bytes = (uint64_t)bytes;
    return 0;
}

static int plugin_config_set_checkpoint_ms(const char *key, const char *value)
{
    uint32_t ms = 0;
    if (nbdkit_parse_uint32_t(key, value, &ms) < 0)
        return -1;
    if (ms < PLUGIN_CONFIG_CHECKPOINT_MIN_MS || ms > PLUGIN_CONFIG_CHECKPOINT_MAX_MS)
    {
        nbdkit_error("%s=%s is out of range: %d to %d milliseconds", key, value,
                     PLUGIN_CONFIG_CHECKPOINT_MIN_MS, PLUGIN_CONFIG_CHECKPOINT_MAX_MS);
        return -1;
    }
    plugin_config.checkpoint_ms = ms;
    return 0;
}

static int plugin_config_set_discard(const char *key, const char *value)
{
    (void)key;
    bool discard = true;
    if (plugin_config_set_bool(&discard, value) < 0)
        return -1;
    plugin_config.no_discard = !discard;
    return 0;
}

static int plugin_config_set_take_over(const char *key, const char *value)
{
    (void)key;
    return plugin_config_set_bool(&plugin_config.take_over, value);
}

static int plugin_config_set_core_dumps(const char *key, const char *value)
{
    (void)key;
    return plugin_config_set_bool(&plugin_config.core_dumps, value);
}

static int plugin_config_set_key_file(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.key_file, key, value);
}

static int plugin_config_set_mgmt_socket(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.mgmt_socket, key, value);
}

static int plugin_config_set_mgmt_group(const char *key, const char *value)
{
    return plugin_config_set_string(&plugin_config.mgmt_group, key, value);
}

static int plugin_config_set_mgmt_mode(const char *key, const char *value)
{
    char *end = NULL;
    unsigned long mode = strtoul(value, &end, 8);
    if (value[0] < '0' || value[0] > '7' || *end != '\0' || mode == 0 || mode > 0777)
    {
        nbdkit_error("%s=%s is no file mode: octal, 0001 to 0777", key, value);
        return -1;
    }
    plugin_config.mgmt_mode = (unsigned)mode;
    return 0;
}

static int plugin_config_set_iscsi_portal(const char *key, const char *value)
{
    if (plugin_config.iscsi_portal_count == TARGET_PORTALS_MAX)
    {
        nbdkit_error("%s= was given more than %d times", key, TARGET_PORTALS_MAX);
        return -1;
    }
    if (plugin_config_set_string(&plugin_config.iscsi_portals[plugin_config.iscsi_portal_count],
                                 key, value) < 0)
        return -1;
    plugin_config.iscsi_portal_count++;
    return 0;
}

static const struct
{
    const char *key;
    uint32_t *field;
} plugin_config_numbers[] = {
    {"nbd-connections", &plugin_config.nbd_connections},
    {"nbd-connections-per-source", &plugin_config.nbd_connections_per_source},
    {"nbd-handshake-ms", &plugin_config.nbd_handshake_ms},
    {"iscsi-connections", &plugin_config.iscsi_limits.connections},
    {"iscsi-connections-per-source", &plugin_config.iscsi_limits.connections_per_source},
    {"iscsi-half-open", &plugin_config.iscsi_limits.half_open},
    {"iscsi-sessions", &plugin_config.iscsi_limits.sessions},
    {"iscsi-queue-depth", &plugin_config.iscsi_limits.queue_depth},
    {"iscsi-login-ms", &plugin_config.iscsi_limits.login_ms},
    {"iscsi-idle-ms", &plugin_config.iscsi_limits.idle_ms},
    {"iscsi-answer-ms", &plugin_config.iscsi_limits.answer_ms},
    {"iscsi-send-ms", &plugin_config.iscsi_limits.write_ms},
    {"iscsi-output-bytes", &plugin_config.iscsi_limits.output_bytes},
    {"iscsi-data-mib", &plugin_config.iscsi_limits.data_mib},
    {"iscsi-threads", &plugin_config.iscsi_threads},
    {"iscsi-workers", &plugin_config.iscsi_workers},
    {"events-exec-ms", &plugin_config.events_exec_ms},
    {"refresh-ms", &plugin_config.refresh_ms},
};

static int plugin_config_set_number(uint32_t *field, const char *key, const char *value)
{
    if (nbdkit_parse_uint32_t(key, value, field) < 0)
        return -1;
    if (*field > 0)
        return 0;
    nbdkit_error("%s= has to be at least 1", key);
    return -1;
}

static int plugin_config_set_iscsi_redirect(const char *key, const char *value)
{
    return plugin_config_set_string(&plugin_config.iscsi_redirect, key, value);
}

static int plugin_config_set_iscsi_redirect_permanently(const char *key, const char *value)
{
    (void)key;
    return plugin_config_set_bool(&plugin_config.iscsi_redirect_permanently, value);
}

static int plugin_config_set_events_exec(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.events_exec, key, value);
}

static int plugin_config_set_events_syslog(const char *key, const char *value)
{
    (void)key;
    return plugin_config_set_bool(&plugin_config.events_syslog, value);
}

static int plugin_config_set_events_severity(const char *key, const char *value)
{
    return plugin_config_set_string(&plugin_config.events_severity, key, value);
}

static int plugin_config_set_quiesce_folder(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.quiesce_folder, key, value);
}

static int plugin_config_set_refresh_folder(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.refresh_folder, key, value);
}

static int plugin_config_set_nbd_uri(const char *key, const char *value)
{
    return plugin_config_set_string(&plugin_config.nbd_uri, key, value);
}

static int plugin_config_set_conf(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.conf_path, key, value);
}

static int plugin_config_set_pid_file(const char *key, const char *value)
{
    return plugin_config_set_path(&plugin_config.pid_file, key, value);
}

static const struct
{
    const char *key;
    int (*set)(const char *key, const char *value);
} plugin_config_keys[] = {
    {"pool", plugin_config_set_pool},
    {"default-export", plugin_config_set_default_export},
    {"cache-size", plugin_config_set_cache_size},
    {"checkpoint-ms", plugin_config_set_checkpoint_ms},
    {"discard", plugin_config_set_discard},
    {"take-over", plugin_config_set_take_over},
    {"core-dumps", plugin_config_set_core_dumps},
    {"key-file", plugin_config_set_key_file},
    {"mgmt-socket", plugin_config_set_mgmt_socket},
    {"mgmt-mode", plugin_config_set_mgmt_mode},
    {"mgmt-group", plugin_config_set_mgmt_group},
    {"iscsi-portal", plugin_config_set_iscsi_portal},
    {"iscsi-redirect", plugin_config_set_iscsi_redirect},
    {"iscsi-redirect-permanently", plugin_config_set_iscsi_redirect_permanently},
    {"events-exec", plugin_config_set_events_exec},
    {"events-syslog", plugin_config_set_events_syslog},
    {"events-severity", plugin_config_set_events_severity},
    {"quiesce-folder", plugin_config_set_quiesce_folder},
    {"refresh-folder", plugin_config_set_refresh_folder},
    {"nbd-uri", plugin_config_set_nbd_uri},
    {"conf", plugin_config_set_conf},
    {"pid-file", plugin_config_set_pid_file},
};

int plugin_config_set(const char *key, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(plugin_config_keys); i++)
        if (strcmp(key, plugin_config_keys[i].key) == 0)
            return plugin_config_keys[i].set(key, value);
    for (size_t i = 0; i < ARRAY_SIZE(plugin_config_numbers); i++)
        if (strcmp(key, plugin_config_numbers[i].key) == 0)
            return plugin_config_set_number(plugin_config_numbers[i].field, key, value);
    nbdkit_error("unknown parameter \"%s\"; 'nbdkit lunette --help' lists the parameters", key);
    return -1;
}

int plugin_config_complete(void)
{
    if (plugin_config.pool_path)
        return 0;
    nbdkit_error("pool=FILE is missing: the pool to serve. "
                 "'lunette pool create FILE --size SIZE' makes one");
    return -1;
}

void plugin_config_dump_plugin(void)
{
    printf("lunette_version=%s\n", LUNETTE_VERSION);
    printf("lunette_exports=LUN LUN@SNAPSHOT A..B\n");
    printf("lunette_features=cache extents fast-zero flush fua-native multi-conn parallel trim "
           "zero\n");
    printf("lunette_block_bytes=%d\n", LUN_BLK_BYTES);
    printf("lunette_lun_max_bytes=%llu\n", (unsigned long long)LUN_SIZE_MAX_BYTES);
    printf("lunette_request_max_bytes=%d\n", LUN_IO_MAX_BYTES);
    printf("lunette_name_max=%d\n", LUN_NAME_MAX);
    printf("lunette_clones_at_once_max=%d\n", LUN_CLONES_AT_ONCE_MAX);
}

void plugin_config_destroy(void)
{
    free(plugin_config.pool_path);
    free(plugin_config.default_export);
    free(plugin_config.key_file);
    free(plugin_config.mgmt_socket);
    free(plugin_config.mgmt_group);
    free(plugin_config.nbd_uri);
    free(plugin_config.conf_path);
    free(plugin_config.pid_file);
    free(plugin_config.iscsi_redirect);
    free(plugin_config.events_exec);
    free(plugin_config.events_severity);
    free(plugin_config.quiesce_folder);
    free(plugin_config.refresh_folder);
    for (size_t i = 0; i < plugin_config.iscsi_portal_count; i++)
        free(plugin_config.iscsi_portals[i]);
    plugin_config = (struct plugin_config){0};
}
