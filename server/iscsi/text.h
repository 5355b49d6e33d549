/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key=value text of login and text PDUs (RFC 7143 section 6.1).
 */
#ifndef SERVER_ISCSI_TEXT_H
#define SERVER_ISCSI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/reader.h"

enum
{
    TEXT_KEY_MAX = 63,          /* bytes of a key */
    TEXT_VALUE_MAX = 8192,      /* bytes of a value */
    TEXT_PAIRS_MAX = 128,       /* of one request */
    TEXT_BYTES_MAX = 32 * 1024, /* of one request, over all its PDUs */
};

struct text_pair
{
    const char *key, *value; /* into the text, NUL-terminated */
};

/*
 * Splits @text of @len bytes, which it changes; text[len] must be writable. -EINVAL: not key=value
 * pairs ended by NULs, or one of the limits above passed.
 */
MUST_CHECK int text_split(char *text, size_t len, struct text_pair *pairs, size_t max,
                          size_t *count);

/* Adds "key=value" with its NUL to @out. */
void text_put(struct writer *out, const char *key, const char *value);
void text_put_number(struct writer *out, const char *key, uint32_t value);
/* Adds "key=0x..." */
void text_put_binary(struct writer *out, const char *key, const uint8_t *bytes, size_t len);

/* Decimal or 0x hexadecimal, nothing around it, at most @max. */
MUST_CHECK int text_get_number(const char *value, uint64_t max, uint64_t *number);
/* "Yes" or "No". */
MUST_CHECK int text_get_bool(const char *value, bool *yes);
/*
 * "0x" hexadecimal or "0b" base64. -EINVAL if it is neither or holds more than @max bytes. A first
 * hexadecimal digit may stand alone.
 */
MUST_CHECK int text_get_binary(const char *value, uint8_t *bytes, size_t max, size_t *len);

/* Takes the next element off a comma-separated list into @item. False at the end. */
bool text_next_item(const char **list, char *item, size_t size);
/* Whether the comma-separated @list holds @item. */
bool text_list_has(const char *list, const char *item);

/* Whether it is an iSCSI name in one of the three formats (iqn., eui., naa.), normalised. */
bool text_is_iscsi_name(const char *name);

#endif
