/* SPDX-License-Identifier: BSD-3-Clause */
/* An iSCSI target in this process, on a SCSI layer in memory, and clients of single bytes to it. */
#ifndef TESTS_E2E_ISCSI_FIXTURE_H
#define TESTS_E2E_ISCSI_FIXTURE_H

#include "server/iscsi/portal.h"
#include "tests/lib/fake_scsi.h"
#include "tests/lib/iscsi_raw.h"

#define FIXTURE_TARGET "iqn.2026-11.io.lunette:fake"
#define FIXTURE_INITIATOR "iqn.2026-11.test:one"
/* What lets unsolicited data through. */
#define FIXTURE_KEYS "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144"

struct fixture
{
    struct scsi_target *scsi;
    struct access *access;
    struct iscsi_server *server;
};

/* @limits and @chap may be NULL. Aborts when it fails. */
void fixture_start(struct fixture *fixture, const struct iscsi_limits *limits,
                   const struct access_chap *chap);
/* The same with so many loop threads. */
void fixture_start_threads(struct fixture *fixture, const struct iscsi_limits *limits,
                           const struct access_chap *chap, unsigned threads);
/* Also checks that nothing is left of tasks and nexuses. */
void fixture_stop(struct fixture *fixture);
const char *fixture_address(const struct fixture *fixture);
/* A connected and logged in client. */
void fixture_login(const struct fixture *fixture, struct raw *raw, const char *initiator,
                   const char *keys);

#endif
