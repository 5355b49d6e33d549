/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sectors that say what they are, and shadows that say what they may be.
 *
 * Order: a writer raises zeroed and started before its command, acked after it. A reader looks at
 * acked before its command, at started and zeroed after it. So what it finds must be between.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "tests/stress/stress.h"

#define SECTOR_MAGIC UINT64_C(0x7374726573732121)

struct sector
{
    uint64_t magic, lba;
    uint32_t family, ordinal, version, crc;
    uint8_t fill[SECTOR_BYTES - 32];
};

void sector_fill(uint8_t *bytes, uint32_t family, uint32_t ordinal, uint64_t lba, uint32_t version)
{
    struct sector sector = {.magic = SECTOR_MAGIC,
                            .lba = lba,
                            .family = family,
                            .ordinal = ordinal,
                            .version = version};
    memset(sector.fill, (int)((version * 31 + lba * 7 + ordinal) & 0xff), sizeof(sector.fill));
    sector.crc = crc32c(0, &sector, sizeof(sector));
    memcpy(bytes, &sector, sizeof(sector));
}

static bool is_zeros(const uint8_t *bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, SECTOR_BYTES - 1) == 0;
}

static bool ordinal_descends(struct world *world, uint32_t from, uint32_t ancestor)
{
    while (from > ancestor)
        from = world->parents[from];
    return from == ancestor;
}

const char *sector_judge(struct world *world, const uint8_t *bytes, uint32_t family,
                         uint32_t ordinal, uint64_t lba, uint32_t *version, bool *is_zero)
{
    struct sector sector;
    *version = 0;
    *is_zero = is_zeros(bytes);
    if (*is_zero)
        return NULL;
    memcpy(&sector, bytes, sizeof(sector));
    *version = sector.version;
    uint32_t crc = sector.crc;
    sector.crc = 0;
    if (sector.magic != SECTOR_MAGIC || crc != crc32c(0, &sector, sizeof(sector)))
        return "a torn sector";
    if (sector.family != family)
        return "another family's sector";
    if (sector.lba != lba)
        return "a sector of another place";
    if (!ordinal || ordinal_descends(world, ordinal, sector.ordinal))
        return NULL;
    static _Thread_local char text[80];
    snprintf(text, sizeof(text), "a sector of line %u, which is no ancestor of %u", sector.ordinal,
             ordinal);
    return text;
}

uint32_t ordinal_new(struct world *world, uint32_t parent)
{
    uint32_t ordinal = atomic_fetch_add(&world->next_ordinal, 1);
    if (ordinal >= ORDINALS_MAX)
        fail("the test has no more ordinals");
    world->parents[ordinal] = parent;
    return ordinal;
}

void shadow_init(struct shadow *shadow, uint32_t ordinal)
{
    _Atomic uint32_t *all = calloc(4 * SECTORS_MAX, sizeof(*all));
    INVARIANT(all != NULL);
    atomic_store(&shadow->ordinal, ordinal);
    shadow->acked = all;
    shadow->started = all + SECTORS_MAX;
    shadow->zeroed = all + 2 * SECTORS_MAX;
    shadow->durable = all + 3 * SECTORS_MAX;
}

void shadow_destroy(struct shadow *shadow)
{
    free((void *)shadow->acked);
    shadow->acked = NULL;
}

void shadow_copy_before(struct shadow *to, const struct shadow *from)
{
    for (unsigned i = 0; i < SECTORS_MAX; i++)
    {
        uint32_t acked = atomic_load(&from->acked[i]);
        atomic_store(&to->acked[i], acked);
        atomic_store(&to->durable[i], acked);
    }
}

void shadow_copy_after(struct shadow *to, const struct shadow *from)
{
    for (unsigned i = 0; i < SECTORS_MAX; i++)
    {
        atomic_store(&to->started[i], atomic_load(&from->started[i]));
        atomic_store(&to->zeroed[i], atomic_load(&from->zeroed[i]));
    }
}

void shadow_begin(struct shadow *shadow, uint64_t lba, uint64_t n, bool is_zero)
{
    for (uint64_t i = lba; i < lba + n; i++)
    {
        uint32_t version = atomic_load(&shadow->started[i]) + 1;
        if (is_zero)
            atomic_store(&shadow->zeroed[i], version);
        atomic_store(&shadow->started[i], version);
    }
}

void shadow_end(struct shadow *shadow, uint64_t lba, uint64_t n, bool is_durable)
{
    for (uint64_t i = lba; i < lba + n; i++)
    {
        uint32_t version = atomic_load(&shadow->started[i]);
        atomic_store(&shadow->acked[i], version);
        if (is_durable)
            atomic_store(&shadow->durable[i], version);
    }
}

/* One sector against its shadow. After a power cut only what was durable counts. */
static void verify_sector(struct world *world, const char *name, uint32_t family,
                          struct shadow *shadow, uint64_t lba, const uint8_t *bytes,
                          bool is_durable_only)
{
    uint32_t version;
    bool is_zero;
    const char *wrong =
        sector_judge(world, bytes, family, shadow->ordinal, lba, &version, &is_zero);
    uint32_t low = atomic_load(is_durable_only ? &shadow->durable[lba] : &shadow->acked[lba]);
    uint32_t high = atomic_load(&shadow->started[lba]);
    uint32_t zeroed = atomic_load(&shadow->zeroed[lba]);
    bool is_in = is_zero ? zeroed >= low : version >= low && version <= high;
    if (wrong || !is_in)
        fail("'%s' sector %llu: %s; holds version %u%s, may hold %u to %u, zeros of %u (%s)", name,
             (unsigned long long)lba, wrong ? wrong : "the wrong version", version,
             is_zero ? " (zeros)" : "", low, high, zeroed,
             is_durable_only ? "what was durable" : "what was acknowledged");
    /* From here on it is known. A version that was lost is used by nobody: counting goes on. */
    if (is_zero)
    {
        atomic_store(&shadow->zeroed[lba], high);
        version = high;
    }
    atomic_store(&shadow->acked[lba], version);
    if (is_durable_only)
        atomic_store(&shadow->durable[lba], version);
}

int read_some(struct lun *lun, void *buf, size_t len, uint64_t offset)
{
    static _Thread_local unsigned turns;
    struct lun_loan loan;
    if (turns++ % 2 == 0 || lun_lend(lun, len, offset, &loan) != 0)
        return lun_read(lun, buf, len, offset);
    for (unsigned i = 0; i < turns % 8; i++)
        sched_yield();
    int r = lun_loan_read(&loan, buf, len, 0);
    lun_return(&loan);
    return r;
}

void verify_all(struct world *world, const char *name, uint32_t family, uint64_t sectors,
                struct shadow *shadow, bool is_durable_only)
{
    enum
    {
        PART_SECTORS = 512
    };
    struct lun *lun;
    struct reason why;
    doing("opening to verify", shadow->ordinal);
    int r = lun_open(world->pool, name, LUN_READ_ONLY, &lun, &why);
    if (!went_well(world, r, "lun_open", name, &why, 0))
        return;
    if (!is_off(world) && lun_size_bytes(lun) != sectors * SECTOR_BYTES)
        fail("'%s' has %llu sectors, not %llu", name,
             (unsigned long long)lun_size_bytes(lun) / SECTOR_BYTES, (unsigned long long)sectors);
    AUTO_FREE uint8_t *bytes = malloc(PART_SECTORS * SECTOR_BYTES);
    INVARIANT(bytes != NULL);
    for (uint64_t lba = 0; lba < sectors && r == 0; lba += PART_SECTORS)
    {
        uint64_t n = sectors - lba < PART_SECTORS ? sectors - lba : PART_SECTORS;
        doing("reading to verify", shadow->ordinal);
        r = read_some(lun, bytes, n * SECTOR_BYTES, lba * SECTOR_BYTES);
        /* A command that the cut ended has changed what is seen, and nobody knows to what. */
        if (!went_well(world, r, "lun_read", name, NULL, 0) || is_off(world))
            break;
        for (uint64_t i = 0; i < n; i++)
            verify_sector(world, name, family, shadow, lba + i, bytes + i * SECTOR_BYTES,
                          is_durable_only);
    }
    lun_close(lun);
}
