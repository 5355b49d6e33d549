/* SPDX-License-Identifier: BSD-3-Clause */
/* Vital product data pages. */
#include "server/scsi/vpd.h"

#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/scsi/scsi_internal.h"
#include "server/scsi/thirdparty.h"

enum
{
    CODE_SET_BINARY = 1,
    CODE_SET_ASCII = 2,
    CODE_SET_UTF8 = 3,
    PROTOCOL_ISCSI = 0x50,   /* in the high half of a byte */
    OF_LOGICAL_UNIT = 0x00,  /* association */
    OF_TARGET_PORT = 0x90,   /* with PIV */
    OF_TARGET_DEVICE = 0xa0, /* with PIV */
    DESIGNATOR_T10 = 1,
    DESIGNATOR_NAA = 3,
    DESIGNATOR_PORT = 4,
    DESIGNATOR_PORT_GROUP = 5,
    DESIGNATOR_NAME = 8,
};

static uint8_t *vpd_room(struct vpd *vpd, size_t len)
{
    INVARIANT(vpd->len + len <= sizeof(vpd->bytes));
    uint8_t *at = vpd->bytes + vpd->len;
    vpd->len += len;
    return at;
}

void vpd_naa(const struct scsi_lu *lu, uint8_t naa[VPD_NAA_BYTES])
{
    naa[0] = 0x60;
    naa[1] = 0x24;
    naa[2] = 0xc5;
    naa[3] = (uint8_t)(0x50 | (lu->uuid[0] & 0x0f));
    memcpy(naa + 4, lu->uuid + 4, 12);
}

void vpd_serial(const struct scsi_lu *lu, char serial[VPD_SERIAL_CHARS])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(lu->uuid); i++)
    {
        serial[2 * i] = digits[lu->uuid[i] >> 4];
        serial[2 * i + 1] = digits[lu->uuid[i] & 0xf];
    }
}

/* ---- device identification ----------------------------------------------------------------- */

/* A designator of @len bytes, to be filled in. */
static uint8_t *vpd_designator(struct vpd *vpd, uint8_t code_set, uint8_t association_type,
                               size_t len)
{
    uint8_t *at = vpd_room(vpd, 4 + len);
    at[0] = (uint8_t)((association_type & 0x80 ? PROTOCOL_ISCSI : 0) | code_set);
    at[1] = association_type;
    at[3] = (uint8_t)len;
    return at + 4;
}

/* A SCSI name string: NUL-terminated and padded to four bytes. */
static void vpd_name(struct vpd *vpd, uint8_t association, const char *name)
{
    size_t len = strlen(name);
    size_t padded = round_up(len + 1, 4);
    uint8_t *at = vpd_designator(vpd, CODE_SET_UTF8, association | DESIGNATOR_NAME, padded);
    memcpy(at, name, len);
}

static void vpd_identification(struct vpd *vpd, struct scsi_lu *lu, const struct scsi_nexus *nexus)
{
    vpd_naa(lu,
            vpd_designator(vpd, CODE_SET_BINARY, OF_LOGICAL_UNIT | DESIGNATOR_NAA, VPD_NAA_BYTES));
    uint8_t *at =
        vpd_designator(vpd, CODE_SET_ASCII, OF_LOGICAL_UNIT | DESIGNATOR_T10, 8 + VPD_SERIAL_CHARS);
    memcpy(at, "LUNETTE ", 8);
    vpd_serial(lu, (char *)at + 8);
    at = vpd_designator(vpd, CODE_SET_BINARY, OF_TARGET_PORT | DESIGNATOR_PORT, 4);
    wire_put_u16(at + 2, nexus->port.target_port);
    at = vpd_designator(vpd, CODE_SET_BINARY, OF_TARGET_PORT | DESIGNATOR_PORT_GROUP, 4);
    wire_put_u16(at + 2, SCSI_TARGET_PORT_GROUP);
    char port_name[SCSI_NAME_MAX + 16];
    snprintf(port_name, sizeof(port_name), "%s,t,0x%04x", lu->target->name,
             nexus->port.target_port);
    vpd_name(vpd, OF_TARGET_PORT, port_name);
    vpd_name(vpd, OF_TARGET_DEVICE, lu->target->name);
}

/* ---- others -------------------------------------------------------------------------------- */

static void vpd_unit_serial(struct vpd *vpd, struct scsi_lu *lu, const struct scsi_nexus *nexus)
{
    (void)nexus;
    vpd_serial(lu, (char *)vpd_room(vpd, VPD_SERIAL_CHARS));
}

static void vpd_extended_inquiry(struct vpd *vpd, struct scsi_lu *lu,
                                 const struct scsi_nexus *nexus)
{
    (void)lu;
    (void)nexus;
    uint8_t *at = vpd_room(vpd, 60);
    at[1] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
    at[2] = 0x01; /* V_SUP: there is a volatile cache */
    at[3] = 0x01; /* LUICLR: unit attentions of a LUN, not of the nexus */
    at[9] = SCSI_SENSE_MAX;
}

static void vpd_mode_page_policy(struct vpd *vpd, struct scsi_lu *lu,
                                 const struct scsi_nexus *nexus)
{
    (void)lu;
    (void)nexus;
    uint8_t *at = vpd_room(vpd, 4);
    at[0] = MODEPAGE_ALL; /* all pages are shared by all initiators of the unit */
    at[1] = MODEPAGE_ALL_SUBPAGES;
}

static void vpd_third_party_copy(struct vpd *vpd, struct scsi_lu *lu,
                                 const struct scsi_nexus *nexus)
{
    (void)nexus;
    vpd->len += thirdparty_vpd(lu, vpd->bytes + vpd->len, sizeof(vpd->bytes) - vpd->len);
}

static void vpd_block_limits(struct vpd *vpd, struct scsi_lu *lu, const struct scsi_nexus *nexus)
{
    (void)nexus;
    unsigned shift = lu->sector_shift;
    uint8_t *at = vpd_room(vpd, 60);
    at[0] = 0x01;                                               /* WSNZ */
    at[1] = (uint8_t)min_u64(SCSI_CAW_MAX_BYTES >> shift, 255); /* COMPARE AND WRITE */
    wire_put_u16(at + 2, SCSI_PHYSICAL_BYTES >> shift);         /* optimal granularity */
    wire_put_u32(at + 4, SCSI_TRANSFER_MAX_BYTES >> shift);
    wire_put_u32(at + 8, SCSI_COPY_STEP_BYTES >> shift); /* optimal length */
    wire_put_u32(at + 16, SCSI_UNMAP_BLOCKS_MAX);
    wire_put_u32(at + 20, SCSI_UNMAP_DESCRIPTORS_MAX);
    wire_put_u32(at + 24, SCSI_PHYSICAL_BYTES >> shift); /* unmap granularity */
    wire_put_u32(at + 28, UINT32_C(0x80000000));         /* its alignment: valid, 0 */
    wire_put_u64(at + 32, SCSI_WRITE_SAME_BLOCKS_MAX);
    wire_put_u32(at + 40, SCSI_ATOMIC_MAX_BYTES >> shift);
    wire_put_u32(at + 44, SCSI_PHYSICAL_BYTES >> shift); /* atomic alignment */
    wire_put_u32(at + 48, SCSI_PHYSICAL_BYTES >> shift); /* atomic granularity */
}

static void vpd_block_characteristics(struct vpd *vpd, struct scsi_lu *lu,
                                      const struct scsi_nexus *nexus)
{
    (void)lu;
    (void)nexus;
    uint8_t *at = vpd_room(vpd, 60);
    wire_put_u16(at, 1); /* no rotation */
    at[3] = 0x40;        /* WABEREQ: after a block erase reads work, without data */
    at[4] = 0x02;        /* FUAB: FUA and SYNCHRONIZE CACHE work as SBC-3 says */
}

static void vpd_provisioning(struct vpd *vpd, struct scsi_lu *lu, const struct scsi_nexus *nexus)
{
    (void)lu;
    (void)nexus;
    uint8_t *at = vpd_room(vpd, 4);
    at[0] = SCSI_THRESHOLD_EXPONENT;
    at[1] = 0x80 | 0x40 | 0x20 | 0x04; /* LBPU, LBPWS, LBPWS10, LBPRZ 001b: zeros */
    at[2] = 0x02;                      /* thin */
}

static void vpd_supported_pages(struct vpd *vpd, struct scsi_lu *lu,
                                const struct scsi_nexus *nexus);

/* In order of their codes. */
static const struct
{
    uint8_t page;
    void (*build)(struct vpd *vpd, struct scsi_lu *lu, const struct scsi_nexus *nexus);
} vpd_pages[] = {
    {0x00, vpd_supported_pages},  {0x80, vpd_unit_serial},           {0x83, vpd_identification},
    {0x86, vpd_extended_inquiry}, {0x87, vpd_mode_page_policy},      {0x8f, vpd_third_party_copy},
    {0xb0, vpd_block_limits},     {0xb1, vpd_block_characteristics}, {0xb2, vpd_provisioning},
};

static void vpd_supported_pages(struct vpd *vpd, struct scsi_lu *lu, const struct scsi_nexus *nexus)
{
    (void)lu;
    (void)nexus;
    for (size_t i = 0; i < ARRAY_SIZE(vpd_pages); i++)
        *vpd_room(vpd, 1) = vpd_pages[i].page;
}

bool vpd_build(struct vpd *vpd, uint8_t page, struct scsi_lu *lu, const struct scsi_nexus *nexus)
{
    for (size_t i = 0; i < ARRAY_SIZE(vpd_pages); i++)
    {
        if (vpd_pages[i].page != page)
            continue;
        memset(vpd, 0, sizeof(*vpd));
        vpd->bytes[1] = page;
        vpd->len = 4;
        vpd_pages[i].build(vpd, lu, nexus);
        wire_put_u16(vpd->bytes + 2, vpd->len - 4);
        return true;
    }
    return false;
}
