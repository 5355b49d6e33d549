/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transfer pipeline between two endpoints in memory.
 *
 * Each answers its requests late and in an order of its own, drawn from a seed. A disk that is
 * disconnected loses what was not flushed, as a server that dies does. A fault is one kind of
 * answer at the n-th request; the tests go through all n.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/ctl/transfer_internal.h"
#include "tests/lib/cunit_main.h"

enum
{
    DISK_MAX = 1 << 20,
    UNIT = 4096,
    NEVER = 1 << 30,
};

/* ---- a disk in memory ----------------------------------------------------------------------- */

struct disk
{
    struct endpoint base;
    uint8_t now[DISK_MAX];
    uint8_t durable[DISK_MAX];
    struct list waiting;
    uint64_t random;
    unsigned requests, flushes, reconnects, in_flight_max;
    unsigned fault_at;    /* the request, counted from 1, that gets it */
    int fault;            /* its answer */
    unsigned fault_times; /* so many requests in a row; 0: one */
    unsigned cancel_at;   /* the request that sets the flag */
    unsigned refusals;    /* of reconnecting */
    uint64_t size_after_reconnect;
    volatile sig_atomic_t cancel;
};

static uint64_t disk_draw(struct disk *disk)
{
    disk->random = disk->random * 6364136223846793005u + 1442695040888963407u;
    return disk->random >> 33;
}

static void disk_map(struct disk *disk, struct request *request)
{
    uint64_t end = request->offset_bytes + request->len_bytes;
    uint64_t at = request->offset_bytes;
    request->extent_count = 0;
    while (at < end && request->extent_count < 5) /* few at a time, so that it is asked again */
    {
        uint64_t stop = at;
        bool is_zero = false;
        for (bool first = true; stop < end; first = false)
        {
            uint64_t len = min_u64(512, end - stop); /* finer than the pipeline's granules */
            bool zero = disk->now[stop] == 0 &&
                        memcmp(disk->now + stop, disk->now + stop + 1, len - 1) == 0 &&
                        stop / UNIT % 8 != 3; /* some zeros are data to the map */
            if (!first && zero != is_zero)
                break;
            is_zero = zero;
            stop += len;
        }
        request->extents[request->extent_count++] =
            (struct block_extent){.offset_bytes = at, .len_bytes = stop - at, .is_zero = is_zero};
        at = stop;
    }
}

static void disk_do(struct disk *disk, struct request *request)
{
    uint64_t at = request->offset_bytes;
    uint64_t len = request->len_bytes;
    CU_ASSERT_FATAL(range_ok(at, len, disk->base.size_bytes));
    CU_ASSERT(at % disk->base.align_bytes == 0 && len % disk->base.align_bytes == 0);
    if (request->kind == REQUEST_READ)
        memcpy(request->data, disk->now + at, len);
    else if (request->kind == REQUEST_WRITE)
        memcpy(disk->now + at, request->data, len);
    else if (request->kind == REQUEST_ZERO)
        memset(disk->now + at, 0, len);
    else if (request->kind == REQUEST_FLUSH)
        memcpy(disk->durable, disk->now, sizeof(disk->now));
    else
        disk_map(disk, request);
    if (request->kind == REQUEST_READ || request->kind == REQUEST_WRITE)
        CU_ASSERT(len <= disk->base.max_io_bytes);
    disk->flushes += request->kind == REQUEST_FLUSH;
}

static void disk_disconnect(struct endpoint *endpoint)
{
    struct disk *disk = container_of(endpoint, struct disk, base);
    endpoint->lost = true;
    memcpy(disk->now, disk->durable, sizeof(disk->now));
    list_for_each_safe (request, &disk->waiting, struct request, link)
    {
        list_remove(&request->link);
        endpoint_complete(endpoint, request, -ENOTCONN, NULL);
    }
}

static int disk_reconnect(struct endpoint *endpoint, struct reason *why)
{
    struct disk *disk = container_of(endpoint, struct disk, base);
    if (disk->refusals > 0)
    {
        disk->refusals--;
        return reason_set(why, -ENOTCONN, "refused");
    }
    disk->reconnects++;
    if (disk->size_after_reconnect)
        endpoint->size_bytes = disk->size_after_reconnect;
    endpoint->lost = false;
    return 0;
}

static void disk_submit(struct endpoint *endpoint, struct request *request)
{
    struct disk *disk = container_of(endpoint, struct disk, base);
    unsigned number = ++disk->requests;
    if (endpoint->in_flight > disk->in_flight_max)
        disk->in_flight_max = endpoint->in_flight;
    if (number == disk->cancel_at)
        disk->cancel = 1;
    if (number >= disk->fault_at && number <= disk->fault_at + disk->fault_times)
    {
        if (disk->fault == -ENOTCONN)
        {
            list_add_tail(&disk->waiting, &request->link);
            disk_disconnect(endpoint);
        }
        else
            endpoint_complete(endpoint, request, disk->fault, "the fault");
        return;
    }
    list_add_tail(&disk->waiting, &request->link);
}

static size_t disk_pollfds(struct endpoint *endpoint, struct pollfd *fds, int *timeout_ms)
{
    struct disk *disk = container_of(endpoint, struct disk, base);
    (void)fds;
    if (!list_is_empty(&disk->waiting))
        *timeout_ms = 0;
    return 0;
}

/* Answers some of what waits: not the oldest first. */
static void disk_service(struct endpoint *endpoint, const struct pollfd *fds, size_t count)
{
    struct disk *disk = container_of(endpoint, struct disk, base);
    (void)fds;
    (void)count;
    list_for_each_safe (request, &disk->waiting, struct request, link)
    {
        if (disk_draw(disk) % 3 == 0 && request->link.next != &disk->waiting)
            continue;
        list_remove(&request->link);
        disk_do(disk, request);
        endpoint_complete(endpoint, request, 0, NULL);
    }
}

static void disk_destroy(struct endpoint *endpoint, bool undo)
{
    (void)endpoint;
    (void)undo;
}

static const struct endpoint_ops disk_ops = {
    .submit = disk_submit,
    .pollfds = disk_pollfds,
    .service = disk_service,
    .disconnect = disk_disconnect,
    .reconnect = disk_reconnect,
    .destroy = disk_destroy,
};

static struct disk *disk_new(const char *name, uint64_t size, uint64_t seed)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    if (!disk)
        abort();
    CU_ASSERT_FATAL(endpoint_init(&disk->base, &disk_ops, name) == 0);
    list_init(&disk->waiting);
    disk->random = seed;
    disk->fault_at = disk->cancel_at = NEVER;
    disk->base.size_bytes = size;
    disk->base.can_map = disk->base.can_zero = true;
    return disk;
}

static void disk_free(struct disk *disk)
{
    free(disk->base.name);
    free(disk);
}

/* Data, zeros and mixtures, in runs; every byte of data is another one. */
static void disk_fill(struct disk *disk, uint64_t seed)
{
    struct disk draw = {.random = seed};
    for (uint64_t at = 0; at < disk->base.size_bytes;)
    {
        uint64_t len = min_u64((1 + disk_draw(&draw) % 96) * 512, disk->base.size_bytes - at);
        if (disk_draw(&draw) % 2)
            for (uint64_t i = 0; i < len; i++)
                disk->now[at + i] = (uint8_t)(disk_draw(&draw) | (i % UNIT == 0));
        at += len;
    }
    memcpy(disk->durable, disk->now, sizeof(disk->now));
}

/* ---- one transfer --------------------------------------------------------------------------- */

struct setup
{
    uint64_t seed;
    struct disk *source, *destination;
    struct transfer_options options;
    struct transfer_result result;
    struct reason why;
    char folder[32];
    char resume[64];
};

static void setup_init(struct setup *setup, uint64_t size, uint64_t seed)
{
    *setup = (struct setup){.seed = seed};
    setup->source = disk_new("from", size, seed * 3 + 1);
    setup->destination = disk_new("to", round_up(size, UNIT), seed * 5 + 2);
    disk_fill(setup->source, seed + 7);
    setup->options = (struct transfer_options){
        .source = "from",
        .destination = "to",
        .destination_is_zero = true,
        .depth = 4,
        .block_bytes = 4 * UNIT,
        .flush_bytes = 16 * UNIT,
        .cancel = &setup->source->cancel,
    };
    snprintf(setup->folder, sizeof(setup->folder), "/tmp/transfer.XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(setup->folder) != NULL);
    snprintf(setup->resume, sizeof(setup->resume), "%s/resume", setup->folder);
}

static void setup_destroy(struct setup *setup)
{
    unlink(setup->resume);
    CU_ASSERT(rmdir(setup->folder) == 0); /* nothing else is left there */
    disk_free(setup->source);
    disk_free(setup->destination);
}

/* As transfer_run() does it: goes on where a resume file says. */
static int setup_run(struct setup *setup)
{
    struct transfer_state state = {0};
    int found = -ENOENT;
    reason_clear(&setup->why);
    if (setup->options.resume_file)
        found = transfer_state_load(setup->resume, &state, &setup->why);
    if (found < 0 && found != -ENOENT)
        return found;
    int r = transfer_run_endpoints(&setup->options, &setup->source->base, &setup->destination->base,
                                   found == 0 ? &state : NULL, &setup->result, &setup->why);
    transfer_state_destroy(&state);
    CU_ASSERT(setup->source->base.in_flight == 0 && setup->destination->base.in_flight == 0);
    return r;
}

/* Copied, durably, and the sums agree. */
static void setup_assert_copied(struct setup *setup)
{
    const struct transfer_result *result = &setup->result;
    uint64_t size = setup->source->base.size_bytes;
    CU_ASSERT(memcmp(setup->source->now, setup->destination->durable, size) == 0);
    CU_ASSERT(result->total_bytes == size && result->durable_bytes == size);
    CU_ASSERT(result->read_bytes + result->hole_bytes == size);
    CU_ASSERT(result->written_bytes + result->zeroed_bytes + result->skipped_bytes == size);
    CU_ASSERT(access(setup->resume, F_OK) < 0);
}

/* What the sums have to be, by looking at every unit of the source. */
static void setup_assert_counts(struct setup *setup)
{
    const struct disk *source = setup->source;
    uint64_t holes = 0;
    uint64_t zeros = 0;
    for (uint64_t at = 0; at < source->base.size_bytes; at += UNIT)
    {
        uint64_t len = min_u64(UNIT, source->base.size_bytes - at);
        bool zero =
            source->now[at] == 0 && memcmp(source->now + at, source->now + at + 1, len - 1) == 0;
        zeros += zero ? len : 0;
        holes += zero && at / UNIT % 8 != 3 ? len : 0;
    }
    CU_ASSERT(setup->result.hole_bytes == holes);
    CU_ASSERT(setup->result.skipped_bytes == zeros);
    CU_ASSERT(setup->result.zeroed_bytes == 0);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_many_shapes(void)
{
    for (uint64_t seed = 0; seed < 60; seed++)
    {
        struct setup setup;
        setup_init(&setup, 300 * 1000 + seed * 1234, seed);
        setup.options.depth = 1 + (uint32_t)(seed % 7);
        setup.options.block_bytes = UNIT << seed % 4;
        setup.destination->base.align_bytes = 1u << seed % 13;
        setup.options.verify = seed % 2;
        CU_ASSERT(setup_run(&setup) == 0);
        setup_assert_copied(&setup);
        setup_assert_counts(&setup);
        /* What pads the last sector is zeros, not what a block held before. */
        uint64_t size = setup.source->base.size_bytes;
        for (uint64_t at = size; at < round_up(size, setup.destination->base.align_bytes); at++)
            CU_ASSERT(setup.destination->now[at] == 0);
        CU_ASSERT(setup.source->in_flight_max <= setup.options.depth + 1);
        CU_ASSERT(setup.result.verified_bytes == (seed % 2 ? setup.source->base.size_bytes : 0));
        setup_destroy(&setup);
    }
}

static void test_dirty_destination(void)
{
    for (uint64_t seed = 0; seed < 30; seed++)
    {
        struct setup setup;
        setup_init(&setup, 500 * 1000, seed);
        memset(setup.destination->now, 0xaa, sizeof(setup.destination->now));
        setup.options.destination_is_zero = false;
        setup.options.keep_zeros = seed % 3 == 1;
        setup.options.ignore_map = seed % 3 == 2;
        setup.source->base.can_map = seed % 5 != 0;
        setup.destination->base.can_zero = seed % 7 != 0;
        setup.destination->base.max_zero_bytes = 8 * UNIT;
        CU_ASSERT(setup_run(&setup) == 0);
        setup_assert_copied(&setup);
        CU_ASSERT(setup.result.skipped_bytes == 0);
        CU_ASSERT((setup.result.zeroed_bytes == 0) == !setup.destination->base.can_zero ||
                  setup.options.keep_zeros || setup.options.ignore_map || seed % 5 == 0);
        CU_ASSERT((setup.result.hole_bytes == 0) == (setup.options.ignore_map || seed % 5 == 0));
        /* What lies behind the source, beyond its last sector, is left alone. */
        CU_ASSERT(setup.destination->now[sizeof(setup.destination->now) - 1] == 0xaa);
        setup_destroy(&setup);
    }
}

static void test_empty_and_tiny(void)
{
    for (uint64_t size = 0; size < 3; size++)
    {
        struct setup setup;
        setup_init(&setup, size, 1);
        setup.options.verify = true;
        CU_ASSERT(setup_run(&setup) == 0);
        setup_assert_copied(&setup);
        CU_ASSERT(setup.destination->flushes == 1);
        setup_destroy(&setup);
    }
}

/* Runs with @fault at the n-th request of a side; false when n was beyond the last one. */
typedef void fault_check(struct setup *setup, int r);

static bool fault_run(bool at_source, unsigned n, int fault, bool with_resume, fault_check *check)
{
    struct setup setup;
    setup_init(&setup, 700 * 1000, 11);
    if (with_resume)
        setup.options.resume_file = setup.resume;
    struct disk *disk = at_source ? setup.source : setup.destination;
    disk->fault_at = n;
    disk->fault = fault;
    int r = setup_run(&setup);
    bool was_reached = disk->requests >= n;
    if (was_reached)
        check(&setup, r);
    else
        CU_ASSERT(r == 0);
    setup_destroy(&setup);
    return was_reached;
}

static void fault_all(int fault, bool with_resume, fault_check *check)
{
    unsigned n = 1;
    while (fault_run(true, n, fault, with_resume, check))
        n++;
    CU_ASSERT(n > 10);
    n = 1;
    while (fault_run(false, n, fault, with_resume, check))
        n++;
    CU_ASSERT(n > 10);
}

static void check_resumes(struct setup *setup, int r)
{
    CU_ASSERT(r == -EIO);
    CU_ASSERT(strstr(setup->why.text, "the fault") != NULL);
    CU_ASSERT(strstr(setup->why.text, setup->source->fault ? "source from" : "destination to") !=
              NULL);
    CU_ASSERT(access(setup->resume, F_OK) == 0);
    uint64_t durable = setup->result.durable_bytes;
    CU_ASSERT(memcmp(setup->source->now, setup->destination->durable, durable) == 0);
    /* Power goes away as well: what is durable is all there is. */
    memcpy(setup->destination->now, setup->destination->durable, DISK_MAX);
    setup->source->fault_at = setup->destination->fault_at = NEVER;
    CU_ASSERT(setup_run(setup) == 0);
    CU_ASSERT(setup->result.resumed_from_bytes == durable);
    setup_assert_copied(setup);
    setup_assert_counts(setup);
}

static void test_error_then_resume(void)
{
    fault_all(-EIO, true, check_resumes);
}

static void check_recovers(struct setup *setup, int r)
{
    CU_ASSERT(r == 0);
    CU_ASSERT(setup->result.reconnects == 1);
    setup_assert_copied(setup);
    setup_assert_counts(setup);
}

static void test_connection_lost(void)
{
    fault_all(-ENOTCONN, false, check_recovers);
    fault_all(-ENOTCONN, true, check_recovers);
}

static void check_busy(struct setup *setup, int r)
{
    CU_ASSERT(r == 0);
    setup_assert_copied(setup);
    setup_assert_counts(setup);
}

static void test_busy(void)
{
    for (unsigned n = 1; fault_run(false, n, -EAGAIN, false, check_busy); n += 3)
        ;
    for (unsigned n = 1; fault_run(true, n, -EAGAIN, false, check_busy); n += 3)
        ;
}

static void test_cannot_zero_or_map(void)
{
    struct setup setup;
    setup_init(&setup, 400 * 1000, 5);
    setup.options.destination_is_zero = false;
    setup.options.verify = true;
    memset(setup.destination->now, 0x55, sizeof(setup.destination->now));
    setup.source->fault_at = 1; /* the first request is for the map */
    setup.source->fault = -ENOTSUP;
    CU_ASSERT(setup_run(&setup) == 0);
    setup_assert_copied(&setup);
    CU_ASSERT(setup.result.hole_bytes == 0 && !setup.source->base.can_map);
    setup_destroy(&setup);

    setup_init(&setup, 400 * 1000, 5);
    memset(setup.source->now, 0, sizeof(setup.source->now)); /* so the first is a zero request */
    setup.source->base.can_map = false;
    setup.options.destination_is_zero = false;
    setup.options.block_bytes = 64 << 10;
    setup.options.depth = 1;
    memset(setup.destination->now, 0x55, sizeof(setup.destination->now));
    setup.destination->fault_at = 1;
    setup.destination->fault = -ENOTSUP;
    CU_ASSERT(setup_run(&setup) == 0);
    setup_assert_copied(&setup);
    CU_ASSERT(setup.result.written_bytes == 400 * 1000 && setup.result.zeroed_bytes == 0);
    setup_destroy(&setup);
}

static void test_destination_full(void)
{
    struct setup setup;
    setup_init(&setup, 400 * 1000, 5);
    setup.destination->fault_at = 7;
    setup.destination->fault = -ENOSPC;
    CU_ASSERT(setup_run(&setup) == -ENOSPC);
    CU_ASSERT(strstr(setup.why.text, "destination to") != NULL);
    CU_ASSERT(strstr(setup.why.text, "of 400000 bytes are done") != NULL);
    setup_destroy(&setup);

    setup_init(&setup, 400 * 1000, 5);
    setup.destination->base.size_bytes = 399 * 1000;
    CU_ASSERT(setup_run(&setup) == -ENOSPC);
    CU_ASSERT(strstr(setup.why.text, "399000 bytes") && strstr(setup.why.text, "1000 more"));
    CU_ASSERT(setup.destination->requests == 0);
    setup_destroy(&setup);
}

static void test_cancel_then_resume(void)
{
    bool was_reached = true;
    unsigned n = 1;
    for (; was_reached; n++)
    {
        struct setup setup;
        setup_init(&setup, 300 * 1000, n);
        setup.options.resume_file = setup.resume;
        setup.source->cancel_at = n;
        int r = setup_run(&setup);
        was_reached = setup.source->requests >= n;
        CU_ASSERT(r == (was_reached ? -ECANCELED : 0));
        uint64_t durable = setup.result.durable_bytes;
        if (was_reached)
        {
            setup.source->cancel = 0;
            memcpy(setup.destination->now, setup.destination->durable, DISK_MAX);
            CU_ASSERT(setup_run(&setup) == 0);
            CU_ASSERT(setup.result.resumed_from_bytes == durable);
        }
        setup_assert_copied(&setup);
        setup_assert_counts(&setup);
        setup_destroy(&setup);
    }
    CU_ASSERT(n > 15);
}

/* A failed flush is reported, not tried again: nobody knows what it left behind. */
static void test_flush_fails(void)
{
    struct setup setup;
    setup_init(&setup, 300 * 1000, 4);
    setup.options.resume_file = setup.resume;
    setup.options.flush_bytes = DISK_MAX;
    CU_ASSERT(setup_run(&setup) == 0);
    unsigned last = setup.destination->requests; /* the flush at the end */
    setup_destroy(&setup);
    setup_init(&setup, 300 * 1000, 4);
    setup.options.resume_file = setup.resume;
    setup.options.flush_bytes = DISK_MAX;
    setup.destination->fault_at = last;
    setup.destination->fault = -EIO;
    CU_ASSERT(setup_run(&setup) == -EIO);
    CU_ASSERT(strstr(setup.why.text, "flushing the destination") != NULL);
    CU_ASSERT(setup.destination->requests == last && setup.result.durable_bytes == 0);
    setup_destroy(&setup);
}

static void test_lost_for_good(void)
{
    struct setup setup;
    setup_init(&setup, 300 * 1000, 4);
    setup.options.retries = 3;
    setup.source->fault_at = 6;
    setup.source->fault = -ENOTCONN;
    setup.source->refusals = NEVER;
    CU_ASSERT(setup_run(&setup) == -ENOTCONN);
    CU_ASSERT(NEVER - setup.source->refusals == 3);
    CU_ASSERT(strstr(setup.why.text, "source from") && strstr(setup.why.text, "3 attempts"));
    setup_destroy(&setup);

    /* It comes back each time and is lost again at the same place: bounded too. */
    setup_init(&setup, 300 * 1000, 4);
    setup.options.flush_bytes = DISK_MAX;
    setup.destination->fault_at = 5;
    setup.destination->fault = -ENOTCONN;
    setup.destination->fault_times = NEVER;
    CU_ASSERT(setup_run(&setup) == -ENOTCONN);
    CU_ASSERT(setup.destination->reconnects == TRANSFER_RETRIES_DEFAULT);
    setup_destroy(&setup);

    setup_init(&setup, 300 * 1000, 4);
    setup.options.retries = TRANSFER_NO_RETRIES;
    setup.source->fault_at = 6;
    setup.source->fault = -ENOTCONN;
    CU_ASSERT(setup_run(&setup) == -ENOTCONN);
    CU_ASSERT(setup.source->reconnects == 0);
    setup_destroy(&setup);
}

static void test_other_size_after_reconnect(void)
{
    struct setup setup;
    setup_init(&setup, 300 * 1000, 4);
    setup.source->fault_at = 6;
    setup.source->fault = -ENOTCONN;
    setup.source->size_after_reconnect = 200 * 1000;
    CU_ASSERT(setup_run(&setup) == -EIO);
    CU_ASSERT(strstr(setup.why.text, "300000") && strstr(setup.why.text, "200000"));
    setup_destroy(&setup);
}

static void test_verify_finds_differences(void)
{
    for (uint64_t seed = 0; seed < 20; seed++)
    {
        struct setup setup;
        setup_init(&setup, 300 * 1000, seed);
        CU_ASSERT(setup_run(&setup) == 0);
        setup_destroy(&setup);
        /* Nothing is sent for zeros, so a destination that only claims to be zero is found out. */
        setup_init(&setup, 300 * 1000, seed);
        setup.options.verify = true;
        setup.destination->base.can_map = seed % 2;
        uint64_t at = 0;
        while (at < 300 * 1000 && setup.source->now[at / UNIT * UNIT] != 0)
            at += UNIT;
        CU_ASSERT_FATAL(at < 300 * 1000);
        setup.destination->now[at + 17] = 1;
        CU_ASSERT(setup_run(&setup) == -EILSEQ);
        char offset[32];
        snprintf(offset, sizeof(offset), "offset %llu:", (unsigned long long)at + 17);
        CU_ASSERT(strstr(setup.why.text, offset) != NULL);
        setup_destroy(&setup);
    }
}

static void stale_run(const char *what, struct setup *setup)
{
    int r = setup_run(setup);
    CU_ASSERT(r == -ESTALE || r == -EBADMSG);
    CU_ASSERT(strstr(setup->why.text, what) != NULL);
    CU_ASSERT(access(setup->resume, F_OK) == 0); /* the user's to remove */
}

static void test_resume_refused(void)
{
    struct setup setup;
    setup_init(&setup, 300 * 1000, 4);
    setup.options.resume_file = setup.resume;
    setup.source->cancel_at = 15;
    CU_ASSERT(setup_run(&setup) == -ECANCELED);
    struct stat st;
    CU_ASSERT(stat(setup.resume, &st) == 0 && (st.st_mode & 0777) == 0600);
    setup.source->cancel = 0;
    snprintf(setup.source->base.identity, sizeof(setup.source->base.identity), "another day");
    stale_run("changed", &setup);
    setup.source->base.identity[0] = '\0';
    setup.source->base.size_bytes -= UNIT;
    stale_run("300000", &setup);
    setup.source->base.size_bytes += UNIT;
    setup.source->base.name[0] = 'F';
    stale_run("From", &setup);
    setup.source->base.name[0] = 'f';
    setup.destination->base.name[0] = 'T';
    stale_run("To", &setup);
    setup.destination->base.name[0] = 't';
    CU_ASSERT(setup_run(&setup) == 0);
    setup_assert_copied(&setup);
    static const char *const bad[] = {"", "{", "[]", "{\"kind\": \"lunette transfer 1\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        FILE *file = fopen(setup.resume, "w");
        CU_ASSERT_FATAL(file != NULL);
        fputs(bad[i], file);
        fclose(file);
        stale_run("remove it", &setup);
    }
    setup_destroy(&setup);
}

static void test_resume_file_unwritable(void)
{
    struct setup setup;
    setup_init(&setup, 300 * 1000, 4);
    setup.options.resume_file = "/nonexistent/resume";
    CU_ASSERT(setup_run(&setup) == -ENOENT);
    CU_ASSERT(strstr(setup.why.text, "/nonexistent/resume") != NULL);
    CU_ASSERT(setup.source->requests == 0);
    setup_destroy(&setup);
}

static void test_redact(void)
{
    static const char *const pairs[][2] = {
        {"/a/b@c", "/a/b@c"},
        {"iscsi://bob%se@cr/et@host:3260/iqn.x:y/1", "iscsi://host:3260/iqn.x:y/1"},
        {"ISCSI://bob%secret@host/t/1", "ISCSI://host/t/1"},
        {"iscsi://bob%secret@host/t/1?target_user=t&target_password=se@cret",
         "iscsi://host/t/1?target_user=t&target_password=..."},
        {"nbd://host/lun@snapshot", "nbd://host/lun@snapshot"},
        {"nbds://alice@host:10809/lun@snapshot", "nbds://host:10809/lun@snapshot"},
        {"nbd+unix:///a@b?socket=/x", "nbd+unix:///a@b?socket=/x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
    {
        AUTO_FREE char *text = transfer_redact(pairs[i][0]);
        CU_ASSERT(text && strcmp(text, pairs[i][1]) == 0);
    }
}

static void refused_run(const struct transfer_options *options, int expected, const char *text)
{
    struct reason why = {0};
    struct transfer_result result;
    CU_ASSERT(transfer_run(options, &result, &why) == expected);
    CU_ASSERT(strstr(why.text, text) != NULL);
}

static void test_options_refused(void)
{
    struct transfer_options options = {.source = "/dev/null"};
    refused_run(&options, -EINVAL, "needs a source and a destination");
    options.destination = "/dev/null";
    refused_run(&options, -EINVAL, "both the source and the destination");
    options.destination = "/tmp/x";
    options.block_bytes = 5000;
    refused_run(&options, -EINVAL, "power of two");
    options.block_bytes = 0;
    options.depth = 10000;
    refused_run(&options, -EINVAL, "at most 256");
    options.depth = 0;
    refused_run(&options, -EINVAL, "neither a file nor a block device");
    options.source = "gopher://x/y";
    refused_run(&options, -EINVAL, "\"gopher://\"");
    options.source = "iscsi://user%hunter2@/";
    refused_run(&options, -EINVAL, "no iSCSI URL");
    struct reason why;
    CU_ASSERT(transfer_run(&options, NULL, &why) < 0 && !strstr(why.text, "hunter2"));
    options.source = "/nonexistent/file";
    refused_run(&options, -ENOENT, "/nonexistent/file");
    options.source = "nbd+unix:///?socket=/nonexistent/socket";
    refused_run(&options, -ENOENT, "cannot connect");
    options.source_format = "qcow2";
    refused_run(&options, -EINVAL, "format qcow2 is for files");
}

/* ---- real files ----------------------------------------------------------------------------- */

static void file_make(const char *path, size_t len)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_FATAL(file != NULL);
    for (size_t i = 0; i < len; i++)
        fputc((int)(i * 7 % 251), file);
    fclose(file);
}

static void test_files(void)
{
    char folder[] = "/tmp/transfer.XXXXXX";
    CU_ASSERT_FATAL(mkdtemp(folder) != NULL);
    char from[64], to[64];
    snprintf(from, sizeof(from), "%s/from", folder);
    snprintf(to, sizeof(to), "%s/to", folder);
    file_make(from, 100001);
    struct transfer_options options = {
        .source = from, .source_format = "raw", .destination = to, .verify = true};
    struct transfer_result result;
    struct reason why = {0};
    CU_ASSERT(transfer_run(&options, &result, &why) == 0);
    CU_ASSERT(result.written_bytes == 100001 && result.verified_bytes == 100001);
    uint64_t size = 0;
    CU_ASSERT(transfer_size(to, "raw", &size, NULL) == 0 && size == 100001);
    refused_run(&options, -EEXIST, "exists");
    options.overwrite = true;
    CU_ASSERT(transfer_run(&options, &result, &why) == 0);
    unlink(to);
    /* A cancelled one leaves nothing of the file it made. */
    volatile sig_atomic_t cancel = 1;
    options.cancel = &cancel;
    CU_ASSERT(transfer_run(&options, &result, &why) == -ECANCELED);
    CU_ASSERT(access(to, F_OK) < 0);
    unlink(from);
    CU_ASSERT(rmdir(folder) == 0);
}

/* The source ends earlier than it said: an error that says where, not a silent tail of zeros. */
static void test_source_shrinks(void)
{
    char folder[] = "/tmp/transfer.XXXXXX";
    CU_ASSERT_FATAL(mkdtemp(folder) != NULL);
    char from[64];
    snprintf(from, sizeof(from), "%s/from", folder);
    file_make(from, 300000);
    struct endpoint_open_args args = {.place = from, .format = "raw", .depth = 2};
    struct endpoint *source = NULL;
    CU_ASSERT_FATAL(endpoint_open(&args, &source, NULL) == 0);
    CU_ASSERT(truncate(from, 200000) == 0);
    source->can_map = false;
    struct disk *destination = disk_new("to", 300000, 1);
    /* One at a time: the first read that fails is then the one across the new end. */
    struct transfer_options options = {.depth = 1, .block_bytes = UNIT};
    struct reason why = {0};
    CU_ASSERT(transfer_run_endpoints(&options, source, &destination->base, NULL, NULL, &why) ==
              -EIO);
    CU_ASSERT(strstr(why.text, "ends at 200000") && strstr(why.text, "300000"));
    endpoint_destroy(source, false);
    disk_free(destination);
    unlink(from);
    CU_ASSERT(rmdir(folder) == 0);
}

static CU_TestInfo transfer_tests[] = {
    {"many shapes are copied, sums agree with the map", test_many_shapes},
    {"a destination that holds something", test_dirty_destination},
    {"empty and tiny sources", test_empty_and_tiny},
    {"error at each request, then resume", test_error_then_resume},
    {"connection lost at each request", test_connection_lost},
    {"a busy side is asked again", test_busy},
    {"sides that cannot zero or map", test_cannot_zero_or_map},
    {"destination full or too small", test_destination_full},
    {"cancel at each request, then resume", test_cancel_then_resume},
    {"a failed flush ends it", test_flush_fails},
    {"connections lost for good", test_lost_for_good},
    {"source of another size after a reconnect", test_other_size_after_reconnect},
    {"verify finds differences", test_verify_finds_differences},
    {"resume files that do not fit are refused", test_resume_refused},
    {"a resume file that cannot be written", test_resume_file_unwritable},
    {"passwords are left out of names", test_redact},
    {"bad options and places", test_options_refused},
    {"real files", test_files},
    {"a source that shrinks", test_source_shrinks},
    CU_TEST_INFO_NULL,
};

static void test_no_log(enum log_level level, const char *text)
{
    (void)level;
    (void)text;
}

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"transfer", NULL, NULL, NULL, NULL, transfer_tests},
        CU_SUITE_INFO_NULL,
    };
    log_set_sink(test_no_log);
    return cunit_main(suites, argc, argv);
}
