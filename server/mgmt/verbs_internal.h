/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verbs on LUNs and those on snapshots share. */
#ifndef SERVER_MGMT_VERBS_INTERNAL_H
#define SERVER_MGMT_VERBS_INTERNAL_H

#include "server/mgmt/verbs.h"

/* LUN_FORCE if the request says so. */
unsigned verb_force_flag(const struct verb_request *request);

/* Bytes with data in [from, end) of @name; a difference "A..B" counts what differs. */
MUST_CHECK int verb_count_mapped(struct verb_request *request, const char *name, uint64_t from,
                                 uint64_t *mapped_bytes);

/* Result {"goes":[names],"freed_bytes":...}: what deleting @names together would do. */
MUST_CHECK int verb_show_freed(struct verb_request *request, const char *const *names,
                               size_t count);

/* Puts LUNs that were made just now into the QoS class that the request's "qos" names. */
MUST_CHECK int verb_qos_set_new(struct verb_request *request, const uint64_t *ids, size_t count);
/* Whether "qos" names a class, if it is there. */
MUST_CHECK int verb_qos_check(struct verb_request *request);

#endif
