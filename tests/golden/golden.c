/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/golden/golden.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"

enum
{
    SHA256_BYTES = 32,
    SHA256_TEXT = 2 * SHA256_BYTES + 1,
    PART_BYTES = 1 << 20,
};

static int digest_end(EVP_MD_CTX *context, char text[SHA256_TEXT])
{
    uint8_t bytes[SHA256_BYTES];
    if (EVP_DigestFinal_ex(context, bytes, NULL) != 1)
        return -EIO;
    for (unsigned i = 0; i < SHA256_BYTES; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", bytes[i]);
    return 0;
}

static int digest_lun(struct lun *lun, EVP_MD_CTX *context)
{
    AUTO_FREE uint8_t *bytes = malloc(PART_BYTES);
    if (!bytes)
        return -ENOMEM;
    int r = 0;
    for (uint64_t at = 0, end = lun_size_bytes(lun); r == 0 && at < end;)
    {
        size_t part = (size_t)min_u64(PART_BYTES, end - at);
        r = lun_read(lun, bytes, part, at);
        if (r == 0 && EVP_DigestUpdate(context, bytes, part) != 1)
            r = -EIO;
        at += part;
    }
    return r;
}

static int describe_lun(struct pool *pool, const struct lun_info *info, FILE *out)
{
    char text[SHA256_TEXT];
    struct lun *lun;
    int r = lun_open(pool, info->name, LUN_READ_ONLY, &lun, NULL);
    if (r < 0)
        return r;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    r = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
    if (r == 0)
        r = digest_lun(lun, context);
    if (r == 0)
        r = digest_end(context, text);
    EVP_MD_CTX_free(context);
    lun_close(lun);
    if (r == 0)
        fprintf(out, "lun %s %" PRIu64 " %u %s %s\n", info->name, info->size_bytes,
                info->sector_bytes, text, info->comment);
    bool has_more = info->is_reserved || info->is_autodelete || info->expire_ns ||
                    info->locked_until_ns || info->owner[0] || info->group[0];
    if (r == 0 && has_more)
        fprintf(out, "  reserved %d autodelete %d expire %" PRIu64 " locked %" PRIu64 " %s %s\n",
                info->is_reserved, info->is_autodelete, info->expire_ns, info->locked_until_ns,
                info->owner, info->group);
    if (r == 0 && info->is_lun_deleted)
        fprintf(out, "  of a deleted LUN\n");
    return r;
}

static int describe_volume(struct pool *pool, const struct volume_info *info, FILE *out)
{
    fprintf(out,
            "volume %s size %" PRIu64 " guaranteed %d pauses %d %u locked %" PRIu64
            " of '%s', %" PRIu64 " LUNs: %s\n",
            info->name, info->size_bytes, info->is_guaranteed, info->pauses_when_full,
            info->pause_ms, info->locked_until_ns, info->parent, info->lun_count, info->comment);
    struct qtree_info *qtrees = NULL;
    size_t count = 0;
    int r = qtree_list(pool, info->name, &qtrees, &count, NULL);
    for (size_t i = 0; r == 0 && i < count; i++)
        fprintf(out, "  qtree %s %" PRIu64 " LUNs: %s\n", qtrees[i].path, qtrees[i].lun_count,
                qtrees[i].comment);
    free(qtrees);
    if (r < 0)
        return r;
    struct volume_snapshot_info *snapshots = NULL;
    r = volume_snapshot_list(pool, info->name, &snapshots, &count, NULL);
    for (size_t i = 0; r == 0 && i < count; i++)
        fprintf(out, "  snapshot %s %u LUNs %u clones locked %" PRIu64 " %d %d: %s\n",
                snapshots[i].name, snapshots[i].lun_count, snapshots[i].clone_count,
                snapshots[i].locked_until_ns, snapshots[i].is_automatic, snapshots[i].is_deferred,
                snapshots[i].comment);
    free(snapshots);
    return r;
}

static int describe_volumes(struct pool *pool, FILE *out)
{
    struct volume_info *list = NULL;
    size_t count = 0;
    int r = volume_list(pool, &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = describe_volume(pool, &list[i], out);
    free(list);
    return r;
}

static int describe_value_cb(void *opaque, const char *key, const void *value, size_t len)
{
    char text[SHA256_TEXT];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int r = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                    EVP_DigestUpdate(context, value, len) == 1
                ? digest_end(context, text)
                : -ENOMEM;
    EVP_MD_CTX_free(context);
    if (r == 0)
        fprintf(opaque, "store %s %zu %s\n", key, len, text);
    return r;
}

int golden_describe(struct pool *pool, FILE *out)
{
    struct lun_info *list = NULL;
    size_t count = 0;
    int r = lun_list(pool, NULL, &list, &count, NULL);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = describe_lun(pool, &list[i], out);
    free(list);
    if (r == 0)
        r = describe_volumes(pool, out);
    return r < 0 ? r : store_list(pool, "", describe_value_cb, out);
}
