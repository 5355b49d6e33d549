/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a CHAP record is stored, see access_store.c: in clear, or wrapped by the key of the host.
 *
 * The wrapped form has no NUL in it. A program that knows only the clear one, strings that end with
 * a NUL, finds no end of the first and refuses the lot, rather than take it for a user and a secret
 * or ask for none.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/access_internal.h"

static const char wrapped_magic[] = "wrapped-chap-1";

enum
{
    WRAPPED_PAIR_CHARS = 2 + 2 * ACCESS_CHAP_USER_MAX + 2 * HOST_KEY_WRAPPED_BYTES,
    CONTEXT_BYTES = 32 + ACCESS_INITIATOR_MAX + ACCESS_CHAP_USER_MAX,
};

static_assert(sizeof(((struct access_chap *)0)->secret) == HOST_KEY_SECRET_BYTES, "secret");
static_assert(sizeof(((struct access_chap *)0)->mutual_secret) == HOST_KEY_SECRET_BYTES, "secret");
static_assert((int)ACCESS_CHAP_KEY_BYTES == (int)HOST_KEY_ID_DIGITS + 1, "a key's id");
static_assert(sizeof(wrapped_magic) + ACCESS_CHAP_KEY_BYTES + 2 * (size_t)WRAPPED_PAIR_CHARS <
                  ACCESS_CHAP_VALUE_MAX,
              "a wrapped record");

/* What a secret is bound to: the subject, the direction, the user. */
static size_t secret_context(const char *subject, bool is_mutual, const char *user, char *context)
{
    int len =
        snprintf(context, CONTEXT_BYTES, "lunette chap 1 %c %s", is_mutual ? 'm' : 'i', subject) +
        1;
    size_t user_len = strlen(user);
    memcpy(context + len, user, user_len);
    return (size_t)len + user_len;
}

static char *put_hex(char *at, const void *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *byte = bytes;
    *at++ = ' ';
    for (size_t i = 0; i < count; i++)
    {
        *at++ = digits[byte[i] >> 4];
        *at++ = digits[byte[i] & 15];
    }
    return at;
}

static int put_wrapped(const struct host_key *key, const char *subject, bool is_mutual,
                       const char *user, const char *secret, char **at)
{
    char context[CONTEXT_BYTES];
    uint8_t wrapped[HOST_KEY_WRAPPED_BYTES];
    size_t len = secret_context(subject, is_mutual, user, context);
    int r = host_key_wrap(key, context, len, secret, wrapped);
    if (r < 0)
        return r;
    *at = put_hex(*at, user, strlen(user));
    *at = put_hex(*at, wrapped, sizeof(wrapped));
    return 0;
}

static char *put_string(char *at, const char *text)
{
    size_t len = strlen(text) + 1;
    memcpy(at, text, len);
    return at + len;
}

int access_chap_encode(const struct host_key *key, const char *subject,
                       const struct access_chap *chap, char value[ACCESS_CHAP_VALUE_MAX],
                       size_t *len)
{
    char *at = value;
    int r = 0;
    if (!key)
    {
        at = put_string(at, chap->user);
        at = put_string(at, chap->secret);
        at = put_string(at, chap->mutual_user);
        at = put_string(at, chap->mutual_secret);
    }
    else
    {
        at += snprintf(value, ACCESS_CHAP_VALUE_MAX, "%s %s", wrapped_magic, key->id);
        r = put_wrapped(key, subject, false, chap->user, chap->secret, &at);
        if (r == 0 && chap->mutual_user[0])
            r = put_wrapped(key, subject, true, chap->mutual_user, chap->mutual_secret, &at);
    }
    *len = (size_t)(at - value);
    return r;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* The next string of a list; false if it does not end in it or is too long. */
static bool take_string(const char **at, size_t *left, char *out, size_t room)
{
    size_t len = strnlen(*at, *left);
    if (len == *left || len >= room)
        return false;
    memcpy(out, *at, len + 1);
    *at += len + 1;
    *left -= len + 1;
    return true;
}

static bool take_clear(const char *at, size_t left, struct access_chap *chap)
{
    return take_string(&at, &left, chap->user, sizeof(chap->user)) &&
           take_string(&at, &left, chap->secret, sizeof(chap->secret)) &&
           take_string(&at, &left, chap->mutual_user, sizeof(chap->mutual_user)) &&
           take_string(&at, &left, chap->mutual_secret, sizeof(chap->mutual_secret));
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next word, as bytes; their number, or -EBADMSG. The value is ended by a NUL behind it. */
static ssize_t take_hex(const char **at, uint8_t *out, size_t room)
{
    size_t count = 0;
    if (**at != ' ')
        return -EBADMSG;
    const char *from = *at + 1;
    for (; *from && *from != ' '; from += 2)
    {
        int high = hex_digit(from[0]), low = high < 0 ? -1 : hex_digit(from[1]);
        if (low < 0 || count == room)
            return -EBADMSG;
        out[count++] = (uint8_t)(high << 4 | low);
    }
    *at = from;
    return (ssize_t)count;
}

/* User and wrapped secret of one direction. */
static int take_direction(const char **at, char user[ACCESS_CHAP_USER_MAX + 1], uint8_t *wrapped)
{
    ssize_t len = take_hex(at, (uint8_t *)user, ACCESS_CHAP_USER_MAX);
    if (len <= 0 || memchr(user, '\0', (size_t)len))
        return -EBADMSG;
    user[len] = '\0';
    return take_hex(at, wrapped, HOST_KEY_WRAPPED_BYTES) == HOST_KEY_WRAPPED_BYTES ? 0 : -EBADMSG;
}

static int unwrap(const struct host_key *key, const char *subject, bool is_mutual, const char *user,
                  const uint8_t *wrapped, char *secret)
{
    char context[CONTEXT_BYTES];
    size_t len = secret_context(subject, is_mutual, user, context);
    int r = host_key_unwrap(key, context, len, wrapped, secret);
    if (r == 0 && secret[ACCESS_CHAP_SECRET_MAX] != '\0')
        r = -EKEYREJECTED;
    return r;
}

/* What there is of the words; the secrets still wrapped. -EBADMSG: they are not as we write them.
 */
static int take_wrapped(const char *at, struct access_chap_entry *entry,
                        uint8_t wrapped[2][HOST_KEY_WRAPPED_BYTES])
{
    struct access_chap *chap = &entry->chap;
    size_t digits = strspn(at, "0123456789abcdef");
    if (digits != HOST_KEY_ID_DIGITS)
        return -EBADMSG;
    memcpy(entry->key, at, digits);
    entry->key[digits] = '\0';
    at += digits;
    int r = take_direction(&at, chap->user, wrapped[0]);
    if (r == 0 && *at)
        r = take_direction(&at, chap->mutual_user, wrapped[1]);
    return r < 0 || *at ? -EBADMSG : 0;
}

/* Who has to prove himself by what cannot be unwrapped must not get in, whatever is wrong with it:
 * all of that is a locked record, and none is no record. */
static int decode_wrapped(const struct host_key *key, const char *subject, const char *at,
                          struct access_chap_entry *entry)
{
    struct access_chap *chap = &entry->chap;
    uint8_t wrapped[2][HOST_KEY_WRAPPED_BYTES];
    int r = take_wrapped(at, entry, wrapped);
    entry->stored = ACCESS_CHAP_LOCKED;
    if (r < 0)
    {
        entry->key[0] = chap->user[0] = chap->mutual_user[0] = '\0';
        return 0;
    }
    if (!key || strcmp(key->id, entry->key) != 0)
        return 0;
    r = unwrap(key, subject, false, chap->user, wrapped[0], chap->secret);
    if (r == 0 && chap->mutual_user[0])
        r = unwrap(key, subject, true, chap->mutual_user, wrapped[1], chap->mutual_secret);
    if (r == 0)
        entry->stored = ACCESS_CHAP_WRAPPED;
    else
    {
        explicit_bzero(chap->secret, sizeof(chap->secret));
        explicit_bzero(chap->mutual_secret, sizeof(chap->mutual_secret));
    }
    return r == -EKEYREJECTED ? 0 : r;
}

int access_chap_decode(const struct host_key *key, const char *subject, const char *value,
                       size_t len, struct access_chap_entry *entry)
{
    size_t magic_len = strlen(wrapped_magic);
    explicit_bzero(entry, sizeof(*entry));
    if (strlen(subject) > ACCESS_INITIATOR_MAX)
        return -EBADMSG;
    snprintf(entry->subject, sizeof(entry->subject), "%s", subject);
    if (!memchr(value, '\0', len) && len > magic_len && value[magic_len] == ' ' &&
        memcmp(value, wrapped_magic, magic_len) == 0)
        return decode_wrapped(key, subject, value + magic_len + 1, entry);
    return take_clear(value, len, &entry->chap) ? 0 : -EBADMSG;
}
