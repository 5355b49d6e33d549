/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether objects from a page or a journal can be as they say: what the rest takes for granted. A
 * checksum proves only that somebody wrote them so. -EBADMSG if not.
 */
#ifndef LUN_VOLUME_VERIFY_H
#define LUN_VOLUME_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/format.h"

struct line;
struct pool;

/* A LUN or snapshot that becomes @disk, or comes to be. */
MUST_CHECK int verify_lun(struct pool *pool, enum disk_object_kind kind, uint64_t id,
                          const struct disk_lun *disk);
/* Its own name. */
MUST_CHECK int verify_name(const char *name, size_t len);

/* A line by itself, as it was read. */
MUST_CHECK int verify_line(const struct pool *pool, const struct line *line);
/* How all lines stand to each other and to LUNs: at open, and once the journal was replayed. */
MUST_CHECK int verify_lines(struct pool *pool);

#endif
