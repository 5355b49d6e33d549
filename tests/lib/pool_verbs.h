/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Management as lines of text, for tests: one line, one call of lun.h.
 *
 *   create LUN BYTES                      clone SOURCE NAME [COUNT]
 *   snapshot LUN SNAPSHOT                 restore LUN SNAPSHOT [force]
 *   delete NAME [force] [snapshots]       resize LUN BYTES [force]
 *   rename LUN NAME                       comment LUN TEXT
 *   write LUN BYTES OFFSET VALUE          grow BYTES
 *   volume NAME BYTES PAUSE_MS            events NAME    "count N"
 *   show NAME     "size N mapped N own N open N"
 *   pool          "available N free N deferred N luns N"
 *   settle        waits for background jobs, then makes a checkpoint
 *   check         pool_check(); fails with its first finding
 *
 * Not the product's own command line: that is server/ctl, with tests of its own. This one is there
 * without a server too, and does nothing that lun.h does not.
 */
#ifndef TESTS_LIB_POOL_VERBS_H
#define TESTS_LIB_POOL_VERBS_H

#include <stddef.h>

#include "lun/lun.h"

enum
{
    POOL_VERB_TEXT_BYTES = 1024
};

/* Runs @line. 0 with what it has to say in @text, or a negative errno with the reason there. */
MUST_CHECK int pool_verb(struct pool *pool, const char *line, char text[POOL_VERB_TEXT_BYTES]);

/*
 * Sends @line to the process that serves on @socket_path (tests/lib/verb_target.c) and waits for
 * its answer, which is that of pool_verb() there.
 */
MUST_CHECK int pool_verb_send(const char *socket_path, const char *line,
                              char text[POOL_VERB_TEXT_BYTES]);

#endif
