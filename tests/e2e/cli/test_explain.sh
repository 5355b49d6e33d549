#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The ways out: a pool, a volume, a promise, a quota is full; what `explain` prints is typed as it stands, and
# then what was refused goes on. And what deletes say that they free: as their dry runs, and as it comes.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory is never full"
command -v qemu-io >/dev/null || skip "no qemu-io"

# What is printed begins so.
lunette()
{
    "$lunette" "$@" </dev/null
}

# write LUN FROM MIB: by single MiB, so that a full pool is full; what it came to in $out.
write()
{
    local i
    checks=$((checks + 1))
    out=$(for ((i = $2; i < $2 + $3; i++)); do echo "write -P 5 ${i}M 1M"; done |
        qemu-io -f raw "nbd+unix:///$1?socket=$work/nbd.sock" 2>&1)
}

written()
{
    write "$@"
    [[ $out != *failed* && $out != *rror* ]] || fail "write $*: $out"
}

full()
{
    write "$@"
    [[ $out == *"write failed: No space left on device"* ]] || fail "write $*: not full"
}

# printed WHAT [NAME]: the commands that explain prints, into $ways.
printed()
{
    ok explain "$@"
    mapfile -t ways < <(sed -n '/^try: /,$ { s/^try: //; s/^ *//; p }' <<<"$out")
    [[ ${#ways[@]} -gt 0 ]] || fail "explain $*: no way out"
}

# type_in COMMAND: as it was printed.
type_in()
{
    checks=$((checks + 1))
    said=$(eval "$1" 2>&1) || fail "$1: $said"
}

# way_out WHAT [NAME]: what is printed first is what helps.
way_out()
{
    printed "$@"
    type_in "${ways[0]}"
}

# rest: all others that were printed can be typed too.
rest()
{
    local way
    for way in "${ways[@]:1}"; do type_in "$way"; done
}

# ---- the pool ----
ok pool create "$pool" 256M
server_start
ok lun create thin 1G
ok lun create other 16M
written other 0 4
full thin 0 256
refused 1 "" lun create late 64M --space-reserve yes # and a refusal leads there
[[ $err == *"lunette explain space"* ]] || fail "no hint: $err"
way_out space
[[ ${ways[0]} == "lunette pool grow +"* ]] || fail "not a grow first: ${ways[0]}"
says "The sizes below are a step, a quarter of what is there or more."
says "For what you need: 'lunette explain space --wanted SIZE'."
written thin 300 16
written other 4 4
rest
# Said of the LUN itself, when snapshots hold what it had.
ok snapshot create thin@s
ok explain space
says "are shared by LUNs and their snapshots, and are free"
# Neither has that by itself; what both bring is exact.
both=$("$lunette" freed thin thin@s --json | "$probe" json freed_data_bytes)
checks=$((checks + 1))
[[ $both -gt $((200 << 20)) ]] || fail "thin and its snapshot hold $both"
says "LUN thin and its 1 snapshot hold "
[[ $out == *"lunette lun delete thin --with-snapshots --dry-run"* ]] || fail "not what brings most: $out"
ok explain space thin
says "LUN thin and its 1 snapshot hold "
ok explain space other
[[ $out != *" together."* ]] || fail "other has no snapshot: $out"
full thin 0 400
way_out space thin
written thin 500 16
rest
# What is known to lack is what the way out makes room for.
printed space --wanted 500M
grown=${ways[0]##*+}
checks=$((checks + 1))
[[ ${grown%M} -ge 500 ]] || fail "500M are wanted: ${ways[*]}"
# What others were promised is not there for thin writes.
ok lun delete thin --with-snapshots --force
ok job wait --timeout 2m
room=$("$lunette" pool show --json | "$probe" json available_bytes)
ok lun create promised "$(((room >> 20) - 40))M" --space-reserve yes
ok lun create thin 1G
full thin 0 60
way_out space thin
written thin 100 8
written promised 0 16
rest
# A clone that would have to be promised as much again.
refused 1 "are needed" lun clone promised twin
way_out space promised
ok lun clone promised twin
rest
json luns.0.reserved false lun show promised # the other way out was among them
ok lun delete thin twin promised --force
ok job wait --timeout 2m

# ---- a volume's size ----
ok volume create small 32M
ok lun create small/l 1G
full small/l 0 40
way_out space small/l
[[ ${ways[0]} == "lunette volume resize small +"* ]] || fail "not the volume first: ${ways[0]}"
written small/l 100 8
rest
full small/l 200 200
way_out space small
written small/l 500 4
# One whose writes pause: the way out lets them go on.
ok volume create patient 32M --when-full pause --pause 10m
ok lun create patient/l 1G
write patient/l 0 24
(
    write patient/l 24 16
    echo "$out" >"$work/paused"
) &
writer=$!
until run event show --json && [[ $out == *'"object": "patient'* && $out == *paus* ]]; do sleep 0.05; done
way_out space patient/l
wait "$writer"
checks=$((checks + 1))
[[ $(<"$work/paused") != *failed* && $(<"$work/paused") != *rror* ]] || fail "paused: $(<"$work/paused")"
# A guaranteed one in a pool that has not as much: the pool first, then the volume.
ok volume delete patient --with-contents --force
ok volume delete small --with-contents --force
ok job wait --timeout 2m
room=$("$lunette" pool show --json | "$probe" json available_bytes)
ok volume create sure "$(((room >> 20) - 12))M" --space-guarantee volume
ok lun create sure/l 4G
full sure/l 0 "$((room >> 20))"
way_out space sure/l
[[ ${ways[0]} == "lunette pool grow +"* && ${ways[1]} == "lunette volume resize sure +"* ]] || fail "not both: ${ways[*]}"
type_in "${ways[1]}"
written sure/l 3000 8
ok volume delete sure --with-contents --force
ok job wait --timeout 2m

# ---- quotas ----
ok volume create db 512M
ok qtree create db/team
ok lun create db/team/a 64M --owner "o'brien b" --group devs
ok quota rule create db --target team --disk-limit 100M
ok quota rule create db --type user --target '*' --disk-limit 100M
ok quota rule create db --type group --target devs --disk-limit 100M
ok quota rule create db --type user --target "o'brien b" --qtree team --disk-limit 100M
ok quota on db
refused 1 "the quota of qtree 'db/team'" lun clone db/team/a db/team/b
way_out quota db/team/a
checks=$((checks + 1))
[[ ${#ways[@]} -ge 6 && ${ways[*]} == *" create db --type user"* && ${ways[*]} == *" modify db --type group"* ]] ||
    fail "not all four limits: ${ways[*]}"
rest
ok lun clone db/team/a db/team/b
says "Cloned"
ok lun delete db/team/b
# grows RULE PATH: its limit is in the way of a LUN at PATH; printed and typed until that fits.
grows()
{
    local way tries
    # shellcheck disable=SC2086 # words
    ok quota rule create db $1 --disk-limit 32M
    refused 1 "the quota of" lun create "$2" 64M --owner eve --group ops
    for tries in 1 2 3; do
        printed quota "${2%/*}"
        for way in "${ways[@]}"; do [[ $way != *" modify db $1 "* ]] || type_in "$way"; done
        run lun create "$2" 64M --owner eve --group ops
        [[ $status != 0 ]] || break
    done
    same "$status" 0
    ok lun delete "$2"
}

ok qtree create db/team2
grows "--type user --target eve" db/e
grows "--type group --target ops" db/e
grows "--type tree --target team2" db/team2/e
# ONTAP's path is the same, and the commands name its volume.
printed quota /vol/db/team2
says "     lunette quota rule show db"
rest
ok explain quota other
says "No quota binds other."
# A rule of whom no LUN is yet is not passed over.
ok volume create later
ok quota rule create later --type user --target '*' --disk-limit 1M
ok quota on later
refused 1 "'lunette explain quota later' shows what counts" lun create later/l 2M --owner bob
ok explain quota later
says "volume later has 1 rule, which 'lunette quota rule show later' lists"
# For what is wanted one step is enough.
ok quota rule modify db --target team2 --disk-limit 32M
refused 1 "the quota of" lun create db/team2/e 500M
printed quota db/team2 --wanted 500M
says "The limits below have room for 500 MiB more"
type_in "${ways[0]}"
ok lun create db/team2/e 500M
ok lun delete db/team2/e

# ---- deletes say what they free ----
# gone ARGUMENT...: the figures of the dry run, of the delete and of the pool afterwards are the same.
gone()
{
    local planned freed before after
    ok job wait --timeout 2m
    ok "$@" --dry-run --json
    planned=$("$probe" json freed_bytes <<<"$out")
    before=$("$lunette" pool show --json | "$probe" json data_bytes)
    ok "$@" --json
    freed=$("$probe" json freed_data_bytes <<<"$out")
    same "$("$probe" json freed_bytes <<<"$out")" "$planned"
    same "$((freed + $("$probe" json freed_metadata_bytes <<<"$out")))" "$planned"
    [[ $out != *'"goes"'* && $out == *'"deleted"'* ]] || fail "lunette $*: $out"
    ok job wait --timeout 2m
    after=$("$lunette" pool show --json | "$probe" json data_bytes)
    same "$((before - after))" "$freed"
    [[ $freed -gt 0 ]] || fail "lunette $*: nothing freed"
}

ok quota off db
ok lun create g 64M
written g 0 16
ok lun clone g c1
ok lun clone g c2
written c1 0 4
written c2 2 4
ok snapshot create c2@s
written c2 0 8
gone snapshot delete c2@s
gone lun delete c1
gone lun delete g c2
ok lun create db/x 64M
written db/x 0 8
ok snapshot create db@v
written db/x 0 4
gone snapshot delete db@v
written db/x 8 4
ok volume clone create db dbc
written dbc/x 0 2
gone volume delete dbc --with-contents --delete-backing-snapshot
gone volume delete db --with-contents
ok lun create h 16M
written h 0 2
ok snapshot create h@s
ok lun delete h --with-snapshots
says "Deleted LUN h."
says "Frees 2 MiB: 2 MiB of data, 4 KiB of metadata."
ok lun create h 16M
written h 0 2
ok snapshot create h@s
written h 0 1
ok snapshot delete h@s
says "Deleted snapshot h@s."
says "of data"
json errors 0 pool check
ok server stop
wait "$server"
server=

# ---- refusals and events name a grow that helps; an allocation group of a small pool is 126 MiB ----
# hint TEXT: the grow in it.
hint()
{
    checks=$((checks + 1))
    [[ $1 =~ lunette\ pool\ grow\ \+[0-9]+M ]] && type_in "${BASH_REMATCH[0]}" || fail "no grow to type in: $1"
}

pool=$work/hints
ok pool create "$pool" 1009M
server_start
ok lun create thin 8G
refused 1 "are needed" volume create sure 1100M --space-guarantee volume
hint "$err"
ok volume create sure 1100M --space-guarantee volume
# One figure says how full it is, wherever it is told: promises are part of it, and seen.
ok pool modify --threshold 50
until run event show && [[ $out == *"pool hints is "*" % used, above 50 %"* ]]; do sleep 0.05; done
percent=$(sed -n 's/.*pool hints is \([0-9.]*\) % used, above 50 %.*/\1/p' <<<"$out")
ok df
grep -qE "^pool +hints .* $percent%" <<<"$out" || fail "df has not $percent %: $out"
ok pool show
says "Used, that is not available: $percent%"
says "Promised, not written yet: 1.07 GiB"
size=$("$lunette" pool show --json | "$probe" json size_bytes)
json entries.0.used_bytes '*' df
same "$(("$("$probe" json entries.0.used_bytes <<<"$out")" + "$("$probe" json entries.0.available_bytes <<<"$out")"))" "$size"
refused 1 "are needed" lun create late 900M --space-reserve yes
hint "$err"
ok lun create late 900M --space-reserve yes
refused 1 "are needed" lun clone late early
hint "$err"
ok lun clone late early
ok lun delete late early --force
ok volume delete sure --force
ok job wait --timeout 2m
room=$("$lunette" pool show --json | "$probe" json available_bytes)
full thin 0 "$(((room >> 20) + 8))"
ok event show
hint "$(grep pool.full <<<"$out")"
written thin 7000 64
json errors 0 pool check
# An import that finds no room says how much it lacks, and what makes room for it: first in the pool, then in
# the volume.
room=$("$lunette" pool show --json | "$probe" json available_bytes)
head -c "$((room + (64 << 20)))" /dev/zero | tr '\0' x >"$work/image"
ok volume create bound 64M
for grown in "pool grow +" "volume resize bound +"; do
    run lun import "$work/image" bound/image
    same "$status" 1
    checks=$((checks + 1))
    [[ $err == *" bytes are done; up to "*" more are needed, "*" are available"* ]] || fail "no figures: $err"
    way=$(sed -n 's/^  try: //p' <<<"$err")
    [[ $way == "lunette $grown"* ]] || fail "no $grown in: $err"
    type_in "$way"
    ok job wait --timeout 2m
done
run lun import "$work/image" bound/image
same "$status" 0
rm "$work/image"
json errors 0 pool check
ok server stop
wait "$server"
server=
finish
