/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of the commands that clone LUNs. */
#include "server/ctl/command.h"

#define CLONE_OPTIONS                                                                              \
    {"no-reserve", 0, NULL, "the clone of a reserved LUN gets no reservation", false},             \
        {"unlocked", 0, NULL, "clone what is locked; the clone is not locked", false},             \
        {"autodelete", 0, "yes|no", "may be deleted when space runs out (default: no)", false},    \
        {"expire", 0, "TIME", "a lease: delete it after 8h or 30d, or at a date", false},          \
        {"owner", 0, "USER", "whose it is, for user quotas (default: the source's)", false},       \
        {"require-reference", 0, NULL, "refuse rather than copy data; clones of LUNs never copy",  \
         false},                                                                                   \
        COMMAND_QOS_OPTIONS(" (default: the one called default)"),                                 \
    {                                                                                              \
        "igroup", 'g', "IGROUP", "map it to this igroup", false                                    \
    }

const struct command_option command_lun_clone_options[] = {
    {"count", 0, "N", "make N clones of one instant, all or none", false},
    {"name", 0, "TEMPLATE", "their names, with one %d or %05d for the number", false},
    {"first", 0, "NUMBER", "number of the first (default: 0)", false},
    {"comment", 0, "TEXT", "a note to show in listings", false},
    {"range", 0, "SRC-BLOCK:DST-BLOCK:COUNT",
     "copy these blocks into a LUN that is there; also several, with commas", true},
    {"force", 'f', NULL, "with --range: although clients have that LUN open", false},
    {"source-path", 0, "LUN", "as ONTAP writes SOURCE", false},
    {"destination-path", 0, "NAME", "as ONTAP writes NAME", false},
    {"from-snapshot", 0, "SNAPSHOT", "clone this state of SOURCE, as SOURCE@SNAPSHOT does", false},
    {"overwrite-destination", 0, NULL,
     "NAME may be there: it gets the content, as lun redeploy does it, and what it held stays as "
     "its snapshot undo",
     false},
    {"group", 0, "GROUP", "which group's, for group quotas (default: the source's)", false},
    CLONE_OPTIONS,
    {0},
};

const struct command_option command_clone_create_options[] = {
    {"comment", 0, "TEXT", "a note to show in listings", false},
    {"group", 0, NULL, "may stand before the pairs: they are of one instant with it or without",
     false},
    {"quota-group", 0, "GROUP", "which group's, for group quotas (default: the source's)", false},
    CLONE_OPTIONS,
    {0},
};
