/* SPDX-License-Identifier: BSD-3-Clause */
/* Vital product data pages: one table of builders, from which the list of pages comes too. */
#ifndef SERVER_SCSI_VPD_H
#define SERVER_SCSI_VPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scsi_lu;
struct scsi_nexus;

enum
{
    VPD_BYTES_MAX = 2048,
    VPD_NAA_BYTES = 16,
    VPD_SERIAL_CHARS = 32,
};

struct vpd
{
    uint8_t bytes[VPD_BYTES_MAX];
    size_t len;
};

/* Builds @page of @lu as @nexus sees it. False: there is no such page. */
bool vpd_build(struct vpd *vpd, uint8_t page, struct scsi_lu *lu, const struct scsi_nexus *nexus);

/*
 * The unit's identity, from its LUN's uuid. The NAA identifier is of the "IEEE registered extended"
 * form (6); its company id is 02-4C-55, which has the "locally administered" bit, since there is no
 * registered one; the other 100 bits are the uuid's.
 */
void vpd_naa(const struct scsi_lu *lu, uint8_t naa[VPD_NAA_BYTES]);
/* The uuid in hexadecimal, not NUL-terminated. */
void vpd_serial(const struct scsi_lu *lu, char serial[VPD_SERIAL_CHARS]);

#endif
