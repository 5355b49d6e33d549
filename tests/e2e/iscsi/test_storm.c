/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Thousands of clients of one server: NBD, iSCSI and management, idle and busy, half open and one
 * after the other as fast as they can; more than the server takes, too.
 *
 * All the while two clients, one of each protocol, write and verify; none of their requests may
 * fail. Who is one too many is told so or hung up on, and never left waiting. After each storm the
 * server has as many descriptors and threads as before it, and in the end hardly more memory than
 * after the first.
 *
 * usage: test_storm [ROUNDS]
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/endian.h"
#include "lun/base/invariant.h"
#include "tests/e2e/iscsi/both.h"
#include "tests/e2e/iscsi/witness.h"
#include "tests/lib/iscsi_raw.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STORM_IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STORM_IS_SANITIZED 1
#endif
#endif
#ifndef STORM_IS_SANITIZED
#define STORM_IS_SANITIZED 0
#endif

enum
{
    /* Sanitizers make threads and memory dear. */
    DIVIDED_BY = STORM_IS_SANITIZED ? 8 : 1,
    NBD_TAKEN = 1024 / DIVIDED_BY, /* the server's limits */
    ISCSI_TAKEN = 2048 / DIVIDED_BY,
    ISCSI_EACH = 512 / DIVIDED_BY,
    ISCSI_SESSIONS = 1024 / DIVIDED_BY,
    ISCSI_HALF_OPEN = 256 / DIVIDED_BY,
    MGMT_TAKEN = 256,
    CLIENTS = 2000 / DIVIDED_BY,
    MGMT_CLIENTS = 400,
    STORMERS = 8,
    STORM_LOGINS = 400 / DIVIDED_BY, /* of each */
    WAIT_MS = 60000,
    MEMORY_KIB = 32 << 10,
};

static struct both both;
static atomic_uint failures, checks;

static void expect(bool is_so, int line, const char *what)
{
    checks++;
    if (!is_so && failures++ < 20)
        fprintf(stderr, "FAILED (test_storm.c:%d): %s\n", line, what);
}
#define EXPECT(x) expect(x, __LINE__, #x)

static void get_on(void)
{
    EXPECT(witnesses_get_on());
}

/* ---- what the server has ------------------------------------------------------------------- */

struct usage
{
    unsigned descriptors, threads;
    uint64_t memory_kib;
};

static uint64_t usage_field(const char *key)
{
    char path[64], line[256];
    unsigned long long value = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)both.server.pid);
    FILE *file = fopen(path, "re");
    INVARIANT(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoull(line + strlen(key), NULL, 10);
    fclose(file);
    return value;
}

static struct usage usage_now(void)
{
    char path[64];
    unsigned descriptors = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)both.server.pid);
    DIR *folder = opendir(path);
    INVARIANT(folder);
    while (readdir(folder))
        descriptors++;
    closedir(folder);
    return (struct usage){.descriptors = descriptors,
                          .threads = (unsigned)usage_field("Threads:"),
                          .memory_kib = usage_field("RssAnon:")};
}

/* Threads and connections end a moment after their clients. */
static void usage_comes_back(const char *storm, const struct usage *before)
{
    struct usage now = usage_now();
    for (int i = 0; i < WAIT_MS / 20; i++)
    {
        if (now.descriptors <= before->descriptors && now.threads <= before->threads + 2)
            break;
        usleep(20000);
        now = usage_now();
    }
    printf("%-28s %u descriptors, %u threads, %llu MiB\n", storm, now.descriptors, now.threads,
           (unsigned long long)now.memory_kib >> 10);
    EXPECT(now.descriptors <= before->descriptors);
    EXPECT(now.threads <= before->threads + 2);
}

/* ---- sockets ------------------------------------------------------------------------------- */

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    INVARIANT(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    INVARIANT(fd >= 0);
    INVARIANT(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

/* All of @len bytes; false: the other side has closed. To wait for ever is a failure. */
static bool get(int fd, void *buf, size_t len)
{
    uint8_t *at = buf;
    while (len > 0)
    {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n = poll(&ready, 1, WAIT_MS);
        EXPECT(n == 1); /* neither answer nor end: it hangs */
        ssize_t got = n == 1 ? recv(fd, at, len, 0) : 0;
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static bool put(int fd, const void *buf, size_t len)
{
    return send(fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* ---- NBD ----------------------------------------------------------------------------------- */

/* A negotiated connection, or -1: the server hung up. */
static int nbd_dial(const char *export)
{
    struct
    {
        struct be32 client_flags;
        char magic[8];
        struct be32 option, len, name_len;
        char name[4];
    } hello = {.client_flags = be32_put(3), .magic = "IHAVEOPT", .option = be32_put(7)};
    uint8_t buf[256];
    size_t name_len = strlen(export);
    INVARIANT(name_len + 2 <= sizeof(hello.name) + 2 && name_len <= sizeof(hello.name));
    hello.len = be32_put((uint32_t)(4 + name_len + 2));
    hello.name_len = be32_put((uint32_t)name_len);
    memcpy(hello.name, export, name_len);
    int fd = dial(both.server.socket_path);
    uint8_t none[2] = {0};
    bool is_open = get(fd, buf, 18) && put(fd, &hello, 24 + name_len) && put(fd, none, 2);
    while (is_open)
    {
        struct be32 type, len;
        is_open = get(fd, buf, 20);
        memcpy(&type, buf + 12, 4);
        memcpy(&len, buf + 16, 4);
        is_open = is_open && be32_get(len) <= sizeof(buf) && be32_get(type) < 0x80000000u &&
                  get(fd, buf, be32_get(len));
        if (is_open && be32_get(type) == 1) /* NBD_REP_ACK */
            return fd;
    }
    close(fd);
    return -1;
}

static bool nbd_ask(int fd)
{
    struct
    {
        struct be32 magic;
        uint8_t flags_type[4];
        struct be64 handle, offset;
        struct be32 len;
    } request = {.magic = be32_put(0x25609513), .len = be32_put(4096)};
    return put(fd, &request, sizeof(request));
}

static bool nbd_answered(int fd)
{
    uint8_t buf[16 + 4096];
    return get(fd, buf, sizeof(buf)) && memcmp(buf + 4, "\0\0\0\0", 4) == 0;
}

/* More than it takes, idle and then all at once. */
static void storm_nbd_many(void)
{
    AUTO_FREE int *fds = calloc(CLIENTS, sizeof(*fds));
    int taken = 0;
    INVARIANT(fds);
    for (int i = 0; i < CLIENTS; i++)
    {
        fds[i] = nbd_dial("x");
        taken += fds[i] >= 0;
    }
    EXPECT(taken == NBD_TAKEN - 1); /* the witness is one */
    EXPECT(nbd_server_logged(&both.server, "NBD client refused"));
    for (int i = 0; i < CLIENTS; i++)
        EXPECT(fds[i] < 0 || nbd_ask(fds[i]));
    for (int i = 0; i < CLIENTS; i++)
        EXPECT(fds[i] < 0 || nbd_answered(fds[i]));
    get_on();
    both_do(&both, "lun show"); /* management is not affected */
    for (int i = 0; i < CLIENTS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* They connect and say nothing. Their places are free again when they have gone. */
static void storm_nbd_silent(void)
{
    AUTO_FREE int *fds = calloc(CLIENTS, sizeof(*fds));
    INVARIANT(fds);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(both.server.socket_path);
    get_on();
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    int fd = -1;
    for (int i = 0; fd < 0 && i < WAIT_MS / 10; i++)
    {
        fd = nbd_dial("x");
        if (fd < 0)
            usleep(10000);
    }
    EXPECT(fd >= 0);
    close(fd);
}

static void *stormer_nbd(void *opaque)
{
    atomic_uint *served = opaque;
    for (int i = 0; i < STORM_LOGINS; i++)
    {
        int fd = nbd_dial("x");
        if (fd < 0)
            continue;
        if (nbd_ask(fd) && (i % 2 || nbd_answered(fd))) /* every second hangs up at once */
            atomic_fetch_add(served, 1);
        close(fd);
    }
    return NULL;
}

/* How many were served. */
static unsigned storm(void *(*stormer)(void *))
{
    pthread_t threads[STORMERS];
    atomic_uint served = 0;
    for (size_t i = 0; i < STORMERS; i++)
        INVARIANT(pthread_create(&threads[i], NULL, stormer, &served) == 0);
    for (size_t i = 0; i < STORMERS; i++)
        pthread_join(threads[i], NULL);
    get_on();
    return atomic_load(&served);
}

static void storm_nbd_logins(void)
{
    EXPECT(storm(stormer_nbd) == STORMERS * STORM_LOGINS);
}

/* ---- iSCSI --------------------------------------------------------------------------------- */

static const char *source_of(int number, char text[32])
{
    snprintf(text, 32, "127.0.1.%d", number + 1);
    return text;
}

/* A session of its own name for each; at most @EACH of one address. The status; -errno: closed. */
static int iscsi_open(struct raw *raw, int number)
{
    char name[64], source[32];
    snprintf(name, sizeof(name), "iqn.2026-11.test:storm-%d", number);
    raw_connect_from(raw, both.portal, source_of(number / ISCSI_EACH, source));
    return raw_login(raw, name, both.target, "");
}

static void storm_iscsi_half_open(void)
{
    AUTO_FREE struct raw *raws = calloc(CLIENTS, sizeof(*raws));
    char source[32];
    struct raw honest;
    INVARIANT(raws);
    /* One in the middle of its login, before them all. */
    raw_connect(&honest, both.portal);
    for (int i = 0; i < CLIENTS; i++)
    {
        raw_connect_from(&raws[i], both.portal, source_of(0, source));
        if (i % 2)
            ignore_error(raw_send_bytes(&raws[i], "\x43", 1), "it may be one too many");
    }
    EXPECT(raw_login(&honest, BOTH_B, both.target, "") == 0);
    EXPECT(raw_is_alive(&honest));
    raw_close(&honest);
    get_on();
    for (int i = 0; i < CLIENTS; i++)
        raw_close(&raws[i]);
}

static int iscsi_open_all(struct raw *raws)
{
    int taken = 0;
    for (int i = 0; i < CLIENTS; i++)
    {
        int status = iscsi_open(&raws[i], i);
        EXPECT(status == 0 || status == WIRE_LOGIN_OUT_OF_RESOURCES);
        if (status == 0)
            taken++;
        else
            raw_close(&raws[i]);
    }
    return taken;
}

/* More sessions than it takes, idle; then each asks at once; then some of them end in good order.
 */
static void storm_iscsi_sessions(void)
{
    AUTO_FREE struct raw *raws = calloc(CLIENTS, sizeof(*raws));
    static const uint8_t report_luns[16] = {0xA0, [8] = 16};
    INVARIANT(raws);
    int taken = iscsi_open_all(raws);
    EXPECT(taken == ISCSI_SESSIONS - 1);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT(raws[i].fd < 0 ||
               raw_command(&raws[i], WIRE_FINAL | WIRE_CMD_READ, report_luns, 4096, NULL, 0) == 0);
    for (int i = 0; i < CLIENTS; i++)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        EXPECT(raws[i].fd < 0 || raw_recv(&raws[i], &pdu) == 0);
    }
    both_do(&both, "iscsi session show");
    get_on();
    for (int i = 0; i < CLIENTS; i++)
    {
        if (raws[i].fd >= 0 && i % 2)
            EXPECT(raw_logout(&raws[i], 0) == 0);
        raw_close(&raws[i]);
    }
}

/* One address has all that it may have; it gets no more, and others do. */
static void storm_iscsi_source(void)
{
    AUTO_FREE struct raw *raws = calloc(ISCSI_EACH, sizeof(*raws));
    struct raw more;
    char source[32];
    INVARIANT(raws);
    for (int i = 0; i < ISCSI_EACH; i++)
        EXPECT(iscsi_open(&raws[i], i) == 0);
    raw_connect_from(&more, both.portal, source_of(0, source));
    EXPECT(raw_is_closed(&more));
    raw_close(&more);
    EXPECT(iscsi_open(&more, ISCSI_EACH) == 0); /* the next address */
    EXPECT(raw_is_alive(&more));
    raw_close(&more);
    for (int i = 0; i < ISCSI_EACH; i++)
        raw_close(&raws[i]);
}

static atomic_uint stormer_number;

/* All the same initiator and ISID: each ends the one before. Some get no further than that. */
static void *stormer_iscsi_same(void *opaque)
{
    atomic_uint *served = opaque;
    for (int i = 0; i < STORM_LOGINS; i++)
    {
        struct raw raw;
        raw_connect(&raw, both.portal);
        if (raw_login(&raw, "iqn.2026-11.test:same", both.target, "") == 0)
            atomic_fetch_add(served, 1);
        raw_close(&raw);
    }
    return NULL;
}

static void *stormer_iscsi_many(void *opaque)
{
    atomic_uint *served = opaque;
    for (int i = 0; i < STORM_LOGINS; i++)
    {
        struct raw raw;
        int number = (int)atomic_fetch_add(&stormer_number, 1);
        int status = iscsi_open(&raw, number % CLIENTS);
        if (status == 0 && raw_is_alive(&raw) && (i % 2 || raw_logout(&raw, 0) == 0))
            atomic_fetch_add(served, 1);
        raw_close(&raw);
    }
    return NULL;
}

static void *stormer_iscsi_discovery(void *opaque)
{
    atomic_uint *served = opaque;
    for (int i = 0; i < STORM_LOGINS; i++)
    {
        struct raw raw;
        struct wire_text bhs = {.opcode = WIRE_TEXT_REQUEST, .flags = WIRE_FINAL};
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        raw_connect(&raw, both.portal);
        int r = raw_login(&raw, BOTH_A, NULL, "");
        bhs.itt = be32_put(++raw.itt);
        bhs.ttt = be32_put(WIRE_TAG_NONE);
        bhs.cmd_sn = be32_put(raw.cmd_sn++);
        if (r == 0 && raw_send(&raw, &bhs, "SendTargets=All", 16, 0) == 0 &&
            raw_recv(&raw, &pdu) == 0 && raw_opcode(&pdu) == WIRE_TEXT_RESPONSE && pdu.data_len > 0)
            atomic_fetch_add(served, 1);
        raw_close(&raw);
    }
    return NULL;
}

static void storm_iscsi_same(void)
{
    EXPECT(storm(stormer_iscsi_same) > 0);
    struct raw raw;
    raw_connect(&raw, both.portal);
    EXPECT(raw_login(&raw, "iqn.2026-11.test:same", both.target, "") == 0);
    EXPECT(raw_is_alive(&raw));
    raw_close(&raw);
}

static void storm_iscsi_many(void)
{
    EXPECT(storm(stormer_iscsi_many) == STORMERS * STORM_LOGINS);
}

static void storm_iscsi_discovery(void)
{
    EXPECT(storm(stormer_iscsi_discovery) == STORMERS * STORM_LOGINS);
}

/* ---- management ---------------------------------------------------------------------------- */

static char mgmt_path[128];
static const char mgmt_question[] = "{\"id\":1,\"verb\":\"server.status\"}\n";

/* Up to the end of a line. */
static bool mgmt_answer(int fd, char *line, size_t size)
{
    size_t len = 0;
    do
    {
        if (len + 1 == size || !get(fd, line + len, 1))
            return false;
    } while (line[len++] != '\n');
    line[len] = '\0';
    return true;
}

static void storm_mgmt_many(void)
{
    int fds[MGMT_CLIENTS], refused = 0;
    char line[8192];
    for (int i = 0; i < MGMT_CLIENTS; i++)
    {
        fds[i] = dial(mgmt_path);
        if (i < MGMT_TAKEN)
            continue;
        EXPECT(mgmt_answer(fds[i], line, sizeof(line)) && strstr(line, "EAGAIN"));
        refused++;
    }
    EXPECT(refused == MGMT_CLIENTS - MGMT_TAKEN);
    EXPECT(both_try(&both, "lun show") != 0 && strstr(both.said, "try again"));
    get_on();
    for (int i = 0; i < MGMT_TAKEN; i++)
        EXPECT(put(fds[i], mgmt_question, strlen(mgmt_question)));
    for (int i = 0; i < MGMT_TAKEN; i++)
        EXPECT(mgmt_answer(fds[i], line, sizeof(line)) && strstr(line, "\"ok\":true"));
    for (int i = 0; i < MGMT_CLIENTS; i++)
        close(fds[i]);
}

static void *stormer_mgmt(void *opaque)
{
    atomic_uint *served = opaque;
    char line[8192];
    for (int i = 0; i < STORM_LOGINS; i++)
    {
        int fd = dial(mgmt_path);
        if (put(fd, mgmt_question, strlen(mgmt_question)) &&
            (i % 2 || mgmt_answer(fd, line, sizeof(line))))
            atomic_fetch_add(served, 1);
        close(fd);
    }
    return NULL;
}

static void storm_mgmt_calls(void)
{
    EXPECT(storm(stormer_mgmt) > 0);
    both_do(&both, "lun show");
}

/* ---- all of them --------------------------------------------------------------------------- */

static const struct
{
    const char *name;
    void (*run)(void);
} storms[] = {
    {"NBD: too many clients", storm_nbd_many},
    {"NBD: silent clients", storm_nbd_silent},
    {"NBD: one after the other", storm_nbd_logins},
    {"iSCSI: half-open", storm_iscsi_half_open},
    {"iSCSI: too many sessions", storm_iscsi_sessions},
    {"iSCSI: one address", storm_iscsi_source},
    {"iSCSI: logins of one name", storm_iscsi_same},
    {"iSCSI: logins of many names", storm_iscsi_many},
    {"iSCSI: discovery", storm_iscsi_discovery},
    {"management: too many", storm_mgmt_many},
    {"management: calls", storm_mgmt_calls},
};

static void run(unsigned rounds)
{
    witnesses_start(&both);
    get_on();
    struct usage before = usage_now();
    /* The first storm lets grow what libc keeps of threads that have ended. */
    storm_nbd_many();
    usage_comes_back("NBD: too many clients, first", &before);
    uint64_t memory_kib = usage_now().memory_kib;
    for (unsigned round = 0; round < rounds && failures == 0; round++)
        for (size_t i = 0; i < ARRAY_SIZE(storms); i++)
        {
            storms[i].run();
            usage_comes_back(storms[i].name, &before);
        }
    EXPECT(STORM_IS_SANITIZED || usage_now().memory_kib <= memory_kib + MEMORY_KIB);
    EXPECT(witnesses_stop());
}

static const char *limit_word(const char *key, int value)
{
    char *word;
    INVARIANT(asprintf(&word, "%s=%d", key, value) >= 0);
    return word;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    INVARIANT(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max < 4 * NBD_TAKEN + ISCSI_TAKEN)
    {
        printf("SKIP: a process may open %llu files only\n", (unsigned long long)files.rlim_max);
        return 77;
    }
    /* Few threads for each NBD client: a machine has so many only, and others run on it. */
    const char *const options[] = {
        "--threads=2",
        limit_word("nbd-connections", NBD_TAKEN),
        limit_word("iscsi-connections", ISCSI_TAKEN),
        limit_word("iscsi-connections-per-source", ISCSI_EACH),
        limit_word("iscsi-sessions", ISCSI_SESSIONS),
        limit_word("iscsi-half-open", ISCSI_HALF_OPEN),
        NULL,
    };
    both_start_with(&both, "512M", options);
    snprintf(mgmt_path, sizeof(mgmt_path), "%s/mgmt", both.dir);
    both_do(&both, "lun create x 16M");
    run(rounds);
    both_end(&both);
    for (size_t i = 1; options[i]; i++)
        free((char *)options[i]);
    printf("%u checks, %u failed\n", checks, failures);
    return failures > 0;
}
