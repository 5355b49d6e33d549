/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/secret_memory.h"

#include <openssl/crypto.h>
#include <pthread.h>

enum
{
    SECRET_MEMORY_BYTES =
        65536, /* the limit of locked memory (RLIMIT_MEMLOCK) that old hosts have */
    SECRET_MEMORY_LEAST = 64,
    SECRET_MEMORY_LOCKED = 1, /* what OpenSSL calls success; 2: not locked */
};

static pthread_once_t secret_memory_once = PTHREAD_ONCE_INIT;
static bool secret_memory_locked; /* constant after that */

static void secret_memory_begin(void)
{
    secret_memory_locked =
        CRYPTO_secure_malloc_init(SECRET_MEMORY_BYTES, SECRET_MEMORY_LEAST) == SECRET_MEMORY_LOCKED;
}

bool secret_memory_is_locked(void)
{
    pthread_once(&secret_memory_once, secret_memory_begin);
    return secret_memory_locked;
}

void *secret_alloc(size_t size)
{
    pthread_once(&secret_memory_once, secret_memory_begin);
    void *memory = OPENSSL_secure_zalloc(size);
    return memory ? memory : OPENSSL_zalloc(size);
}

void secret_free(void *memory, size_t size)
{
    OPENSSL_secure_clear_free(memory, size);
}
