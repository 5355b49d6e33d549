/* SPDX-License-Identifier: BSD-3-Clause */
/* A closed pool of four LUNs and snapshots whose blocks of metadata can be damaged one by one. For
 * the tests of repair and salvage, each of which is one file: all here is its own. */
#ifndef TESTS_UNIT_DAMAGE_HOST_H
#define TESTS_UNIT_DAMAGE_HOST_H

#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/format.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    LUN_BLKS = 3072,
    POOL_BLKS = HOST_POOL_BYTES / LUN_BLK_BYTES,
};

static struct engine_host host;

static const char *const names[] = {"a", "a@s", "twin", "other"};
static uint8_t wanted[ARRAY_SIZE(names)][LUN_BLKS]; /* what each block is full of */
/* The same before the last batch of the journal, and whether damage hit that: it then counts as
 * torn by a power cut, which nobody can tell from damage. */
static uint8_t before[ARRAY_SIZE(names)][LUN_BLKS];
static bool is_journal_hit;

static void fill(size_t i, uint64_t lba, uint8_t value)
{
    CU_ASSERT_EQUAL(host_write(&host, names[i], lba, 1, value, 0), 0);
    wanted[i][lba] = value;
}

/* Closed in the end; with records in its journal if @with_journal. */
static void start(bool with_journal)
{
    memset(wanted, 0, sizeof(wanted));
    host_start(&host, NULL);
    host_create(&host, "a", LUN_BLKS);
    for (uint64_t i = 0; i < 600; i++)
        fill(0, i * 5 % 2999, (uint8_t)(i % 250 + 1));
    host_snapshot(&host, "a", "s");
    host_clone(&host, "a@s", "twin");
    memcpy(wanted[1], wanted[0], LUN_BLKS);
    memcpy(wanted[2], wanted[0], LUN_BLKS);
    for (uint64_t i = 0; i < 20; i++)
        fill(0, i * 5, 251);
    host_create(&host, "other", 64);
    fill(3, 4, 252);
    host_settle(&host);
    memcpy(before, wanted, sizeof(before));
    is_journal_hit = false;
    for (uint64_t i = 0; with_journal && i < 40; i++)
        fill(2, i * 7, (uint8_t)(i + 1));
    if (!with_journal)
    {
        host_close(&host);
        return;
    }
    host_flush(&host);
    host_crash(&host);
}

static uint32_t magic_of(uint64_t blk)
{
    struct disk_header header;
    simdev_peek(host.disk, &header, sizeof(header), blk * BLK_BYTES);
    return le32_get(header.magic);
}

static bool is_metadata(uint64_t blk)
{
    uint32_t magic = magic_of(blk);
    return magic == DISK_MAGIC_SUPER || magic == DISK_MAGIC_BITMAP || magic == DISK_MAGIC_TABLE ||
           magic == DISK_MAGIC_NODE || magic == DISK_MAGIC_PAGE || magic == DISK_MAGIC_BATCH;
}

enum harm
{
    HARM_FLIP,
    HARM_ZERO,
    HARM_SWAP,
    HARMS
};

static void do_harm(uint64_t blk, enum harm harm)
{
    uint8_t bytes[BLK_BYTES] = {0}, other[BLK_BYTES];
    is_journal_hit |= magic_of(blk) == DISK_MAGIC_BATCH;
    simdev_peek(host.disk, bytes, sizeof(bytes), blk * BLK_BYTES);
    if (harm == HARM_FLIP)
        bytes[100] ^= 4;
    if (harm == HARM_ZERO)
        memset(bytes, 0, sizeof(bytes));
    if (harm == HARM_SWAP)
    {
        uint64_t with = blk + 1;
        while (!is_metadata(with))
            with = (with + 1) % POOL_BLKS;
        is_journal_hit |= magic_of(with) == DISK_MAGIC_BATCH;
        simdev_peek(host.disk, other, sizeof(other), with * BLK_BYTES);
        simdev_poke(host.disk, bytes, sizeof(bytes), with * BLK_BYTES);
        memcpy(bytes, other, sizeof(bytes));
    }
    simdev_poke(host.disk, bytes, sizeof(bytes), blk * BLK_BYTES);
}

#endif
