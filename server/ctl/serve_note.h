/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the server of a management socket was started last: "serve" notes its command line beside the
 * socket (serve.last), so that who finds no server there learns what starts it.
 *
 * A hint for people and nothing else: nothing is run from it.
 */
#ifndef SERVER_CTL_SERVE_NOTE_H
#define SERVER_CTL_SERVE_NOTE_H

#include "server/ctl/command.h"

/* Notes @in, a "serve" of the server that has the management socket @socket. Paths of options are
 * made absolute with @absolute_of(option, value), which returns a string to be freed; NULL: as it
 * is. What cannot be noted is not. */
void serve_note_write(const struct invocation *in, const char *socket,
                      char *(*absolute_of)(const char *option, const char *value));

/* The command that starts a server for @socket, "lunette serve ..."; NULL: not known, or noted by
 * somebody who is neither root nor this user. Free it. */
char *serve_note_read(const char *socket);

#endif
