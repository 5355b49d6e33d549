/* SPDX-License-Identifier: BSD-3-Clause */
/* What options of ONTAP mean here (vocabulary.h). */
#include "server/ctl/vocabulary.h"

#define ONE_LUN                                                                                    \
    "lun create|lun show|lun modify|lun resize|lun rename|lun delete|lun comment|lun attach|"      \
    "lun map|lun unmap|lun reservation show|lun reservation clear|lun offline|lun online|"         \
    "mapping show"
#define ONE_VOLUME                                                                                 \
    "volume create|volume show|volume modify|volume resize|volume rename|volume delete|"           \
    "volume autodelete modify|volume autodelete show"
#define SPLIT                                                                                      \
    "volume clone split estimate|volume clone split start|volume clone split pause|"               \
    "volume clone split stop|volume clone show"
#define ONE_SNAPSHOT                                                                               \
    "snapshot create|snapshot show|snapshot delete|snapshot lock|snapshot rename|snapshot restore"
#define ONE_QTREE "qtree create|qtree rename|qtree delete"
#define QUOTA                                                                                      \
    "quota rule create|quota rule modify|quota rule delete|quota rule show|quota on|quota off|"    \
    "quota report"
#define QUOTA_RULE "quota rule create|quota rule modify|quota rule delete"
#define IGROUP "igroup create|igroup add|igroup remove|igroup show|igroup delete"

#define OS_TYPES                                                                                   \
    "aix|hpux|hyper_v|linux|netware|openvms|solaris|solaris_efi|vmware|windows|windows_2008|"      \
    "windows_gpt|xen"

const struct vocabulary_row vocabulary_rows[] = {
    {"*", "vserver", "NAME", "", NULL, "without effect: a server has one pool"},

    {ONE_LUN, "path", "PATH", "path", NULL, "the LUN, as /vol/VOLUME/LUN"},
    {ONE_LUN "|lun maxsize", "volume", "VOLUME", "volume", NULL, "the LUN's volume"},
    {ONE_LUN "|lun maxsize", "qtree", "QTREE", "qtree", NULL, "the LUN's qtree"},
    {ONE_LUN, "lun", "LUN", "lun", NULL, "the LUN's name, with -volume"},
    {"lun rename", "new-path", "PATH", "new-path", NULL, "its new name"},
    {"lun create|lun maxsize|igroup create", "ostype", "TYPE", "", OS_TYPES,
     "without effect: LUNs are the same for all hosts, and begin at their first block"},
    {"lun create", "class", "regular", "", "regular", "the only one there is"},
    {"lun create|lun modify", "space-allocation", "enabled", "", "enabled",
     "always so: hosts see that LUNs are thin, and are told when space lacks"},
    {"lun clone|lun create|lun modify", "quota-group", "GROUP", "--group", NULL,
     "--group, as clone create has it"},
    {"lun modify|lun show", "clone-path", "PATH", "path", NULL, "the LUN"},
    {"lun modify", "enable", "true|false", "--autodelete", "true|false", "--autodelete"},
    {"lun modify", "force", NULL, "", NULL, "without effect"},

    {"lun resize|lun delete|snapshot delete|snapshot restore|volume delete|igroup delete", "force",
     NULL, "--force", NULL, "--force"},

    {"lun clone", "volume", "VOLUME", "volume", NULL, "the volume of both paths"},
    {"lun clone", "source-path", "PATH", "source-path", NULL, "SOURCE"},
    {"lun clone", "destination-path", "PATH", "destination-path", NULL, "NAME"},
    {"lun clone", "snapshot-name", "SNAPSHOT", "--from-snapshot", NULL, "--from-snapshot"},
    {"lun clone", "no-reserve", NULL, "--no-reserve", NULL, "--no-reserve"},
    {"lun clone", "overwrite-destination", NULL, "--overwrite-destination", NULL,
     "--overwrite-destination"},
    {"lun clone", "qos-policy-group", "CLASS", "--qos", NULL, "--qos"},

    {ONE_VOLUME, "volume", "VOLUME", "volume", NULL, "the volume"},
    {"volume rename", "newname", "NAME", "newname", NULL, "its new name"},
    {"volume create", "aggregate", "NAME", "", NULL, "without effect: a server has one pool"},
    {SPLIT, "flexclone", "NAME", "flexclone", NULL, "the volume clone"},
    {"volume clone split start|volume clone create", "foreground", NULL, "", NULL,
     "without effect: it is done when the command returns"},
    {"volume clone create", "type", "RW", "", "RW", "the only one there is"},
    {"volume clone create", "parent-vserver", "NAME", "", NULL,
     "without effect: a server has one pool"},
    {"volume clone create", "clone-consistency-group", "NAME", "--flexclone", NULL,
     "NAME; a volume is a consistency group: all its LUNs of one instant"},
    {"volume clone create", "source-parent-consistency-group", "VOLUME", "--parent-volume", NULL,
     "VOLUME"},
    {"volume clone create", "source-snapshot-name", "SNAPSHOT", "--parent-snapshot", NULL,
     "--parent-snapshot"},

    {ONE_SNAPSHOT, "volume", "VOLUME", "volume", NULL, "the volume"},
    {ONE_SNAPSHOT, "snapshot", "SNAPSHOT", "snapshot", NULL, "the snapshot's name"},
    {ONE_SNAPSHOT, "path", "PATH", "path", NULL, "of one LUN of it, as /vol/VOLUME/LUN"},
    {"snapshot rename", "new-name", "NAME", "new-name", NULL, "its new name"},
    {"snapshot restore", "restore-path", "PATH",
     "!to another LUN is 'lunette lun clone LUN@SNAPSHOT NAME'", NULL,
     "refused: lun clone makes another LUN of a snapshot"},

    {ONE_QTREE "|qtree show", "volume", "VOLUME", "volume", NULL, "the qtree's volume"},
    {ONE_QTREE, "qtree", "QTREE", "qtree", NULL, "the qtree's name"},
    {ONE_QTREE, "qtree-path", "PATH", "qtree-path", NULL, "it, as /vol/VOLUME/QTREE"},
    {"qtree rename", "newname", "NAME", "newname", NULL, "its new name"},

    {QUOTA, "volume", "VOLUME", "volume", NULL, "the volume"},
    {"quota report", "path", "PATH", "path", NULL, "PATH"},
    {QUOTA_RULE "|quota rule show", "policy-name", "NAME", "", NULL,
     "without effect: a volume has one set of rules"},
    {QUOTA_RULE, "qtree", "QTREE", "--qtree", NULL, "--qtree, or \"\" for none"},

    {IGROUP, "igroup", "IGROUP", "igroup", NULL, "the igroup"},
    {"igroup create|igroup add|igroup remove", "initiator", "NAME,...", "initiator", NULL,
     "its initiators"},
    {"igroup create", "protocol", "iscsi", "", "iscsi|mixed", "the only one there is"},
    {0},
};

const struct vocabulary_arguments vocabulary_arguments[] = {
    {"lun show", "{path}|{volume}/{qtree}/*|{volume}/*"},
    {"lun rename", "{path} {new-path}"},
    {ONE_LUN, "{path}"},
    {"lun maxsize", "{volume}/{qtree}|{volume}"},
    {"lun clone", "[--source-path={source-path}] [--destination-path={destination-path}]"},
    {"volume rename", "{volume} {newname}"},
    {ONE_VOLUME, "{volume}"},
    {SPLIT, "{flexclone}"},
    {"snapshot show", "{path}@{snapshot}|{path}|{volume}@{snapshot}|{volume}"},
    {"snapshot rename", "{path}@{snapshot}|{volume}@{snapshot} {new-name}"},
    {ONE_SNAPSHOT, "{path}@{snapshot}|{volume}@{snapshot}"},
    {"qtree rename", "{qtree-path}|{volume}/{qtree} {newname}"},
    {"qtree show", "{volume}"},
    {ONE_QTREE, "{qtree-path}|{volume}/{qtree}"},
    {"quota report", "{path}|{volume}"},
    {QUOTA, "{volume}"},
    {"igroup add|igroup remove", "{igroup} {initiator}"},
    {IGROUP, "{igroup} [{initiator}]"},
    {0},
};
