/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/space_rules.h"

#include "lun/base/checked.h"

enum
{
    /* Half of what a node holds: less only the last one of its level has. */
    RULES_LEAF_ENTRIES = 126,
    RULES_CHILDREN = 84,
    RULES_WRITE_SHARE = 8, /* of blocks and nodes that a write of a block may ask for */
};

/* How many nodes a tree of @entries can have: of each level, full halves and a rest. */
static uint64_t rules_most_nodes(uint64_t entries)
{
    uint64_t all = 0, covers = RULES_LEAF_ENTRIES, of_level = entries > 0 ? 2 : 0;
    while (of_level > 1)
    {
        of_level = 1 + entries / covers;
        all += of_level;
        covers *= RULES_CHILDREN;
    }
    return all;
}

static uint64_t rules_less(uint64_t of, uint64_t what)
{
    return of > what ? of - what : 0;
}

uint64_t space_rules_lun_needs(uint64_t size_blks, const struct space_rules_head *head)
{
    uint64_t nodes = rules_most_nodes(size_blks);
    if (head->has_point)
    {
        /* All that it shows or that its point showed may be dropped, and the nodes of that. */
        uint64_t droppable = max_u64(size_blks, head->point_blks);
        nodes += rules_most_nodes(droppable + rules_most_nodes(droppable));
    }
    return rules_less(size_blks, head->own_blks) + rules_less(nodes, head->node_blks);
}

uint64_t space_rules_volume_needs(uint64_t size_blks, bool is_guaranteed, uint64_t charged_blks,
                                  uint64_t lun_needs_blks)
{
    uint64_t rest = is_guaranteed ? rules_less(size_blks, charged_blks) : 0;
    return max_u64(rest, lun_needs_blks);
}

bool space_rules_may_lack(uint64_t blks, bool is_guaranteed, uint64_t available, uint64_t left)
{
    uint64_t most = RULES_WRITE_SHARE * blks + SPACE_RULES_MARGIN_BLKS;
    return left < most || (!is_guaranteed && available < most);
}

bool space_rules_is_too_much(const struct space_rules_cost *cost)
{
    return cost->least > cost->available || cost->least_in > cost->left;
}

bool space_rules_is_enough(const struct space_rules_cost *cost)
{
    return cost->available >= cost->most + SPACE_RULES_MARGIN_BLKS && cost->left >= cost->most_in;
}
