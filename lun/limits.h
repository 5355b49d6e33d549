/* SPDX-License-Identifier: BSD-3-Clause */
/* Every limit of the engine that a user can meet. */
#ifndef LUN_LIMITS_H
#define LUN_LIMITS_H

enum
{
    LUN_BLK_BYTES = 4096, /* allocation and mapping unit of the pool */
    LUN_NAME_MAX = 191,   /* bytes of a LUN, snapshot or pool name, without the NUL */
    LUN_COMMENT_MAX = 127,
    LUN_OWNER_MAX = 63,             /* bytes of an owner's or group's name */
    LUN_IO_MAX_BYTES = 64 << 20,    /* one lun_read() or lun_write() */
    LUN_CLONES_AT_ONCE_MAX = 20000, /* clones made by one command, as one record */
    LUN_SET_MAX = 4096,             /* names in one freed-if-deleted question */
    STORE_KEY_MAX = 255,            /* bytes of a key in the configuration store */
    STORE_VALUE_MAX = 3500,         /* bytes of a value there */
};

#define LUN_SIZE_MAX_BYTES (UINT64_C(1) << 50) /* 1 PiB */

#endif
