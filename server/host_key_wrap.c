/* SPDX-License-Identifier: BSD-3-Clause */
/* AES-256-GCM of OpenSSL. Apart from the key file, as the command line has no use for a libcrypto.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "server/host_key.h"

static void key_free_cipher(EVP_CIPHER_CTX **cipher)
{
    EVP_CIPHER_CTX_free(*cipher);
}

int host_key_wrap(const struct host_key *key, const void *context, size_t context_len,
                  const char *secret, uint8_t *wrapped)
{
    uint8_t *nonce = wrapped, *text = nonce + HOST_KEY_NONCE_BYTES;
    uint8_t *tag = text + HOST_KEY_SECRET_BYTES;
    int len;
    CLEANUP(key_free_cipher) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (!cipher)
        return -ENOMEM;
    if (RAND_bytes(nonce, HOST_KEY_NONCE_BYTES) != 1 ||
        EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key->bytes, nonce) != 1 ||
        EVP_EncryptUpdate(cipher, NULL, &len, context, (int)context_len) != 1 ||
        EVP_EncryptUpdate(cipher, text, &len, (const uint8_t *)secret, HOST_KEY_SECRET_BYTES) !=
            1 ||
        EVP_EncryptFinal_ex(cipher, tag, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, HOST_KEY_TAG_BYTES, tag) != 1)
        return -EIO;
    return 0;
}

int host_key_unwrap(const struct host_key *key, const void *context, size_t context_len,
                    const uint8_t *wrapped, char *secret)
{
    const uint8_t *nonce = wrapped, *text = nonce + HOST_KEY_NONCE_BYTES;
    uint8_t tag[HOST_KEY_TAG_BYTES];
    int len;
    memcpy(tag, text + HOST_KEY_SECRET_BYTES, sizeof(tag));
    CLEANUP(key_free_cipher) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (!cipher)
        return -ENOMEM;
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key->bytes, nonce) == 1 &&
        EVP_DecryptUpdate(cipher, NULL, &len, context, (int)context_len) == 1 &&
        EVP_DecryptUpdate(cipher, (uint8_t *)secret, &len, text, HOST_KEY_SECRET_BYTES) == 1 &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag) == 1 &&
        EVP_DecryptFinal_ex(cipher, (uint8_t *)secret + len, &len) == 1)
        return 0;
    explicit_bzero(secret, HOST_KEY_SECRET_BYTES);
    return -EKEYREJECTED;
}
