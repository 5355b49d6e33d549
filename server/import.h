/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LUNs that an import fills.
 *
 * Always true:
 *  - a mark in the store is made in the same record as such a LUN, and goes once all that was to be
 *    in it is durable. So a LUN without one is whole, whatever was killed or crashed;
 *  - what has the mark is not cloned, mapped or copied from, and NBD clients find it only by the
 *    name that its importer was told, which has the LUN's id: it never leads to another LUN.
 *
 * A snapshot of a volume keeps what was there of such a LUN; while the LUN has its mark, that
 * counts as not whole too. Not here: the copying (ctl/cmd_transfer.c), and telling of imports that
 * have ended (policy/imports.c).
 */
#ifndef SERVER_IMPORT_H
#define SERVER_IMPORT_H

#include "lun/lun.h"

/* A key that ends in '/': the engine adds the id of the LUN that is made. */
#define IMPORT_STORE_PREFIX "import/"

enum
{
    IMPORT_EXPORT_MAX = LUN_NAME_MAX + 40, /* bytes of a name for an importer, with the NUL */
};

/* Those that have the mark, by id; free *ids. */
MUST_CHECK int import_list(struct pool *pool, uint64_t **ids, size_t *count);
bool import_is_among(const uint64_t *ids, size_t count, uint64_t lun_id);

/* -EBUSY: LUN @info, or the one that snapshot @info is of, has the mark. @why says what helps. */
MUST_CHECK int import_check(struct pool *pool, const struct lun_info *info, struct reason *why);

/* Takes the mark away. -ENOENT: there is none. */
MUST_CHECK int import_end(struct pool *pool, uint64_t lun_id, struct reason *why);

/* By which the importer of LUN @name opens it: "NAME!import-ID", which is no LUN's name. */
void import_export_name(const char *name, uint64_t lun_id, char export[IMPORT_EXPORT_MAX]);
/* Whether @export is such a name; and the id in it, 0 if that makes no sense. */
bool import_is_export(const char *export, uint64_t *lun_id);

#endif
