#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the server does by itself: thresholds, events to a program.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no volumes"

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

# io LUN COMMAND...: qemu-io on it.
io()
{
    local name=$1 args=() command said
    shift
    for command; do args+=(-c "$command"); done
    checks=$((checks + 1))
    said=$(qemu-io -f raw "nbd+unix:///$name?socket=$work/nbd.sock" "${args[@]}" -c flush 2>&1)
    [[ $said != *"rror"* && $said != *failed* ]] || fail "qemu-io $*: $said"
}

ok pool create "$pool" 256M --name main
cat >"$work/on-event" <<END
#!/bin/sh
cat >>$work/heard
echo >>$work/heard
END
chmod +x "$work/on-event"
cat >"$work/conf" <<END
[events]
exec = $work/on-event
severity = warning
END
server_start --conf "$work/conf"

# ---- thresholds ----
json thresholds 80,90,95 pool modify
json thresholds 50,70 pool modify --threshold 50,70
ok pool modify
says "50,70"
refused 1 "are no thresholds" pool modify --threshold 70,50
ok pool modify --threshold 10 --dry-run
says "nothing was changed"
json thresholds 50,70 pool modify
ok volume create db 64M --threshold 80
json volumes.0.thresholds 80 volume show db
ok volume modify db --threshold 50
json volumes.0.thresholds 50 volume show db
refused 1 "are no thresholds" volume create bad --threshold x
refused 1 "there is no volume 'bad'" volume show bad
ok lun create db/data 40M
ok lun modify db/data --threshold 75
json luns.0.thresholds 75 lun show db/data
io db/data 'write 0 36M'
await "LUN db/data is 90.0 % used, above 75 %" event show
await "volume db is" event show
io db/data 'discard 0 36M'
await "LUN db/data is 0.0 % used, below 75 % again" event show

# ---- events to a program ----
heard=
end=$((SECONDS + 120))
until [[ $heard == *'"lun.threshold","object":"db/data"'* ]] || ((SECONDS >= end)); do
    sleep 0.1
    heard=$(<"$work/heard")
done 2>/dev/null
[[ $heard == *'"severity":"warning","name":"lun.threshold","object":"db/data"'* ]] ||
    fail "the program heard: $heard"
[[ $heard != *'"severity":"info"'* ]] || fail "the program heard what it should not: $heard"

# ---- leases ----
refused 2 "is not a duration" pool modify --lease-warning soon
json lease_warning_s 600 pool modify
json lease_snapshots all pool modify --lease-snapshots all --lease-force no --lease-warning 5m
ok lun clone db/data ci --expire 1s --owner eve
await "LUN ci of eve was deleted: its lease has ended" event show
refused 1 "there is no LUN" lun show ci
ok lun clone db/data kept
ok lun modify kept --lock-until 1h --expire 1s
await "the lease has ended, but: 'kept' is locked" event show
json count 1 lun show kept

# ---- all of it is there after a crash ----
server_kill
server_start
json thresholds 50,70 pool modify
json lease_snapshots all pool modify
json volumes.0.thresholds 50 volume show db
json luns.0.thresholds 75 lun show db/data
json errors 0 pool check
ok server stop
wait "$server"
server=
finish
