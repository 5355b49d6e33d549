/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients who must not notice what goes on. */
#include "tests/e2e/iscsi/witness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/lib/rng.h"

enum
{
    LUN_BYTES = 16 << 20,
    WITNESS_LUN = 1,
    WITNESS_ISID = 0x77,
    WITNESS_ERROR_MS = 60000, /* in which one that is to fail does */
};

struct witness
{
    const char *name, *lun;
    bool is_iscsi;
    struct iscsi_context *iscsi;
    struct nbd_handle *nbd;
    pthread_t thread;
    uint8_t *content;
    int last; /* of iSCSI: how its last request ended, as both_result() says it */
    atomic_bool stops;
    atomic_uint done, failed;
    bool is_wrong; /* a byte, once the thread has ended */
};

static struct witness witnesses[] = {{.name = "NBD", .lun = "witness-nbd"},
                                     {.name = "iSCSI", .lun = "witness-iscsi", .is_iscsi = true}};

/* Mappings of others that change are told to its session, too, and it asks again then. */
static bool witness_asks_again(int result)
{
    return result >> 16 == SCSI_SENSE_UNIT_ATTENTION;
}

static bool witness_write(struct witness *w, uint64_t offset, uint32_t len)
{
    if (!w->is_iscsi)
        return nbd_pwrite(w->nbd, w->content + offset, len, offset, 0) == 0;
    int result;
    do
        result = both_write(w->iscsi, WITNESS_LUN, 512, w->content + offset, len, offset);
    while (witness_asks_again(result));
    w->last = result;
    return result == 0;
}

static bool witness_read(struct witness *w, void *buf, uint64_t offset, uint32_t len)
{
    if (!w->is_iscsi)
        return nbd_pread(w->nbd, buf, len, offset, 0) == 0;
    int result;
    do
        result = both_read(w->iscsi, WITNESS_LUN, 512, buf, len, offset);
    while (witness_asks_again(result));
    w->last = result;
    return result == 0;
}

static void *witness_run(void *opaque)
{
    struct witness *w = opaque;
    static _Thread_local uint8_t buf[65536];
    struct rng rng = rng_of(w->is_iscsi);
    while (!atomic_load(&w->stops))
    {
        uint32_t len = (uint32_t)rng_between(&rng, 1, sizeof(buf) / 512) * 512;
        uint64_t offset = rng_below(&rng, (LUN_BYTES - len) / 512) * 512;
        rng_fill(&rng, w->content + offset, len);
        bool is_right = witness_write(w, offset, len);
        offset = rng_below(&rng, (LUN_BYTES - len) / 512) * 512;
        is_right = is_right && witness_read(w, buf, offset, len);
        w->is_wrong = is_right && memcmp(buf, w->content + offset, len) != 0;
        is_right = is_right && !w->is_wrong;
        atomic_fetch_add(is_right ? &w->done : &w->failed, 1);
        if (!is_right)
            return NULL;
    }
    return NULL;
}

static void witness_start(struct witness *w, struct both *both, bool is_filled)
{
    w->content = calloc(1, LUN_BYTES);
    INVARIANT(w->content);
    if (w->is_iscsi)
        w->iscsi = both_login(both, BOTH_A, WITNESS_ISID, WITNESS_LUN);
    else
        w->nbd = both_connect(both, w->lun);
    atomic_store(&w->stops, false);
    atomic_store(&w->done, 0);
    atomic_store(&w->failed, 0);
    w->is_wrong = false;
    for (uint32_t at = 0, piece = 65536; is_filled && at < LUN_BYTES; at += piece)
        INVARIANT(witness_write(w, at, piece));
    INVARIANT(pthread_create(&w->thread, NULL, witness_run, w) == 0);
}

static void witness_end(struct witness *w)
{
    printf("%s: %u requests\n", w->name, atomic_load(&w->done));
    nbd_close(w->nbd);
    w->nbd = NULL;
    if (w->iscsi)
        iscsi_destroy_context(w->iscsi);
    w->iscsi = NULL;
    free(w->content);
}

/* Whether all that it has written is there. */
static bool witness_stop(struct witness *w)
{
    static uint8_t buf[65536];
    atomic_store(&w->stops, true);
    pthread_join(w->thread, NULL);
    bool is_right = atomic_load(&w->failed) == 0;
    for (uint64_t at = 0; is_right && at < LUN_BYTES; at += sizeof(buf))
        is_right =
            witness_read(w, buf, at, sizeof(buf)) && memcmp(buf, w->content + at, sizeof(buf)) == 0;
    if (!is_right)
        fprintf(stderr, "the witness of %s has seen an error or wrong bytes: %x\n", w->name,
                (unsigned)w->last);
    witness_end(w);
    return is_right;
}

static void witnesses_begin(struct both *both, bool is_thin)
{
    for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++)
    {
        both_do(both, "lun create %s 16M%s", witnesses[i].lun,
                is_thin ? "" : " --space-reserve yes");
        if (witnesses[i].is_iscsi)
            both_do(both, "lun map %s --igroup g --lun-id %d", witnesses[i].lun, WITNESS_LUN);
        witness_start(&witnesses[i], both, is_thin);
    }
}

void witnesses_start(struct both *both)
{
    witnesses_begin(both, false);
}

void witnesses_start_thin(struct both *both)
{
    witnesses_begin(both, true);
}

bool witnesses_get_on(void)
{
    bool is_right = true;
    for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++)
    {
        unsigned before = atomic_load(&witnesses[i].done);
        while (atomic_load(&witnesses[i].done) < before + 3 && !atomic_load(&witnesses[i].failed))
            usleep(1000);
        is_right = is_right && atomic_load(&witnesses[i].failed) == 0;
    }
    return is_right;
}

bool witnesses_stop(void)
{
    bool is_right = true;
    for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++)
        is_right = witness_stop(&witnesses[i]) && is_right;
    return is_right;
}

static unsigned witnesses_failed(void)
{
    unsigned failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++)
        failed += atomic_load(&witnesses[i].failed);
    return failed;
}

bool witnesses_stop_in_error(void)
{
    bool is_right = true;
    unsigned failed = 0;
    for (unsigned ms = 0; ms < WITNESS_ERROR_MS && witnesses_failed() == 0; ms++)
        usleep(1000);
    for (size_t i = 0; i < ARRAY_SIZE(witnesses); i++)
    {
        struct witness *w = &witnesses[i];
        atomic_store(&w->stops, true);
        pthread_join(w->thread, NULL);
        if (w->is_wrong)
            fprintf(stderr, "the witness of %s has read wrong bytes\n", w->name);
        is_right = is_right && !w->is_wrong;
        failed += atomic_load(&w->failed);
        witness_end(w);
    }
    return is_right && failed > 0;
}
