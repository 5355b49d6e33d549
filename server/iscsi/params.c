/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of operational keys, and negotiation by it. */
#include "server/iscsi/params.h"

#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"

/* Short names, so that a row of the table is a line. */
enum
{
    LOGIN = PARAM_PHASE_OPERATIONAL,
    ANY = PARAM_PHASE_OPERATIONAL | PARAM_PHASE_FULL_FEATURE,
    LIST = PARAM_TYPE_LIST,
    BOOL = PARAM_TYPE_BOOL,
    NUMBER = PARAM_TYPE_NUMBER,
    OBSOLETE = PARAM_TYPE_OBSOLETE,
    FIRST = PARAM_RULE_FIRST,
    OR = PARAM_RULE_OR,
    AND = PARAM_RULE_AND,
    LOWER = PARAM_RULE_MIN,
    HIGHER = PARAM_RULE_MAX,
    DECLARE = PARAM_RULE_DECLARE,
    REFUSE = PARAM_RULE_REFUSE,
    CONN = PARAM_SCOPE_CONNECTION,
    SESS = PARAM_SCOPE_SESSION,
};

/* clang-format off */
static const struct param_spec params_table[PARAM_COUNT] = {
    /* key, type, rule, scope, phases, only in normal sessions,
     *                                    initial, ours, min, max, items */
    [PARAM_HEADER_DIGEST] =
        {"HeaderDigest",             LIST,     FIRST,   CONN, LOGIN, false,
                                          0,      2,       0,   0,        "None,CRC32C"},
    [PARAM_DATA_DIGEST] =
        {"DataDigest",               LIST,     FIRST,   CONN, LOGIN, false,
                                          0,      2,       0,   0,        "None,CRC32C"},
    [PARAM_MAX_CONNECTIONS] =
        {"MaxConnections",           NUMBER,   LOWER,   SESS, LOGIN, true,
                                          1,      1,       1,   65535,    NULL},
    [PARAM_INITIAL_R2T] =
        {"InitialR2T",               BOOL,     OR,      SESS, LOGIN, true,
                                          1,      0,       0,   1,        NULL},
    [PARAM_IMMEDIATE_DATA] =
        {"ImmediateData",            BOOL,     AND,     SESS, LOGIN, true,
                                          1,      1,       0,   1,        NULL},
    [PARAM_MAX_RECV_BYTES] =
        {"MaxRecvDataSegmentLength", NUMBER,   DECLARE, CONN, ANY,   false,
                                          8192,   262144,  512, 16777215, NULL},
    [PARAM_MAX_BURST_BYTES] =
        {"MaxBurstLength",           NUMBER,   LOWER,   SESS, LOGIN, true,
                                          262144, 4194304, 512, 16777215, NULL},
    [PARAM_FIRST_BURST_BYTES] =
        {"FirstBurstLength",         NUMBER,   LOWER,   SESS, LOGIN, true,
                                          65536,  1048576, 512, 16777215, NULL},
    [PARAM_TIME2WAIT_S] =
        {"DefaultTime2Wait",         NUMBER,   HIGHER,  SESS, LOGIN, false,
                                          2,      0,       0,   3600,     NULL},
    [PARAM_TIME2RETAIN_S] =
        {"DefaultTime2Retain",       NUMBER,   LOWER,   SESS, LOGIN, false,
                                          20,     0,       0,   3600,     NULL},
    [PARAM_MAX_R2T] =
        {"MaxOutstandingR2T",        NUMBER,   LOWER,   SESS, LOGIN, true,
                                          1,      8,       1,   65535,    NULL},
    [PARAM_PDU_IN_ORDER] =
        {"DataPDUInOrder",           BOOL,     OR,      SESS, LOGIN, true,
                                          1,      1,       0,   1,        NULL},
    [PARAM_SEQUENCE_IN_ORDER] =
        {"DataSequenceInOrder",      BOOL,     OR,      SESS, LOGIN, true,
                                          1,      1,       0,   1,        NULL},
    [PARAM_ERROR_RECOVERY_LEVEL] =
        {"ErrorRecoveryLevel",       NUMBER,   LOWER,   SESS, LOGIN, false,
                                          0,      0,       0,   2,        NULL},
    [PARAM_TASK_REPORTING] =
        {"TaskReporting",            LIST,     FIRST,   SESS, LOGIN, true,
                                          0,      1,       0,   0,        "RFC3720"},
    [PARAM_PROTOCOL_LEVEL] =
        {"iSCSIProtocolLevel",       NUMBER,   LOWER,   SESS, LOGIN, true,
                                          1,      2,       0,   31,       NULL},
    [PARAM_IF_MARKER] =
        {"IFMarker",                 OBSOLETE, REFUSE,  CONN, LOGIN, false,
                                          0,      0,       0,   0,        NULL},
    [PARAM_OF_MARKER] =
        {"OFMarker",                 OBSOLETE, REFUSE,  CONN, LOGIN, false,
                                          0,      0,       0,   0,        NULL},
    [PARAM_IF_MARK_INT] =
        {"IFMarkInt",                OBSOLETE, REFUSE,  CONN, LOGIN, false,
                                          0,      0,       0,   0,        NULL},
    [PARAM_OF_MARK_INT] =
        {"OFMarkInt",                OBSOLETE, REFUSE,  CONN, LOGIN, false,
                                          0,      0,       0,   0,        NULL},
};
/* clang-format on */

const struct param_spec *params_spec(enum param param)
{
    return &params_table[param];
}

int params_find(const char *key, enum param *param)
{
    for (unsigned i = 0; i < PARAM_COUNT; i++)
    {
        if (strcmp(params_table[i].key, key) != 0)
            continue;
        *param = (enum param)i;
        return 0;
    }
    return -ENOENT;
}

void params_init(struct params *params)
{
    *params = (struct params){.is_first_burst_moot = false};
    for (unsigned i = 0; i < PARAM_COUNT; i++)
        params->value[i] = params_table[i].initial;
}

void params_new_phase(struct params *params)
{
    memset(params->is_settled, 0, sizeof(params->is_settled));
}

/* The place of @item in the list of the first spec->ours items. */
static bool params_item_value(const struct param_spec *spec, const char *item, uint32_t *value)
{
    const char *list = spec->items;
    char known[TEXT_KEY_MAX + 1];
    for (uint32_t i = 0; i < spec->ours && text_next_item(&list, known, sizeof(known)); i++)
    {
        if (strcmp(known, item) != 0)
            continue;
        *value = i;
        return true;
    }
    return false;
}

static void params_answer_list(struct params *params, enum param param, const char *value,
                               struct writer *out)
{
    const struct param_spec *spec = &params_table[param];
    char item[TEXT_KEY_MAX + 1];
    while (text_next_item(&value, item, sizeof(item)))
    {
        if (!params_item_value(spec, item, &params->value[param]))
            continue;
        text_put(out, spec->key, item);
        return;
    }
    text_put(out, spec->key, "Reject");
}

static void params_answer_bool(struct params *params, enum param param, const char *value,
                               struct writer *out)
{
    const struct param_spec *spec = &params_table[param];
    bool theirs, ours = spec->ours;
    if (text_get_bool(value, &theirs) < 0)
    {
        text_put(out, spec->key, "Reject");
        return;
    }
    bool result = spec->rule == PARAM_RULE_OR ? theirs || ours : theirs && ours;
    params->value[param] = result;
    text_put(out, spec->key, result ? "Yes" : "No");
}

static void params_answer_number(struct params *params, enum param param, const char *value,
                                 struct writer *out)
{
    const struct param_spec *spec = &params_table[param];
    uint64_t theirs;
    if (text_get_number(value, spec->max, &theirs) < 0 || theirs < spec->min)
    {
        text_put(out, spec->key, "Reject");
        return;
    }
    uint64_t result = theirs;
    if (spec->rule == PARAM_RULE_MIN)
        result = min_u64(theirs, spec->ours);
    else if (spec->rule == PARAM_RULE_MAX)
        result = max_u64(theirs, spec->ours);
    params->value[param] = (uint32_t)result;
    if (spec->rule != PARAM_RULE_DECLARE)
        text_put_number(out, spec->key, (uint32_t)result);
}

/* With no unsolicited data at all there is no first burst to agree on (RFC 7143 section 13.14). */
static bool params_is_irrelevant(const struct params *params, enum param param, bool is_discovery)
{
    if (is_discovery && params_table[param].only_normal)
        return true;
    return param == PARAM_FIRST_BURST_BYTES && params->is_settled[PARAM_INITIAL_R2T] &&
           params->is_settled[PARAM_IMMEDIATE_DATA] && params->value[PARAM_INITIAL_R2T] &&
           !params->value[PARAM_IMMEDIATE_DATA];
}

int params_answer(struct params *params, const struct text_pair *pair, enum param_phase phase,
                  bool is_discovery, struct writer *out)
{
    enum param param;
    if (params_find(pair->key, &param) < 0)
    {
        text_put(out, pair->key, "NotUnderstood");
        return 0;
    }
    const struct param_spec *spec = &params_table[param];
    if (!(spec->phases & phase) || params->is_settled[param])
        return -EPROTO;
    if (params_is_irrelevant(params, param, is_discovery))
    {
        text_put(out, spec->key, "Irrelevant");
        return 0;
    }
    params->is_settled[param] = true;
    switch ((enum param_type)spec->type)
    {
    case PARAM_TYPE_LIST:
        params_answer_list(params, param, pair->value, out);
        break;
    case PARAM_TYPE_BOOL:
        params_answer_bool(params, param, pair->value, out);
        break;
    case PARAM_TYPE_NUMBER:
        params_answer_number(params, param, pair->value, out);
        break;
    case PARAM_TYPE_OBSOLETE:
        /* "No" means the same for the two boolean ones and upsets nobody. */
        text_put(out, spec->key,
                 param == PARAM_IF_MARKER || param == PARAM_OF_MARKER ? "No" : "Reject");
        break;
    }
    return 0;
}

void params_settle(struct params *params)
{
    uint32_t *value = params->value;
    if (value[PARAM_FIRST_BURST_BYTES] > value[PARAM_MAX_BURST_BYTES])
        value[PARAM_FIRST_BURST_BYTES] = value[PARAM_MAX_BURST_BYTES];
    params->is_first_burst_moot = value[PARAM_INITIAL_R2T] && !value[PARAM_IMMEDIATE_DATA];
}
