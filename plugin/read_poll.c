/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker of nbdkit that waits for the next request stays awake for a moment if the last ones came
 * that soon. Preloaded with hangup_guard.c, and like it only for the reads of nbdkit itself.
 *
 * To sleep on an idle processor and to be woken takes longer than a request of 4 KiB does: a client
 * that asks for one thing after another gets half as many again. So it is done for one connection
 * that is alone, and has one request at a time. Where there are others, processors are not idle,
 * and a thread that stays awake takes from them: two such clients would get half as much. Nor is it
 * done for the data of a write, which the client is sending, on one processor, or while a request
 * is answered that waits for the disk (a flush, FUA): that takes longer, and says nothing about how
 * soon the client comes.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "plugin/hangup_guard.h"
#include "plugin/hangup_guard_internal.h"

enum
{
    READ_POLL_NS = 40000,
    READ_ALONE_NS = 1000000, /* since another descriptor was read */
    READ_FORGET_NS = 1000000000,
    READ_WHOLE_BYTES = 64 << 10,
    READ_POLL_SLOTS = 4096, /* descriptors that are alike in this are one here */
    /* Of struct nbd_request: its flags and its type, in the order of the network. */
    READ_FLAGS_AT = 4,
    READ_TYPE_AT = 6,
    READ_CMD_FLUSH = 3,
    READ_CMD_FLAG_FUA = 1,
};

/* By descriptor: the last wait was shorter than READ_POLL_NS. A wrong guess costs one such time. */
static atomic_bool read_was_soon[READ_POLL_SLOTS];

/* By descriptor: requests without a reply, as far as can be seen. Too many: nobody stays awake. */
static atomic_int read_in_flight[READ_POLL_SLOTS];

/* By descriptor: the last request waits for the disk. */
static atomic_bool read_syncs[READ_POLL_SLOTS];

static atomic_int read_last_fd;
static atomic_ullong read_changed_ns; /* when that was another the last time */
static atomic_int read_processors;    /* 0: not known yet */
static atomic_ulong read_poll_hits;

GUARD_EXPORT unsigned long lunette_read_poll_hits(void)
{
    return atomic_load(&read_poll_hits);
}

static int read_count_processors(void)
{
    int count = atomic_load_explicit(&read_processors, memory_order_relaxed);
    if (count != 0)
        return count;
    cpu_set_t cpus;
    count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    atomic_store(&read_processors, count);
    return count;
}

static uint64_t read_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool read_would_wait(ssize_t r)
{
    return r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static ssize_t read_now(int fd, void *buf, size_t len)
{
    return read_ahead_recv(fd, buf, len, MSG_DONTWAIT);
}

static atomic_int *read_in_flight_of(int fd)
{
    return &read_in_flight[(unsigned)fd % READ_POLL_SLOTS];
}

void read_poll_note_reply(int fd)
{
    if (fd >= 0 && atomic_load_explicit(read_in_flight_of(fd), memory_order_relaxed) > 0)
        atomic_fetch_sub_explicit(read_in_flight_of(fd), 1, memory_order_relaxed);
}

void read_poll_end(int fd)
{
    if (fd < 0)
        return;
    unsigned slot = (unsigned)fd % READ_POLL_SLOTS;
    atomic_store_explicit(&read_was_soon[slot], false, memory_order_relaxed);
    atomic_store_explicit(&read_syncs[slot], false, memory_order_relaxed);
    atomic_store_explicit(&read_in_flight[slot], 0, memory_order_relaxed);
}

/* As the NBD protocol has it, both numbers of 16 bits. */
static bool read_is_sync(const uint8_t *request)
{
    return (request[READ_FLAGS_AT + 1] & READ_CMD_FLAG_FUA) != 0 ||
           (request[READ_TYPE_AT] == 0 && request[READ_TYPE_AT + 1] == READ_CMD_FLUSH);
}

static ssize_t read_note_request(int fd, const void *buf, ssize_t r)
{
    if (r != GUARD_REQUEST_BYTES)
        return r;
    atomic_fetch_add_explicit(read_in_flight_of(fd), 1, memory_order_relaxed);
    atomic_store_explicit(&read_syncs[(unsigned)fd % READ_POLL_SLOTS], read_is_sync(buf),
                          memory_order_relaxed);
    return r;
}

static void read_note(int fd)
{
    if (atomic_load_explicit(&read_last_fd, memory_order_relaxed) == fd)
        return;
    atomic_store_explicit(&read_last_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&read_changed_ns, read_clock_ns(), memory_order_relaxed);
}

/* Whether nobody but @fd is read, as far as can be seen at @now_ns, and that one request at most is
 * being answered. */
static bool read_is_alone(int fd, uint64_t now_ns)
{
    return atomic_load_explicit(&read_last_fd, memory_order_relaxed) == fd &&
           atomic_load_explicit(read_in_flight_of(fd), memory_order_relaxed) <= 1 &&
           now_ns > atomic_load_explicit(&read_changed_ns, memory_order_relaxed) + READ_ALONE_NS;
}

/* As read_now(), for READ_POLL_NS from @now_ns at most, and as long as @fd is alone. */
static ssize_t read_poll(int fd, void *buf, size_t len, uint64_t now_ns)
{
    ssize_t r;
    uint64_t end_ns = now_ns + READ_POLL_NS;
    do
    {
        r = read_now(fd, buf, len);
        now_ns = read_clock_ns();
    } while (read_would_wait(r) && now_ns < end_ns && read_is_alone(fd, now_ns));
    if (!read_would_wait(r))
        atomic_fetch_add_explicit(&read_poll_hits, 1, memory_order_relaxed);
    return r;
}

GUARD_EXPORT ssize_t read(int fd, void *buf, size_t len)
{
    if (fd < 0 || !guard_is_nbdkits(__builtin_return_address(0)))
        return syscall(SYS_read, fd, buf, len);
    send_join_flush();
    size_t taken = read_ahead_take(fd, buf, len);
    if (taken > 0)
        return read_note_request(fd, buf, (ssize_t)taken);
    /* The data of a large write is longer than a socket holds: one call waits for all of it. */
    bool is_large = len > READ_WHOLE_BYTES;
    ssize_t r = is_large ? recvfrom(fd, buf, len, MSG_WAITALL, NULL, NULL) : read_now(fd, buf, len);
    if (r < 0 && errno == ENOTSOCK)
        return syscall(SYS_read, fd, buf, len);
    if (is_large)
        return r;
    uint64_t begun_ns = read_would_wait(r) ? read_clock_ns() : 0;
    read_note(fd);
    if (!read_would_wait(r))
        return read_note_request(fd, buf, r);
    atomic_bool *was_soon = &read_was_soon[(unsigned)fd % READ_POLL_SLOTS];
    bool syncs =
        atomic_load_explicit(&read_syncs[(unsigned)fd % READ_POLL_SLOTS], memory_order_relaxed);
    bool may_poll = !syncs && len <= GUARD_REQUEST_BYTES && read_count_processors() > 1 &&
                    atomic_load_explicit(was_soon, memory_order_relaxed);
    if (may_poll && read_is_alone(fd, begun_ns))
        r = read_poll(fd, buf, len, begun_ns);
    if (read_would_wait(r))
        r = read_ahead_recv(fd, buf, len, 0);
    uint64_t took_ns = read_clock_ns() - begun_ns;
    if (!syncs)
        atomic_store_explicit(was_soon, took_ns < READ_POLL_NS, memory_order_relaxed);
    if (took_ns > READ_FORGET_NS) /* nobody is answered any more */
        atomic_store_explicit(read_in_flight_of(fd), 0, memory_order_relaxed);
    return read_note_request(fd, buf, r);
}
