/* SPDX-License-Identifier: BSD-3-Clause */
/* CHAP with the hashes of OpenSSL. */
#include "server/iscsi/chap.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/iscsi/text.h"

static const struct chap_hash
{
    unsigned algorithm;
    size_t len;
    const EVP_MD *(*method)(void);
} chap_hashes[] = {
    {CHAP_MD5, 16, EVP_md5},
    {CHAP_SHA1, 20, EVP_sha1},
    {CHAP_SHA256, 32, EVP_sha256},
    {CHAP_SHA3_256, 32, EVP_sha3_256},
};

static const struct chap_hash *chap_find_hash(unsigned algorithm)
{
    for (size_t i = 0; i < ARRAY_SIZE(chap_hashes); i++)
        if (chap_hashes[i].algorithm == algorithm)
            return &chap_hashes[i];
    return NULL;
}

size_t chap_digest_len(unsigned algorithm)
{
    const struct chap_hash *hash = chap_find_hash(algorithm);
    return hash ? hash->len : 0;
}

int chap_choose_algorithm(const char *list, unsigned *algorithm)
{
    char item[16];
    while (text_next_item(&list, item, sizeof(item)))
    {
        uint64_t number;
        uint8_t probe[CHAP_DIGEST_MAX];
        if (text_get_number(item, 255, &number) < 0 || !chap_find_hash((unsigned)number))
            continue;
        /* A library in FIPS mode knows MD5 and refuses it. */
        if (chap_respond((unsigned)number, 0, "", probe, 0, probe) < 0)
            continue;
        *algorithm = (unsigned)number;
        return 0;
    }
    return -ENOENT;
}

static void chap_cleanup_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

int chap_respond(unsigned algorithm, uint8_t id, const char *secret, const uint8_t *challenge,
                 size_t challenge_len, uint8_t *digest)
{
    const struct chap_hash *hash = chap_find_hash(algorithm);
    if (!hash)
        return -EINVAL;
    __attribute__((cleanup(chap_cleanup_context))) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context)
        return -ENOMEM;
    uint8_t result[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestInit_ex(context, hash->method(), NULL) != 1 ||
        EVP_DigestUpdate(context, &id, 1) != 1 ||
        EVP_DigestUpdate(context, secret, strlen(secret)) != 1 ||
        EVP_DigestUpdate(context, challenge, challenge_len) != 1 ||
        EVP_DigestFinal_ex(context, result, &len) != 1 || len != hash->len)
        return -EIO;
    memcpy(digest, result, hash->len);
    explicit_bzero(result, sizeof(result));
    return 0;
}

bool chap_equal(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a, *y = b;
    unsigned difference = 0;
    for (size_t i = 0; i < len; i++)
        difference |= (unsigned)(x[i] ^ y[i]);
    return difference == 0;
}

bool chap_equal_text(const char *ours, const char *theirs)
{
    size_t our_len = strlen(ours), their_len = strlen(theirs);
    unsigned difference = our_len != their_len;
    for (size_t i = 0; i < their_len; i++)
        difference |= (unsigned)((uint8_t)theirs[i] ^ (uint8_t)ours[our_len ? i % our_len : 0]);
    return difference == 0;
}

bool chap_verify(unsigned algorithm, uint8_t id, const char *secret, const uint8_t *challenge,
                 size_t challenge_len, const uint8_t *response, size_t response_len)
{
    uint8_t digest[CHAP_DIGEST_MAX];
    if (chap_respond(algorithm, id, secret, challenge, challenge_len, digest) < 0)
        return false;
    bool is_right =
        response_len == chap_digest_len(algorithm) && chap_equal(digest, response, response_len);
    explicit_bzero(digest, sizeof(digest));
    return is_right;
}
