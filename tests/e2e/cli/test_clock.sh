#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Somebody sets the clock of the host of a real server, by years, forward and back: locks hold,
# leases do not end all at once, schedules make no crowd of snapshots, limits and timeouts go on.
# The server has a clock of its own (tests/lib/clock_shim.c); the machine's is left alone.
# A fifth argument: clock_shim.so.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no volumes"
export LUNETTE_TEST_CLOCK=$work/ahead
year=$((365 * 86400))
set_clock() { printf '%-31d\n' "$1" | dd of="$LUNETTE_TEST_CLOCK" conv=notrunc status=none; }
set_clock 0

# await TEXT ARGUMENT...: what lunette says has TEXT, within two minutes.
await()
{
    local text=$1 end=$((SECONDS + 120))
    shift
    checks=$((checks + 1))
    while run "$@" && [[ $out != *"$text"* ]]; do
        if ((SECONDS >= end)); then
            fail "lunette $* does not come to say \"$text\": $out"
            return
        fi
        sleep 0.1
    done
}

# The command that asks has the server's clock, too.
export LD_PRELOAD=$5
ok pool create "$pool" 256M
server_start --iscsi 127.0.0.1:0
ok lun create kept 16M
ok lun modify kept --lock-until 1d
ok lun create leased 16M --expire 1d
ok volume create v
ok lun create v/l 16M
ok volume snapshot create v@locked --lock-until 1d
ok snapshot policy create often --schedule 10sec:3
ok volume modify v --snapshot-policy often
await 10sec. volume snapshot show v
ok qos class create slow --max-iops 20
ok lun create limited 16M
ok qos set limited slow

# io: some requests of a limited LUN are served at once or later, but not for ever not.
io()
{
    local said
    checks=$((checks + 1))
    said=$(LD_PRELOAD='' timeout 60 qemu-io -f raw "nbd+unix:///limited?socket=$work/nbd.sock" \
        -c 'write -P 1 0 64k' -c 'read -P 1 0 64k' -c flush 2>&1)
    [[ $? == 0 && $said != *"rror"* && $said != *failed* ]] || fail "I/O: $said"
}
io

for ahead in $((10 * year)) 0 $((-10 * year)) $((10 * year)) $((-10 * year)); do
    set_clock $ahead
    if ((ahead > 0)); then
        await "set forward by" event show
    else
        await "set back by" event show
    fi
    refused 1 "locked until" lun delete kept --force
    refused 1 "locked until" volume snapshot delete v@locked --force
    refused 1 "locked until" lun modify kept --lock-until none
    json luns.0.name leased lun show leased
    io
    # One at a time, whatever was missed; as many as are to be kept.
    json snapshots.# '*' volume snapshot show v
    count=$("$probe" json snapshots.# <<<"$out")
    checks=$((checks + 1))
    [[ $count -le 5 ]] || fail "$count snapshots"
    json uptime_s '*' server status
    checks=$((checks + 1))
    up=$("$probe" json uptime_s <<<"$out")
    [[ $up -lt 3600 ]] || fail "it is up for $up s"
done
set_clock 0
ok pool check

# A start takes the clock as it is: then what it says is over is over.
set_clock $((10 * year))
ok server stop
wait "$server"
server=
server_start
ok lun delete kept
ok volume snapshot delete v@locked
await 'its lease has ended' event show
refused 1 "no LUN" lun show leased
ok server stop
wait "$server"
server=
ok pool check --pool "$pool"
says " 0 errors"
finish
