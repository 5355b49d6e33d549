#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# lun clone --range: which bytes arrive where, what stays, what it costs, every refusal; a crash, a full
# pool, a cancel and a stop in the middle.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory keeps nothing"
command -v qemu-img >/dev/null || skip "no qemu-img"

uri()
{
    echo "nbd+unix:///$1?socket=$work/nbd.sock"
}

# put LUN FILE: its content becomes the file's; what is zeros there is a hole.
put()
{
    qemu-img convert -n -f raw -O raw -S 4k --target-is-zero "$2" "$(uri "$1")" >"$work/io" 2>&1 ||
        fail "put $1: $(<"$work/io")"
}

# get LUN: its content in $work/got.
get()
{
    rm -f "$work/got"
    qemu-img convert -f raw -O raw "$(uri "$1")" "$work/got" >"$work/io" 2>&1 || fail "get $1: $(<"$work/io")"
}

# holds LUN FILE: byte by byte.
holds()
{
    checks=$((checks + 1))
    get "$1"
    cmp "$work/got" "$2" >"$work/io" 2>&1 || fail "$1 is not $2: $(<"$work/io")"
}

# move FILE TO SRC DST COUNT: what --range does, in files, in blocks of 512.
move()
{
    dd if="$1" of="$2" bs=512 skip="$3" seek="$4" count="$5" conv=notrunc status=none
}

# no_moment: no snapshot of a copy is left.
no_moment()
{
    checks=$((checks + 1))
    ok lun show --snapshots
    [[ $out != *@copy-* ]] || fail "a snapshot of a copy is left: $out"
    json count 0 store list copy/
}

# old_or_new LUN OLD NEW: each block of 4 KiB is all OLD or all NEW, bytes as od writes them.
old_or_new()
{
    checks=$((checks + 1))
    get "$1"
    od -An -tx1 -w4096 "$work/got" | sort -u | awk -v old="$2" -v new="$3" '
        $1 == "*" { next }
        { for (i = 2; i <= NF; i++) if ($i != $1) bad = 1; if ($1 != old && $1 != new) bad = 1 }
        END { exit bad }' || fail "$1 has blocks that are neither old nor new"
}

# ---- usage and no server ----
refused 2 "--count is for a new clone" lun clone a b --range 0:0:1 --count 2
refused 2 "--igroup is for a new clone" lun clone a b --range 0:0:1 --igroup g
refused 2 "--force is for --range" lun clone a b --force
refused 2 "--range needs" lun clone a b --range ''
refused 2 "needs SOURCE" lun clone --range 0:0:1
refused 3 "no server answers" lun clone a b --range 0:0:1

# ---- bytes: other LUN, same LUN, snapshot; whole blocks and single sectors ----
ok pool create "$pool" 512M
server_start --iscsi 127.0.0.1:0
head -c 8388608 /dev/urandom >"$work/a"
truncate -s 16M "$work/a" # 8 MiB of data, 8 MiB of holes
head -c 4194304 /dev/urandom >"$work/b"
truncate -s 32M "$work/b"
ok lun create a 16M
ok lun create b 32M
put a "$work/a"
put b "$work/b"
json luns.0.mapped_bytes 8388608 lun show a
# 2 MiB of data onto a hole, 2 MiB of a hole onto data, and the edge between the two.
ok lun clone a b --range 0:32768:4096 --range 20480:0:4096,16000:8000:1000 --dry-run
says "Would copy 9192 blocks of a into b: 2.18 MiB of data"
says "The data would take 2.09 MiB of space"
says "copied, not shared"
holds b "$work/b"
json copied_bytes 2293760 lun clone a b --range 0:32768:4096 --range 20480:0:4096,16000:8000:1000 --dry-run
same "$("$probe" json hole_bytes <<<"$out")" $((9192 * 512 - 2293760))
same "$("$probe" json taken_bytes <<<"$out")" 2195456 # one half of the last is there
ok lun clone a b --range 0:32768:4096 --range 20480:0:4096,16000:8000:1000
says "Copied 9192 blocks of a into b: 2.18 MiB of data, and 2.3 MiB of holes, which stay holes."
says "only clones of whole LUNs share blocks"
move "$work/a" "$work/b" 0 32768 4096
move "$work/a" "$work/b" 20480 0 4096
move "$work/a" "$work/b" 16000 8000 1000
holds b "$work/b"
holds a "$work/a"
json luns.0.mapped_bytes $((4194304 + 98304)) lun show b # the hole stayed one
no_moment
# Single sectors, at no boundary of the pool's blocks.
ok lun clone a b --range 1:3:1,7:20001:17,16383:65535:1
move "$work/a" "$work/b" 1 3 1
move "$work/a" "$work/b" 7 20001 17
move "$work/a" "$work/b" 16383 65535 1
holds b "$work/b"
# Within one LUN, as ONTAP writes it.
json copied_bytes 1048576 volume file clone create -source-path b -destination-path /vol/b -range 0:2048:1,32768:40960:2047
same "$("$probe" json block_bytes <<<"$out")" 512
move "$work/b" "$work/b" 0 2048 1
move "$work/b" "$work/b" 32768 40960 2047
holds b "$work/b"
# From a snapshot, also onto itself: a range goes back to what it was.
ok snapshot create b@before
cp "$work/b" "$work/b-before"
qemu-io -f raw -c 'write -P 9 0 32M' -c flush "$(uri b)" >"$work/io" || fail "qemu-io"
printf '\11%.0s' {1..4096} >"$work/nines"
head -c 33554432 < <(while cat "$work/nines"; do :; done 2>/dev/null) >"$work/b"
json copied_bytes '*' lun clone b@before b --range 32768:32768:4096
move "$work/b-before" "$work/b" 32768 32768 4096
holds b "$work/b"
ok lun clone b@before b --range 32768:32770:4096 # overlaps, but not in one LUN
move "$work/b-before" "$work/b" 32768 32770 4096
holds b "$work/b"
ok event show
says "lun.ranges.copied"
# A source in use is no trouble, and its clients notice nothing.
qemu-io -f raw -c 'read 0 4k' -c 'sleep 100000000' "$(uri a)" >/dev/null 2>&1 &
client=$!
until [[ $("$lunette" lun show a --json | "$probe" json luns.0.open) == 1 ]]; do sleep 0.05; done
ok lun clone a b --range 0:0:8
refused 1 "'a' is open by 1 client, whose caches would not notice" lun clone b a --range 0:0:8
[[ $err == *"try: lunette lun show a"* ]] || fail "no hint: $err"
refused 1 "use --force if they know" lun clone a a --range 0:8:8 --dry-run
ok lun clone a a --range 0:8:8 --force
kill "$client"
wait "$client" 2>/dev/null

# ---- refusals ----
refused 2 "is no range: write SRC-BLOCK:DST-BLOCK:COUNT" lun clone a b --range 0:0
for range in 0:0:0 0:0:-1 x:0:1 0:0:1:1 0::1 : 0:0:1k 0:0:99999999999999999999; do
    refused 2 "is no range" lun clone a b --range "$range"
done
refused 1 "goes beyond the end of source 'a', which has 32768 blocks" lun clone a b --range 32760:0:9
refused 1 "range 9223372036854775807:0:1 goes beyond" lun clone a b --range 9223372036854775807:0:1
refused 1 "goes beyond the end of destination 'b', which has 65536 blocks" lun clone a b --range 0:65535:2 --dry-run
refused 1 "the source of range 0:0:8 and the source of range 7:100:8 overlap from block 7 on" lun clone a b --range 7:100:8,0:0:8
refused 1 "the destination of range 0:0:8 and the destination of range 100:7:8 overlap from block 7" lun clone a b --range 0:0:8,100:7:8
refused 1 "range 0:4:8 reads blocks 0 to 7 of the LUN and range 0:4:8 writes its blocks 4 to 11: they overlap from block 4 on" lun clone a a --range 0:4:8
refused 1 "range 4:200:8 reads blocks 4 to 11 of the LUN and range 100:0:8 writes its blocks 0 to 7: they overlap from block 4" lun clone a a --range 4:200:8,100:0:8
ok lun clone a a --range 0:8:8 # beside each other
ok lun create big-blocks 16M --sector 4096
refused 1 "blocks of 'a' have 512 bytes and those of 'big-blocks' 4096" lun clone a big-blocks --range 0:0:1
ok lun clone big-blocks big-blocks --range 0:4095:1
refused 1 "goes beyond" lun clone big-blocks big-blocks --range 0:4096:1
refused 1 "'lunette lun create none SIZE' makes one" lun clone a none --range 0:0:1
refused 1 "no LUN" lun clone none a --range 0:0:1
refused 1 "" lun clone a@none b --range 0:0:1
refused 1 "'b@before' is a snapshot, which never changes; 'lunette lun clone b@before NAME'" lun clone a b@before --range 0:0:1
ok lun create locked 16M
ok lun modify locked --lock-until 1h
refused 1 "'locked' is locked until" lun clone a locked --range 0:0:1
ok lun clone locked a --range 0:0:1
ok volume create vault 64M
ok lun create vault/l 16M
ok volume modify vault --lock-until 1h
refused 1 "'vault' is locked until" lun clone a vault/l --range 0:0:1 --dry-run
ok lun modify big-blocks --read-only yes
refused 1 "'lunette lun modify big-blocks --read-only no'" lun clone big-blocks big-blocks --range 0:9:1
# A volume's bound, and what a LUN owns of it already.
ok volume create small 4M
ok lun create small/l 16M
refused 1 "copying 8 MiB into 'small/l' takes 8 MiB of space, and" lun clone a small/l --range 0:0:16384
[[ $err == *"lunette explain space small/l"* ]] || fail "no hint: $err"
refused 1 "takes 8 MiB of space" lun clone a small/l --range 0:0:16384 --dry-run
ok lun clone a small/l --range 0:0:4096
json taken_bytes 0 lun clone a small/l --range 0:0:4096 # in place
# What is reserved is there, however little is free.
ok lun create reserved 16M --space-reserve yes
json taken_bytes 0 lun clone a reserved --range 0:0:32768
get a
cp "$work/got" "$work/a"
holds reserved "$work/a"
# Errors as JSON.
run lun clone a b --range 0:0:0 --json
same "$status" 2
same "$("$probe" json error.errno <<<"$err")" EINVAL
no_moment

# ---- in the middle: crash, full pool, cancel, stop ----
ok qos class create crawl --max-bps 2M
ok lun create source 24M
ok lun create target 24M
ok qos set target crawl
qemu-io -f raw -c 'write -P 0xbb 0 24M' -c flush "$(uri source)" >"$work/io" || fail "qemu-io"
ok qos set target default
qemu-io -f raw -c 'write -P 0xaa 0 24M' -c flush "$(uri target)" >"$work/io" || fail "qemu-io"
ok snapshot create target@old # so that a copy takes space

# begin: a copy that is under way, and hardly gets on; $copy is its client.
begin()
{
    ok snapshot restore target@old
    ok job wait --timeout 2m
    ok qos class modify crawl --max-bps 2M
    ok qos set target crawl
    "$lunette" lun clone source target --range 0:0:49152 >"$work/said" 2>"$work/failed" &
    copy=$!
    until [[ $("$lunette" lun show target --json | "$probe" json luns.0.own_bytes) -ge 1048576 ]]; do sleep 0.02; done
    ok qos class modify crawl --max-bps 64K # for as long as it takes to do something beside it
}

# ended TEXT: it was refused, saying so; what is there is old or new, and nothing is left behind.
ended()
{
    checks=$((checks + 1))
    wait "$copy"
    status=$?
    [[ $status == 1 && $(<"$work/failed") == *"$1"* ]] || fail "status $status: $(<"$work/failed")"
}

after()
{
    ok qos set target default
    old_or_new target aa bb
    no_moment
    ok job wait --timeout 2m
    json errors 0 pool check
    ok lun clone source target --range 0:0:49152
    get source
    cp "$work/got" "$work/source"
    holds target "$work/source"
}

# One point in time, whatever is written to the source meanwhile; and a limit that is lifted lets it go on.
get source
cp "$work/got" "$work/source"
begin
qemu-io -f raw -c 'write -P 0xcc 0 24M' -c flush "$(uri source)" >"$work/io" || fail "qemu-io"
ok qos class modify crawl --max-bps none
wait "$copy"
same "$?" 0
holds target "$work/source"
no_moment
qemu-io -f raw -c 'write -P 0xbb 0 24M' -c flush "$(uri source)" >"$work/io" || fail "qemu-io"
begin
refused 1 "" lun delete source --with-snapshots # it is read
refused 1 "open by" lun delete target --with-snapshots
ok lun rename source renamed # also while it runs
server_kill
wait "$copy" 2>/dev/null
server_start --iscsi 127.0.0.1:0
ok lun rename renamed source
after
begin
kill "$copy"
wait "$copy" 2>/dev/null
until run event show --json && [[ $out == *lun.ranges.stopped* ]]; do sleep 0.05; done
says "it was cancelled"
until [[ $("$lunette" lun show --snapshots) != *@copy-* ]]; do sleep 0.05; done
after
# There is room for it when it begins; then somebody else takes that.
ok lun create filler 1G
ok snapshot restore target@old
ok job wait --timeout 2m
ok snapshot create filler@now # and with it a checkpoint
room=$("$lunette" pool show --json | "$probe" json available_bytes)
qemu-io -f raw -c "write -P 3 0 $(((room >> 20) - 26))M" -c flush "$(uri filler)" >"$work/io" 2>&1 ||
    fail "qemu-io: $(<"$work/io")"
begin
for ((i = 0; i < 30; i++)); do echo "write -P 4 $((600 + i))M 1M"; done | qemu-io -f raw "$(uri filler)" >"$work/io" 2>&1
grep -q "No space left" "$work/io" || fail "the pool is not full: $(<"$work/io")"
ok qos class modify crawl --max-bps none
ended "were copied, then: there was no more room. Each other block of 'target' is as it was"
[[ $(<"$work/failed") == *"try: lunette explain space target"* ]] || fail "no hint: $(<"$work/failed")"
ok lun delete filler --with-snapshots --force
ok job wait --timeout 2m
after
begin
ok server stop
wait "$server"
server=
ended ""
json errors 0 pool check --pool "$pool"
server_start
after
finish
