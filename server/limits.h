/* SPDX-License-Identifier: BSD-3-Clause */
/* What keeps one client from being a burden to the others, and an admin may set: [iscsi] in the
 * conf file. */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#include <stdint.h>

/* 0 in any of them: the default. */
struct iscsi_limits
{
    uint32_t connections;            /* at a time, logged in or not; 2048 */
    uint32_t connections_per_source; /* of one address; 512 */
    uint32_t half_open;              /* of these in login; the oldest makes room; 256 */
    uint32_t sessions;               /* 1024 */
    uint32_t queue_depth;            /* commands outstanding in a session; 128 */
    uint32_t immediate;              /* immediate commands outstanding in a session; 16 */
    uint32_t login_ms;               /* for a whole login; 15000 */
    uint32_t idle_ms;                /* of silence before a NOP-In asks; 30000 */
    uint32_t answer_ms;              /* for the answer to it; 15000 */
    uint32_t write_ms;               /* without progress in sending; 30000 */
    uint32_t output_bytes; /* queued for sending in a session before commands wait; 4 MiB */
    uint32_t data_mib;     /* of payload buffers in all sessions together; 1024 */
};

#endif
