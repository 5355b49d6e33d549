/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI target on a pool of its own, and a host that sends it commands without a transport.
 *
 * The pool has two LUNs, "disk" (LUN 0) and "other" (LUN 1), mapped to igroup "hosts" with the
 * initiators HOST_A, HOST_B and HOST_C.
 */
#ifndef TESTS_UNIT_SCSI_HOST_H
#define TESTS_UNIT_SCSI_HOST_H

#include <CUnit/CUnit.h>

#include "server/access.h"
#include "server/scsi/scsi.h"

#define HOST_A "iqn.2001-04.com.example:a"
#define HOST_B "iqn.2001-04.com.example:b"
#define HOST_C "iqn.2001-04.com.example:c"

enum
{
    HOST_LUN_BYTES = 64 << 20,
    HOST_IN_BYTES = 1 << 20,
};

struct scsi_host
{
    char folder[64];
    char path[96];
    uint32_t sector_bytes;
    struct pool *pool;
    struct access *access;
    struct qos *qos;
    struct scsi_target *target;
};

/* Aborts the test program if anything fails: there is nothing to test then. */
void host_start(struct scsi_host *host, uint32_t sector_bytes);
/* Ends the target and the pool, and opens both again, as after a crash of the server. */
void host_restart(struct scsi_host *host);
void host_stop(struct scsi_host *host);

/* A nexus; its unit attentions are taken with host_clear(). */
struct scsi_nexus *host_login(struct scsi_host *host, const char *initiator, uint8_t isid);

struct outcome
{
    uint8_t status, key, asc, ascq;
    bool has_information;
    uint64_t information;
    int field_byte; /* of a field pointer; -1: none */
    int64_t residual;
    size_t len; /* of in[] */
    uint8_t in[HOST_IN_BYTES];
};

/* How a command is sent; the rest of struct outcome is its result. */
struct sending
{
    uint32_t lun;
    const void *cdb;
    size_t cdb_len;
    const void *out;
    size_t out_len; /* sent and announced */
    size_t in_len;  /* announced */
};

/* Runs one command to its end. The result is static: good until the next call. */
const struct outcome *host_send(struct scsi_nexus *nexus, const struct sending *sending);

/* The same for LUN 0 with Data-In, Data-Out or neither. @cdb is an array. */
#define host_in(nexus, room, ...) host_simple(nexus, NULL, 0, room, CDB(__VA_ARGS__))
#define host_out(nexus, bytes, len, ...) host_simple(nexus, bytes, len, 0, CDB(__VA_ARGS__))
#define host_none(nexus, ...) host_simple(nexus, NULL, 0, 0, CDB(__VA_ARGS__))
#define CDB(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})
const struct outcome *host_simple(struct scsi_nexus *nexus, const void *out, size_t out_len,
                                  size_t in_len, const uint8_t *cdb, size_t cdb_len);

/* TEST UNIT READY until it is good: takes all unit attentions of a LUN. Returns how many. */
unsigned host_clear(struct scsi_nexus *nexus, uint32_t lun);
/* READ(10) and WRITE(10) of LUN 0. */
const struct outcome *host_read(struct scsi_nexus *nexus, uint32_t lba, uint16_t blocks,
                                uint32_t sector_bytes);
const struct outcome *host_write(struct scsi_nexus *nexus, uint32_t lba, uint16_t blocks,
                                 const void *bytes, uint32_t sector_bytes);

/* Fills in what a transport would; for tests that take the steps themselves. */
void host_fill_task(struct scsi_task *task, struct scsi_nexus *nexus,
                    const struct sending *sending);
/* Buffers of such a task, once scsi_task_begin() told the lengths. */
void host_give_buffers(struct scsi_task *task, const struct sending *sending);

#define CHECK_STATUS(got, wanted)                                                                  \
    do                                                                                             \
    {                                                                                              \
        CU_ASSERT_EQUAL((got)->status, wanted);                                                    \
    } while (0)
#define CHECK_GOOD(got) CHECK_STATUS(got, SCSI_GOOD)
#define CHECK_SENSE(got, the_key, the_asc, the_ascq)                                               \
    do                                                                                             \
    {                                                                                              \
        const struct outcome *got_ = (got);                                                        \
        CU_ASSERT_EQUAL(got_->status, SCSI_CHECK_CONDITION);                                       \
        CU_ASSERT_EQUAL(got_->key, the_key);                                                       \
        CU_ASSERT_EQUAL(got_->asc, the_asc);                                                       \
        CU_ASSERT_EQUAL(got_->ascq, the_ascq);                                                     \
    } while (0)
#define CHECK_INVALID_CDB(got) CHECK_SENSE(got, 5, 0x24, 0)
#define CHECK_CONFLICT(got) CHECK_STATUS(got, SCSI_RESERVATION_CONFLICT)

#endif
