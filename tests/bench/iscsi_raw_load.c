/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Load by an initiator of our own, for what libiscsi cannot do: data digests, hundreds of sessions.
 *
 * usage: iscsi_raw_load ADDRESS TARGET LUN OPERATION BYTES DEPTH SECONDS SPAN-MIB PID none|data
 *        iscsi_raw_load ADDRESS TARGET idle SESSIONS
 *
 * OPERATION: randread randwrite, of at most 64 KiB, all of a write's data immediate. Each data
 * segment is checked against its digest, as a host would. Prints one JSON line like iscsi_load's.
 * idle: logs in so many sessions, prints "idle", answers what the target asks until standard input
 * ends.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "server/iscsi/pdu.h"
#include "tests/lib/iscsi_raw.h"

enum
{
    LOAD_DEPTH_MAX = 128,
    LOAD_BYTES_MAX = 65536,
    LOAD_SECTOR = 512,
    LOAD_PDU_MAX = WIRE_BHS_BYTES + LOAD_BYTES_MAX + 16,
    LOAD_RX_BYTES = 1 << 20,
    LOAD_WARM_UP_MS = 1000,
    LOAD_WAIT_MS = 30000,
    LOAD_SESSIONS_MAX = 4000,
};

#define LOAD_INITIATOR "iqn.2026-11.test:load"

struct load
{
    struct raw raw;
    unsigned lun;
    bool is_write;
    uint32_t bytes, depth;
    uint64_t span_blocks, random;
    uint64_t warm_ns, end_ns;
    uint64_t all, done, outstanding;
    uint8_t *rx, *tx, *data;
    size_t rx_len, tx_len;
    uint32_t idle_tags[LOAD_DEPTH_MAX]; /* of commands that are not outstanding */
    uint32_t idle_count;
};

static uint64_t load_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t load_random(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

__attribute__((noreturn)) static void load_fail(const char *what)
{
    fprintf(stderr, "iscsi_raw_load: %s\n", what);
    exit(1);
}

/* Processor time of a process, in ticks of 10 ms. */
static double load_cpu_us(const char *pid)
{
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    bool is_read = fgets(line, sizeof(line), file);
    fclose(file);
    if (!is_read || !strrchr(line, ')'))
        return 0;
    sscanf(strrchr(line, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
           &system);
    return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

/* ---- commands ------------------------------------------------------------------------------ */

static void load_put_command(struct load *load, uint32_t tag)
{
    uint64_t lba = load_random(load) % load->span_blocks * (load->bytes / LOAD_SECTOR);
    struct be32 high = be32_put((uint32_t)(lba >> 32)), low = be32_put((uint32_t)lba);
    struct be32 blocks = be32_put(load->bytes / LOAD_SECTOR);
    struct wire_scsi_command bhs = {
        .opcode = WIRE_SCSI_COMMAND,
        .flags = (uint8_t)(WIRE_FINAL | WIRE_ATTR_SIMPLE |
                           (load->is_write ? WIRE_CMD_WRITE : WIRE_CMD_READ)),
        .lun = {0, (uint8_t)load->lun},
        .itt = be32_put(tag),
        .expected_bytes = be32_put(load->bytes),
        .cmd_sn = be32_put(load->raw.cmd_sn++),
        .exp_stat_sn = be32_put(load->raw.exp_stat_sn),
        .cdb = {load->is_write ? 0x8a : 0x88},
    };
    memcpy(bhs.cdb + 2, high.b, sizeof(high.b));
    memcpy(bhs.cdb + 6, low.b, sizeof(low.b));
    memcpy(bhs.cdb + 10, blocks.b, sizeof(blocks.b));
    load->tx_len +=
        raw_build(&load->raw, &bhs, NULL, 0, load->data, load->is_write ? load->bytes : 0, 0,
                  load->tx + load->tx_len, (size_t)LOAD_PDU_MAX * LOAD_DEPTH_MAX - load->tx_len);
    load->outstanding++;
}

static void load_finish(struct load *load, uint32_t tag, uint8_t status, uint64_t now)
{
    if (status != 0)
        load_fail("a command failed");
    INVARIANT(load->outstanding > 0);
    load->outstanding--;
    load->idle_tags[load->idle_count++] = tag;
    load->all++;
    if (now >= load->warm_ns)
        load->done++;
}

static void load_answer_nop(struct load *load, const struct wire_plain_response *nop)
{
    struct wire_nop_out bhs = {
        .opcode = WIRE_NOP_OUT | WIRE_IMMEDIATE,
        .flags = WIRE_FINAL,
        .itt = be32_put(WIRE_TAG_NONE),
        .ttt = nop->ttt,
        .cmd_sn = be32_put(load->raw.cmd_sn),
        .exp_stat_sn = be32_put(load->raw.exp_stat_sn),
    };
    if (raw_send(&load->raw, &bhs, NULL, 0, 0) < 0)
        load_fail("the connection is lost");
}

/* One PDU at the start of @at; its length, or 0 if it is not all there. */
static size_t load_take_pdu(struct load *load, const uint8_t *at, size_t len, uint64_t now)
{
    if (len < WIRE_BHS_BYTES)
        return 0;
    const struct wire_bhs *bhs = (const struct wire_bhs *)at;
    uint32_t data_len = pdu_data_len(bhs), padded = data_len + pdu_pad_len(data_len);
    bool has_digest = load->raw.data_digest && data_len > 0;
    size_t whole = WIRE_BHS_BYTES + padded + (has_digest ? WIRE_DIGEST_BYTES : 0);
    if (len < whole)
        return 0;
    const uint8_t *data = at + WIRE_BHS_BYTES;
    if (has_digest && !pdu_digest_matches(data + padded, crc32c(0, data, padded)))
        load_fail("a data digest is wrong");
    uint8_t opcode = pdu_opcode(bhs);
    const struct wire_data_in *in = (const struct wire_data_in *)at;
    bool has_status = opcode != WIRE_DATA_IN || at[1] & WIRE_DATA_IN_STATUS;
    if (has_status)
        load->raw.exp_stat_sn = be32_get(in->stat_sn) + 1;
    if (opcode == WIRE_NOP_IN)
        load_answer_nop(load, (const struct wire_plain_response *)at);
    else if (opcode != WIRE_DATA_IN && opcode != WIRE_SCSI_RESPONSE)
        load_fail("an unexpected answer");
    else if (has_status)
        load_finish(load, be32_get(in->itt), in->status, now);
    return whole;
}

static void load_receive(struct load *load)
{
    ssize_t got = recv(load->raw.fd, load->rx + load->rx_len, LOAD_RX_BYTES - load->rx_len, 0);
    if (got <= 0)
        load_fail("the connection is lost");
    load->rx_len += (size_t)got;
    uint64_t now = load_clock_ns();
    size_t at = 0, used;
    while ((used = load_take_pdu(load, load->rx + at, load->rx_len - at, now)) > 0)
        at += used;
    memmove(load->rx, load->rx + at, load->rx_len - at);
    load->rx_len -= at;
}

static void load_run(struct load *load)
{
    while (load_clock_ns() < load->end_ns || load->outstanding > 0)
    {
        load->tx_len = 0;
        while (load->idle_count > 0 && load_clock_ns() < load->end_ns)
            load_put_command(load, load->idle_tags[--load->idle_count]);
        if (load->tx_len > 0 && raw_send_bytes(&load->raw, load->tx, load->tx_len) < 0)
            load_fail("the connection is lost");
        struct pollfd ready = {.fd = load->raw.fd, .events = POLLIN};
        if (load->outstanding > 0 && poll(&ready, 1, LOAD_WAIT_MS) <= 0)
            load_fail("no answer");
        if (load->outstanding > 0)
            load_receive(load);
    }
}

/* The unit attention of a new session would fail the first command. */
static void load_take_attention(struct load *load)
{
    static const uint8_t ready[16] = {0};
    for (int i = 0; i < 4; i++)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        struct wire_scsi_command bhs = {
            .opcode = WIRE_SCSI_COMMAND,
            .flags = WIRE_FINAL | WIRE_ATTR_SIMPLE,
            .lun = {0, (uint8_t)load->lun},
            .itt = be32_put(0x1000u + (uint32_t)i),
            .cmd_sn = be32_put(load->raw.cmd_sn++),
            .exp_stat_sn = be32_put(load->raw.exp_stat_sn),
        };
        memcpy(bhs.cdb, ready, sizeof(bhs.cdb));
        if (raw_send(&load->raw, &bhs, NULL, 0, 0) < 0 || raw_recv(&load->raw, &pdu) < 0)
            load_fail("the connection is lost");
        if (((const struct wire_scsi_response *)pdu.bhs)->status == 0)
            return;
    }
    load_fail("the LUN is not ready");
}

static void load_login(struct raw *raw, char **argv, const char *digest, uint16_t session)
{
    char keys[256];
    raw_connect(raw, argv[1]);
    raw->isid[4] = (uint8_t)(session >> 8);
    raw->isid[5] = (uint8_t)session;
    snprintf(keys, sizeof(keys),
             "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144\n"
             "FirstBurstLength=262144\nMaxBurstLength=1048576\nDataDigest=%s",
             strcmp(digest, "data") == 0 ? "CRC32C" : "None");
    if (raw_login(raw, LOAD_INITIATOR, argv[2], keys) != 0)
        load_fail("no login");
}

static int load_main(char **argv)
{
    struct load *load = calloc(1, sizeof(*load));
    INVARIANT(load);
    load->lun = (unsigned)strtoul(argv[3], NULL, 10);
    load->is_write = strcmp(argv[4], "randwrite") == 0;
    load->bytes = (uint32_t)strtoul(argv[5], NULL, 10);
    load->depth = (uint32_t)strtoul(argv[6], NULL, 10);
    load->random = 88172645463325252U;
    load->rx = malloc(LOAD_RX_BYTES);
    load->tx = malloc((size_t)LOAD_PDU_MAX * LOAD_DEPTH_MAX);
    load->data = malloc(LOAD_BYTES_MAX);
    if (!load->rx || !load->tx || !load->data || load->depth < 1 || load->depth > LOAD_DEPTH_MAX ||
        load->bytes < LOAD_SECTOR || load->bytes > LOAD_BYTES_MAX || load->bytes % LOAD_SECTOR)
        load_fail("bad arguments");
    load->span_blocks = (strtoull(argv[8], NULL, 10) << 20) / load->bytes;
    for (uint32_t i = 0; i < LOAD_BYTES_MAX; i++)
        load->data[i] = (uint8_t)load_random(load);
    while (load->idle_count < load->depth)
    {
        load->idle_tags[load->idle_count] = load->idle_count;
        load->idle_count++;
    }
    load_login(&load->raw, argv, argv[10], 1);
    if ((strcmp(argv[10], "data") == 0) != load->raw.data_digest)
        load_fail("the target did not agree on the digest");
    load_take_attention(load);
    uint64_t begin = load_clock_ns();
    load->warm_ns = begin + LOAD_WARM_UP_MS * UINT64_C(1000000);
    load->end_ns = load->warm_ns + strtoull(argv[7], NULL, 10) * UINT64_C(1000000000);
    double cpu = load_cpu_us(argv[9]);
    load_run(load);
    cpu = load_cpu_us(argv[9]) - cpu;
    double iops = (double)load->done * 1e9 / (double)(load_clock_ns() - load->warm_ns);
    printf("{\"operation\":\"%s\",\"bytes\":%u,\"depth\":%u,\"iops\":%.0f,\"mib_s\":%.1f,"
           "\"target_cpu_us\":%.2f,\"failed\":0}\n",
           argv[4], load->bytes, load->depth, iops, iops * load->bytes / 1048576,
           cpu / (double)load->all);
    raw_close(&load->raw);
    free(load->rx);
    free(load->tx);
    free(load->data);
    free(load);
    return 0;
}

/* ---- idle sessions ------------------------------------------------------------------------- */

static int load_idle(char **argv)
{
    nfds_t count = (nfds_t)strtoul(argv[4], NULL, 10);
    if (count < 1 || count > LOAD_SESSIONS_MAX)
        load_fail("bad arguments");
    AUTO_FREE struct load *sessions = calloc(count, sizeof(*sessions));
    AUTO_FREE struct pollfd *ready = calloc(count + 1, sizeof(*ready));
    INVARIANT(sessions && ready);
    for (nfds_t i = 0; i < count; i++)
    {
        load_login(&sessions[i].raw, argv, "none", (uint16_t)(i + 1));
        ready[i] = (struct pollfd){.fd = sessions[i].raw.fd, .events = POLLIN};
    }
    ready[count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    puts("idle");
    fflush(stdout);
    while (poll(ready, count + 1, -1) > 0 && !ready[count].revents)
        for (nfds_t i = 0; i < count; i++)
        {
            AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
            if (!ready[i].revents)
                continue;
            if (raw_recv(&sessions[i].raw, &pdu) < 0)
                load_fail("a session is lost");
            if (raw_opcode(&pdu) == WIRE_NOP_IN)
                load_answer_nop(&sessions[i], (const struct wire_plain_response *)pdu.bhs);
        }
    for (nfds_t i = 0; i < count; i++)
        raw_close(&sessions[i].raw);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[3], "idle") == 0)
        return load_idle(argv);
    if (argc == 11)
        return load_main(argv);
    fprintf(stderr,
            "usage: %s ADDRESS TARGET LUN OPERATION BYTES DEPTH SECONDS SPAN-MIB PID "
            "none|data\n       %s ADDRESS TARGET idle SESSIONS\n",
            argv[0], argv[0]);
    return 2;
}
