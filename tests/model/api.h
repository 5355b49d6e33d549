/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of lun.h as a table, so that one driver can run two engines.
 *
 * api.c is compiled twice: as it is, for the real engine, and with naive_rename.h for the oracle. A
 * struct pool or struct lun belongs to the engine that made it.
 */
#ifndef TESTS_MODEL_API_H
#define TESTS_MODEL_API_H

#include "lun/lun.h"

struct api
{
    __typeof__(pool_create_on_device) *pool_create_on_device;
    __typeof__(pool_open_device) *pool_open_device;
    __typeof__(pool_close) *pool_close;
    __typeof__(pool_checkpoint) *pool_checkpoint;
    __typeof__(pool_run_job_step) *pool_run_job_step;
    __typeof__(pool_grow) *pool_grow;
    __typeof__(pool_get_info) *pool_get_info;
    __typeof__(lun_create) *lun_create;
    __typeof__(lun_clone) *lun_clone;
    __typeof__(lun_delete) *lun_delete;
    __typeof__(lun_rename) *lun_rename;
    __typeof__(lun_resize) *lun_resize;
    __typeof__(lun_set_comment) *lun_set_comment;
    __typeof__(snapshot_create) *snapshot_create;
    __typeof__(snapshot_delete) *snapshot_delete;
    __typeof__(snapshot_rename) *snapshot_rename;
    __typeof__(snapshot_restore) *snapshot_restore;
    __typeof__(lun_get_info) *lun_get_info;
    __typeof__(lun_list) *lun_list;
    __typeof__(lun_freed_if_deleted) *lun_freed_if_deleted;
    __typeof__(pool_list_lines) *pool_list_lines;
    __typeof__(lun_clone_group) *lun_clone_group;
    __typeof__(lun_redeploy) *lun_redeploy;
    __typeof__(lun_set_attributes) *lun_set_attributes;
    __typeof__(volume_create) *volume_create;
    __typeof__(volume_modify) *volume_modify;
    __typeof__(volume_rename) *volume_rename;
    __typeof__(volume_delete) *volume_delete;
    __typeof__(volume_get_info) *volume_get_info;
    __typeof__(volume_list) *volume_list;
    __typeof__(qtree_create) *qtree_create;
    __typeof__(qtree_rename) *qtree_rename;
    __typeof__(qtree_delete) *qtree_delete;
    __typeof__(qtree_list) *qtree_list;
    __typeof__(volume_snapshot_create) *volume_snapshot_create;
    __typeof__(volume_snapshot_delete) *volume_snapshot_delete;
    __typeof__(volume_snapshot_rename) *volume_snapshot_rename;
    __typeof__(volume_snapshot_restore) *volume_snapshot_restore;
    __typeof__(volume_snapshot_lock) *volume_snapshot_lock;
    __typeof__(volume_snapshot_list) *volume_snapshot_list;
    __typeof__(volume_clone) *volume_clone;
    __typeof__(volume_clone_split) *volume_clone_split;
    __typeof__(lun_open) *lun_open;
    __typeof__(lun_close) *lun_close;
    __typeof__(lun_size_bytes) *lun_size_bytes;
    __typeof__(lun_is_read_only) *lun_is_read_only;
    __typeof__(lun_sector_bytes) *lun_sector_bytes;
    __typeof__(lun_describe) *lun_describe;
    __typeof__(lun_read) *lun_read;
    __typeof__(lun_write) *lun_write;
    __typeof__(lun_unmap) *lun_unmap;
    __typeof__(lun_zero) *lun_zero;
    __typeof__(lun_flush) *lun_flush;
    __typeof__(lun_cache) *lun_cache;
    __typeof__(lun_compare_and_write) *lun_compare_and_write;
    __typeof__(lun_write_atomic) *lun_write_atomic;
    __typeof__(lun_read_modify_write) *lun_read_modify_write;
    __typeof__(lun_extents) *lun_extents;
    __typeof__(store_apply) *store_apply;
    __typeof__(store_get) *store_get;
    __typeof__(store_list) *store_list;
    __typeof__(job_list) *job_list;
    __typeof__(job_wait) *job_wait;
    __typeof__(event_list) *event_list;
    __typeof__(pool_check) *pool_check;
    __typeof__(pool_dump) *pool_dump;
};

extern const struct api engine_api;       /* the engine under test */
extern const struct api naive_engine_api; /* the oracle */

#endif
