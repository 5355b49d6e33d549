/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of commands. */
#include "server/ctl/ctl.h"

static const struct command_option pool_create_options[] = {
    {"size", 0, "SIZE", "size of the pool; may stand as the second argument too", false},
    {"name", 0, "NAME", "name of the pool (default: from the path)", false},
    {"journal", 0, "SIZE", "size of the journal (default: by the pool's size)", false},
    {"preallocate", 0, NULL, "take all space from the file system now", false},
    {"overwrite", 0, NULL, "even if PATH holds something; what it holds is lost", false},
    {0},
};

#define ATTRIBUTE_OPTIONS                                                                          \
    {"space-reserve", 0, "yes|no", "promise it all of its space, so that writes never lack it",    \
     false},                                                                                       \
        {"autodelete", 0, "yes|no", "may be deleted when space runs out", false},                  \
        {"expire", 0, "TIME", "a lease: delete it after 8h or 30d, at a date, or none", false},    \
        {"lock-until", 0, "TIME", "refuse to delete, shrink or restore it until then", false},     \
        {"owner", 0, "USER", "whose it is, for user quotas", false},                               \
        {"group", 0, "GROUP", "which group's, for group quotas", false},                           \
        COMMAND_QOS_OPTIONS(" (of a new one: the one called default)")

#define THRESHOLD_OPTION                                                                           \
    {                                                                                              \
        "threshold", 0, "A,B,C", "events when so many percent are used, as 80,90,95; or none",     \
            false                                                                                  \
    }

#define SNAPSHOT_POLICY_OPTION                                                                     \
    {                                                                                              \
        "snapshot-policy", 0, "NAME", "snapshots on schedule, or none", false                      \
    }

#define QUIESCE_OPTIONS                                                                            \
    {"quiesce", 0, "PROGRAM", "let it freeze applications meanwhile; see below", false},           \
    {                                                                                              \
        "quiesce-timeout", 0, "TIME", "how long a call of it may take (default: 30s)", false       \
    }

#define BACKING_OPTION                                                                             \
    {                                                                                              \
        "delete-backing-snapshot", 0, NULL,                                                        \
            "the snapshot it depends on goes too, with the last clone of it", false                \
    }

static const struct command_option split_options[] = {
    BACKING_OPTION,
    {"physical", 0, NULL, "copy in the background what its LUNs share", false},
    {"rate", 0, "SIZE", "copy at most so much a second, 64K or more (default: none)", false},
    {0},
};

#define AUTODELETE_ORDER                                                                           \
    "First snapshots, oldest first: never one that is locked or that volume clones depend on. "    \
    "Then "                                                                                        \
    "LUNs with autodelete on: clones before others, nearest end of a lease first, then oldest. A " \
    "LUN with autodelete off is never deleted. -commitment try leaves what clients have open, "    \
    "disrupt takes snapshots from them, destroy also LUNs with autodelete on. Each deletion is "   \
    "an "                                                                                          \
    "event."

static const struct command_option pool_modify_options[] = {
    THRESHOLD_OPTION,
    {"autogrow-step", 0, "SIZE", "let the pool grow by so much when it fills, or none", false},
    {"autogrow-max", 0, "SIZE", "up to this size, or none", false},
    {"autogrow-threshold", 0, "PERCENT", "it grows when so much is used (default: 90)", false},
    {"lease-warning", 0, "TIME", "an event so long before a lease ends (default: 10m), or none",
     false},
    {"lease-force", 0, "yes|no", "when a lease ends, delete the LUN although clients have it open",
     false},
    {"lease-snapshots", 0, "own|all",
     "own: a LUN stays while snapshots of its volume hold it (default); all: it lives on in them",
     false},
    {0},
};

static const struct command_option pool_scrub_options[] = {
    {"rate", 0, "SIZE", "read so much a second at most, 64K or more (default: 32M)", false},
    {"background", 'b', NULL, "do not wait; job show tells how far it is", false},
    {"last", 0, NULL, "start none: show what the last one found, or the one that runs", false},
    {0},
};

static const struct command_option pool_repair_options[] = {
    {"discard-journal", 0, NULL,
     "give up what the journal says from where it cannot be followed: the last changes", false},
    {"take-over", 0, NULL, "open the pool although another host, known to be dead, held it", false},
    {0},
};

static const struct command_option lun_salvage_options[] = {
    {"list", 0, NULL, "show what can be found", false},
    {"to", 0, "FILE", "where to write it, a new file", false},
    {"map", 0, "FILE", "list what is lost, as a mapfile of ddrescue", false},
    {"overwrite", 0, NULL, "replace files that are there", false},
    {0},
};

static const struct command_option lun_create_options[] = {
    {"size", 0, "SIZE", "size of the LUN; may stand as the second argument too", false},
    {"sector", 0, "BYTES", "logical sector size, 512 (default) or 4096", false},
    {"comment", 0, "TEXT", "a note to show in listings", false},
    ATTRIBUTE_OPTIONS,
    {0},
};

static const struct command_option lun_show_options[] = {
    {"snapshots", 0, NULL, "show each LUN's snapshots behind it", false},
    {0},
};

static const struct command_option lun_redeploy_options[] = {
    {"undo", 0, "SNAPSHOT",
     "the snapshot that keeps what they hold now, in place of one of that name (default: undo)",
     false},
    {"force", 'f', NULL, "although clients have them open; they must not have them mounted", false},
    {0},
};

/* "volume modify" has all but the first. */
static const struct command_option volume_create_options[] = {
    {"size", 0, "SIZE", "its size; may stand as the second argument too", false},
    {"space-guarantee", 0, "volume|none",
     "whether the pool promises the volume its size (default: none)", false},
    {"when-full", 0, "error|pause", "what writes do when there is no room (default: error)", false},
    {"pause", 0, "TIME", "how long they pause at most (default: 30s)", false},
    {"lock-until", 0, "TIME", "refuse to delete anything in it until then", false},
    {"comment", 0, "TEXT", "a note to show in listings", false},
    THRESHOLD_OPTION,
    SNAPSHOT_POLICY_OPTION,
    COMMAND_QOS_OPTIONS(", for all in it together; default takes it out of one"),
    {0},
};

static const struct command_option snapshot_show_options[] = {
    {"orphaned", 0, NULL, "only those made for volume clones that are gone or split", false},
    {0},
};

static const struct command_option volume_delete_options[] = {
    BACKING_OPTION,
    {"with-contents", 0, NULL, "delete its LUNs, qtrees and snapshots too", false},
    {"force", 'f', NULL, "although clients have LUNs open", false},
    {0},
};

static const struct command_option comment_options[] = {
    {"comment", 0, "TEXT", "a note to show in listings", false},
    {0},
};

#define QUOTA_RULE_OPTIONS                                                                         \
    {"type", 0, "TYPE", "tree (default), user or group", false},                                   \
        {"target", 0, "NAME",                                                                      \
         "a qtree (none: the volume), an owner or a group; '*' for all without a rule", false},    \
    {                                                                                              \
        "qtree", 0, "QTREE", "user and group: only what is in this qtree", false                   \
    }

static const struct command_option quota_rule_options[] = {
    QUOTA_RULE_OPTIONS,
    {"disk-limit", 0, "SIZE", "refuse what would exceed it, or none", false},
    {"soft-disk-limit", 0, "SIZE", "an event above it, and one on return; or none", false},
    {"threshold", 0, "SIZE", "an event above it; or none", false},
    {0},
};

static const struct command_option quota_delete_options[] = {
    QUOTA_RULE_OPTIONS,
    {0},
};

static const struct command_option lun_resize_options[] = {
    {"size", 0, "SIZE", "the new size; may stand as the second argument too", false},
    {"force", 'f', NULL, "shrink too; what lies behind the new end is lost", false},
    {0},
};

static const struct command_option lun_delete_options[] = {
    {"with-snapshots", 0, NULL, "delete their snapshots too", false},
    {"force", 'f', NULL, "although clients have them open", false},
    {0},
};

static const struct command_option lun_import_options[] = {
    {"format", 0, "FORMAT", "of a file: raw, qcow2, vmdk, ... (default: what it looks like)",
     false},
    {"size", 0, "SIZE", "make the LUN larger than the source", false},
    {"sector", 0, "BYTES", "logical sector size, 512 (default) or 4096", false},
    {"comment", 0, "TEXT", "a note to show in listings", false},
    {"verify", 0, NULL, "read both again afterwards and compare", false},
    {"require-reference", 0, NULL, "refuse what has to copy data: an import always does", false},
    {"keep", 0, NULL, "do not delete the LUN when the import fails", false},
    {"resume", 0, "FILE", "note progress in FILE; go on from there if it exists (implies --keep)",
     false},
    {"connections", 0, "N", "NBD connections, 1 to 16 (default: 4)", false},
    {0},
};

static const struct command_option lun_export_options[] = {
    {"format", 0, "FORMAT", "of a file: raw, qcow2, ... (default: by its suffix, else raw)", false},
    {"require-reference", 0, NULL, "refuse what has to copy data: an export always does", false},
    {"overwrite", 0, NULL, "although the file exists or is a block device", false},
    {"verify", 0, NULL, "read both again afterwards and compare", false},
    {"resume", 0, "FILE", "note progress in FILE; go on from there if it exists", false},
    {"connections", 0, "N", "NBD connections, 1 to 16 (default: 4)", false},
    {0},
};

static const struct command_option snapshot_create_options[] = {
    {"comment", 0, "TEXT", "a note to show in listings", false},
    {"with", 0, "VOLUME", "of a volume: this one too, at the same instant; may be repeated", true},
    {"lock-until", 0, "TIME", "refuse to delete it until then", false},
    QUIESCE_OPTIONS,
    {"quiesce-required", 0, NULL, "no snapshot if freezing fails", false},
    {0},
};

static const struct command_option snapshot_policy_options[] = {
    {"schedule", 0, "KIND:COUNT,...", "how many to keep of which kind, as hourly:24,daily:7",
     false},
    {"prefix", 0, "TEXT", "what the names of its snapshots begin with", false},
    QUIESCE_OPTIONS,
    {"quiesce-required", 0, "yes|no", "no snapshot if freezing fails (default: no)", false},
    {"comment", 0, "TEXT", "a note to show in listings", false},
    {0},
};

static const struct command_option snapshot_lock_options[] = {
    {"until", 0, "TIME", "8h, 30d, 2026-12-31 or 2026-12-31T18:00; only ever later", false},
    {0},
};

static const struct command_option snapshot_delete_options[] = {
    {"force", 'f', NULL, "although clients have it open; they get errors from then on", false},
    {"defer", 0, NULL, "of a volume: if clones depend on it, delete it with the last of them",
     false},
    {0},
};

static const struct command_option force_options[] = {
    {"force", 'f', NULL, "although clients have it open; they get errors from then on", false},
    {0},
};

static const struct command_option igroup_delete_options[] = {
    {"force", 'f', NULL, "although LUNs are mapped to it; its hosts lose them", false},
    {0},
};

static const struct command_option lun_map_options[] = {
    {"igroup", 'g', "IGROUP", "the igroup whose initiators see the LUN", false},
    {"lun-id", 0, "N", "its LUN number there, 0 to 4095 (default: the one unused longest)", false},
    {0},
};

static const struct command_option lun_modify_options[] = {
    ATTRIBUTE_OPTIONS,
    THRESHOLD_OPTION,
    SNAPSHOT_POLICY_OPTION,
    {"read-only", 0, "yes|no", "hosts cannot write to it", false},
    {"importing", 0, "no", "take what an interrupted import left as all of it", false},
    {"removable", 0, "yes|no", "it has a removable medium, which hosts can eject", false},
    {"native-512", 0, "yes|no",
     "say nothing of physical blocks of 4096 bytes, for hosts that refuse such disks with sectors "
     "of 512",
     false},
    {0},
};

static const struct command_option mapping_options[] = {
    {"igroup", 'g', "IGROUP", "the igroup", false},
    {0},
};

static const struct command_option reservation_clear_options[] = {
    {"initiator", 0, "INITIATOR", "only what is this initiator's (default: all)", false},
    {0},
};

static const struct command_option session_terminate_options[] = {
    {"id", 0, "ID", "the one session with this id", false},
    {0},
};

static const struct command_option qos_class_options[] = {
    {"max-iops", 0, "N", "at most N operations a second; none: no limit", false},
    {"max-bps", 0, "SIZE", "at most SIZE a second, read and written; none: no limit", false},
    {"burst", 0, "TIME", "what is not used may be saved up for TIME (default: 100ms)", false},
    {"weight", 0, "N", "share of a limit that several wait for, 1 to 10000 (default: 100)", false},
    {0},
};

static const struct command_option qos_set_options[] = {
    {"pool", 0, NULL, "the limits are of all LUNs of the pool together", false},
    {0},
};

static const struct command_option top_options[] = {
    {"count", 0, "N", "print N tables, then end", false},
    {"interval", 0, "TIME", "what a table covers, 100ms to 1h (default: 2s)", false},
    {0},
};

static const struct command_option metrics_options[] = {
    {"output", 'o', "FILE", "write FILE instead, in one step", false},
    {0},
};

static const struct command_option tree_options[] = {
    {"dot", 0, NULL, "print a graph for Graphviz", false},
    {0},
};

static const struct command_option event_show_options[] = {
    {"follow", 0, NULL, "go on printing events as they happen", false},
    {"after", 0, "ID", "only events behind this one", false},
    {0},
};

static const struct command_option job_wait_options[] = {
    {"timeout", 0, "TIME", "give up after 500ms, 30s, 5m", false},
    {0},
};

static const struct command_option server_status_options[] = {
    {"wait", 0, "TIME", "wait so long for a server to answer", false},
    {0},
};

const struct command command_table[] = {
    {"pool create", "PATH [SIZE]", "make a pool on a file or a block device", "create pool {0}",
     "A file is made sparse: it takes space as the pool fills. Journal, superblocks and the "
     "reserve "
     "for metadata are taken at once, all of it with the first promise of space (--space-reserve, "
     "--space-guarantee). SIZE is left out for a block device, which is used whole. "
     "Something recognisable at PATH is never overwritten without --overwrite.",
     "lunette pool create /srv/pool.lunette 100G\n"
     "lunette pool create /dev/vg0/pool --name main\n",
     COMMAND_DRY_RUN, 1, 2, pool_create_options, ctl_pool_create},
    {"pool show", "", "show the pool: space, savings, health", "show the pool", NULL,
     "lunette pool show\n"
     "lunette pool show --json --fields health,available\n",
     COMMAND_LISTS | COMMAND_OFFLINE, 0, 0, NULL, ctl_pool_show},
    {"pool check", "", "prove that the pool is consistent", "check the pool",
     "Prints what was proved and every finding. The status is 1 if there is an error. Changes wait "
     "while a server checks; reads go on.",
     "lunette pool check\n"
     "lunette pool check --pool /srv/pool.lunette\n",
     COMMAND_OFFLINE, 0, 0, NULL, ctl_pool_check},
    {"pool scrub", "", "read all metadata and find what is damaged", "scrub the pool",
     "Reads every block of metadata from the device, while the pool is in use: superblocks, "
     "journal, bitmaps, tables, catalog, maps and drop lists. LUNs' data has no checksums and is "
     "not read. It runs in the server, as a job, and goes on if this command is interrupted; job "
     "cancel ends it. Each finding is an event and names the LUNs it hits. What the server still "
     "knows, or another copy holds, is written anew; pool repair mends more. The status is 1 if "
     "something is damaged and was not mended; a copy of the superblock that nothing needs, as "
     "long as another is whole, is a warning, as to pool check. With --pool nothing is written.",
     "lunette pool scrub\n"
     "lunette pool scrub --rate 200M --background\n"
     "lunette pool scrub --last --json\n",
     COMMAND_OFFLINE, 0, 0, pool_scrub_options, ctl_pool_scrub},
    {"pool repair", "PATH", "mend the metadata of a pool that nobody has open",
     "repair the pool in {0}",
     "Shows first what it would do, as --dry-run does. Makes anew what follows from the catalog "
     "and the maps: bitmaps and tables of free space, counters, copies of the superblock, the "
     "index of the catalog, drop lists. It writes only where nothing is, and can be run again if "
     "it is interrupted. A map that is lost it cannot make anew; it says so, the status is 1, the "
     "LUN keeps what can be read of it, and all others go on as they are. Once it is deleted, a "
     "repair gives up what is left of it, and its space is free. A pool that lost both copies of "
     "a page of the catalog it refuses; lun salvage copies what there is. Stop the server first.",
     "lunette pool repair /srv/pool.lunette --dry-run\n"
     "lunette pool repair /srv/pool.lunette --yes\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 1, pool_repair_options, ctl_pool_repair},
    {"pool grow", "[SIZE]", "use more of the file or device", "grow the pool",
     "SIZE is the new size, or what is added as +SIZE; without it all of a block device is used. A "
     "pool grows by whole allocation groups (at most 128 MiB each) and never shrinks. LUNs stay in "
     "use meanwhile.",
     "lunette pool grow +50G\n", COMMAND_OFFLINE | COMMAND_DRY_RUN, 0, 1, NULL, ctl_pool_grow},
    {"pool modify", "", "change what the pool does by itself", "change the pool",
     "Without an option: shows it. The settings move with the pool. A pool on a block device grows "
     "as far as the device has.",
     "lunette pool modify\n"
     "lunette pool modify --autogrow-step 50G --autogrow-max 1T\n"
     "lunette pool modify --threshold 75,85,95\n",
     COMMAND_DRY_RUN, 0, 0, pool_modify_options, ctl_pool_modify},
    {"pool autodelete modify", "", "let the pool make room by itself", "change autodelete",
     "Snapshots of all volumes and LUNs may go then. " AUTODELETE_ORDER,
     "lunette pool autodelete modify -enabled true -target-free-space 10\n", COMMAND_DRY_RUN, 0, 0,
     command_autodelete_options, ctl_pool_autodelete_modify},
    {"pool autodelete show", "", "show whether and how the pool makes room", "show autodelete",
     NULL, "lunette pool autodelete show\n", 0, 0, 0, NULL, ctl_pool_autodelete_show},
    {"pool dump", "WHAT...", "print structures of the pool, for debugging", "dump {0} of the pool",
     "WHAT is superblock, groups, objects, lines, \"map NAME\", \"drops ID\", journal or \"block "
     "NUMBER\".",
     "lunette pool dump superblock\n"
     "lunette pool dump map golden --pool /srv/pool.lunette\n",
     COMMAND_OFFLINE, 1, 2, NULL, ctl_pool_dump},

    {"serve", "[-- NBDKIT-OPTION...]", "start the server of a pool", "start the server",
     command_serve_details, command_serve_example, 0, 0, -1, command_serve_options, ctl_serve},

    {"lun create", "NAME SIZE", "make an empty LUN", "create LUN {0}",
     "It is thin: it takes space when it is written. Sizes are binary: 10G, 1.5T, 512M, or bytes. "
     "With --space-reserve yes its space is promised; as a promise has to be backed, the first one "
     "takes room for the whole file of the pool from the file system below, for good.",
     "lunette lun create vm1 20G\n"
     "lunette lun create db-log 8G --sector 4096 --comment 'log of the sales database'\n",
     COMMAND_DRY_RUN | COMMAND_CREATES, 1, 2, lun_create_options, ctl_lun_create},
    {"lun show", "[NAME|PATTERN...]", "list LUNs and the space they use", "show LUNs",
     "Size is what a host sees; Mapped what holds data, shared or not; Own what only this LUN's "
     "line "
     "made since it was last cloned or snapshotted; Shared the rest of Mapped; Snapshots what only "
     "its "
     "own snapshots still hold.",
     "lunette lun show\n"
     "lunette lun show 'vm-*' --snapshots --fields name,mapped,own --units M\n",
     COMMAND_LISTS, 0, -1, lun_show_options, ctl_lun_show},
    {"lun clone", "SOURCE [NAME]", "clone a LUN or a snapshot, at once and without copying",
     "clone {0}",
     "SOURCE is LUN or LUN@SNAPSHOT and may be in use. The clone is a LUN like any other: source "
     "and clones can be resized, cloned and deleted in any order. ONTAP's way is understood too: "
     "volume file clone create -source-path SOURCE -destination-path NAME. With --range, blocks of "
     "SOURCE (as the LUN's hosts count them, all of one instant) go into NAME, which is there and "
     "may be SOURCE. They are copied through the server, holes stay holes: blocks are shared by "
     "clones of whole LUNs only. Ctrl-C ends it; what was not copied is as it was.",
     "lunette lun clone golden vm1\n"
     "lunette lun clone golden --count 10000 --name 'vm-%05d'\n"
     "lunette lun clone golden@monday vm2\n"
     "lunette lun clone db-data db-log --range 0:8192:2048,4096:16384:512 --dry-run\n"
     "lunette lun clone golden@monday golden --range 0:0:2048\n",
     COMMAND_DRY_RUN | COMMAND_CREATES, 0, 2, command_lun_clone_options, ctl_lun_clone},
    {"lun redeploy", "SOURCE NAME...", "put a new golden image into existing LUNs", "redeploy {0}",
     "The LUNs get content and size of SOURCE and keep name, serial, mappings and reservations. "
     "What they held stays as one snapshot of each, from which they can be restored; an older one "
     "of that name goes. SOURCE may be locked: what a lock keeps is there afterwards as before, "
     "and "
     "no LUN is made.",
     "lunette lun redeploy golden-v2 vm1 vm2 --dry-run\n"
     "lunette lun redeploy golden-v2 vm1 vm2 --undo before-v2\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 2, -1, lun_redeploy_options, ctl_lun_redeploy},
    {"lun resize", "NAME SIZE", "change the size of a LUN", "resize LUN {0}",
     "SIZE may be +SIZE to add. Growing is always allowed; NBD clients see the new size when they "
     "connect again. Shrinking needs --force.",
     "lunette lun resize vm1 40G\n"
     "lunette lun resize vm1 +10G\n"
     "lunette lun resize vm1 10G --force --dry-run\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 2, lun_resize_options, ctl_lun_resize},
    {"lun rename", "NAME NEW-NAME", "give a LUN another name", "rename LUN {0}",
     "Clients that have it open keep it.", "lunette lun rename vm1 web1\n", 0, 2, 2, NULL,
     ctl_lun_rename},
    {"lun delete", "NAME|PATTERN...", "delete LUNs", "delete LUN {0}",
     "Clones of it are not touched: nothing depends on a source. Snapshots of its volume keep it "
     "as "
     "it was, and 'snapshot restore' brings it back. Space comes back in the background; "
     "--dry-run tells how much exactly. A PATTERN is as for lun show. Of several, each is checked "
     "before the first is deleted; then they go one by one, and if one is refused after all, "
     "because a client has opened it just now, it says which are gone.",
     "lunette lun delete vm1\n"
     "lunette lun delete 'ci-*' --dry-run\n"
     "lunette lun delete vm1 vm2 --with-snapshots --dry-run\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, -1, lun_delete_options, ctl_lun_delete},
    {"lun comment", "NAME TEXT", "set the note of a LUN", "comment on LUN {0}", NULL,
     "lunette lun comment vm1 'for the test of release 7'\n", 0, 2, 2, NULL, ctl_lun_comment},
    {"lun import", "SOURCE NAME", "make a LUN from an image", "import {0} as LUN {1}",
     "SOURCE is a raw or qcow2 (or other image) file, a block device, an nbd://, nbds:// or "
     "nbd+unix:// URI, or an iscsi:// URL. Holes and zeros take no space. If it fails or is "
     "interrupted, the new LUN is deleted again, unless --keep or --resume says otherwise. Until "
     "all of it is there the LUN is marked (lun show --fields importing), also after a crash: "
     "other clients cannot open it, and it is not cloned, mapped, copied or made a snapshot of by "
     "itself; a snapshot of its volume says that it is not whole. What was interrupted is an "
     "event; the same command begins it anew (with --resume goes on), lun delete removes it, lun "
     "modify --importing no keeps it as it is.",
     "lunette lun import debian.qcow2 golden --dry-run\n"
     "lunette lun import debian.qcow2 golden\n"
     "lunette lun import iscsi://10.0.0.5/iqn.2001-04.com.example:disk/1 db --verify\n",
     COMMAND_DRY_RUN, 2, 2, lun_import_options, ctl_lun_import},
    {"lun export", "NAME DESTINATION", "write a LUN or snapshot to an image", "export {0} to {1}",
     "NAME is LUN, LUN@SNAPSHOT, or A..B for the difference. DESTINATION is what lun import takes. "
     "A difference is written with its zeros: what has no data in DESTINATION has not changed.",
     "lunette lun export vm1 vm1.qcow2\n"
     "lunette lun export vm1 vm1.qcow2 --overwrite --dry-run\n"
     "lunette lun export vm1@monday nbd://backup.example.com/vm1\n",
     COMMAND_DRY_RUN, 2, 2, lun_export_options, ctl_lun_export},
    {"lun salvage", "[NAME]", "read what is left of a LUN in a damaged pool", "salvage {0}",
     "Opens a pool that no server has, for reading only, however damaged it is, and copies what "
     "can "
     "be read of a LUN or snapshot to a file. What is lost stays a hole there; --map writes the "
     "lost parts as ddrescue does. The status is 1 if anything was lost. --dry-run reads all of it "
     "and "
     "tells what would be. --list shows what there is, and what the maps lack: "
     "where a name is lost with a page of the catalog it is volume-ID, lun-ID or line-ID. What it "
     "says of an old page: that may be out of date, and parts of it may be other LUNs' data.",
     "lunette lun salvage --list --pool /srv/pool.lunette\n"
     "lunette lun salvage vm1 --pool /srv/pool.lunette --dry-run\n"
     "lunette lun salvage vm1 --pool /srv/pool.lunette --to vm1.raw --map vm1.map\n",
     COMMAND_LISTS | COMMAND_OFFLINE | COMMAND_DRY_RUN, 0, 1, lun_salvage_options, ctl_lun_salvage},
    {"lun attach", "NAME", "print the commands that attach a LUN to a host", "attach {0}",
     "For qemu, nbd-client, nbdcopy and libvirt, with the address of the running server. With an "
     "iSCSI portal also, for each igroup it is mapped to: open-iscsi, multipath, qemu, libvirt, "
     "Proxmox, ESXi, Windows.",
     "lunette lun attach vm1\n", 0, 1, 1, NULL, ctl_lun_attach},
    {"lun map", "NAME", "let the initiators of an igroup see a LUN", "map {0}",
     "NAME is LUN, or LUN@SNAPSHOT, which is read-only. A mapping follows a rename and ends with "
     "the LUN; a clone has none.",
     "lunette lun map vm1 --igroup web\n"
     "lunette lun map vm1 --igroup web --lun-id 5 --dry-run\n",
     COMMAND_DRY_RUN, 1, 1, lun_map_options, ctl_lun_map},
    {"lun modify", "NAME", "change attributes of a LUN", "modify {0}",
     "Without an option: shows how iSCSI hosts see it. Hosts that see the LUN are told of a "
     "change. NBD clients do not "
     "see these attributes. The sector size is chosen when a LUN is made (lun create --sector) and "
     "stays.",
     "lunette lun modify golden --read-only yes\n"
     "lunette lun modify cdrom --removable yes --read-only yes\n"
     "lunette lun modify db --space-reserve yes --dry-run\n"
     "lunette lun modify vm1 --expire 8h --owner ci\n"
     "lunette lun modify vm1\n",
     COMMAND_DRY_RUN, 1, 1, lun_modify_options, ctl_lun_modify},
    {"lun unmap", "NAME", "take a LUN from the initiators of an igroup", "unmap {0}",
     "Hosts get errors from then on; it says which of the igroup are connected. The LUN and its "
     "data stay.",
     "lunette lun unmap vm1 --igroup web --dry-run\n"
     "lunette lun unmap vm1 --igroup web\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 1, mapping_options, ctl_lun_unmap},

    {"lun maxsize", "[VOLUME[/QTREE]]", "tell how large a new LUN may be", "tell the largest size",
     command_maxsize_details, "lunette lun maxsize db\n", COMMAND_LISTS, 0, 1,
     command_maxsize_options, ctl_lun_maxsize},
    {"lun offline", "NAME", "refused: LUNs are always online", "take {0} offline",
     command_lun_state_details, "lunette lun offline vm1\n", COMMAND_HIDDEN, 1, 1, NULL,
     ctl_lun_state},
    {"lun online", "NAME", "refused: LUNs are always online", "bring {0} online",
     command_lun_state_details, "lunette lun online vm1\n", COMMAND_HIDDEN, 1, 1, NULL,
     ctl_lun_state},

    {"lun reservation show", "LUN", "list who is registered or holds a reservation",
     "show reservations of {0}",
     "Persistent reservations of iSCSI initiators (clusters use them), also of those that are not "
     "connected: one that persists outlives restarts of the server. While there is a reservation "
     "NBD clients cannot write.",
     "lunette lun reservation show vm1\n", COMMAND_LISTS, 1, 1, NULL, ctl_reservation_show},
    {"lun reservation clear", "LUN",
     "take registrations and reservations from initiators that are gone",
     "clear reservations of {0}",
     "With its registration an initiator loses a reservation that it holds. Initiators that are "
     "connected are told (registrations preempted; without --initiator, reservations preempted) "
     "and may register again.",
     "lunette lun reservation clear vm1 --initiator iqn.1993-08.org.debian:01:web1\n"
     "lunette lun reservation clear vm1 --dry-run\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 1, reservation_clear_options, ctl_reservation_clear},

    {"clone create", "SOURCE=NAME...", "clone several LUNs at one instant", "clone {0}",
     "All or none, and no write is in one clone that depends on a write missing in another: for "
     "data and log LUNs of one database, for example.",
     "lunette clone create db-data=test-data db-log=test-log --expire 8h --owner ci\n",
     COMMAND_DRY_RUN | COMMAND_CREATES, 1, -1, command_clone_create_options, ctl_clone_create},

    {"snapshot create", "LUN@SNAPSHOT...", "keep the present state of a LUN or a volume",
     "create snapshot {0}",
     "Takes no space until the LUN changes. Of a volume: all its LUNs at one instant; several "
     "volumes: with snapshots of one name, of one instant too. With "
     "--quiesce the server calls a program of its quiesce folder (see its conf file) with freeze "
     "before and thaw after it; $LUNETTE_OBJECTS says what of. Whether that made it "
     "application-consistent stands in its comment.",
     "lunette snapshot create vm1@monday\n"
     "lunette snapshot create vm1@before-upgrade --comment 'release 6'\n"
     "lunette snapshot create db@nightly logs@nightly --lock-until 30d\n"
     "lunette snapshot create db@clean --quiesce postgres --quiesce-required\n",
     COMMAND_DRY_RUN | COMMAND_CREATES, 1, -1, snapshot_create_options, ctl_snapshot_create},
    {"snapshot show", "[LUN|VOLUME][@SNAPSHOT]", "list snapshots", "show snapshots",
     "Owners are the volume clones that depend on it. Without an argument, snapshots of LUNs that "
     "are part of a volume's are left out.",
     "lunette snapshot show\n"
     "lunette snapshot show vm1 --fields name,created,mapped\n"
     "lunette snapshot show --orphaned\n",
     COMMAND_LISTS, 0, 1, snapshot_show_options, ctl_snapshot_show},
    {"snapshot delete", "LUN@SNAPSHOT", "delete a snapshot", "delete snapshot {0}",
     "Or VOLUME@SNAPSHOT, with the snapshots of the LUNs in it; while volume clones depend on it "
     "it is busy. Clones made from it are not touched.",
     "lunette snapshot delete vm1@monday --dry-run\n"
     "lunette snapshot delete db@nightly --defer\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 2, snapshot_delete_options, ctl_snapshot_delete},
    {"snapshot lock", "LUN@SNAPSHOT", "protect a snapshot from deletion until some time",
     "lock snapshot {0}", "A lock can be prolonged, never shortened.",
     "lunette snapshot lock db@nightly --until 30d\n", 0, 1, 2, snapshot_lock_options,
     ctl_snapshot_lock},
    {"snapshot rename", "LUN@SNAPSHOT NEW-SNAPSHOT", "give a snapshot another name",
     "rename snapshot {0}", NULL, "lunette snapshot rename vm1@monday release-6\n", 0, 2, 3, NULL,
     ctl_snapshot_rename},
    {"snapshot restore", "LUN@SNAPSHOT", "put a LUN or a volume back to the state of a snapshot",
     "restore snapshot {0}",
     "VOLUME@SNAPSHOT puts all LUNs back that it holds, and brings back those that were deleted; "
     "LUNs made since are left alone. What was written since is lost, unless a snapshot of it is "
     "made first. The LUNs may not be open, unless --force.",
     "lunette snapshot restore vm1@monday --dry-run\n"
     "lunette snapshot restore vm1@monday\n"
     "lunette snapshot restore db@nightly --dry-run\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 2, force_options, ctl_snapshot_restore},

    {"snapshot policy create", "NAME", "make a policy for snapshots on schedule",
     "create snapshot policy {0}",
     "KIND is hourly, daily (at midnight), weekly (Sunday's), monthly, or as 15min, 6hour; times "
     "are the server's local ones. Names are as hourly.2026-11-27_2205. Of each kind the newest "
     "COUNT are kept; who renames one keeps it for good. After a time without a server one missed "
     "snapshot is made up for. volume modify --snapshot-policy puts it to use.",
     "lunette snapshot policy create standard --schedule hourly:24,daily:7,weekly:4\n"
     "lunette snapshot policy create db --schedule 15min:8 --prefix db- --quiesce postgres\n",
     COMMAND_DRY_RUN, 1, 1, snapshot_policy_options, ctl_snapshot_policy_create},
    {"snapshot policy modify", "NAME", "change a snapshot policy", "change snapshot policy {0}",
     "--schedule replaces the whole list. Snapshots of kinds that are left out stay.",
     "lunette snapshot policy modify standard --schedule hourly:48,daily:7\n"
     "lunette snapshot policy modify db --quiesce none\n",
     COMMAND_DRY_RUN, 1, 1, snapshot_policy_options, ctl_snapshot_policy_modify},
    {"snapshot policy delete", "NAME", "delete a snapshot policy", "delete snapshot policy {0}",
     "Refused while volumes or LUNs have it.", "lunette snapshot policy delete standard\n",
     COMMAND_DRY_RUN, 1, 1, NULL, ctl_snapshot_policy_delete},
    {"snapshot policy show", "[NAME]", "list snapshot policies", "show snapshot policies", NULL,
     "lunette snapshot policy show\n", COMMAND_LISTS, 0, 1, NULL, ctl_snapshot_policy_show},

    {"refresh create", "NAME...", "give LUNs the content of another one on schedule",
     "make a refresh of {0}", command_refresh_create_details, command_refresh_create_example,
     COMMAND_DRY_RUN, 1, -1, command_refresh_create_options, ctl_refresh_create},
    {"refresh modify", "NAME...", "change when and how LUNs are refreshed",
     "change the refresh of {0}", NULL, "lunette refresh modify dev1 --schedule weekly@03:30\n",
     COMMAND_DRY_RUN, 1, -1, command_refresh_modify_options, ctl_refresh_modify},
    {"refresh show", "[NAME...]", "show what is refreshed, when, and what came of it",
     "show refreshes", NULL, "lunette refresh show\n", COMMAND_LISTS, 0, -1, NULL,
     ctl_refresh_show},
    {"refresh run", "NAME...", "refresh LUNs now", "refresh {0}", command_refresh_run_details,
     "lunette refresh run dev1 --dry-run\n"
     "lunette refresh run dev1 dev2\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, -1, NULL, ctl_refresh_run},
    {"refresh delete", "NAME...", "refresh LUNs no more", "delete the refresh of {0}",
     "The LUNs and their snapshots stay as they are.", "lunette refresh delete dev1\n",
     COMMAND_DRY_RUN, 1, -1, NULL, ctl_refresh_delete},

    {"volume create", "NAME [SIZE]", "make a volume, which holds LUNs and qtrees",
     "create volume {0}",
     "SIZE bounds what its LUNs and snapshots take of the pool; without it there is no bound. With "
     "--space-guarantee volume the pool promises it, and refuses what would break the promise. "
     "LUNs "
     "are put into it by their names: lunette lun create db/data 50G.",
     "lunette volume create db 200G --space-guarantee volume\n"
     "lunette volume create scratch\n",
     COMMAND_DRY_RUN | COMMAND_CREATES, 1, 2, volume_create_options, ctl_volume_create},
    {"volume show", "[NAME]", "list volumes and the space they use", "show volumes",
     "Used is what the pool holds for the volume: data and metadata that its LUNs and snapshots "
     "were the first to allocate. What a clone shares is charged to where it came from. "
     "Snapshots is what the LUNs' own snapshots hold and the LUNs no longer use. Own and Shared "
     "are "
     "the parts of Mapped, as lun show has them.",
     "lunette volume show\n"
     "lunette volume show db --fields name,size,charged,available,savings_ratio --json\n",
     COMMAND_LISTS, 0, 1, NULL, ctl_volume_show},
    {"volume modify", "NAME", "change guarantee, policies, lock or note of a volume",
     "change volume {0}", NULL,
     "lunette volume modify db --space-guarantee none --dry-run\n"
     "lunette volume modify db --when-full pause --pause 60s\n",
     COMMAND_DRY_RUN, 1, 1, volume_create_options + 1, ctl_volume_modify},
    {"volume resize", "NAME SIZE", "change the size of a volume", "resize volume {0}",
     "SIZE may be +SIZE to add; 0 is no bound.", "lunette volume resize db +50G\n", COMMAND_DRY_RUN,
     1, 2, command_volume_resize_options, ctl_volume_resize},
    {"volume rename", "NAME NEW-NAME", "give a volume another name", "rename volume {0}",
     "Its LUNs are named after it; clients that have them open keep them.",
     "lunette volume rename db sales-db\n", 0, 2, 2, NULL, ctl_volume_rename},
    {"volume delete", "NAME", "delete a volume", "delete volume {0}",
     "It must be empty, unless --with-contents is given. Volumes that were cloned from it and are "
     "not split keep it from being deleted.",
     "lunette volume delete scratch --with-contents --dry-run\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 1, volume_delete_options, ctl_volume_delete},
    {"volume autodelete modify", "VOLUME", "let a volume make room by itself",
     "change autodelete of {0}", AUTODELETE_ORDER,
     "lunette volume autodelete modify db -enabled true -target-free-space 20\n"
     "lunette volume autodelete modify scratch -enabled true -commitment destroy -trigger pool\n",
     COMMAND_DRY_RUN, 1, 1, command_autodelete_options, ctl_volume_autodelete_modify},
    {"volume autodelete show", "VOLUME", "show whether and how a volume makes room",
     "show autodelete of {0}", NULL, "lunette volume autodelete show db\n", 0, 1, 1, NULL,
     ctl_volume_autodelete_show},
    {"volume clone create", "VOLUME[@SNAPSHOT] NAME",
     "clone a volume with all its LUNs, at once and without copying", "clone volume {0}",
     "Without a snapshot one is made, named clone_NAME.TIME.N. The clone depends on the snapshot "
     "until it is split or deleted. ONTAP's way is understood too: volume clone create "
     "-parent-volume VOLUME -flexclone NAME.",
     "lunette volume clone create db test-db\n"
     "lunette volume clone create db@nightly test-db --no-guarantee\n",
     COMMAND_DRY_RUN | COMMAND_CREATES, 0, 2, command_volume_clone_options,
     ctl_volume_clone_create},
    {"volume clone show", "[NAME]", "list volume clones that depend on a snapshot",
     "show volume clones", NULL,
     "lunette volume clone show\n"
     "lunette volume clone show --estimate\n",
     COMMAND_LISTS, 0, 1, command_clone_show_options, ctl_volume_clone_show},
    {"volume clone split estimate", "NAME", "tell what splitting a volume clone would take",
     "estimate the split of {0}", NULL, "lunette volume clone split estimate test-db\n", 0, 1, 1,
     NULL, ctl_volume_split_estimate},
    {"volume clone split start", "NAME", "end the dependency of a volume clone on its parent",
     "split volume {0}",
     "Done when the command returns, whatever the size: no block is copied, and each is freed when "
     "the last volume that uses it is gone. With --physical what LUNs of the volume share (also of "
     "one that is no clone) is copied in the background; the dependency ends with that. It goes on "
     "after a restart, stops before the pool is full, and started again it goes on, or at another "
     "rate. Snapshots of the volume go on sharing.",
     "lunette volume clone split start test-db --dry-run\n"
     "lunette volume clone split start test-db\n"
     "lunette volume clone split start test-db --physical --rate 100M\n",
     COMMAND_DRY_RUN, 1, 1, split_options, ctl_volume_split_start},
    {"volume clone split show", "", "list physical splits and how far they are", "show splits",
     NULL, "lunette volume clone split show\n", COMMAND_LISTS, 0, 0, NULL, ctl_volume_split_show},
    {"volume clone split pause", "NAME", "pause a physical split", "pause the split of {0}",
     "volume clone split start --physical goes on.", "lunette volume clone split pause test-db\n",
     COMMAND_DRY_RUN, 1, 1, NULL, ctl_volume_split_pause},
    {"volume clone split stop", "NAME", "stop a physical split", "stop the split of {0}",
     "What is copied stays so; the volume goes on depending on its parent.",
     "lunette volume clone split stop test-db\n", COMMAND_DRY_RUN, 1, 1, NULL,
     ctl_volume_split_stop},

    {"qtree create", "VOLUME/QTREE", "make a qtree, the subject of a tree quota",
     "create qtree {0}", NULL, "lunette qtree create db/team-a --comment 'the A team'\n",
     COMMAND_CREATES, 1, 1, comment_options, ctl_qtree_create},
    {"qtree show", "[VOLUME]", "list qtrees", "show qtrees", NULL, "lunette qtree show db\n",
     COMMAND_LISTS, 0, 1, NULL, ctl_qtree_show},
    {"qtree rename", "VOLUME/QTREE NEW-NAME", "give a qtree another name", "rename qtree {0}", NULL,
     "lunette qtree rename db/team-a team-b\n", 0, 2, 2, NULL, ctl_qtree_rename},
    {"qtree delete", "VOLUME/QTREE", "delete an empty qtree", "delete qtree {0}", NULL,
     "lunette qtree delete db/team-a --dry-run\n", COMMAND_DRY_RUN, 1, 1, NULL, ctl_qtree_delete},

    {"quota rule create", "VOLUME", "limit the sizes of LUNs in a volume",
     "make a quota rule for {0}",
     "Quotas count the sizes that hosts see, shared or not: cloning a LUN of 10G counts another "
     "10G. A tree quota refuses what would exceed it. User and group quotas refuse new LUNs and "
     "growth, but let clones through, over-allocated and reported.",
     "lunette quota rule create db --target team-a --disk-limit 500G --soft-disk-limit 400G\n"
     "lunette quota rule create db --type user --target '*' --disk-limit 100G\n",
     0, 1, 1, quota_rule_options, ctl_quota_rule_create},
    {"quota rule modify", "VOLUME", "change the limits of a quota rule",
     "change the quota rule of {0}", "Limits that are not named stay as they are.",
     "lunette quota rule modify db --target team-a --disk-limit 600G\n", 0, 1, 1,
     quota_rule_options, ctl_quota_rule_modify},
    {"quota rule delete", "VOLUME", "delete a quota rule", "delete the quota rule of {0}", NULL,
     "lunette quota rule delete db --target team-a --dry-run\n", COMMAND_DRY_RUN, 1, 1,
     quota_delete_options, ctl_quota_rule_delete},
    {"quota rule show", "[VOLUME]", "list quota rules", "show quota rules", NULL,
     "lunette quota rule show db\n", COMMAND_LISTS, 0, 1, NULL, ctl_quota_rule_show},
    {"quota on", "VOLUME", "enforce the quotas of a volume", "turn the quotas of {0} on",
     "What exceeds a limit already stays.", "lunette quota on db\n", 0, 1, 1, NULL, ctl_quota_on},
    {"quota off", "VOLUME", "stop enforcing the quotas of a volume", "turn the quotas of {0} off",
     NULL, "lunette quota off db\n", 0, 1, 1, NULL, ctl_quota_off},
    {"quota report", "[PATH]", "show what is used beside what is allowed", "report on quotas",
     "PATH is a volume, a qtree or a LUN: what binds it.",
     "lunette quota report\n"
     "lunette quota report db/team-a/vm1\n",
     COMMAND_LISTS, 0, 1, NULL, ctl_quota_report},

    {"explain space", "[NAME]", "say in words where the space is, and what would help",
     "explain the space", "NAME is a LUN or a volume; without it: of the pool.",
     "lunette explain space\n"
     "lunette explain space db/data\n"
     "lunette explain space db/data --wanted 20G\n",
     0, 0, 1, command_explain_options, ctl_explain_space},
    {"explain quota", "PATH", "say in words which quotas bind a LUN, a qtree or a volume",
     "explain the quotas of {0}", NULL, "lunette explain quota db/team-a/vm1\n", 0, 1, 1,
     command_explain_options, ctl_explain_quota},

    {"igroup create", "IGROUP [INITIATOR...]", "make an igroup, a named set of iSCSI initiators",
     "create igroup {0}",
     "INITIATOR is the name of a host's iSCSI initiator: iqn., eui. or naa. On Linux it is in "
     "/etc/iscsi/initiatorname.iscsi.",
     "lunette igroup create web iqn.1993-08.org.debian:01:web1 iqn.1993-08.org.debian:01:web2\n",
     COMMAND_CREATES, 1, -1, NULL, ctl_igroup_create},
    {"igroup add", "IGROUP INITIATOR", "put an initiator into an igroup", "add {1} to igroup {0}",
     "It sees the igroup's LUNs at once.",
     "lunette igroup add web iqn.1993-08.org.debian:01:web3\n", 0, 2, 2, NULL, ctl_igroup_add},
    {"igroup remove", "IGROUP INITIATOR", "take an initiator out of an igroup",
     "remove {1} from igroup {0}",
     "It loses the igroup's LUNs at once, unless another igroup of its has them.",
     "lunette igroup remove web iqn.1993-08.org.debian:01:web3 --dry-run\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 2, 2, NULL, ctl_igroup_remove},
    {"igroup show", "[IGROUP]", "list igroups and their initiators", "show igroups", NULL,
     "lunette igroup show\n"
     "lunette igroup show web --json\n",
     COMMAND_LISTS, 0, 1, NULL, ctl_igroup_show},
    {"igroup delete", "IGROUP", "delete an igroup", "delete igroup {0}",
     "LUNs that are mapped to it stay, and are mapped to it no more.",
     "lunette igroup delete web --dry-run\n"
     "lunette igroup delete web --force\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 1, igroup_delete_options, ctl_igroup_delete},
    {"mapping show", "[LUN]", "list which LUN is mapped to which igroup", "show mappings", NULL,
     "lunette mapping show\n"
     "lunette mapping show vm1 --igroup web\n",
     COMMAND_LISTS, 0, 1, mapping_options, ctl_mapping_show},

    {"iscsi portal show", "", "list the iSCSI portals that listen", "show portals", NULL,
     "lunette iscsi portal show\n", COMMAND_LISTS, 0, 0, NULL, ctl_portal_show},
    {"iscsi session show", "", "list the iSCSI sessions", "show sessions", NULL,
     "lunette iscsi session show\n", COMMAND_LISTS, 0, 0, NULL, ctl_session_show},
    {"iscsi session terminate", "[INITIATOR]", "end the sessions of an initiator, or one session",
     "end sessions",
     "Initiators usually log in again at once; whoever is to stay away has to be removed from its "
     "igroups, too.",
     "lunette iscsi session terminate iqn.1993-08.org.debian:01:web3 --dry-run\n"
     "lunette iscsi session terminate --id 7\n",
     COMMAND_DRY_RUN | COMMAND_CONFIRMS, 0, 1, session_terminate_options, ctl_session_terminate},
    {"iscsi chap set", "SUBJECT", "ask initiators for a user and a secret (CHAP)",
     "set CHAP of {0}",
     "SUBJECT is an initiator's name, igroup:NAME, \"*\" for all that have no record of their own, "
     "or discovery. Without --secret or --secret-file the secret is a line of standard input (the "
     "mutual one the next), not echoed on a terminal. No command shows a secret. Sessions that "
     "there are go on.",
     "lunette iscsi chap set igroup:web --user web --secret-file /root/web.secret\n"
     "lunette iscsi chap set iqn.1993-08.org.debian:01:web1 --user web1\n",
     0, 1, 1, command_chap_set_options, ctl_chap_set},
    {"iscsi chap show", "", "list who has to prove what, without secrets", "show CHAP records",
     NULL, "lunette iscsi chap show\n", COMMAND_LISTS, 0, 0, NULL, ctl_chap_show},
    {"iscsi chap delete", "SUBJECT", "delete a CHAP record", "delete CHAP of {0}",
     "The next record that fits SUBJECT counts then; if there is none, no secret is asked for.",
     "lunette iscsi chap delete igroup:web --dry-run\n", COMMAND_DRY_RUN | COMMAND_CONFIRMS, 1, 1,
     NULL, ctl_chap_delete},
    {"iscsi chap rewrap", "", "wrap the CHAP secrets in the pool with the server's key",
     "rewrap CHAP secrets",
     "Those that lie in clear, and with --old-key those that FILE's key wraps. Then what older "
     "states of the pool have left of them is overwritten, in its journal and its free blocks, "
     "which are all read: that takes as long as reading the pool's free space, and can be done "
     "again. Copies made before keep what they have.",
     "lunette iscsi chap rewrap --dry-run\n"
     "lunette iscsi chap rewrap --old-key /root/old.key\n",
     COMMAND_DRY_RUN, 0, 0, command_chap_rewrap_options, ctl_chap_rewrap},
    {"key create", "FILE", "make a key that wraps CHAP secrets in a pool", "make key {0}",
     "FILE is readable for its owner alone, and nothing that is there is replaced. Keep a copy "
     "away "
     "from the pool: without the key its secrets are lost, and have to be set anew.",
     "lunette key create /etc/lunette/lunette.key\n", 0, 1, 1, NULL, ctl_key_create},
    {"key show", "[FILE]", "show the id of a key: FILE's, and the server's if one answers",
     "show the key", NULL, "lunette key show /etc/lunette/lunette.key\nlunette key show\n", 0, 0, 1,
     NULL, ctl_key_show},

    {"qos class create", "CLASS", "make a QoS class: limits and a weight under a name",
     "create class {0}",
     "Each LUN that is put into the class has these limits for itself, over NBD and iSCSI "
     "together; a volume's or the pool's are for all its LUNs together. A request over a limit "
     "waits. One operation is a read, a write or an unmap; flushes never wait. The weight counts "
     "where LUNs wait for a limit of their volume or of the pool: they get it in proportion to "
     "their weights. Without such a limit nothing is shared out, and weights mean nothing.",
     "lunette qos class create silver --max-iops 2000 --max-bps 100M\n"
     "lunette qos class create gold --max-iops 10000 --burst 2s --weight 400\n",
     0, 1, 1, qos_class_options, ctl_qos_class_create},
    {"qos class modify", "CLASS", "change a QoS class", "modify class {0}",
     "What is not named stays. Everything in the class has the new limits at once, also requests "
     "that wait. The limits of the class default are those of every LUN that is in no other; they "
     "are none at first.",
     "lunette qos class modify silver --max-iops 3000\n"
     "lunette qos class modify background --max-bps none\n",
     0, 1, 1, qos_class_options, ctl_qos_class_modify},
    {"qos class delete", "CLASS", "delete a QoS class", "delete class {0}",
     "Nothing may be in it. The classes default and background are always there.",
     "lunette qos class delete silver\n", COMMAND_DRY_RUN, 1, 1, NULL, ctl_qos_class_delete},
    {"qos class show", "[CLASS]", "list QoS classes", "show classes", NULL,
     "lunette qos class show\n", COMMAND_LISTS, 0, 1, NULL, ctl_qos_class_show},
    {"qos set", "NAME... CLASS", "put LUNs, volumes, or the pool into a QoS class", "set the class",
     "At once, for clients that are connected too. The class default takes a LUN back to where it "
     "was at first; a volume or the pool has no limit then. A class goes with a LUN or a volume "
     "through a rename and ends with it; a clone is in default unless it is made with --qos.",
     "lunette qos set vm1 vm2 silver\n"
     "lunette qos set --pool gold\n"
     "lunette qos set vm1 default\n",
     0, 1, -1, qos_set_options, ctl_qos_set},
    {"qos show", "[NAME]", "show what is in which QoS class", "show QoS",
     "Lists the pool, and the volumes and LUNs that were put into a class; Held counts the "
     "requests that had to wait since the server started, Waiting those that wait now.",
     "lunette qos show\n"
     "lunette qos show vm1\n",
     COMMAND_LISTS, 0, 1, NULL, ctl_qos_show},
    {"top", "[NAME|PATTERN...]", "show what LUNs are doing: operations, bytes, latencies",
     "show what LUNs are doing",
     "On a terminal it goes on until q is pressed; else, or with --json, it prints one table. The "
     "busiest LUNs come first; only those that were in use since the server started are there. A "
     "latency is from when a request was there until it was done, what it waited for a limit "
     "included; p99 is a bound below which 99 of 100 stayed, a power of two of nanoseconds. With "
     "--json times are in microseconds, and of several tables each is a line.",
     "lunette top\n"
     "lunette top 'vm-*' --count 1 --interval 10s\n"
     "lunette top --json --fields name,read_iops,write_iops\n",
     COMMAND_LISTS, 0, -1, top_options, ctl_top},
    {"metrics", "", "print all figures as OpenMetrics text, for Prometheus", "print metrics",
     "Pool, cache, journal, jobs, iSCSI sessions, volumes, quotas, LUNs, and histograms of "
     "latencies "
     "of the LUNs that were in use. There are 7 series of each volume, up to 4 of each target of a "
     "quota, 8 of each LUN, of one in use 11 more and 28 for each kind of its requests; of "
     "snapshots "
     "none. With --output a file is replaced in one step: a systemd timer or cron job can feed "
     "node_exporter's textfile collector so.",
     "lunette metrics\n"
     "lunette metrics --output /var/lib/prometheus/node-exporter/lunette.prom\n",
     0, 0, 0, metrics_options, ctl_metrics},

    {"tree", "", "show what was cloned from what", "show the lineage",
     "A clone does not hang below its source: a clone freezes what the source holds at a point "
     "that has no name, and both go on from there. Such points are shown as (hidden).",
     "lunette tree\n"
     "lunette tree --dot | dot -Tsvg >tree.svg\n",
     0, 0, 0, tree_options, ctl_tree},
    {"df", "[NAME|PATTERN...]", "show the space of the pool, of each volume and each LUN",
     "show space",
     "Available is what a write finds that was promised nothing: in the volume, else in the pool. "
     "Used is the rest of the size, promises and what is kept for deletes and checkpoints "
     "included, "
     "as thresholds count it; pool show tells its parts. Used by a LUN is what it shares with no "
     "other line, and what its snapshots hold. Saved is what of Mapped takes no space, being "
     "shared; "
     "Savings is how much is mapped for each byte of data that is held: all, for a clone that "
     "holds "
     "none of its own. NAME is a volume, with its LUNs, or a LUN. -s without a path behind it is "
     "--savings, as ONTAP has it: df -s db.",
     "lunette df\n"
     "lunette df db --units G\n"
     "lunette df --savings\n",
     COMMAND_LISTS, 0, -1, command_df_options, ctl_df},
    {"freed", "NAME...", "tell what deleting LUNs and snapshots together would give back",
     "tell what would be freed",
     "Exact, and for the whole set: what two clones share with each other alone counts only when "
     "both "
     "are named.",
     "lunette freed vm1 vm2 golden@monday\n", 0, 1, -1, NULL, ctl_freed},

    {"event show", "", "show what happened since the server started", "show events",
     "The server has the last 1,024 in memory, and they end with it: the next one begins with 1. "
     "What is to last goes to the system log (syslog = yes) or to a program (exec): [events] in "
     "the "
     "conf file of lunette serve.",
     "lunette event show\n"
     "lunette event show --follow --json\n",
     COMMAND_LISTS, 0, 0, event_show_options, ctl_event_show},
    {"job show", "", "list background work", "show jobs", NULL, "lunette job show\n", COMMAND_LISTS,
     0, 0, NULL, ctl_job_show},
    {"job wait", "[ID]", "wait until background work is done", "wait for jobs",
     "Without ID: until there is none. A job that has ended counts as waited for, however long ago "
     "that was: its ID is never given to another one. An ID that no job can have had is refused.",
     "lunette job wait --timeout 5m\n", 0, 0, 1, job_wait_options, ctl_job_wait},
    {"job cancel", "ID", "stop background work that can be stopped", "cancel job {0}",
     "Work that gives back the space of something deleted cannot be stopped; physical splits of "
     "volumes can.",
     "lunette job cancel 12\n", 0, 1, 1, NULL, ctl_job_cancel},

    {"server status", "", "show the running server", "ask for the server's status", NULL,
     "lunette server status\n"
     "lunette server status --wait 30s --json\n",
     COMMAND_LISTS, 0, 0, server_status_options, ctl_server_status},
    {"server stop", "", "stop the server", "stop the server",
     "Returns when the process has ended, so the pool is free then.", "lunette server stop\n",
     COMMAND_CONFIRMS, 0, 0, NULL, ctl_server_stop},

    {"help", "[COMMAND]", "explain a command, or list all", "explain", NULL,
     "lunette help lun clone\n", 0, 0, -1, NULL, ctl_help},

    {"store get", "KEY", "print an entry of the pool's configuration store", "get {0}", NULL,
     "lunette store get KEY\n", COMMAND_HIDDEN, 1, 1, NULL, ctl_store_get},
    {"store list", "[PREFIX]", "list the pool's configuration store", "list the store", NULL,
     "lunette store list\n", COMMAND_HIDDEN, 0, 1, NULL, ctl_store_list},
    {"__complete", "WORD...", "print what may come next, for the shell", "complete", NULL,
     "lunette __complete lun cr\n", COMMAND_HIDDEN, 0, -1, NULL, ctl_complete},
    {"__manual", "", "print the manual page", "print the manual page", NULL,
     "lunette __manual >conf/lunette.1\n", COMMAND_HIDDEN, 0, 0, NULL, ctl_manual},
    {0},
};
