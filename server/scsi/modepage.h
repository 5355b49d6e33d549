/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mode pages: one table of default and changeable bytes.
 *
 * MODE SENSE, MODE SELECT and the list "all pages" read the table, so they cannot disagree. What
 * can be changed is shared by all initiators of a unit and not saved: a restart brings the
 * defaults.
 */
#ifndef SERVER_SCSI_MODEPAGE_H
#define SERVER_SCSI_MODEPAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum
{
    MODEPAGE_BYTES_MAX = 32,
    MODEPAGE_ALL = 0x3f,
    MODEPAGE_ALL_SUBPAGES = 0xff,
};

struct modepage_values
{
    bool descriptor_sense;       /* control: D_SENSE */
    bool software_write_protect; /* control: SWP */
    bool write_cache_disabled;   /* caching: WCE is its opposite */
    uint32_t threshold_sets; /* logical block provisioning: what is left at the soft threshold */
};

static inline bool modepage_values_equal(const struct modepage_values *a,
                                         const struct modepage_values *b)
{
    return a->descriptor_sense == b->descriptor_sense &&
           a->software_write_protect == b->software_write_protect &&
           a->write_cache_disabled == b->write_cache_disabled &&
           a->threshold_sets == b->threshold_sets;
}

enum modepage_control
{
    MODEPAGE_CURRENT,
    MODEPAGE_CHANGEABLE,
    MODEPAGE_DEFAULT,
    MODEPAGE_SAVED, /* none are */
};

/*
 * Writes @page/@subpage, or all that match with MODEPAGE_ALL(_SUBPAGES), to @bytes, at most @room.
 * Returns the length; 0: there is no such page.
 */
size_t modepage_sense(const struct modepage_values *values, uint8_t page, uint8_t subpage,
                      enum modepage_control control, uint8_t *bytes, size_t room);

enum modepage_result
{
    MODEPAGE_OK,
    MODEPAGE_BAD_LENGTH, /* the list ends within a page */
    MODEPAGE_BAD_FIELD,  /* no such page, wrong page length, or a bit that cannot be changed */
};

/* Takes the pages of a parameter list over into @values. *bad_byte says where BAD_FIELD is. */
enum modepage_result modepage_select(struct modepage_values *values, const uint8_t *bytes,
                                     size_t len, size_t *bad_byte);

#endif
