/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose turn is next, among many who want different amounts of one thing.
 *
 * Each has an account of what it had. Who had least goes first; of those who had the same, who has
 * waited longest. Who comes back after a pause is not owed for all of it: it gets a small credit,
 * so that one who wants little, again and again, is always among the first, and one who wants much
 * cannot save it up.
 *
 * Always true:
 *  - among those who always want more, accounts lie no farther apart than the largest charge, or
 *    TURNS_DEBT_MAX;
 *  - who waits is passed by another at most TURNS_SLOTS times, as each charge is at least 1;
 *  - every call takes the same time, however many wait.
 *
 * No lock, no clock: whoever owns the struct sees to the first, and charges stand for time.
 */
#ifndef SERVER_NET_TURNS_H
#define SERVER_NET_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/list.h"

enum
{
    TURNS_SLOTS = 64, /* one for each bit of turns->filled */
    TURNS_CREDIT = 16,
    TURNS_DEBT_MAX = TURNS_SLOTS - TURNS_CREDIT - 1, /* what is charged above it is forgiven */
};

/* Embedded by whoever takes turns; zeroed, then turn_init(). */
struct turn
{
    struct list link;
    uint64_t account; /* on the scale of turns->now */
};

struct turns
{
    uint64_t now; /* the account of whoever went last, but of those with credit */
    uint64_t filled;
    struct list slots[TURNS_SLOTS]; /* by account, each in the order in which they came */
};

void turns_init(struct turns *turns);
void turn_init(struct turn *turn);

static inline bool turn_is_waiting(const struct turn *turn)
{
    return !list_is_empty(&turn->link);
}

static inline bool turns_are_empty(const struct turns *turns)
{
    return turns->filled == 0;
}

/* @turn waits from now on; nothing if it does already. */
void turns_enter(struct turns *turns, struct turn *turn);
/* It does not wait any more, or never did. */
void turns_leave(struct turns *turns, struct turn *turn);
/* Who is next; it does not wait any more. NULL: nobody waits. */
struct turn *turns_next(struct turns *turns);
/* @turn, which does not wait, had so much, at least 1. */
void turn_charge(struct turn *turn, uint64_t units);

#endif
