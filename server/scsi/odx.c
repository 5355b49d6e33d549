/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens of offloaded copies: their table, their snapshots, and the thread that lets them expire.
 */
#include "server/scsi/odx.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"

enum
{
    ODX_RESULTS_MAX = 256,
    ODX_SWEEP_MS = 1000,
};

#define NS_PER_S UINT64_C(1000000000)

struct odx_tokens
{
    struct scsi_target *target;
    struct env *env;
    struct lock lock; /* LOCK_RANK_LU; not held over engine calls */
    struct condition wake;
    struct list list; /* under lock, as all below */
    size_t count;
    bool is_stopping, has_thread;
    pthread_t thread;
    struct odx_result *results; /* a ring of ODX_RESULTS_MAX */
    size_t next_result;
};

/* ---- tokens -------------------------------------------------------------------------------- */

/* Out of the list already, and nobody uses it. */
static void odx_token_free(struct odx_tokens *tokens, struct odx_token *token)
{
    lun_close(token->handle);
    if (token->moment.snapshot[0])
        moment_delete(tokens->target->pool, &token->moment);
    free(token);
}

/* Those that have expired, or all; out of the list. The caller holds lock. */
static void odx_take_expired_locked(struct odx_tokens *tokens, bool all, struct list *expired)
{
    uint64_t now = env_passed_ns(tokens->env);
    list_for_each_safe (token, &tokens->list, struct odx_token, link)
    {
        if (token->users || (!all && !token->is_deleted && token->expires_ns > now))
            continue;
        list_remove(&token->link);
        list_add_tail(expired, &token->link);
        tokens->count--;
    }
}

static void odx_free_list(struct odx_tokens *tokens, struct list *expired)
{
    list_for_each_safe (token, expired, struct odx_token, link)
    {
        list_remove(&token->link);
        odx_token_free(tokens, token);
    }
}

static void *odx_thread(void *opaque)
{
    struct odx_tokens *tokens = opaque;
    lock_take(&tokens->lock);
    while (!tokens->is_stopping)
    {
        struct list expired;
        list_init(&expired);
        odx_take_expired_locked(tokens, false, &expired);
        if (list_is_empty(&expired))
        {
            if (tokens->count)
                condition_wait_ms(&tokens->wake, &tokens->lock, ODX_SWEEP_MS);
            else
                condition_wait(&tokens->wake, &tokens->lock);
            continue;
        }
        lock_release(&tokens->lock);
        odx_free_list(tokens, &expired);
        lock_take(&tokens->lock);
    }
    lock_release(&tokens->lock);
    return NULL;
}

/* 0: there is room, and a thread that ends it. */
static int odx_reserve(struct odx_tokens *tokens)
{
    struct list expired;
    list_init(&expired);
    int r = 0;
    lock_take(&tokens->lock);
    odx_take_expired_locked(tokens, false, &expired);
    if (tokens->count >= TOKENS_MAX)
        r = -ENOSPC;
    if (r == 0 && !tokens->has_thread)
    {
        r = -pthread_create(&tokens->thread, NULL, odx_thread, tokens);
        tokens->has_thread = r == 0;
    }
    if (r == 0)
        tokens->count++;
    lock_release(&tokens->lock);
    odx_free_list(tokens, &expired);
    return r;
}

/* The source of the token's data: a new snapshot, or the LUN itself if that is one. */
static int odx_open_source(struct odx_tokens *tokens, struct scsi_lu *lu, struct odx_token *token)
{
    struct pool *pool = tokens->target->pool;
    struct lun_info info;
    int r = lun_describe(lu->handle, &info);
    if (r < 0)
        return r;
    if (lu->is_snapshot)
        return lun_open(pool, info.name, LUN_READ_ONLY, &token->handle, NULL);
    token->moment = (struct moment){.prefix = ODX_STORE_PREFIX, .lun_id = info.id};
    snprintf(token->moment.snapshot, sizeof(token->moment.snapshot), "odx-%016" PRIx64, token->id);
    r = moment_create(pool, &token->moment, "token of an offloaded copy", NULL);
    return r < 0 ? r : moment_open(pool, &token->moment, &token->handle, NULL);
}

int odx_token_create(struct odx_tokens *tokens, struct scsi_lu *lu, struct odx_token *token)
{
    int r = odx_reserve(tokens);
    if (r < 0)
        return r;
    tokens->env->random_bytes(tokens->env, &token->id, sizeof(token->id));
    tokens->env->random_bytes(tokens->env, token->secret, sizeof(token->secret));
    token->lun_id = lu->lun_id;
    memcpy(token->uuid, lu->uuid, sizeof(token->uuid));
    token->sector_bytes = lu->sector_bytes;
    r = odx_open_source(tokens, lu, token);
    if (r < 0 && token->moment.snapshot[0])
        moment_delete(tokens->target->pool, &token->moment);
    AUTO_LOCK(&tokens->lock);
    if (r < 0)
    {
        tokens->count--;
        return r;
    }
    token->expires_ns = env_passed_ns(tokens->env) + token->timeout_s * NS_PER_S;
    list_add_tail(&tokens->list, &token->link);
    condition_wake_all(&tokens->wake);
    return 0;
}

/* In constant time, since it is a secret. */
static bool odx_secret_equal(const uint8_t *a, const uint8_t *b)
{
    unsigned difference = 0;
    for (size_t i = 0; i < ODX_SECRET_BYTES; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

int odx_token_get(struct odx_tokens *tokens, uint64_t id, const uint8_t *secret,
                  struct odx_token **found)
{
    AUTO_LOCK(&tokens->lock);
    uint64_t now = env_passed_ns(tokens->env);
    list_for_each (token, &tokens->list, struct odx_token, link)
    {
        if (token->id != id || !odx_secret_equal(token->secret, secret))
            continue;
        if (token->is_deleted || token->expires_ns <= now)
            break;
        token->users++;
        *found = token;
        return 0;
    }
    return -ENOENT;
}

void odx_token_put(struct odx_tokens *tokens, struct odx_token *token, bool delete_it)
{
    AUTO_LOCK(&tokens->lock);
    token->users--;
    token->expires_ns = env_passed_ns(tokens->env) + token->timeout_s * NS_PER_S;
    token->is_deleted = token->is_deleted || delete_it;
    if (token->is_deleted)
        condition_wake_all(&tokens->wake);
}

/* ---- results ------------------------------------------------------------------------------- */

static struct odx_result *odx_find_result_locked(struct odx_tokens *tokens,
                                                 const struct pr_port *port, uint64_t lun_id,
                                                 uint32_t list_id)
{
    for (size_t i = 0; i < ODX_RESULTS_MAX; i++)
    {
        struct odx_result *result = &tokens->results[i];
        if (result->action && result->list_id == list_id && result->lun_id == lun_id &&
            pr_port_equal(&result->port, port))
            return result;
    }
    return NULL;
}

void odx_result_put(struct odx_tokens *tokens, const struct odx_result *result)
{
    AUTO_LOCK(&tokens->lock);
    struct odx_result *place =
        odx_find_result_locked(tokens, &result->port, result->lun_id, result->list_id);
    if (!place)
    {
        place = &tokens->results[tokens->next_result];
        tokens->next_result = (tokens->next_result + 1) % ODX_RESULTS_MAX;
    }
    *place = *result;
}

bool odx_result_get(struct odx_tokens *tokens, const struct pr_port *port, uint64_t lun_id,
                    uint32_t list_id, struct odx_result *result)
{
    AUTO_LOCK(&tokens->lock);
    const struct odx_result *found = odx_find_result_locked(tokens, port, lun_id, list_id);
    if (found)
        *result = *found;
    return found;
}

/* ---- lifetime ------------------------------------------------------------------------------ */

int odx_create(struct scsi_target *target, struct odx_tokens **out)
{
    struct odx_tokens *tokens = calloc(1, sizeof(*tokens));
    struct odx_result *results = calloc(ODX_RESULTS_MAX, sizeof(*results));
    if (!tokens || !results)
    {
        free(tokens);
        free(results);
        return -ENOMEM;
    }
    tokens->target = target;
    tokens->env = env_system();
    tokens->results = results;
    lock_init(&tokens->lock, LOCK_RANK_LU);
    condition_init(&tokens->wake);
    list_init(&tokens->list);
    *out = tokens;
    return moment_delete_left(target->pool, ODX_STORE_PREFIX);
}

void odx_destroy(struct odx_tokens *tokens)
{
    if (!tokens)
        return;
    lock_take(&tokens->lock);
    tokens->is_stopping = true;
    condition_wake_all(&tokens->wake);
    lock_release(&tokens->lock);
    if (tokens->has_thread)
        pthread_join(tokens->thread, NULL);
    struct list all;
    list_init(&all);
    lock_take(&tokens->lock);
    odx_take_expired_locked(tokens, true, &all);
    lock_release(&tokens->lock);
    odx_free_list(tokens, &all);
    INVARIANT(list_is_empty(&tokens->list));
    condition_destroy(&tokens->wake);
    lock_destroy(&tokens->lock);
    free(tokens->results);
    free(tokens);
}
