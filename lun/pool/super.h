/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The superblock: where a pool begins, which checkpoint is in force, who holds it.
 */
#ifndef LUN_POOL_SUPER_H
#define LUN_POOL_SUPER_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/format.h"

struct pool;

enum
{
    SUPER_COPIES = 4
};

/* Where copy 0 to 3 is: 0 and 1 are in group 0, 2 and 3 in group 1. */
uint64_t super_copy_blk(const struct pool *pool, unsigned copy);
/* With cp_lock held: whether the copy is what was written there last; unless @is_exact, where a
 * crash may have been, it may be older. -EBADMSG, or the error of the device. */
MUST_CHECK int super_check_copy(struct pool *pool, unsigned copy, bool is_exact);
/* The same for all: *bad has a bit for each copy that is not what it should be. -ENOMEM. */
MUST_CHECK int super_find_bad(struct pool *pool, bool is_exact, unsigned *bad);

/* The newest valid copy; checks version, features and every figure in it. */
MUST_CHECK int super_read(struct pool *pool, struct disk_super *super, struct reason *why);

/* This process, this boot, this host. */
void super_set_holder(struct disk_super *super);
void super_clear_holder(struct disk_super *super);
/* -EBUSY if another host is named: its lock cannot be seen from here. */
MUST_CHECK int super_check_holder(const struct disk_super *super, bool take_over,
                                  struct reason *why);
/* The pool at @path is locked by another process: says by whom. Returns -EBUSY. */
int super_explain_busy(const char *path, struct reason *why);

#endif
