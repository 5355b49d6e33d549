/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit attentions: which code each has, and which covers which. */
#include "server/scsi/ua.h"

#include "server/scsi/scsi_internal.h"

static const uint32_t ua_codes[ATTENTION_COUNT] = {
    [ATTENTION_POWER_ON] = SENSE_CODE(6, 0x29, 0x00),
    [ATTENTION_TARGET_RESET] = SENSE_CODE(6, 0x29, 0x02),
    [ATTENTION_LUN_RESET] = SENSE_CODE(6, 0x29, 0x03),
    [ATTENTION_COMMANDS_CLEARED] = SENSE_CODE(6, 0x2f, 0x00),
    [ATTENTION_MEDIUM_CHANGED] = SENSE_CODE(6, 0x28, 0x00),
    [ATTENTION_MODE_CHANGED] = SENSE_CODE(6, 0x2a, 0x01),
    [ATTENTION_PREEMPTED] = SENSE_CODE(6, 0x2a, 0x03),
    [ATTENTION_RELEASED] = SENSE_CODE(6, 0x2a, 0x04),
    [ATTENTION_REGISTRATIONS_PREEMPTED] = SENSE_CODE(6, 0x2a, 0x05),
    [ATTENTION_CAPACITY_CHANGED] = SENSE_CODE(6, 0x2a, 0x09),
    [ATTENTION_INQUIRY_CHANGED] = SENSE_CODE(6, 0x3f, 0x03),
    [ATTENTION_LUNS_CHANGED] = SENSE_CODE(6, 0x3f, 0x0e),
    [ATTENTION_SOFT_THRESHOLD] = SENSE_CODE(6, 0x38, 0x07),
};

/* After a reset the host looks at these anew; what it has lost stays worth telling. */
static const uint32_t ua_covered_by_reset =
    1u << ATTENTION_MODE_CHANGED | 1u << ATTENTION_COMMANDS_CLEARED;

void ua_add_locked(struct scsi_itl *itl, enum attention attention)
{
    if (attention == ATTENTION_TARGET_RESET || attention == ATTENTION_LUN_RESET)
    {
        /* POWER ON says more, and is told first anyway. */
        if (itl->attentions & 1u << ATTENTION_POWER_ON)
            return;
        itl->attentions &= ~ua_covered_by_reset;
        if (attention == ATTENTION_TARGET_RESET)
            itl->attentions &= ~(1u << ATTENTION_LUN_RESET);
        else if (itl->attentions & 1u << ATTENTION_TARGET_RESET)
            return;
    }
    itl->attentions |= 1u << attention;
}

void ua_add_all_locked(struct scsi_lu *lu, enum attention attention,
                       const struct scsi_nexus *except)
{
    list_for_each (itl, &lu->itls, struct scsi_itl, lu_link)
        if (itl->nexus != except)
            ua_add_locked(itl, attention);
}

bool ua_peek_locked(const struct scsi_itl *itl, uint32_t *code)
{
    if (!itl->attentions)
        return false;
    *code = ua_codes[__builtin_ctz(itl->attentions)];
    return true;
}

bool ua_take_locked(struct scsi_itl *itl, uint32_t *code)
{
    if (!ua_peek_locked(itl, code))
        return false;
    itl->attentions &= itl->attentions - 1;
    return true;
}
