/* SPDX-License-Identifier: BSD-3-Clause */
/* The key file, and AES-256-GCM of OpenSSL. */
#include "server/host_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/cleanup.h"

static const char key_magic[] = "lunette-key-1 ";
static const char key_digits[] = "0123456789abcdef";

void host_key_wipe(struct host_key *key)
{
    explicit_bzero(key, sizeof(*key));
}

static void key_print_hex(const uint8_t *bytes, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++)
    {
        *text++ = key_digits[bytes[i] >> 4];
        *text++ = key_digits[bytes[i] & 15];
    }
    *text = '\0';
}

static int key_fingerprint(struct host_key *key)
{
    static const char label[] = "lunette key fingerprint";
    uint8_t input[sizeof(label) + HOST_KEY_BYTES], digest[EVP_MAX_MD_SIZE];
    memcpy(input, label, sizeof(label));
    memcpy(input + sizeof(label), key->bytes, HOST_KEY_BYTES);
    int done = EVP_Digest(input, sizeof(input), digest, NULL, EVP_sha256(), NULL);
    explicit_bzero(input, sizeof(input));
    if (done != 1)
        return -EIO;
    key_print_hex(digest, HOST_KEY_FINGERPRINT_DIGITS / 2, key->fingerprint);
    return 0;
}

int host_key_parse(const char *text, struct host_key *key)
{
    size_t magic_len = strlen(key_magic), len = strcspn(text, "\n");
    if (strncmp(text, key_magic, magic_len) != 0 || len != magic_len + 2 * HOST_KEY_BYTES ||
        (text[len] && text[len + 1]))
        return -EINVAL;
    for (size_t i = 0; i < HOST_KEY_BYTES; i++)
    {
        const char *high = strchr(key_digits, text[magic_len + 2 * i]);
        const char *low = strchr(key_digits, text[magic_len + 2 * i + 1]);
        if (!high || !low)
        {
            host_key_wipe(key);
            return -EINVAL;
        }
        key->bytes[i] = (uint8_t)((high - key_digits) << 4 | (low - key_digits));
    }
    return key_fingerprint(key);
}

void host_key_print(const struct host_key *key, char *text)
{
    memcpy(text, key_magic, sizeof(key_magic));
    key_print_hex(key->bytes, HOST_KEY_BYTES, text + strlen(key_magic));
}

static void key_close(int *file)
{
    if (*file >= 0)
        close(*file);
}

/* systemd lets the unit's user read a credential by an ACL, whose mask stands where the group is.
 */
static mode_t key_forbidden_mode(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    size_t len = folder ? strlen(folder) : 0;
    bool is_credential = len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/';
    return is_credential ? 0037 : 0077;
}

int host_key_read(const char *path, struct host_key *key, struct reason *why)
{
    char text[HOST_KEY_TEXT_BYTES + 1] = "";
    struct stat stat;
    CLEANUP(key_close) int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &stat) < 0)
    {
        int r = -errno;
        return reason_set(why, r, "the key file %s cannot be read: %s", path, strerror(-r));
    }
    if (!S_ISREG(stat.st_mode))
        return reason_set(why, -EINVAL, "%s is not a key file", path);
    if (stat.st_mode & key_forbidden_mode(path))
        return reason_set(
            why, -EPERM,
            "others than its owner have rights on the key file %s (mode %04o); 'chmod "
            "600 %s' takes them away, but who read it has the key",
            path, (unsigned)stat.st_mode & 07777, path);
    ssize_t len = read(file, text, sizeof(text) - 1);
    int r = len < 0 ? -errno : host_key_parse(text, key);
    explicit_bzero(text, sizeof(text));
    return r < 0 ? reason_set(why, r, "%s is not a key file; 'lunette key create FILE' makes one",
                              path)
                 : 0;
}

static int key_write(int file, const struct host_key *key)
{
    char text[HOST_KEY_TEXT_BYTES];
    host_key_print(key, text);
    size_t len = strlen(text);
    text[len++] = '\n';
    ssize_t written = write(file, text, len);
    explicit_bzero(text, sizeof(text));
    if (written != (ssize_t)len)
        return written < 0 ? -errno : -ENOSPC;
    return fsync(file) < 0 ? -errno : 0;
}

/* A key that a power cut takes back would take the secrets along. */
static int key_sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder)
        return -ENOMEM;
    CLEANUP(key_close) int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return file < 0 || fsync(file) < 0 ? -errno : 0;
}

int host_key_create(const char *path, struct host_key *key, struct reason *why)
{
    if (RAND_bytes(key->bytes, HOST_KEY_BYTES) != 1)
        return reason_set(why, -EIO, "there are no random bytes for a key");
    CLEANUP(key_close) int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
    {
        int r = -errno;
        host_key_wipe(key);
        return reason_set(why, r, "%s: %s", path, strerror(-r));
    }
    int r = key_fingerprint(key);
    if (r == 0)
        r = key_write(file, key);
    if (r == 0)
        r = key_sync_folder(path);
    if (r == 0)
        return 0;
    unlink(path);
    host_key_wipe(key);
    return reason_set(why, r, "%s: %s", path, strerror(-r));
}

/* ---- wrapping ------------------------------------------------------------------------------ */

static void key_free_context(EVP_CIPHER_CTX **cipher)
{
    EVP_CIPHER_CTX_free(*cipher);
}

int host_key_wrap(const struct host_key *key, const void *context, size_t context_len,
                  const char *secret, uint8_t *wrapped)
{
    uint8_t *nonce = wrapped, *text = nonce + HOST_KEY_NONCE_BYTES;
    uint8_t *tag = text + HOST_KEY_SECRET_BYTES;
    int len;
    CLEANUP(key_free_context) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
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
    CLEANUP(key_free_context) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
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
