/* SPDX-License-Identifier: BSD-3-Clause */
/* What a unit says of itself: INQUIRY, mode and log pages, capacity, lists; and the command table.
 */
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

static struct scsi_host host;
static struct scsi_nexus *nexus;

static void set_up(void)
{
    host_start(&host, 512);
    nexus = host_login(&host, HOST_A, 1);
    host_clear(nexus, 0);
}

static void tear_down(void)
{
    scsi_nexus_destroy(nexus);
    host_stop(&host);
}

/* ---- the table ----------------------------------------------------------------------------- */

static void test_table_order(void)
{
    for (size_t i = 1; i < scsi_command_count; i++)
    {
        const struct scsi_command *x = &scsi_commands[i - 1], *y = &scsi_commands[i];
        CU_ASSERT_TRUE(x->opcode < y->opcode || (x->opcode == y->opcode && x->action < y->action));
        if (x->opcode == y->opcode)
            CU_ASSERT_TRUE(x->has_action && y->has_action);
    }
    for (size_t i = 0; i < scsi_command_count; i++)
    {
        const struct scsi_command *command = &scsi_commands[i];
        CU_ASSERT_PTR_EQUAL(dispatch_lookup(command->opcode, command->action), command);
        CU_ASSERT_PTR_NOT_NULL(command->run);
        CU_ASSERT_EQUAL(command->usage[command->cdb_len - 1], 0); /* CONTROL: NACA is refused */
        if (command->has_action)
            CU_ASSERT_EQUAL(command->usage[1] & 0x1f, 0x1f);
        /* The length lies in bytes that are looked at. */
        for (unsigned j = 0; j < command->length_bytes; j++)
            CU_ASSERT_NOT_EQUAL(command->usage[command->length_at + j], 0);
    }
}

/* Each bit that the usage data does not have is refused by each command. */
static void test_reserved_bits(void)
{
    for (size_t i = 0; i < scsi_command_count; i++)
    {
        const struct scsi_command *command = &scsi_commands[i];
        for (unsigned byte = 1; byte < command->cdb_len; byte++)
            for (unsigned bit = 0; bit < 8; bit++)
            {
                if (command->usage[byte] >> bit & 1)
                    continue;
                uint8_t cdb[16] = {command->opcode, (uint8_t)command->action};
                cdb[byte] |= (uint8_t)(1u << bit);
                const struct outcome *outcome =
                    host_simple(nexus, NULL, 0, 0, cdb, command->cdb_len);
                CHECK_INVALID_CDB(outcome);
                CU_ASSERT_EQUAL(outcome->field_byte, (int)byte);
            }
    }
}

static void test_unknown_opcodes(void)
{
    for (unsigned opcode = 0; opcode < 256; opcode++)
    {
        uint8_t cdb[16] = {(uint8_t)opcode, 0x1e};
        bool known = false;
        for (size_t i = 0; i < scsi_command_count; i++)
            known = known || scsi_commands[i].opcode == opcode;
        if (!known)
            CHECK_SENSE(host_simple(nexus, NULL, 0, 0, cdb, 16), 5, 0x20, 0);
        else if (opcode != scsi_commands[0].opcode &&
                 dispatch_lookup((uint8_t)opcode, 0x1e) == NULL)
            CHECK_INVALID_CDB(host_simple(nexus, NULL, 0, 0, cdb, 16));
    }
}

static void test_report_opcodes(void)
{
    const struct outcome *outcome =
        host_in(nexus, 16384, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0);
    CHECK_GOOD(outcome);
    size_t count = wire_u32(outcome->in) / 8;
    CU_ASSERT_EQUAL(count, scsi_command_count);
    CU_ASSERT_EQUAL(outcome->len, 4 + 8 * count);
    /* With timeouts each is longer. */
    outcome = host_in(nexus, 16384, 0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 0x40, 0, 0, 0);
    CU_ASSERT_EQUAL(wire_u32(outcome->in) / 20, scsi_command_count);
    for (size_t i = 0; i < scsi_command_count; i++)
    {
        const struct scsi_command *command = &scsi_commands[i];
        uint8_t options = command->has_action ? 2 : 1;
        outcome = host_in(nexus, 64, 0xa3, 0x0c, options, command->opcode, 0,
                          (uint8_t)command->action, 0, 0, 0, 64, 0, 0);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->in[1] & 7, 3);
        CU_ASSERT_EQUAL(wire_u16(outcome->in + 2), command->cdb_len);
        CU_ASSERT_EQUAL(outcome->in[4], command->opcode);
        /* The wrong question. */
        CHECK_INVALID_CDB(host_in(nexus, 64, 0xa3, 0x0c, (uint8_t)(3 - options), command->opcode, 0,
                                  (uint8_t)command->action, 0, 0, 0, 64, 0, 0));
    }
    outcome = host_in(nexus, 64, 0xa3, 0x0c, 1, 0xff, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[1] & 7, 1);
    CHECK_GOOD(host_in(nexus, 16, 0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0));
    CHECK_INVALID_CDB(host_in(nexus, 16, 0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0));
}

/* ---- INQUIRY ------------------------------------------------------------------------------- */

static void test_inquiry(void)
{
    const struct outcome *outcome = host_in(nexus, 255, 0x12, 0, 0, 0, 255, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->len, 96);
    CU_ASSERT_EQUAL(outcome->residual, 96 - 255);
    CU_ASSERT_EQUAL(outcome->in[0], 0);
    CU_ASSERT_EQUAL(outcome->in[1], 0);
    CU_ASSERT_EQUAL(memcmp(outcome->in + 8, "LUNETTE LUN     ", 16), 0);
    for (unsigned len = 0; len < 97; len++)
    {
        outcome = host_in(nexus, 255, 0x12, 0, 0, 0, (uint8_t)len, 0);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->len, min_u64(len, 96));
    }
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x12, 0, 0x83, 0, 255, 0));
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x12, 1, 0x42, 0, 255, 0));
    CU_ASSERT_EQUAL(access_set_lun_flags(host.access, "disk", ACCESS_LUN_REMOVABLE, NULL), 0);
    CU_ASSERT_EQUAL(host_in(nexus, 255, 0x12, 0, 0, 0, 255, 0)->in[1], 0x80);
}

/* Every page of the list is there, says its own code and its length. */
static void test_vpd_pages(void)
{
    uint8_t list[64];
    const struct outcome *outcome = host_in(nexus, 255, 0x12, 1, 0, 0, 255, 0);
    size_t count = wire_u16(outcome->in + 2);
    CU_ASSERT_EQUAL_FATAL(count, 9);
    memcpy(list, outcome->in + 4, count);
    for (size_t i = 0; i < count; i++)
    {
        if (i)
            CU_ASSERT_TRUE(list[i] > list[i - 1]);
        outcome = host_in(nexus, 4096, 0x12, 1, list[i], 0x10, 0, 0);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->in[1], list[i]);
        CU_ASSERT_EQUAL(outcome->len, 4u + wire_u16(outcome->in + 2));
    }
}

static void test_identity(void)
{
    uint8_t disk[4096];
    const struct outcome *outcome = host_in(nexus, 4096, 0x12, 1, 0x83, 0x10, 0, 0);
    memcpy(disk, outcome->in, outcome->len);
    size_t len = outcome->len;
    CU_ASSERT_EQUAL(disk[4], 0x01);
    CU_ASSERT_EQUAL(disk[5], 0x03);
    CU_ASSERT_EQUAL(disk[7], 16);
    CU_ASSERT_EQUAL(disk[8] >> 4, 6); /* NAA, with the locally administered company id */
    CU_ASSERT_EQUAL((disk[8] & 0xf) << 4 | disk[9] >> 4, 0x02);
    /* Designators fill the page exactly. */
    size_t at = 4;
    while (at < len)
        at += 4u + disk[at + 3];
    CU_ASSERT_EQUAL(at, len);
    /* The other LUN, and a clone, are somebody else; the same after a restart. */
    struct sending sending = {.lun = 1,
                              .cdb = (const uint8_t[]){0x12, 1, 0x83, 0x10, 0, 0},
                              .cdb_len = 6,
                              .in_len = 4096};
    CU_ASSERT_NOT_EQUAL(memcmp(host_send(nexus, &sending)->in + 8, disk + 8, 16), 0);
    scsi_nexus_destroy(nexus);
    host_restart(&host);
    nexus = host_login(&host, HOST_A, 1);
    outcome = host_in(nexus, 4096, 0x12, 1, 0x83, 0x10, 0, 0);
    CU_ASSERT_EQUAL(memcmp(outcome->in, disk, len), 0);
}

static void test_block_limits(void)
{
    const struct outcome *outcome = host_in(nexus, 64, 0x12, 1, 0xb0, 0, 64, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 8), SCSI_TRANSFER_MAX_BYTES / 512);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 24),
                    256); /* finite: the count goes into a list length */
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 28), 8);
    outcome = host_in(nexus, 64, 0x12, 1, 0xb2, 0, 64, 0);
    CU_ASSERT_EQUAL(outcome->in[5] & 0xe0, 0xe0);
    CU_ASSERT_EQUAL(outcome->in[6], 2);
}

/* ---- mode pages ---------------------------------------------------------------------------- */

static void test_mode_sense(void)
{
    const struct outcome *outcome = host_in(nexus, 255, 0x1a, 0, 0x3f, 0, 255, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[0], outcome->len - 1);
    CU_ASSERT_EQUAL(outcome->in[2], 0x10); /* DPOFUA, not protected */
    CU_ASSERT_EQUAL(outcome->in[3], 8);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 4), HOST_LUN_BYTES / 512);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 8), 512);
    outcome = host_in(nexus, 255, 0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 0, 255, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[4], 1); /* LONGLBA */
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 6), 16);
    outcome = host_in(nexus, 255, 0x1a, 0x08, 0x08, 0, 255, 0);
    CU_ASSERT_EQUAL(outcome->in[3], 0); /* DBD */
    CU_ASSERT_EQUAL(outcome->in[4], 0x08);
    CU_ASSERT_EQUAL(outcome->in[6] & 0x04, 0x04);
    /* The soft threshold: a tenth of the pool, in sets of 2^11 blocks. */
    outcome = host_in(nexus, 255, 0x1a, 0x08, 0x1c, 0x02, 255, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[4 + 16], 0x80);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 4 + 20), (UINT64_C(512) << 20) / 100 * 10 / 512 / 2048);
    CHECK_SENSE(host_in(nexus, 255, 0x1a, 0, 0xff, 0, 255, 0), 5, 0x39, 0);
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x1a, 0, 0x22, 0, 255, 0));
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x1a, 0, 0x0a, 0x77, 255, 0));
}

static const struct outcome *mode_select(const uint8_t *list, size_t len)
{
    return host_out(nexus, list, len, 0x15, 0x10, 0, 0, (uint8_t)len, 0);
}

static void test_mode_select(void)
{
    uint8_t list[4 + 12] = {0, 0, 0, 0, 0x0a, 0x0a, 0x00, 0x10, 0x08, 0, 0, 0, 0xff, 0xff};
    static uint8_t block[512];
    CHECK_GOOD(mode_select(list, sizeof(list))); /* SWP */
    CHECK_SENSE(host_write(nexus, 0, 1, block, 512), 7, 0x27, 2);
    CU_ASSERT_EQUAL(host_in(nexus, 255, 0x1a, 0, 0x3f, 0, 255, 0)->in[2], 0x90);
    list[8] = 0;
    list[6] = 0x04; /* D_SENSE */
    CHECK_GOOD(mode_select(list, sizeof(list)));
    CHECK_GOOD(host_write(nexus, 0, 1, block, 512));
    struct sending sending = {.cdb = (const uint8_t[]){0xff, 0, 0, 0, 0, 0}, .cdb_len = 6};
    struct scsi_task task;
    host_fill_task(&task, nexus, &sending);
    CU_ASSERT_EQUAL(scsi_task_begin(&task), SCSI_GO);
    CU_ASSERT_EQUAL(scsi_execute_inline(&task), SCSI_DONE);
    CU_ASSERT_EQUAL(task.sense[0], 0x72);
    CU_ASSERT_EQUAL(task.sense[2], 0x20);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    /* What cannot be changed, a wrong length, truncation, saving. */
    list[7] = 0x20;
    CHECK_SENSE(mode_select(list, sizeof(list)), 5, 0x26, 0);
    list[7] = 0x10;
    list[5] = 0x0b;
    CHECK_SENSE(mode_select(list, sizeof(list)), 5, 0x26, 0);
    list[5] = 0x0a;
    for (size_t cut = 5; cut < sizeof(list); cut++)
        CU_ASSERT_EQUAL(mode_select(list, cut)->status, SCSI_CHECK_CONDITION);
    for (size_t cut = 1; cut < 4; cut++)
        CHECK_SENSE(mode_select(list, cut), 5, 0x1a, 0);
    CHECK_INVALID_CDB(host_out(nexus, list, 16, 0x15, 0x11, 0, 0, 16, 0));
    CHECK_GOOD(mode_select(list, 0));
    /* A page may come back as it was read. */
    uint8_t page[4 + 24] = {0};
    const struct outcome *outcome = host_in(nexus, 255, 0x1a, 0x08, 0x1c, 0x02, 255, 0);
    memcpy(page + 4, outcome->in + 4, 24);
    CHECK_GOOD(mode_select(page, sizeof(page)));
    page[4 + 23] ^= 1;
    CU_ASSERT_EQUAL(mode_select(page, sizeof(page))->status, SCSI_CHECK_CONDITION);
    /* Without a cache, writes are durable at once, and still good. */
    static const uint8_t caching[4 + 20] = {0, 0, 0, 0, 0x08, 0x12};
    CHECK_GOOD(mode_select(caching, sizeof(caching)));
    CHECK_GOOD(host_write(nexus, 0, 1, block, 512));
}

/* ---- others -------------------------------------------------------------------------------- */

static void test_log_pages(void)
{
    const struct outcome *outcome = host_in(nexus, 255, 0x4d, 0, 0, 0, 0, 0, 0, 0, 255, 0);
    CHECK_GOOD(outcome);
    uint8_t list[32];
    size_t count = wire_u16(outcome->in + 2);
    CU_ASSERT_EQUAL_FATAL(count, 4);
    memcpy(list, outcome->in + 4, count);
    for (size_t i = 0; i < count; i++)
    {
        outcome = host_in(nexus, 255, 0x4d, 0, 0x40 | list[i], 0, 0, 0, 0, 0, 255, 0);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->in[0] & 0x3f, list[i]);
        CU_ASSERT_EQUAL(outcome->len, 4u + wire_u16(outcome->in + 2));
    }
    CHECK_GOOD(host_in(nexus, 255, 0x4d, 0, 0, 0xff, 0, 0, 0, 0, 255, 0));
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x4d, 0, 0x33, 0, 0, 0, 0, 0, 255, 0));
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x4d, 0, 0x0c, 1, 0, 0, 0, 0, 255, 0));
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x4d, 1, 0x0c, 0, 0, 0, 0, 0, 255, 0));
    /* From parameter 2 on: one of two. */
    outcome = host_in(nexus, 255, 0x4d, 0, 0x4c, 0, 0, 0, 2, 0, 255, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 2), 12);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 4), 2);
    CHECK_INVALID_CDB(host_in(nexus, 255, 0x4d, 0, 0x4c, 0, 0, 0, 9, 0, 255, 0));
}

static void test_capacity(void)
{
    const struct outcome *outcome = host_in(nexus, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CU_ASSERT_EQUAL(wire_u32(outcome->in), HOST_LUN_BYTES / 512 - 1);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 4), 512);
    outcome = host_in(nexus, 64, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->len, 32);
    CU_ASSERT_EQUAL(wire_u64(outcome->in), HOST_LUN_BYTES / 512 - 1);
    CU_ASSERT_EQUAL(outcome->in[13], 3);
    CU_ASSERT_EQUAL(outcome->in[14] & 0xc0, 0xc0);
    for (uint8_t len = 0; len < 32; len++)
        CU_ASSERT_EQUAL(
            host_in(nexus, 64, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len, 0, 0)->len, len);
}

static void test_lba_status(void)
{
    static uint8_t data[8192];
    memset(data, 1, sizeof(data));
    CHECK_GOOD(host_write(nexus, 80, 16, data, 512));
    /* From an LBA inside a mapped range: the descriptor begins there. */
    const struct outcome *outcome =
        host_in(nexus, 56, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 84, 0, 0, 0, 56, 0, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(wire_u64(outcome->in + 8), 84);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 16), 12);
    CU_ASSERT_EQUAL(outcome->in[20], 0);
    CU_ASSERT_EQUAL(wire_u64(outcome->in + 24), 96);
    CU_ASSERT_EQUAL(outcome->in[36], 1);
    CU_ASSERT_EQUAL(wire_u32(outcome->in), 36);
    uint8_t cdb[16] = {0x9e, 0x12};
    wire_put_u64(cdb + 2, HOST_LUN_BYTES / 512);
    cdb[13] = 24;
    CHECK_SENSE(host_simple(nexus, NULL, 0, 24, cdb, 16), 5, 0x21, 0);
}

static void test_report_luns(void)
{
    const struct outcome *outcome = host_in(nexus, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(wire_u32(outcome->in), 16);
    CU_ASSERT_EQUAL(wire_u64(outcome->in + 8), 0);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 16), 1);
    CHECK_INVALID_CDB(host_in(nexus, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0));
    CHECK_INVALID_CDB(host_in(nexus, 64, 0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 64, 0, 0));
    CU_ASSERT_EQUAL(wire_u32(host_in(nexus, 64, 0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 64, 0, 0)->in), 0);
    /* A number above 255 has another form of address, and is found by it. */
    struct lun_create_args args = {.name = "high", .size_bytes = 1 << 20};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, NULL), 0);
    CU_ASSERT_EQUAL(access_map(host.access, "high", "hosts", 3000, NULL, NULL), 0);
    outcome = host_in(nexus, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
    CU_ASSERT_EQUAL(wire_u32(outcome->in), 24);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 24), 0x4000 | 3000);
    CU_ASSERT_EQUAL(host_clear(nexus, 3000), 1);
}

static void test_port_groups(void)
{
    const struct outcome *outcome = host_in(nexus, 64, 0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(wire_u32(outcome->in), 16);
    CU_ASSERT_EQUAL(outcome->in[4], 0);  /* active/optimized */
    CU_ASSERT_EQUAL(outcome->in[11], 2); /* both ports */
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 14), 1);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 18), 2);
    CHECK_GOOD(host_in(nexus, 64, 0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0));
    CHECK_INVALID_CDB(host_in(nexus, 64, 0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0));
    CHECK_GOOD(host_in(nexus, 32, 0x37, 0, 0x08, 0, 0, 0, 0, 0, 32, 0));
    CHECK_GOOD(host_in(nexus, 32, 0xb7, 0x08, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0));
}

static void test_removable(void)
{
    CU_ASSERT_EQUAL(access_set_lun_flags(host.access, "disk", ACCESS_LUN_REMOVABLE, NULL), 0);
    struct scsi_nexus *other = host_login(&host, HOST_B, 1);
    host_clear(nexus, 0);
    host_clear(other, 0);
    CHECK_GOOD(host_none(other, 0x1e, 0, 0, 0, 1, 0)); /* PREVENT */
    CHECK_SENSE(host_none(nexus, 0x1b, 0, 0, 0, 0x02, 0), 5, 0x53, 2);
    CHECK_INVALID_CDB(host_none(nexus, 0x1e, 0, 0, 0, 2, 0));
    scsi_nexus_destroy(other); /* what it prevented goes with it */
    CHECK_GOOD(host_none(nexus, 0x1b, 0, 0, 0, 0x02, 0));
    CHECK_SENSE(host_none(nexus, 0, 0, 0, 0, 0, 0), 2, 0x3a, 0);
    CHECK_SENSE(host_read(nexus, 0, 1, 512), 2, 0x3a, 0);
    other = host_login(&host, HOST_B, 1);
    CU_ASSERT_EQUAL(host_send(other, &(struct sending){.cdb = (uint8_t[6]){0}, .cdb_len = 6})->asc,
                    0x29);
    CHECK_GOOD(host_none(nexus, 0x1b, 0, 0, 0, 0x03, 0));
    CHECK_GOOD(host_none(nexus, 0, 0, 0, 0, 0, 0));
    CHECK_SENSE(host_none(other, 0, 0, 0, 0, 0, 0), 6, 0x28, 0); /* the medium may have changed */
    scsi_nexus_destroy(other);
}

static CU_TestInfo page_tests[] = {
    {"the table is in order", test_table_order},
    {"reserved bits of every command", test_reserved_bits},
    {"unknown opcodes and service actions", test_unknown_opcodes},
    {"REPORT SUPPORTED OPERATION CODES", test_report_opcodes},
    {"INQUIRY", test_inquiry},
    {"VPD pages", test_vpd_pages},
    {"identity", test_identity},
    {"block limits", test_block_limits},
    {"MODE SENSE", test_mode_sense},
    {"MODE SELECT", test_mode_select},
    {"LOG SENSE", test_log_pages},
    {"READ CAPACITY", test_capacity},
    {"GET LBA STATUS", test_lba_status},
    {"REPORT LUNS", test_report_luns},
    {"port groups, defects", test_port_groups},
    {"removable media", test_removable},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"pages", NULL, NULL, set_up, tear_down, page_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
