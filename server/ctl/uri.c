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

char *uri_of_address(const char *host, const char *port, bool tls)
{
    char *uri;
    bool is_ipv6 = strchr(host, ':');
    int n = asprintf(&uri, "%s://%s%s%s:%s/", tls ? "nbds" : "nbd", is_ipv6 ? "[" : "",
                     *host ? host : "localhost", is_ipv6 ? "]" : "", port);
    return n >= 0 ? uri : NULL;
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

int uri_parse(const char *server, struct nbd_address *address)
{
    struct nbd_address parsed = {.is_tls = strncmp(server, "nbds", 4) == 0};
    const char *after = strstr(server, "://");
    const char *query = strchr(server, '?');
    if (strncmp(server, "nbd", 3) != 0 || !after)
        return -EINVAL;
    after += strlen("://");
    int r;
    if (strstr(server, "+unix:"))
    {
        const char *socket = query ? strstr(query, "socket=") : NULL;
        if (!socket)
            return -EINVAL;
        socket += strlen("socket=");
        parsed.socket = uri_unescape(socket, strcspn(socket, "&"));
        r = parsed.socket ? 0 : -ENOMEM;
    }
    else
        r = uri_parse_authority(after, strcspn(after, "/?"), &parsed);
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
    *address = (struct nbd_address){0};
}
