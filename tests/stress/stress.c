/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stress program: cycles of threads at work, a power cut or a close, a reopening, a comparison.
 *
 * The seed decides what each thread tries; how they meet is up to the machine.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/pool/device.h"
#include "tests/lib/replay.h"
#include "tests/stress/stress.h"

enum
{
    POOL_BYTES = 8 << 20,
    POOL_LIMIT_BYTES = 16 << 20,
    JOURNAL_BYTES = 256 << 10, /* full often */
    GROUP_BLKS = 256,
    CACHE_BYTES = 128 << 10, /* nodes are evicted all the time */
    CHECKPOINT_MS = 50,
    FIRST_ORDINAL = 16,   /* chaos and counter have the ones below */
    PATIENCE_FACTOR = 40, /* so much longer at most, until enough was done */
};

static struct world the_world;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the pool ------------------------------------------------------------------------------ */

static const struct pool_create_options create_options = {
    .name = "stress",
    .size_bytes = POOL_BYTES,
    .journal_bytes = JOURNAL_BYTES,
    .group_blks = GROUP_BLKS,
};

static int pool_make(struct world *world, struct reason *why)
{
    if (world->options.path)
        return pool_create(env_system(), world->options.path, &create_options, why);
    world->disk = simdev_new(POOL_BYTES, POOL_LIMIT_BYTES, world->options.seed);
    struct device *device = simdev_open(world->disk);
    int r = pool_create_on_device(env_system(), device, &create_options, why);
    device_close(device);
    return r;
}

static void hook_cb(void *opaque, enum lun_change change, uint64_t lun_id, const char *name)
{
    (void)change, (void)lun_id;
    struct world *world = opaque;
    /* Debug builds abort here if the engine holds a lock from management on. */
    lock_take(&world->hook_lock);
    lock_release(&world->hook_lock);
    struct lun_info info;
    ignore_error(lun_get_info(world->pool, name, &info, NULL), "a hook may call the engine");
}

static void pool_begin(struct world *world)
{
    struct pool_open_options options = {.cache_bytes = CACHE_BYTES, .checkpoint_ms = CHECKPOINT_MS};
    struct reason why;
    doing("pool_open", 0);
    int r;
    if (world->options.path)
    {
        r = pool_open(env_system(), world->options.path, &options, &world->pool, &why);
    }
    else
    {
        struct device *device = simdev_open(world->disk);
        r = pool_open_device(env_system(), device, &options, &world->pool, &why);
    }
    if (r < 0)
        fail("the pool cannot be opened: %s (%s)", strerror(-r), why.text);
    pool_set_change_hook(world->pool, hook_cb, world);
    r = pool_start(world->pool);
    if (r < 0)
        fail("pool_start: %s", strerror(-r));
}

static void pool_end(struct world *world)
{
    doing("pool_close", 0);
    int r = pool_close(world->pool);
    world->pool = NULL;
    if (r < 0 && !is_off(world))
        fail("pool_close: %s", strerror(-r));
}

static void check_say_cb(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    if (is_error)
        fprintf(stderr, "pool_check: %s\n", text);
}

static void pool_must_be_clean(struct world *world)
{
    struct check_result result;
    doing("pool_check, alone", 0);
    int r = pool_check(world->pool, check_say_cb, NULL, &result);
    if (r < 0 || result.errors)
        fail("pool_check: %d, %llu errors", r, (unsigned long long)result.errors);
}

/* ---- comparing after a reopening ----------------------------------------------------------- */

static bool name_is_doubtful(struct world *world, const char *name)
{
    for (unsigned i = 0; i < world->doubt_count; i++)
    {
        if (strcmp(world->doubts[i], name) == 0)
            return true;
    }
    return false;
}

static struct subject *subject_named(struct world *world, const char *name)
{
    for (unsigned i = 0; i < SUBJECTS_MAX; i++)
    {
        if (world->subjects[i] && strcmp(world->subjects[i]->name, name) == 0)
            return world->subjects[i];
    }
    return NULL;
}

static void lun_drop(struct world *world, const char *name)
{
    struct reason why;
    doing("lun_delete after reopening", 0);
    int r = lun_delete(world->pool, name, true, 0, &why);
    if (r < 0)
        fail("lun_delete of '%s': %s (%s)", name, strerror(-r), why.text);
}

/* Whatever is there must be known, or have been in the making at the cut: that goes. */
static void compare_names(struct world *world)
{
    struct lun_info *list = NULL;
    size_t n = 0;
    int r = lun_list(world->pool, NULL, &list, &n, NULL);
    if (r < 0)
        fail("lun_list: %s", strerror(-r));
    for (size_t i = 0; i < n; i++)
    {
        const char *name = list[i].name;
        if (list[i].kind != OBJECT_LUN || name[0] == 'x' || strcmp(name, "counter") == 0)
            continue;
        struct subject *subject = subject_named(world, name);
        bool is_passing = name[0] == 'k';
        if (!is_passing && !subject && !name_is_doubtful(world, name))
            fail("'%s' is there, although it was deleted or renamed", name);
        if (is_passing || !subject || subject->is_doubtful)
            lun_drop(world, name);
    }
    free(list);
    world->doubt_count = 0;
}

static void compare_subject(struct world *world, struct subject *subject, bool was_cut)
{
    char full[2 * NAME_BYTES];
    verify_all(world, subject->name, subject->family, atomic_load(&subject->sectors),
               &subject->shadow, was_cut);
    for (unsigned i = 0; i < subject->snap_count; i++)
    {
        struct snap *snap = &subject->snaps[i];
        snprintf(full, sizeof(full), "%s@%s", subject->name, snap->name);
        verify_all(world, full, subject->family, snap->sectors, &snap->shadow, was_cut);
    }
}

static void compare(struct world *world, bool was_cut)
{
    pool_must_be_clean(world);
    store_verify(world);
    struct pool_info info;
    pool_get_info(world->pool, &info);
    if (info.size_bytes < atomic_load(&world->grown_bytes))
        fail("the pool was grown beyond %llu bytes and has %llu",
             (unsigned long long)atomic_load(&world->grown_bytes),
             (unsigned long long)info.size_bytes);
    compare_names(world);
    for (unsigned i = 0; i < SUBJECTS_MAX; i++)
    {
        struct subject *subject = world->subjects[i];
        if (subject && subject->is_doubtful)
            subject_remove(world, subject);
        else if (subject)
            compare_subject(world, subject, was_cut);
    }
    chaos_verify(world);
    counter_restart(world, was_cut);
}

/* ---- cycles -------------------------------------------------------------------------------- */

static void *worker_main(void *opaque)
{
    struct worker *worker = opaque;
    self = worker;
    doing("starting", 0);
    worker->run(worker);
    atomic_store(&worker->doing, NULL);
    return NULL;
}

static void worker_add(struct world *world, const char *role, void (*run)(struct worker *worker))
{
    INVARIANT(world->worker_count < WORKERS_MAX);
    unsigned number = world->worker_count++;
    struct worker *worker = &world->workers[number];
    worker->world = world;
    worker->role = role;
    worker->run = run;
    worker->number = number;
    worker->rng = rng_of(world->options.seed * 1000 + number);
}

static void workers_add(struct world *world)
{
    worker_add(world, "main", NULL);
    for (unsigned i = 0; i < world->options.io_threads; i++)
        worker_add(world, "io", work_io);
    for (unsigned i = 0; i < world->options.manage_threads; i++)
        worker_add(world, "manage", work_manage);
    worker_add(world, "chaos io", work_chaos_io);
    worker_add(world, "chaos io", work_chaos_io);
    worker_add(world, "chaos io", work_chaos_io);
    worker_add(world, "chaos command", work_chaos_manage);
    worker_add(world, "chaos command", work_chaos_manage);
    worker_add(world, "observe", work_observe);
    worker_add(world, "store", work_store);
    worker_add(world, "store", work_store);
    worker_add(world, "check", work_check);
    worker_add(world, "space", work_space);
    worker_add(world, "count", work_counter);
    worker_add(world, "count clones", work_counter_clones);
}

static void cycle_work(struct world *world, bool with_cut)
{
    atomic_store(&world->stop, false);
    for (unsigned i = 1; i < world->worker_count; i++)
        INVARIANT(
            pthread_create(&world->workers[i].thread, NULL, worker_main, &world->workers[i]) == 0);
    /* The threads work for this long; nothing is expected of the time. */
    atomic_store(&self->doing, NULL);
    struct timespec pause = {.tv_sec = world->options.cycle_ms / 1000,
                             .tv_nsec = world->options.cycle_ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
    if (with_cut)
    {
        atomic_store(&world->is_cut, true);
        simdev_cut_power(world->disk);
    }
    atomic_store(&world->stop, true);
    doing("waiting for the threads to end", 0);
    for (unsigned i = 1; i < world->worker_count; i++)
    {
        pthread_join(world->workers[i].thread, NULL);
        doing("waiting for the threads to end", i);
    }
}

static void cycle(struct world *world)
{
    bool with_cut = world->disk && rng_percent(&self->rng, 70);
    cycle_work(world, with_cut);
    if (!with_cut)
        pool_must_be_clean(world);
    pool_end(world);
    if (with_cut)
    {
        struct simdev_crash_policy policy = simdev_random_policy(&self->rng);
        simdev_restart(world->disk, &self->rng, &policy);
    }
    atomic_store(&world->is_cut, false);
    pool_begin(world);
    compare(world, with_cut);
    count(world, COUNT_CYCLES);
}

/* All is deleted: nothing may be left. */
static void finish(struct world *world)
{
    struct lun_info *list = NULL;
    struct pool_info info;
    size_t n = 0;
    int r = lun_list(world->pool, NULL, &list, &n, NULL);
    for (size_t i = 0; r == 0 && i < n; i++)
    {
        if (list[i].kind == OBJECT_LUN)
            lun_drop(world, list[i].name);
    }
    free(list);
    uint64_t last_lines = UINT64_MAX;
    doing("waiting for deletes to end", 0);
    do
    {
        r = job_wait(world->pool, 0, 100);
        if (r < 0 && r != -ETIMEDOUT)
            fail("job_wait: %s", strerror(-r));
        ignore_error(event_wait(world->pool, UINT64_MAX, 10), "a moment");
        pool_get_info(world->pool, &info);
        if (info.line_count < last_lines)
            doing("waiting for deletes to end", (uint32_t)info.line_count);
        last_lines = info.line_count;
    } while (info.line_count > 0);
    r = pool_checkpoint(world->pool);
    if (r < 0)
        fail("pool_checkpoint: %s", strerror(-r));
    pool_get_info(world->pool, &info);
    if (info.data_bytes != 0 || info.mapped_bytes != 0 || info.lun_count != 0)
        fail("with all LUNs deleted there are %llu bytes of data, %llu mapped, %llu LUNs",
             (unsigned long long)info.data_bytes, (unsigned long long)info.mapped_bytes,
             (unsigned long long)info.lun_count);
    pool_must_be_clean(world);
    pool_end(world);
}

/* ---- the program --------------------------------------------------------------------------- */

static void log_cb(enum log_level level, const char *text)
{
    if (the_world.options.is_verbose || (level == LOG_LEVEL_ERROR && !is_off(&the_world)))
        fprintf(stderr, "%s\n", text);
}

/* Whether enough was done for a run to have shown something. A machine that is busy otherwise may
 * leave a run of a few seconds nothing. */
static bool has_worked(const struct world *world)
{
    static const uint64_t least[COUNTS] = {
        [COUNT_WRITES] = 200, [COUNT_READS] = 200,   [COUNT_ZEROS] = 1,   [COUNT_FLUSHES] = 1,
        [COUNT_CLONES] = 10,  [COUNT_SNAPSHOTS] = 1, [COUNT_DELETES] = 1, [COUNT_CHECKS] = 1,
        [COUNT_PREFIXES] = 1, [COUNT_CYCLES] = 2,
    };
    for (unsigned i = 0; i < COUNTS; i++)
        if (atomic_load(&world->counts[i]) < least[i])
            return false;
    return true;
}

static void run(struct world *world)
{
    struct reason why;
    lock_init(&world->lock, LOCK_RANK_LEAF);
    lock_init(&world->hook_lock, LOCK_RANK_MANAGEMENT);
    atomic_store(&world->next_ordinal, FIRST_ORDINAL);
    atomic_store(&world->next_family, FIRST_ORDINAL);
    world->parents = calloc(ORDINALS_MAX, sizeof(*world->parents));
    INVARIANT(world->parents != NULL);
    workers_add(world);
    self = &world->workers[0];
    doing("starting", 0);
    pthread_t dog;
    INVARIANT(pthread_create(&dog, NULL, watchdog, world) == 0);
    int r = pool_make(world, &why);
    if (r < 0)
        fail("the pool cannot be made: %s (%s)", strerror(-r), why.text);
    pool_begin(world);
    struct counter_state *counter = counter_new(world);
    uint64_t end_ms = now_ms() + world->options.seconds * UINT64_C(1000);
    uint64_t patience_ms = world->options.seconds * UINT64_C(1000) * PATIENCE_FACTOR;
    do
        cycle(world);
    while (now_ms() < end_ms || (!has_worked(world) && now_ms() < end_ms + patience_ms));
    finish(world);
    if (!has_worked(world))
        fail("too little was done to show anything");
    atomic_store(&world->watchdog_stop, true);
    pthread_join(dog, NULL);
    for (unsigned i = 0; i < SUBJECTS_MAX; i++)
        subject_remove(world, world->subjects[i]);
    free(counter);
    free(world->parents);
    simdev_destroy(world->disk);
    lock_destroy(&world->lock);
    lock_destroy(&world->hook_lock);
}

static void say_counts(const struct world *world)
{
    static const char *const names[] = {"writes",    "reads",    "zeros",    "flushes", "clones",
                                        "snapshots", "restores", "deletes",  "resizes", "checks",
                                        "scrubs",    "chaos",    "prefixes", "cycles"};
    printf("stress: seed %llu:", (unsigned long long)world->options.seed);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        printf(" %s %llu,", names[i], (unsigned long long)atomic_load(&world->counts[i]));
    printf(" no space %llu\n", (unsigned long long)atomic_load(&world->full_count));
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"seed", required_argument, NULL, 's'},     {"seconds", required_argument, NULL, 'S'},
        {"cycle-ms", required_argument, NULL, 'c'}, {"file", no_argument, NULL, 'f'},
        {"verbose", no_argument, NULL, 'v'},        {NULL, 0, NULL, 0},
    };
    struct options *options = &the_world.options;
    *options = (struct options){
        .seed = 1, .seconds = 10, .cycle_ms = 2000, .io_threads = 6, .manage_threads = 3};
    const char *seed = getenv("LUNETTE_SEED");
    if (seed)
        options->seed = strtoull(seed, NULL, 0);
    char path[] = "/tmp/lunette-stress-XXXXXX";
    bool on_file = false;
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
    {
        switch (c)
        {
        case 's':
            options->seed = strtoull(optarg, NULL, 0);
            break;
        case 'S':
            options->seconds = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'c':
            options->cycle_ms = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'f':
            on_file = true;
            break;
        case 'v':
            options->is_verbose = true;
            break;
        default:
            fprintf(stderr, "usage: stress [--seed N] [--seconds N] [--cycle-ms N] [--file] "
                            "[--verbose]\n");
            return 2;
        }
    }
    if (on_file)
    {
        int fd = mkstemp(path);
        INVARIANT(fd >= 0);
        close(fd);
        options->path = path;
    }
    log_set_sink(log_cb);
    run(&the_world);
    if (on_file)
        unlink(path);
    say_counts(&the_world);
    return 0;
}
