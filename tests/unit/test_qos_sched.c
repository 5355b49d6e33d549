/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates and the order of admission, by a clock that the test moves. */
#include <string.h>

#include "lun/base/checked.h"
#include "server/qos/rate.h"
#include "server/qos/sched.h"
#include "tests/lib/cunit_main.h"

#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

enum
{
    WAITS_MAX = 16384,
    LUNS = 4,
};

/* ---- rates --------------------------------------------------------------------------------- */

/* How many units of @step go in [0, @end_ns), asked for as soon as each is due. */
static uint64_t take_all(struct qos_rate *rate, uint64_t step, uint64_t end_ns)
{
    uint64_t now = 5 * S, end = now + end_ns, taken = 0;
    while (now < end)
    {
        if (qos_rate_due_ns(rate) <= now)
        {
            qos_rate_take(rate, step, now);
            taken += step;
        }
        else
        {
            now = qos_rate_due_ns(rate);
        }
    }
    return taken;
}

static void test_rate_is_kept(void)
{
    static const struct
    {
        uint64_t per_s, burst_ms, step;
    } cases[] = {
        {1, 1000, 1},
        {3, 10, 1},
        {500, 100, 1},
        {7777, 100, 1},
        {1000000, 10, 1},
        {50 << 20, 100, 4096},
        {1 << 20, 100, 64 << 20},
        {10000000019, 10, 512},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct qos_rate rate = {0};
        uint64_t per_s = cases[i].per_s, burst_ms = cases[i].burst_ms, step = cases[i].step;
        qos_rate_set(&rate, per_s, burst_ms * MS, 5 * S);
        uint64_t seconds = per_s > 1000000000 ? 1 : 10;
        uint64_t taken = take_all(&rate, step, seconds * S);
        uint64_t due = per_s * seconds + per_s * burst_ms / 1000;
        /* At most what has come in and one request, at least that without one. */
        CU_ASSERT(taken <= due + step);
        CU_ASSERT(taken + step >= due);
    }
}

static void test_rate_no_limit(void)
{
    struct qos_rate rate = {0};
    for (int i = 0; i < 1000; i++)
        CU_ASSERT_EQUAL(qos_rate_take(&rate, UINT64_MAX, 1), 0);
    CU_ASSERT_EQUAL(qos_rate_due_ns(&rate), 0);
}

static void test_rate_saves_no_more_than_the_burst(void)
{
    struct qos_rate rate = {0};
    qos_rate_set(&rate, 100, 500 * MS, S);
    uint64_t now = 1000 * S; /* idle for long */
    unsigned taken = 0;
    while (qos_rate_due_ns(&rate) <= now)
    {
        qos_rate_take(&rate, 1, now);
        taken++;
    }
    CU_ASSERT_EQUAL(taken, 51); /* 50 saved, and the one that is due */
    CU_ASSERT_EQUAL(qos_rate_due_ns(&rate), now + 10 * MS);
}

static void test_rate_change(void)
{
    struct qos_rate rate = {0};
    qos_rate_set(&rate, 1 << 20, 100 * MS, S);
    qos_rate_take(&rate, 64 << 20, S);
    CU_ASSERT_EQUAL(qos_rate_due_ns(&rate), 65 * S - 100 * MS);
    /* The debt is paid at the new rate. */
    qos_rate_set(&rate, 64 << 20, 100 * MS, S);
    CU_ASSERT_EQUAL(qos_rate_due_ns(&rate), 2 * S - 100 * MS);
    qos_rate_set(&rate, 0, 100 * MS, S);
    CU_ASSERT_EQUAL(qos_rate_due_ns(&rate), 0);
    qos_rate_set(&rate, 1, 100 * MS, 3 * S);
    CU_ASSERT(qos_rate_due_ns(&rate) <= 3 * S);
    /* Setting the same again gives nothing away. */
    qos_rate_take(&rate, 1, 3 * S);
    for (int i = 0; i < 10; i++)
        qos_rate_set(&rate, 1, 100 * MS, 3 * S);
    CU_ASSERT_EQUAL(qos_rate_due_ns(&rate), 4 * S - 100 * MS);
}

static void test_rate_extremes(void)
{
    struct qos_rate rate = {0};
    qos_rate_set(&rate, 1, 10 * MS, S);
    qos_rate_take(&rate, UINT64_MAX, S);
    CU_ASSERT(qos_rate_due_ns(&rate) > S);
    qos_rate_set(&rate, UINT64_C(1) << 50, 10 * MS, S);
    qos_rate_set(&rate, 1, 10 * MS, S);
    CU_ASSERT(qos_rate_due_ns(&rate) > S);
}

/* ---- admission ----------------------------------------------------------------------------- */

static struct qos_node pool, volume, luns[LUNS];
static struct qos_wait waits[WAITS_MAX];
static unsigned admitted[LUNS], wait_count, order_count;
static unsigned order[WAITS_MAX]; /* of waits, by number, as they were admitted */

static void set_up(void)
{
    memset(waits, 0, sizeof(waits));
    memset(admitted, 0, sizeof(admitted));
    wait_count = order_count = 0;
    qos_node_init(&pool, NULL, false);
    qos_node_init(&volume, &pool, false);
    for (unsigned i = 0; i < LUNS; i++)
        qos_node_init(&luns[i], &pool, true);
}

static void limit(struct qos_node *node, uint64_t iops, uint64_t bps, uint32_t weight)
{
    struct qos_limits limits = {.max_iops = iops, .max_bps = bps, .burst_ms = 10, .weight = weight};
    qos_node_set_limits(node, &limits, S);
}

static void admit_cb(void *opaque, struct qos_wait *wait, uint64_t now_ns)
{
    (void)opaque;
    CU_ASSERT_EQUAL(wait->state, QOS_WAIT_READY);
    CU_ASSERT(now_ns >= wait->since_ns);
    wait->state = QOS_WAIT_NONE;
    admitted[wait->node - luns]++;
    order[order_count++] = (unsigned)(wait - waits);
}

/* True: it went at once. */
static bool enter(unsigned lun, uint64_t bytes, uint64_t now)
{
    struct qos_wait *wait = &waits[wait_count++];
    if (!qos_sched_enter(&luns[lun], wait, bytes, now))
        return false;
    admitted[lun]++;
    return true;
}

/* Lets the clock run until @end, waking up when something is due. */
static void run(uint64_t from, uint64_t end)
{
    for (uint64_t now = from; now < end;)
    {
        uint64_t next = qos_sched_run(&pool, now, admit_cb, NULL);
        CU_ASSERT_FATAL(next > now);
        now = next;
    }
}

static void test_unlimited_goes(void)
{
    set_up();
    for (unsigned i = 0; i < 100; i++)
        CU_ASSERT_TRUE(enter(i % LUNS, 1 << 20, S));
    CU_ASSERT_FALSE(qos_node_is_limited(&luns[0]));
    limit(&pool, 0, 0, 1);
    CU_ASSERT_FALSE(qos_node_is_limited(&luns[0]));
    limit(&pool, 1, 0, 1);
    CU_ASSERT_TRUE(qos_node_is_limited(&luns[0]));
    CU_ASSERT_EQUAL(qos_sched_run(&pool, S, admit_cb, NULL), UINT64_MAX);
}

static void test_lun_limit_is_its_own(void)
{
    set_up();
    limit(&luns[0], 100, 0, 100);
    for (unsigned i = 0; i < 500; i++)
        ignore_error(enter(0, 512, S), "counted");
    CU_ASSERT_EQUAL(admitted[0], 2); /* 1 saved up in 10 ms, and the one that is due */
    for (unsigned i = 0; i < 100; i++)
        CU_ASSERT_TRUE(enter(1, 512, S));
    run(S, 2 * S);
    CU_ASSERT(admitted[0] >= 101 && admitted[0] <= 102);
    /* In the order in which they came. */
    for (unsigned i = 1; i < order_count; i++)
        CU_ASSERT(order[i] > order[i - 1]);
}

static void test_bytes_limit(void)
{
    set_up();
    limit(&luns[0], 0, 1 << 20, 100);
    CU_ASSERT_TRUE(enter(0, 8 << 20, S)); /* larger than all that may be saved up */
    CU_ASSERT_FALSE(enter(0, 0, S));      /* pays for nothing, but waits its turn */
    CU_ASSERT_FALSE(enter(0, 1, S));
    run(S, 8 * S);
    CU_ASSERT_EQUAL(admitted[0], 1);
    run(8 * S, 10 * S);
    CU_ASSERT_EQUAL(admitted[0], 3);
}

static void test_both_limits(void)
{
    set_up();
    limit(&luns[0], 1000, 1 << 20, 100);
    for (unsigned i = 0; i < 2000; i++)
        ignore_error(enter(0, 512, S), "counted");
    run(S, 2 * S);
    CU_ASSERT(admitted[0] >= 1000 && admitted[0] <= 1012); /* operations are the tighter one */
    set_up();
    limit(&luns[0], 1000, 1 << 20, 100);
    for (unsigned i = 0; i < 2000; i++)
        ignore_error(enter(0, 16384, S), "counted");
    run(S, 2 * S);
    CU_ASSERT(admitted[0] >= 63 && admitted[0] <= 66);
}

/* A LUN's and its volume's limits both count; a LUN of another volume is not held up. */
static void test_two_levels(void)
{
    set_up();
    for (unsigned i = 0; i < 3; i++)
        qos_node_set_parent(&luns[i], &volume);
    limit(&volume, 300, 0, 100);
    limit(&luns[2], 50, 0, 100);
    for (unsigned i = 0; i < 3000; i++)
        ignore_error(enter(i % 3, 512, S), "counted");
    for (unsigned i = 0; i < 500; i++)
        CU_ASSERT_TRUE(enter(3, 512, S));
    run(S, 5 * S);
    CU_ASSERT(admitted[2] >= 200 && admitted[2] <= 201);
    unsigned all = admitted[0] + admitted[1] + admitted[2];
    CU_ASSERT(all >= 1200 && all <= 1204);
    CU_ASSERT(admitted[0] + 2 >= admitted[1] && admitted[1] + 2 >= admitted[0]);
}

static void test_weights(void)
{
    set_up();
    limit(&pool, 1000, 0, 100);
    for (unsigned i = 0; i < LUNS; i++)
        limit(&luns[i], 0, 0, 100 * (i + 1));
    for (unsigned i = 0; i < WAITS_MAX; i++)
        ignore_error(enter(i % LUNS, 512, S), "counted");
    run(S, 3 * S);
    unsigned all = admitted[0] + admitted[1] + admitted[2] + admitted[3];
    CU_ASSERT(all >= 2000 && all <= 2012);
    for (unsigned i = 0; i < LUNS; i++)
    {
        unsigned share = 200 * (i + 1);
        CU_ASSERT(admitted[i] + 16 >= share && admitted[i] <= share + 16);
    }
}

/* By bytes: who sends larger requests gets fewer of them. */
static void test_weights_by_bytes(void)
{
    set_up();
    limit(&pool, 0, 1 << 20, 100);
    for (unsigned i = 0; i < 2000; i++)
        ignore_error(enter(i % 2, i % 2 ? 4096 : 16384, S), "counted");
    run(S, 5 * S);
    unsigned bytes0 = admitted[0] * 16384, bytes1 = admitted[1] * 4096;
    CU_ASSERT(bytes0 + bytes1 >= 4u << 20);
    CU_ASSERT(bytes0 <= bytes1 + 65536 && bytes1 <= bytes0 + 65536);
}

/* Who was idle has saved nothing up that counts: it gets its share from when it comes, no more. */
static void test_late_comer(void)
{
    set_up();
    limit(&pool, 1000, 0, 100);
    for (unsigned i = 0; i < 3000; i++)
        ignore_error(enter(0, 512, S), "counted");
    run(S, 2 * S);
    CU_ASSERT(admitted[0] >= 1000);
    unsigned before = admitted[0];
    unsigned at_once = 0;
    for (unsigned i = 0; i < 1000; i++)
        at_once += enter(1, 512, 2 * S);
    CU_ASSERT(at_once <= 11); /* of the last milliseconds */
    run(2 * S, 3 * S);
    CU_ASSERT(admitted[1] >= 490 && admitted[1] <= 510);
    CU_ASSERT(admitted[0] - before >= 490 && admitted[0] - before <= 510);
}

enum
{

    QUIET_RATE = 10000, /* of the pool, a second */
    QUIET_STEP_US = 10,
};

struct quiet_run
{
    unsigned asked, at_once;
};

/*
 * A second in which LUN 0 always has requests waiting for the limit of @limited, let go each
 * millisecond, and LUN 1 asks for one at a time, @pause_us after it had the last.
 */
static struct quiet_run run_quiet(unsigned pause_us)
{
    struct quiet_run result = {0, 0};
    uint64_t asks_ns = S + 5 * MS; /* 0: one waits */
    unsigned had = 0;
    for (uint64_t now = S; now < 2 * S; now += QUIET_STEP_US * 1000)
    {
        while (wait_count - admitted[0] - result.asked < 100)
            ignore_error(enter(0, 4096, now), "counted");
        if (now % MS == 0)
            ignore_error((int)(qos_sched_run(&pool, now, admit_cb, NULL) == 0), "asked each time");
        if (asks_ns == 0 && admitted[1] > had)
            asks_ns = now + pause_us * 1000;
        if (asks_ns == 0 || now < asks_ns)
            continue;
        result.asked++;
        had = admitted[1];
        bool went = enter(1, 4096, now);
        result.at_once += went;
        asks_ns = went ? now + pause_us * 1000 : 0;
    }
    return result;
}

/* Who uses less than its share does not wait at all for one that has a hundred waiting. */
static void test_quiet_one(void)
{
    set_up();
    limit(&pool, QUIET_RATE, 0, 100);
    struct quiet_run quiet = run_quiet(250);
    CU_ASSERT(quiet.asked > 3900);
    CU_ASSERT_EQUAL(quiet.at_once, quiet.asked);
    unsigned all = admitted[0] + admitted[1];
    CU_ASSERT(all >= QUIET_RATE - 20 && all <= QUIET_RATE + 200);
    /* By weight: with a tenth of the other's it gets an eleventh of that, and waits. */
    set_up();
    limit(&pool, QUIET_RATE, 0, 100);
    limit(&luns[0], 0, 0, 1000);
    struct quiet_run small = run_quiet(250);
    CU_ASSERT(small.at_once < small.asked);
    CU_ASSERT(admitted[1] <= QUIET_RATE / 11 + 50);
    /* In a volume the same, for the volume's limit. */
    set_up();
    qos_node_set_parent(&luns[0], &volume);
    qos_node_set_parent(&luns[1], &volume);
    limit(&volume, QUIET_RATE, 0, 100);
    quiet = run_quiet(250);
    CU_ASSERT_EQUAL(quiet.at_once, quiet.asked);
}

/* Who asks for more than its share gets its share, and a limit of its own holds as before. */
static void test_quiet_one_grows(void)
{
    set_up();
    limit(&pool, QUIET_RATE, 0, 100);
    struct quiet_run eager = run_quiet(20);
    CU_ASSERT(eager.at_once < eager.asked);
    CU_ASSERT(admitted[1] <= QUIET_RATE / 2 + 100 && admitted[1] >= QUIET_RATE / 2 - 1000);
    unsigned all = admitted[0] + admitted[1];
    CU_ASSERT(all >= QUIET_RATE - 20 && all <= QUIET_RATE + 200);
    set_up();
    limit(&pool, QUIET_RATE, 0, 100);
    limit(&luns[1], 1000, 0, 100);
    ignore_error((int)run_quiet(20).asked, "counted");
    CU_ASSERT(admitted[1] <= 1011);
}

/* A volume is one among the LUNs below the pool, by its own weight. */
static void test_volume_shares(void)
{
    set_up();
    qos_node_set_parent(&luns[0], &volume);
    qos_node_set_parent(&luns[1], &volume);
    limit(&pool, 1000, 0, 100);
    limit(&volume, 0, 0, 300);
    limit(&luns[1], 0, 0, 200);
    for (unsigned i = 0; i < 3000; i++)
        ignore_error(enter(i % 3, 512, S), "counted");
    run(S, 2 * S);
    CU_ASSERT(admitted[2] >= 235 && admitted[2] <= 265);
    CU_ASSERT(admitted[0] >= 235 && admitted[0] <= 265);
    CU_ASSERT(admitted[1] >= 485 && admitted[1] <= 515);
}

static void test_leave(void)
{
    set_up();
    limit(&luns[0], 1, 0, 100);
    limit(&pool, 1000, 0, 100);
    while (enter(0, 512, S))
        ;
    CU_ASSERT_FALSE(enter(0, 512, S));
    CU_ASSERT_FALSE(enter(0, 512, S));
    qos_sched_leave(&waits[wait_count - 2]);
    CU_ASSERT_EQUAL(waits[wait_count - 2].state, QOS_WAIT_NONE);
    unsigned before = admitted[0];
    run(S, 60 * S);
    CU_ASSERT_EQUAL(admitted[0], before + 2);
    CU_ASSERT_EQUAL(order[order_count - 1], wait_count - 1);
    /* The last one leaves: nothing is left to look at. */
    CU_ASSERT_TRUE(enter(0, 512, 60 * S));
    while (enter(0, 512, 60 * S))
        ;
    qos_sched_leave(&waits[wait_count - 1]);
    CU_ASSERT_EQUAL(qos_sched_run(&pool, 60 * S, admit_cb, NULL), UINT64_MAX);
    CU_ASSERT_TRUE(list_is_empty(&pool.waiting));
}

static void test_change_of_limits(void)
{
    set_up();
    limit(&luns[0], 1, 0, 100);
    for (unsigned i = 0; i < 1000; i++)
        ignore_error(enter(0, 512, S), "counted");
    run(S, 3 * S);
    CU_ASSERT(admitted[0] <= 4);
    struct qos_limits more = {.max_iops = 500, .burst_ms = 10, .weight = 100};
    qos_node_set_limits(&luns[0], &more, 3 * S);
    run(3 * S, 4 * S);
    CU_ASSERT(admitted[0] >= 495 && admitted[0] <= 515);
    struct qos_limits none = {.weight = 100};
    qos_node_set_limits(&luns[0], &none, 4 * S);
    CU_ASSERT_EQUAL(qos_sched_run(&pool, 4 * S, admit_cb, NULL), UINT64_MAX);
    CU_ASSERT_EQUAL(admitted[0], 1000);
}

static void test_change_of_volume(void)
{
    set_up();
    limit(&volume, 10, 0, 100);
    qos_node_set_parent(&luns[0], &volume);
    for (unsigned i = 0; i < 100; i++)
        ignore_error(enter(0, 512, S), "counted");
    CU_ASSERT(admitted[0] < 3);
    qos_node_set_parent(&luns[0], &pool); /* with what waits */
    CU_ASSERT_TRUE(list_is_empty(&volume.waiting) && list_is_empty(&volume.link));
    CU_ASSERT_EQUAL(qos_sched_run(&pool, S, admit_cb, NULL), UINT64_MAX);
    CU_ASSERT_EQUAL(admitted[0], 100);
}

static void test_release(void)
{
    set_up();
    limit(&pool, 1, 0, 100);
    limit(&luns[1], 1, 0, 100);
    for (unsigned i = 0; i < 100; i++)
        ignore_error(enter(i % 2, 512, S), "counted");
    qos_sched_release(&pool, S, admit_cb, NULL);
    CU_ASSERT_EQUAL(admitted[0] + admitted[1], 100);
    CU_ASSERT_TRUE(list_is_empty(&pool.waiting));
}

static void test_charge(void)
{
    set_up();
    limit(&luns[0], 0, 1 << 20, 100);
    qos_sched_charge(&luns[0], 0, 4 << 20, S);
    CU_ASSERT_FALSE(enter(0, 512, S));
    run(S, 4 * S);
    CU_ASSERT_EQUAL(admitted[0], 0);
    run(4 * S, 5 * S);
    CU_ASSERT_EQUAL(admitted[0], 1);
}

static CU_TestInfo rate_tests[] = {
    {"a rate is kept to one request", test_rate_is_kept},
    {"no limit", test_rate_no_limit},
    {"no more is saved than the burst", test_rate_saves_no_more_than_the_burst},
    {"a new limit takes the debt over", test_rate_change},
    {"extremes do not overflow", test_rate_extremes},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo sched_tests[] = {
    {"nothing waits without a limit", test_unlimited_goes},
    {"a LUN's limit is its own", test_lun_limit_is_its_own},
    {"a limit on bytes", test_bytes_limit},
    {"both limits", test_both_limits},
    {"limits of LUN and volume", test_two_levels},
    {"shares by weight", test_weights},
    {"shares are of bytes where bytes are limited", test_weights_by_bytes},
    {"who comes late has saved nothing up", test_late_comer},
    {"who uses less than its share does not wait", test_quiet_one},
    {"who uses more than its share waits", test_quiet_one_grows},
    {"a volume has a share of its own", test_volume_shares},
    {"a request leaves", test_leave},
    {"limits change below those that wait", test_change_of_limits},
    {"a LUN moves with what waits", test_change_of_volume},
    {"all are let go", test_release},
    {"what was not asked for is paid later", test_charge},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"rate", NULL, NULL, NULL, NULL, rate_tests},
        {"sched", NULL, NULL, NULL, NULL, sched_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
