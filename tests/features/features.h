/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the feature tests share: one host, and commands that take few words. Each test is named
 * after the promise that it holds the engine to; README.md has the table of all of them.
 */
#ifndef TESTS_FEATURES_FEATURES_H
#define TESTS_FEATURES_FEATURES_H

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

#define MIB (UINT64_C(1) << 20)

extern struct engine_host host;

/* A pool of @mib MiB; 0: the host's own size. */
void feature_start(uint64_t mib);
/* Settles, checks, opens it again after a crash and checks once more. */
void feature_stop(void);

int feature_create(const char *name, uint64_t size_bytes, bool is_reserved, const char *owner);
int feature_clone(const char *source, const char *name, uint32_t count);
int feature_volume(const char *name, uint64_t size_bytes, bool is_guaranteed);
/* @snapshot NULL: one is made. */
int feature_volume_clone(const char *volume, const char *snapshot, const char *name);
int feature_volume_snapshot(const char *volume, const char *name, uint64_t locked_until_ns);

bool feature_is_there(const char *name);
/* The last refusal says @text. */
bool feature_said(const char *text);
struct pool_info feature_pool(void);
struct volume_info feature_volume_info(const char *name);
/* Data that deleting @name would give back. */
uint64_t feature_freed(const char *name);

extern CU_TestInfo clone_feature_tests[], snapshot_feature_tests[], space_feature_tests[],
    security_feature_tests[];

#endif
