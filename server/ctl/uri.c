/* SPDX-License-Identifier: BSD-3-Clause */
/* NBD addresses. Export names need no escaping: lun.h allows only characters that URIs do. */
#include "server/ctl/uri.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"

static char *uri_escape(const char *text)
{
    char *escaped = malloc(3 * strlen(text) + 1), *at = escaped;
    for (; escaped && *text; text++)
    {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~/:@+", c))
            *at++ = (char)c;
        else
            at += snprintf(at, 4, "%%%02X", c);
    }
    if (escaped)
        *at = '\0';
    return escaped;
}

static int uri_digit(char c)
{
    const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return found ? (int)(found - digits) : -1;
}

static char *uri_unescape(const char *text, size_t len)
{
    char *plain = malloc(len + 1), *at = plain;
    for (size_t i = 0; plain && i < len; i++)
    {
        int high = text[i] == '%' && i + 2 < len ? uri_digit(text[i + 1]) : -1;
        int low = high >= 0 ? uri_digit(text[i + 2]) : -1;
        if (low >= 0)
        {
            *at++ = (char)(high << 4 | low);
            i += 2;
        }
        else
            *at++ = text[i];
    }
    if (plain)
        *at = '\0';
    return plain;
}

char *uri_of_socket(const char *path)
{
    AUTO_FREE char *escaped = uri_escape(path);
    char *uri;
    return escaped && asprintf(&uri, "nbd+unix:///?socket=%s", escaped) >= 0 ? uri : NULL;
}

char *uri_of_address(const char *host, const char *port)
{
    char *uri;
    bool is_ipv6 = strchr(host, ':');
    int n = asprintf(&uri, "nbd://%s%s%s:%s/", is_ipv6 ? "[" : "", *host ? host : "0.0.0.0",
                     is_ipv6 ? "]" : "", port);
    return n >= 0 ? uri : NULL;
}

char *uri_with_tls(const char *server, const char *certificates, const char *keys, const char *user)
{
    char *uri;
    AUTO_FREE char *name = uri_escape(user ? user : "");
    AUTO_FREE char *place = uri_escape(certificates ? certificates : keys ? keys : "");
    const char *after = strstr(server, "://");
    if (!name || !place || !after || strncmp(server, "nbd", 3) != 0)
        return NULL;
    int n = asprintf(&uri, "nbds%.*s://%s%s%s%s%s%s", (int)(after - server - 3), server + 3, name,
                     *name ? "@" : "", after + 3,
                     !*place               ? ""
                     : strchr(server, '?') ? "&"
                                           : "?",
                     certificates ? "tls-certificates="
                     : keys       ? "tls-psk-file="
                                  : "",
                     place);
    return n >= 0 ? uri : NULL;
}

char *uri_reachable(const char *server, const char *host)
{
    static const char *const wildcards[] = {"://0.0.0.0:", "://[::]:", "@0.0.0.0:", "@[::]:"};
    char *uri;
    for (size_t i = 0; i < sizeof(wildcards) / sizeof(*wildcards); i++)
    {
        const char *at = strstr(server, wildcards[i]);
        if (!at || (strchr(server, '?') && at > strchr(server, '?')))
            continue;
        int lead = (int)(at - server) + (int)strcspn(wildcards[i], "0[");
        int n = asprintf(&uri, "%.*s%s%s", lead, server, host, at + strlen(wildcards[i]) - 1);
        return n >= 0 ? uri : NULL;
    }
    return strdup(server);
}

char *uri_of_export(const char *server, const char *name)
{
    char *uri;
    const char *query = strchrnul(server, '?');
    int base_len = (int)(query - server);
    const char *slash = base_len > 0 && server[base_len - 1] == '/' ? "" : "/";
    return asprintf(&uri, "%.*s%s%s%s", base_len, server, slash, name, query) >= 0 ? uri : NULL;
}

/* HOST[:PORT] or [IPV6][:PORT] in @len bytes. */
static int uri_parse_authority(const char *text, size_t len, struct nbd_address *address)
{
    const char *end = text + len;
    const char *host_end =
        len > 0 && *text == '[' ? memchr(text, ']', len) : memchr(text, ':', len);
    const char *host = len > 0 && *text == '[' ? text + 1 : text;
    const char *port = "10809";
    size_t port_len = 5;
    if (!host_end)
        host_end = end;
    const char *colon = host_end < end && *host_end == ']' ? host_end + 1 : host_end;
    if (colon < end && *colon == ':')
    {
        port = colon + 1;
        port_len = (size_t)(end - port);
    }
    address->host = uri_unescape(host, (size_t)(host_end - host));
    address->port = strndup(port, port_len);
    return address->host && address->port ? 0 : -ENOMEM;
}

/* The value of @name in the query of @server; *value stays NULL if there is none. */
static int uri_parse_query(const char *server, const char *name, char **value)
{
    const char *at = strchr(server, '?');
    size_t len = strlen(name);
    for (; at; at = strchr(at + 1, '&'))
    {
        if (strncmp(at + 1, name, len) != 0 || at[1 + len] != '=')
            continue;
        at += len + 2;
        *value = uri_unescape(at, strcspn(at, "&"));
        return *value ? 0 : -ENOMEM;
    }
    return 0;
}

/* All but what stands before the "://". */
static int uri_parse_rest(const char *server, const char *rest, struct nbd_address *address)
{
    size_t len = strcspn(rest, "/?");
    const char *at = memchr(rest, '@', len);
    if (at)
    {
        address->user = uri_unescape(rest, (size_t)(at - rest));
        if (!address->user)
            return -ENOMEM;
        len -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    int r = uri_parse_query(server, "tls-certificates", &address->certificates);
    if (r == 0)
        r = uri_parse_query(server, "tls-psk-file", &address->keys);
    if (r < 0 || !strstr(server, "+unix:"))
        return r < 0 ? r : uri_parse_authority(rest, len, address);
    r = uri_parse_query(server, "socket", &address->socket);
    return r == 0 && !address->socket ? -EINVAL : r;
}

int uri_parse(const char *server, struct nbd_address *address)
{
    struct nbd_address parsed = {.is_tls = strncmp(server, "nbds", 4) == 0};
    const char *after = strstr(server, "://");
    if (strncmp(server, "nbd", 3) != 0 || !after)
        return -EINVAL;
    int r = uri_parse_rest(server, after + strlen("://"), &parsed);
    if (r < 0)
    {
        uri_free_address(&parsed);
        return r;
    }
    *address = parsed;
    return 0;
}

void uri_free_address(struct nbd_address *address)
{
    free(address->socket);
    free(address->host);
    free(address->port);
    free(address->user);
    free(address->certificates);
    free(address->keys);
    *address = (struct nbd_address){0};
}
