/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `lun import` from an NBD server that answers as the input says. The negotiation is right, but for
 * the export's size; then each request gets an answer that the input makes up: data, holes, maps,
 * errors, with right or wrong lengths, offsets and flags, or bytes that are no answer. When the
 * input is used up the server hangs up.
 *
 * What parses images (qcow2, VMDK, ...) is a qemu-nbd of its own process, and what comes of it goes
 * through here, too.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/endian.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/ctl/transfer.h"
#include "tests/fuzz/fuzz.h"

enum
{
    OPTION_ABORT = 2,
    OPTION_GO = 7,
    OPTION_STRUCTURED = 8,
    OPTION_LIST_META = 9,
    OPTION_SET_META = 10,
    REPLY_ACK = 1,
    REPLY_INFO = 3,
    REPLY_META = 4,
    COMMAND_READ = 0,
    COMMAND_DISCONNECT = 2,
    COMMAND_STATUS = 7,
    CHUNK_DONE = 1,
    CHUNK_NONE = 0,
    CHUNK_DATA = 1,
    CHUNK_HOLE = 2,
    CHUNK_STATUS = 5,
    CHUNK_ERROR = 0x8001,
    SIZE_MAX_BYTES = 4 << 20,
    PAYLOAD_MAX = 1 << 20,
};

static char folder[] = "/tmp/lunette-fuzz-XXXXXX";
static char socket_path[64], uri[128], destination[64];
static int listener = -1;

struct server
{
    int fd;
    const uint8_t *data;
    size_t len;
    uint8_t buf[PAYLOAD_MAX];
};

static uint64_t take(struct server *server, unsigned bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0 && server->len > 0)
    {
        value = value << 8 | *server->data++;
        server->len--;
    }
    return value;
}

static bool put(struct server *server, const void *bytes, size_t len)
{
    return send(server->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool get(struct server *server, void *bytes, size_t len)
{
    return len == 0 || recv(server->fd, bytes, len, MSG_WAITALL) == (ssize_t)len;
}

/* ---- negotiation --------------------------------------------------------------------------- */

static bool reply(struct server *server, uint32_t option, uint32_t type, const void *payload,
                  uint32_t len)
{
    struct
    {
        struct be64 magic;
        struct be32 option, type, len;
    } head = {be64_put(UINT64_C(0x3e889045565a9)), be32_put(option), be32_put(type), be32_put(len)};
    return put(server, &head, sizeof(head)) && put(server, payload, len);
}

static bool answer_go(struct server *server, uint32_t option)
{
    struct
    {
        struct be16 type;
        struct be64 size;
        struct be16 flags;
    } info = {.flags = be16_put(1 | 1 << 1)};
    uint64_t size = take(server, 3);
    info.size = be64_put(size == 0xFFFFFF ? UINT64_MAX : size % SIZE_MAX_BYTES);
    return reply(server, option, REPLY_INFO, &info, sizeof(info)) &&
           reply(server, option, REPLY_ACK, "", 0);
}

/* True: the client may send requests now. */
static bool negotiate(struct server *server)
{
    static const char greeting[] = "NBDMAGICIHAVEOPT\0\3";
    static const char context[] = "\0\0\0\1base:allocation";
    struct be32 flags;
    if (!put(server, greeting, 18) || !get(server, &flags, sizeof(flags)))
        return false;
    for (;;)
    {
        struct
        {
            struct be64 magic;
            struct be32 option, len;
        } head;
        if (!get(server, &head, sizeof(head)) || be32_get(head.len) > PAYLOAD_MAX ||
            !get(server, server->buf, be32_get(head.len)))
            return false;
        uint32_t option = be32_get(head.option);
        bool is_sent = true;
        if (option == OPTION_GO)
            return answer_go(server, option);
        if (option == OPTION_LIST_META || option == OPTION_SET_META)
            is_sent = reply(server, option, REPLY_META, context, sizeof(context) - 1);
        bool is_known = option == OPTION_STRUCTURED || option == OPTION_LIST_META ||
                        option == OPTION_SET_META || option == OPTION_ABORT;
        if (!is_sent || !reply(server, option, is_known ? REPLY_ACK : 0x80000001u, "", 0) ||
            option == OPTION_ABORT)
            return false;
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

struct nbd_request
{
    struct be32 magic;
    struct be16 flags, type;
    uint8_t handle[8];
    struct be64 offset;
    struct be32 len;
};

static bool chunk(struct server *server, const struct nbd_request *request, uint32_t flags,
                  uint32_t type, uint32_t len)
{
    struct
    {
        struct be32 magic;
        struct be16 flags, type;
        uint8_t handle[8];
        struct be32 len;
    } head = {be32_put(0x668e33ef),
              be16_put((uint16_t)flags),
              be16_put((uint16_t)type),
              {0},
              be32_put(len)};
    memcpy(head.handle, request->handle, sizeof(head.handle));
    return put(server, &head, sizeof(head)) &&
           put(server, server->buf, len < PAYLOAD_MAX ? len : 0);
}

static bool answer_right(struct server *server, const struct nbd_request *request)
{
    uint32_t len = be32_get(request->len);
    memset(server->buf, (int)take(server, 1), sizeof(server->buf));
    if (be16_get(request->type) == COMMAND_READ && len <= PAYLOAD_MAX - 8)
    {
        memcpy(server->buf, &request->offset, 8);
        return chunk(server, request, CHUNK_DONE, CHUNK_DATA, 8 + len);
    }
    if (be16_get(request->type) != COMMAND_STATUS)
        return chunk(server, request, CHUNK_DONE, CHUNK_NONE, 0);
    const struct be32 status[] = {be32_put(1), request->len, be32_put(0)};
    memcpy(server->buf, status, sizeof(status));
    return chunk(server, request, CHUNK_DONE, CHUNK_STATUS, sizeof(status));
}

/* Of any kind, with a payload of the input's and perhaps the right offset before it. */
static bool answer_wrong(struct server *server, const struct nbd_request *request)
{
    static const uint16_t kinds[] = {CHUNK_NONE,  CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS,
                                     CHUNK_ERROR, 0x8002,     6,          0x7FFF};
    uint32_t type = kinds[take(server, 1) % ARRAY_SIZE(kinds)], flags = (uint32_t)take(server, 1);
    uint32_t said = (uint32_t)take(server, 2),
             given = said < server->len ? said : (uint32_t)server->len;
    memcpy(server->buf, server->data, given);
    server->data += given;
    server->len -= given;
    if (flags & 2 && said >= 8 && type != CHUNK_STATUS)
        memcpy(server->buf, &request->offset, 8);
    if (flags & 4 && said >= 12)
        memcpy(server->buf + 8, &request->len, 4);
    if (type == CHUNK_STATUS && said >= 4)
        memcpy(server->buf, "\0\0\0\1", 4);
    return chunk(server, request, flags & 1, type, said);
}

static bool answer(struct server *server, const struct nbd_request *request)
{
    uint8_t simple[16] = {0x67, 0x44, 0x66, 0x98};
    switch (take(server, 1) % 8)
    {
    case 0:
        memcpy(simple + 8, request->handle, 8);
        simple[7] = (uint8_t)take(server, 1);
        return put(server, simple, sizeof(simple));
    case 1:
        memset(server->buf, (int)take(server, 1), 32);
        return put(server, server->buf, 1 + take(server, 1) % 32);
    case 2:
    case 3:
    case 4:
        return answer_wrong(server, request);
    default:
        return answer_right(server, request);
    }
}

static void *serve(void *opaque)
{
    struct server *server = opaque;
    /* Half an answer leaves both sides waiting; the client would do so for a minute and a half. */
    const struct timeval patience = {.tv_usec = 50000};
    server->fd = accept(listener, NULL, NULL);
    INVARIANT(server->fd >= 0 &&
              setsockopt(server->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    bool is_open = negotiate(server);
    while (is_open && server->len > 0)
    {
        struct nbd_request request;
        is_open = get(server, &request, sizeof(request)) &&
                  be16_get(request.type) != COMMAND_DISCONNECT && answer(server, &request);
    }
    close(server->fd);
    return NULL;
}

static void fuzz_tidy(void)
{
    unlink(destination);
    unlink(socket_path);
    rmdir(folder);
}

static void fuzz_init(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    INVARIANT(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/nbd", folder);
    snprintf(destination, sizeof(destination), "%s/raw", folder);
    snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", socket_path);
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    INVARIANT(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(listener, 16) == 0);
    log_set_level(LOG_LEVEL_ERROR);
    atexit(fuzz_tidy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct server server;
    struct transfer_result result;
    struct reason why;
    pthread_t thread;
    if (listener < 0)
        fuzz_init();
    if (size < 4 || size > 65536)
        return 0;
    server.fd = -1;
    server.data = data + 1;
    server.len = size - 1;
    INVARIANT(pthread_create(&thread, NULL, serve, &server) == 0);
    const struct transfer_options options = {
        .source = uri,
        .destination = destination,
        .destination_format = "raw",
        .overwrite = true,
        .depth = 1 + data[0] % 8,
        .block_bytes = 4096u << (data[0] >> 3) % 4,
        .connections = 1,
        .ignore_map = data[0] & 0x80,
        .keep_zeros = data[0] & 0x40,
        .retries = TRANSFER_NO_RETRIES,
    };
    reason_clear(&why);
    int r = transfer_run(&options, &result, &why);
    pthread_join(thread, NULL);
    /* What is said to be done adds up. */
    INVARIANT(r != 0 || result.read_bytes + result.hole_bytes == result.total_bytes);
    INVARIANT(r != 0 || result.written_bytes + result.zeroed_bytes + result.skipped_bytes ==
                            result.total_bytes);
    return 0;
}
