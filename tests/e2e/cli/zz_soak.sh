#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that goes through the same again and again, for as long as one likes: descriptors, threads,
# memory and blocks come back to what they were.
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
    local image="driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$portal"
    image+=",file.target=$target,file.lun=$1,file.initiator-name=$host" args=()
    shift
    for command; do args+=(-c "$command"); done
    done_by --image-opts "$image" "${args[@]}"
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
    ok job wait
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

ok pool create "$pool" 512M
server_start --iscsi 127.0.0.1:0
ok igroup create g $host
json count 1 iscsi portal show
portal=$("$probe" json portals.0.address <<<"$out")
target=$("$probe" json portals.0.target <<<"$out")
ok lun create gold 64M
by_nbd gold 'write -P 5 0 8M' flush
# Until caches and pools of threads have their size.
for ((i = 0; i < 10; i++)); do round; done
before=$(measure)
threads_before=$(threads)
memory_before=$(memory)
rounds=0
until [[ $rounds -ge 10 && $SECONDS -ge $seconds || $failures != 0 ]]; do
    round
    rounds=$((rounds + 1)); ((rounds % 25)) || { run pool show --json; echo "$rounds $(memory) $(threads) $("$probe" json cached_nodes <<<"$out") $("$probe" json cache_misses <<<"$out")"; }
done
# A connection may be closed a moment after its client has ended.
for ((i = 0; i < 200; i++)); do
    after=$(measure)
    [[ $after != "$before" ]] || break
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
