#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --json of every command: an object that is not empty and says of what; of every refusal: one object on
# standard error. A command that has no line here fails the test.

. "$(dirname "$0")/lib.sh"

declare -A seen

# names: notes the command that the words begin with, the longest there is.
note()
{
    local words="$*" best= command
    for command in "${commands[@]}"; do
        [[ "$words " != "$command "* || ${#command} -le ${#best} ]] || best=$command
    done
    seen[$best]=1
}

# is KEY=VALUE... -- ARGUMENT...: the result has these; * is any value.
is()
{
    local wanted=()
    while [[ $1 != -- ]]; do
        wanted+=("$1")
        shift
    done
    shift
    note "$@"
    ok "$@" --json
    local one found
    found=$("$probe" json <<<"$out") || fail "lunette $* --json: no JSON: $out"
    [[ $found == "{"* && $found != "{}" ]] || fail "lunette $* --json: not an object with something in it: $found"
    for one in "${wanted[@]}"; do
        found=$("$probe" json "${one%%=*}" <<<"$out" 2>&1) || fail "lunette $* --json: $found in $out"
        [[ ${one#*=} == '*' || $found == "${one#*=}" ]] || fail "lunette $* --json: ${one%%=*} is $found, not ${one#*=}"
    done
}

# no STATUS ERRNO TEXT ARGUMENT...: refused; the error is one JSON object, and nothing else is said.
no()
{
    local exit=$1 errno=$2 text=$3 found key
    shift 3
    checks=$((checks + 1))
    run "$@" --json
    [[ $status == "$exit" ]] || fail "lunette $* --json: status $status, not $exit: $err"
    [[ -z $out ]] || fail "lunette $* --json: prints $out"
    [[ $(wc -l <<<"$err") == 1 ]] || fail "lunette $* --json: more than a line: $err"
    for key in exit errno message; do
        found=$("$probe" json "error.$key" <<<"$err" 2>&1) || fail "lunette $* --json: $found in $err"
        case $key in
        exit) [[ $found == "$exit" ]] ;;
        errno) [[ $found == "$errno" ]] ;;
        message) [[ $found == *"$text"* ]] ;;
        esac || fail "lunette $* --json: error.$key is $found"
    done
}

# ---- help, and what commands there are ----
ok help --json
mapfile -t commands < <("$probe" json <<<"$out" | grep -o '"command":"[^"]*"' | cut -d'"' -f4)
[[ ${#commands[@]} -gt 80 ]] || fail "help --json lists ${#commands[@]} commands"
is count='*' commands.0.command='pool create' -- help
is command='lun create' examples.0='*' -- help lun create
for command in "${commands[@]}"; do
    # shellcheck disable=SC2086
    ok $command --help --json
    same "$("$probe" json command <<<"$out")" "$command"
done

# ---- usage, no server ----
no 2 EINVAL "is no command" fly
no 2 EINVAL "is no command" lun fly
no 2 EINVAL "is no command" help lun fly
no 2 EINVAL "needs NAME SIZE" lun create
no 2 EINVAL "no such option" lun create a 1G --sise 1
no 2 EINVAL "not a size" lun create a lots
no 2 EINVAL "no command given" --verbose
no 3 ENOENT "no server answers on $LUNETTE_SOCKET" lun show
no 3 ENOENT "no server answers on /nonexistent/x" lun show --socket /nonexistent/x
no 1 ENOENT "there is no pool $work/none" serve --pool "$work/none" --plugin "$plugin"
no 1 ENOENT "$work/none" pool show --pool "$work/none"
run lun show -j
same "$("$probe" json error.command <<<"$err")" "lun show"
same "$("$probe" json error.try <<<"$err")" "lunette serve --help"

# ---- pool, server ----
is path="$pool" size_bytes=268435456 dry_run=true destroys=false -- pool create "$pool" 256M --dry-run
is path="$pool" dry_run=false -- pool create "$pool" 256M
no 1 EEXIST "--overwrite" pool create "$pool" 256M
is mended=0 left=0 dry_run=true -- pool repair "$pool" --dry-run
note serve
"$lunette" serve --plugin "$plugin" --pool "$pool" --iscsi 127.0.0.1:0 --json >"$work/served" 2>>"$work/log" ||
    fail "serve --json: $(<"$work/log")"
same "$("$probe" json pool <"$work/served")" pool
server=$("$probe" json pid <"$work/served")
no 1 EBUSY "answers on" serve --pool "$pool" --plugin "$plugin"
is pid="$server" health=healthy -- server status
# A command that is in the reason only is there for programs too.
run lun show nothing --json
same "$("$probe" json error.try <<<"$err")" "lunette lun show"
is name=pool size_bytes='*' -- pool show
is errors=0 -- pool check
is damaged=0 state=finished -- pool scrub --rate 1G
is lines.0='*' -- pool dump superblock
is old_size_bytes='*' size_bytes='*' dry_run=true -- pool grow +64M --dry-run
is old_size_bytes='*' size_bytes='*' dry_run=false -- pool grow +64M
is thresholds=75,85 dry_run=false -- pool modify --threshold 75,85
is of=pool enabled=true -- pool autodelete modify -enabled true
is enabled=true -- pool autodelete show
ok pool autodelete modify -enabled false
no 1 EINVAL "never shrinks" pool grow 1M

# ---- LUNs ----
is name=a size_bytes=67108864 dry_run=true taken_bytes=0 -- lun create a 64M --dry-run
is name=a size_bytes=67108864 dry_run=false id='*' uuid='*' -- lun create a 64M
no 1 EEXIST "a LUN named 'a' is there already" lun create a 64M
no 1 ENOENT "'none'" lun show none
is luns.0.name=a -- lun show a
is sizes.0.reserved=false sizes.1.size_bytes='*' -- lun maxsize
is name=a size_bytes=67108864 existed=true -- lun create a 64M --if-not-exists
is source=a name=b dry_run=false id='*' shared_bytes=0 -- lun clone a b
is count=3 name=c%d -- lun clone a --count 3 --name c%d
is source=a name=b blocks=8 block_bytes=512 copied_bytes=0 hole_bytes=4096 taken_bytes=0 dry_run=false -- lun clone a b --range 0:8:8
is copied_bytes=0 hole_bytes=4096 dry_run=true -- lun clone a b --range 0:8:8 --dry-run
no 1 EINVAL "goes beyond the end of source 'a'" lun clone a b --range 131072:0:1
is old_size_bytes=67108864 size_bytes=134217728 dry_run=false -- lun resize b 128M
is cut_bytes=0 dry_run=true -- lun resize b 64M --force --dry-run
is name=c0 new_name=d -- lun rename c0 d
is name=d comment=hello -- lun comment d hello
is changes.owner.before= changes.owner.after=ci dry_run=true -- lun modify a --owner ci --dry-run
is owner=ci name=a dry_run=false -- lun modify a --owner ci
is read_only=true name=d owner=ci -- lun modify d --owner ci --read-only yes
is read_only=true -- lun modify d
is clones.0.name=x clones.0.size_bytes=67108864 dry_run=true -- clone create a=x --dry-run
is count=2 clones.1.source=b -- clone create a=x b=y
is count=1 luns.0.name=x undo=before -- lun redeploy a x --undo before
is goes.0=a freed_bytes='*' -- freed a
truncate -s 8M "$work/image.raw"
is name=image size_bytes=8388608 dry_run=true source="$work/image.raw" -- lun import "$work/image.raw" image --dry-run
is source="$work/image.raw" destination=image total_bytes=8388608 -- lun import "$work/image.raw" image
is source=image destination="$work/out.raw" dry_run=true -- lun export image "$work/out.raw" --dry-run
is source=image destination="$work/out.raw" total_bytes=8388608 -- lun export image "$work/out.raw"
no 1 EEXIST "--overwrite" lun export image "$work/out.raw"
is name=a uri='*' -- lun attach a
is registrations='[]' -- lun reservation show a
is goes.0=y freed_bytes='*' dry_run=true -- lun delete y --dry-run
is deleted='["y"]' dry_run=false -- lun delete y
is deleted='["x","x@before"]' dry_run=false -- lun delete x --with-snapshots

# ---- snapshots ----
is name=a@s luns=1 size_bytes=67108864 dry_run=true -- snapshot create a@s --lock-until 1h --dry-run
is name=a@s luns=1 size_bytes=67108864 mapped_bytes=0 dry_run=false -- snapshot create a@s
is snapshots.0.name=a@s -- snapshot show a
is lun=a snapshot=s new_snapshot=t -- snapshot rename a@s t
is lun=a snapshot=t dry_run=false -- snapshot restore a@t
is lun=a snapshot=t locked_until='*' -- snapshot lock a@t --until 1s
no 1 ENOENT "no snapshot 'none'" snapshot delete a@none
ok snapshot create a@u
is goes.0=a@u freed_bytes='*' dry_run=true -- snapshot delete a@u --dry-run
is deleted.0=a@u dry_run=false -- snapshot delete a@u
is name=p schedule=daily:3 dry_run=true -- snapshot policy create p --schedule daily:3 --dry-run
is name=p schedule=daily:3 dry_run=false -- snapshot policy create p --schedule daily:3
is name=p schedule=daily:4 -- snapshot policy modify p --schedule daily:4
is policies.0.name=p -- snapshot policy show
is name=p dry_run=false -- snapshot policy delete p

# ---- refreshes ----
ok lun create r 64M
is names='["r"]' source=a schedule=daily dry_run=true -- refresh create r --from a --schedule daily --dry-run
is refreshes.0.name=r refreshes.0.next='*' refreshes.0.last=null dry_run=false -- refresh create r --from a --schedule daily
no 1 EEXIST "has a refresh already" refresh create r --from a --schedule daily
no 1 EINVAL "is no schedule" refresh modify r --schedule daily@2
no 2 EINVAL "nothing of the refresh" refresh modify r
is refreshes.0.schedule=daily@02:00 -- refresh modify r --schedule daily@02:00
is refreshes.0.point=a dry_run=true -- refresh run r --dry-run
is refreshes.0.result=done refreshes.0.point=a refreshes.0.undo=refresh-undo dry_run=false -- refresh run r
is refreshes.0.result=done count=1 -- refresh show r
is names='["r"]' dry_run=false -- refresh delete r
no 1 ENOENT "has no refresh" refresh run r
ok lun delete r --with-snapshots

# ---- volumes, qtrees, quotas ----
is name=v dry_run=true -- volume create v 64M --dry-run
is name=v id='*' size_bytes=67108864 -- volume create v 64M
is volumes.0.name=v -- volume show
is name=v comment=hi dry_run=false -- volume modify v --comment hi
is name=v size_bytes=134217728 -- volume resize v 128M
is name=v new_name=w -- volume rename v w
is path=w/q -- qtree create w/q
is qtrees.0.path=w/q -- qtree show
is path=w/q new_name=r -- qtree rename w/q r
ok lun create w/l 32M
is name=wc volume=w luns=1 dry_run=true -- volume clone create w wc --dry-run
is name=wc volume=w id='*' -- volume clone create w wc
is volumes.0.name=wc -- volume clone show
is volume=wc shared_bytes=0 -- volume clone split estimate wc
backing=$("$lunette" snapshot show w --json | "$probe" json snapshots.0.name)
is backing_snapshot="$backing" backing_deferred=false dry_run=true -- volume clone split start wc --delete-backing-snapshot --dry-run
is splits='[]' -- volume clone split show
is name=wc backing_snapshot="$backing" dry_run=false -- volume clone split start wc --delete-backing-snapshot
no 1 ENOENT "wc" volume clone split pause wc
no 1 ENOENT "wc" volume clone split stop wc
note volume clone split pause
note volume clone split stop
is enabled=true of=volume name=w -- volume autodelete modify w -enabled true
is enabled=true -- volume autodelete show w
is volume=w target=r hard_bytes=1073741824 -- quota rule create w --target r --disk-limit 1G
is volume=w target=r hard_bytes=2147483648 -- quota rule modify w --target r --disk-limit 2G
is rules.0.volume=w -- quota rule show
is volume=w on=true -- quota on w
is quotas.0.volume=w -- quota report
is lines.0='*' try.0='*' -- explain quota w
is lines.0='*' try.0='*' -- explain space
is volume=w on=false -- quota off w
is volume=w target=r dry_run=false -- quota rule delete w --target r
is path=w/r dry_run=false -- qtree delete w/r
is goes.0=wc/l dry_run=true -- volume delete wc --with-contents --dry-run
is deleted.0=wc contents=1 dry_run=false -- volume delete wc --with-contents

# ---- iSCSI ----
host=iqn.2001-04.com.example:host1
is igroup=g initiators.0=$host -- igroup create g $host
is igroup=g initiator=eui.0123456789abcdef -- igroup add g eui.0123456789abcdef
is igroup=g initiator=eui.0123456789abcdef dry_run=false -- igroup remove g eui.0123456789abcdef
is igroups.0.name=g -- igroup show
is lun=a igroup=g lun_id=0 -- lun map a --igroup g
is mappings.0.lun=m mappings.0.lun_id=1 -- lun clone a m --igroup g
is mappings.1.lun_id=3 -- lun clone a --count 2 --name n%d --igroup g
is mappings.0.lun=a -- mapping show a
is lun=a igroup=g dry_run=false -- lun unmap a --igroup g
no 1 ENOENT "'a' is not mapped to igroup 'g'" lun unmap a --igroup g
is subject=igroup:g user=u dry_run=false -- iscsi chap set igroup:g --user u --secret "secret secret"
[[ $out != *"secret secret"* ]] || fail "a secret is shown: $out"
is records.0.subject=igroup:g records.0.stored='in clear' records.0.key=null -- iscsi chap show
is key='*' file="$work/key" -- key create "$work/key"
is key="$("$probe" json key <<<"$out")" -- key show "$work/key"
no 1 EEXIST "there already" key create "$work/key"
no 1 ENOKEY "has no key" iscsi chap rewrap
note iscsi chap rewrap
is subject=igroup:g dry_run=false -- iscsi chap delete igroup:g
is portals.0.address='*' -- iscsi portal show
is sessions='[]' -- iscsi session show
no 1 ENOENT "initiator '$host' has no such session" iscsi session terminate $host
note iscsi session terminate
no 1 ENOENT "no registration or reservation" lun reservation clear a
note lun reservation clear
is igroup=g dry_run=false -- igroup delete g --force

# ---- QoS, figures ----
is classes.0.name=silver -- qos class create silver --max-iops 1000
is classes.0.max_iops=2000 -- qos class modify silver --max-iops 2000
is count='*' -- qos class show
is class=silver names.0=a -- qos set a silver
is subjects.0.kind=pool -- qos show
ok qos set a default
is name=silver dry_run=false -- qos class delete silver
is luns='*' -- top --interval 100ms
is pool.name=pool -- metrics
is lines.0='*' -- tree
is entries.0.kind=pool entries.0.saved_bytes='*' -- df
is events.0.id=1 -- event show
is done=true id=null -- job wait
is jobs='[]' -- job show
no 1 ENOENT "there is no job 77" job cancel 77
note job cancel
is pid="$server" -- server stop
server=
is items.0.name=a items.0.lost_bytes=0 damaged=0 -- lun salvage --list --pool "$pool"
is name=a lost_bytes=0 dry_run=true -- lun salvage a --pool "$pool" --dry-run

for command in "${commands[@]}"; do
    [[ -n ${seen[$command]:-} ]] || fail "no line here runs lunette $command --json"
done
finish
