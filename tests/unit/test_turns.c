/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose turn is next: all by counting. */
#include "server/net/turns.h"

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"

enum
{
    TEST_BUSY = 4,
    TEST_ROUNDS = 10000,
};

struct one
{
    struct turn turn;
    unsigned had; /* turns */
};

static void ones_init(struct turns *turns, struct one *ones, unsigned count)
{
    turns_init(turns);
    for (unsigned i = 0; i < count; i++)
    {
        ones[i] = (struct one){.had = 0};
        turn_init(&ones[i].turn);
        turns_enter(turns, &ones[i].turn);
    }
}

/* The next has so much and wants more; which it was. */
static struct one *ones_step(struct turns *turns, uint64_t units)
{
    struct one *one = container_of(turns_next(turns), struct one, turn);
    CU_ASSERT_FALSE(turn_is_waiting(&one->turn));
    one->had++;
    turn_charge(&one->turn, units);
    turns_enter(turns, &one->turn);
    return one;
}

static void test_in_order(void)
{
    struct turns turns;
    struct one ones[TEST_BUSY];
    ones_init(&turns, ones, TEST_BUSY);
    for (unsigned i = 0; i < TEST_ROUNDS; i++)
        CU_ASSERT_PTR_EQUAL(ones_step(&turns, 5), &ones[i % TEST_BUSY]);
    for (unsigned i = 0; i < TEST_BUSY; i++)
        turns_leave(&turns, &ones[i].turn);
    CU_ASSERT(turns_are_empty(&turns));
    CU_ASSERT_PTR_NULL(turns_next(&turns));
    turns_leave(&turns, &ones[0].turn); /* as often as one likes */
}

/* Who wants one unit at a time comes first each time, while others want all there is. */
static void test_quiet_first(void)
{
    struct turns turns;
    struct one ones[TEST_BUSY], quiet = {.had = 0};
    ones_init(&turns, ones, TEST_BUSY);
    turn_init(&quiet.turn);
    for (unsigned i = 0; i < 3 * TEST_BUSY; i++) /* the busy ones use up their credit */
        ones_step(&turns, 8);
    for (unsigned i = 0; i < TEST_ROUNDS; i++)
    {
        turns_enter(&turns, &quiet.turn);
        turns_enter(&turns, &quiet.turn); /* once is enough */
        CU_ASSERT_PTR_EQUAL_FATAL(turns_next(&turns), &quiet.turn);
        turn_charge(&quiet.turn, 1);
        ones_step(&turns, 8);
    }
    for (unsigned i = 0; i < TEST_BUSY; i++)
        CU_ASSERT_EQUAL(ones[i].had, TEST_ROUNDS / TEST_BUSY + 3);
}

/* A pause is worth TURNS_CREDIT, however long it was; from then on all have the same. */
static void test_no_hoard(void)
{
    struct turns turns;
    struct one ones[2], late = {.had = 0};
    ones_init(&turns, ones, 2);
    turn_init(&late.turn);
    for (unsigned i = 0; i < TEST_ROUNDS; i++)
        ones_step(&turns, 1);
    turns_enter(&turns, &late.turn);
    unsigned ahead = 0;
    while (ones_step(&turns, 1) == &late)
        ahead++;
    CU_ASSERT(ahead >= TURNS_CREDIT && ahead <= TURNS_CREDIT + 1);
    late.had = ones[0].had = ones[1].had = 0;
    for (unsigned i = 0; i < 3000; i++)
        ones_step(&turns, 1);
    CU_ASSERT(late.had >= 999 && late.had <= 1001);
}

/* What is had counts, not turns: shares of three who take 1, 3 and 9 at a time are equal. */
static void test_shares(void)
{
    struct turns turns;
    struct one ones[3];
    uint64_t had[3] = {0};
    static const uint64_t units[3] = {1, 3, 9}, slack = 18;
    ones_init(&turns, ones, 3);
    for (unsigned i = 0; i < TEST_ROUNDS; i++)
    {
        struct one *one = container_of(turns_next(&turns), struct one, turn);
        uint64_t taken = units[one - ones];
        had[one - ones] += taken;
        turn_charge(&one->turn, taken);
        turns_enter(&turns, &one->turn);
    }
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT(had[i] + slack >= had[0] && had[i] <= had[0] + slack);
}

/* Who had very much waits for the others to catch up, and not longer than that a while. */
static void test_none_starves(void)
{
    struct turns turns;
    struct one ones[TEST_BUSY], *victim = &ones[0];
    ones_init(&turns, ones, TEST_BUSY);
    for (unsigned i = 0; i < 200; i++)
    {
        while (ones_step(&turns, 1) != victim)
            continue;
        turns_leave(&turns, &victim->turn);
        turn_charge(&victim->turn, 1000000);
        turns_enter(&turns, &victim->turn);
        unsigned passed = 0;
        while (passed <= TEST_BUSY * TURNS_SLOTS && ones_step(&turns, 1) != victim)
            passed++;
        CU_ASSERT_FATAL(passed <= (TEST_BUSY - 1) * TURNS_SLOTS);
        CU_ASSERT(passed >= (TEST_BUSY - 1) * TURNS_CREDIT);
    }
}

/* At random: it is always one of those with the smallest account, and of these the first. */
static void test_model(void)
{
    struct turns turns;
    struct one ones[40];
    unsigned came[40], clock = 0, seed = 1;
    turns_init(&turns);
    for (unsigned i = 0; i < ARRAY_SIZE(ones); i++)
        turn_init(&ones[i].turn);
    for (unsigned step = 0; step < 100000; step++)
    {
        seed = seed * 1664525 + 1013904223;
        unsigned i = (seed >> 8) % ARRAY_SIZE(ones), what = seed >> 24;
        if (what < 120 && !turn_is_waiting(&ones[i].turn))
        {
            turns_enter(&turns, &ones[i].turn);
            came[i] = clock++;
        }
        else if (what < 130)
        {
            turns_leave(&turns, &ones[i].turn);
        }
        else
        {
            const struct one *best = NULL;
            for (unsigned k = 0; k < ARRAY_SIZE(ones); k++)
                if (turn_is_waiting(&ones[k].turn) &&
                    (!best || ones[k].turn.account < best->turn.account ||
                     (ones[k].turn.account == best->turn.account && came[k] < came[best - ones])))
                    best = &ones[k];
            struct turn *turn = turns_next(&turns);
            CU_ASSERT_PTR_EQUAL_FATAL(turn, best ? &best->turn : NULL);
            if (turn)
                turn_charge(turn, 1 + what % 70);
        }
    }
}

static CU_TestInfo turns_tests[] = {
    {"all want the same: in order", test_in_order},
    {"who wants little is first", test_quiet_first},
    {"a pause cannot be saved up", test_no_hoard},
    {"shares are of what is had", test_shares},
    {"nobody starves", test_none_starves},
    {"at random", test_model},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"turns", NULL, NULL, NULL, NULL, turns_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
