/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the server does by itself, on a pool on a simulated disk: no threads, a clock that the test
 * moves.
 */
#ifndef TESTS_UNIT_POLICY_HOST_H
#define TESTS_UNIT_POLICY_HOST_H

#include "server/policy/policy.h"
#include "tests/unit/engine_host.h"

extern struct engine_host host;
extern struct policy *policy;

/* @options NULL: the defaults. */
void policy_host_start(const struct policy_options *options);
void policy_host_stop(void);
/* Stops and starts what is above the pool, as a server that starts again. */
void policy_host_restart(const struct policy_options *options);

void policy_host_advance(uint64_t seconds);
void policy_host_set_time(uint64_t seconds);
/* Somebody sets the clock by so much, forward or back; no time passes. */
void policy_host_set_clock(int64_t seconds);

/* Events since the last call of policy_host_forget(), of that name; those whose text has @part. */
size_t policy_host_events(const char *name, const char *part);
void policy_host_forget(void);

uint64_t policy_host_volume(const char *name, uint64_t size_bytes);

#endif
