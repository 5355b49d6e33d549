/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server process with both protocols, managed by the `lunette` command, killed and served again;
 * and clients of either protocol for its LUNs.
 *
 * What a test cannot go on without aborts it when it fails, and says what the server's log has.
 */
#ifndef TESTS_E2E_ISCSI_BOTH_H
#define TESTS_E2E_ISCSI_BOTH_H

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/nbd_server.h"

#define BOTH_A "iqn.2026-11.test:both-a"
#define BOTH_B "iqn.2026-11.test:both-b"

struct both
{
    char dir[64];
    struct nbd_server server;
    char portal[64];  /* of the process that serves now */
    char target[224]; /* its iSCSI name */
    bool has_portal;
    const char *const *options; /* more words for nbdkit, NULL at the end; NULL: none */
    char said[16384];           /* by the last command */
};

/* False: the engine of this build keeps nothing, so there is nothing to try. */
bool both_is_durable(void);

/* A pool of @size ("512M"), served; igroup "g" has BOTH_A and BOTH_B. */
void both_start(struct both *both, const char *size);
/* The same with more words for nbdkit: its options first, then parameters. */
void both_start_with(struct both *both, const char *size, const char *const *options);
/* Serves the pool again, with an iSCSI portal or without. */
void both_serve(struct both *both, bool with_portal);
/* Stops the server, which must end well; the pool's check must find nothing. Removes all. */
void both_end(struct both *both);
/* Removes all, for who has stopped the server himself. */
void both_clear(struct both *both);

/* Runs `lunette FORMAT...`, its exit status. What it says, also of errors, goes to both->said. */
int both_try(struct both *both, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same for what must be done. */
void both_do(struct both *both, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- iSCSI --------------------------------------------------------------------------------- */

/*
 * A session on @lun whose unit attentions are taken. The same @isid makes the same initiator port.
 * NULL: no session, or the LUN is not there.
 */
struct iscsi_context *both_try_login(const struct both *both, const char *initiator, unsigned isid,
                                     int lun);
struct iscsi_context *both_login(const struct both *both, const char *initiator, unsigned isid,
                                 int lun);

/* Frees the task. 0, a status, or with CHECK CONDITION sense key << 16 | ASC and ASCQ; -1: lost. */
int both_result(struct scsi_task *task);
/* @len bytes from or to @offset, both multiples of @sector. */
int both_read(struct iscsi_context *iscsi, int lun, uint32_t sector, void *buf, uint32_t len,
              uint64_t offset);
int both_write(struct iscsi_context *iscsi, int lun, uint32_t sector, const void *buf, uint32_t len,
               uint64_t offset);
int both_flush(struct iscsi_context *iscsi, int lun);
/* PERSISTENT RESERVE OUT. */
int both_reserve_out(struct iscsi_context *iscsi, int lun, int action, int type, uint64_t key,
                     uint64_t action_key, bool aptpl);

/* ---- NBD ----------------------------------------------------------------------------------- */

struct nbd_handle *both_try_connect(const struct both *both, const char *export);
struct nbd_handle *both_connect(const struct both *both, const char *export);

#endif
