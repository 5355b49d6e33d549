/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a pool stores for its front ends: igroups, mappings, CHAP records, persistent reservations.
 *
 * The input is a row of values: a kind (one byte), what its key ends in (a length and text; "%"
 * stands for the id of a LUN), and the value (a length and bytes). They are put into a pool in
 * memory, which is then served: read, listed, changed, asked by an initiator.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/base/reader.h"
#include "server/access.h"
#include "server/host_key.h"
#include "server/scsi/scsi.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pool_image.h"
#include "tests/lib/rng.h"

static const char *const prefixes[] = {
    "access/igroup/", "access/initiator/",  "access/map/", "access/lun/",
    "access/chap/",   "access/target-name", "scsi/pr/",    "scsi/sanitize/",
};

static const char initiator[] = "iqn.2001-04.com.example:a";

static struct pool *pool;
static uint64_t lun_id;

static void fuzz_log(enum log_level level, const char *text)
{
    (void)level, (void)text;
}

static void fuzz_open(struct simdev *disk, struct rng_env *env)
{
    struct pool_open_options options = {.take_over = true};
    struct lun_info info;
    INVARIANT(pool_open_device(&env->env, simdev_open(disk), &options, &pool, NULL) == 0);
    INVARIANT(lun_get_info(pool, "small", &info, NULL) == 0);
    lun_id = info.id;
}

/* ---- the store ----------------------------------------------------------------------------- */

static void fuzz_key(char *key, size_t size, const char *prefix, const char *rest, size_t len)
{
    size_t at = (size_t)snprintf(key, size, "%s", prefix);
    for (size_t i = 0; i < len && rest[i] && at + 20 < size; i++)
    {
        if (rest[i] == '%')
            at += (size_t)snprintf(key + at, size - at, "%016" PRIx64, lun_id);
        else
            key[at++] = rest[i];
    }
    key[at] = '\0';
}

static void fuzz_put(struct reader *reader)
{
    char key[STORE_KEY_MAX + 1];
    const char *prefix = prefixes[reader_u8(reader) % ARRAY_SIZE(prefixes)];
    size_t key_len = reader_u8(reader);
    const char *rest = reader_bytes(reader, key_len);
    size_t len = reader_u8(reader);
    const void *value = reader_bytes(reader, len);
    if (reader->failed)
        return;
    fuzz_key(key, sizeof(key), prefix, rest, key_len);
    struct store_change change = {.key = key, .value = value, .len = len};
    ignore_error(store_apply(pool, &change, 1, NULL), "a key may be refused");
}

/* ---- an initiator -------------------------------------------------------------------------- */

static void fuzz_changed(void *opaque)
{
    (void)opaque;
}

static void fuzz_command(struct scsi_nexus *nexus, uint8_t lun, const uint8_t cdb[16])
{
    static uint8_t in[4096];
    struct scsi_task task = {.nexus = nexus, .lun = {0, lun}, .cdb_len = 16, .edtl_in = sizeof(in)};
    memcpy(task.cdb, cdb, 16);
    enum scsi_step step = scsi_task_begin(&task);
    if (step == SCSI_GO)
    {
        task.in = in;
        task.in_capacity = (size_t)min_u64(sizeof(in), task.in_max);
        step = scsi_execute(&task);
    }
    INVARIANT(step == SCSI_DONE && task.in_len <= sizeof(in));
    ignore_error(scsi_task_end(&task), "nothing aborts it here");
}

static void fuzz_initiator(struct access *access)
{
    static const uint8_t cdbs[][16] = {
        {0x00},                                        /* TEST UNIT READY, */
        {0x00},                                        /* past the unit attention */
        {0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0},            /* REPORT LUNS */
        {0x12, 1, 0x83, 16, 0},                        /* INQUIRY: device identification */
        {0x5e, 0, 0, 0, 0, 0, 0, 16, 0},               /* PERSISTENT RESERVE IN: keys, */
        {0x5e, 1, 0, 0, 0, 0, 0, 16, 0},               /* reservation, */
        {0x5e, 3, 0, 0, 0, 0, 0, 16, 0},               /* full status */
        {0x28, 0, 0, 0, 0, 0, 0, 0, 1},                /* READ(10) */
        {0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32} /* READ CAPACITY(16) */
    };
    struct scsi_target_options options = {.target_name = access_target_name(access),
                                          .port_count = 1};
    struct scsi_nexus_args args = {
        .initiator_name = initiator, .portal_group_tag = 1, .changed = fuzz_changed};
    struct scsi_target *target;
    struct scsi_nexus *nexus;
    if (scsi_target_create(pool, access, &options, &target, NULL) < 0)
        return;
    pool_set_change_hook(pool, scsi_target_lun_changed, target);
    INVARIANT(scsi_nexus_create(target, &args, &nexus) == 0);
    for (uint8_t lun = 0; lun < 2; lun++)
        for (size_t i = 0; i < ARRAY_SIZE(cdbs); i++)
            fuzz_command(nexus, lun, cdbs[i]);
    scsi_nexus_destroy(nexus);
    pool_set_change_hook(pool, NULL, NULL);
    scsi_target_destroy(target);
}

/* ---- access -------------------------------------------------------------------------------- */

static void fuzz_list(struct access *access)
{
    struct access_igroup *groups;
    struct access_chap chap;
    size_t count;
    AUTO_FREE struct access_mapping *mappings = NULL;
    AUTO_FREE struct access_chap_info *records = NULL;
    INVARIANT(access_mapping_list(access, NULL, NULL, &mappings, &count, NULL) == 0);
    INVARIANT(access_chap_list(access, &records, &count) == 0);
    ignore_error(access_find_chap(access, initiator, false, &chap), "perhaps there is none");
    access_chap_wipe(&chap);
    INVARIANT(access_igroup_list(access, NULL, &groups, &count, NULL) == 0);
    for (size_t i = 0; i < count; i++)
    {
        ignore_error(access_map(access, "small", groups[i].name, ACCESS_LUN_AUTOMATIC, NULL, NULL),
                     "it may be mapped already");
        ignore_error(access_igroup_remove(access, groups[i].name, initiator, NULL), "if it is in");
        ignore_error(access_igroup_delete(access, groups[i].name, i % 2, NULL), "if it is empty");
    }
    access_igroups_free(groups, count);
    ignore_error(access_set_lun_flags(access, "small", 1, NULL), "fine or not");
}

static void fuzz_serve(const struct host_key *key)
{
    struct access *access;
    struct access_rewrap done;
    struct reason why = {.text = ""};
    int r = access_open_with_key(pool, key, &access, &why);
    INVARIANT(r == 0 || (r < 0 && why.text[0]));
    if (r < 0)
        return;
    fuzz_initiator(access);
    fuzz_list(access);
    ignore_error(access_chap_rewrap(access, key, false, &done, &why), "not without a key");
    access_close(access);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rng_env env;
    struct check_result result;
    const struct host_key key = {.bytes = "as good as any", .id = "1111111111111111"};
    struct reader reader = reader_of(data, size);
    log_set_sink(fuzz_log);
    rng_env_init(&env, 4);
    struct pool_copy *copy = pool_copy_new(pool_image(POOL_IMAGE_CLOSED));
    struct simdev *disk = pool_copy_disk(copy);
    pool_copy_free(copy);
    fuzz_open(disk, &env);
    for (unsigned i = 0; i < 32 && reader_left(&reader) > 0; i++)
        fuzz_put(&reader);
    fuzz_serve(NULL);
    fuzz_serve(&key); /* what the first has left can be read */
    INVARIANT(pool_check(pool, NULL, NULL, &result) == 0 && result.errors == 0);
    INVARIANT(pool_close(pool) == 0);
    simdev_destroy(disk);
    return 0;
}
