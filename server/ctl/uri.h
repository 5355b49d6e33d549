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
};

/* "nbd+unix:///?socket=PATH" and "nbd://HOST:PORT/"; free them. NULL: no memory. */
char *uri_of_socket(const char *path);
char *uri_of_address(const char *host, const char *port, bool tls);

/* @server (as above) with the export @name put in; free it. NULL: no memory, or not such a URI. */
char *uri_of_export(const char *server, const char *name);

/* Takes @server apart. -EINVAL, -ENOMEM. */
MUST_CHECK int uri_parse(const char *server, struct nbd_address *address);
void uri_free_address(struct nbd_address *address);

#endif
