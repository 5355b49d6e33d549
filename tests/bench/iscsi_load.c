/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Load on an iSCSI LUN by libiscsi, one connection, a fixed number of commands outstanding.
 *
 * usage: iscsi_load URL OPERATION BYTES DEPTH SECONDS [SPAN-MIB [TARGET-PID [DIGEST]]]
 *
 * OPERATION: randread randwrite read write fill fresh. fill writes the whole span once with bytes
 * that do not compress; fresh 160 MiB of it in random order, no block twice. Prints one JSON line:
 * figures of the time after a second of warming up. CPU time of TARGET-PID comes from /proc, in
 * ticks of 10 ms.
 */
#include <inttypes.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum
{
    LOAD_DEPTH_MAX = 256,
    LOAD_BUCKETS = 100000, /* of the histogram, one for each microsecond */
    LOAD_WARM_UP_MS = 1000,
    LOAD_FRESH_MIB = 160,
};

#define LOAD_SCATTER UINT64_C(0x9e3779b97f4a7c15)

#define LOAD_INITIATOR "iqn.2026-11.test:load"

struct load
{
    struct iscsi_context *iscsi;
    int lun;
    bool is_write, is_random, is_fill, is_fresh;
    uint32_t bytes, depth, sector;
    uint64_t span_blocks; /* of @bytes each; a power of two for fresh */
    uint64_t once_blocks; /* 0, or how many are written, and then it is over */
    uint64_t next, random;
    uint64_t begin_ns, warm_ns, end_ns, now_ns;
    uint64_t done, outstanding, failed;
    uint32_t histogram[LOAD_BUCKETS];
    struct request *requests;
};

struct request
{
    struct load *load;
    uint64_t begin_ns;
    uint8_t *data;
    struct scsi_iovec iov;
};

static uint64_t load_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* xorshift: fast, and the same in each run. */
static uint64_t load_random(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

/* An odd factor makes a permutation of a power of two. */
static uint64_t load_next_block(struct load *load)
{
    if (load->is_random)
        return load_random(load) % load->span_blocks;
    uint64_t next = load->next++;
    return (load->is_fresh ? next * LOAD_SCATTER : next) % load->span_blocks;
}

static void load_submit(struct request *request);

static void load_done(struct iscsi_context *iscsi, int status, void *command, void *opaque)
{
    struct request *request = opaque;
    struct load *load = request->load;
    uint64_t now = load_clock_ns();
    (void)iscsi;
    if (status != SCSI_STATUS_GOOD)
        load->failed++;
    scsi_free_scsi_task(command);
    if (now >= load->warm_ns)
    {
        uint64_t us = (now - request->begin_ns) / 1000;
        load->histogram[us < LOAD_BUCKETS ? us : LOAD_BUCKETS - 1]++;
        load->done++;
    }
    load->now_ns = now;
    load->outstanding--;
    bool is_over = load->once_blocks ? load->next >= load->once_blocks : now >= load->end_ns;
    if (!is_over && load->failed == 0)
        load_submit(request);
}

static void load_submit(struct request *request)
{
    struct load *load = request->load;
    uint64_t block = load_next_block(load);
    uint64_t lba = block * (load->bytes / load->sector);
    struct scsi_task *task;
    request->begin_ns = load_clock_ns();
    if (load->is_write)
    {
        if (load->is_fill)
            for (uint32_t i = 0; i < load->bytes; i += 8)
            {
                uint64_t value = load_random(load);
                memcpy(request->data + i, &value, 8);
            }
        task = iscsi_write16_task(load->iscsi, load->lun, lba, request->data, load->bytes,
                                  (int)load->sector, 0, 0, 0, 0, 0, load_done, request);
    }
    else
    {
        task = iscsi_read16_task(load->iscsi, load->lun, lba, load->bytes, (int)load->sector, 0, 0,
                                 0, 0, 0, load_done, request);
        if (task)
        {
            request->iov = (struct scsi_iovec){.iov_base = request->data, .iov_len = load->bytes};
            scsi_task_set_iov_in(task, &request->iov, 1);
        }
    }
    if (!task)
    {
        load->failed++;
        return;
    }
    load->outstanding++;
}

static int load_connect(struct load *load, const char *url_text, const char *digest)
{
    load->iscsi = iscsi_create_context(LOAD_INITIATOR);
    struct iscsi_url *url = iscsi_parse_full_url(load->iscsi, url_text);
    if (!url)
        return -1;
    iscsi_set_targetname(load->iscsi, url->target);
    iscsi_set_session_type(load->iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(load->iscsi, strcmp(digest, "header") == 0 ? ISCSI_HEADER_DIGEST_CRC32C
                                                                       : ISCSI_HEADER_DIGEST_NONE);
    load->lun = url->lun;
    int r = iscsi_full_connect_sync(load->iscsi, url->portal, url->lun);
    iscsi_destroy_url(url);
    return r;
}

static int load_capacity(struct load *load, uint64_t span_mib)
{
    struct scsi_task *task = iscsi_readcapacity16_sync(load->iscsi, load->lun);
    struct scsi_readcapacity16 *capacity = task ? scsi_datain_unmarshall(task) : NULL;
    if (!capacity)
        return -1;
    load->sector = capacity->block_length;
    uint64_t bytes = (capacity->returned_lba + 1) * load->sector;
    if (span_mib && span_mib << 20 < bytes)
        bytes = span_mib << 20;
    load->span_blocks = bytes / load->bytes;
    scsi_free_scsi_task(task);
    if (load->is_fill)
        load->once_blocks = load->span_blocks;
    if (!load->is_fresh)
        return 0;
    while (load->span_blocks & (load->span_blocks - 1))
        load->span_blocks &= load->span_blocks - 1; /* down to a power of two */
    load->once_blocks = ((uint64_t)LOAD_FRESH_MIB << 20) / load->bytes;
    return load->once_blocks <= load->span_blocks ? 0 : -1;
}

static void load_run(struct load *load)
{
    for (uint32_t i = 0; i < load->depth; i++)
        load_submit(&load->requests[i]);
    while (load->outstanding > 0)
    {
        struct pollfd ready = {.fd = iscsi_get_fd(load->iscsi),
                               .events = (short)iscsi_which_events(load->iscsi)};
        if (poll(&ready, 1, 30000) <= 0 || iscsi_service(load->iscsi, ready.revents) < 0)
        {
            load->failed++;
            return;
        }
    }
}

static double load_target_cpu_us(int pid)
{
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fgets(line, sizeof(line), file) && strrchr(line, ')'))
        sscanf(strrchr(line, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &system);
    fclose(file);
    return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static double load_own_cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint32_t load_percentile(const struct load *load, double part)
{
    uint64_t seen = 0;
    for (uint32_t us = 0; us < LOAD_BUCKETS; us++)
    {
        seen += load->histogram[us];
        if ((double)seen >= part * (double)load->done)
            return us;
    }
    return LOAD_BUCKETS;
}

static int load_prepare(struct load *load, char **argv)
{
    const char *operation = argv[2];
    load->is_fill = strcmp(operation, "fill") == 0;
    load->is_fresh = strcmp(operation, "fresh") == 0;
    load->is_write = load->is_fill || load->is_fresh || strstr(operation, "write");
    load->is_random = strncmp(operation, "rand", 4) == 0;
    load->bytes = (uint32_t)strtoul(argv[3], NULL, 10);
    load->depth = (uint32_t)strtoul(argv[4], NULL, 10);
    load->random = 88172645463325252U;
    if (load->depth < 1 || load->depth > LOAD_DEPTH_MAX || load->bytes < 512)
        return -1;
    load->requests = calloc(load->depth, sizeof(*load->requests));
    for (uint32_t i = 0; load->requests && i < load->depth; i++)
    {
        load->requests[i].load = load;
        load->requests[i].data = malloc(load->bytes);
        for (uint32_t j = 0; j < load->bytes; j++)
            load->requests[i].data[j] = (uint8_t)load_random(load);
    }
    return load->requests ? 0 : -1;
}

int main(int argc, char **argv)
{
    static struct load load;
    if (argc < 6 || load_prepare(&load, argv) < 0)
    {
        fprintf(stderr,
                "usage: %s URL OPERATION BYTES DEPTH SECONDS [SPAN-MIB [TARGET-PID [none|"
                "header]]]\n",
                argv[0]);
        return 2;
    }
    int pid = argc > 7 ? (int)strtol(argv[7], NULL, 10) : 0;
    if (load_connect(&load, argv[1], argc > 8 ? argv[8] : "none") != 0 ||
        load_capacity(&load, argc > 6 ? strtoull(argv[6], NULL, 10) : 0) != 0)
    {
        fprintf(stderr, "%s\n", iscsi_get_error(load.iscsi));
        return 1;
    }
    load.begin_ns = load_clock_ns();
    load.warm_ns = load.begin_ns + (load.once_blocks ? 0 : LOAD_WARM_UP_MS * UINT64_C(1000000));
    load.end_ns = load.warm_ns + strtoull(argv[5], NULL, 10) * UINT64_C(1000000000);
    double cpu = load_own_cpu_us(), target_cpu = load_target_cpu_us(pid);
    load_run(&load);
    cpu = load_own_cpu_us() - cpu;
    target_cpu = load_target_cpu_us(pid) - target_cpu;
    /* CPU time is of the whole run, so it is divided by all of it. */
    double seconds = (double)(load.now_ns - load.warm_ns) / 1e9;
    double whole = (double)(load.now_ns - load.begin_ns) / 1e9;
    double iops = (double)load.done / seconds, all = iops * whole;
    printf("{\"operation\":\"%s\",\"bytes\":%u,\"depth\":%u,\"iops\":%.0f,\"mib_s\":%.1f,"
           "\"p50_us\":%u,\"p99_us\":%u,\"client_cpu_us\":%.2f,\"target_cpu_us\":%.2f,"
           "\"failed\":%" PRIu64 "}\n",
           argv[2], load.bytes, load.depth, iops, iops * load.bytes / 1048576,
           load_percentile(&load, 0.5), load_percentile(&load, 0.99), cpu / all, target_cpu / all,
           load.failed);
    return load.failed > 0;
}
