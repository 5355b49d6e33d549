#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that goes through the same again and again, for as long as one likes: descriptors, threads,
# memory and blocks come back to what they were. A round has commands of all kinds, and a client of each
# protocol that writes and verifies a LUN of its own meanwhile.
#
# A fifth argument or LUNETTE_SOAK_SECONDS is for how long; without, it is a few rounds.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no blocks"
find /usr/lib -name block-iscsi.so 2>/dev/null | grep -q . ||
    skip "qemu has no iSCSI driver (package qemu-block-extra)"
seconds=${LUNETTE_SOAK_SECONDS:-${5:-0}}
host=iqn.2026-11.test:soak
memory_kib=65536 # that memory may grow: caches, and what malloc() keeps in pieces

# by_nbd LUN COMMAND..., by_iscsi NUMBER COMMAND...: what qemu-io does must be done.
by_nbd()
{
    local image="nbd+unix:///$1?socket=$work/nbd.sock" args=()
    shift
    for command; do args+=(-c "$command"); done
    done_by -f raw "$image" "${args[@]}"
}

by_iscsi()
{
    local image args=()
    image=$(image_of "$1" "$host")
    shift
    for command; do args+=(-c "$command"); done
    done_by --image-opts "$image" "${args[@]}"
}

# image_of NUMBER INITIATOR: qemu's words for that LUN.
image_of()
{
    echo "driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$portal,file.target=$target,file.lun=$1,file.initiator-name=$2"
}

done_by()
{
    local said
    checks=$((checks + 1))
    said=$(qemu-io "$@" 2>&1) || fail "qemu-io $*: $said"
    [[ $said != *failed* && $said != *rror* ]] || fail "qemu-io $*: $said"
}

round()
{
    ok lun clone gold vm
    ok lun map vm --igroup g --lun-id 1
    by_nbd vm 'read -P 5 0 8M' 'write -P 6 1M 2M' flush
    by_iscsi 1 'read -P 6 1M 2M' 'write -P 7 16M 1M' flush
    ok snapshot create vm@s
    by_nbd vm 'write -P 8 0 4M' 'discard 4M 1M' flush
    ok snapshot restore vm@s
    by_iscsi 1 'read -P 6 1M 2M' 'read -P 7 16M 1M'
    ok lun resize vm 96M
    ok volume create v
    ok lun create v/l 16M
    by_nbd v/l 'write -P 9 0 1M' flush
    ok volume snapshot create v@t
    ok volume clone create v@t w
    by_nbd w/l 'read -P 9 0 1M' 'write -P 4 0 512k' flush
    ok volume delete w --with-contents
    ok volume delete v --with-contents
    ok lun delete vm --with-snapshots
    volumes
    contents
    access
    ok job wait
}

# Promises, quotas, qtrees, policies, groups, splits.
volumes()
{
    ok volume create q 160M --space-guarantee volume --threshold 80,90 --snapshot-policy often
    ok qtree create q/t
    ok quota rule create q --target t --disk-limit 96M
    ok quota rule create q --type user --target '*' --disk-limit 128M
    ok quota on q
    ok lun create q/t/a 16M --space-reserve yes --owner dev
    ok lun create q/b 16M
    by_nbd q/t/a 'write -P 1 0 4M' flush
    by_nbd q/b 'write -P 2 0 4M' flush
    ok clone create q/t/a=q/t/c q/b=q/d --no-reserve
    by_nbd q/t/c 'read -P 1 0 4M' 'write -P 3 1M 1M' flush
    refused 1 "" lun create q/t/e 128M --space-reserve yes
    ok quota report q
    ok quota off q
    ok quota on q
    ok qtree rename q/t u
    ok snapshot create q@one
    ok snapshot rename q@one two
    ok volume clone create q@two p
    by_nbd p/u/a 'read -P 1 0 4M' 'write -P 5 0 1M' flush
    ok volume clone split start p --physical
    ok job wait
    ok volume resize q 192M
    ok lun modify q/u/a --space-reserve no
    ok lun clone gold --count 50 --name 'many-%02d'
    ok lun delete many-{00..49}
    ok volume delete p --with-contents
    ok volume delete q --with-contents
}

# What is in LUNs, brought there and taken away.
contents()
{
    ok lun import "$work/image" image
    ok lun clone gold target
    ok lun clone image target --range 0:64:128
    by_nbd target 'read -P 9 32k 64k' 'read -P 5 1M 1M'
    ok lun redeploy image target --undo before
    ok lun export target "$work/out" --overwrite
    checks=$((checks + 1))
    cmp -s "$work/image" "$work/out" || fail "what was exported is not what was imported"
    ok snapshot restore target@before
    by_nbd target 'read -P 5 2M 1M'
    ok refresh create target --from image --schedule daily@02:00
    ok refresh run target
    ok refresh delete target
    ok lun delete target image --with-snapshots
    ok pool scrub
    ok explain space
}

# Who may do what, and how much.
access()
{
    ok iscsi chap set "$host-2" --user soak --secret-file "$work/secret"
    ok iscsi chap delete "$host-2"
    ok qos class create slow --max-iops 20000
    ok lun clone gold limited --qos slow --expire 1h --owner ci
    by_nbd limited 'read -P 5 0 1M'
    ok qos set limited default
    ok qos class delete slow
    ok lun delete limited
    ok igroup create h "$host-2"
    ok igroup delete h
    ok lun reservation show gold
    ok metrics
}

# witness NAME QEMU-IO'S WORDS FOR THE IMAGE...: a client that writes and verifies until $work/stop is there.
witness()
{
    local name=$1 said n=0
    shift
    until [[ -e $work/stop ]]; do
        n=$((n % 250 + 1))
        said=$(qemu-io "$@" -c "write -P $n 0 1M" -c "write -P $((n + 1)) 3M 64k" -c flush \
            -c "read -P $n 0 1M" -c "read -P $((n + 1)) 3M 64k" 2>&1)
        if [[ $? != 0 || $said == *failed* || $said == *rror* ]]; then
            echo "$name: $said" >>"$work/witnessed"
            return
        fi
        echo "$n" >"$work/$name.rounds"
    done
}

# What must be as it was: open descriptors, blocks of data, lines.
measure()
{
    run pool show --json
    echo "$(find "/proc/$server/fd" -mindepth 1 | wc -l) descriptors," \
        "$("$probe" json data_bytes <<<"$out") bytes of data," \
        "$("$probe" json lines <<<"$out") lines"
}

threads()
{
    find "/proc/$server/task" -mindepth 1 -maxdepth 1 | wc -l
}

# KiB of memory that is not of files.
memory()
{
    sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$server/status"
}

ok pool create "$pool" 1G
server_start --iscsi 127.0.0.1:0
ok igroup create g $host $host-w
json count 1 iscsi portal show
portal=$("$probe" json portals.0.address <<<"$out")
target=$("$probe" json portals.0.target <<<"$out")
ok lun create gold 64M
by_nbd gold 'write -P 5 0 8M' flush
ok snapshot policy create often --schedule hourly:3
echo secret-of-a-soak >"$work/secret"
chmod 600 "$work/secret"
head -c 8388608 /dev/zero | tr '\0' '\11' >"$work/image"
ok lun create seen-nbd 16M
ok lun create seen-iscsi 16M
ok lun map seen-iscsi --igroup g --lun-id 9
by_nbd seen-nbd 'write -P 1 0 16M' flush
by_nbd seen-iscsi 'write -P 1 0 16M' flush
# rounds_for COUNT SECONDS: so many at least, and for so long, beside the witnesses.
rounds_for()
{
    local end=$((SECONDS + $2)) witnesses=()
    rm -f "$work/stop"
    witness nbd -f raw "nbd+unix:///seen-nbd?socket=$work/nbd.sock" &
    witnesses+=($!)
    witness iscsi --image-opts "$(image_of 9 "$host-w")" &
    witnesses+=($!)
    rounds=0
    until [[ $rounds -ge $1 && $SECONDS -ge $end || $failures != 0 ]]; do
        round
        rounds=$((rounds + 1))
    done
    touch "$work/stop"
    wait "${witnesses[@]}"
    checks=$((checks + 3))
    [[ ! -e $work/witnessed ]] || fail "$(<"$work/witnessed")"
    [[ -s $work/nbd.rounds && -s $work/iscsi.rounds ]] || fail "a witness has done nothing"
}

# Until caches and pools of threads have their size.
rounds_for 4 0
before=$(measure)
threads_before=$(threads)
memory_before=$(memory)
rounds_for 4 "$seconds"
# A connection may be closed a moment after its client has ended, and so may its threads.
for ((i = 0; i < 200; i++)); do
    after=$(measure)
    [[ $after != "$before" || $(threads) -gt $((threads_before + 2)) ]] || break
    sleep 0.05
done
same "$after" "$before"
memory_after=$(memory)
threads_after=$(threads)
checks=$((checks + 2))
# One that served the last client may be there still.
[[ $threads_after -le $((threads_before + 2)) ]] ||
    fail "after $rounds rounds it has $threads_after threads instead of $threads_before"
[[ $memory_after -le $((memory_before + memory_kib)) ]] ||
    fail "after $rounds rounds it has $memory_after KiB instead of $memory_before"
echo "$rounds rounds in $SECONDS s: $after, $threads_after threads, $memory_before and then $memory_after KiB"
ok pool check
ok server stop
wait "$server"
server=
ok pool check --pool "$pool"
says " 0 errors"
finish
