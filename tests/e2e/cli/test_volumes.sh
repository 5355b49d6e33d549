#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Volumes, qtrees, quotas, attributes, explanations: as an admin types them, and after a crash.

. "$(dirname "$0")/lib.sh"

ok pool create "$pool" 1G --name main
server_start

# ---- volumes ----
json name never volume create never 100M --dry-run
json count 0 volume show
ok volume create db 200M --comment 'the sales database'
says "Created volume db of 200 MiB"
json volumes.0.guarantee none volume show db
json volumes.0.size_bytes 209715200 volume show
json volumes.0.comment 'the sales database' volume show db
refused 1 "a volume named 'db' is there already" volume create db
refused 1 "there is no volume 'nope'" volume show nope
refused 1 "there is no volume 'nope'; 'lunette volume create nope' makes it" lun create nope/lun1 1M
refused 2 "\"some\" is none of volume|none" volume create x --space-guarantee some
ok volume resize db +56M
json volumes.0.size_bytes 268435456 volume show db
json size_bytes 268435456 volume resize db 1M --dry-run
ok volume modify db --when-full pause --pause 2s
json volumes.0.full_policy pause volume show db
json volumes.0.pause_ms 2000 volume show db
ok volume create scratch
ok volume rename scratch heap
json count 2 volume show

# ---- qtrees and LUNs in them ----
ok qtree create db/a --comment 'team a'
ok lun create db/a/data 64M --owner eve --group sales
ok lun create /vol/db/log 16M
json luns.0.name db/log lun show db/log
json luns.0.owner eve lun show db/a/data
json qtrees.0.logical_bytes 67108864 qtree show db
refused 1 "holds" qtree delete db/a
ok qtree rename db/a team-a
json luns.0.name db/team-a/data lun show db/team-a/data
ok lun rename db/log db/journal
ok lun rename db/journal loose
json luns.0.name loose lun show loose
ok lun rename loose db/log

# ---- quotas ----
ok quota rule create db --target team-a --disk-limit 100M --soft-disk-limit 90M
says "Created the quota rule of qtree db/team-a."
ok quota rule create db --type user --target '*' --disk-limit 100M
says "Created the quota rule of each user in volume db."
ok quota rule create db --type group --target staff --qtree team-a --disk-limit 100M
says "Created the quota rule of group staff in qtree db/team-a."
says " 'lunette quota on db' enforces it."
ok quota rule delete db --type group --target staff --qtree team-a
says "Deleted the quota rule of group staff in qtree db/team-a."
json count 2 quota rule show db
refused 1 "'lunette quota rule modify db --type tree --target team-a --disk-limit SIZE' changes it" \
    quota rule create db --target team-a --disk-limit 1G
refused 1 "modify db --type user --target '*' --disk-limit SIZE'" quota rule create db --type user \
    --target '*' --disk-limit 1G
refused 2 "is not a size" quota rule create db --disk-limit much
refused 1 "the soft limit, 2 MiB, is above the limit, 1 MiB" quota rule create db --disk-limit 1M --soft-disk-limit 2M
ok lun clone db/team-a/data db/team-a/free # they are off
ok lun delete db/team-a/free
ok quota on db
refused 1 "the quota of qtree 'db/team-a' is 100 MiB; 64 MiB are used and 64 MiB more" \
    lun clone db/team-a/data db/team-a/copy --dry-run
refused 1 "the quota of qtree 'db/team-a' is 100 MiB" lun clone db/team-a/data db/team-a/copy
json count 1 lun show 'db/team-a/*'
ok lun clone db/team-a/data db/copy # a user's quota lets a clone through
json count 2 quota report db
json quotas.1.state over-allocated quota report db
json quotas.1.default_rule true quota report db
refused 1 "the quota of user 'eve' in volume 'db' (a default rule)" lun resize db/copy +1M
refused 1 "the quota of user 'eve'" lun create db/new 1M --owner eve
json quotas.0.used_bytes 67108864 quota report db/team-a/data
ok explain quota db/team-a/data
says "The tree quota of db/team-a counts the sizes of 1 LUN: 64 MiB of 100 MiB; 36 MiB are left."
says "It is over-allocated"
ok quota rule modify db --target team-a --disk-limit none
ok lun clone db/team-a/data db/team-a/copy
json events.# '*' event show
[[ $out == *quota.softlimit.exceeded* ]] || fail "no event of the soft limit"
[[ $out == *quota.user.overallocated* ]] || fail "no event of the user's quota"
ok quota rule delete db --target team-a --dry-run
ok quota rule delete db --target team-a
refused 1 "has no such quota rule" quota rule delete db --target team-a
json count 1 quota rule show db
ok lun delete db/team-a/copy db/copy

# ---- snapshots and clones of volumes ----
ok snapshot create db@monday --comment 'before the release'
json count 1 snapshot show db
json snapshots.0.luns 2 snapshot show db
ok lun delete db/log --dry-run # the snapshot keeps it
ok volume clone create db@monday test-db
json volumes.0.parent db@monday volume show test-db
json count 1 volume clone show
json count 2 lun show 'test-db/*'
json snapshots.0.owners test-db snapshot show db
refused 1 "is busy: volume 'test-db' depends on it" snapshot delete db@monday
ok snapshot delete db@monday --defer
json snapshots.0.deferred true snapshot show db
refused 1 "depends on snapshot" volume delete db --with-contents
ok volume clone split estimate test-db
says "takes no space"
json shared_bytes 0 volume clone split estimate test-db
ok volume clone split start test-db --dry-run
json count 1 volume clone show
ok volume clone split start test-db
json count 0 volume clone show
json count 0 snapshot show db # the deferred one went with its last clone
ok volume clone create -parent-volume db -flexclone auto-db
json snapshots.0.automatic true snapshot show db
ok volume delete auto-db --with-contents
json count 1 snapshot show db # it stays, as ONTAP's does
name=$("$probe" json snapshots.0.name <<<"$out")
ok snapshot rename "$name" kept
ok snapshot lock db@kept --until 1h
refused 1 "locked" snapshot delete db@kept
refused 1 "locked" volume delete db --with-contents
ok snapshot create db@pair --with test-db
json count 1 snapshot show test-db
ok snapshot restore db@pair

# ---- a LUN that is deleted lives on in the snapshots of its volume ----
ok lun create db/gone 8M --comment 'dear to us' --owner eve
json luns.0.comment 'dear to us' lun show db/gone
uuid=$("$probe" json luns.0.uuid <<<"$out")
ok snapshot create db@with-gone
ok lun rename db/gone db/moved
json count 1 snapshot show db/moved
json snapshots.0.name db/gone@with-gone snapshot show db/moved
ok lun rename db/moved db/gone
ok lun delete db/gone
json volumes.0.deleted_luns 1 volume show db
refused 1 "LUN 'db/gone' was deleted, and snapshots of its volume hold it" lun show db/gone
refused 1 "LUN 'db/gone' was deleted" lun resize db/gone 16M
json snapshots.0.name db/gone@with-gone snapshot show db/gone
json snapshots.0.lun_deleted true snapshot show db/gone
ok freed db/gone@with-gone
ok explain space db
ok lun clone db/gone@with-gone db/again
ok lun create db/gone 1M
refused 1 "something else is named 'db/gone' since" snapshot restore db/gone@with-gone
refused 1 "is there already" snapshot create db/gone@with-gone
json count 1 lun show db/gone
ok lun delete db/gone
ok snapshot restore db/gone@with-gone --dry-run
says "Would bring back LUN db/gone, which was deleted, from db/gone@with-gone."
ok snapshot restore db/gone@with-gone
json luns.0.uuid "$uuid" lun show db/gone
json luns.0.comment 'dear to us' lun show db/gone
ok lun delete db/gone
ok snapshot restore db@with-gone --dry-run
says "LUN db/gone, which was deleted, comes back"
ok snapshot restore db@with-gone
says "LUN db/gone, which was deleted, is back; it is mapped to nobody."
says "1 LUN made since stays as it is."
json volumes.0.deleted_luns 0 volume show db
ok volume clone create db@with-gone no-promise --no-reserve
json count 3 lun show 'no-promise/*'
ok volume delete no-promise --with-contents
ok lun delete db/gone db/again
ok snapshot delete db@with-gone

# ---- attributes ----
ok lun modify db/log --expire 8h --autodelete yes --owner ci
json luns.0.autodelete true lun show db/log
json luns.0.owner ci lun show db/log
refused 2 "is no time" lun modify db/log --expire soon
ok lun modify db/log --expire none
ok lun create keep 1M --lock-until 30d
ok snapshot create keep@s
for source in keep keep@s; do
    refused 1 "'keep' is locked until 20" lun clone $source copy
    [[ $err == *"--unlocked makes one"* ]] || fail "no way out: $err"
    refused 1 "'keep' is locked until 20" lun clone $source copy --dry-run
    refused 1 "'keep' is locked until 20" lun clone $source copy%d --count 3
    refused 1 "'keep' is locked until 20" clone create $source=copy
    ok lun clone $source copy --unlocked
    ok lun clone $source copy%d --count 3 --unlocked
    ok clone create $source=copy4 --unlocked
    ok lun show copy copy0 copy4 --json
    [[ $out != *locked_until* ]] || fail "a clone of what is locked is locked: $out"
    ok lun delete copy copy0 copy1 copy2 copy4
done
ok snapshot delete keep@s
refused 1 "locked" lun delete keep
ok clone create db/team-a/data=c-data db/log=c-log --expire 1h
json count 2 lun show 'c-*'
refused 2 "SOURCE=NAME" clone create db/log
refused 1 "" clone create db/log=c-log
ok lun redeploy keep c-data --undo before
# A snapshot of that name goes, which is said before and after.
ok lun redeploy keep c-data c-log --undo before --dry-run
says "c-data@before, in place of the snapshot of that name, which goes"
ok lun redeploy keep c-data c-log --undo before
says "1 of them had a snapshot before already, which is gone"
json luns.0.size_bytes 1048576 lun show c-log
ok snapshot restore c-log@before
json luns.0.size_bytes 16777216 lun show c-log

# ---- in words ----
ok explain space
says "So "
says "lunette pool grow"
ok explain space db
says "Volume db may hold 256 MiB"
json lines.# '*' explain space db/log
refused 1 "there is no LUN, snapshot or volume 'db/none'; 'lunette df' lists" explain space db/none

# ---- all of it is there after a crash ----
server_kill
server_start
json count 3 volume show
json volumes.0.pause_ms 2000 volume show db
json count 1 quota rule show db
json luns.0.owner eve lun show db/team-a/data
json count 2 snapshot show db
refused 1 "the quota of user 'eve'" lun resize db/team-a/data +64M
json errors 0 pool check

# ---- what quotas tell ----
ok volume create q
ok qtree create q/t
ok lun create q/t/a 16M --owner eve --group ops
ok quota rule create q --target t --disk-limit 20M
says "Created the quota rule of qtree q/t. 'lunette quota on q' enforces it."
ok quota on q
ok quota rule create q --type user --target '*' --disk-limit 20M
says "It is enforced: quotas of volume q are on."
# What a refusal names is typed as it stands, and then there is room, for each rule that is in the way.
typed=
for tries in 1 2 3 4; do
    run lun create q/t/b 16M --owner eve --group ops
    [[ $status != 0 ]] || break
    [[ $err =~ lunette\ (quota\ rule\ [^\']*) ]] || fail "no command in: $err"
    typed+="${BASH_REMATCH[1]};"
    # shellcheck disable=SC2086 # words
    ok ${BASH_REMATCH[1]}
done
same "$status" 0
same "$typed" "quota rule modify q --type tree --target t --disk-limit 32M;quota rule create q --type user --target eve --disk-limit 32M;"
# A limit below what is there is set, and whoever sets it is told.
run quota rule modify q --target t --disk-limit 8M
same "$status" 0
checks=$((checks + 1))
[[ $err == "lunette: warning: tree t uses 32 MiB already, more than 8 MiB; what is there stays"* ]] || fail "no warning: $err"
run quota rule modify q --type user --target eve --disk-limit 30M --json
checks=$((checks + 1))
[[ $("$probe" json note <<<"$err") == "warning: user eve uses 32 MiB already, more than 30 MiB;"* ]] || fail "no warning: $err"
ok quota rule modify q --type user --target '*' --disk-limit 1M # eve has a rule of her own
ok volume delete q --with-contents
ok job wait --timeout 1m

# Of what space is made: of a LUN, a volume, in df.
ok volume create parts 64M
ok lun create parts/l 16M --space-reserve yes
uri=$("$lunette" lun attach parts/l --json | "$probe" json uri)
qemu-io -f raw -c 'write -P 1 0 4M' "$uri" >/dev/null || fail "qemu-io"
ok lun clone parts/l parts/c --no-reserve
ok snapshot create parts/l@s
qemu-io -f raw -c 'write -P 2 0 1M' "$uri" >/dev/null || fail "qemu-io"
values()
{
    local path=$1 key text=
    shift
    for key in "$@"; do text+="$("$probe" json "$path.$key" <<<"$out") "; done
    echo "${text% }"
}
ok lun show parts/l --json
same "$(values luns.0 logical_bytes mapped_bytes own_bytes shared_bytes snapshot_bytes)" "16777216 4194304 1048576 3145728 1048576"
needed=$(values luns.0 needed_bytes)
free=$(values luns.0 available_bytes)
same "$(values luns.0 serial)" "$(values luns.0 uuid | tr -d -)"
ok volume show parts --json
same "$(values volumes.0 logical_bytes mapped_bytes own_bytes shared_bytes)" "33554432 8388608 1048576 7340032"
same "$(values volumes.0 used_bytes reserved_bytes available_bytes)" "$(values volumes.0 charged_bytes) $needed $free"
ok df --json
for i in $(seq 0 $(($("$probe" json entries.# <<<"$out") - 1))); do
    case $(values "entries.$i" kind name) in
    "pool "*) same "$(values "entries.$i" reserved_bytes)" "$("$lunette" pool show --json | "$probe" json promised_bytes)" ;;
    "volume parts") same "$(values "entries.$i" own_bytes shared_bytes snapshot_bytes reserved_bytes)" "1048576 7340032 1048576 $needed" ;;
    "lun parts/l") same "$(values "entries.$i" own_bytes shared_bytes snapshot_bytes reserved_bytes available_bytes)" \
        "1048576 3145728 1048576 $needed $free" ;;
    esac
done
ok df --fields name,own,shared,snapshot-held,reserved
ok volume show parts --fields name,size-used,snapshot-held,space-reserve --json
same "$(values volumes.0 used_bytes snapshot_bytes reserved_bytes)" "$("$lunette" volume show parts --json | "$probe" json volumes.0.charged_bytes) 1048576 $needed"
ok lun show parts/l --fields serial-hex,space-reserve,snapshot-held,logical,available
says yes
ok lun show parts/c --fields serial-hex --json
same "$(values luns.0 serial | wc -c)" 33
refused 2 "no field" lun show --fields size-use
ok volume delete parts --with-contents

ok volume delete heap
ok volume delete test-db --with-contents --dry-run
says "Would delete volume test-db."
ok volume delete test-db --with-contents
json count 1 volume show
ok server stop
wait "$server"
server=
json errors 0 pool check --pool "$pool"
finish
