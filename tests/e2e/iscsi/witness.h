/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two clients of a server, one of each protocol, who write and verify all the while that something
 * else goes on: whatever that is, none of their requests may fail and no byte may be wrong.
 */
#ifndef TESTS_E2E_ISCSI_WITNESS_H
#define TESTS_E2E_ISCSI_WITNESS_H

#include <stdbool.h>

#include "tests/e2e/iscsi/both.h"

/* Makes two LUNs with reserved space, "witness-nbd" and "witness-iscsi", and starts. */
void witnesses_start(struct both *both);
/* The same without reserved space; every block is written before they start. */
void witnesses_start_thin(struct both *both);
/* Waits until requests that begin now have ended. False: one failed; said on standard error. */
bool witnesses_get_on(void);
/* The same, and all that they have written is read once more. Prints how many requests there were.
 */
bool witnesses_stop(void);
/* For who took from the server what it cannot serve without. False: a byte was wrong, or none of
 * them sees an error within a minute. */
bool witnesses_stop_in_error(void);

#endif
