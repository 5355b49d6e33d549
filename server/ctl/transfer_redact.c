/* SPDX-License-Identifier: BSD-3-Clause */
/* URLs without what is secret in them. A library of its own: the CLI shows them, too. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/ctl/transfer.h"

char *transfer_redact(const char *place)
{
    /* An export name may hold an @ (LUN@SNAPSHOT), an iSCSI name may not, but a password any byte.
     */
    bool is_iscsi = strncasecmp(place, "iscsi://", 8) == 0;
    bool is_nbd = strncasecmp(place, "nbd://", 6) == 0 || strncasecmp(place, "nbds://", 7) == 0;
    const char *authority = is_iscsi || is_nbd ? strstr(place, "://") + 3 : place;
    const char *host = authority;
    /* What the target has to prove stands at the end: ?target_user=USER&target_password=SECRET. */
    const char *mutual = is_iscsi ? strcasestr(authority, "target_password=") : NULL;
    const char *end = mutual ? mutual : place + strlen(place);
    if (is_iscsi || is_nbd)
        for (const char *p = authority; p < end && (is_iscsi || *p != '/'); p++)
            if (*p == '@')
                host = p + 1;
    char *text = NULL;
    int len = asprintf(&text, "%.*s%.*s%s", (int)(authority - place), place, (int)(end - host),
                       host, mutual ? "target_password=..." : "");
    return len < 0 ? NULL : text;
}
