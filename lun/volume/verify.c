/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lun/base/log.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/names.h"

/* ---- LUNs and snapshots -------------------------------------------------------------------- */

/* Whether a LUN or snapshot @id, @object if it is there already, can be on @line. */
static bool lun_fits_line(const struct lun_object *object, enum disk_object_kind kind, uint64_t id,
                          const struct line *line)
{
    if (kind == DISK_OBJECT_LUN)
        return line->frozen_at == 0 && !line->is_dying &&
               (!line->lun || line->lun->object.id == id);
    return line->frozen_at != 0 && !line->is_walking && (!object || object->line == line);
}

static bool lun_sizes_are_sane(const struct disk_lun *disk)
{
    uint32_t sector = le32_get(disk->sector_bytes);
    uint64_t size = le64_get(disk->size_bytes);
    return (sector == 512 || sector == 4096) && size > 0 && size <= LUN_SIZE_MAX_BYTES &&
           size % sector == 0 && le64_get(disk->trim_end_bytes) <= LUN_SIZE_MAX_BYTES &&
           le16_get(disk->name_len) <= LUN_NAME_MAX &&
           le16_get(disk->comment_len) <= LUN_COMMENT_MAX &&
           le16_get(disk->origin_len) <= 2 * LUN_NAME_MAX + 1;
}

int verify_lun(struct pool *pool, enum disk_object_kind kind, uint64_t id,
               const struct disk_lun *disk)
{
    const struct object *present = catalog_find_any(pool, id);
    const struct lun_object *object =
        present && present->kind == kind ? catalog_find_lun_by_id(pool, id) : NULL;
    const struct line *line = catalog_find_line(pool, le64_get(disk->line_id));
    bool is_deleted = le32_get(disk->flags) & DISK_LUN_DELETED;
    uint64_t lun_id = le64_get(disk->lun_id);
    if ((present && !object) || !lun_sizes_are_sane(disk))
        return -EBADMSG;
    if (is_deleted)
        return kind == DISK_OBJECT_LUN && lun_id == id && le64_get(disk->line_id) == 0 ? 0
                                                                                       : -EBADMSG;
    if (!line || !lun_fits_line(object, kind, id, line))
        return -EBADMSG;
    if (kind == DISK_OBJECT_LUN)
        return lun_id == id ? 0 : -EBADMSG;
    const struct lun_object *lun = catalog_find_lun_by_id(pool, lun_id);
    bool is_its = lun && lun->object.kind == DISK_OBJECT_LUN && (!object || object->lun == lun);
    return is_its ? 0 : -EBADMSG;
}

int verify_name(const char *name, size_t len)
{
    char text[LUN_NAME_MAX + 1] = "";
    memcpy(text, name, len);
    return strlen(text) == len && name_check(text, "LUN", NULL) == 0 ? 0 : -EBADMSG;
}

/* ---- lines --------------------------------------------------------------------------------- */

static bool root_is_sane(const struct tree *tree)
{
    return tree->levels <= DISK_LEVELS_MAX && (tree->root.blk == 0) == (tree->levels == 0);
}

static bool line_is_sane(const struct pool *pool, const struct line *line)
{
    bool has_drops =
        atomic_load(&line->dropped_data_blks) != 0 || atomic_load(&line->dropped_node_blks) != 0;
    if (!root_is_sane(&line->map) || !root_is_sane(&line->drops) ||
        has_drops != (line->drops.root.blk != 0))
        return false;
    if (line->birth == 0 || line->birth > pool->generation)
        return false;
    if (line->frozen_at == 0)
        return line->is_dying || !line->is_walking;
    return !line->is_dying && line->frozen_at >= line->birth && line->frozen_at < pool->generation;
}

int verify_line(const struct pool *pool, const struct line *line)
{
    return line_is_sane(pool, line) ? 0 : -EBADMSG;
}

/* A lineage that bites its own tail would hang whoever walks it; what it holds must be somebody's.
 */
static bool line_stands_right(const struct line *line)
{
    const struct line *below = line->predecessor;
    if (below && (line->birth <= below->frozen_at || line->object.id <= below->object.id))
        return false;
    if (line->frozen_at == 0 && (line->is_dying ? line->left_by != NULL : !line->lun))
        return false;
    return !line->is_walking || lineage_is_leaf(line);
}

int verify_lines(struct pool *pool)
{
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (line_stands_right(line))
            continue;
        log_error("line %" PRIu64 " of the pool contradicts itself or the one below it",
                  line->object.id);
        return -EBADMSG;
    }
    return 0;
}
