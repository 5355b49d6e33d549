/* SPDX-License-Identifier: BSD-3-Clause */
/* An iSCSI target in this process. */
#include "tests/e2e/iscsi/fixture.h"

#include "lun/base/invariant.h"
#include "lun/base/log.h"

void fixture_start(struct fixture *fixture, const struct iscsi_limits *limits,
                   const struct access_chap *chap)
{
    fixture_start_threads(fixture, limits, chap, 2);
}

void fixture_start_threads(struct fixture *fixture, const struct iscsi_limits *limits,
                           const struct access_chap *chap, unsigned threads)
{
    static const char *const portals[] = {"127.0.0.1:0"};
    struct iscsi_options options = {.portals = portals, .portal_count = 1, .threads = threads};
    struct reason why = {.text = ""};
    if (limits)
        options.limits = *limits;
    log_set_level(LOG_LEVEL_ERROR); /* most of what comes is wrong on purpose */
    fixture->scsi = fake_scsi_create();
    fixture->access = fake_access_create(chap, true);
    INVARIANT(iscsi_start(fixture->scsi, fixture->access, &options, &fixture->server, &why) == 0);
}

void fixture_stop(struct fixture *fixture)
{
    iscsi_stop(fixture->server);
    fake_scsi_destroy(fixture->scsi); /* aborts if a task or nexus is left */
    fake_access_destroy(fixture->access);
}

const char *fixture_address(const struct fixture *fixture)
{
    return iscsi_portal_address(fixture->server, 0);
}

void fixture_login(const struct fixture *fixture, struct raw *raw, const char *initiator,
                   const char *keys)
{
    raw_connect(raw, fixture_address(fixture));
    INVARIANT(raw_login(raw, initiator, FIXTURE_TARGET, keys) == 0);
}
