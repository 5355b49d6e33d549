/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom reservations keep out besides SCSI hosts: by type, through all that ends a reservation. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/cdb.h"
#include "server/scsi/fence.h"
#include "server/scsi/pr.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

enum
{
    REGISTER_IGNORE = 6,
    RESERVE = 1,
    RELEASE = 2,
    CLEAR = 3,
    PREEMPT = 4,
    APTPL = 1,
};

static struct scsi_host host;
static struct scsi_nexus *a, *b;
static uint64_t disk, other;

static uint64_t id_of(const char *name)
{
    struct lun_info info = {0};
    CU_ASSERT_EQUAL(lun_get_info(host.pool, name, &info, NULL), 0);
    return info.id;
}

static void login_both(void)
{
    a = host_login(&host, HOST_A, 1);
    b = host_login(&host, HOST_B, 2);
    host_clear(a, 0);
    host_clear(b, 0);
}

static void logout_both(void)
{
    scsi_nexus_destroy(a);
    scsi_nexus_destroy(b);
}

static void set_up(void)
{
    host_start(&host, 512);
    disk = id_of("disk");
    other = id_of("other");
    login_both();
}

static void tear_down(void)
{
    logout_both();
    host_stop(&host);
}

static void pr_out(struct scsi_nexus *nexus, uint8_t action, uint8_t type, uint64_t key,
                   uint64_t action_key, uint8_t flags)
{
    uint8_t list[24] = {0};
    wire_put_u64(list, key);
    wire_put_u64(list + 8, action_key);
    list[20] = flags;
    CHECK_GOOD(host_out(nexus, list, sizeof(list), 0x5f, action, type, 0, 0, 0, 0, 0, 24, 0));
    host_clear(a, 0);
    host_clear(b, 0);
}

/* What somebody outside may do with "disk"; with "other" everything at any time. */
static unsigned kept_out(void)
{
    unsigned result = 0;
    struct reason why = {.text = ""};
    int r = scsi_target_check_foreign(host.target, disk, true, &why);
    if (r != 0)
    {
        CU_ASSERT_EQUAL(r, -EPERM);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "iqn.2001-04.com.example:"));
        result |= FENCE_WRITES;
    }
    if (scsi_target_check_foreign(host.target, disk, false, NULL) != 0)
        result |= FENCE_READS;
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, other, true, NULL), 0);
    return result;
}

static void test_types(void)
{
    static const struct
    {
        uint8_t type;
        unsigned kept_out;
    } cases[] = {
        {PR_WRITE_EXCLUSIVE, FENCE_WRITES},
        {PR_EXCLUSIVE_ACCESS, FENCE_WRITES | FENCE_READS},
        {PR_WRITE_EXCLUSIVE_REGISTRANTS, FENCE_WRITES},
        {PR_EXCLUSIVE_ACCESS_REGISTRANTS, FENCE_WRITES | FENCE_READS},
        {PR_WRITE_EXCLUSIVE_ALL, FENCE_WRITES},
        {PR_EXCLUSIVE_ACCESS_ALL, FENCE_WRITES | FENCE_READS},
    };
    CU_ASSERT_EQUAL(kept_out(), 0);
    pr_out(a, REGISTER_IGNORE, 0, 0, 0xa, 0);
    pr_out(b, REGISTER_IGNORE, 0, 0, 0xb, 0);
    CU_ASSERT_EQUAL(kept_out(), 0); /* a registration alone keeps nobody out */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        pr_out(a, RESERVE, cases[i].type, 0xa, 0, 0);
        CU_ASSERT_EQUAL(kept_out(), cases[i].kept_out);
        pr_out(a, RELEASE, cases[i].type, 0xa, 0, 0);
        CU_ASSERT_EQUAL(kept_out(), 0);
    }
    pr_out(a, RESERVE, PR_WRITE_EXCLUSIVE, 0xa, 0, 0);
    pr_out(b, PREEMPT, PR_EXCLUSIVE_ACCESS, 0xb, 0xa, 0);
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES | FENCE_READS);
    /* Who holds it may go and come back. */
    logout_both();
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES | FENCE_READS);
    login_both();
    pr_out(b, CLEAR, 0, 0xb, 0, 0);
    CU_ASSERT_EQUAL(kept_out(), 0);
    pr_out(a, REGISTER_IGNORE, 0, 0, 0xa, 0);
    pr_out(a, RESERVE, PR_WRITE_EXCLUSIVE, 0xa, 0, 0);
    pr_out(a, REGISTER_IGNORE, 0, 0xa, 0, 0); /* who unregisters releases */
    CU_ASSERT_EQUAL(kept_out(), 0);
}

static void tmf_done(struct scsi_tmf *tmf)
{
    CU_ASSERT_EQUAL(tmf->response, SCSI_TMF_COMPLETE);
}

static void reset(uint8_t function)
{
    struct scsi_tmf tmf = {.nexus = a, .function = function, .done = tmf_done};
    scsi_tmf_start(&tmf);
}

static void reserve_old(void)
{
    host_clear(a, 0);
    CHECK_GOOD(host_none(a, 0x16, 0, 0, 0, 0, 0));
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES | FENCE_READS);
}

/* The old RESERVE ends with a release, a reset, or the session. */
static void test_old_reserve(void)
{
    reserve_old();
    CHECK_GOOD(host_none(a, 0x17, 0, 0, 0, 0, 0));
    CU_ASSERT_EQUAL(kept_out(), 0);
    static const uint8_t resets[] = {SCSI_TMF_LUN_RESET, SCSI_TMF_TARGET_WARM_RESET,
                                     SCSI_TMF_I_T_NEXUS_RESET};
    for (size_t i = 0; i < ARRAY_SIZE(resets); i++)
    {
        reserve_old();
        reset(resets[i]);
        CU_ASSERT_EQUAL(kept_out(), 0);
    }
    reserve_old();
    scsi_nexus_destroy(a);
    CU_ASSERT_EQUAL(kept_out(), 0);
    a = host_login(&host, HOST_A, 1);
    reserve_old();
    CU_ASSERT_EQUAL(access_unmap(host.access, "disk", "hosts", NULL), 0);
    CU_ASSERT_EQUAL(kept_out(), 0);
}

/* What is stored counts before an initiator is back, and while it is being loaded. */
static void test_stored(void)
{
    pr_out(a, REGISTER_IGNORE, 0, 0, 0xa, APTPL);
    pr_out(a, RESERVE, PR_WRITE_EXCLUSIVE, 0xa, 0, 0);
    logout_both();
    host_restart(&host);
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES);
    login_both();
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES);
    pr_out(a, RELEASE, PR_WRITE_EXCLUSIVE, 0xa, 0, 0);
    CU_ASSERT_EQUAL(kept_out(), 0);
    pr_out(a, RESERVE, PR_EXCLUSIVE_ACCESS, 0xa, 0, 0);
    logout_both();
    host_restart(&host);
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES | FENCE_READS);
    login_both();
    pr_out(a, CLEAR, 0, 0xa, 0, 0);
    logout_both();
    host_restart(&host);
    CU_ASSERT_EQUAL(kept_out(), 0);
    login_both();
}

/* What the store has and nobody understands keeps everybody out, also from who looks closer. */
static void test_damaged(void)
{
    struct reason why = {.text = ""};
    char key[64];
    pr_out(a, REGISTER_IGNORE, 0, 0, 0xa, APTPL);
    pr_out(a, RESERVE, PR_WRITE_EXCLUSIVE, 0xa, 0, 0);
    logout_both();
    snprintf(key, sizeof(key), PR_STORE_PREFIX "%016llx/0", (unsigned long long)disk);
    struct store_change change = {.key = key, .value = "nonsense", .len = 8};
    CU_ASSERT_EQUAL(store_apply(host.pool, &change, 1, NULL), 0);
    host_restart(&host);
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, disk, true, &why), -EPERM);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "cannot be read"));
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, other, true, NULL), 0);
    login_both();
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, disk, false, NULL), -EPERM);
}

/* Nothing of a deleted LUN stays in the way of another. */
static void test_delete(void)
{
    pr_out(a, REGISTER_IGNORE, 0, 0, 0xa, APTPL);
    pr_out(a, RESERVE, PR_WRITE_EXCLUSIVE, 0xa, 0, 0);
    logout_both();
    host_restart(&host);
    CU_ASSERT_EQUAL(kept_out(), FENCE_WRITES);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "disk", false, LUN_FORCE, NULL), 0);
    CU_ASSERT_EQUAL(scsi_target_check_foreign(host.target, disk, true, NULL), 0);
    a = host_login(&host, HOST_A, 1);
    b = host_login(&host, HOST_B, 2);
}

static CU_TestInfo fence_tests[] = {
    {"types of persistent reservations", test_types},
    {"the old RESERVE", test_old_reserve},
    {"what is stored", test_stored},
    {"what is stored and damaged", test_damaged},
    {"deleted LUNs", test_delete},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"fence", NULL, NULL, set_up, tear_down, fence_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
