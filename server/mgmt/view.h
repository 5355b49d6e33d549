/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's structures as JSON: the same words whether a server answers or the CLI looks itself.
 *
 * All return a new reference, or NULL without memory. Sizes are bytes, times seconds since 1970
 * (with fraction), identifiers hexadecimal.
 */
#ifndef SERVER_MGMT_VIEW_H
#define SERVER_MGMT_VIEW_H

#include <jansson.h>

#include "lun/lun.h"

json_t *view_pool(const struct pool_info *info);
json_t *view_lun(const struct lun_info *info);
json_t *view_volume(const struct volume_info *info);
json_t *view_qtree(const struct qtree_info *info);
json_t *view_volume_snapshot(const struct volume_snapshot_info *info);
json_t *view_quota_rule(const struct quota_rule *rule);
json_t *view_quota_usage(const struct quota_usage *usage);
json_t *view_line(const struct line_info *line);
/* Takes @findings over, as view_add_finding() made it. */
json_t *view_scrub(const struct scrub_info *info, json_t *findings);
/* A check_report_fn; @findings is an array. */
void view_add_finding(void *findings, bool is_error, const char *text);
json_t *view_job(const struct job_info *job);
json_t *view_event(const struct event *event);
json_t *view_check(const struct check_result *result);

/* {@key: @array, "count": its length}; takes @array over, NULL makes NULL. */
json_t *view_listing(const char *key, json_t *array);

/* The same as JSON; null: what has data takes nothing, since all of it is shared. */
json_t *view_savings(uint64_t mapped_bytes, uint64_t data_bytes);

/* What copies of all LUNs would need, over what their data takes: 1.0 without sharing or data. */
double view_savings_ratio(uint64_t mapped_bytes, uint64_t data_bytes);

#endif
