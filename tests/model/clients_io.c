/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes of the test of several clients. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/err.h"
#include "tests/model/clients.h"

enum
{
    /* What a write may ask for: for each block, and nodes of map and drop list beside that. */
    CL_WRITE_SHARE = 2,
    CL_WRITE_NODES = 64,
    CL_CHURNS = 4,
    CL_AS_IT_WAS = -1, /* no value of a byte */
};

static struct lun *cl_handle(struct cl_client *client, const struct cl_lun *lun)
{
    struct lun *handle = NULL;
    int r = lun_open(client->cl->pool, lun->name, 0, &handle, &client->why);
    if (r < 0)
        cl_fail(client, "'%s' cannot be opened: %d %s", lun->name, r, client->why.text);
    return handle;
}

/* False: the power went. */
static bool cl_read(struct cl_client *client, const struct cl_lun *lun, uint64_t lba, uint64_t blks)
{
    struct lun *handle = cl_handle(client, lun);
    int r = lun_read(handle, client->buf, blks * CL_BLK, lba * CL_BLK);
    lun_close(handle);
    if (r < 0 && cl_is_off(client->cl))
    {
        cl_crash(client);
        return false;
    }
    if (r < 0)
        cl_fail(client, "'%s' cannot be read: %d", lun->name, r);
    return true;
}

/* Reads, and each block is as it was or, after what failed, as it was to be. After a crash that is
 * looked at by others. */
static void cl_adopt(struct cl_client *client, struct cl_lun *lun, uint64_t lba, uint64_t blks,
                     int value)
{
    if (client->call.has_crashed || !cl_read(client, lun, lba, blks))
        return;
    for (uint64_t i = 0; i < blks * CL_SECTORS; i++)
    {
        const uint8_t *sector = client->buf + i * SIMDEV_SECTOR_BYTES;
        uint64_t at = lba + i / CL_SECTORS;
        uint8_t was = lun->now.values[lba * CL_SECTORS + i];
        if ((sector[0] != was && sector[0] != value) ||
            memcmp(sector, sector + 1, SIMDEV_SECTOR_BYTES - 1) != 0)
            cl_fail(client, "'%s' holds %u in block %" PRIu64 ", or several, not %u", lun->name,
                    sector[0], at, was);
        if (sector[0] != client->buf[i / CL_SECTORS * CL_BLK] && value != CL_AS_IT_WAS &&
            sector[0] != was)
            cl_fail(client, "'%s' was written by half in block %" PRIu64, lun->name, at);
        lun->now.values[lba * CL_SECTORS + i] = sector[0];
        lun->is_own[at] &= sector[0] == was;
    }
}

/* All blocks have become @value; for sure if it is durable. */
static void cl_become(struct cl_lun *lun, uint64_t lba, uint64_t blks, uint8_t value,
                      bool is_durable)
{
    memset(lun->now.values + lba * CL_SECTORS, value, blks * CL_SECTORS);
    if (!is_durable)
        return;
    memset(lun->may[lba], 0, blks * sizeof(lun->may[0]));
    cl_may_hold(lun, lba, blks, value);
}

static void cl_need_io(struct cl_client *client, const struct cl_lun *lun, uint64_t blks)
{
    cl_call_new(client);
    client->call.need.pool_blks = 0;
    cl_call_need(client, lun->volume, CL_WRITE_SHARE * blks + CL_WRITE_NODES);
}

static bool cl_write(struct cl_client *client, struct cl_lun *lun, uint64_t lba, uint64_t blks,
                     uint8_t value)
{
    cl_say(client, "write %" PRIu64 " + %" PRIu64 " of '%s'%s: %u", lba, blks, lun->name,
           lun->is_reserved ? ", reserved" : "", value);
    struct lun *handle = cl_handle(client, lun);
    unsigned flags = rng_percent(&client->rng, 10) ? LUN_FUA : 0;
    memset(client->buf, value, blks * CL_BLK);
    cl_need_io(client, lun, blks);
    cl_may_hold(lun, lba, blks, value);
    cl_call_begin(client);
    int r = lun_write(handle, client->buf, blks * CL_BLK, lba * CL_BLK, flags);
    lun_close(handle);
    if (!cl_call_end_io(client, "write", r, lun))
    {
        cl_adopt(client, lun, lba, blks, value);
        return false;
    }
    cl_become(lun, lba, blks, value, flags & LUN_FUA);
    memset(lun->is_own + lba, true, blks);
    return true;
}

static void cl_range(struct cl_client *client, const struct cl_lun *lun, uint64_t *lba,
                     uint64_t *blks)
{
    uint64_t most = rng_percent(&client->rng, 60) ? 4 : CL_IO_BLKS;
    *lba = rng_below(&client->rng, lun->now.blks);
    *blks = rng_between(&client->rng, 1, min_u64(most, lun->now.blks - *lba));
}

static uint8_t cl_value(struct cl_client *client)
{
    return (uint8_t)rng_between(&client->rng, 1, 255);
}

static struct cl_lun *cl_pick_promised(struct cl_client *client)
{
    unsigned from = (unsigned)rng_below(&client->rng, CL_LUNS);
    AUTO_LOCK(&client->cl->lock);
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        struct cl_lun *lun = &client->luns[(from + i) % CL_LUNS];
        bool is_guaranteed = lun->volume >= 0 && client->cl->volumes[lun->volume].is_guaranteed;
        if (lun->is_there && (lun->is_reserved || is_guaranteed))
            return lun;
    }
    return NULL;
}

static void cl_write_some(struct cl_client *client, struct cl_lun *lun)
{
    uint64_t lba, blks;
    if (!lun)
        return;
    cl_range(client, lun, &lba, &blks);
    ignore_error(cl_write(client, lun, lba, blks, cl_value(client)), "it was judged");
}

void cl_step_write(struct cl_client *client)
{
    cl_write_some(client, cl_pick_lun(client));
}

void cl_step_write_promised(struct cl_client *client)
{
    cl_write_some(client, cl_pick_promised(client));
}

void cl_step_write_closed(struct cl_client *client)
{
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        struct cl_lun *lun = &client->luns[i];
        if (lun->is_there && lun->volume == CL_CLOSED_NUMBER && !lun->is_reserved)
        {
            cl_write_some(client, lun);
            return;
        }
    }
    cl_step_create(client);
}

/* All of it, or until there is no space. */
static void cl_fill(struct cl_client *client, struct cl_lun *lun)
{
    uint8_t value = cl_value(client);
    for (uint64_t at = 0; at < lun->now.blks; at += CL_IO_BLKS)
    {
        if (!cl_write(client, lun, at, min_u64(CL_IO_BLKS, lun->now.blks - at), value))
            return;
    }
}

void cl_step_fill(struct cl_client *client)
{
    struct cl_lun *lun =
        rng_percent(&client->rng, 30) ? cl_pick_promised(client) : cl_pick_lun(client);
    if (lun)
        cl_fill(client, lun);
}

void cl_fill_promised(struct cl_client *client)
{
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (client->luns[i].is_there && client->luns[i].is_reserved)
            cl_fill(client, &client->luns[i]);
    }
}

static bool cl_unmap(struct cl_client *client, struct cl_lun *lun, uint64_t lba, uint64_t blks)
{
    cl_say(client, "unmap %" PRIu64 " + %" PRIu64 " of '%s'", lba, blks, lun->name);
    struct lun *handle = cl_handle(client, lun);
    cl_need_io(client, lun, blks);
    cl_may_hold(lun, lba, blks, 0);
    cl_call_begin(client);
    int r = lun_unmap(handle, blks * CL_BLK, lba * CL_BLK, 0);
    lun_close(handle);
    memset(lun->is_own + lba, false, blks);
    bool is_done = cl_call_end_io(client, "unmap", r, lun);
    if (is_done)
        cl_become(lun, lba, blks, 0, false);
    else
        cl_adopt(client, lun, lba, blks, 0);
    return is_done;
}

void cl_step_unmap(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    uint64_t lba, blks;
    if (!lun)
        return;
    cl_range(client, lun, &lba, &blks);
    if (rng_percent(&client->rng, 15))
    {
        lba = 0;
        blks = lun->now.blks;
    }
    ignore_error(cl_unmap(client, lun, lba, blks), "it was judged");
}

/* What it is promised is soon only there after a checkpoint. */
void cl_step_churn(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_promised(client);
    for (unsigned i = 0; lun && i < CL_CHURNS; i++)
    {
        if (!cl_unmap(client, lun, 0, lun->now.blks))
            return;
        cl_fill(client, lun);
    }
}

void cl_step_zero(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    uint64_t lba, blks;
    if (!lun)
        return;
    cl_range(client, lun, &lba, &blks);
    unsigned flags = rng_percent(&client->rng, 50) ? LUN_MAY_UNMAP : 0;
    cl_say(client, "zeros %" PRIu64 " + %" PRIu64 " of '%s'%s", lba, blks, lun->name,
           flags ? ", may unmap" : "");
    struct lun *handle = cl_handle(client, lun);
    cl_need_io(client, lun, blks);
    cl_may_hold(lun, lba, blks, 0);
    cl_call_begin(client);
    int r = lun_zero(handle, blks * CL_BLK, lba * CL_BLK, flags);
    lun_close(handle);
    if (flags || !lun->is_reserved) /* a thin one keeps nothing for zeros */
        memset(lun->is_own + lba, false, blks);
    if (cl_call_end_io(client, "zeros", r, lun))
        cl_become(lun, lba, blks, 0, false);
    else
        cl_adopt(client, lun, lba, blks, 0);
}

void cl_step_read(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    if (!lun)
        return;
    uint64_t lba, blks;
    cl_call_new(client);
    cl_range(client, lun, &lba, &blks);
    cl_say(client, "read %" PRIu64 " + %" PRIu64 " of '%s'", lba, blks, lun->name);
    cl_adopt(client, lun, lba, blks, CL_AS_IT_WAS);
}

/* From now on a crash loses nothing of it. */
void cl_step_flush(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    if (!lun)
        return;
    cl_say(client, "flush '%s'", lun->name);
    struct lun *handle = cl_handle(client, lun);
    cl_call_new(client);
    cl_call_begin(client);
    int r = lun_flush(handle);
    lun_close(handle);
    if (r == -ENOSPC)
        cl_fail(client, "a flush finds no space");
    if (cl_call_end_io(client, "flush", r, lun))
        cl_settle(lun);
}
