#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --dry-run of every command that has it: what would be done, with figures, and nothing changes.
# A command that has no line here fails the test.

. "$(dirname "$0")/lib.sh"

declare -A seen

# All that commands can change, as text; who has it open passes by itself, and checkpoints come and go.
state()
{
    local what
    for what in "lun show --snapshots" "volume show" "snapshot show" "qtree show" "quota rule show" \
        "quota report" "igroup show" "mapping show" "iscsi chap show" "qos class show" "snapshot policy show" "refresh show" \
        "pool modify" "pool autodelete show" "volume autodelete show db" "volume clone split show" "event show" \
        "lun modify a"; do
        # shellcheck disable=SC2086
        "$lunette" $what --json | grep -v '"open":\|"available_bytes":' || echo "$what failed"
    done
    stat -c '%s' "$pool"
}

# would TEXT ARGUMENT...: says TEXT, and leaves everything as it is.
would()
{
    local text=$1 best= command before
    shift
    for command in "${commands[@]}"; do
        [[ "$* " != "$command "* || ${#command} -le ${#best} ]] || best=$command
    done
    seen[$best]=1
    before=$(state)
    ok "$@" --dry-run
    says "$text"
    [[ ${out,,} == *would* || ${out,,} == *nothing\ to\ repair* ]] || fail "lunette $* --dry-run: not what would be done: $out"
    ok "$@" --dry-run --json
    [[ $("$probe" json dry_run <<<"$out" 2>&1) == true ]] || fail "lunette $* --dry-run --json: no dry_run in $out"
    [[ $(state) == "$before" ]] || fail "lunette $* --dry-run changed something: $(diff <(echo "$before") <(state))"
}

# lacks OPTION TEXT ARGUMENT...: says TEXT and is refused, since OPTION lacks; nothing changes.
lacks()
{
    local option=$1 text=$2 before
    shift 2
    before=$(state)
    run "$@" --dry-run
    same "$status" 1
    says "$text"
    checks=$((checks + 1))
    [[ $err == *"refused as it stands: "*"try: lunette $* $option --dry-run"* ]] || fail "lunette $* --dry-run: $err"
    run "$@" --dry-run --json
    same "$status" 1
    same "$("$probe" json dry_run <<<"$out" 2>&1)" true
    same "$("$probe" json needs.0 <<<"$out" 2>&1)" "$option"
    [[ $(state) == "$before" ]] || fail "lunette $* --dry-run changed something: $(diff <(echo "$before") <(state))"
}

ok help --json
mapfile -t commands < <("$probe" json <<<"$out" | sed 's/{"command"/\n&/g' | grep '"name":"dry-run"' | cut -d'"' -f4)
[[ ${#commands[@]} -gt 30 ]] || fail "few commands have --dry-run: ${commands[*]}"

ok pool create "$pool" 512M
ok key create "$work/key"
server_start --iscsi 127.0.0.1:0 --key-file "$work/key"
ok lun create a 64M
ok lun create b 32M
uri=$("$lunette" lun attach a --json | "$probe" json uri)
qemu-io -f raw -c 'write -P 1 0 8M' "$uri" >/dev/null || fail "qemu-io"
ok snapshot create a@s
qemu-io -f raw -c 'write -P 2 0 4M' "$uri" >/dev/null || fail "qemu-io"
ok volume create db 128M
ok lun create db/l 32M
ok qtree create db/q
ok snapshot create db@v
ok volume clone create db copy
ok volume create empty 64M
ok volume create full
ok lun create full/l 1M
ok igroup create g iqn.2001-04.com.example:host1 eui.0123456789abcdef
ok lun map a --igroup g
ok iscsi chap set igroup:g --user u --secret "secret secret"
ok qos class create silver --max-iops 1000
ok quota rule create db --target q --disk-limit 1G
ok snapshot policy create p --schedule daily:3
ok lun create r 64M
ok refresh create r --from a --schedule daily
truncate -s 16M "$work/image"

would "Would make pool $work/new of 256 MiB" pool create "$work/new" 256M
[[ ! -e $work/new ]] || fail "a dry run made a pool"
would "would grow from 512 MiB to" pool grow +512M
would "Grows by (0: not): 0 B -> 1 GiB" pool modify --autogrow-step 1G
would "Target free space (%): 20 -> 30" pool autodelete modify -target-free-space 30
would "LUN n of 64 MiB; it takes no space" lun create n 64M
would "that space is reserved for it" lun create n 64M --space-reserve yes
checks=$((checks + 1))
[[ $("$lunette" lun create n 64M --space-reserve yes --dry-run --json | "$probe" json promised_bytes) -gt 67108864 ]] ||
    fail "no figure of what would be promised"
would "64 MiB, of which 8 MiB is shared" lun clone a n
would "Would copy 16384 blocks of a into b: 8 MiB of data, and 0 B of holes" lun clone a b --range 0:0:16384
would "64 MiB, of which 8 MiB is shared" clone create a=n
would "(64 MiB, of which 8 MiB is shared) into 1 LUN" lun redeploy a b
says_json_luns=$("$lunette" lun redeploy a b --dry-run --json | "$probe" json luns.0.old_size_bytes)
same "$says_json_luns" 33554432
would "from 32 MiB to 64 MiB" lun resize b 64M
would "cuts off 4 MiB of data" lun resize a 4M --force
lacks --force "cuts off 4 MiB of data" lun resize a 4M
lacks --force "cuts off 4 MiB of data" lun resize a --size 4M
lacks --with-snapshots "Would delete a@s" lun delete a
would "Frees " lun delete b
would "Would make LUN n of 16 MiB" lun import "$work/image" n
would "Would write a of 64 MiB" lun export a "$work/out"
[[ ! -e $work/out ]] || fail "a dry run wrote a file"
would "space-reserve: no -> yes" lun modify a --space-reserve yes
ok lun modify a --space-reserve yes --dry-run
says "0 B are kept for it now, at least 60 MiB afterwards; "
would "read-only: no -> yes" lun modify a --read-only yes --owner ci
would "Would map r to igroup g as LUN 1" lun map r --igroup g
would "Hosts of igroup g lose LUN a (number 0)" lun unmap a --igroup g
would "It would keep the 8 MiB that 1 LUN holds now" snapshot create a@n
would "It would keep the 0 B that 1 LUN holds now" snapshot create db@n --lock-until 1h
would "Frees 4 MiB" snapshot delete a@s
would "loses 4 MiB written since" snapshot restore a@s
would "Would create snapshot policy n: daily:7" snapshot policy create n --schedule daily:7
would "Would change snapshot policy p: daily:9" snapshot policy modify p --schedule daily:9
would "Would delete snapshot policy p" snapshot policy delete p
would "Would refresh b from a: daily" refresh create b --from a --schedule daily
would "Would change the refresh of r" refresh modify r --schedule weekly
would "Would put the content of a into LUN r" refresh run r
would "Would delete the refresh of r" refresh delete r
would "of 64 MiB, promised to it by the pool" volume create n 64M --space-guarantee volume
would "its guarantee needs 0 B of the pool; afterwards 128 MiB" volume modify db --space-guarantee volume
for what in "--threshold 50,60=none -> 50,60" "--expire 2d=none -> 2" "--lock-until 2d=none -> 2" "--snapshot-policy p=none -> p"; do
    # shellcheck disable=SC2086
    would "${what#*=}" lun modify a ${what%=*}
    [[ $what != *"--exp"* ]] || continue
    # shellcheck disable=SC2086
    would "${what#*=}" volume modify db ${what%=*}
done
ok lun modify a --threshold 50,60 --expire 2d --dry-run --json
same "$("$probe" json changes.thresholds.before <<<"$out") $("$probe" json changes.expire.before <<<"$out")" "null null"
ok lun modify a --threshold 70
would "threshold: 70 -> 50,60" lun modify a --threshold 50,60
ok lun modify a --threshold none
ok volume modify db --threshold 70 --snapshot-policy p
would "thresholds: 70 -> 50,60" volume modify db --threshold 50,60
would "snapshot policy: p -> none" volume modify db --snapshot-policy none
ok volume modify db --threshold none --snapshot-policy none
would "size: 128 MiB -> 256 MiB" volume resize db 256M
would "Would delete volume empty" volume delete empty
lacks --with-contents "Would delete full/l" volume delete full
run volume delete db --dry-run # no option helps: a clone depends on it
same "$status" 1
[[ $err != *"as it stands"* ]] || fail "an option would help: $err"
would "Trigger free space (%): 5 -> 7" volume autodelete modify db -trigger-free-space 7
would "1 LUN would share 0 B with it" volume clone create db n
would "Would split volume copy from its parent" volume clone split start copy
would "which takes 0 B; " volume clone split start copy --physical
would "Would delete qtree db/q" qtree delete db/q
would "Would delete the quota rule of qtree db/q" quota rule delete db --target q
would "Hosts of igroup g lose LUN a" igroup delete g --force
would "Would remove eui.0123456789abcdef from igroup g" igroup remove g eui.0123456789abcdef
would "Would delete the CHAP record of igroup:g" iscsi chap delete igroup:g
would "0 of the old key; 1 had it already" iscsi chap rewrap
would "Would delete class silver" qos class delete silver
seen["lun reservation clear"]=1 # e2e_cli_access has one to clear
seen["iscsi session terminate"]=1
# figures ARGUMENT...: what the pool keeps for promises changes by something, by what the dry run says in figures
# and in words, by what the command says, and by what the pool says before and after.
figures()
{
    local said_dry said_real before text
    ok "$@" --dry-run --json
    said_dry=$("$probe" json promised_bytes <<<"$out")
    ok "$@" --dry-run
    text=$(grep -o 'would keep .* for promises' <<<"$out") || fail "lunette $* --dry-run: no figure: $out"
    before=$("$lunette" pool show --json | "$probe" json promised_bytes)
    ok "$@" --json
    said_real=$("$probe" json promised_bytes <<<"$out")
    [[ $said_dry != 0 && $said_dry == "$said_real" ]] || fail "lunette $*: a dry run says $said_dry, it itself $said_real"
    same "$(($("$lunette" pool show --json | "$probe" json promised_bytes) - before))" "$said_dry"
    last_figure=${text#would keep }
}
figures lun create res 16M --space-reserve yes
qemu-io -f raw -c 'write -P 1 0 8M' "$("$lunette" lun attach res --json | "$probe" json uri)" >/dev/null || fail "qemu-io"
figures snapshot create res@1
[[ $last_figure == "8"*" more for promises" ]] || fail "a snapshot of 8 MiB: $last_figure"
figures lun clone res res2
figures lun clone res res%d --count 2 --first 3
figures clone create res=res5 a=a5
ok lun clone res thin --no-reserve --dry-run --json
same "$("$probe" json promised_bytes <<<"$out")" 0
figures lun resize res +16M
figures lun modify b --space-reserve yes
figures lun modify b --space-reserve no
[[ $last_figure == *" less for promises" ]] || fail "a promise that ends: $last_figure"
figures lun redeploy a res2 --force
figures volume create guaranteed 32M --space-guarantee volume
ok lun create guaranteed/l 8M --space-reserve yes
figures volume clone create guaranteed guaranteed2
figures volume modify guaranteed2 --space-guarantee none
figures volume resize guaranteed +16M
figures volume modify empty --space-guarantee volume
# Very many LUNs are counted, not listed; JSON names all.
ok volume create many
ok lun create many/l 1M
ok lun clone many/l many/c%d --count 30
ok snapshot create many@s
for command in "volume delete many --with-contents" "snapshot delete many@s" "snapshot restore many@s"; do
    # shellcheck disable=SC2086
    ok $command --dry-run
    same "$(grep -c many/ <<<"$out")" 20
    count=31
    [[ $command != volume* ]] || count=62 # LUNs and their snapshots
    says "and $((count - 20)) more; --json names all"
    # shellcheck disable=SC2086
    ok $command --dry-run --json
    same "$(grep -o '"many/' <<<"$out" | wc -l)" "$count"
done
ok lun delete many/c1 many/c2 --dry-run
[[ $out != *more* ]] || fail "two LUNs are few: $out"
# A split that goes on, to be paused and stopped.
ok lun clone db/l db/m
qemu-io -f raw -c 'write -P 1 0 8M' "$("$lunette" lun attach db/l --json | "$probe" json uri)" >/dev/null
ok lun clone db/l db/k
ok volume clone split start db --physical --rate 64K
for command in pause stop; do
    seen["volume clone split $command"]=1
    ok volume clone split $command db --dry-run
    says "Would $command the split of db"
    json splits.0.state running volume clone split show
done
ok volume clone split stop db
ok server stop --yes
wait "$server"
server=
seen["pool repair"]=1
seen["lun salvage"]=1
before=$(sha256sum <"$pool")
ok pool repair "$pool" --dry-run
says "nothing to repair"
ok lun salvage a --pool "$pool" --dry-run
says "Would copy 8 MiB of a; 0 B would be lost, in 0 places."
same "$(sha256sum <"$pool")" "$before"
for command in "${commands[@]}"; do
    [[ -n ${seen[$command]:-} ]] || fail "no line here runs lunette $command --dry-run"
done
finish
