/* SPDX-License-Identifier: BSD-3-Clause */
/* What golden_make and test_golden share. */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H

#include <stdio.h>

#include "lun/lun.h"

/*
 * A line of text for each LUN and snapshot (name, size, sector size, SHA-256 of its content,
 * comment), for what attributes it has, for each volume, qtree and volume snapshot, and for each
 * value of the store (key, length, SHA-256), sorted.
 */
MUST_CHECK int golden_describe(struct pool *pool, FILE *out);

#endif
