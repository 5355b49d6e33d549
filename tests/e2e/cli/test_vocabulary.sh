#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What people type who know ONTAP or the issue's spelling, and what must not be taken for something else.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no volumes"

ok pool create "$pool" 1G
server_start
ok volume create db
ok qtree create db/team
ok lun create db/b 16M
ok lun create db/team/a 16M

# ---- several LUNs at one instant ----

ok clone create --group db/b=db/c1 db/team/a=db/c2
says "Cloned 2 LUNs, all of one instant."
json luns.0.group "" lun show db/c1
json luns.0.origin "*" lun show db/c2
ok clone create db/b=db/c3 db/team/a=db/c4 -group
says "Cloned 2 LUNs"
ok clone create db/b=db/c5 --quota-group web
json luns.0.group web lun show db/c5
ok clone create db/b=db/c6 --group web
json luns.0.group web lun show db/c6
refused 2 'it has a "="' clone create db/b=db/c7 --quota-group a=b
refused 2 'it has a "="' clone create db/b=db/c7 --group=a=b
refused 2 'it has a "="' lun clone db/b db/c7 --group x=y
refused 2 'it has a "="' lun create db/c7 1M --group x=y
ok lun clone db/b db/c7 --quota-group web
json luns.0.group web lun show db/c7
refused 1 "" lun show db/c8

# ---- one dash ----

refused 2 "--space-guarante: no such option" volume clone create db x -space-guarante none
refused 2 "did you mean --space-guarantee?" volume create x -guarantee none
refused 1 "cannot clone volume db: volume 'db' has no snapshot 'none'" \
    volume clone create -parent-volume db -parent-snapshot none -flexclone x
ok freed-if-deleted db/c7
says "Frees "
refused 2 "no such option" lun show -sdb
refused 2 "no such option" lun create db/x 1M -nonsense 3
refused 2 "-x: " lun show -x
ok lun show "-s$LUNETTE_SOCKET"
ok lun show -j -s "$LUNETTE_SOCKET"
ok lun delete -fyn db/c7
says "Would delete db/c7"
ok lun show db/c7 -fields name
ok lun delete -force db/c7
refused 2 "negative" lun create db/x -5
refused 1 "" lun show db/c7

# ---- snapshots of several volumes ----

ok volume create logs
ok lun create logs/a 1M
ok snapshot create db@n logs@n
says "Created snapshots db@n, logs@n, all of one instant."
ok snapshot show logs@n
ok snapshot create db@m logs@m --dry-run
says "Would create snapshots db@m, logs@m, all of one instant."
refused 1 "" snapshot show logs@m
ok snapshot create db@o --with logs
ok snapshot show logs@o
refused 2 'snapshots of one name: write "logs@p"' snapshot create db@p logs
refused 2 "snapshots of one name" snapshot create db@p logs@q
refused 1 "'db@p'" snapshot show db@p
refused 1 "" snapshot create db@p db/b@p
ok snapshot create db/b solo
ok volume clone create db@n dbn
ok snapshot show db
says "Busy"
[[ $(grep "^db@n " <<<"$out") == *" yes "*dbn* ]] || fail "db@n is not busy: $out"
[[ $(grep "^db@o " <<<"$out") == *" no "* ]] || fail "db@o is busy: $out"

# ---- df -s ----

ok df -s db
says "%Saved"
says "db/c1"
[[ $out != *" pool "* && $out != "pool "* ]] || fail "df -s db shows the pool: $out"
ok df -s
says "%Saved"
ok df --savings /vol/db/c1
says "1 entry was displayed."
ok df -s "$LUNETTE_SOCKET" 'db/c*'
says "Available"
refused 1 "no LUN or volume named 'nothing'" df -s nothing
json entries.0.name db/c1 df db/c1
json entries.0.saved_percent '*' df db

# ---- what ONTAP writes ----

ok volume create -vserver svm1 -volume v -aggregate aggr1 -size 256m -space-guarantee none
ok lun create -vserver svm1 -path /vol/v/l -size 10m -ostype linux -space-reserve disabled
ok lun create -volume v -lun r -size 8m -ostype vmware -space-reserve enabled -class regular
json luns.0.reserved true lun show -path /vol/v/r
refused 2 'no "dos" here' lun create -path /vol/v/x -size 1m -ostype dos
ok lun show -volume v -fields name,size
says "v/l"
says "v/r"
says "2 entries were displayed."
ok lun show -path /vol/v/l -instance
says "    Size: 10 MiB"
says "Snapshot count: 0"
[[ $(grep -c : <<<"$out") -gt 15 ]] || fail "-instance shows few fields: $out"
ok lun show '/vol/v/*' -instance -fields name,snapshot-bytes
says "     Name: v/r"
says "2 entries were displayed."
refused 2 'no fields "sise", "vserver"; there are: name,' lun show -fields name,sise,vserver,size
refused 2 'no field "sise"; there are' lun show -fields sise,size

ok lun show -fields path,size-used,space-reserve
says "Name"
ok volume show -fields volume,used,available,space-guarantee,clone-volume
says "Guarantee"
refused 2 'no field "physical_used_percent"' volume show -fields physical_used_percent

ok igroup create hosts iqn.2000-01.x:a
ok lun igroup create -igroup more -protocol iscsi -ostype linux -initiator iqn.2000-01.x:b,iqn.2000-01.x:c
json igroups.0.initiator_count 2 igroup show more
ok lun igroup add -igroup more -initiator iqn.2000-01.x:d
ok lun mapping create -vserver svm1 -path /vol/v/l -igroup hosts -lun-id 7
json mappings.0.lun_id 7 lun mapping show -path /vol/v/l
refused 1 "no state that is offline" lun offline -path /vol/v/l
[[ $err == *"try: lunette lun unmap /vol/v/l --igroup hosts"* ]] || fail "no way to unmap: $err"
ok lun mapping delete -path /vol/v/l -igroup hosts
json count 0 lun mapping show -path /vol/v/l
refused 1 "mapped to no igroup" lun offline v/l
refused 1 "always online" lun online v/l

ok volume qtree create -volume v -qtree q
ok quota rule create v --type user --target joe --disk-limit 20M
ok quota on v
json sizes.0.size_bytes 20971520 lun maxsize -volume v --owner joe
ok lun maxsize -volume v -qtree q
says "v/q"
# It is what can be made: a block more is refused.
max=$("$lunette" lun maxsize v --json | "$probe" json sizes.1.size_bytes)
refused 1 "" lun create v/m $((max + 4096)) --space-reserve yes --dry-run
ok lun create v/m "$max" --space-reserve yes --dry-run
refused 1 "" lun maxsize nothing
ok quota off v
ok volume quota policy rule create -vserver svm1 -policy-name default -volume v -type tree -target q -qtree "" -disk-limit 1g
json rules.0.hard_bytes '*' volume quota policy rule show -volume v
ok volume quota report -path /vol/v/q
says " q "

ok volume snapshot create -vserver svm1 -volume v -snapshot s1
ok volume snapshot show -volume v -snapshot s1
says "1 entry was displayed."
refused 1 "" volume snapshot show -volume v -snapshot other
ok volume snapshot rename -volume v -snapshot s1 -new-name s2
ok volume snapshot restore-file -vserver svm1 -volume v -snapshot s2 -path /vol/v/l
ok volume snapshot restore-file -volume v -snapshot s2 -path /r
refused 2 "lunette lun clone" volume snapshot restore-file -volume v -snapshot s2 -path /r -restore-path /r2

ok volume file clone create -vserver svm1 -volume v -source-path r -destination-path r1 -snapshot-name s2 -no-reserve true -autodelete true
json luns.0.reserved false lun show v/r1
ok qos class create silver --max-iops 1000
ok volume file clone create -volume v -source-path r -destination-path r2 -no-reserve true -qos-policy-group silver
ok qos show v/r2
says "silver"
json luns.0.origin "v/r@s2" lun show v/r1
ok lun clone v/l v/l2 --from-snapshot s2
json luns.0.origin "v/l@s2" lun show v/l2
refused 2 "given twice" lun clone v/l@s2 v/l3 --from-snapshot s2
ok volume file clone show-autodelete -clone-path /vol/v/r1
says "Autodelete"
says "yes"
ok volume file clone autodelete -vserver svm1 -clone-path /vol/v/r1 -enable false -force true
json luns.0.autodelete false lun show v/r1

uuid=$("$lunette" lun show v/l2 --json | "$probe" json luns.0.uuid)
ok volume file clone create -source-path /vol/v/r -destination-path /vol/v/l2 -overwrite-destination true --dry-run
says "Would put"
json luns.0.size_bytes 10485760 lun show v/l2
ok volume file clone create -source-path /vol/v/r -destination-path /vol/v/l2 -overwrite-destination true
json luns.0.size_bytes 8388608 lun show v/l2
json luns.0.uuid "$uuid" lun show v/l2
ok lun show v/l2@undo
ok lun clone v/r v/l2 -overwrite-destination --dry-run
says "v/l2@undo, in place of the one of that name"
refused 2 "--igroup is for a new clone" lun clone v/r v/l2 -overwrite-destination -igroup hosts
refused 2 "--qos-policy-group is for a new clone" lun clone v/r v/l2 -overwrite-destination -qos-policy-group default
refused 2 "lun redeploy --force" lun clone v/r v/l2 -overwrite-destination --force
refused 1 "" volume file clone create -source-path /vol/v/r -destination-path /vol/v/l2
ok volume file clone create -source-path /vol/v/r -destination-path /vol/v/new -overwrite-destination true
says "Cloned /vol/v/r"

ok volume clone create -vserver svm1 -flexclone vc -type RW -parent-vserver svm1 -parent-volume v -parent-snapshot s2 -space-guarantee none -foreground true
refused 2 "only RW" volume clone create -flexclone vd -parent-volume v -type DP
refused 1 "its parent has no guarantee" volume clone create -flexclone vd -parent-volume v -space-guarantee volume
refused 2 "\"file\" is none of volume|none" volume clone create -flexclone vd -parent-volume v -space-guarantee file
ok volume modify v -space-guarantee volume
ok volume clone create -flexclone vd -parent-volume v -space-guarantee volume -dry-run
refused 1 "" volume show vd
ok consistency-group clone create -vserver svm1 -clone-consistency-group ve -source-parent-consistency-group v -source-snapshot-name s2 -space-guarantee none
json volumes.0.guarantee none volume show ve
ok volume clone show -estimate
says "Split takes"
says "vc"
says "ve"
ok volume clone show -flexclone vc
says "1 entry was displayed."
refused 1 "it is no clone" volume clone show v
ok volume clone split estimate -vserver svm1 -flexclone vc
ok volume clone split start -vserver svm1 -flexclone vc -foreground true
refused 1 "it is no clone" volume clone show -flexclone vc

ok pool show -instance
says "UUID: "
ok pool show -instance -fields name
[[ $out != *UUID* ]] || fail "pool show -instance -fields name: $out"

# ---- what is there already ----

ok lun create i 1M --if-not-exists
says "Created LUN i"
ok lun create i 1M --if-not-exists
says "There is LUN i already; nothing was changed."
ok lun create i 1M --if-not-exists --dry-run
says "There is LUN i already"
json existed true lun create i 1M --if-not-exists
refused 1 "is another: its size is 1 MiB, not 2 MiB" lun create i 2M --if-not-exists
refused 1 "is another: its sector size is 512 B, not 4 KiB" lun create i 1M --sector 4096 --if-not-exists
refused 1 "is there already" lun create i 1M
ok lun clone i j --if-not-exists
ok lun clone i j --if-not-exists
says "There is LUN j already"
ok lun clone /vol/db/b db/j --if-not-exists
ok lun clone /vol/db/b /vol/db/j --if-not-exists
says "already"
refused 1 "is another: its source is i, not db/b" lun clone db/b j --if-not-exists
refused 1 "is another: its source is none" lun clone j i --if-not-exists
refused 2 "not for --count" lun clone i --count 2 --name x%d --if-not-exists
ok clone create i=j2 j=k2 --if-not-exists
ok clone create i=j2 j=k2 --if-not-exists
says "There are these 2 LUNs already"
refused 1 "is another: its source is j, not i" clone create i=j2 i=k2 --if-not-exists
refused 1 "" clone create i=j2 j=k3 --if-not-exists
refused 1 "is another: its owner is none, not ci" clone create i=j2 j=k2 --owner ci --if-not-exists
refused 1 "" lun show k3
ok volume create w 10M --if-not-exists
ok volume create w 10M --if-not-exists
says "There is volume w already"
refused 1 "is another: its size is 10 MiB, not none" volume create w --if-not-exists
refused 1 "is another: its guarantee is none, not yes" volume create w 10M --space-guarantee volume --if-not-exists
ok volume create w 10M --space-guarantee none --if-not-exists
refused 1 "is another: its space reservation is no, not yes" lun create i 1M --space-reserve yes --if-not-exists
ok lun create i 1M --space-reserve no --if-not-exists
refused 1 "is another: its owner is none, not ci" lun create i 1M --owner ci --if-not-exists
refused 1 "is another: its autodelete is no, not yes" lun clone i j --autodelete yes --if-not-exists
ok volume clone create db@n w2 --if-not-exists
ok volume clone create db@n w2 --if-not-exists
says "There is volume w2 already"
ok volume clone create db w2 --if-not-exists
refused 1 "its parent is db@n" volume clone create db@o w2 --if-not-exists
refused 1 "its parent is db, not v" volume clone create v w2 --if-not-exists
ok snapshot create i@s --if-not-exists
ok snapshot create i@s --if-not-exists
says "There is snapshot i@s already"
ok snapshot create db@n logs@n --if-not-exists
says "already"
ok snapshot create db@alone
refused 1 "" snapshot create db@alone logs@alone --if-not-exists
ok qtree create db/q1 --if-not-exists
ok qtree create db/q1 --if-not-exists
says "There is qtree db/q1 already"
ok igroup create one iqn.2000-01.x:e iqn.2000-01.x:f --if-not-exists
ok igroup create one iqn.2000-01.x:f iqn.2000-01.x:e --if-not-exists
says "There is igroup one already"
refused 1 "its initiators" igroup create one iqn.2000-01.x:e --if-not-exists
json existed true igroup create one iqn.2000-01.x:f iqn.2000-01.x:e --if-not-exists

# ---- by reference or not at all ----

ok lun create full 1M
printf 'x%.0s' {1..4096} >"$work/image"
ok lun import "$work/image" data
ok lun clone data data2 --require-reference
refused 1 "4 KiB of data would be copied" lun clone data full --range 0:0:8 --require-reference
refused 1 "4 KiB of data would be copied" lun clone data full --range 0:0:8 --require-reference --dry-run
json luns.0.mapped_bytes 0 lun show full
ok lun clone full i --range 0:0:8 --require-reference
says "0 B of data"
refused 1 "all its data would be copied" lun import "$work/image" data3 --require-reference
refused 1 "all its data would be copied" lun export data "$work/image2" --require-reference
refused 1 "" lun show data3
[[ ! -e $work/image2 ]] || fail "an export that was refused left a file"
ok volume clone create db@n w3 --require-reference
ok clone create data=data4 --require-reference

finish
