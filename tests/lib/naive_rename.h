/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Made by naive_rename.sh: puts naive_ before every global name of the naive engine, so that it
 * can be linked beside the real one. Included before everything else by the compiler's -include.
 */
#ifndef TESTS_LIB_NAIVE_RENAME_H
#define TESTS_LIB_NAIVE_RENAME_H

#define engine_api naive_engine_api /* the table of functions in tests/model/api.c */
#define event_add naive_event_add
#define event_list naive_event_list
#define event_wait naive_event_wait
#define job_list naive_job_list
#define job_wait naive_job_wait
#define lun_cache naive_lun_cache
#define lun_clone naive_lun_clone
#define lun_close naive_lun_close
#define lun_compare_and_write naive_lun_compare_and_write
#define lun_create naive_lun_create
#define lun_delete naive_lun_delete
#define lun_describe naive_lun_describe
#define lun_extents naive_lun_extents
#define lun_flush naive_lun_flush
#define lun_freed_if_deleted naive_lun_freed_if_deleted
#define lun_get_info naive_lun_get_info
#define lun_is_read_only naive_lun_is_read_only
#define lun_list naive_lun_list
#define lun_open naive_lun_open
#define lun_read naive_lun_read
#define lun_read_modify_write naive_lun_read_modify_write
#define lun_rename naive_lun_rename
#define lun_resize naive_lun_resize
#define lun_sector_bytes naive_lun_sector_bytes
#define lun_set_comment naive_lun_set_comment
#define lun_size_bytes naive_lun_size_bytes
#define lun_unmap naive_lun_unmap
#define lun_write naive_lun_write
#define lun_write_atomic naive_lun_write_atomic
#define lun_zero naive_lun_zero
#define nv_check_comment naive_nv_check_comment
#define nv_check_name naive_nv_check_name
#define nv_check_writable naive_nv_check_writable
#define nv_content_copy naive_nv_content_copy
#define nv_content_cut naive_nv_content_cut
#define nv_content_get naive_nv_content_get
#define nv_content_next_chunk naive_nv_content_next_chunk
#define nv_content_read naive_nv_content_read
#define nv_content_write naive_nv_content_write
#define nv_content_zero naive_nv_content_zero
#define nv_count_objects naive_nv_count_objects
#define nv_fill_info naive_nv_fill_info
#define nv_find naive_nv_find
#define nv_full_name naive_nv_full_name
#define nv_insert_lun naive_nv_insert_lun
#define nv_name_ok naive_nv_name_ok
#define nv_object_copy naive_nv_object_copy
#define nv_object_delete naive_nv_object_delete
#define nv_object_free naive_nv_object_free
#define nv_object_new naive_nv_object_new
#define nv_require naive_nv_require
#define nv_require_lun naive_nv_require_lun
#define nv_require_snapshot naive_nv_require_snapshot
#define nv_tell naive_nv_tell
#define pool_check naive_pool_check
#define pool_checkpoint naive_pool_checkpoint
#define pool_close naive_pool_close
#define pool_create naive_pool_create
#define pool_create_on_device naive_pool_create_on_device
#define pool_dump naive_pool_dump
#define pool_get_info naive_pool_get_info
#define pool_grow naive_pool_grow
#define pool_grow_dry_run naive_pool_grow_dry_run
#define pool_health_name naive_pool_health_name
#define pool_list_lines naive_pool_list_lines
#define pool_open naive_pool_open
#define pool_open_device naive_pool_open_device
#define pool_run_job_step naive_pool_run_job_step
#define pool_set_change_hook naive_pool_set_change_hook
#define pool_start naive_pool_start
#define snapshot_create naive_snapshot_create
#define snapshot_delete naive_snapshot_delete
#define snapshot_rename naive_snapshot_rename
#define snapshot_restore naive_snapshot_restore
#define store_apply naive_store_apply
#define store_get naive_store_get
#define store_list naive_store_list

#endif
