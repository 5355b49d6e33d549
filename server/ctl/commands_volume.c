/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of the commands on volumes, and of autodelete and "explain", which pools have too.
 */
#include "server/ctl/command.h"

const struct command_option command_autodelete_options[] = {
    {"enabled", 0, "true|false", "whether anything is deleted to make room (default: false)",
     false},
    {"trigger", 0, "volume|pool", "whose free space counts (default: the volume's own size)",
     false},
    {"trigger-free-space", 0, "PERCENT", "it begins below so much free space (default: 5)", false},
    {"target-free-space", 0, "PERCENT", "and ends at so much (default: 20)", false},
    {"delete-order", 0, "oldest_first", "the only one there is", false},
    {"commitment", 0, "try|disrupt|destroy", "how far it goes (default: try)", false},
    {"defer-delete", 0, "user_created|scheduled|none",
     "which snapshots go after all others (default: user_created)", false},
    {0},
};

const struct command_option command_volume_clone_options[] = {
    {"parent-volume", 0, "VOLUME", "as ONTAP writes VOLUME", false},
    {"flexclone", 0, "NAME", "as ONTAP writes NAME", false},
    {"require-reference", 0, NULL, "refuse rather than copy data; clones of volumes never copy",
     false},
    {"parent-snapshot", 0, "SNAPSHOT", "clone this state (default: the present one)", false},
    {"no-guarantee", 0, NULL, "although the parent's size is guaranteed", false},
    {"space-guarantee", 0, "volume|none", "volume: as the parent has it; none: --no-guarantee",
     false},
    {"no-reserve", 0, NULL, "clones of reserved LUNs get no reservation", false},
    {"unlocked", 0, NULL, "clone a locked volume, snapshot or LUNs; the clone is not locked",
     false},
    {"comment", 0, "TEXT", "a note to show in listings", false},
    COMMAND_QOS_OPTIONS(", for all in it together (default: none)"),
    {0},
};

const struct command_option command_clone_show_options[] = {
    {"estimate", 0, NULL, "what a physical split of each would take, and what is available", false},
    {0},
};

const struct command_option command_df_options[] = {
    {"savings", 0, NULL, "what is used, what sharing saves, and how much of all that is", false},
    {0},
};

const struct command_option command_volume_resize_options[] = {
    {"size", 0, "SIZE", "the new size; may stand as the second argument too", false},
    {0},
};

const struct command_option command_explain_options[] = {
    {"wanted", 0, "SIZE", "room for so much more is what would help (default: a quarter more)",
     false},
    {0},
};
