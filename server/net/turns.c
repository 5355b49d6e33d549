/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accounts that matter lie within TURNS_SLOTS of each other, so a ring of lists keeps the order:
 * slot number account modulo TURNS_SLOTS. It begins TURNS_CREDIT behind now.
 */
#include "server/net/turns.h"

#include <stddef.h>

#include "lun/base/invariant.h"

void turns_init(struct turns *turns)
{
    turns->now = TURNS_SLOTS; /* so that there is something behind it */
    turns->filled = 0;
    for (unsigned i = 0; i < TURNS_SLOTS; i++)
        list_init(&turns->slots[i]);
}

void turn_init(struct turn *turn)
{
    turn->account = 0;
    list_init(&turn->link);
}

static unsigned turns_slot(uint64_t account)
{
    return (unsigned)(account % TURNS_SLOTS);
}

static void turns_take_out(struct turns *turns, struct turn *turn)
{
    unsigned slot = turns_slot(turn->account);
    list_remove(&turn->link);
    if (list_is_empty(&turns->slots[slot]))
        turns->filled &= ~(UINT64_C(1) << slot);
}

void turns_enter(struct turns *turns, struct turn *turn)
{
    if (turn_is_waiting(turn))
        return;
    if (turn->account < turns->now - TURNS_CREDIT)
        turn->account = turns->now - TURNS_CREDIT;
    if (turn->account > turns->now + TURNS_DEBT_MAX)
        turn->account = turns->now + TURNS_DEBT_MAX;
    unsigned slot = turns_slot(turn->account);
    list_add_tail(&turns->slots[slot], &turn->link);
    turns->filled |= UINT64_C(1) << slot;
}

void turns_leave(struct turns *turns, struct turn *turn)
{
    if (turn_is_waiting(turn))
        turns_take_out(turns, turn);
}

struct turn *turns_next(struct turns *turns)
{
    if (turns->filled == 0)
        return NULL;
    unsigned first = turns_slot(turns->now - TURNS_CREDIT);
    uint64_t rotated = first == 0 ? turns->filled
                                  : turns->filled >> first | turns->filled << (TURNS_SLOTS - first);
    unsigned slot = (first + (unsigned)__builtin_ctzll(rotated)) % TURNS_SLOTS;
    struct turn *turn = container_of(turns->slots[slot].next, struct turn, link);
    turns_take_out(turns, turn);
    if (turn->account > turns->now)
        turns->now = turn->account;
    return turn;
}

void turn_charge(struct turn *turn, uint64_t units)
{
    DEBUG_INVARIANT(!turn_is_waiting(turn) && units > 0);
    turn->account += units;
}
