/* SPDX-License-Identifier: BSD-3-Clause */
/* Persistent and old reservations: states, conflicts, unit attentions, what survives a restart. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/cdb.h"
#include "server/scsi/pr.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

enum action
{
    REGISTER,
    RESERVE,
    RELEASE,
    CLEAR,
    PREEMPT,
    PREEMPT_AND_ABORT,
    IGNORE,
    MOVE,
};

static struct scsi_host host;
static struct scsi_nexus *a, *b, *c;
static struct scsi_nexus *watcher; /* only asks, and has no registration */

static void login_all(void)
{
    a = host_login(&host, HOST_A, 1);
    b = host_login(&host, HOST_B, 2);
    c = host_login(&host, HOST_C, 3);
    watcher = host_login(&host, HOST_C, 99);
    host_clear(watcher, 0);
    host_clear(a, 0);
    host_clear(b, 0);
    host_clear(c, 0);
}

static void logout_all(void)
{
    scsi_nexus_destroy(a);
    scsi_nexus_destroy(b);
    scsi_nexus_destroy(c);
    scsi_nexus_destroy(watcher);
}

static void set_up(void)
{
    host_start(&host, 512);
    login_all();
}

static void tear_down(void)
{
    logout_all();
    host_stop(&host);
}

static const struct outcome *pr_out_flags(struct scsi_nexus *nexus, enum action action,
                                          uint8_t type, uint64_t key, uint64_t action_key,
                                          uint8_t flags)
{
    uint8_t list[24] = {0};
    wire_put_u64(list, key);
    wire_put_u64(list + 8, action_key);
    list[20] = flags;
    return host_out(nexus, list, sizeof(list), 0x5f, (uint8_t)action, type, 0, 0, 0, 0, 0, 24, 0);
}

static const struct outcome *pr_out(struct scsi_nexus *nexus, enum action action, uint8_t type,
                                    uint64_t key, uint64_t action_key)
{
    return pr_out_flags(nexus, action, type, key, action_key, 0);
}

static const struct outcome *pr_in(struct scsi_nexus *nexus, uint8_t action)
{
    return host_in(nexus, 4096, 0x5e, action, 0, 0, 0, 0, 0, 0x10, 0, 0);
}

static uint32_t generation(void)
{
    return wire_u32(pr_in(watcher, 0)->in);
}

static uint32_t key_count(void)
{
    return wire_u32(pr_in(watcher, 0)->in + 4) / 8;
}

/* 0: no reservation. */
static uint8_t reservation_type(void)
{
    const struct outcome *outcome = pr_in(watcher, 1);
    return wire_u32(outcome->in + 4) ? outcome->in[21] : 0;
}

/* The unit attention that is pending, or 0; ASC and ASCQ. */
static unsigned attention(struct scsi_nexus *nexus)
{
    const struct outcome *outcome = host_none(nexus, 0, 0, 0, 0, 0, 0);
    if (outcome->status != SCSI_CHECK_CONDITION || outcome->key != 6)
        return 0;
    return (unsigned)(outcome->asc << 8 | outcome->ascq);
}

static void register_all(void)
{
    CHECK_GOOD(pr_out(a, IGNORE, 0, 0, 0xa));
    CHECK_GOOD(pr_out(b, IGNORE, 0, 0, 0xb));
}

static void test_register(void)
{
    uint32_t before = generation();
    CHECK_CONFLICT(pr_out(a, REGISTER, 0, 5, 0xa)); /* not registered: the key must be 0 */
    CU_ASSERT_EQUAL(generation(), before);
    CHECK_GOOD(pr_out(a, REGISTER, 0, 0, 0xa));
    CU_ASSERT_EQUAL(generation(), before + 1);
    CHECK_CONFLICT(pr_out(a, REGISTER, 0, 0, 0xc));
    CHECK_GOOD(pr_out(a, REGISTER, 0, 0xa, 0xd));
    CHECK_GOOD(pr_out(a, IGNORE, 0, 0x99, 0xe));
    CU_ASSERT_EQUAL(key_count(), 1);
    CU_ASSERT_EQUAL(wire_u64(pr_in(watcher, 0)->in + 8), 0xe);
    CHECK_GOOD(pr_out(a, REGISTER, 0, 0xe, 0));
    CU_ASSERT_EQUAL(key_count(), 0);
    /* To unregister what is not registered does nothing. */
    before = generation();
    CHECK_GOOD(pr_out(a, REGISTER, 0, 0, 0));
    CHECK_GOOD(pr_out(a, IGNORE, 0, 0, 0));
    CU_ASSERT_EQUAL(generation(), before);
}

static void test_parameter_lists(void)
{
    uint8_t list[24] = {0};
    for (uint8_t len = 0; len < 24; len++)
        CHECK_SENSE(host_out(a, list, len, 0x5f, IGNORE, 0, 0, 0, 0, 0, 0, len, 0), 5, 0x1a, 0);
    CHECK_SENSE(host_out(a, list, 23, 0x5f, IGNORE, 0, 0, 0, 0, 0, 0, 24, 0), 5, 0x1a, 0);
    CHECK_GOOD(pr_out(a, IGNORE, 0, 0, 0xa));
    for (unsigned type = 0; type < 16; type++)
        if (!pr_type_valid((uint8_t)type))
            CHECK_INVALID_CDB(pr_out(a, RESERVE, (uint8_t)type, 0xa, 0));
    CHECK_INVALID_CDB(pr_out(a, RESERVE, 0x11, 0xa, 0)); /* another scope */
    CHECK_INVALID_CDB(host_in(a, 8, 0x5e, 0x04, 0, 0, 0, 0, 0, 0, 8, 0));
    CHECK_INVALID_CDB(host_out(a, list, 24, 0x5f, 0x08, 0, 0, 0, 0, 0, 0, 24, 0));
}

static void test_reserve_release(void)
{
    static const uint8_t types[] = {1, 3, 5, 6, 7, 8};
    register_all();
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
    {
        bool registrants = types[i] >= 5, all = types[i] >= 7;
        uint32_t before = generation();
        CHECK_CONFLICT(pr_out(c, RESERVE, types[i], 0, 0));   /* not registered */
        CHECK_CONFLICT(pr_out(a, RESERVE, types[i], 0xb, 0)); /* wrong key */
        CHECK_GOOD(pr_out(a, RESERVE, types[i], 0xa, 0));
        CU_ASSERT_EQUAL(reservation_type(), types[i]);
        CU_ASSERT_EQUAL(wire_u64(pr_in(watcher, 1)->in + 8), all ? 0 : 0xa);
        CHECK_GOOD(pr_out(a, RESERVE, types[i], 0xa, 0)); /* again: nothing changes */
        CHECK_CONFLICT(pr_out(a, RESERVE, types[i] == 1 ? 3 : 1, 0xa, 0));
        if (all)
            CHECK_GOOD(pr_out(b, RESERVE, types[i], 0xb, 0));
        else
            CHECK_CONFLICT(pr_out(b, RESERVE, types[i], 0xb, 0));
        CHECK_CONFLICT(pr_out(a, RELEASE, types[i], 0xb, 0));
        CHECK_SENSE(pr_out(a, RELEASE, types[i] == 1 ? 3 : 1, 0xa, 0), 5, 0x26, 0x04);
        if (!all)
        {
            CHECK_GOOD(pr_out(b, RELEASE, types[i], 0xb, 0)); /* not the holder: no effect */
            CU_ASSERT_EQUAL(reservation_type(), types[i]);
        }
        CHECK_GOOD(pr_out(a, RELEASE, types[i], 0xa, 0));
        CU_ASSERT_EQUAL(reservation_type(), 0);
        /* Registrants of such a type learn of the release; not who released. */
        CU_ASSERT_EQUAL(attention(a), 0);
        CU_ASSERT_EQUAL(attention(b), registrants ? 0x2a04 : 0);
        CU_ASSERT_EQUAL(attention(c), 0);
        CU_ASSERT_EQUAL(generation(), before);
        CHECK_GOOD(pr_out(a, RELEASE, types[i], 0xa, 0)); /* none is there */
    }
}

/* The table of SPC and SBC, row by row: may this nexus read, may it write? */
static void test_conflicts(void)
{
    static const struct
    {
        uint8_t type;
        bool registered_reads, registered_writes, others_read, others_write;
    } rows[] = {
        {1, true, false, true, false}, {3, false, false, false, false},
        {5, true, true, true, false},  {6, true, true, false, false},
        {7, true, true, true, false},  {8, true, true, false, false},
    };
    static uint8_t block[512];
    register_all();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    {
        CHECK_GOOD(pr_out(a, RESERVE, rows[i].type, 0xa, 0));
        CHECK_GOOD(host_read(a, 0, 1, 512));
        CHECK_GOOD(host_write(a, 0, 1, block, 512));
        CU_ASSERT_EQUAL(host_read(b, 0, 1, 512)->status == SCSI_GOOD, rows[i].registered_reads);
        CU_ASSERT_EQUAL(host_write(b, 0, 1, block, 512)->status == SCSI_GOOD,
                        rows[i].registered_writes);
        CU_ASSERT_EQUAL(host_read(c, 0, 1, 512)->status == SCSI_GOOD, rows[i].others_read);
        CU_ASSERT_EQUAL(host_write(c, 0, 1, block, 512)->status == SCSI_GOOD, rows[i].others_write);
        /* Allowed to all: TEST UNIT READY, INQUIRY, READ CAPACITY, REPORT LUNS, PR IN, LOG SENSE.
         */
        CHECK_GOOD(host_none(c, 0, 0, 0, 0, 0, 0));
        CHECK_GOOD(host_in(c, 96, 0x12, 0, 0, 0, 96, 0));
        CHECK_GOOD(host_in(c, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_GOOD(host_in(c, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0));
        CHECK_GOOD(pr_in(c, 0));
        CHECK_GOOD(host_in(c, 64, 0x4d, 0, 0, 0, 0, 0, 0, 0, 64, 0));
        /* Allowed to nobody else: MODE SENSE, SYNCHRONIZE CACHE, PREVENT, RESERVE. */
        CHECK_CONFLICT(host_in(c, 64, 0x1a, 0, 0x3f, 0, 64, 0));
        CHECK_CONFLICT(host_none(c, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        CHECK_CONFLICT(host_none(c, 0x1e, 0, 0, 0, 1, 0));
        CHECK_GOOD(host_none(c, 0x1e, 0, 0, 0, 0, 0));
        CHECK_GOOD(host_none(c, 0x1b, 0, 0, 0, 1, 0));     /* START */
        CHECK_CONFLICT(host_none(c, 0x1b, 0, 0, 0, 0, 0)); /* STOP */
        CHECK_CONFLICT(host_none(c, 0x16, 0, 0, 0, 0, 0));
        CHECK_CONFLICT(pr_out(c, RESERVE, rows[i].type, 0, 0));
        CHECK_GOOD(pr_out(a, RELEASE, rows[i].type, 0xa, 0));
        host_clear(b, 0);
    }
}

/* The holder unregisters: the reservation goes, but for "all registrants" ones. */
static void test_holder_unregisters(void)
{
    static const uint8_t types[] = {1, 3, 5, 6, 7, 8};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
    {
        register_all();
        CHECK_GOOD(pr_out(a, RESERVE, types[i], 0xa, 0));
        CHECK_GOOD(pr_out(a, REGISTER, 0, 0xa, 0));
        bool stays = types[i] >= 7;
        CU_ASSERT_EQUAL(reservation_type(), stays ? types[i] : 0);
        CU_ASSERT_EQUAL(attention(a), 0);
        CU_ASSERT_EQUAL(attention(b), types[i] == 5 || types[i] == 6 ? 0x2a04 : 0);
        CHECK_GOOD(pr_out(b, REGISTER, 0, 0xb, 0));
        CU_ASSERT_EQUAL(reservation_type(), 0);
        CU_ASSERT_EQUAL(key_count(), 0);
    }
}

static void test_clear(void)
{
    register_all();
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    CHECK_CONFLICT(pr_out(b, CLEAR, 0, 0xa, 0));
    uint32_t before = generation();
    CHECK_GOOD(pr_out(b, CLEAR, 0, 0xb, 0)); /* anybody who is registered may */
    CU_ASSERT_EQUAL(generation(), before + 1);
    CU_ASSERT_EQUAL(key_count(), 0);
    CU_ASSERT_EQUAL(reservation_type(), 0);
    CU_ASSERT_EQUAL(attention(a), 0x2a03);
    CU_ASSERT_EQUAL(attention(b), 0);
    CU_ASSERT_EQUAL(attention(c), 0);
}

static void test_preempt(void)
{
    register_all();
    CHECK_GOOD(pr_out(c, IGNORE, 0, 0, 0xc));
    CHECK_GOOD(pr_out(a, RESERVE, 1, 0xa, 0));
    uint32_t before = generation();
    CHECK_CONFLICT(pr_out(b, PREEMPT, 3, 0xb, 0x77)); /* a key that nobody has */
    CHECK_SENSE(pr_out(b, PREEMPT, 3, 0xb, 0), 5, 0x26, 0);
    CU_ASSERT_EQUAL(generation(), before);
    /* The holder's key: the reservation changes hands and type. */
    CHECK_GOOD(pr_out(b, PREEMPT, 3, 0xb, 0xa));
    CU_ASSERT_EQUAL(generation(), before + 1);
    CU_ASSERT_EQUAL(reservation_type(), 3);
    CU_ASSERT_EQUAL(wire_u64(pr_in(watcher, 1)->in + 8), 0xb);
    CU_ASSERT_EQUAL(key_count(), 2);
    CU_ASSERT_EQUAL(attention(a), 0x2a05);
    CU_ASSERT_EQUAL(attention(b), 0);
    CU_ASSERT_EQUAL(attention(c), 0x2a04); /* the type has changed */
    /* Another's key: only his registration goes. */
    CHECK_GOOD(pr_out(b, PREEMPT, 1, 0xb, 0xc));
    CU_ASSERT_EQUAL(reservation_type(), 3);
    CU_ASSERT_EQUAL(key_count(), 1);
    CU_ASSERT_EQUAL(attention(c), 0x2a05);
    CHECK_CONFLICT(host_read(a, 0, 1, 512));
}

static void test_preempt_all_registrants(void)
{
    register_all();
    CHECK_GOOD(pr_out(c, IGNORE, 0, 0, 0xc));
    CHECK_GOOD(pr_out(a, RESERVE, 7, 0xa, 0));
    /* A key removes its registrations and leaves the reservation to the others. */
    CHECK_GOOD(pr_out(b, PREEMPT, 1, 0xb, 0xc));
    CU_ASSERT_EQUAL(reservation_type(), 7);
    CU_ASSERT_EQUAL(key_count(), 2);
    /* 0 is everybody else, and takes it over. */
    CHECK_GOOD(pr_out(b, PREEMPT, 1, 0xb, 0));
    CU_ASSERT_EQUAL(reservation_type(), 1);
    CU_ASSERT_EQUAL(key_count(), 1);
    CU_ASSERT_EQUAL(wire_u64(pr_in(watcher, 1)->in + 8), 0xb);
    CU_ASSERT_EQUAL(attention(a), 0x2a05);
}

/* A TransportID of @initiator in @at; its length. */
static size_t put_transport_id(uint8_t *at, const char *initiator, uint8_t isid)
{
    memset(at, 0, 128);
    at[0] = 0x45;
    size_t len = (size_t)snprintf((char *)at + 4, 120, "%s,i,0x8000000000%02x", initiator, isid);
    len = round_up(len + 1, 4);
    wire_put_u16(at + 2, len);
    return 4 + len;
}

static const struct outcome *move(struct scsi_nexus *nexus, uint64_t key, uint64_t new_key,
                                  const char *initiator, uint8_t isid, uint8_t flags, uint16_t port)
{
    uint8_t list[24 + 128] = {0};
    wire_put_u64(list, key);
    wire_put_u64(list + 8, new_key);
    list[17] = flags;
    wire_put_u16(list + 18, port);
    size_t len = put_transport_id(list + 24, initiator, isid);
    wire_put_u32(list + 20, len);
    return host_out(nexus, list, 24 + len, 0x5f, MOVE, 0, 0, 0, 0, 0, 0, (uint8_t)(24 + len), 0);
}

static void test_register_and_move(void)
{
    register_all();
    CHECK_CONFLICT(move(a, 0xa, 0xc, HOST_C, 3, 0, 1)); /* holds nothing */
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    CHECK_CONFLICT(move(b, 0xb, 0xc, HOST_C, 3, 0, 1));
    CHECK_SENSE(move(a, 0xa, 0, HOST_C, 3, 0, 1), 5, 0x26, 0);
    CHECK_SENSE(move(a, 0xa, 0xc, HOST_A, 1, 0, 1), 5, 0x26, 0); /* to itself */
    CHECK_SENSE(move(a, 0xa, 0xc, HOST_C, 3, 0, 3), 5, 0x26, 0); /* no such port */
    CHECK_GOOD(move(a, 0xa, 0xc, HOST_C, 3, 0x02, 1));
    CU_ASSERT_EQUAL(key_count(), 2); /* UNREG: a is out, c in */
    CHECK_GOOD(host_read(c, 0, 1, 512));
    CHECK_CONFLICT(host_read(a, 0, 1, 512));
    CHECK_GOOD(pr_out(c, RELEASE, 3, 0xc, 0));
}

static void test_spec_i_pt(void)
{
    uint8_t list[28 + 256] = {0};
    wire_put_u64(list + 8, 0xa);
    list[20] = 0x08;
    size_t len = put_transport_id(list + 28, HOST_C, 3);
    wire_put_u32(list + 24, len);
    size_t all = 28 + len;
    CHECK_GOOD(host_out(a, list, all, 0x5f, REGISTER, 0, 0, 0, 0, 0, 0, (uint8_t)all, 0));
    CU_ASSERT_EQUAL(key_count(), 2);
    CHECK_GOOD(pr_out(a, RESERVE, 5, 0xa, 0));
    static uint8_t block[512];
    CHECK_GOOD(host_write(c, 0, 1, block, 512));
    CHECK_CONFLICT(host_write(b, 0, 1, block, 512));
    /* Lists that end early, lengths that do not fit, other protocols. */
    for (size_t cut = 24; cut < all; cut++)
    {
        const struct outcome *outcome =
            host_out(b, list, cut, 0x5f, REGISTER, 0, 0, 0, 0, 0, 0, (uint8_t)cut, 0);
        CU_ASSERT_EQUAL(outcome->status, SCSI_CHECK_CONDITION);
        CU_ASSERT_EQUAL(outcome->key, 5);
    }
    list[28] = 0x06;
    CHECK_SENSE(host_out(b, list, all, 0x5f, REGISTER, 0, 0, 0, 0, 0, 0, (uint8_t)all, 0), 5, 0x26,
                0);
    CU_ASSERT_EQUAL(key_count(), 2);
}

/* ALL_TG_PT registers with both target ports. */
static void test_all_target_ports(void)
{
    CHECK_GOOD(pr_out_flags(a, REGISTER, 0, 0, 0xa, 0x04));
    CU_ASSERT_EQUAL(key_count(), 2);
    const struct outcome *outcome = pr_in(watcher, 3);
    CHECK_GOOD(outcome);
    size_t first = 24 + wire_u32(outcome->in + 8 + 20);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 8 + 18), 1);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 8 + first + 18), 2);
    CU_ASSERT_STRING_EQUAL((const char *)outcome->in + 8 + 28, HOST_A ",i,0x800000000001");
    CHECK_GOOD(pr_out_flags(a, REGISTER, 0, 0xa, 0, 0x04));
    CU_ASSERT_EQUAL(key_count(), 0);
}

static void test_truncation(void)
{
    register_all();
    const struct outcome *outcome = host_in(a, 8, 0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->len, 8);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 4), 16); /* what there is, not what was sent */
    CHECK_GOOD(host_in(a, 0, 0x5e, 3, 0, 0, 0, 0, 0, 0, 0, 0));
    outcome = pr_in(watcher, 2);
    CU_ASSERT_EQUAL(wire_u16(outcome->in), 8);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 4), 0xea01);
}

/* With APTPL it is all there after the server died; without, nothing is. */
static void test_power_loss(void)
{
    CHECK_GOOD(pr_out_flags(a, IGNORE, 0, 0, 0xa, 0x01));
    CHECK_GOOD(pr_out_flags(b, IGNORE, 0, 0, 0xb, 0x01));
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    CU_ASSERT_EQUAL(pr_in(watcher, 2)->in[3] & 1, 1);
    logout_all();
    host_restart(&host);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "disk", &info, NULL), 0);
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, info.id, false, NULL), -EPERM);
    login_all();
    CU_ASSERT_EQUAL(reservation_type(), 3);
    CU_ASSERT_EQUAL(key_count(), 2);
    CHECK_GOOD(host_read(a, 0, 1, 512));
    CHECK_CONFLICT(host_read(b, 0, 1, 512));
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, info.id, false, NULL), -EPERM);
    CHECK_GOOD(pr_out(a, RELEASE, 3, 0xa, 0)); /* stored too, since APTPL still holds */
    logout_all();
    host_restart(&host);
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, info.id, true, NULL), 0);
    login_all();
    CU_ASSERT_EQUAL(reservation_type(), 0);
    CU_ASSERT_EQUAL(key_count(), 2);
    CHECK_GOOD(pr_out_flags(a, IGNORE, 0, 0, 0xa, 0)); /* APTPL ends */
    CHECK_GOOD(pr_out(a, RESERVE, 1, 0xa, 0));
    logout_all();
    host_restart(&host);
    login_all();
    CU_ASSERT_EQUAL(reservation_type(), 0);
    CU_ASSERT_EQUAL(key_count(), 0);
}

/* A registration is the initiator port's, not the session's. */
static void test_relogin(void)
{
    register_all();
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    scsi_nexus_destroy(a);
    CHECK_CONFLICT(host_read(b, 0, 1, 512));
    a = host_login(&host, HOST_A, 1);
    host_clear(a, 0);
    CHECK_GOOD(host_read(a, 0, 1, 512));
    struct scsi_nexus *other = host_login(&host, HOST_A, 9); /* another ISID is another port */
    host_clear(other, 0);
    CHECK_CONFLICT(host_read(other, 0, 1, 512));
    scsi_nexus_destroy(other);
}

static void test_many(void)
{
    CHECK_GOOD(pr_out_flags(a, IGNORE, 0, 0, 0xa, 0x01));
    for (unsigned i = 0; i < 60; i++)
    {
        struct scsi_nexus *nexus = host_login(&host, HOST_B, (uint8_t)(10 + i));
        host_clear(nexus, 0);
        CHECK_GOOD(pr_out_flags(nexus, IGNORE, 0, 0, 0x100 + i, 0x01));
        scsi_nexus_destroy(nexus);
    }
    CU_ASSERT_EQUAL(key_count(), 61);
    logout_all();
    host_restart(&host); /* several values of the store */
    login_all();
    CU_ASSERT_EQUAL(key_count(), 61);
    CHECK_GOOD(pr_out(a, CLEAR, 0, 0xa, 0));
    logout_all();
    host_restart(&host);
    login_all();
    CU_ASSERT_EQUAL(key_count(), 0);
}

static void test_old_reserve(void)
{
    static uint8_t block[512];
    CHECK_GOOD(host_none(a, 0x16, 0, 0, 0, 0, 0));
    CHECK_GOOD(host_none(a, 0x16, 0, 0, 0, 0, 0));
    CHECK_GOOD(host_write(a, 0, 1, block, 512));
    CHECK_CONFLICT(host_none(b, 0x16, 0, 0, 0, 0, 0));
    CHECK_CONFLICT(host_none(b, 0, 0, 0, 0, 0, 0)); /* TEST UNIT READY, too */
    CHECK_CONFLICT(host_read(b, 0, 1, 512));
    CHECK_CONFLICT(host_in(b, 64, 0x1a, 0, 0x3f, 0, 64, 0)); /* MODE SENSE */
    CHECK_CONFLICT(pr_out(b, IGNORE, 0, 0, 0xb));
    CHECK_GOOD(host_in(b, 96, 0x12, 0, 0, 0, 96, 0));
    CHECK_GOOD(host_in(b, 18, 0x03, 0, 0, 0, 18, 0));
    CHECK_GOOD(host_none(b, 0x17, 0, 0, 0, 0, 0)); /* RELEASE of another's: no effect */
    CHECK_CONFLICT(host_read(b, 0, 1, 512));
    CHECK_GOOD(host_none(a, 0x17, 0, 0, 0, 0, 0));
    CHECK_GOOD(host_read(b, 0, 1, 512));
    /* It goes with the session, and it and registrations exclude each other. */
    CHECK_GOOD(host_none(a, 0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    scsi_nexus_destroy(a);
    CHECK_GOOD(host_read(b, 0, 1, 512));
    a = host_login(&host, HOST_A, 1);
    host_clear(a, 0);
    CHECK_GOOD(pr_out(b, IGNORE, 0, 0, 0xb));
    CHECK_CONFLICT(host_none(a, 0x16, 0, 0, 0, 0, 0));
    CHECK_CONFLICT(host_none(b, 0x16, 0, 0, 0, 0, 0));
}

/* Reservations are of one unit. */
static void test_other_unit(void)
{
    register_all();
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    uint8_t cdb[10] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0};
    struct sending sending = {.lun = 1, .cdb = cdb, .cdb_len = 10, .in_len = 512};
    host_clear(b, 1);
    CHECK_GOOD(host_send(b, &sending));
}

/* ---- the administrator --------------------------------------------------------------------- */

static uint64_t disk_id(void)
{
    struct lun_info info = {0};
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "disk", &info, NULL), 0);
    return info.id;
}

static size_t clear(const char *initiator)
{
    size_t cleared = 99;
    CU_ASSERT_EQUAL(scsi_reservation_clear(host.target, disk_id(), initiator, &cleared), 0);
    return cleared;
}

static bool is_kept_out(bool write)
{
    return scsi_target_check_foreign(host.target, disk_id(), write, NULL) == -EPERM;
}

static void test_show(void)
{
    struct scsi_reservation shown;
    CHECK_GOOD(pr_out_flags(a, IGNORE, 0, 0, 0xa, 1));
    CHECK_GOOD(pr_out_flags(b, IGNORE, 0, 0, 0xb, 1));
    CHECK_GOOD(pr_out(a, RESERVE, 1, 0xa, 0));
    scsi_nexus_destroy(b);
    CU_ASSERT_EQUAL(scsi_reservation_get(host.target, disk_id(), &shown), 0);
    CU_ASSERT_EQUAL(shown.type, 1);
    CU_ASSERT_TRUE(shown.is_persistent);
    CU_ASSERT_STRING_EQUAL(shown.reserved_by, "");
    CU_ASSERT_EQUAL_FATAL(shown.count, 2);
    CU_ASSERT_STRING_EQUAL(shown.list[0].initiator, HOST_A);
    CU_ASSERT_EQUAL(shown.list[0].key, 0xa);
    CU_ASSERT_TRUE(shown.list[0].is_holder && shown.list[0].is_connected);
    CU_ASSERT_FALSE(shown.list[1].is_holder || shown.list[1].is_connected);
    free(shown.list);
    b = host_login(&host, HOST_B, 2);
    logout_all();
    host_restart(&host);
    /* Nobody uses it: what is stored counts. */
    CU_ASSERT_EQUAL(scsi_reservation_get(host.target, disk_id(), &shown), 0);
    CU_ASSERT_EQUAL(shown.type, 1);
    CU_ASSERT_EQUAL_FATAL(shown.count, 2);
    CU_ASSERT_TRUE(shown.list[0].is_holder && !shown.list[0].is_connected);
    free(shown.list);
    login_all();
}

/* The holder is gone; the others go on, and are told where they shared the reservation. */
static void test_clear_initiator(void)
{
    static const uint8_t types[] = {1, 3, 5, 6, 7, 8};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
    {
        bool all = types[i] >= 7;
        register_all();
        CHECK_GOOD(pr_out(a, RESERVE, types[i], 0xa, 0));
        CU_ASSERT_TRUE(is_kept_out(true));
        uint32_t before = generation();
        CU_ASSERT_EQUAL(clear(HOST_C), 0);
        CU_ASSERT_EQUAL(generation(), before);
        CU_ASSERT_EQUAL(clear(HOST_A), 1);
        CU_ASSERT_EQUAL(generation(), before + 1);
        CU_ASSERT_EQUAL(key_count(), 1);
        CU_ASSERT_EQUAL(reservation_type(), all ? types[i] : 0);
        CU_ASSERT_EQUAL(is_kept_out(true), all);
        CU_ASSERT_EQUAL(attention(a), 0x2a05); /* REGISTRATIONS PREEMPTED */
        CU_ASSERT_EQUAL(attention(b), types[i] == 5 || types[i] == 6 ? 0x2a04 : 0);
        CU_ASSERT_EQUAL(attention(c), 0);
        CHECK_CONFLICT(pr_out(a, REGISTER, 0, 0xa, 0xa));
        CU_ASSERT_EQUAL(clear(HOST_B), 1);
        CU_ASSERT_EQUAL(attention(b), 0x2a05);
        CU_ASSERT_EQUAL(reservation_type(), 0);
        CU_ASSERT_FALSE(is_kept_out(true));
    }
}

static void test_clear_all(void)
{
    register_all();
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    CHECK_CONFLICT(host_read(c, 0, 1, 512));
    CU_ASSERT_TRUE(is_kept_out(false));
    CU_ASSERT_EQUAL(clear(NULL), 2);
    CU_ASSERT_EQUAL(attention(a), 0x2a03); /* RESERVATIONS PREEMPTED, as after CLEAR */
    CU_ASSERT_EQUAL(attention(b), 0x2a03);
    CU_ASSERT_EQUAL(attention(c), 0);
    CU_ASSERT_EQUAL(key_count(), 0);
    CHECK_GOOD(host_read(c, 0, 1, 512));
    CU_ASSERT_FALSE(is_kept_out(false));
    CU_ASSERT_EQUAL(clear(NULL), 0);
    /* The cluster begins anew. */
    register_all();
    CHECK_GOOD(pr_out(b, RESERVE, 1, 0xb, 0));
}

/* What outlives a restart does not come back, whether its LUN is in use or not. */
static void test_clear_stored(void)
{
    for (int in_use = 0; in_use < 2; in_use++)
    {
        CHECK_GOOD(pr_out_flags(a, IGNORE, 0, 0, 0xa, 1));
        CHECK_GOOD(pr_out_flags(b, IGNORE, 0, 0, 0xb, 1));
        CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
        logout_all();
        host_restart(&host);
        if (in_use)
            login_all();
        CU_ASSERT_TRUE(is_kept_out(false));
        CU_ASSERT_EQUAL(clear("IQN.2001-04.com.example:a"), 1);
        CU_ASSERT_FALSE(is_kept_out(false));
        CU_ASSERT_FALSE(is_kept_out(true));
        if (in_use)
            logout_all();
        host_restart(&host);
        CU_ASSERT_FALSE(is_kept_out(false));
        login_all();
        CU_ASSERT_EQUAL(reservation_type(), 0);
        CU_ASSERT_EQUAL(key_count(), 1);
        logout_all();
        CU_ASSERT_EQUAL(clear(NULL), 1);
        host_restart(&host);
        login_all();
        CU_ASSERT_EQUAL(key_count(), 0);
    }
}

static void test_clear_old_reserve(void)
{
    CHECK_GOOD(host_none(a, 0x16, 0, 0, 0, 0, 0));
    CHECK_CONFLICT(host_read(b, 0, 1, 512));
    CU_ASSERT_EQUAL(clear(HOST_B), 0);
    CHECK_CONFLICT(host_read(b, 0, 1, 512));
    struct scsi_reservation shown;
    CU_ASSERT_EQUAL(scsi_reservation_get(host.target, disk_id(), &shown), 0);
    CU_ASSERT_STRING_EQUAL(shown.reserved_by, HOST_A);
    free(shown.list);
    CU_ASSERT_EQUAL(clear(HOST_A), 1);
    CHECK_GOOD(host_read(b, 0, 1, 512));
    CU_ASSERT_EQUAL(attention(a), 0x2a03);
    CU_ASSERT_FALSE(is_kept_out(true));
}

/* Other content under the same identity: registrations, the reservation and what hosts see of the
 * unit belong to that. */
static void test_redeploy(void)
{
    static const char *const names[] = {"disk"};
    uint8_t serial[64], block[512];
    memset(block, 7, sizeof(block));
    struct lun *other;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "other", 0, &other, NULL), 0);
    CU_ASSERT_EQUAL(lun_write(other, block, sizeof(block), 0, 0), 0);
    lun_close(other);
    const struct outcome *page = host_in(a, 64, 0x12, 1, 0x80, 0, 64, 0);
    size_t serial_len = page->len < 64 ? page->len : 64;
    memcpy(serial, page->in, serial_len);
    CHECK_GOOD(pr_out_flags(a, IGNORE, 0, 0, 0xa, 0x01));
    CHECK_GOOD(pr_out_flags(b, IGNORE, 0, 0, 0xb, 0x01));
    CHECK_GOOD(pr_out(a, RESERVE, 3, 0xa, 0));
    uint64_t id = disk_id();
    uint32_t before = generation();
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "other", names, 1, "undo", LUN_FORCE, NULL), 0);
    for (unsigned round = 0; round < 2; round++)
    {
        host_clear(a, 0);
        host_clear(b, 0);
        host_clear(watcher, 0);
        CU_ASSERT_EQUAL(disk_id(), id);
        CU_ASSERT_EQUAL(key_count(), 2);
        CU_ASSERT_EQUAL(reservation_type(), 3);
        CU_ASSERT(round == 1 || generation() == before);
        CU_ASSERT_TRUE(is_kept_out(false));
        CHECK_CONFLICT(host_read(b, 0, 1, 512));
        const struct outcome *read = host_read(a, 0, 1, 512);
        CHECK_GOOD(read);
        CU_ASSERT_EQUAL(memcmp(read->in, block, sizeof(block)), 0); /* what is new */
        page = host_in(a, 64, 0x12, 1, 0x80, 0, 64, 0);
        CU_ASSERT(page->len == serial_len && memcmp(page->in, serial, serial_len) == 0);
        if (round == 1)
            break;
        logout_all();
        host_restart(&host);
        login_all();
    }
    CHECK_GOOD(pr_out(a, RELEASE, 3, 0xa, 0));
    CHECK_GOOD(host_read(b, 0, 1, 512));
}

static CU_TestInfo pr_tests[] = {
    {"the administrator looks", test_show},
    {"he clears an initiator", test_clear_initiator},
    {"he clears all", test_clear_all},
    {"he clears what is stored", test_clear_stored},
    {"he clears RESERVE", test_clear_old_reserve},
    {"REGISTER", test_register},
    {"parameter lists", test_parameter_lists},
    {"RESERVE and RELEASE", test_reserve_release},
    {"the table of conflicts", test_conflicts},
    {"the holder unregisters", test_holder_unregisters},
    {"CLEAR", test_clear},
    {"PREEMPT", test_preempt},
    {"PREEMPT with all registrants", test_preempt_all_registrants},
    {"REGISTER AND MOVE", test_register_and_move},
    {"SPEC_I_PT", test_spec_i_pt},
    {"ALL_TG_PT and full status", test_all_target_ports},
    {"allocation lengths", test_truncation},
    {"APTPL across a restart", test_power_loss},
    {"the same port logs in again", test_relogin},
    {"many registrations", test_many},
    {"RESERVE and RELEASE of SPC-2", test_old_reserve},
    {"another unit", test_other_unit},
    {"a redeploy keeps them", test_redeploy},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"reservations", NULL, NULL, set_up, tear_down, pr_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
