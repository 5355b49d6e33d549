/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ctl/suggest.h"

#include <stdbool.h>
#include <string.h>

#include "lun/base/checked.h"

/* What other programs call it. A word that is no command's is passed over. */
static const struct
{
    const char *typed, *meant;
} suggest_others[] = {
    {"list", "show"},     {"ls", "show"},       {"info", "show"},        {"get", "show"},
    {"rm", "delete"},     {"remove", "delete"}, {"destroy", "delete"},   {"del", "delete"},
    {"add", "create"},    {"new", "create"},    {"mk", "create"},        {"snap", "snapshot"},
    {"mv", "rename"},     {"cp", "clone"},      {"copy", "clone"},       {"expand", "resize"},
    {"extend", "resize"}, {"grow", "resize"},   {"rollback", "restore"}, {"revert", "restore"},
    {"vol", "volume"},    {"disk", "lun"},      {"start", "serve"},      {"stats", "top"},
    {"fsck", "check"},    {"verify", "check"},  {"set", "modify"},       {"edit", "modify"},
};

/* Of a short word most letters have to be right. */
static unsigned suggest_wrong_max(size_t len)
{
    return len < 5 ? 1 : len < 8 ? 2 : 3;
}

void suggest_begin(struct suggestion *suggestion, const char *typed, size_t len)
{
    *suggestion = (struct suggestion){
        .typed = typed, .typed_len = len, .distance = suggest_wrong_max(len) + 1};
}

/*
 * Letters to insert, remove, replace or swap with their neighbour until @a is @b: the rows of the
 * usual table, each from the two before it.
 */
static unsigned suggest_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][SUGGEST_WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++)
    {
        unsigned *row = rows[i % 3];
        const unsigned *last = rows[(i + 2) % 3], *last_but_one = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++)
        {
            unsigned same = a[i - 1] == b[j - 1] ? 0 : 1;
            unsigned best = last[j - 1] + same;
            best = best < last[j] + 1 ? best : last[j] + 1;
            best = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && last_but_one[j - 2] + 1 < best)
                best = last_but_one[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

/* Whether @word is what others call what was typed; as good as a wrong letter. */
static bool suggest_is_other(const struct suggestion *suggestion, const char *word, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(suggest_others); i++)
    {
        const char *typed = suggest_others[i].typed, *meant = suggest_others[i].meant;
        if (strlen(typed) == suggestion->typed_len && strlen(meant) == len &&
            strncmp(typed, suggestion->typed, suggestion->typed_len) == 0 &&
            strncmp(meant, word, len) == 0)
            return true;
    }
    return false;
}

/* Whether what was typed is all between two hyphens of @word: reserve of space-reserve. */
static bool suggest_is_part(const struct suggestion *suggestion, const char *word, size_t len)
{
    size_t typed_len = suggestion->typed_len;
    for (size_t from = 0; typed_len >= SUGGEST_PART_MIN && from + typed_len <= len; from++)
        if ((from == 0 || word[from - 1] == '-') &&
            (from + typed_len == len || word[from + typed_len] == '-') &&
            strncmp(word + from, suggestion->typed, typed_len) == 0)
            return true;
    return false;
}

void suggest_offer(struct suggestion *suggestion, const char *word, size_t len)
{
    if (len == 0 || len > SUGGEST_WORD_MAX || suggestion->typed_len > SUGGEST_WORD_MAX)
        return;
    unsigned distance = 1;
    if (!suggest_is_other(suggestion, word, len))
        distance = suggest_distance(suggestion->typed, suggestion->typed_len, word, len);
    /* What is spelt nearly so goes before. */
    unsigned part = suggest_wrong_max(suggestion->typed_len);
    if (distance > part && suggest_is_part(suggestion, word, len))
        distance = part;
    if (distance >= suggestion->distance || distance >= len)
        return;
    suggestion->distance = distance;
    memcpy(suggestion->nearest, word, len);
    suggestion->nearest[len] = '\0';
}
