/* SPDX-License-Identifier: BSD-3-Clause */
/* What quota.c and quota_report.c share. All with catalog_lock held or under management. */
#ifndef LUN_VOLUME_QUOTA_INTERNAL_H
#define LUN_VOLUME_QUOTA_INTERNAL_H

#include "lun/volume/quota.h"

struct pool;
struct store_object;

enum
{
    QUOTA_SUBJECTS = 6, /* that one LUN counts for */
};

#define QUOTA_NO_LIMIT UINT64_MAX
#define QUOTA_DEFAULT "*"

/* Whose sum it is: a tree, or an owner or a group in a tree. The tree is a qtree or the volume. */
struct quota_subject
{
    enum quota_type type;
    const struct volume_object *volume;
    const struct qtree_object *qtree;
    const char *name; /* of an owner or group; "" for a tree */
};

struct quota_limits
{
    uint64_t hard_bytes, soft_bytes, threshold_bytes;
};

const char *quota_type_name(enum quota_type type);

/* How many of them @delta counts for. Their names are the delta's. */
unsigned quota_subjects_of(const struct quota_delta *delta,
                           struct quota_subject subjects[QUOTA_SUBJECTS]);
uint64_t quota_used(const struct quota_subject *subject, uint64_t *lun_count);

/* The rule that binds the subject: its own, or the default one. */
bool quota_rule_of(struct pool *pool, const struct quota_subject *subject,
                   struct quota_limits *limits, bool *is_default);
bool quota_parse(const char *value, struct quota_limits *limits);
bool quota_is_on(const struct volume_object *volume);

/* Calls @each with every value whose key begins with @prefix, in no order. */
typedef void quota_store_fn(const struct store_object *store, void *opaque);
void quota_each_store(struct pool *pool, const char *prefix, quota_store_fn *each, void *opaque);

#endif
