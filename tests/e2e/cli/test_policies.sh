#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the server does by itself: thresholds, events to a program, leases, snapshots on schedule and
# with applications that hold still, growing, making room, physical splits.

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
mkdir "$work/quiesce"
cat >"$work/quiesce/app" <<END
#!/bin/sh
echo "\$1 \$LUNETTE_SNAPSHOT of \$LUNETTE_OBJECTS" >>$work/frozen
[ ! -e $work/busy ]
END
chmod +x "$work/quiesce/app"
cat >"$work/conf" <<END
[quiesce]
folder = $work/quiesce
[events]
exec = $work/on-event
severity = warning
END
server_start --conf "$work/conf"

# ---- 1e Watch space: thresholds ----
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
await "% used, above 75 %" event show # how much was there when somebody looked; nothing else has 75
says "LUN db/data is "
await "volume db is" event show
io db/data 'discard 0 36M'
await "% used, below 75 % again" event show

# ---- 1e Watch space: events to a program ----
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

# ---- 1b LUN inside a cloned volume: snapshots with applications that hold still ----
ok snapshot create db@clean --quiesce app --comment 'before the release'
same "$(<"$work/frozen")" $'freeze clean of db\nthaw clean of db'
json snapshots.0.consistency application-consistent snapshot show db
json snapshots.0.comment '[application-consistent] before the release' snapshot show db
touch "$work/busy"
refused 1 "$work/quiesce/app ended with status 1" snapshot create db@two --quiesce app --quiesce-required
ok snapshot create db@three --quiesce app
json snapshots.1.consistency crash-consistent snapshot show db
ok snapshot create db/data@four --quiesce app --dry-run
refused 1 "cannot be run" snapshot create db@five --quiesce nope
refused 1 "without a folder" snapshot create db@five --quiesce /bin/true
rm "$work/busy"
json count 2 snapshot show db
ok snapshot delete db@clean
ok snapshot delete db@three

# ---- schedules ----
refused 2 "needs --schedule" snapshot policy create fast
refused 1 "is no kind of schedule" snapshot policy create fast --schedule yearly:2
ok snapshot create db/data@x
ok snapshot policy create fast --schedule 1sec:3,daily:7 --dry-run
json count 0 snapshot policy show
ok snapshot policy create fast --schedule 1sec:3,daily:7 --prefix app- --comment 'for a test'
refused 1 "there is a snapshot policy 'fast' already" snapshot policy create fast --schedule daily:1
json policies.0.schedule 1sec:3,daily:7 snapshot policy show fast
refused 1 "there is no snapshot policy 'nope'" volume modify db --snapshot-policy nope
refused 1 "there is no snapshot policy 'nope'" volume create never --snapshot-policy nope
refused 1 "there is no volume 'never'" volume show never
refused 1 "is a snapshot, which does nothing by itself" lun modify db/data@x --threshold 50
ok snapshot delete db/data@x
ok volume modify db --snapshot-policy fast
json volumes.0.snapshot_policy fast volume show db
refused 1 "snapshot policy 'fast' is that of 'db'" snapshot policy delete fast
await "older than what snapshot policy fast keeps" event show
ok snapshot show db
says "db@app-1sec."
await '"count": 3' snapshot show db --json # one is deleted after one is made
ok snapshot policy modify fast --schedule hourly:24
json policies.0.prefix app- snapshot policy show

# ---- growing ----
refused 1 "adds no allocation group" pool modify --autogrow-step 4096
json autogrow_step_bytes 134217728 pool modify --autogrow-step 128M --autogrow-max 384M
json autogrow_threshold 30 pool modify --autogrow-threshold 30%
io db/data 'write -P 3 0 40M'
ok lun create filler 200M
io filler 'write -P 3 0 100M'
await "384 MiB now" event show
json size_bytes 402653184 pool show
ok lun delete filler
ok pool modify --autogrow-step none

# ---- making room ----
json enabled false pool autodelete show
json trigger pool pool autodelete show
json commitment disrupt volume autodelete modify db -commitment disrupt --dry-run
json commitment try volume autodelete show db
refused 2 "is none of try|disrupt|destroy" volume autodelete modify db -commitment all
refused 1 "less than what it aims at" volume autodelete modify db -trigger-free-space 30
refused 1 "there is no volume 'nope'" volume autodelete show nope
refused 2 "is outside 1 to 99" pool autodelete modify -target-free-space 100
ok volume modify db --snapshot-policy none
ok volume create small 48M
ok lun create small/data 16M
io small/data 'write -P 1 0 16M'
ok snapshot create small@one
io small/data 'write -P 2 0 16M'
ok lun clone small/data small/clone --autodelete yes
ok lun clone small/data small/keep
ok volume snapshot autodelete modify small -enabled true -trigger-free-space 40 -target-free-space 90%
says "Target free space (%)"
await "volume small has" event show
await "snapshot small@one was deleted to make room" event show
await "LUN small/clone was deleted to make room" event show
await "nothing is left that may be deleted" event show
json count 2 lun show 'small/*'
io small/keep 'read -P 2 0 16M'
ok volume autodelete modify small -enabled false

# ---- physical splits ----
ok volume create parent
ok lun create parent/data 24M
io parent/data 'write -P 5 0 20M'
ok volume clone create parent copy
refused 2 "--rate is for --physical" volume clone split start copy --rate 1M
refused 1 "64K a second or more" volume clone split start copy --physical --rate 1000
ok volume clone split start copy --physical --dry-run
json count 0 volume clone split show
ok volume clone split start copy --physical --rate 64K
json splits.0.volume copy volume clone split show
json splits.0.rate_bytes 65536 volume clone split show
json splits.0.total_bytes 20971520 volume clone split show
job=$("$probe" json splits.0.id <<<"$out")
ok job show
says "split"
refused 1 "still running" job wait "$job" --timeout 1s
ok volume clone split pause copy
json splits.0.state paused volume clone split show
ok job cancel "$job"
json count 0 volume clone split show
json count 1 volume clone show
refused 1 "nothing of volume 'copy' is being copied" volume clone split stop copy
ok volume clone split start copy --physical --rate 64K
server_kill # it goes on where it was
server_start
json splits.0.state running volume clone split show
io copy/data 'write -P 6 1M 1M'
ok volume clone split start copy --physical
ok job wait --timeout 2m
json count 0 volume clone split show
json count 0 volume clone show
json luns.0.shared_bytes 0 lun show copy/data
await "volume copy shares nothing with others any more" event show
ok volume delete parent --with-contents
io copy/data 'read -P 5 0 1M' 'read -P 6 1M 1M' 'read -P 5 2M 18M' 'read -P 0 20M 4M'

# ---- all of it is there after a crash ----
server_kill
server_start --quiesce-folder "$work/quiesce" # without a conf file
ok lun create calm 1M
ok snapshot create calm@s --quiesce app --quiesce-required
json thresholds 50,70 pool modify
json lease_snapshots all pool modify
json autogrow_step_bytes 0 pool modify
json policies.0.schedule hourly:24 snapshot policy show
json target_free_space 90 volume autodelete show small
json volumes.0.thresholds 50 volume show db
json luns.0.thresholds 75 lun show db/data
ok snapshot policy delete fast
json count 0 snapshot policy show
json errors 0 pool check
ok server stop
wait "$server"
server=
finish
