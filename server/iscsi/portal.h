/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iSCSI target: portals, their threads, and what management may ask of them.
 */
#ifndef SERVER_ISCSI_PORTAL_H
#define SERVER_ISCSI_PORTAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "server/access.h"
#include "server/limits.h"
#include "server/scsi/scsi.h"

struct iscsi_server;

enum
{
    ISCSI_PORTALS_MAX = 16,
    ISCSI_DEFAULT_PORT = 3260,
    ISCSI_ADDRESS_MAX = 64, /* "[v6]:port" with its NUL */
};

struct iscsi_options
{
    const char *const *portals; /* "ADDRESS:PORT", "[ADDRESS]:PORT"; port 0: any */
    size_t portal_count;
    const char *target_name;  /* NULL: access_target_name() */
    const char *target_alias; /* or NULL */
    const char *redirect;     /* as for iscsi_set_redirect(), from the first login on; or NULL */
    bool redirect_permanently;
    unsigned threads; /* loops; 0: one for two processors */
    unsigned workers; /* threads for I/O that blocks, at most; 0: 16 */
    struct iscsi_limits limits;
};

/*
 * Listens on all portals and starts the threads. Copies @options; @scsi and @access outlive it. The
 * limits of a portal are shared by all. On failure nothing is left running and @why says which
 * portal.
 */
MUST_CHECK int iscsi_start(struct scsi_target *scsi, struct access *access,
                           const struct iscsi_options *options, struct iscsi_server **server,
                           struct reason *why);

/*
 * Tells the initiators, ends all sessions and connections, waits for commands that run, joins the
 * threads. Initiators that are to go on log in again at the next start. NULL is accepted.
 */
void iscsi_stop(struct iscsi_server *server);

/* The address a portal listens on, with its real port. @index is below the number of portals. */
const char *iscsi_portal_address(const struct iscsi_server *server, size_t index);
size_t iscsi_portal_count(const struct iscsi_server *server);
const char *iscsi_target_name(const struct iscsi_server *server);

/* Sends new logins elsewhere; NULL ends it. Sessions that there are go on. */
MUST_CHECK int iscsi_set_redirect(struct iscsi_server *server, const char *address,
                                  bool permanently, struct reason *why);

struct iscsi_session_info
{
    char initiator[SCSI_NAME_MAX + 1];
    char alias[SCSI_NAME_MAX + 1];
    uint8_t isid[6];
    uint16_t tsih; /* what names the session in iscsi_session_terminate() */
    bool is_discovery;
    bool is_authenticated; /* by CHAP */
    bool header_digest, data_digest;
    char remote_address[ISCSI_ADDRESS_MAX], local_address[ISCSI_ADDRESS_MAX];
    uint64_t age_ms;
    uint64_t command_count, read_bytes, written_bytes;
    uint32_t outstanding;
};

/* All sessions, oldest first. Free *list. Waits for the loops, so not from one of them. */
MUST_CHECK int iscsi_session_list(struct iscsi_server *server, struct iscsi_session_info **list,
                                  size_t *count);

/*
 * Ends the sessions of @initiator, or the one with @tsih if that is not 0. The initiator is told,
 * and may log in again. -ENOENT: no such session. *ended gets their number; it may be NULL.
 */
MUST_CHECK int iscsi_session_terminate(struct iscsi_server *server, const char *initiator,
                                       uint16_t tsih, size_t *ended, struct reason *why);

#endif
