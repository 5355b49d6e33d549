/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key of a host, kept outside the pool, that wraps secrets which lie in it: AES-256-GCM of
 * OpenSSL, a random nonce for each.
 *
 * A key file is one line of text: "lunette-key-1", the key's id (16 hex digits), the key (64). Who
 * else can read the file has the secrets, so one with rights for others is refused. The id is
 * random too, and is what may be shown of a key.
 */
#ifndef SERVER_HOST_KEY_H
#define SERVER_HOST_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

enum
{
    HOST_KEY_BYTES = 32,
    HOST_KEY_ID_DIGITS = 16,
    HOST_KEY_LINE_CHARS = 95, /* of the file, without its newline */
    HOST_KEY_TEXT_BYTES = 97, /* with newline and NUL */
    HOST_KEY_SECRET_BYTES = 256,
    HOST_KEY_NONCE_BYTES = 12,
    HOST_KEY_TAG_BYTES = 16,
    /* Of any secret: how long it is does not show. */
    HOST_KEY_WRAPPED_BYTES = HOST_KEY_NONCE_BYTES + HOST_KEY_SECRET_BYTES + HOST_KEY_TAG_BYTES,
};

struct host_key
{
    uint8_t bytes[HOST_KEY_BYTES];
    char id[HOST_KEY_ID_DIGITS + 1];
};

/* A new one. -EIO: there are no random bytes. */
MUST_CHECK int host_key_choose(struct host_key *key);
/* Makes a key and the file @path, 0600, durably. -EEXIST: it is there, and stays as it is. */
MUST_CHECK int host_key_create(const char *path, struct host_key *key, struct reason *why);
/* -EPERM: others may read it. -EINVAL: it is no key file. */
MUST_CHECK int host_key_read(const char *path, struct host_key *key, struct reason *why);

/* By which a key file is known again without being read. Zeros: it could not be looked at. */
struct host_key_mark
{
    uint64_t device, inode, size, changed_ns;
};
void host_key_take_mark(const char *path, struct host_key_mark *mark);
/*
 * Whether the file @path, of which @mark was taken, still holds the key @id that was read from it.
 * -ESTALE: it does not, as @why says. 0 also if that cannot be told: a server that became another
 * user may not read the file.
 */
MUST_CHECK int host_key_compare(const char *path, const struct host_key_mark *mark, const char *id,
                                struct reason *why);

/* The line of a key file, newline or not. -EINVAL. */
MUST_CHECK int host_key_parse(const char *text, struct host_key *key);
/* The reverse, without a newline; @text has HOST_KEY_TEXT_BYTES. Wipe it. */
void host_key_print(const struct host_key *key, char *text);
void host_key_wipe(struct host_key *key);

/*
 * Wraps @secret, which has HOST_KEY_SECRET_BYTES. It unwraps only with the same @context: what the
 * secret is for, so that no entry can stand in for another.
 */
MUST_CHECK int host_key_wrap(const struct host_key *key, const void *context, size_t context_len,
                             const char *secret, uint8_t *wrapped);
/* -EKEYREJECTED: another key, another context, or not one bit as it was. Then @secret is zeros. */
MUST_CHECK int host_key_unwrap(const struct host_key *key, const void *context, size_t context_len,
                               const uint8_t *wrapped, char *secret);

#endif
