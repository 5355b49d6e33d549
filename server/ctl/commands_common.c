/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands have in common: options of all of them and of their flags, and other words. */
#include "server/ctl/command.h"

const struct command_option command_common_options[] = {
    {"json", 'j', NULL, "print JSON, sizes in bytes", false},
    {"socket", 's', "PATH",
     "the server's management socket (default: $LUNETTE_SOCKET, else /run/lunette/mgmt.sock)",
     false},
    {"help", 'h', NULL, "explain this command", false},
    {0},
};

const struct command_option command_list_options[] = {
    {"fields", 0, "A,B,C", "print these fields; a wrong one lists all there are", false},
    {"instance", 0, NULL, "every field, one on a line, instead of a table", false},
    {"units", 0, "U", "sizes in h (human), B, K, M, G, T or P", false},
    {0},
};

const struct command_option command_dry_run_options[] = {
    {"dry-run", 'n', NULL, "change nothing; print what would be done", false},
    {0},
};

const struct command_option command_create_options[] = {
    {"if-not-exists", 0, NULL, "if it is there already, as it was to be made, that is no error",
     false},
    {0},
};

const struct command_option command_confirm_options[] = {
    {"yes", 'y', NULL, "do not ask on a terminal", false},
    {0},
};

const struct command_option command_offline_options[] = {
    {"pool", 'p', "PATH", "open the pool at PATH instead of asking a server (none may have it)",
     false},
    {0},
};

const struct command_alias command_aliases[] = {
    {"volume file clone create", "lun clone"},
    {"file clone create", "lun clone"},
    {"volume file clone autodelete", "lun modify"},
    {"volume file clone show-autodelete", "lun show"},
    {"consistency-group clone create", "volume clone create"},
    {"lun mapping create", "lun map"},
    {"lun mapping delete", "lun unmap"},
    {"lun mapping show", "mapping show"},
    {"lun igroup create", "igroup create"},
    {"lun igroup add", "igroup add"},
    {"lun igroup remove", "igroup remove"},
    {"lun igroup show", "igroup show"},
    {"lun igroup delete", "igroup delete"},
    {"volume qtree create", "qtree create"},
    {"volume qtree show", "qtree show"},
    {"volume qtree rename", "qtree rename"},
    {"volume qtree delete", "qtree delete"},
    {"lun clone create", "lun clone"},
    {"clone", "lun clone"},
    {"volume snapshot create", "snapshot create"},
    {"volume snapshot show", "snapshot show"},
    {"volume snapshot delete", "snapshot delete"},
    {"volume snapshot rename", "snapshot rename"},
    {"volume snapshot restore", "snapshot restore"},
    {"volume snapshot restore-file", "snapshot restore"},
    {"volume snapshot policy create", "snapshot policy create"},
    {"volume snapshot policy modify", "snapshot policy modify"},
    {"volume snapshot policy delete", "snapshot policy delete"},
    {"volume snapshot policy show", "snapshot policy show"},
    {"volume snapshot autodelete modify", "volume autodelete modify"},
    {"volume snapshot autodelete show", "volume autodelete show"},
    {"volume list", "volume show"},
    {"volume quota report", "quota report"},
    {"volume quota on", "quota on"},
    {"volume quota off", "quota off"},
    {"volume quota policy rule create", "quota rule create"},
    {"volume quota policy rule modify", "quota rule modify"},
    {"volume quota policy rule delete", "quota rule delete"},
    {"volume quota policy rule show", "quota rule show"},
    {"volume size", "volume resize"},
    {"event log show", "event show"},
    {"lun freed", "freed"},
    {"freed-if-deleted", "freed"},
    {"lun list", "lun show"},
    {"lun persistent-reservation show", "lun reservation show"},
    {"lun persistent-reservation clear", "lun reservation clear"},
    {"snapshot list", "snapshot show"},
    {NULL, NULL},
};
