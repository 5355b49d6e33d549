/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody may have meant who typed a word that is none: the nearest of those that are, by the
 * letters that are missing, too many, other ones or swapped, what others call the same, or one that
 * has it between its hyphens.
 */
#ifndef SERVER_CTL_SUGGEST_H
#define SERVER_CTL_SUGGEST_H

#include <stddef.h>

enum
{
    SUGGEST_WORD_MAX = 32, /* bytes of a word that is compared; longer ones are like nothing */
    SUGGEST_PART_MIN = 4, /* of a part that stands for its word, as guarantee for space-guarantee */
};

struct suggestion
{
    const char *typed;
    size_t typed_len;
    unsigned distance;                  /* of the nearest */
    char nearest[SUGGEST_WORD_MAX + 1]; /* "": nothing is near */
};

/* Begins with @typed, @len bytes that the caller keeps. */
void suggest_begin(struct suggestion *suggestion, const char *typed, size_t len);
/* Offers @word, @len bytes; the first of those that are equally near stays. */
void suggest_offer(struct suggestion *suggestion, const char *word, size_t len);

#endif
