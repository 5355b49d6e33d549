/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of parameters: each rule, each key's limits, phases. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/iscsi/params.h"
#include "tests/lib/cunit_main.h"

/* The answer to one key on fresh parameters; "" if there is none. */
static const char *answer_in(struct params *params, const char *key, const char *value,
                             enum param_phase phase, bool is_discovery)
{
    static char text[256];
    AUTO_WRITER struct writer out = {.bytes = NULL};
    struct text_pair pair = {.key = key, .value = value};
    if (params_answer(params, &pair, phase, is_discovery, &out) < 0)
        return "(error)";
    size_t key_len = strlen(key);
    if (out.len == 0)
        return "";
    CU_ASSERT_FATAL(out.len > key_len + 1 && out.len < sizeof(text));
    CU_ASSERT_EQUAL(memcmp(out.bytes, key, key_len), 0);
    memcpy(text, out.bytes + key_len + 1, out.len - key_len - 1);
    return text;
}

static const char *answer(const char *key, const char *value)
{
    struct params params;
    params_init(&params);
    return answer_in(&params, key, value, PARAM_PHASE_OPERATIONAL, false);
}

static void test_rules(void)
{
    static const struct
    {
        const char *key, *value, *answer;
    } cases[] = {
        /* first of a list that both have */
        {"HeaderDigest", "None", "None"},
        {"HeaderDigest", "CRC32C,None", "CRC32C"},
        {"HeaderDigest", "None,CRC32C", "None"},
        {"DataDigest", "MD5,CRC32C", "CRC32C"},
        {"DataDigest", "MD5", "Reject"},
        {"DataDigest", "", "Reject"},
        {"TaskReporting", "FastAbort,RFC3720", "RFC3720"},
        {"TaskReporting", "FastAbort", "Reject"},
        /* or, and */
        {"InitialR2T", "Yes", "Yes"},
        {"InitialR2T", "No", "No"},
        {"InitialR2T", "Maybe", "Reject"},
        {"ImmediateData", "Yes", "Yes"},
        {"ImmediateData", "No", "No"},
        {"DataPDUInOrder", "No", "Yes"},
        {"DataSequenceInOrder", "No", "Yes"},
        /* the lower, the higher */
        {"MaxConnections", "8", "1"},
        {"MaxConnections", "0", "Reject"},
        {"MaxConnections", "65536", "Reject"},
        {"MaxBurstLength", "262144", "262144"},
        {"MaxBurstLength", "0x40000", "262144"},
        {"MaxBurstLength", "16777215", "4194304"},
        {"MaxBurstLength", "16777216", "Reject"},
        {"MaxBurstLength", "511", "Reject"},
        {"FirstBurstLength", "512", "512"},
        {"FirstBurstLength", "16777215", "1048576"},
        {"MaxOutstandingR2T", "1", "1"},
        {"MaxOutstandingR2T", "65535", "8"},
        {"MaxOutstandingR2T", "0", "Reject"},
        {"ErrorRecoveryLevel", "2", "0"},
        {"ErrorRecoveryLevel", "3", "Reject"},
        {"iSCSIProtocolLevel", "31", "2"},
        {"iSCSIProtocolLevel", "1", "1"},
        {"iSCSIProtocolLevel", "32", "Reject"},
        {"DefaultTime2Wait", "5", "5"},
        {"DefaultTime2Wait", "0", "0"},
        {"DefaultTime2Wait", "3601", "Reject"},
        {"DefaultTime2Retain", "20", "0"},
        /* declared */
        {"MaxRecvDataSegmentLength", "65536", ""},
        {"MaxRecvDataSegmentLength", "511", "Reject"},
        /* gone from the standard, unknown to it */
        {"IFMarker", "Yes", "No"},
        {"OFMarker", "No", "No"},
        {"IFMarkInt", "1~2", "Reject"},
        {"OFMarkInt", "2048", "Reject"},
        {"X-com.example.color", "blue", "NotUnderstood"},
        {"headerdigest", "None", "NotUnderstood"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        const char *got = answer(cases[i].key, cases[i].value);
        if (strcmp(got, cases[i].answer) != 0)
            printf("\n%s=%s: %s instead of %s\n", cases[i].key, cases[i].value, got,
                   cases[i].answer);
        CU_ASSERT_STRING_EQUAL(got, cases[i].answer);
    }
}

static void test_values(void)
{
    struct params params;
    params_init(&params);
    CU_ASSERT_EQUAL(params.value[PARAM_MAX_RECV_BYTES], 8192);
    CU_ASSERT_EQUAL(params.value[PARAM_INITIAL_R2T], 1);
    CU_ASSERT_EQUAL(params.value[PARAM_FIRST_BURST_BYTES], 65536);
    answer_in(&params, "HeaderDigest", "CRC32C", PARAM_PHASE_OPERATIONAL, false);
    answer_in(&params, "InitialR2T", "No", PARAM_PHASE_OPERATIONAL, false);
    answer_in(&params, "MaxRecvDataSegmentLength", "0x20000", PARAM_PHASE_OPERATIONAL, false);
    answer_in(&params, "MaxBurstLength", "4096", PARAM_PHASE_OPERATIONAL, false);
    answer_in(&params, "FirstBurstLength", "x", PARAM_PHASE_OPERATIONAL, false);
    CU_ASSERT_EQUAL(params.value[PARAM_HEADER_DIGEST], 1);
    CU_ASSERT_EQUAL(params.value[PARAM_DATA_DIGEST], 0);
    CU_ASSERT_EQUAL(params.value[PARAM_INITIAL_R2T], 0);
    CU_ASSERT_EQUAL(params.value[PARAM_MAX_RECV_BYTES], 0x20000);
    CU_ASSERT_EQUAL(params.value[PARAM_FIRST_BURST_BYTES], 65536);
    params_settle(&params);
    CU_ASSERT_EQUAL(params.value[PARAM_FIRST_BURST_BYTES], 4096);
}

static void test_phases(void)
{
    struct params params;
    params_init(&params);
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "MaxBurstLength", "4096", PARAM_PHASE_SECURITY, false), "(error)");
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "MaxBurstLength", "4096", PARAM_PHASE_FULL_FEATURE, false), "(error)");
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "MaxRecvDataSegmentLength", "4096", PARAM_PHASE_FULL_FEATURE, false),
        "");
    /* Twice in one negotiation is an error; in the next it is not. */
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "MaxRecvDataSegmentLength", "8192", PARAM_PHASE_FULL_FEATURE, false),
        "(error)");
    params_new_phase(&params);
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "MaxRecvDataSegmentLength", "8192", PARAM_PHASE_FULL_FEATURE, false),
        "");
    CU_ASSERT_EQUAL(params.value[PARAM_MAX_RECV_BYTES], 8192);
}

static void test_irrelevant(void)
{
    struct params params;
    params_init(&params);
    CU_ASSERT_STRING_EQUAL(answer_in(&params, "InitialR2T", "No", PARAM_PHASE_OPERATIONAL, true),
                           "Irrelevant");
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "DataDigest", "CRC32C", PARAM_PHASE_OPERATIONAL, true), "CRC32C");
    params_init(&params);
    answer_in(&params, "InitialR2T", "Yes", PARAM_PHASE_OPERATIONAL, false);
    answer_in(&params, "ImmediateData", "No", PARAM_PHASE_OPERATIONAL, false);
    CU_ASSERT_STRING_EQUAL(
        answer_in(&params, "FirstBurstLength", "4096", PARAM_PHASE_OPERATIONAL, false),
        "Irrelevant");
}

/* No row contradicts itself. */
static void test_table(void)
{
    for (unsigned i = 0; i < PARAM_COUNT; i++)
    {
        const struct param_spec *spec = params_spec((enum param)i);
        enum param found;
        CU_ASSERT_PTR_NOT_NULL_FATAL(spec->key);
        CU_ASSERT_EQUAL(params_find(spec->key, &found), 0);
        CU_ASSERT_EQUAL(found, i);
        CU_ASSERT(spec->phases != 0);
        bool is_list = spec->type == PARAM_TYPE_LIST;
        CU_ASSERT_EQUAL(is_list, spec->items != NULL);
        CU_ASSERT_EQUAL(is_list, spec->rule == PARAM_RULE_FIRST);
        if (spec->type == PARAM_TYPE_NUMBER)
        {
            CU_ASSERT(spec->min <= spec->ours && spec->ours <= spec->max);
            CU_ASSERT(spec->min <= spec->initial && spec->initial <= spec->max);
        }
    }
}

static CU_TestInfo params_tests[] = {
    {"each rule", test_rules}, {"values in force", test_values},
    {"phases", test_phases},   {"irrelevant keys", test_irrelevant},
    {"the table", test_table}, CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_params", NULL, NULL, NULL, NULL, params_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
