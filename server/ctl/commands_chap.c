/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of the commands on CHAP. */
#include "server/ctl/command.h"

const struct command_option command_chap_set_options[] = {
    {"user", 0, "USER", "what the initiator calls itself", false},
    {"secret", 0, "SECRET", "its secret, 12 to 255 bytes; other users see it in ps", false},
    {"secret-file", 0, "FILE", "its secret is the first line of FILE; -: of standard input", false},
    {"mutual-user", 0, "USER", "the target has to prove itself too, by this name", false},
    {"mutual-secret", 0, "SECRET", "the target's secret", false},
    {"mutual-secret-file", 0, "FILE", "the target's secret is the first line of FILE", false},
    {0},
};

const struct command_option command_chap_rewrap_options[] = {
    {"old-key", 0, "FILE", "also what the key in FILE wraps, which is read here", false},
    {0},
};
