/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is promised to whom, said once more and apart from the engine: what a reserved LUN and a
 * guaranteed volume need, and whether a refusal for want of space, or the lack of one, is right.
 * Shared by all models that know promises. In blocks.
 */
#ifndef TESTS_MODEL_SPACE_RULES_H
#define TESTS_MODEL_SPACE_RULES_H

#include <stdbool.h>
#include <stdint.h>

enum
{
    SPACE_RULES_SLACK_BLKS = 512,  /* kept for all promises together, while there is one */
    SPACE_RULES_MARGIN_BLKS = 160, /* metadata that a change asks for, and what a checkpoint owes */
};

/* What a head owns, and what it stands on. */
struct space_rules_head
{
    uint32_t own_blks, node_blks;
    bool has_point;
    uint32_t point_blks; /* what its point showed */
};

/* The size less what is own, and the most nodes of map and drop list less those that are. */
uint64_t space_rules_lun_needs(uint64_t size_blks, const struct space_rules_head *head);

/* The size less what is charged, or what its reserved LUNs need if that is more. Without a
 * guarantee, the latter. */
uint64_t space_rules_volume_needs(uint64_t size_blks, bool is_guaranteed, uint64_t charged_blks,
                                  uint64_t lun_needs_blks);

/* Whether a write or unmap of @blks may find no space, if nobody promised it to the LUN itself:
 * @left in its volume, of which @is_guaranteed says whether that is promised. */
bool space_rules_may_lack(uint64_t blks, bool is_guaranteed, uint64_t available, uint64_t left);

/* By how much a command raises what the pool promises, and what a volume holds; and what they have.
 */
struct space_rules_cost
{
    uint64_t least, most, available;
    uint64_t least_in, most_in, left;
};

/* More than there is: it may not be done. */
bool space_rules_is_too_much(const struct space_rules_cost *cost);
/* More than enough is there: it may not be refused. */
bool space_rules_is_enough(const struct space_rules_cost *cost);

#endif
