/* SPDX-License-Identifier: BSD-3-Clause */
/* NBD addresses: of a server, of one of its exports, in pieces. */
#ifndef SERVER_CTL_URI_H
#define SERVER_CTL_URI_H

#include <stdbool.h>

#include "lun/base/err.h"

struct nbd_address
{
    bool is_tls;
    char *socket; /* NULL: TCP */
    char *host;
    char *port;
    char *user;         /* of a key; NULL: not given, as those below */
    char *certificates; /* the folder */
    char *keys;         /* the file of pre-shared keys */
};

/* "nbd+unix:///?socket=PATH" and "nbd://HOST:PORT/"; free them. NULL: no memory. */
char *uri_of_socket(const char *path);
char *uri_of_address(const char *host, const char *port);

/* @server over TLS: with the certificates in a folder, or with the key of @user in a file; each may
 * be NULL. Free it. NULL: no memory. */
char *uri_with_tls(const char *server, const char *certificates, const char *keys,
                   const char *user);

/* @server, with @host in place of an address that stands for all of a machine; free it. */
char *uri_reachable(const char *server, const char *host);

/* @server (as above) with the export @name put in; free it. NULL: no memory, or not such a URI. */
char *uri_of_export(const char *server, const char *name);

/* Takes @server apart. -EINVAL, -ENOMEM. */
MUST_CHECK int uri_parse(const char *server, struct nbd_address *address);
void uri_free_address(struct nbd_address *address);

#endif
