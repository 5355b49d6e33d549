/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/features/features.h"

#include <string.h>

struct engine_host host;

void feature_start(uint64_t mib)
{
    struct pool_create_options options = {
        .name = "features",
        .size_bytes = mib * MIB,
        .journal_bytes = mib * MIB / 8, /* ten thousand clones are one record */
        .group_blks = (uint32_t)(mib * MIB / BLK_BYTES / 8)};
    host_start(&host, mib > 0 ? &options : NULL);
}

void feature_stop(void)
{
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

int feature_create(const char *name, uint64_t size_bytes, bool is_reserved, const char *owner)
{
    struct lun_create_args args = {.name = name,
                                   .size_bytes = size_bytes,
                                   .attributes = {.is_reserved = is_reserved, .owner = owner}};
    return lun_create(host.pool, &args, &host.why);
}

int feature_clone(const char *source, const char *name, uint32_t count)
{
    struct lun_clone_args args = {.source = source, .name = name, .count = count};
    return lun_clone(host.pool, &args, &host.why);
}

int feature_volume(const char *name, uint64_t size_bytes, bool is_guaranteed)
{
    struct volume_attributes attributes = {.size_bytes = size_bytes,
                                           .is_guaranteed = is_guaranteed};
    return volume_create(host.pool, name, &attributes, &host.why);
}

int feature_volume_clone(const char *volume, const char *snapshot, const char *name)
{
    struct volume_clone_args args = {.volume = volume, .snapshot = snapshot, .name = name};
    return volume_clone(host.pool, &args, &host.why);
}

int feature_volume_snapshot(const char *volume, const char *name, uint64_t locked_until_ns)
{
    struct volume_snapshot_args args = {.name = name, .locked_until_ns = locked_until_ns};
    return volume_snapshot_create(host.pool, &volume, 1, &args, &host.why);
}

bool feature_is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

bool feature_said(const char *text)
{
    return strstr(host.why.text, text);
}

struct pool_info feature_pool(void)
{
    struct pool_info info;
    pool_get_info(host.pool, &info);
    return info;
}

struct volume_info feature_volume_info(const char *name)
{
    struct volume_info info = {0};
    CU_ASSERT_EQUAL(volume_get_info(host.pool, name, &info, &host.why), 0);
    return info;
}

uint64_t feature_freed(const char *name)
{
    uint64_t data_bytes = UINT64_MAX, metadata_bytes;
    CU_ASSERT_EQUAL(
        lun_freed_if_deleted(host.pool, &name, 1, &data_bytes, &metadata_bytes, &host.why), 0);
    return data_bytes;
}
