/* SPDX-License-Identifier: BSD-3-Clause */
/* Text of login and text PDUs. */
#include "server/iscsi/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- pairs --------------------------------------------------------------------------------- */

static bool text_is_key(const char *key, size_t len)
{
    if (len == 0 || len > TEXT_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
    {
        char c = key[i];
        bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    (c && strchr("._-+@#", c));
        if (!good)
            return false;
    }
    return true;
}

int text_split(char *text, size_t len, struct text_pair *pairs, size_t max, size_t *count)
{
    size_t found = 0;
    char *end = text + len;
    /* A last pair without its NUL is common enough among initiators to be read as one. */
    *end = '\0';
    while (text < end)
    {
        size_t pair_len = strlen(text);
        char *equals = memchr(text, '=', pair_len);
        if (pair_len == 0)
        {
            text++; /* padding that is counted in the data length */
            continue;
        }
        if (!equals || !text_is_key(text, (size_t)(equals - text)) ||
            strlen(equals + 1) > TEXT_VALUE_MAX || found == max)
            return -EINVAL;
        *equals = '\0';
        pairs[found++] = (struct text_pair){.key = text, .value = equals + 1};
        text += pair_len + 1;
    }
    *count = found;
    return 0;
}

void text_put(struct writer *out, const char *key, const char *value)
{
    writer_bytes(out, key, strlen(key));
    writer_u8(out, '=');
    writer_bytes(out, value, strlen(value) + 1);
}

void text_put_number(struct writer *out, const char *key, uint32_t value)
{
    char digits[16];
    snprintf(digits, sizeof(digits), "%u", value);
    text_put(out, key, digits);
}

void text_put_binary(struct writer *out, const char *key, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    writer_bytes(out, key, strlen(key));
    writer_bytes(out, "=0x", 3);
    for (size_t i = 0; i < len; i++)
    {
        writer_u8(out, (uint8_t)digits[bytes[i] >> 4]);
        writer_u8(out, (uint8_t)digits[bytes[i] & 15]);
    }
    writer_u8(out, '\0');
}

/* ---- values -------------------------------------------------------------------------------- */

static int text_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int text_get_number(const char *value, uint64_t max, uint64_t *number)
{
    unsigned base = 10;
    uint64_t result = 0;
    if (value[0] == '0' && (value[1] == 'x' || value[1] == 'X'))
    {
        base = 16;
        value += 2;
    }
    if (!*value)
        return -EINVAL;
    for (; *value; value++)
    {
        int digit = text_hex_digit(*value);
        if (digit < 0 || (unsigned)digit >= base)
            return -EINVAL;
        if (__builtin_mul_overflow(result, base, &result) ||
            __builtin_add_overflow(result, (unsigned)digit, &result) || result > max)
            return -EINVAL;
    }
    *number = result;
    return 0;
}

int text_get_bool(const char *value, bool *yes)
{
    bool is_yes = strcmp(value, "Yes") == 0;
    if (!is_yes && strcmp(value, "No") != 0)
        return -EINVAL;
    *yes = is_yes;
    return 0;
}

static int text_get_hex(const char *value, uint8_t *bytes, size_t max, size_t *len)
{
    size_t digits = strlen(value), at = 0;
    if (digits == 0 || (digits + 1) / 2 > max)
        return -EINVAL;
    if (digits % 2 == 1)
    {
        int digit = text_hex_digit(*value++);
        if (digit < 0)
            return -EINVAL;
        bytes[at++] = (uint8_t)digit;
    }
    for (; *value; value += 2)
    {
        int high = text_hex_digit(value[0]), low = text_hex_digit(value[1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        bytes[at++] = (uint8_t)(high << 4 | low);
    }
    *len = at;
    return 0;
}

static int text_base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int text_get_base64(const char *value, uint8_t *bytes, size_t max, size_t *len)
{
    size_t digits = strcspn(value, "="), at = 0;
    size_t pad = strlen(value + digits);
    if (digits == 0 || pad > 2 || (digits + pad) % 4 != 0 || strspn(value + digits, "=") != pad)
        return -EINVAL;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < digits; i++)
    {
        int digit = text_base64_digit(value[i]);
        if (digit < 0)
            return -EINVAL;
        bits = bits << 6 | (unsigned)digit;
        bit_count += 6;
        if (bit_count < 8)
            continue;
        bit_count -= 8;
        if (at == max)
            return -EINVAL;
        bytes[at++] = (uint8_t)(bits >> bit_count);
    }
    *len = at;
    return 0;
}

int text_get_binary(const char *value, uint8_t *bytes, size_t max, size_t *len)
{
    if (value[0] == '0' && (value[1] == 'x' || value[1] == 'X'))
        return text_get_hex(value + 2, bytes, max, len);
    if (value[0] == '0' && (value[1] == 'b' || value[1] == 'B'))
        return text_get_base64(value + 2, bytes, max, len);
    return -EINVAL;
}

bool text_next_item(const char **list, char *item, size_t size)
{
    if (!**list)
        return false;
    size_t len = strcspn(*list, ",");
    size_t copied = len < size ? len : size - 1;
    memcpy(item, *list, copied);
    item[copied] = '\0';
    *list += len;
    if (**list == ',')
        (*list)++;
    return true;
}

bool text_list_has(const char *list, const char *item)
{
    char found[TEXT_KEY_MAX + 1];
    while (text_next_item(&list, found, sizeof(found)))
        if (strcmp(found, item) == 0)
            return true;
    return false;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool text_is_hex(const char *digits, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text_hex_digit(digits[i]) < 0)
            return false;
    return true;
}

/* "iqn.yyyy-mm." and a reversed domain name with what its owner likes behind it. */
static bool text_is_iqn(const char *name)
{
    for (size_t i = 0; i < 7; i++)
        if (i == 4 ? name[i] != '-' : (name[i] < '0' || name[i] > '9'))
            return false;
    return name[7] == '.' && name[8];
}

bool text_is_iscsi_name(const char *name)
{
    size_t len = strlen(name);
    if (len < 5 || len > 223)
        return false;
    for (const char *c = name; *c; c++)
    {
        /* UTF-8 beyond ASCII is allowed by stringprep; blanks, capitals and control are not. */
        unsigned char u = (unsigned char)*c;
        bool good = u >= 0x80 || (u >= 'a' && u <= 'z') || (u >= '0' && u <= '9') ||
                    (u && strchr("-.:_", u)) || (u >= 'A' && u <= 'Z');
        if (!good)
            return false;
    }
    if (strncmp(name, "iqn.", 4) == 0)
        return len > 12 && text_is_iqn(name + 4);
    if (strncmp(name, "eui.", 4) == 0)
        return len == 20 && text_is_hex(name + 4, 16);
    if (strncmp(name, "naa.", 4) == 0)
        return (len == 20 || len == 36) && text_is_hex(name + 4, len - 4);
    return false;
}
