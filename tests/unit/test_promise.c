/* SPDX-License-Identifier: BSD-3-Clause */
/* Reserved LUNs: what is promised, refused, kept; on a full pool and after crashes. */
#include "lun/volume/promise.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/space_internal.h"
#include "lun/pool/tree.h"
#include "lun/volume/ledger.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

enum
{
    LUN_BLKS = 1000
};

static int reserve(const char *name, uint64_t blks)
{
    struct lun_create_args args = {
        .name = name, .size_bytes = blks * BLK_BYTES, .attributes = {.is_reserved = true}};
    return lun_create(host.pool, &args, &host.why);
}

static int clone_lun(const char *source, const char *name, bool no_reserve)
{
    struct lun_clone_args args = {.source = source, .name = name, .no_reserve = no_reserve};
    return lun_clone(host.pool, &args, &host.why);
}

static int set_reserved(const char *name, bool is_reserved)
{
    struct lun_attributes attributes = {.is_reserved = is_reserved};
    return lun_set_attributes(host.pool, name, LUN_SET_RESERVED, &attributes, &host.why);
}

static struct pool_info pool_info(void)
{
    struct pool_info info;
    pool_get_info(host.pool, &info);
    return info;
}

static uint64_t needed_blks(const char *name)
{
    return host_info(&host, name).needed_bytes / BLK_BYTES;
}

static void check_pool_now(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "%s\n", host.said);
}

static void stop(void)
{
    check_pool_now();
    host_stop(&host);
}

static int write_all(const char *name, uint64_t blks, uint8_t value)
{
    int r = 0;
    for (uint64_t at = 0; r == 0 && at < blks; at += 200)
        r = host_write(&host, name, at, blks - at < 200 ? blks - at : 200, value, 0);
    return r;
}

static int unmap_flagged(const char *name, uint64_t lba, uint64_t blks, unsigned flags)
{
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, 0, &lun, NULL), 0);
    int r = lun_zero(lun, blks * BLK_BYTES, lba * BLK_BYTES, flags);
    lun_close(lun);
    return r;
}

static int write_atomic(const char *name, uint64_t lba, uint64_t blks, uint8_t value)
{
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, 0, &lun, NULL), 0);
    uint8_t *bytes = malloc(blks * BLK_BYTES);
    memset(bytes, value, blks * BLK_BYTES);
    int r = lun_write_atomic(lun, bytes, blks * BLK_BYTES, lba * BLK_BYTES, 0);
    free(bytes);
    lun_close(lun);
    return r;
}

/* Thin writes until there is nothing left for them. Block by block in the end: not one is left. */
static void fill_thin(const char *name, uint64_t from)
{
    int r = 0;
    for (uint64_t at = from; r == 0; at += 64)
        r = host_write(&host, name, at, 64, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
    r = 0;
    for (uint64_t at = from + 100000; r == 0; at += 2)
        r = host_write(&host, name, at, 1, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
}

/* ---- figures ------------------------------------------------------------------------------- */

static void test_needs(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    uint64_t available = pool_info().available_bytes;
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    uint64_t nodes = tree_nodes_max(LUN_BLKS);
    CU_ASSERT_EQUAL(needed_blks("r"), LUN_BLKS + nodes);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, (LUN_BLKS + nodes + LEDGER_SLACK_BLKS) * BLK_BYTES);
    CU_ASSERT_TRUE(pool_info().available_bytes <= available - pool_info().promised_bytes);
    CU_ASSERT_TRUE(pool_info().available_bytes >=
                   available - pool_info().promised_bytes - 16 * BLK_BYTES);
    struct pool_info info = pool_info();
    CU_ASSERT_EQUAL(info.available_bytes + info.promised_bytes,
                    info.free_bytes + info.deferred_bytes);

    CU_ASSERT_EQUAL(host_write(&host, "r", 0, 100, 1, 0), 0);
    uint64_t own_nodes = host_line(&host, "r")->own_node_blks;
    CU_ASSERT_EQUAL(own_nodes, 1);
    CU_ASSERT_EQUAL(needed_blks("r"), LUN_BLKS - 100 + nodes - own_nodes);
    CU_ASSERT_EQUAL(host_write(&host, "r", 0, 100, 2, 0), 0); /* in place */
    CU_ASSERT_EQUAL(needed_blks("r"), LUN_BLKS - 100 + nodes - own_nodes);
    CU_ASSERT_EQUAL(host_unmap(&host, "r", 10, 20), 0);
    CU_ASSERT_EQUAL(needed_blks("r"), LUN_BLKS - 80 + nodes - own_nodes);
    CU_ASSERT_EQUAL(host_info(&host, "r").is_reserved, true);

    host_reopen(&host);
    CU_ASSERT_EQUAL(needed_blks("r"), LUN_BLKS - 80 + nodes - own_nodes);
    CU_ASSERT_EQUAL(host_write(&host, "r", 500, 10, 3, LUN_FUA), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(needed_blks("r"), LUN_BLKS - 90 + nodes - own_nodes);
    host_delete(&host, "r");
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    stop();
}

/* A clone shares everything: the source owns nothing any more, the clone nothing yet. */
static void test_clone_needs_twice(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS, 1), 0);
    uint64_t before = needed_blks("r"); /* nodes only */
    CU_ASSERT_TRUE(before <= tree_nodes_max(LUN_BLKS));
    CU_ASSERT_EQUAL(clone_lun("r", "c", false), 0);
    uint64_t fresh = ledger_fresh_needs(LUN_BLKS, true, LUN_BLKS);
    CU_ASSERT_EQUAL(needed_blks("r"), fresh);
    CU_ASSERT_EQUAL(needed_blks("c"), fresh);
    CU_ASSERT_TRUE(host_info(&host, "c").is_reserved);
    check_pool_now();
    CU_ASSERT_EQUAL(clone_lun("r", "d", true), 0);
    CU_ASSERT_EQUAL(needed_blks("d"), 0);
    CU_ASSERT_FALSE(host_info(&host, "d").is_reserved);
    CU_ASSERT_EQUAL(needed_blks("r"), fresh); /* unchanged since, so not frozen again */
    host_delete(&host, "c");
    host_delete(&host, "d");
    host_settle(&host);
    CU_ASSERT_EQUAL(needed_blks("r"), before); /* what it shared is its own again */
    stop();
}

static void test_refusals(void)
{
    host_start(&host, NULL);
    uint64_t pool_blks = pool_info().available_bytes / BLK_BYTES;
    CU_ASSERT_EQUAL(reserve("x", pool_blks), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "are needed"));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "are available"));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "lunette pool grow"));
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    CU_ASSERT_EQUAL(pool_info().lun_count, 0);

    uint64_t half = pool_blks / 2;
    CU_ASSERT_EQUAL(reserve("r", half), 0);
    CU_ASSERT_EQUAL(write_all("r", half, 1), 0);
    uint64_t promised = pool_info().promised_bytes;
    CU_ASSERT_EQUAL(clone_lun("r", "c", false), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "--no-reserve"));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "lunette explain space"));
    CU_ASSERT_EQUAL(clone_lun("r", "c", true), -ENOSPC); /* its own falls to zero all the same */
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "r", "s", NULL, &host.why), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "snapshot"));
    CU_ASSERT_EQUAL(lun_resize(host.pool, "r", 2 * half * BLK_BYTES, 0, &host.why), -ENOSPC);
    host_create(&host, "t", pool_blks);
    CU_ASSERT_EQUAL(set_reserved("t", true), -ENOSPC);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, promised);
    CU_ASSERT_EQUAL(pool_info().snapshot_count, 0);
    check_pool_now();

    CU_ASSERT_EQUAL(set_reserved("r", false), 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "r", "s", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(set_reserved("r", true), -ENOSPC);
    host_delete(&host, "r@s");
    host_settle(&host);
    CU_ASSERT_EQUAL(set_reserved("r", true), 0);
    CU_ASSERT_EQUAL(host_write(&host, "t", 0, 100, 4, 0), 0);
    stop();
}

static void test_resize_and_restore(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(reserve("r", 400), 0);
    CU_ASSERT_EQUAL(write_all("r", 400, 1), 0);
    host_snapshot(&host, "r", "s");
    CU_ASSERT_EQUAL(needed_blks("r"), ledger_fresh_needs(400, true, 400));
    CU_ASSERT_EQUAL(lun_resize(host.pool, "r", 600 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_EQUAL(needed_blks("r"), ledger_fresh_needs(600, true, 400));
    CU_ASSERT_EQUAL(write_all("r", 600, 2), 0);
    CU_ASSERT_TRUE(needed_blks("r") < 30);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "r", 100 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    CU_ASSERT_TRUE(needed_blks("r") < 30); /* the list may still be as long as the point is */
    check_pool_now();
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "r", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(needed_blks("r"), ledger_fresh_needs(400, true, 400));
    host_settle(&host);
    CU_ASSERT_TRUE(host_holds(&host, "r", 0, 400, 1));
    stop();
}

/* A snapshot of a LUN that was larger when it froze: its drop list may be as long as that. */
static void test_restore_to_a_larger_point(void)
{
    host_start(&host, NULL);
    host_create(&host, "t", 200000);
    CU_ASSERT_EQUAL(reserve("r", 100), 0);
    CU_ASSERT_EQUAL(host_write(&host, "r", 0, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(set_reserved("r", false), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "r", 200000 * BLK_BYTES, 0, &host.why), 0);
    host_snapshot(&host, "r", "large");
    CU_ASSERT_EQUAL(lun_resize(host.pool, "r", 100 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    host_snapshot(&host, "r", "small"); /* the same point */
    CU_ASSERT_EQUAL(host_write(&host, "r", 0, 1, 2, 0), 0);
    host_snapshot(&host, "r", "other");
    CU_ASSERT_EQUAL(set_reserved("r", true), 0);
    CU_ASSERT_EQUAL(needed_blks("r"), ledger_fresh_needs(100, true, 100));
    fill_thin("t", 0);
    check_pool_now();
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "r", "small", 0, &host.why), -ENOSPC);
    check_pool_now();
    host_delete(&host, "t");
    host_settle(&host);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "r", "small", 0, &host.why), 0);
    CU_ASSERT_EQUAL(needed_blks("r"), ledger_fresh_needs(100, true, 200000));
    stop();
}

/* ---- keeping promises ---------------------------------------------------------------------- */

static void test_thin_writes_leave_it(void)
{
    host_start(&host, NULL);
    host_create(&host, "t", 200000);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    fill_thin("t", 0);
    CU_ASSERT_TRUE(pool_info().available_bytes < 64 * BLK_BYTES);
    check_pool_now();
    /* Each block alone: the most metadata. */
    int r = 0;
    for (uint64_t i = 0; i < LUN_BLKS && r == 0; i++)
        r = host_write(&host, "r", i * 7 % LUN_BLKS, 1, 1, 0);
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_TRUE(host_holds(&host, "r", 0, LUN_BLKS, 1));
    CU_ASSERT_EQUAL(host_write(&host, "t", 150000, 1, 1, 0), -ENOSPC);
    /* What it gives back stays its own to take. */
    CU_ASSERT_EQUAL(host_unmap(&host, "r", 0, LUN_BLKS), 0);
    CU_ASSERT_EQUAL(host_write(&host, "t", 150000, 1, 1, 0), -ENOSPC);
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS, 2), 0);
    CU_ASSERT_TRUE(host_holds(&host, "r", 0, LUN_BLKS, 2));
    host_crash_open(&host);
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS, 3), 0);
    CU_ASSERT_EQUAL(host_write(&host, "t", 150000, 1, 1, 0), -ENOSPC);
    stop();
}

static void test_atomic_on_a_full_pool(void)
{
    host_start(&host, NULL);
    host_create(&host, "t", 200000);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS, 1), 0);
    fill_thin("t", 0);
    for (unsigned i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(write_atomic("r", i * 37, 256, (uint8_t)(i + 2)), 0);
    CU_ASSERT_TRUE(host_holds(&host, "r", 19 * 37, 256, 21));
    CU_ASSERT_EQUAL(write_atomic("t", 0, 256, 1), -ENOSPC);
    check_pool_now();
    /* Shared, in pieces: the record would drop each. */
    CU_ASSERT_EQUAL(set_reserved("r", false), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "t", false, 0, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(set_reserved("r", true), 0);
    host_snapshot(&host, "r", "s");
    host_create(&host, "u", 200000);
    fill_thin("u", 0);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(write_atomic("r", i * 300, 256, 77), 0);
    CU_ASSERT_TRUE(host_holds(&host, "r", 600, 256, 77));
    stop();
}

/* Only deferred blocks are left: nobody runs checkpoints but the writers themselves. */
static void test_waiting_for_deferred(void)
{
    host_start(&host, NULL);
    host_create(&host, "t", 200000);
    CU_ASSERT_EQUAL(reserve("r", 2000), 0);
    fill_thin("t", 0);
    for (unsigned round = 0; round < 8; round++)
    {
        CU_ASSERT_EQUAL(host_unmap(&host, "r", 0, 2000), 0);
        CU_ASSERT_EQUAL(write_all("r", 2000, (uint8_t)(round + 1)), 0);
        CU_ASSERT_TRUE(host_holds(&host, "r", 0, 2000, (uint8_t)(round + 1)));
    }
    stop();
}

/* Each block of a part of the LUN is an extent of its own, and shared: to drop them all could take
 * more nodes than there are. */
static void test_unmap_shared_on_a_full_pool(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    for (uint64_t i = 0; i < LUN_BLKS; i++)
        CU_ASSERT_EQUAL(host_write(&host, "r", i * 7 % LUN_BLKS, 1, 1, 0), 0);
    host_snapshot(&host, "r", "s");
    host_create(&host, "t", 200000);
    fill_thin("t", 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "r", 0, LUN_BLKS), 0);
    CU_ASSERT_TRUE(host_holds(&host, "r", 0, LUN_BLKS, 0));
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS, 2), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "r", 10 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "r@s", 0, LUN_BLKS, 1));
    stop();
}

/* With little slack a record of many blocks cannot ask for its nodes any more: block by block. */
static void test_in_need(void)
{
    host_start(&host, NULL);
    host.pool->ledger.slack_blks = 130;
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    for (uint64_t i = 0; i < LUN_BLKS; i++)
        CU_ASSERT_EQUAL(host_write(&host, "r", i * 7 % LUN_BLKS, 1, 1, 0), 0);
    host_snapshot(&host, "r", "s");
    host_create(&host, "t", 200000);
    fill_thin("t", 0);
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS - 100, 2), 0);
    fill_thin("t", 1000);
    CU_ASSERT_TRUE(needed_blks("r") < 130);
    /* A delete asks for all of the reserve: what is promised is all that is left. */
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    struct space_stats stats;
    space_get_stats(host.pool->space, &stats);
    uint64_t rest = stats.free_blks + stats.deferred_blks - stats.promised_blks - stats.asked_blks;
    CU_ASSERT_EQUAL(space_admit(host.pool->space, rest, SPACE_FREEING), 0);
    CU_ASSERT_TRUE(space_admit(host.pool->space, 1, SPACE_FREEING) < 0);
    CU_ASSERT_EQUAL(host_write(&host, "r", LUN_BLKS - 100, 50, 3, 0), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "r", LUN_BLKS - 50, 50), 0);
    CU_ASSERT_EQUAL(host_write(&host, "r", LUN_BLKS - 50, 50, 3, 0), 0);
    space_leave(host.pool->space, rest);
    CU_ASSERT_TRUE(host_holds(&host, "r", 0, LUN_BLKS - 100, 2));
    CU_ASSERT_TRUE(host_holds(&host, "r", LUN_BLKS - 100, 100, 3));
    CU_ASSERT_TRUE(host_holds(&host, "r@s", 0, LUN_BLKS, 1));
    stop();
}

static void test_zero_with_allocation(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    CU_ASSERT_EQUAL(host_write(&host, "r", 0, 300, 1, 0), 0);
    host_snapshot(&host, "r", "s");
    CU_ASSERT_EQUAL(host_write(&host, "r", 0, 100, 2, 0), 0);
    uint64_t own = host_info(&host, "r").own_bytes;
    CU_ASSERT_EQUAL(unmap_flagged("r", 0, 50, 0), 0); /* own: in place */
    CU_ASSERT_EQUAL(host_info(&host, "r").own_bytes, own);
    CU_ASSERT_TRUE(host_holds(&host, "r", 0, 50, 0));
    CU_ASSERT_TRUE(host_holds(&host, "r", 50, 50, 2));
    CU_ASSERT_EQUAL(unmap_flagged("r", 100, 50, 0), 0); /* shared: blocks of its own */
    CU_ASSERT_EQUAL(host_info(&host, "r").own_bytes, own + 50 * BLK_BYTES);
    CU_ASSERT_EQUAL(unmap_flagged("r", 900, 50, 0), 0); /* a hole stays one */
    CU_ASSERT_EQUAL(host_info(&host, "r").mapped_bytes, 300 * BLK_BYTES);
    CU_ASSERT_EQUAL(unmap_flagged("r", 0, 10, LUN_FAST_ONLY), -ENOTSUP);
    CU_ASSERT_EQUAL(unmap_flagged("r", 0, 10, LUN_FAST_ONLY | LUN_MAY_UNMAP), 0);
    CU_ASSERT_EQUAL(host_info(&host, "r").own_bytes, own + 40 * BLK_BYTES);
    CU_ASSERT_TRUE(host_holds(&host, "r@s", 0, 300, 1));
    CU_ASSERT_TRUE(host_holds(&host, "r", 100, 50, 0));
    CU_ASSERT_EQUAL(set_reserved("r", false), 0);
    CU_ASSERT_EQUAL(unmap_flagged("r", 50, 10, LUN_FAST_ONLY), 0); /* thin: a hole */
    CU_ASSERT_EQUAL(host_info(&host, "r").own_bytes, own + 30 * BLK_BYTES);
    stop();
}

/* A command holds what it was allowed only until its record is applied. */
static void test_nothing_stays_held(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    CU_ASSERT_EQUAL(write_all("r", LUN_BLKS, 1), 0);
    CU_ASSERT_EQUAL(clone_lun("r", "c", false), 0);
    CU_ASSERT_EQUAL(host.pool->ledger.held_blks, 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes,
                    (needed_blks("r") + needed_blks("c") + LEDGER_SLACK_BLKS) * BLK_BYTES);
    struct promise_delta delta = {
        .kind = PROMISE_NEW_LUN, .is_reserved = true, .size_bytes = 100 * BLK_BYTES};
    uint64_t before = pool_info().promised_bytes;
    CU_ASSERT_EQUAL(promise_check(host.pool, &delta, 1, &host.why), 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes,
                    before + ledger_fresh_needs(100, false, 0) * BLK_BYTES);
    promise_end(host.pool);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, before);
    stop();
}

/* What others do when the record has just been run. */
static void (*meanwhile)(void);

void __wrap_promise_end(struct pool *pool);
void __real_promise_end(struct pool *pool);

void __wrap_promise_end(struct pool *pool)
{
    if (meanwhile)
        meanwhile();
    __real_promise_end(pool);
}

static const char *other;
static int other_result;

static void write_other(void)
{
    other_result = host_write(&host, other, LUN_BLKS, 64, 2, 0);
}

/* What is promised is in the books or held, never both: what is left beside it can be written. */
static void check_promised_once(const char *lun, bool in_volume)
{
    struct volume_attributes volume = {.size_bytes = in_volume ? UINT64_C(2500) * BLK_BYTES : 0};
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &volume, &host.why), 0);
    host_create(&host, lun, LUN_BLKS);
    host_create(&host, other, 10 * LUN_BLKS);
    CU_ASSERT_EQUAL(write_all(other, LUN_BLKS, 1), 0);
    if (!in_volume)
        host_create(&host, "fat", 10 * LUN_BLKS);
    uint64_t left = 2 * LUN_BLKS + 400, lba = 0;
    while (!in_volume && pool_info().available_bytes > left * BLK_BYTES)
        CU_ASSERT_EQUAL_FATAL(host_write(&host, "fat", lba++, 1, 1, 0), 0);
    other_result = -EINPROGRESS;
    meanwhile = write_other;
    CU_ASSERT_EQUAL(set_reserved(lun, true), 0);
    meanwhile = NULL;
    CU_ASSERT_EQUAL(other_result, 0);
    CU_ASSERT_EQUAL(host.pool->ledger.held_blks, 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, (needed_blks(lun) + LEDGER_SLACK_BLKS) * BLK_BYTES);
    check_pool_now();
    stop();
}

static void test_promised_once(void)
{
    other = "other";
    check_promised_once("r", false);
    other = "v/other";
    check_promised_once("v/r", true);
}

/* A dry run, the command itself and the pool agree on the figure. */
static int64_t promised_by(int (*command)(void))
{
    int64_t before = (int64_t)pool_info().promised_bytes;
    command_dry_run(true);
    CU_ASSERT_EQUAL(command(), 0);
    command_dry_run(false);
    int64_t foreseen = command_promised_bytes();
    CU_ASSERT_EQUAL((int64_t)pool_info().promised_bytes, before);
    CU_ASSERT_EQUAL(command(), 0);
    CU_ASSERT_EQUAL(command_promised_bytes(), foreseen);
    CU_ASSERT_EQUAL((int64_t)pool_info().promised_bytes - before, foreseen);
    return foreseen;
}

static int command_create(void)
{
    return reserve("r", LUN_BLKS);
}

static int command_snapshot(void)
{
    return snapshot_create(host.pool, "r", "s", NULL, &host.why);
}

static int command_clone(void)
{
    return clone_lun("r", "c", false);
}

static int command_thin_clone(void)
{
    return clone_lun("r", "t", true);
}

static int command_grow(void)
{
    return lun_resize(host.pool, "r", 2 * LUN_BLKS * BLK_BYTES, 0, &host.why);
}

static int command_end_clone(void)
{
    return set_reserved("c", false);
}

static int command_end_last(void)
{
    return set_reserved("r", false);
}

static int command_volume(void)
{
    struct volume_attributes attributes = {.size_bytes = LUN_BLKS * BLK_BYTES,
                                           .is_guaranteed = true};
    return volume_create(host.pool, "v", &attributes, &host.why);
}

static int command_volume_clone(void)
{
    struct volume_clone_args args = {.volume = "v", .name = "w"};
    return volume_clone(host.pool, &args, &host.why);
}

static int command_volume_end(void)
{
    struct volume_attributes attributes = {0};
    return volume_modify(host.pool, "w", VOLUME_SET_GUARANTEE, &attributes, &host.why);
}

static void test_figures_of_dry_runs(void)
{
    host_start(&host, NULL);
    CU_ASSERT(promised_by(command_create) > (LUN_BLKS + LEDGER_SLACK_BLKS) * BLK_BYTES);
    CU_ASSERT_EQUAL(write_all("r", 100, 1), 0);
    CU_ASSERT(promised_by(command_snapshot) >= 100 * BLK_BYTES);
    CU_ASSERT_EQUAL(write_all("r", 100, 2), 0);
    CU_ASSERT(promised_by(command_clone) >= (LUN_BLKS + 100) * BLK_BYTES);
    CU_ASSERT_EQUAL(promised_by(command_thin_clone), 0);
    CU_ASSERT(promised_by(command_grow) >= LUN_BLKS * BLK_BYTES);
    CU_ASSERT(promised_by(command_end_clone) <= -LUN_BLKS * BLK_BYTES);
    CU_ASSERT(promised_by(command_end_last) <= -(LUN_BLKS + LEDGER_SLACK_BLKS) * BLK_BYTES);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    CU_ASSERT_EQUAL(promised_by(command_volume), (LUN_BLKS + LEDGER_SLACK_BLKS) * BLK_BYTES);
    CU_ASSERT_EQUAL(promised_by(command_volume_clone), LUN_BLKS * BLK_BYTES);
    CU_ASSERT_EQUAL(promised_by(command_volume_end), -LUN_BLKS * BLK_BYTES);
    stop();
}

/* Nor does anything stay held after a command that something else forbids. */
static void test_nothing_stays_held_by_a_quota(void)
{
    struct quota_rule rule = {.type = QUOTA_USER,
                              .volume = "v",
                              .target = "ann",
                              .hard_bytes = BLK_BYTES,
                              .soft_bytes = UINT64_MAX,
                              .threshold_bytes = UINT64_MAX};
    struct volume_attributes volume = {0};
    struct lun_attributes attributes = {.is_reserved = true, .owner = "ann"};
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &volume, &host.why), 0);
    CU_ASSERT_EQUAL(quota_rule_set(host.pool, &rule, &host.why), 0);
    CU_ASSERT_EQUAL(quota_set_enabled(host.pool, "v", true, &host.why), 0);
    host_create(&host, "v/l", 100);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "v/l", LUN_SET_RESERVED | LUN_SET_OWNER,
                                       &attributes, &host.why),
                    -EDQUOT);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    CU_ASSERT_EQUAL(host.pool->ledger.held_blks, 0);
    stop();
}

/* ---- the space below ----------------------------------------------------------------------- */

static void test_sparse_file(void)
{
    host_start(&host, NULL);
    host_create(&host, "t", 4000);
    CU_ASSERT_EQUAL(write_all("t", 2000, 1), 0);
    host_settle(&host);
    simdev_set_room(host.disk, 1000);
    CU_ASSERT_EQUAL(reserve("r", 10), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "file system"));
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    CU_ASSERT_EQUAL(simdev_room(host.disk), 1000);
    simdev_set_room(host.disk, HOST_POOL_BYTES / BLK_BYTES);
    CU_ASSERT_EQUAL(reserve("r", 10), 0);
    uint64_t left_blks = simdev_room(host.disk);
    CU_ASSERT_TRUE(left_blks < HOST_POOL_BYTES / BLK_BYTES - 1000);
    simdev_set_room(host.disk, 0);

    uint64_t discards = simdev_count(host.disk, SIMDEV_DISCARD);
    host_delete(&host, "t");
    host_settle(&host);
    CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_DISCARD), discards);
    CU_ASSERT_EQUAL(pool_grow(host.pool, 2 * HOST_POOL_BYTES, &host.why), -ENOSPC);
    simdev_set_room(host.disk, HOST_POOL_BYTES / BLK_BYTES);
    CU_ASSERT_EQUAL(pool_grow(host.pool, 2 * HOST_POOL_BYTES, &host.why), 0);
    CU_ASSERT_EQUAL(simdev_room(host.disk), 0);
    host_delete(&host, "r"); /* nothing is promised any more */
    host_create(&host, "u", 4000);
    CU_ASSERT_EQUAL(write_all("u", 2000, 1), 0);
    host_delete(&host, "u");
    host_settle(&host);
    CU_ASSERT_TRUE(simdev_count(host.disk, SIMDEV_DISCARD) > discards);
    stop();
}

static void test_no_fallocate(void)
{
    host_start(&host, NULL);
    struct simdev_fault fault = {.op = SIMDEV_ALLOCATE, .error = -EOPNOTSUPP, .nth = 1};
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(reserve("r", 10), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "block device"));
    simdev_arm(host.disk, NULL);
    CU_ASSERT_EQUAL(reserve("r", 10), 0);
    stop();
}

static bool has_event(const char *name)
{
    struct event *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(event_list(host.pool, 0, &list, &count), 0);
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= strcmp(list[i].name, name) == 0 && strcmp(list[i].severity, "error") == 0;
    free(list);
    return found;
}

/* Somebody made the file sparse again: the next opening tells. */
static void test_broken_from_outside(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(reserve("r", LUN_BLKS), 0);
    CU_ASSERT_FALSE(has_event("promise.broken"));
    host_reopen(&host);
    CU_ASSERT_FALSE(has_event("promise.broken"));
    uint64_t area_end = host.pool->space->area_end * BLK_BYTES;
    host_close(&host);
    struct device *below = simdev_open(host.disk);
    uint64_t group_bytes = HOST_GROUP_BLKS * BLK_BYTES, head = DISK_GROUP_HEAD_BLKS * BLK_BYTES;
    for (uint64_t at = area_end; at < HOST_POOL_BYTES; at = (at / group_bytes + 1) * group_bytes)
    {
        uint64_t from = at % group_bytes == 0 ? at + head : at;
        uint64_t end = (at / group_bytes + 1) * group_bytes;
        CU_ASSERT_EQUAL(below->ops->discard(below, end - from, from), 0);
    }
    device_close(below);
    simdev_set_room(host.disk, 10);
    CU_ASSERT_EQUAL(host_open(&host, NULL), 0);
    CU_ASSERT_TRUE(has_event("promise.broken"));
    /* And the write that does not get its space. */
    simdev_set_room(host.disk, 0);
    CU_ASSERT_TRUE(write_all("r", LUN_BLKS, 1) < 0);
    host_crash(&host);
    host_stop(&host);
}

static CU_TestInfo figures_tests[] = {
    {"needs", test_needs},
    {"a clone needs twice its size", test_clone_needs_twice},
    {"refusals", test_refusals},
    {"resize and restore", test_resize_and_restore},
    {"restore to a larger point", test_restore_to_a_larger_point},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo keeping_tests[] = {
    {"thin writes leave what is promised", test_thin_writes_leave_it},
    {"atomic writes on a full pool", test_atomic_on_a_full_pool},
    {"waiting for deferred blocks", test_waiting_for_deferred},
    {"unmap of shared blocks on a full pool", test_unmap_shared_on_a_full_pool},
    {"block by block in need", test_in_need},
    {"zeros with allocation", test_zero_with_allocation},
    {"nothing stays held", test_nothing_stays_held},
    {"a promise counts once", test_promised_once},
    {"figures of dry runs", test_figures_of_dry_runs},
    {"nothing stays held by a quota", test_nothing_stays_held_by_a_quota},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo below_tests[] = {
    {"a sparse file", test_sparse_file},
    {"no fallocate", test_no_fallocate},
    {"broken from outside", test_broken_from_outside},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"figures", NULL, NULL, NULL, NULL, figures_tests},
        {"keeping promises", NULL, NULL, NULL, NULL, keeping_tests},
        {"the space below", NULL, NULL, NULL, NULL, below_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
