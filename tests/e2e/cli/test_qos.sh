#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QoS classes, limits over NBD and iSCSI, top and metrics: success, refusal, JSON. Rates are checked by
# an upper bound, with the server's own clock and counts: a slow machine cannot break it.

. "$(dirname "$0")/lib.sh"

command -v qemu-img >/dev/null || skip "needs qemu-img, of qemu-utils"

# until PATTERN COMMAND...: it prints PATTERN at last; gives up after a minute.
until_prints()
{
    local wanted=$1 end=$((SECONDS + 60)) found=
    shift
    checks=$((checks + 1))
    while [[ $SECONDS -lt $end ]]; do
        found=$("$@" 2>&1)
        # shellcheck disable=SC2053 # a pattern
        [[ $found == $wanted ]] && return
        sleep 0.05
    done
    fail "$*: $found, not $wanted"
}

# figure PATH LUN: of what the server counts.
figure()
{
    "$lunette" qos show "$2" --json | "$probe" json "subjects.0.$1"
}

count()
{
    "$lunette" metrics | sed -n "s/^lunette_lun_operations_total{lun=\"$1\",kind=\"$2\"} //p"
}

# load LUN COUNT OPTION...: COUNT requests of 4 KiB over NBD, 16 at a time. Takes the shell's place, so
# that who kills it kills the client.
load()
{
    local lun=$1 requests=$2
    shift 2
    exec qemu-img bench -f raw -t none -c "$requests" -d 16 -s 4096 "$@" \
        "nbd+unix:///$lun?socket=$work/nbd.sock" >/dev/null
}

# ---- usage and no server ----
refused 2 "needs CLASS" qos class create
refused 2 "--max-iops: " qos class create c --max-iops many
refused 2 "not a size" qos class create c --max-bps fast
refused 2 "not a duration" qos class create c --burst long
refused 2 "--weight: " qos class create c --weight heavy
refused 2 "needs NAME... CLASS" qos set gold
refused 2 "either" qos set --pool vm1 gold
refused 2 "--count: " top --count 0
refused 2 "--interval" top --interval 1ms
refused 2 "no field" top --fields colour
refused 2 "not both" metrics --json --output /x
for command in "qos class show" "qos show" "qos set a b" "top" "metrics" "qos class create c"; do
    # shellcheck disable=SC2086
    refused 3 "no server answers" $command
done

# ---- 1f FlexShare: classes; clones born in one ----
ok pool create "$pool" 512M
server_start --iscsi 127.0.0.1:0
ok lun create slow 64M
ok lun create fast 64M
json count 2 qos class show
json classes.0.name background qos class show
json classes.1.users 2 qos class show
ok qos class create silver --max-iops 2000 --max-bps 100M --burst 2s --weight 300
says "Created class silver: 2000 IOPS, 100 MiB/s, weight 300."
json classes.0.burst_ms 2000 qos class show silver
json classes.0.max_bps 104857600 qos class show silver
refused 1 "cannot create class silver: " qos class create silver
[[ $err == *"lunette qos class modify silver"* ]] || fail "no hint: $err"
refused 1 "a class's name" qos class create 'a b'
refused 1 "a weight is 1 to 10000" qos class create bad --weight 0
refused 1 "a burst is 10ms to 1h" qos class create bad --burst 1ms
refused 1 "a limit is at most" qos class create bad --max-iops 9000000000000000000
ok qos class modify silver --max-bps none
says "Modified class silver: 2000 IOPS, weight 300."
json classes.0.max_bps 0 qos class show silver
json classes.0.max_iops 2000 qos class show silver
refused 1 "nothing is said" qos class modify silver
refused 1 "no QoS class \"none\"" qos class modify none --weight 1
[[ $err == *"try: lunette qos class show"* ]] || fail "no hint: $err"
refused 1 "no QoS class \"none\"" qos class show none
ok qos class show
says "none"
refused 1 "built in" qos class delete default
refused 1 "built in" qos class delete background --dry-run

# ---- who is in them ----
ok qos set slow silver
says "Put slow into class silver."
json subjects.0.class silver qos show slow
json subjects.0.class default qos show fast
json count 2 qos show
json subjects.0.kind pool qos show
refused 1 "no QoS class" qos set slow gold
refused 1 "lunette lun show" qos set nothing silver
refused 1 "leave out" qos set slow@s silver
refused 1 "in the class" qos class delete silver
[[ $err == *"try: lunette qos show"* ]] || fail "no hint: $err"
json count 2 qos set slow fast silver
json classes.0.users 2 qos class show silver
refused 1 "" qos set fast nothing silver
ok qos set slow fast default
says "Put 2 LUNs and volumes into class default."
json count 1 qos show

ok qos set --pool silver
json subjects.0.class silver qos show
refused 1 "is in the class" qos class delete silver --dry-run
ok qos set --pool default
json dry_run true qos class delete silver --dry-run
json count 3 qos class show
ok qos class delete silver
json count 2 qos class show

# A class goes with the LUN through a rename, ends with it, and is not inherited.
ok qos set fast background
ok lun rename fast quick
json subjects.0.class background qos show quick
ok lun clone quick c1
json subjects.0.class default qos show c1
ok lun clone quick c2 --qos background
json subjects.0.class background qos show c2
json count 20 lun clone quick --count 20 --name 'many-%02d' --qos background
json classes.0.users 22 qos class show background
refused 1 "no QoS class" lun clone quick c3 --qos gold
[[ $err == *"try: lunette qos class show"* ]] || fail "no hint: $err"
refused 1 "no QoS class" lun clone quick c3 --qos gold --dry-run
refused 1 "" lun show c3
ok clone create quick=c4 c1=c5 --qos background
json classes.0.users 24 qos class show background
ok lun delete c4 c5
ok lun delete c2
json classes.0.users 21 qos class show background
ok qos set quick default
ok lun rename quick fast

# ---- volumes: a class of the volume, and of a LUN in it ----
ok volume create vol
ok lun create vol/db 64M
ok qos set vol background
says "Put vol into class background."
json subjects.0.kind volume qos show vol
json subjects.0.class background qos show vol
json subjects.0.class default qos show vol/db
json subjects.1.kind volume qos show
ok qos set vol/db background
json subjects.0.class background qos show vol/db
ok volume rename vol disks
json subjects.0.class background qos show disks
refused 1 "no LUN or volume" qos show vol
refused 1 "no LUN or volume" qos set vol background
ok volume delete disks --with-contents
json count 21 qos show
ok volume create vol
json subjects.0.class '' qos show vol

# ---- a limit over NBD and iSCSI together; a LUN beside it is not held up ----
ok igroup create g iqn.2001-04.com.example:h
ok lun map slow --igroup g --lun-id 0
json portals.0.address '*' iscsi portal show
portal=$("$probe" json portals.0.address <<<"$out")
target=$("$probe" json portals.0.target <<<"$out")
ok qos class create crawl --max-iops 40
now=$("$lunette" metrics --json | "$probe" json stats.time_ns)
ok qos set slow crawl
load slow 1000000 -w &
nbd_client=$!
image=driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$portal,file.target=$target
image+=,file.lun=0,file.initiator-name=iqn.2001-04.com.example:h
qemu-img bench --image-opts -t none -c 1000000 -d 8 -s 4096 "$image" >/dev/null 2>"$work/iscsi" &
iscsi_client=$!
(load fast 2000) || fail "the LUN beside it is not served"
same "$(figure held fast)" 0
# Both have got their share of it, however late the second one came.
waited=0
until [[ $(figure held slow) -ge 60 && ( $(count slow read) -gt 0 || ! -d /proc/$iscsi_client ) || $waited -ge 600 ]]; do
    sleep 0.1
    waited=$((waited + 1))
done
json luns.0.name slow top slow --interval 500ms
"$lunette" metrics --json >"$work/after"
then=$("$probe" json stats.time_ns <"$work/after")
reads=$(count slow read) writes=$(count slow write)
# Counted a moment after the clock was read, so a second is added.
most=$((40 * ((then - now) / 1000000 + 1000 + 100) / 1000 + 2))
checks=$((checks + 1))
[[ $((reads + writes)) -le $most && $writes -gt 0 ]] ||
    fail "$reads reads and $writes writes, not at most $most"
if kill -0 "$iscsi_client" 2>/dev/null; then
    checks=$((checks + 1))
    [[ $reads -gt 0 ]] || fail "iSCSI got nothing of the limit"
fi

# Changed live: what waits goes.
ok qos class modify crawl --max-iops none
until_prints 0 figure waiting slow
kill "$nbd_client" "$iscsi_client" 2>/dev/null
wait "$nbd_client" "$iscsi_client" 2>/dev/null

# A client that hangs up takes what waits with it, although it would wait for days. It has 16 requests under
# way. One goes, since nothing is owed yet; the client sends the next in its place if it has the answer by then.
ok qos class create stuck --max-bps 1
ok qos set slow stuck
ok lun create held 64M
ok qos set held stuck
load held 100 -w &
nbd_client=$!
until_prints 1 count held write
until_prints '1[56]' figure waiting held
same "$(count held write)" 1
kill -9 "$nbd_client"
wait "$nbd_client" 2>/dev/null
until_prints 0 figure waiting held
same "$(count held write)" 1

# ---- weights: two LUNs that wait for the pool's limit get it by their weights ----
ok lun clone slow light
ok lun clone slow heavy
ok qos class create light --weight 100
ok qos class create heavy --weight 400
ok qos class create all --max-iops 25
ok qos set light light
ok qos set heavy heavy
ok qos set --pool all
load light 1000000 &
light_client=$!
load heavy 1000000 &
heavy_client=$!
waited=0
until [[ $(figure held light) -ge 3 && $(figure held heavy) -ge 3 || $waited -ge 600 ]]; do
    sleep 0.1
    waited=$((waited + 1))
done
# count_both: at one moment.
count_both()
{
    "$lunette" metrics >"$work/both"
    light=$(sed -n 's/^lunette_lun_operations_total{lun="light",kind="read"} //p' "$work/both")
    heavy=$(sed -n 's/^lunette_lun_operations_total{lun="heavy",kind="read"} //p' "$work/both")
}
count_both
light_before=$light heavy_before=$heavy
until [[ $light -ge $((light_before + 15)) || $waited -ge 1200 ]]; do
    sleep 0.1
    waited=$((waited + 1))
    count_both
done
light_got=$((light - light_before)) heavy_got=$((heavy - heavy_before))
checks=$((checks + 1))
# Four times as much, if its client always asks in time, which a loaded machine may prevent.
[[ $((heavy_got * 2)) -gt $((light_got * 3)) ]] || fail "light got $light_got, heavy $heavy_got"
kill "$light_client" "$heavy_client" 2>/dev/null
wait "$light_client" "$heavy_client" 2>/dev/null
ok qos set --pool default

# ---- top ----
json count '*' top --interval 100ms
json luns.0.name fast top fast --interval 100ms
json luns.0.class stuck top 'sl*' --interval 100ms
json count 0 top 'nothing*' --interval 100ms
refused 1 "there is no LUN or snapshot 'nothing'" top nothing --interval 100ms
ok top --interval 100ms
says "Reads/s"
says "entries were displayed."
ok top --interval 100ms --count 3 --json
same "$(wc -l <<<"$out")" 3
checks=$((checks + 1))
"$probe" json luns.0.write_iops <<<"$(head -n 1 <<<"$out")" >/dev/null || fail "no JSON: $out"
ok top --interval 100ms --fields name,write_iops --json
[[ $out != *read_iops* ]] || fail "--fields does not choose: $out"

# ---- classes from birth ----
ok qos class create born --max-iops 5000
ok volume create housed 64M --qos born
json volumes.0.qos born volume show housed
json subjects.0.class born qos show housed
ok volume create free
json volumes.0.qos none volume show free
ok lun create housed/l 8M -qos-policy-group born
json luns.0.qos born lun show housed/l
ok lun create plain 8M
json luns.0.qos default lun show plain
ok lun modify plain --qos born --dry-run
says "qos: default -> born"
json luns.0.qos default lun show plain
json qos born lun modify plain --qos born
json luns.0.qos born lun show plain
json subjects.0.max_iops 5000 qos show plain
ok lun modify plain --qos default
json luns.0.qos default lun show plain
ok volume modify free --qos background --dry-run
says "QoS class: none -> background"
json volumes.0.qos none volume show free
ok volume modify free --qos background
json volumes.0.qos background volume show free
ok volume modify free --qos default
json volumes.0.qos none volume show free
ok volume clone create housed housed2 -qos-policy-group background
json volumes.0.qos background volume show housed2
ok volume clone create housed housed3
json volumes.0.qos none volume show housed3
json luns.0.qos default lun show housed3/l
ok volume clone create housed housed4 --qos born --dry-run
ok lun clone plain plain2 --qos-policy-group born
json luns.0.qos born lun show plain2
ok lun show plain2 --fields name,qos
says born
for command in "volume create bad" "volume modify free" "lun create bad 8M" "lun modify plain" "volume clone create housed bad"; do
    # shellcheck disable=SC2086
    refused 1 "QoS class" $command --qos missing
    [[ $err == *"try: lunette qos class show"* ]] || fail "$command: no hint: $err"
done
refused 2 "not both" lun create bad 8M --qos born --qos-policy-group born
refused 1 "bad" lun show bad
refused 1 "bad" volume show bad

# ---- metrics ----
ok lun create 'quote' 4M
ok volume create bound 32M --space-guarantee volume
ok volume create unbound
ok qtree create bound/q
ok lun create bound/q/l 8M --owner ann --space-reserve yes
ok quota on bound
ok quota rule create bound --target q --disk-limit 16M --threshold 12M
ok quota rule create bound --type user --target '*' --soft-disk-limit 20M
ok metrics
quota='volume="bound",type="tree",target="q",qtree=""'
says "lunette_pool_promised_bytes $("$lunette" pool show --json | "$probe" json promised_bytes)"
[[ $out != *$'\n'"lunette_pool_promised_bytes 0"* ]] || fail "nothing is promised"
says 'lunette_volume_size_bytes{volume="bound"} 33554432'
[[ $out != *'lunette_volume_size_bytes{volume="unbound"}'* ]] || fail "a size of what has none"
for field in charged:charged_bytes available:available_bytes promised:needed_bytes reserved:reserved_bytes; do
    says "lunette_volume_${field%:*}_bytes{volume=\"bound\"} $("$lunette" volume show bound --json | "$probe" json "volumes.0.${field#*:}")"
done
says 'lunette_volume_promised_bytes{volume="unbound"} 0'
says "lunette_lun_reserved_bytes{lun=\"bound/q/l\"} $("$lunette" lun show bound/q/l --json | "$probe" json luns.0.needed_bytes)"
says "lunette_lun_shared_bytes{lun=\"fast\"} 0"
says "lunette_quota_used_bytes{$quota} 8388608"
says "lunette_quota_hard_limit_bytes{$quota} 16777216"
says "lunette_quota_threshold_bytes{$quota} 12582912"
[[ $out != *"lunette_quota_soft_limit_bytes{$quota}"* ]] || fail "a limit that there is not"
says 'lunette_quota_soft_limit_bytes{volume="bound",type="user",target="ann",qtree=""} 20971520'
# What help says of how many series there are.
for subject in volume=bound:7 lun=quote:8 volume=unbound:6; do
    same "$(grep -c "{${subject%%=*}=\"$(cut -d= -f2 <<<"${subject%:*}")\"}" <<<"$out")" "${subject#*:}"
done
echo "$out" >"$work/metrics"
says 'lunette_build_info{version='
says "lunette_lun_operations_total{lun=\"fast\",kind=\"read\"} 2000"
says "lunette_lun_size_bytes{lun=\"fast\"} 67108864"
says 'lunette_pool_health{lunette_pool_health="healthy"} 1'
same "$(tail -n 1 <<<"$out")" "# EOF"
# Each line is what the format allows; each family stands together; buckets only grow.
awk -f "$(dirname "$0")/openmetrics.awk" "$work/metrics" || fail "the metrics are not OpenMetrics"
checks=$((checks + 1))
if python3 -c 'import prometheus_client' 2>/dev/null; then
    checks=$((checks + 1))
    python3 -c 'import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
assert len(list(parse(sys.stdin.read()))) > 30' <"$work/metrics" || fail "prometheus_client refuses"
fi
json stats.latency_shift 10 metrics
json pool.health healthy metrics
ok metrics --output "$work/lunette.prom"
same "$out" ""
same "$(stat -c %a "$work/lunette.prom")" 644
same "$(tail -n 1 "$work/lunette.prom")" "# EOF"
ok metrics -o "$work/lunette.prom"
refused 1 "cannot write /nonexistent/x" metrics --output /nonexistent/x
same "$(find "$work" -name 'lunette.prom*' | wc -l)" 1

# ---- stopping does not wait for what waits ----
load held 100 -w 2>/dev/null & # which owes an hour: none of 16 goes
nbd_client=$!
until_prints 16 figure waiting held
ok server stop
wait "$server" 2>/dev/null
server=
wait "$nbd_client" 2>/dev/null
json errors 0 pool check --pool "$pool"
# Classes are stored.
server_start --iscsi 127.0.0.1:0
json volumes.0.qos born volume show housed
json luns.0.qos born lun show housed/l
finish
