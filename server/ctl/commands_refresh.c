/* SPDX-License-Identifier: BSD-3-Clause */
/* The longer parts of the commands on refreshes. */
#include "server/ctl/command.h"

#define REFRESH_OPTIONS                                                                            \
    {"from", 0, "SOURCE", "LUN, LUN@latest (its newest snapshot) or LUN@SNAPSHOT", false},         \
        {"schedule", 0, "TIME", "when, as hourly, daily, daily@02:00, weekly@02:00, 15min",        \
         false},                                                                                   \
        {"prefix", 0, "TEXT", "with @latest: only snapshots whose names begin so", false},         \
        {"undo", 0, "SNAPSHOT",                                                                    \
         "the snapshot that keeps what a LUN held before (default: refresh-undo)", false},         \
    {                                                                                              \
        "hook", 0, "PROGRAM",                                                                      \
            "let it work on the content first: the name of a program in folder= of [refresh] in "  \
            "the conf file",                                                                       \
            false                                                                                  \
    }

const struct command_option command_refresh_create_options[] = {
    REFRESH_OPTIONS,
    {"force", 'f', NULL, "although clients have them open; they must not have them mounted", false},
    {0},
};

const struct command_option command_refresh_modify_options[] = {
    REFRESH_OPTIONS,
    {"force", 'f', "yes|no", "although clients have them open (default: no)", false},
    {0},
};

const char command_refresh_create_details[] =
    "What SOURCE holds then gets into the LUNs, as by lun redeploy: they keep name, serial, "
    "mappings and reservations, and what they held stays as one snapshot, which the next refresh "
    "replaces; rename it to keep it. SOURCE may be locked. Times are the server's local ones; "
    "weekly is Sunday's. After "
    "a time without a server one missed refresh is made up for. A LUN that clients have open is "
    "left as it is, with an event, unless --force; so is one whose refresh fails. With --hook the "
    "server makes a clone of SOURCE and calls a program of its refresh folder (see its conf file), "
    "which reaches it by NBD at $LUNETTE_URI; only if that ends with status 0 the LUNs get what "
    "it left, so nobody sees in them what it masks.";

const char command_refresh_create_example[] =
    "lunette refresh create dev1 dev2 --from prod@latest --prefix hourly. --schedule daily@02:00\n"
    "lunette refresh create test --from prod --schedule weekly --hook mask-customers\n"
    "lunette refresh create training --from golden@monday --schedule daily --dry-run\n";

const char command_refresh_run_details[] = "Waits for it, and for a hook. The schedule goes on as "
                                           "before. What was wrong with one LUN is in "
                                           "nobody's way; the status is 1 then.";
