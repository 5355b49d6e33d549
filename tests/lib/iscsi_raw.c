/* SPDX-License-Identifier: BSD-3-Clause */
/* An iSCSI initiator of single bytes. */
#include "tests/lib/iscsi_raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "server/iscsi/pdu.h"
#include "server/net/listen.h"

/* ---- bytes --------------------------------------------------------------------------------- */

void raw_connect_from(struct raw *raw, const char *address, const char *source)
{
    struct net_address to, from;
    int one = 1;
    *raw = (struct raw){.cmd_sn = 1, .itt = 100, .isid = {0x80, 0, 0, 1, 0, 0}};
    INVARIANT(net_address_parse(address, 3260, &to, NULL) == 0);
    raw->fd = socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    INVARIANT(raw->fd >= 0);
    if (source)
    {
        INVARIANT(net_address_parse(source, 0, &from, NULL) == 0);
        INVARIANT(bind(raw->fd, (struct sockaddr *)&from.storage, from.len) == 0);
    }
    INVARIANT(connect(raw->fd, (struct sockaddr *)&to.storage, to.len) == 0);
    INVARIANT(setsockopt(raw->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
}

void raw_connect(struct raw *raw, const char *address)
{
    raw_connect_from(raw, address, NULL);
}

void raw_close(struct raw *raw)
{
    cleanup_close(&raw->fd);
    raw->fd = -1;
}

int raw_send_bytes(struct raw *raw, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0)
    {
        ssize_t sent = send(raw->fd, at, len, MSG_NOSIGNAL);
        if (sent < 0)
            return -errno;
        at += sent;
        len -= (size_t)sent;
    }
    return 0;
}

static void raw_put_digest(uint8_t *at, uint32_t crc, bool is_bad)
{
    pdu_put_digest(at, is_bad ? ~crc : crc);
}

size_t raw_build(const struct raw *raw, void *bhs, const void *ahs, uint32_t ahs_len,
                 const void *data, uint32_t data_len, unsigned spoil, uint8_t *out, size_t size)
{
    struct wire_bhs *head = bhs;
    INVARIANT(size >= (size_t)WIRE_BHS_BYTES + ahs_len + data_len + 16);
    if (!(spoil & RAW_KEEP_DATA_LEN))
        pdu_put_data_len(head->data_len, data_len);
    head->ahs_words = (uint8_t)(ahs_len / 4);
    uint8_t *at = out;
    memcpy(at, head, WIRE_BHS_BYTES);
    at += WIRE_BHS_BYTES;
    if (ahs_len > 0)
        memcpy(at, ahs, ahs_len);
    at += ahs_len;
    if (raw->header_digest)
    {
        raw_put_digest(at, crc32c(0, out, (size_t)(at - out)), spoil & RAW_SPOIL_HEADER_DIGEST);
        at += WIRE_DIGEST_BYTES;
    }
    if (data_len == 0)
        return (size_t)(at - out);
    uint8_t *start = at;
    memcpy(at, data, data_len);
    at += data_len;
    memset(at, 0, pdu_pad_len(data_len));
    at += pdu_pad_len(data_len);
    if (raw->data_digest)
    {
        raw_put_digest(at, crc32c(0, start, (size_t)(at - start)), spoil & RAW_SPOIL_DATA_DIGEST);
        at += WIRE_DIGEST_BYTES;
    }
    return (size_t)(at - out);
}

int raw_send(struct raw *raw, void *bhs, const void *data, uint32_t data_len, unsigned spoil)
{
    size_t size = WIRE_BHS_BYTES + (size_t)data_len + 16;
    AUTO_FREE uint8_t *out = malloc(size);
    INVARIANT(out);
    size_t len = raw_build(raw, bhs, NULL, 0, data, data_len, spoil, out, size);
    return raw_send_bytes(raw, out, len);
}

static int raw_recv_bytes(struct raw *raw, void *bytes, size_t len)
{
    uint8_t *at = bytes;
    while (len > 0)
    {
        struct pollfd ready = {.fd = raw->fd, .events = POLLIN};
        if (poll(&ready, 1, RAW_WAIT_MS) == 0)
            return -ETIMEDOUT;
        ssize_t got = recv(raw->fd, at, len, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return -EPIPE;
        if (got < 0)
            return -errno;
        at += got;
        len -= (size_t)got;
    }
    return 0;
}

static int raw_recv_data(struct raw *raw, struct raw_pdu *pdu)
{
    uint32_t whole = pdu->data_len + pdu_pad_len(pdu->data_len);
    pdu->data = malloc((size_t)whole + 1);
    INVARIANT(pdu->data);
    int r = raw_recv_bytes(raw, pdu->data, whole);
    if (r < 0 || !raw->data_digest)
    {
        pdu->data[r < 0 ? 0 : pdu->data_len] = 0;
        return r;
    }
    uint8_t digest[WIRE_DIGEST_BYTES];
    r = raw_recv_bytes(raw, digest, sizeof(digest));
    if (r == 0 && !pdu_digest_matches(digest, crc32c(0, pdu->data, whole)))
        r = -EBADMSG;
    pdu->data[pdu->data_len] = 0;
    return r;
}

int raw_recv(struct raw *raw, struct raw_pdu *pdu)
{
    *pdu = (struct raw_pdu){.data_len = 0};
    int r = raw_recv_bytes(raw, pdu->bhs, sizeof(pdu->bhs));
    if (r < 0)
        return r;
    if (raw->header_digest)
    {
        uint8_t digest[WIRE_DIGEST_BYTES];
        r = raw_recv_bytes(raw, digest, sizeof(digest));
        if (r < 0)
            return r;
        if (!pdu_digest_matches(digest, crc32c(0, pdu->bhs, sizeof(pdu->bhs))))
            return -EBADMSG;
    }
    const struct wire_plain_response *any = (const struct wire_plain_response *)pdu->bhs;
    raw->exp_cmd_sn = be32_get(any->exp_cmd_sn);
    raw->max_cmd_sn = be32_get(any->max_cmd_sn);
    if (raw_opcode(pdu) != WIRE_R2T &&
        (raw_opcode(pdu) != WIRE_DATA_IN || pdu->bhs[1] & WIRE_DATA_IN_STATUS))
        raw->exp_stat_sn = be32_get(any->stat_sn) + 1;
    pdu->data_len = pdu_data_len((const struct wire_bhs *)pdu->bhs);
    return pdu->data_len > 0 ? raw_recv_data(raw, pdu) : 0;
}

void raw_pdu_destroy(struct raw_pdu *pdu)
{
    free(pdu->data);
    pdu->data = NULL;
}

bool raw_is_closed(struct raw *raw)
{
    for (;;)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        int r = raw_recv(raw, &pdu);
        if (r < 0)
            return r == -EPIPE;
    }
}

/* ---- login --------------------------------------------------------------------------------- */

int raw_login_send(struct raw *raw, unsigned stage, unsigned next, unsigned flags, const char *text)
{
    struct wire_login_request bhs = {
        .opcode = WIRE_LOGIN_REQUEST | WIRE_IMMEDIATE,
        .flags = (uint8_t)(flags | stage << 2 | next),
        .tsih = be16_put(raw->tsih),
        .itt = be32_put(raw->itt),
        .cmd_sn = be32_put(raw->cmd_sn),
        .exp_stat_sn = be32_put(raw->exp_stat_sn),
    };
    char data[RAW_TEXT_MAX];
    size_t len = strlen(text);
    INVARIANT(len < sizeof(data));
    memcpy(bhs.isid, raw->isid, sizeof(bhs.isid));
    for (size_t i = 0; i < len; i++)
        data[i] = text[i] == '\n' ? '\0' : text[i];
    if (len > 0 && data[len - 1] != '\0')
        data[len++] = '\0';
    return raw_send(raw, &bhs, data, (uint32_t)len, 0);
}

int raw_login_recv(struct raw *raw, uint8_t *flags, char text[RAW_TEXT_MAX])
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    int r = raw_recv(raw, &pdu);
    if (r < 0)
        return r;
    const struct wire_login_response *bhs = (const struct wire_login_response *)pdu.bhs;
    if (raw_opcode(&pdu) != WIRE_LOGIN_RESPONSE || pdu.data_len >= RAW_TEXT_MAX)
        return -EPROTO;
    for (uint32_t i = 0; i < pdu.data_len; i++)
        text[i] = pdu.data[i] ? (char)pdu.data[i] : '\n';
    text[pdu.data_len] = '\0';
    *flags = bhs->flags;
    if (be16_get(bhs->tsih))
        raw->tsih = be16_get(bhs->tsih);
    return be16_get(bhs->status);
}

int raw_login(struct raw *raw, const char *initiator, const char *target, const char *keys)
{
    char text[RAW_TEXT_MAX];
    uint8_t flags;
    snprintf(text, sizeof(text), "InitiatorName=%s\nSessionType=%s\n%s%s%s%s", initiator,
             target ? "Normal" : "Discovery", target ? "TargetName=" : "", target ? target : "",
             target ? "\n" : "", keys);
    int r = raw_login_send(raw, WIRE_STAGE_OPERATIONAL, WIRE_STAGE_FULL_FEATURE, WIRE_LOGIN_TRANSIT,
                           text);
    if (r < 0)
        return r;
    r = raw_login_recv(raw, &flags, text);
    if (r != 0)
        return r;
    if ((flags & (WIRE_LOGIN_TRANSIT | 3)) != (WIRE_LOGIN_TRANSIT | 3))
        return -EPROTO;
    const char *value = raw_text_value(text, "HeaderDigest");
    raw->header_digest = value && strcmp(value, "CRC32C") == 0;
    value = raw_text_value(text, "DataDigest");
    raw->data_digest = value && strcmp(value, "CRC32C") == 0;
    return 0;
}

const char *raw_text_value(const char *text, const char *key)
{
    static _Thread_local char value[RAW_TEXT_MAX];
    size_t key_len = strlen(key);
    while (*text)
    {
        size_t len = strcspn(text, "\n");
        if (len > key_len && memcmp(text, key, key_len) == 0 && text[key_len] == '=')
        {
            memcpy(value, text + key_len + 1, len - key_len - 1);
            value[len - key_len - 1] = '\0';
            return value;
        }
        text += len + (text[len] == '\n');
    }
    return NULL;
}

/* ---- full feature phase -------------------------------------------------------------------- */

int raw_command(struct raw *raw, unsigned flags, const uint8_t cdb[16], uint32_t expected,
                const void *data, uint32_t data_len)
{
    struct wire_scsi_command bhs = {
        .opcode = WIRE_SCSI_COMMAND,
        .flags = (uint8_t)(flags | WIRE_ATTR_SIMPLE),
        .itt = be32_put(++raw->itt),
        .expected_bytes = be32_put(expected),
        .cmd_sn = be32_put(raw->cmd_sn++),
        .exp_stat_sn = be32_put(raw->exp_stat_sn),
    };
    memcpy(bhs.cdb, cdb, sizeof(bhs.cdb));
    return raw_send(raw, &bhs, data, data_len, 0);
}

void raw_cdb_rw(uint8_t cdb[16], bool is_write, uint32_t lba, uint16_t blocks, uint8_t control)
{
    struct be32 lba_field = be32_put(lba);
    struct be16 blocks_field = be16_put(blocks);
    memset(cdb, 0, 16);
    cdb[0] = is_write ? 0x2a : 0x28;
    memcpy(cdb + 2, lba_field.b, 4);
    memcpy(cdb + 7, blocks_field.b, 2);
    cdb[9] = control;
}

int raw_data_out(struct raw *raw, uint32_t itt, uint32_t ttt, uint32_t data_sn, uint32_t offset,
                 bool is_final, const void *data, uint32_t len)
{
    struct wire_data_out bhs = {
        .opcode = WIRE_DATA_OUT,
        .flags = is_final ? WIRE_FINAL : 0,
        .itt = be32_put(itt),
        .ttt = be32_put(ttt),
        .exp_stat_sn = be32_put(raw->exp_stat_sn),
        .data_sn = be32_put(data_sn),
        .offset = be32_put(offset),
    };
    return raw_send(raw, &bhs, data, len, 0);
}

int raw_tmf(struct raw *raw, uint8_t function, uint32_t ref_itt, bool immediate)
{
    struct wire_task_request bhs = {
        .opcode = (uint8_t)(WIRE_TASK_REQUEST | (immediate ? WIRE_IMMEDIATE : 0)),
        .function = WIRE_FINAL | function,
        .itt = be32_put(++raw->itt),
        .ref_itt = be32_put(ref_itt),
        .cmd_sn = be32_put(raw->cmd_sn),
        .exp_stat_sn = be32_put(raw->exp_stat_sn),
    };
    if (!immediate)
        raw->cmd_sn++;
    return raw_send(raw, &bhs, NULL, 0, 0);
}

int raw_nop(struct raw *raw)
{
    struct wire_nop_out bhs = {
        .opcode = WIRE_NOP_OUT | WIRE_IMMEDIATE,
        .flags = WIRE_FINAL,
        .itt = be32_put(++raw->itt),
        .ttt = be32_put(WIRE_TAG_NONE),
        .cmd_sn = be32_put(raw->cmd_sn),
        .exp_stat_sn = be32_put(raw->exp_stat_sn),
    };
    return raw_send(raw, &bhs, NULL, 0, 0);
}

int raw_logout(struct raw *raw, uint8_t reason)
{
    struct wire_logout_request bhs = {
        .opcode = WIRE_LOGOUT_REQUEST | WIRE_IMMEDIATE,
        .reason = WIRE_FINAL | reason,
        .itt = be32_put(++raw->itt),
        .cmd_sn = be32_put(raw->cmd_sn),
        .exp_stat_sn = be32_put(raw->exp_stat_sn),
    };
    return raw_send(raw, &bhs, NULL, 0, 0);
}

bool raw_is_alive(struct raw *raw)
{
    if (raw_nop(raw) < 0)
        return false;
    uint32_t itt = raw->itt;
    for (;;)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        if (raw_recv(raw, &pdu) < 0)
            return false;
        if (raw_opcode(&pdu) == WIRE_NOP_IN &&
            be32_get(((const struct wire_bhs *)pdu.bhs)->itt) == itt)
            return true;
    }
}
