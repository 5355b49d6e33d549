/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tokens of offloaded copies (ODX): who made what, and for how long.
 *
 * A token stands for ranges of a LUN as they were when it was made. So it holds a snapshot of the
 * LUN, named "odx-" and the token's number, which goes when the token is deleted, has not been used
 * for its time, or the server ends; a note in the store lets the next start remove one that a crash
 * left. All functions may be called from any thread and take no lock but their own and the
 * engine's.
 */
#ifndef SERVER_SCSI_ODX_H
#define SERVER_SCSI_ODX_H

#include "server/moment.h"
#include "server/scsi/thirdparty.h"

enum
{
    ODX_TOKEN_BYTES = 512,
    ODX_SECRET_BYTES = 16,
};

struct odx_range
{
    uint64_t offset_bytes, len_bytes;
};

struct odx_token
{
    uint64_t id;
    uint8_t secret[ODX_SECRET_BYTES];
    uint64_t lun_id;
    uint8_t uuid[16]; /* of the LUN it was made from */
    uint32_t sector_bytes;
    struct lun *handle;   /* on the snapshot, read-only */
    struct moment moment; /* without one if the source is a snapshot itself */
    struct odx_range ranges[TOKEN_RANGES_MAX];
    size_t range_count;
    uint64_t len_bytes;
    uint32_t timeout_s;
    uint64_t expires_ns;
    uint32_t users; /* copies that read from it */
    bool is_deleted;
    struct list link;
};

/* Makes one of @lu's ranges; the caller filled in ranges, range_count, len_bytes and timeout_s. */
MUST_CHECK int odx_token_create(struct odx_tokens *tokens, struct scsi_lu *lu,
                                struct odx_token *token);
/* The token with this id and secret, in use until odx_token_put(). -ENOENT: unknown or expired. */
MUST_CHECK int odx_token_get(struct odx_tokens *tokens, uint64_t id, const uint8_t *secret,
                             struct odx_token **token);
void odx_token_put(struct odx_tokens *tokens, struct odx_token *token, bool delete_it);

/* What RECEIVE ROD TOKEN INFORMATION is told: the result of the last command with a list id. */
struct odx_result
{
    struct pr_port port;
    uint64_t lun_id;
    uint32_t list_id;
    uint8_t action;  /* 10h, 11h */
    uint8_t status;  /* COPY OPERATION STATUS */
    uint64_t blocks; /* transferred, or in the token */
    bool has_token;
    uint8_t token[ODX_TOKEN_BYTES];
    uint8_t sense_len;
    uint8_t sense[SCSI_SENSE_MAX];
};

/* Keeps a copy; the oldest goes when there are too many. */
void odx_result_put(struct odx_tokens *tokens, const struct odx_result *result);
bool odx_result_get(struct odx_tokens *tokens, const struct pr_port *port, uint64_t lun_id,
                    uint32_t list_id, struct odx_result *result);

#endif
