/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operational parameters: one table of keys (RFC 7143 section 13, RFC 7144) that drives
 * negotiation, defaults and what is said in a reply.
 *
 * Not here: the keys that say who is who (InitiatorName, TargetName, SessionType, ...; login.c),
 * the AuthMethod and CHAP keys (login.c, chap.c), SendTargets (discovery.c).
 */
#ifndef SERVER_ISCSI_PARAMS_H
#define SERVER_ISCSI_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/iscsi/text.h"

enum param
{
    PARAM_HEADER_DIGEST, /* 0: none, 1: CRC32C */
    PARAM_DATA_DIGEST,   /* the same */
    PARAM_MAX_CONNECTIONS,
    PARAM_INITIAL_R2T,
    PARAM_IMMEDIATE_DATA,
    PARAM_MAX_RECV_BYTES, /* what the initiator takes in one data segment */
    PARAM_MAX_BURST_BYTES,
    PARAM_FIRST_BURST_BYTES,
    PARAM_TIME2WAIT_S,
    PARAM_TIME2RETAIN_S,
    PARAM_MAX_R2T,
    PARAM_PDU_IN_ORDER,
    PARAM_SEQUENCE_IN_ORDER,
    PARAM_ERROR_RECOVERY_LEVEL,
    PARAM_TASK_REPORTING, /* 0: RFC3720, the only one */
    PARAM_PROTOCOL_LEVEL,
    PARAM_IF_MARKER, /* obsolete, always refused as the RFC wants it; so are the next three */
    PARAM_OF_MARKER,
    PARAM_IF_MARK_INT,
    PARAM_OF_MARK_INT,
    PARAM_COUNT
};

/* What is in force. Starts as params_init() leaves it. */
struct params
{
    uint32_t value[PARAM_COUNT];
    bool is_settled[PARAM_COUNT]; /* negotiated or declared in this phase */
    bool is_first_burst_moot;     /* InitialR2T=Yes with ImmediateData=No: it means nothing */
};

enum param_phase
{
    PARAM_PHASE_SECURITY = 1,
    PARAM_PHASE_OPERATIONAL = 2,
    PARAM_PHASE_FULL_FEATURE = 4,
};

enum param_type
{
    PARAM_TYPE_LIST,
    PARAM_TYPE_BOOL,
    PARAM_TYPE_NUMBER,
    PARAM_TYPE_OBSOLETE,
};

enum param_rule
{
    PARAM_RULE_FIRST, /* of a list: the first item of the initiator's that we offer too */
    PARAM_RULE_OR,    /* Yes if either says Yes */
    PARAM_RULE_AND,   /* Yes if both say Yes */
    PARAM_RULE_MIN,
    PARAM_RULE_MAX,
    PARAM_RULE_DECLARE, /* each side's own; no answer to it */
    PARAM_RULE_REFUSE,
};

enum param_scope
{
    PARAM_SCOPE_CONNECTION,
    PARAM_SCOPE_SESSION,
};

/* A row of the table. */
struct param_spec
{
    const char *key;
    uint8_t type, rule, scope, phases;
    bool only_normal; /* Irrelevant in a discovery session */
    uint32_t initial; /* in force unless negotiated */
    uint32_t ours;    /* what this target offers; of a list: how many items of it */
    uint32_t min, max;
    const char *items; /* of a list, comma-separated, in the order of their values */
};

const struct param_spec *params_spec(enum param param);
/* -ENOENT: no such key in the table. */
MUST_CHECK int params_find(const char *key, enum param *param);

void params_init(struct params *params);
/* Another negotiation begins: each key may come once more. */
void params_new_phase(struct params *params);

/*
 * Takes one key of the initiator's and adds the answer to @out, if one is due. An answer may be
 * Reject, Irrelevant or NotUnderstood; the negotiation goes on then.
 * -EPROTO: it breaks the rules (twice the same key, a key of another phase): the login fails.
 */
MUST_CHECK int params_answer(struct params *params, const struct text_pair *pair,
                             enum param_phase phase, bool is_discovery, struct writer *out);

/* After the last key: makes the values fit each other (FirstBurstLength within MaxBurstLength). */
void params_settle(struct params *params);

#endif
