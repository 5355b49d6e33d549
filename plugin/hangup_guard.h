/* SPDX-License-Identifier: BSD-3-Clause */
/* What is preloaded into nbdkit, so that clients that hang up cannot end it (hangup_guard.c), that
 * quick ones are answered quickly (read_poll.c, read_ahead.c, send_join.c), and that those who say
 * nothing are hung up on (handshake_guard.c). */
#ifndef PLUGIN_HANGUP_GUARD_H
#define PLUGIN_HANGUP_GUARD_H

#include <stdbool.h>

#define HANGUP_GUARD_FILE "lunette-hangup-guard.so"

/* Whether it guards this process. That it is there at all is asked with dlsym(). */
bool lunette_hangup_guard_is_active(void);

/* How long clients that connect from now on may negotiate (handshake_guard.c). 0: for ever. */
void lunette_handshake_set_limit(unsigned long limit_ms);
/* The client that this thread of nbdkit's serves has named an export that there is. */
void lunette_handshake_is_over(void);
/* It is closed again, by the thread that opened it: the client negotiates further, or is at its
 * end. */
void lunette_handshake_goes_on(void);

/* How many reads of nbdkit got what they waited for while they stayed awake. */
unsigned long lunette_read_poll_hits(void);

#endif
