/* SPDX-License-Identifier: BSD-3-Clause */
/* Power cuts of the test of several clients: how all meet, and what must be there afterwards. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/volume/catalog.h"
#include "tests/model/clients.h"

enum
{
    CL_CUT_SOON = 8, /* writes and syncs */
    CL_CUT_WITHIN = 120,
};

/* ---- meeting ------------------------------------------------------------------------------- */

bool cl_is_off(const struct cl *cl)
{
    return simdev_is_off(cl->disk);
}

void cl_step_power_cut(struct cl_client *client)
{
    uint64_t most = rng_percent(&client->rng, 50) ? CL_CUT_SOON : CL_CUT_WITHIN;
    uint64_t within = rng_between(&client->rng, 1, most);
    cl_say(client, "the power goes within %" PRIu64 " writes", within);
    simdev_cut_power_at(client->cl->disk, within);
}

/* Nobody is in a call. */
static void cl_reopen(struct cl_client *client)
{
    struct cl *cl = client->cl;
    struct simdev_crash_policy policy = simdev_random_policy(&cl->crash_rng);
    cl_policy_close(cl);
    ignore_error(pool_close(cl->pool), "its disk is off");
    simdev_restart(cl->disk, &cl->crash_rng, &policy);
    int r = cl_open(cl, &client->why);
    if (r < 0)
        cl_fail(client, "the pool does not open after a crash: %d %s", r, client->why.text);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
        cl->clients[c].must_adopt = cl->clients[c].must_check = true;
    cl_count(client, "crashed");
}

/* All are here, and the power stays as it is. True: it is on again. */
static bool cl_all_pause(struct cl_client *client)
{
    struct cl *cl = client->cl;
    simdev_cut_power_at(cl->disk, 0);
    bool was_off = cl_is_off(cl);
    if (was_off)
        cl_reopen(client);
    return was_off;
}

/* True: the power was off when the last one came. */
static bool cl_arrive(struct cl_client *client)
{
    struct cl_meeting *meeting = &client->cl->meeting;
    lock_take(&meeting->lock);
    uint64_t number = meeting->number;
    bool is_last = ++meeting->present == (client->cl->has_threads ? CL_CLIENTS : 1);
    lock_release(&meeting->lock);
    bool was_off = is_last && cl_all_pause(client);
    lock_take(&meeting->lock);
    if (is_last)
    {
        meeting->was_crash = was_off;
        meeting->present = 0;
        meeting->number++;
        condition_wake_all(&meeting->changed);
    }
    while (meeting->number == number)
        condition_wait(&meeting->changed, &meeting->lock);
    bool was_crash = meeting->was_crash;
    lock_release(&meeting->lock);
    return was_crash;
}

void cl_crash(struct cl_client *client)
{
    cl_say(client, "  the power is off");
    if (!cl_arrive(client))
        cl_fail(client, "the power came back by itself");
}

void cl_meet(struct cl_client *client)
{
    while (cl_arrive(client))
        cl_after_crash(client);
}

void cl_after_crash(struct cl_client *client)
{
    struct cl *cl = client->cl;
    client->must_check = false;
    cl_adopt_all(client);
    cl_meet(client);
    if (client->number == 0 || !cl->has_threads)
        cl_check(client);
    cl_meet(client);
    cl_check_contents(client);
    cl_meet(client);
}

/* ---- content ------------------------------------------------------------------------------- */

static void cl_may_be(uint64_t may[4], uint8_t value)
{
    may[value / 64] |= UINT64_C(1) << value % 64;
}

void cl_may_hold(struct cl_lun *lun, uint64_t lba, uint64_t blks, uint8_t value)
{
    lun->is_loose = true;
    for (uint64_t i = lba; i < lba + blks; i++)
        cl_may_be(lun->may[i], value);
}

void cl_settle(struct cl_lun *lun)
{
    lun->is_loose = false;
    memset(lun->may, 0, sizeof(lun->may));
    for (unsigned s = 0; s < CL_LUN_BLKS * CL_SECTORS; s++)
        cl_may_be(lun->may[s / CL_SECTORS], lun->now.values[s]);
}

static void cl_adopt_lun(struct cl_client *client, struct cl_lun *lun)
{
    struct lun *handle;
    int r = lun_open(client->cl->pool, lun->name, LUN_READ_ONLY, &handle, &client->why);
    if (r < 0)
        cl_fail(client, "after a crash '%s' is not there: %d %s", lun->name, r, client->why.text);
    if (lun_size_bytes(handle) != lun->now.blks * CL_BLK)
        cl_fail(client, "after a crash '%s' has %" PRIu64 " bytes, not %" PRIu64 " blocks",
                lun->name, lun_size_bytes(handle), lun->now.blks);
    r = lun_read(handle, client->buf, lun->now.blks * CL_BLK, 0);
    lun_close(handle);
    if (r < 0)
        cl_fail(client, "after a crash '%s' cannot be read: %d", lun->name, r);
    for (unsigned s = 0; s < lun->now.blks * CL_SECTORS; s++)
    {
        const uint8_t *sector = client->buf + s * SIMDEV_SECTOR_BYTES;
        const uint64_t *may = lun->may[s / CL_SECTORS];
        bool is_known = may[sector[0] / 64] >> sector[0] % 64 & 1;
        if (!is_known || memcmp(sector, sector + 1, SIMDEV_SECTOR_BYTES - 1) != 0)
            cl_fail(client, "after a crash '%s' holds %u in sector %u of block %u, or several",
                    lun->name, sector[0], s % CL_SECTORS, s / CL_SECTORS);
        lun->now.values[s] = sector[0];
    }
    if (lun->is_loose) /* what was written may be lost */
        memset(lun->is_own, false, sizeof(lun->is_own));
    cl_settle(lun);
}

void cl_adopt_all(struct cl_client *client)
{
    if (!client->must_adopt)
        return;
    client->must_adopt = false;
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (client->luns[i].is_there)
            cl_adopt_lun(client, &client->luns[i]);
    }
}

/* ---- whether a call was done --------------------------------------------------------------- */

/* False: it is not there. */
static bool cl_info(struct cl_client *client, const char *name, struct lun_info *info)
{
    int r = lun_get_info(client->cl->pool, name, info, &client->why);
    if (r < 0 && r != -ENOENT)
        cl_fail(client, "lun_get_info() of '%s' gives %d", name, r);
    return r == 0;
}

static bool cl_volume_info(struct cl_client *client, const char *name, struct volume_info *info)
{
    int r = volume_get_info(client->cl->pool, name, info, &client->why);
    if (r < 0 && r != -ENOENT)
        cl_fail(client, "volume_get_info() of '%s' gives %d", name, r);
    return r == 0;
}

bool cl_is_there(struct cl_client *client, const struct cl_sign *sign)
{
    struct lun_info info;
    return cl_info(client, sign->name, &info);
}

bool cl_is_gone(struct cl_client *client, const struct cl_sign *sign)
{
    return !cl_is_there(client, sign);
}

bool cl_has_size(struct cl_client *client, const struct cl_sign *sign)
{
    struct lun_info info;
    return cl_info(client, sign->name, &info) && info.size_bytes == sign->number * CL_BLK;
}

uint64_t cl_likeness(const struct cl_lun *lun)
{
    return (lun->user * CL_NAMES + lun->group) * 2 + lun->is_reserved;
}

bool cl_is_like(struct cl_client *client, const struct cl_sign *sign)
{
    struct lun_info info;
    unsigned user = (unsigned)(sign->number / 2 / CL_NAMES);
    unsigned group = (unsigned)(sign->number / 2 % CL_NAMES);
    return cl_info(client, sign->name, &info) && info.is_reserved == (sign->number & 1) &&
           strcmp(info.owner, cl_user(user)) == 0 && strcmp(info.group, cl_group(group)) == 0;
}

uint64_t cl_newness(struct cl_client *client, const char *name)
{
    struct lun_info info;
    if (!cl_info(client, name, &info))
        return 0;
    return info.kind == OBJECT_LUN ? info.line_id : info.id;
}

bool cl_is_new(struct cl_client *client, const struct cl_sign *sign)
{
    uint64_t is = cl_newness(client, sign->name);
    return is != 0 && is != sign->number;
}

bool cl_volume_is_there(struct cl_client *client, const struct cl_sign *sign)
{
    struct volume_info info;
    return cl_volume_info(client, sign->name, &info);
}

bool cl_volume_is_gone(struct cl_client *client, const struct cl_sign *sign)
{
    return !cl_volume_is_there(client, sign);
}

uint64_t cl_volume_likeness(const struct cl_volume *volume)
{
    return volume->blks * 2 + volume->is_guaranteed;
}

bool cl_volume_is_like(struct cl_client *client, const struct cl_sign *sign)
{
    struct volume_info info;
    return cl_volume_info(client, sign->name, &info) &&
           info.size_bytes / CL_BLK * 2 + info.is_guaranteed == sign->number;
}

bool cl_volume_is_split(struct cl_client *client, const struct cl_sign *sign)
{
    struct volume_info info;
    return cl_volume_info(client, sign->name, &info) && info.parent_volume_id == 0;
}

bool cl_saved_are(struct cl_client *client, const struct cl_sign *sign)
{
    struct volume_info info;
    return cl_volume_info(client, sign->name, &info) && info.snapshot_count == sign->number;
}

bool cl_tree_is_there(struct cl_client *client, const struct cl_sign *sign)
{
    struct pool *pool = client->cl->pool;
    rwlock_take_shared(&pool->catalog_lock);
    bool is_there = catalog_find_qtree(pool, sign->name) != NULL;
    rwlock_release(&pool->catalog_lock);
    return is_there;
}

bool cl_tree_is_gone(struct cl_client *client, const struct cl_sign *sign)
{
    return !cl_tree_is_there(client, sign);
}

/* @number: whether there is to be one. */
bool cl_rule_is_so(struct cl_client *client, const struct cl_sign *sign)
{
    struct quota_rule *rules = NULL;
    size_t count = 0;
    bool is_there = false;
    int r = quota_rule_list(client->cl->pool, sign->name, &rules, &count, &client->why);
    AUTO_FREE struct quota_rule *list = rules;
    if (r < 0)
        cl_fail(client, "quota_rule_list() gives %d", r);
    const struct quota_rule *rule = sign->rule;
    for (size_t i = 0; i < count; i++)
    {
        bool is_it = list[i].type == rule->type && strcmp(list[i].target, rule->target) == 0 &&
                     strcmp(list[i].qtree, rule->qtree) == 0;
        if (is_it && sign->number)
            is_there = list[i].hard_bytes == rule->hard_bytes &&
                       list[i].soft_bytes == rule->soft_bytes &&
                       list[i].threshold_bytes == rule->threshold_bytes;
        else
            is_there |= is_it;
    }
    return is_there == (sign->number != 0);
}

bool cl_quotas_are(struct cl_client *client, const struct cl_sign *sign)
{
    struct pool *pool = client->cl->pool;
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *volume = catalog_find_volume(pool, sign->name);
    bool are_on = volume && (volume->flags & DISK_VOLUME_QUOTAS);
    rwlock_release(&pool->catalog_lock);
    return are_on == (sign->number != 0);
}
