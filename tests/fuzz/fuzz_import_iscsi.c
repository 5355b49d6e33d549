/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `lun import` from an iSCSI target that answers as the input says, through libiscsi.
 *
 * Each PDU that comes gets the right answer, or the right one with bytes of its header changed, or
 * data, residuals, sense, maps and lengths that the input makes up, or others before it, or bytes
 * that are no PDU. When the input is used up the target hangs up.
 *
 * Where an answer is right but for what SCSI says in it, what is imported is what was sent.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/ctl/transfer.h"
#include "server/iscsi/wire.h"
#include "tests/fuzz/fuzz.h"

enum
{
    SIZE_MAX_BYTES = 1 << 20,
    DATA_MAX = 1 << 20,
    BUSY_MAX = 2, /* each costs the client a tenth of a second */
    CDB_INQUIRY = 0x12,
    CDB_READ_16 = 0x88,
    CDB_SERVICE_IN_16 = 0x9e,
    CDB_TEST_READY = 0x00,
    SERVICE_CAPACITY = 0x10,
    SERVICE_MAP = 0x12,
    STATUS_CHECK = 0x02,
};

/*
 * What libiscsi 1.19 loses itself: what it has of a login, and of the TEST UNIT READY that it ends
 * a login with, if the answer is none. It is built without frame pointers, so only the slow way to
 * unwind finds its functions' names.
 */
const char *__lsan_default_suppressions(void);
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:iscsi_full_connect_async\n"
           "leak:iscsi_testunitready_task\n";
}

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

static char folder[] = "/tmp/lunette-fuzz-XXXXXX";
static char destination[64];

struct target
{
    int listener, fd;
    const uint8_t *data;
    size_t len;
    uint32_t stat_sn, busy;
    uint64_t size_bytes;
    uint32_t sector;
    bool is_honest; /* so far nothing was sent that is wrong in iSCSI's own terms */
    bool has_told_holes;
    uint64_t sent_byte; /* what all sectors are full of */
    union
    {
        struct wire_bhs bhs;
        struct wire_scsi_command command;
        struct wire_login_request login;
    } got;
    uint8_t buf[DATA_MAX];
};

static uint64_t take(struct target *target, unsigned bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0 && target->len > 0)
    {
        value = value << 8 | *target->data++;
        target->len--;
    }
    return value;
}

static bool put(struct target *target, const void *bytes, size_t len)
{
    return send(target->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool get(struct target *target, void *bytes, size_t len)
{
    return len == 0 || recv(target->fd, bytes, len, MSG_WAITALL) == (ssize_t)len;
}

/* ---- PDUs ---------------------------------------------------------------------------------- */

static void set_data_len(struct wire_bhs *bhs, uint32_t len)
{
    bhs->data_len[0] = (uint8_t)(len >> 16);
    bhs->data_len[1] = (uint8_t)(len >> 8);
    bhs->data_len[2] = (uint8_t)len;
}

static void set_numbers(struct target *target, struct wire_plain_response *pdu)
{
    uint32_t cmd_sn = be32_get(target->got.command.cmd_sn);
    bool is_immediate = target->got.bhs.opcode & WIRE_IMMEDIATE;
    pdu->itt = target->got.bhs.itt;
    pdu->stat_sn = be32_put(target->stat_sn++);
    pdu->exp_cmd_sn = be32_put(cmd_sn + !is_immediate);
    pdu->max_cmd_sn = be32_put(cmd_sn + 64);
}

/* A PDU with @len bytes of the buffer. @header is 48 bytes with all but its numbers. */
static bool put_pdu(struct target *target, void *header, uint32_t len)
{
    static const uint8_t pad[4] = {0};
    set_data_len(header, len);
    set_numbers(target, header);
    return put(target, header, WIRE_BHS_BYTES) && put(target, target->buf, len) &&
           put(target, pad, -len & 3);
}

/* What must change for the next answer, as the input says: bytes of the header. */
struct patch
{
    unsigned count;
    uint8_t at[4], value[4];
};

/*
 * What is not tried: a redirection, as it would lead libiscsi to any address of the world; R2T and
 * Data-In for what is no SCSI command, as libiscsi 1.19 looks for that one's buffers without
 * asking.
 */
static void leave_out(const struct target *target, void *header)
{
    struct wire_login_response *login = header;
    uint8_t opcode = login->opcode & WIRE_OPCODE_MASK;
    if (opcode == WIRE_LOGIN_RESPONSE && login->status.b[0] == 1)
        login->status.b[0] = 3;
    if ((opcode == WIRE_R2T || opcode == WIRE_DATA_IN) &&
        (target->got.bhs.opcode & WIRE_OPCODE_MASK) != WIRE_SCSI_COMMAND)
        login->opcode = WIRE_ASYNC;
}

static void apply_patch(const struct target *target, const struct patch *patch, void *header)
{
    for (unsigned i = 0; i < patch->count; i++)
        ((uint8_t *)header)[patch->at[i] % WIRE_BHS_BYTES] ^= patch->value[i];
    leave_out(target, header);
}

/* Like put_pdu(), but what is in the header may be anything. */
static bool put_patched(struct target *target, const struct patch *patch, void *header,
                        uint32_t len)
{
    if (patch->count == 0)
        return put_pdu(target, header, len);
    set_data_len(header, len);
    set_numbers(target, header);
    apply_patch(target, patch, header);
    return put(target, header, WIRE_BHS_BYTES) && put(target, target->buf, (len + 3) & ~3u);
}

static bool answer_login(struct target *target, const struct patch *patch)
{
    static const char keys[] = "TargetPortalGroupTag=1\0HeaderDigest=None\0DataDigest=None\0"
                               "InitialR2T=Yes\0ImmediateData=Yes\0MaxBurstLength=262144\0"
                               "FirstBurstLength=65536\0MaxRecvDataSegmentLength=262144\0";
    struct wire_login_response response = {.opcode = WIRE_LOGIN_RESPONSE,
                                           .flags = target->got.login.flags & 0x8f,
                                           .tsih = be16_put(1)};
    memcpy(response.isid, target->got.login.isid, sizeof(response.isid));
    memcpy(target->buf, keys, sizeof(keys) - 1);
    if (patch->count == 0)
        return put_pdu(target, &response, sizeof(keys) - 1);
    /* Text of the input's own, too. */
    uint32_t len = (uint32_t)min_u64(take(target, 1), target->len);
    memcpy(target->buf, target->data, len);
    target->data += len;
    target->len -= len;
    return put_patched(target, patch, &response, len > 0 ? len : sizeof(keys) - 1);
}

static bool answer_status(struct target *target, const struct patch *patch, uint8_t status,
                          uint32_t sense_bytes)
{
    struct wire_scsi_response response = {
        .opcode = WIRE_SCSI_RESPONSE, .flags = WIRE_FINAL, .status = status};
    return put_patched(target, patch, &response, sense_bytes);
}

/* The sense data of a command that is not known, or of the input's. */
static bool answer_sense(struct target *target, const struct patch *patch, bool is_own)
{
    static const uint8_t sense[20] = {0, 18, 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20};
    memcpy(target->buf, sense, sizeof(sense));
    uint32_t len = sizeof(sense);
    if (is_own)
    {
        len = (uint32_t)take(target, 1) % 64;
        for (uint32_t i = 0; i < len; i++)
            target->buf[i] = (uint8_t)take(target, 1);
    }
    return answer_status(target, patch, STATUS_CHECK, len);
}

/* @len bytes of the buffer in PDUs of at most @piece, the last one with the status. */
static bool answer_data(struct target *target, const struct patch *patch, uint32_t len,
                        uint32_t piece, uint32_t residual, uint8_t flags)
{
    uint32_t sn = 0, at = 0;
    do
    {
        uint32_t part = len - at < piece ? len - at : piece;
        bool is_last = at + part == len;
        struct wire_data_in pdu = {.opcode = WIRE_DATA_IN,
                                   .ttt = be32_put(WIRE_TAG_NONE),
                                   .data_sn = be32_put(sn++),
                                   .offset = be32_put(at)};
        if (is_last)
        {
            pdu.flags = WIRE_FINAL | WIRE_DATA_IN_STATUS | flags;
            pdu.residual = be32_put(residual);
        }
        memmove(target->buf, target->buf + (at > 0 ? piece : 0), len - at);
        if (!put_patched(target, is_last ? patch : &(struct patch){0}, &pdu, part))
            return false;
        at += part;
    } while (at < len);
    return true;
}

/* ---- what the unit says of itself ---------------------------------------------------------- */

static uint32_t make_inquiry(struct target *target, const uint8_t *cdb)
{
    memset(target->buf, 0, 64);
    if (!(cdb[1] & 1))
    {
        target->buf[2] = 6;
        target->buf[4] = 31;
        return 36;
    }
    target->buf[1] = cdb[2];
    target->buf[3] = 60;
    if (cdb[2] == 0xb2)
        target->buf[5] = 0xe0;
    return 64;
}

static uint32_t make_capacity(struct target *target)
{
    struct be64 last = be64_put(target->size_bytes / target->sector - 1);
    struct be32 sector = be32_put(target->sector);
    memset(target->buf, 0, 32);
    memcpy(target->buf, &last, sizeof(last));
    memcpy(target->buf + 8, &sector, sizeof(sector));
    target->buf[14] = 0xc0; /* LBPME, LBPRZ */
    return 32;
}

/* Descriptors as the input says: some go on where the last one ended, some anywhere. */
static uint32_t make_map(struct target *target, uint64_t lba, bool is_right)
{
    uint32_t count = is_right ? 1 + (uint32_t)take(target, 1) % 4 : (uint32_t)take(target, 1);
    struct be32 len = be32_put(16 * count + 4);
    memset(target->buf, 0, 8);
    memcpy(target->buf, &len, sizeof(len));
    for (uint32_t i = 0; i < count; i++)
    {
        uint8_t *one = target->buf + 8 + 16 * (size_t)i;
        uint32_t kind = (uint32_t)take(target, 1);
        uint64_t first = is_right || (kind & 3) ? lba : take(target, 8);
        uint64_t blks = kind & 4 ? take(target, 4) : 1 + take(target, 1) % 64;
        struct be64 first_be = be64_put(first);
        struct be32 blks_be = be32_put((uint32_t)blks);
        memset(one, 0, 16);
        memcpy(one, &first_be, sizeof(first_be));
        memcpy(one + 8, &blks_be, sizeof(blks_be));
        one[12] = is_right ? 0 : (uint8_t)(kind >> 4);
        target->has_told_holes |= one[12] == 1 || one[12] == 2;
        lba += blks;
    }
    return 8 + 16 * count;
}

/* What is right for the CDB: its bytes in the buffer. False: none. */
static bool make_data(struct target *target, const uint8_t *cdb, bool is_right, uint32_t *len)
{
    const struct wire_scsi_command *command = &target->got.command;
    uint64_t lba = 0;
    for (unsigned i = 0; i < 8; i++)
        lba = lba << 8 | cdb[2 + i];
    if (cdb[0] == CDB_INQUIRY)
        *len = make_inquiry(target, cdb);
    else if (cdb[0] == CDB_SERVICE_IN_16 && (cdb[1] & 0x1f) == SERVICE_CAPACITY)
        *len = make_capacity(target);
    else if (cdb[0] == CDB_SERVICE_IN_16 && (cdb[1] & 0x1f) == SERVICE_MAP)
        *len = make_map(target, lba, is_right);
    else if (cdb[0] == CDB_READ_16)
    {
        *len = (uint32_t)min_u64(be32_get(command->expected_bytes), DATA_MAX);
        memset(target->buf, (int)target->sent_byte, *len);
    }
    else
        return false;
    return true;
}

static bool answer_command(struct target *target, const struct patch *patch)
{
    const uint8_t *cdb = target->got.command.cdb;
    uint32_t expected = be32_get(target->got.command.expected_bytes), len = 0;
    if (cdb[0] == CDB_TEST_READY)
        return answer_status(target, patch, 0, 0);
    if (!make_data(target, cdb, true, &len))
        return answer_sense(target, patch, false);
    len = len < expected ? len : expected;
    uint32_t missing = expected - len;
    return answer_data(target, patch, len, 8192, missing, missing > 0 ? WIRE_RSP_UNDERFLOW : 0);
}

/* Right iSCSI, and whatever the input makes of the rest. */
static bool answer_odd_command(struct target *target)
{
    const struct patch none = {0};
    const uint8_t *cdb = target->got.command.cdb;
    uint32_t kind = (uint32_t)take(target, 1), len = 0;
    if (kind % 8 == 0)
        return answer_sense(target, &none, ++target->busy <= BUSY_MAX);
    if (kind % 8 == 1)
    {
        uint8_t status = (uint8_t)take(target, 1);
        bool is_busy = status != 0 && status != STATUS_CHECK && ++target->busy > BUSY_MAX;
        return answer_status(target, &none, is_busy ? STATUS_CHECK : status, 0);
    }
    if (!make_data(target, cdb, false, &len))
        return answer_command(target, &none);
    if (kind % 8 == 2) /* bytes of the input's own at the start */
    {
        uint32_t own = (uint32_t)take(target, 1) % 64;
        for (uint32_t i = 0; i < own; i++)
            target->buf[i] = (uint8_t)take(target, 1);
        target->is_honest &= cdb[0] != CDB_READ_16;
    }
    if (kind & 0x10) /* more or less of it */
        len = (uint32_t)(take(target, 3) % (DATA_MAX / 2));
    uint8_t flags = (uint8_t)((kind >> 5 & 3) << 1); /* residual: over, under, both */
    uint32_t residual = flags ? (uint32_t)take(target, 4) : 0;
    return answer_data(target, &none, len, kind & 0x80 ? 512 : 65536, residual, flags);
}

/* ---- one answer ---------------------------------------------------------------------------- */

static bool answer_right(struct target *target, const struct patch *patch)
{
    static const uint8_t replies[] = {[WIRE_NOP_OUT] = WIRE_NOP_IN,
                                      [WIRE_TASK_REQUEST] = WIRE_TASK_RESPONSE,
                                      [WIRE_TEXT_REQUEST] = WIRE_TEXT_RESPONSE,
                                      [WIRE_LOGOUT_REQUEST] = WIRE_LOGOUT_RESPONSE};
    uint8_t opcode = target->got.bhs.opcode & WIRE_OPCODE_MASK;
    if (opcode == WIRE_LOGIN_REQUEST)
        return answer_login(target, patch);
    if (opcode == WIRE_SCSI_COMMAND)
        return answer_command(target, patch);
    if (opcode >= sizeof(replies) || (opcode != WIRE_NOP_OUT && replies[opcode] == 0))
        return false;
    if (opcode == WIRE_NOP_OUT && be32_get(target->got.bhs.itt) == WIRE_TAG_NONE)
        return true; /* it answers ours */
    struct wire_plain_response response = {
        .opcode = replies[opcode], .flags = WIRE_FINAL, .ttt = be32_put(WIRE_TAG_NONE)};
    return put_patched(target, patch, &response, 0);
}

/* One that was not asked for, of an opcode and with a header as the input has it. */
static bool put_stray(struct target *target)
{
    static const uint8_t kinds[] = {WIRE_NOP_IN,  WIRE_SCSI_RESPONSE, WIRE_TASK_RESPONSE,
                                    WIRE_DATA_IN, WIRE_R2T,           WIRE_ASYNC,
                                    WIRE_REJECT,  WIRE_TEXT_RESPONSE};
    uint8_t header[WIRE_BHS_BYTES] = {0};
    struct wire_bhs *bhs = (void *)header;
    bhs->opcode = kinds[take(target, 1) % ARRAY_SIZE(kinds)];
    uint32_t how = (uint32_t)take(target, 1), len = (uint32_t)take(target, 1);
    bhs->flags = (uint8_t)take(target, 1);
    for (unsigned i = 20; i < WIRE_BHS_BYTES; i++)
        header[i] = how & 1 ? (uint8_t)take(target, 1) : 0;
    bhs->itt = how & 2 ? target->got.bhs.itt : be32_put(WIRE_TAG_NONE);
    memset(target->buf, (int)how, 256);
    set_data_len(bhs, len);
    leave_out(target, header);
    return put(target, header, sizeof(header)) && put(target, target->buf, (len + 3) & ~3u);
}

static bool answer(struct target *target)
{
    uint64_t how = take(target, 1);
    struct patch patch = {0};
    bool is_command = (target->got.bhs.opcode & WIRE_OPCODE_MASK) == WIRE_SCSI_COMMAND;
    switch (how % 8)
    {
    case 0: /* wrong in some bytes */
        patch.count = 1 + (how >> 3) % ARRAY_SIZE(patch.at);
        for (unsigned i = 0; i < patch.count; i++)
        {
            patch.at[i] = (uint8_t)take(target, 1);
            patch.value[i] = (uint8_t)take(target, 1);
        }
        target->is_honest = false;
        return answer_right(target, &patch);
    case 1: /* with others before it */
        target->is_honest = false;
        for (uint64_t i = 0; i <= how >> 6; i++)
        {
            if (!put_stray(target))
                return false;
        }
        return answer_right(target, &patch);
    case 2:
        target->is_honest = false;
        memset(target->buf, (int)take(target, 1), 256);
        return put(target, target->buf, 1 + take(target, 1));
    case 3:
    case 4:
        return is_command ? answer_odd_command(target) : answer_right(target, &patch);
    default:
        return answer_right(target, &patch);
    }
}

static bool get_request(struct target *target)
{
    const struct wire_bhs *bhs = &target->got.bhs;
    if (!get(target, &target->got, WIRE_BHS_BYTES))
        return false;
    uint32_t len = (uint32_t)bhs->data_len[0] << 16 | (uint32_t)bhs->data_len[1] << 8 |
                   (uint32_t)bhs->data_len[2];
    len = ((len + 3) & ~3u) + bhs->ahs_words * 4u;
    return len <= DATA_MAX && get(target, target->buf, len);
}

/* Without leaving the connection in TIME_WAIT: there are thousands of them in a minute. */
static void hang_up(struct target *target)
{
    const struct linger at_once = {.l_onoff = 1};
    shutdown(target->fd, SHUT_WR);
    while (recv(target->fd, target->buf, DATA_MAX, 0) > 0)
        continue;
    INVARIANT(setsockopt(target->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
    close(target->fd);
}

static void *serve(void *opaque)
{
    struct target *target = opaque;
    /* Half an answer leaves both sides waiting; the client would do so for half a minute. */
    const struct timeval patience = {.tv_usec = 50000};
    const int now = 1;
    target->fd = accept(target->listener, NULL, NULL);
    close(target->listener); /* who is sent here once more is refused */
    if (target->fd < 0)
        return NULL;
    INVARIANT(setsockopt(target->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
              setsockopt(target->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
              setsockopt(target->fd, IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now)) == 0);
    while (target->len > 0 && get_request(target) && answer(target))
        continue;
    hang_up(target);
    return NULL;
}

/* ---- the import ---------------------------------------------------------------------------- */

static void fuzz_tidy(void)
{
    unlink(destination);
    rmdir(folder);
}

static void fuzz_init(void)
{
    INVARIANT(mkdtemp(folder));
    snprintf(destination, sizeof(destination), "%s/raw", folder);
    log_set_level(LOG_LEVEL_ERROR);
    atexit(fuzz_tidy);
}

/* A port of its own for each, so that nobody comes to a target that is not its own. */
static void start_target(struct target *target, char *uri, size_t uri_size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    target->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    INVARIANT(target->listener >= 0 &&
              bind(target->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(target->listener, 1) == 0 &&
              getsockname(target->listener, (struct sockaddr *)&address, &len) == 0);
    snprintf(uri, uri_size, "iscsi://127.0.0.1:%u/iqn.2024-01.example:disk/0",
             ntohs(address.sin_port));
}

/* Each byte is one that was sent, or zero where the target told of holes. */
static void check_bytes(const struct target *target, const struct transfer_result *result)
{
    FILE *file = fopen(destination, "rb");
    INVARIANT(file);
    static uint8_t bytes[65536];
    uint64_t total = 0;
    for (size_t got; (got = fread(bytes, 1, sizeof(bytes), file)) > 0; total += got)
    {
        for (size_t i = 0; i < got; i++)
            INVARIANT(bytes[i] == target->sent_byte || (bytes[i] == 0 && target->has_told_holes));
    }
    fclose(file);
    INVARIANT(total == result->total_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct target target;
    struct transfer_result result;
    struct reason why;
    pthread_t thread;
    char uri[128];
    if (!destination[0])
        fuzz_init();
    if (size < 8 || size > 65536)
        return 0;
    target.data = data + 1;
    target.len = size - 1;
    target.stat_sn = target.busy = 0;
    target.is_honest = true;
    target.has_told_holes = false;
    target.sector = 512u << take(&target, 1) % 4;
    target.size_bytes = (1 + take(&target, 2)) * target.sector % SIZE_MAX_BYTES;
    target.sent_byte = take(&target, 1);
    start_target(&target, uri, sizeof(uri));
    INVARIANT(pthread_create(&thread, NULL, serve, &target) == 0);
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
    if (r == 0 && target.is_honest)
        check_bytes(&target, &result);
    return 0;
}
