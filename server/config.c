/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file.
 *
 * One table of keys says where a value goes and what it may be; inih splits the lines. Lines are
 * fed to inih one by one, so that their numbers are known and a line that is too long is refused
 * instead of cut.
 */
#include "server/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/units.h"

enum config_type
{
    CONFIG_STRING,
    CONFIG_PATH, /* absolute */
    CONFIG_BYTES,
    CONFIG_MS,
    CONFIG_NUMBER, /* min to max */
    CONFIG_BOOL,
    CONFIG_CHOICE, /* one of choices, separated by spaces */
    CONFIG_ADDRESS,
    CONFIG_ADDRESSES, /* may be given more than once */
};

struct config_key
{
    const char *section;
    const char *key;
    enum config_type type;
    size_t offset;
    uint64_t min, max;
    const char *choices;
};

#define AT(member) offsetof(struct config, member)

static const struct config_key config_keys[] = {
    {"pool", "path", CONFIG_PATH, AT(pool_path), 0, 0, NULL},
    {"pool", "cache", CONFIG_BYTES, AT(cache_bytes), 1 << 20, UINT64_C(1) << 40, NULL},
    {"pool", "checkpoint_interval", CONFIG_MS, AT(checkpoint_ms), 10, 3600000, NULL},
    {"pool", "discard", CONFIG_BOOL, AT(discard), 0, 0, NULL},
    {"pool", "take_over", CONFIG_BOOL, AT(take_over), 0, 0, NULL},
    {"nbd", "socket", CONFIG_PATH, AT(nbd_socket), 0, 0, NULL},
    {"nbd", "listen", CONFIG_ADDRESS, AT(nbd_listen), 0, 0, NULL},
    {"nbd", "mode", CONFIG_NUMBER, AT(nbd_mode), 0600, 0777, NULL},
    {"nbd", "threads", CONFIG_NUMBER, AT(nbd_threads), 1, 1024, NULL},
    {"nbd", "connections", CONFIG_NUMBER, AT(nbd_connections), 1, 60000, NULL},
    {"nbd", "handshake_timeout", CONFIG_MS, AT(nbd_handshake_ms), 100, 3600000, NULL},
    {"nbd", "connections_per_source", CONFIG_NUMBER, AT(nbd_connections_per_source), 1, 60000,
     NULL},
    {"nbd", "tls", CONFIG_CHOICE, AT(nbd_tls), 0, 0, "off on require"},
    {"nbd", "tls_certificates", CONFIG_PATH, AT(nbd_tls_certificates), 0, 0, NULL},
    {"nbd", "tls_psk", CONFIG_PATH, AT(nbd_tls_psk), 0, 0, NULL},
    {"nbd", "tls_verify_peer", CONFIG_BOOL, AT(nbd_tls_verify_peer), 0, 0, NULL},
    {"management", "socket", CONFIG_PATH, AT(mgmt_socket), 0, 0, NULL},
    {"management", "group", CONFIG_STRING, AT(mgmt_group), 0, 0, NULL},
    {"management", "mode", CONFIG_NUMBER, AT(mgmt_mode), 0600, 0777, NULL},
    {"iscsi", "portal", CONFIG_ADDRESSES, AT(iscsi_portals), 0, 0, NULL},
    {"iscsi", "connections", CONFIG_NUMBER, AT(iscsi_connections), 1, 60000, NULL},
    {"iscsi", "connections_per_source", CONFIG_NUMBER, AT(iscsi_connections_per_source), 1, 60000,
     NULL},
    {"iscsi", "half_open", CONFIG_NUMBER, AT(iscsi_half_open), 1, 60000, NULL},
    {"iscsi", "sessions", CONFIG_NUMBER, AT(iscsi_sessions), 1, 60000, NULL},
    {"iscsi", "queue_depth", CONFIG_NUMBER, AT(iscsi_queue_depth), 1, 4096, NULL},
    {"iscsi", "login_timeout", CONFIG_MS, AT(iscsi_login_ms), 100, 3600000, NULL},
    {"iscsi", "idle_timeout", CONFIG_MS, AT(iscsi_idle_ms), 100, 3600000, NULL},
    {"iscsi", "answer_timeout", CONFIG_MS, AT(iscsi_answer_ms), 100, 3600000, NULL},
    {"iscsi", "send_timeout", CONFIG_MS, AT(iscsi_send_ms), 100, 3600000, NULL},
    {"iscsi", "session_output", CONFIG_BYTES, AT(iscsi_output_bytes), 64 << 10, 1 << 30, NULL},
    {"iscsi", "data_memory", CONFIG_BYTES, AT(iscsi_data_bytes), 16 << 20, UINT64_C(1) << 40, NULL},
    {"iscsi", "threads", CONFIG_NUMBER, AT(iscsi_threads), 1, 64, NULL},
    {"iscsi", "workers", CONFIG_NUMBER, AT(iscsi_workers), 1, 256, NULL},
    {"iscsi", "redirect", CONFIG_ADDRESS, AT(iscsi_redirect), 0, 0, NULL},
    {"iscsi", "redirect_permanently", CONFIG_BOOL, AT(iscsi_redirect_permanently), 0, 0, NULL},
    {"events", "exec", CONFIG_PATH, AT(events_exec), 0, 0, NULL},
    {"events", "exec_timeout", CONFIG_MS, AT(events_exec_ms), 100, 3600000, NULL},
    {"events", "syslog", CONFIG_BOOL, AT(events_syslog), 0, 0, NULL},
    {"events", "severity", CONFIG_CHOICE, AT(events_severity), 0, 0, "info warning error"},
    {"quiesce", "folder", CONFIG_PATH, AT(quiesce_folder), 0, 0, NULL},
    {"refresh", "folder", CONFIG_PATH, AT(refresh_folder), 0, 0, NULL},
    {"refresh", "timeout", CONFIG_MS, AT(refresh_ms), 100, 604800000, NULL},
    {"server", "pid_file", CONFIG_PATH, AT(pid_file), 0, 0, NULL},
    {"server", "user", CONFIG_STRING, AT(user), 0, 0, NULL},
    {"server", "key_file", CONFIG_PATH, AT(key_file), 0, 0, NULL},
    {"server", "core_dumps", CONFIG_BOOL, AT(core_dumps), 0, 0, NULL},
    {"server", "nbdkit", CONFIG_PATH, AT(nbdkit), 0, 0, NULL},
    {"server", "plugin", CONFIG_PATH, AT(plugin), 0, 0, NULL},
};

struct config *config_new(void)
{
    struct config *config = calloc(1, sizeof(*config));
    if (config)
        config->discard = true;
    return config;
}

static bool config_type_is_string(enum config_type type)
{
    return type == CONFIG_STRING || type == CONFIG_PATH || type == CONFIG_CHOICE ||
           type == CONFIG_ADDRESS;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++)
        if (config_type_is_string(config_keys[i].type))
            free(*(char **)((char *)config + config_keys[i].offset));
    for (size_t i = 0; i < config->iscsi_portals.count; i++)
        free(config->iscsi_portals.values[i]);
    free(config);
}

static void config_cleanup(struct config **config)
{
    config_free(*config);
}
#define AUTO_CONFIG CLEANUP(config_cleanup)

int config_parse_address(const char *text, char *host, size_t host_size, char *port,
                         size_t port_size, struct reason *why)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon ? colon + 1 : text;
    const char *start = text;
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    if (host_len >= 2 && start[0] == '[' && start[host_len - 1] == ']')
    {
        start++;
        host_len -= 2;
    }
    else if (memchr(start, ':', host_len))
        return reason_set(why, -EINVAL, "\"%s\": write an IPv6 address as [ADDRESS]:PORT", text);
    uint64_t number;
    int r = units_parse_number(digits, 0, 65535, &number, NULL);
    if (r < 0 || (colon && host_len == 0))
        return reason_set(why, -EINVAL, "\"%s\" is not ADDRESS:PORT with a port of 0 to 65535",
                          text);
    if (host_len >= host_size || strlen(digits) >= port_size)
        return reason_set(why, -EINVAL, "\"%s\" is too long for an address", text);
    memcpy(host, start, host_len);
    host[host_len] = '\0';
    memcpy(port, digits, strlen(digits) + 1);
    return 0;
}

static int config_check_choice(const struct config_key *key, const char *value, struct reason *why)
{
    size_t len = strlen(value);
    for (const char *at = key->choices; at; at = strchr(at, ' '))
    {
        at += *at == ' ';
        if (len > 0 && strncmp(at, value, len) == 0 && (at[len] == ' ' || at[len] == '\0'))
            return 0;
    }
    return reason_set(why, -EINVAL, "\"%s\" is none of: %s", value, key->choices);
}

static int config_check_string(const struct config_key *key, const char *value, struct reason *why)
{
    char host[256], port[16];
    if (!*value)
        return reason_set(why, -EINVAL, "has no value");
    if (key->type == CONFIG_PATH && *value != '/')
        return reason_set(why, -EINVAL, "\"%s\" is not an absolute path", value);
    if (key->type == CONFIG_CHOICE)
        return config_check_choice(key, value, why);
    if (key->type == CONFIG_ADDRESS || key->type == CONFIG_ADDRESSES)
        return config_parse_address(value, host, sizeof(host), port, sizeof(port), why);
    return 0;
}

static int config_put_number(const struct config_key *key, const char *value, uint64_t *number,
                             struct reason *why)
{
    if (key->type == CONFIG_NUMBER)
        return units_parse_number(value, key->min, key->max, number, why);
    uint64_t parsed;
    int r = key->type == CONFIG_BYTES ? units_parse_bytes(value, &parsed, why)
                                      : units_parse_ms(value, &parsed, why);
    if (r < 0)
        return r;
    if (parsed < key->min || parsed > key->max)
        return reason_set(why, -ERANGE, "\"%s\" is out of range", value);
    *number = parsed;
    return 0;
}

static int config_put_string(const struct config_key *key, void *at, const char *value,
                             struct reason *why)
{
    int r = config_check_string(key, value, why);
    if (r < 0)
        return r;
    struct config_list *list = at;
    if (key->type == CONFIG_ADDRESSES && list->count == CONFIG_LIST_MAX)
        return reason_set(why, -EINVAL, "may be given %d times at most", CONFIG_LIST_MAX);
    char *copy = strdup(value);
    if (!copy)
        return reason_set(why, -ENOMEM, "no memory");
    if (key->type == CONFIG_ADDRESSES)
        list->values[list->count++] = copy;
    else
    {
        char **string = at;
        free(*string);
        *string = copy;
    }
    return 0;
}

static int config_put(struct config *config, const struct config_key *key, const char *value,
                      struct reason *why)
{
    void *at = (char *)config + key->offset;
    switch (key->type)
    {
    case CONFIG_BOOL:
        return units_parse_bool(value, at, why);
    case CONFIG_BYTES:
    case CONFIG_MS:
    case CONFIG_NUMBER:
        return config_put_number(key, value, at, why);
    case CONFIG_STRING:
    case CONFIG_PATH:
    case CONFIG_CHOICE:
    case CONFIG_ADDRESS:
    case CONFIG_ADDRESSES:
        break;
    }
    return config_put_string(key, at, value, why);
}

static const struct config_key *config_find(const char *section, const char *key, bool *in_section)
{
    *in_section = false;
    for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++)
    {
        if (strcmp(section, config_keys[i].section) != 0)
            continue;
        *in_section = true;
        if (strcmp(key, config_keys[i].key) == 0)
            return &config_keys[i];
    }
    return NULL;
}

int config_set(struct config *config, const char *name, const char *value, struct reason *why)
{
    const char *dot = strchr(name, '.');
    char section[32];
    bool in_section;
    size_t len = dot ? (size_t)(dot - name) : 0;
    if (!dot || len >= sizeof(section))
        return reason_set(why, -EINVAL, "no setting %s", name);
    memcpy(section, name, len);
    section[len] = '\0';
    const struct config_key *key = config_find(section, dot + 1, &in_section);
    if (!key)
        return reason_set(why, -EINVAL, "no setting %s", name);
    return config_put(config, key, value, why);
}

/* ---- reading a file ------------------------------------------------------------------------ */

struct config_reader
{
    FILE *file;
    const char *path;
    struct config *config;
    int line;       /* of the line handed out last */
    int error;      /* the first one of a value, */
    int error_line; /* there */
    bool seen[ARRAY_SIZE(config_keys)];
    struct reason *why;
};

static int config_fail(struct config_reader *reader, int err, const char *text)
{
    if (reader->error < 0)
        return 0;
    reader->error_line = reader->line;
    reader->error = reason_set(reader->why, err, "%s:%d: %s", reader->path, reader->line, text);
    return 0; /* inih: failed */
}

static char *config_read_line(char *line, int size, void *opaque)
{
    struct config_reader *reader = opaque;
    if (reader->error < 0 || !fgets(line, size, reader->file))
        return NULL;
    reader->line++;
    size_t len = strlen(line);
    if (len > CONFIG_LINE_MAX)
    {
        config_fail(reader, -EINVAL, "the line is longer than 190 bytes");
        return NULL;
    }
    if (*line == ' ' || *line == '\t')
    {
        /* inih would take it as more of the value above. */
        size_t blank = strspn(line, " \t");
        memmove(line, line + blank, len - blank + 1);
    }
    return line;
}

static int config_line(void *opaque, const char *section, const char *name, const char *value)
{
    struct config_reader *reader = opaque;
    char text[sizeof(((struct reason *)0)->text)];
    struct reason why = {.text = ""};
    bool in_section;
    const struct config_key *key = config_find(section, name, &in_section);
    if (!key)
    {
        if (!*section)
            snprintf(text, sizeof(text), "\"%s\" stands before the first [section]", name);
        else if (!in_section)
            snprintf(text, sizeof(text), "no section [%s] is known", section);
        else
            snprintf(text, sizeof(text), "no key \"%s\" is known in section [%s]", name, section);
        return config_fail(reader, -EINVAL, text);
    }
    bool *seen = &reader->seen[key - config_keys];
    if (*seen && key->type != CONFIG_ADDRESSES)
    {
        snprintf(text, sizeof(text), "%s is given twice", name);
        return config_fail(reader, -EINVAL, text);
    }
    *seen = true;
    int r = config_put(reader->config, key, value, &why);
    if (r < 0)
    {
        snprintf(text, sizeof(text), "%s: %.900s", name, why.text);
        return config_fail(reader, r, text);
    }
    return 1;
}

static void config_close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

int config_load(const char *path, struct config **config, struct reason *why)
{
    CLEANUP(config_close_file) FILE *file = fopen(path, "re");
    if (!file)
    {
        int r = -errno;
        return reason_set(why, r, "cannot read %s: %s", path, strerror(-r));
    }
    AUTO_CONFIG struct config *loaded = config_new();
    if (!loaded)
        return reason_set(why, -ENOMEM, "no memory");
    struct config_reader reader = {.file = file, .path = path, .config = loaded, .why = why};
    int bad_line = ini_parse_stream(config_read_line, &reader, config_line, &reader);
    /* A line that inih itself could not read may come before the one whose value is bad. */
    bool is_syntax = bad_line > 0 && (reader.error == 0 || bad_line < reader.error_line);
    if (reader.error < 0 && !is_syntax)
        return reader.error;
    if (ferror(file))
        return reason_set(why, -EIO, "cannot read %s", path);
    if (bad_line > 0)
        return reason_set(why, -EINVAL, "%s:%d: neither a [section] nor \"key = value\"", path,
                          bad_line);
    if (bad_line < 0)
        return reason_set(why, -ENOMEM, "no memory");
    *config = take_ptr(&loaded);
    return 0;
}
