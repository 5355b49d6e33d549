#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A pool with damaged metadata: refused or reported, with what is damaged; what is whole is served.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no metadata on a disk"

# damage FILE BLOCK: changes some bytes of it.
damage()
{
    printf 'XXXX' | dd of="$1" bs=1 seek=$(($2 * 4096 + 300)) conv=notrunc status=none
}

# reads LUN PATTERN: qemu-io's words about its first MiB.
reads()
{
    qemu-io -r -f raw "nbd+unix:///$1?socket=$work/nbd.sock" -c "read -P $2 0 1M" 2>&1
}

ok pool create "$work/sound" 128M
pool=$work/sound
server_start
ok lun create good 64M
ok lun create bad 64M
for name in good bad; do
    qemu-io -f raw "nbd+unix:///$name?socket=$work/nbd.sock" -c 'write -P 5 0 1M' -c flush >/dev/null
done
ok snapshot create bad@before
qemu-io -f raw "nbd+unix:///bad?socket=$work/nbd.sock" -c 'write -P 6 4k 4k' -c flush >/dev/null
ok server stop
wait "$server"
server=

# ---- the map of one LUN ----
pool=$work/map
cp --sparse=always "$work/sound" "$pool"
ok pool dump lines --pool "$pool"
damage "$pool" "$(sed -n 's/^line .* map \([0-9]*\)\/.* of bad$/\1/p' <<<"$out")"
run pool check --pool "$pool"
same "$status" 1
says "ERROR: a tree of bad cannot be read"
run pool check --pool "$pool" --json
same "$status" 1
checks=$((checks + 1))
[[ $("$probe" json errors <<<"$out") -gt 0 ]] || fail "no errors in $out"
server_start
checks=$((checks + 4))
[[ $(reads bad 6) == *"read failed: Input/output error"* ]] || fail "bad: $(reads bad 6)"
[[ $(reads good 5) == *"read 1048576/1048576"* ]] || fail "good: $(reads good 5)"
[[ $(reads bad@before 5) == *"read 1048576/1048576"* ]] || fail "the snapshot: $(reads bad@before 5)"
[[ $(reads good 4) == *"verification failed"* ]] || fail "qemu-io finds nothing"
ok event show
says "a request to 'bad' met damaged metadata"
run pool check
same "$status" 1
says "ERROR: a tree of bad cannot be read"
run lun export bad "$work/out"
[[ $status == 1 && $err == *"Input/output error"* ]] || fail "export: $status $err"
[[ ! -e $work/out ]] || fail "half an export was left behind"
# It cannot be walked, so its blocks stay; everything else goes on.
ok lun delete bad --with-snapshots
refused 1 "a job failed on damaged metadata" job wait
json jobs.0.kind delete job show
json jobs.0.state failed job show
id=$("$lunette" job show --json | "$probe" json jobs.0.id)
ok job show
says "its space stays taken until 'lunette pool repair'; 'lunette pool check' shows what is damaged"
refused 1 "job $id failed on damaged metadata" job wait "$id"
refused 1 "job $id failed on damaged metadata" job cancel "$id"
ok event show
says "job $id (delete) met damaged metadata and stops"
ok lun clone good twin
ok lun delete good
ok server stop
wait "$server"
server=
# A repair knows what else is referred to, and gives up the rest: see below.
cp --sparse=always "$pool" "$work/deleted"

# ---- what all LUNs need: it is there twice ----
pool=$work/catalog
cp --sparse=always "$work/sound" "$pool"
ok pool dump objects --pool "$pool"
page=$(sed -n 's/^page 0 at blocks \([0-9]*\) .*/\1/p' <<<"$out")
twin=$(sed -n 's/^page 0 at blocks [0-9]* and \([0-9]*\):.*/\1/p' <<<"$out")
damage "$pool" "$page"
run pool check --pool "$pool"
same "$status" 1
says "block $page, copy 0 of page 0 of the catalog, is damaged"
server_start
ok event show
says "metadata.repaired"
[[ $(reads good 5) == *"read 1048576/1048576"* ]] || fail "good: $out"
ok server stop
wait "$server"
server=
ok pool check --pool "$pool"
cp --sparse=always "$work/sound" "$pool"
damage "$pool" "$page"
damage "$pool" "$twin"
for command in "pool check" "pool show" "pool dump lines"; do
    # shellcheck disable=SC2086
    run $command --pool "$pool"
    same "$status" 1
    [[ $err == *"metadata block $page "* && $err == *"its metadata is damaged"* ]] || fail "$err"
done
run serve --pool "$pool" --plugin "$plugin"
[[ $status == 1 && $err == *"its metadata is damaged"* ]] || fail "serve: $status $err"
# To find out more, what needs no catalog is still shown.
ok pool dump superblock --pool "$pool"
says "format version"
ok pool dump "block" "$page" --pool "$pool"
says "58 58 58 58"
refused 1 "'x7' is no number" pool dump block x7 --pool "$pool"

# ---- a copy of the superblock: no error, but said, and mended by whoever opens the pool ----
pool=$work/super
cp --sparse=always "$work/sound" "$pool"
damage "$pool" 0
ok pool check --pool "$pool"
says "WARNING: copy 0 of the superblock, block 0, is damaged"
says "'lunette pool repair $pool', writes this one anew"
says "checksums of all that is needed right"
says " 0 errors, 1 warning, "
# To a scrub it is the same.
ok pool scrub --pool "$pool"
says "WARNING: copy 0 of the superblock, block 0, is damaged; another is whole"
says " 1 damaged, 0 of them written anew, 1 of them of no need while another is whole."
json spare 1 pool scrub --pool "$pool"
json warnings 1 pool check --pool "$pool"
server_start
ok event show
says "copy 0 of the superblock, block 0, was damaged; it was written anew"
ok pool check
says " 0 errors, 0 warnings, "
ok server stop
wait "$server"
server=
ok pool check --pool "$pool"
says " 0 errors, 0 warnings, "
server_start
ok event show
checks=$((checks + 1))
[[ $out != *metadata.repaired* ]] || fail "mended again: $out"
# Of a pool that is served each copy is compared with what was written there last.
damage "$pool" 0
damage "$pool" 1
ok pool check
says "WARNING: copy 0 of the superblock, block 0, is damaged; another is whole, and 'lunette pool scrub'"
ok pool scrub
ok pool check
says " 0 errors, 0 warnings, "
ok server stop
wait "$server"
server=

# ---- a scrub, in the server and without one ----
pool=$work/scrub
cp --sparse=always "$work/sound" "$pool"
ok pool scrub --pool "$pool"
says "Scrub finished: read "
says " 0 damaged, 0 of them written anew."
refused 2 "need a server" pool scrub --last --pool "$pool"
server_start
ok pool scrub --last
says "No scrub was started"
json damaged 0 pool scrub
json state finished pool scrub --last
refused 2 "at least 64K" pool scrub --rate 1K
# One copy of the page above: it is mended.
damage "$pool" "$page"
run pool scrub
same "$status" 0
says "DAMAGED: block $page, copy 0 of page 0 of the catalog (good, bad@before, bad)"
says " 1 damaged, 1 of them written anew."
ok event show
says "scrub.damaged"
says "scrub.finished"
ok pool scrub
says " 0 damaged"
# The map of a LUN is not.
ok pool dump lines
map=$(sed -n 's/^line .* map \([0-9]*\)\/.* of bad$/\1/p' <<<"$out")
damage "$pool" "$map"
run pool scrub
same "$status" 1
says "DAMAGED: block $map, a node of level 0 of the map of bad, holds something else than was written"
[[ $err == *"1 damaged block of metadata was not written anew"*"once 'lunette server stop' has"*"try: lunette pool repair $pool --dry-run" ]] ||
    fail "scrub: $err"
run pool check
checks=$((checks + 1))
[[ $err == *"once 'lunette server stop' has"*"try: lunette pool repair $pool --dry-run" ]] || fail "check: $err"
run pool scrub --json
same "$status" 1
same "$("$probe" json damaged <<<"$out")" 1
# As a job: slow, so that it can be seen and ended.
ok pool scrub --rate 64K --background
says "Scrub of the pool started, job "
json jobs.0.kind scrub job show
refused 1 "a scrub runs already" pool scrub
id=$("$probe" json jobs.0.id <<<"$("$lunette" job show --json)")
ok job cancel "$id"
ok job wait "$id"
json state cancelled pool scrub --last
ok server stop
wait "$server"
server=
run pool scrub --pool "$pool"
same "$status" 1
says "DAMAGED: block $map,"
# A copy that another one stands in for is not lost.
damage "$pool" 0
run pool scrub --pool "$pool"
says "copy 0 of the superblock"
checks=$((checks + 1))
[[ $err == *"1 damaged block of metadata was not written anew"*"try: lunette pool repair $pool --dry-run" && $err != *lost* ]] ||
    fail "scrub: $err"

# ---- a repair ----
pool=$work/repair
cp --sparse=always "$work/sound" "$pool"
ok pool repair "$pool"
says "nothing to repair"
cmp "$work/sound" "$pool" || fail "a repair of a sound pool has changed it"
# Both copies of the index of the catalog, the tables and a bitmap: it does not open, then it does.
ok pool dump superblock --pool "$pool"
index=$(sed -n 's/^pages .*, tree at block \([0-9]*\) .*/\1/p' <<<"$out")
index_twin=$(sed -n 's/^their copies  *tree at block \([0-9]*\) .*/\1/p' <<<"$out")
[[ -n $index && -n $index_twin ]] || fail "no index in: $out"
damage "$pool" "$index"
damage "$pool" "$index_twin"
for block in 1 2 3 4 5 6 7; do damage "$pool" "$block"; done
run pool check --pool "$pool"
same "$status" 1
run serve --pool "$pool" --plugin "$plugin"
[[ $status == 1 && $err == *"lunette pool repair"* ]] || fail "serve: $status $err"
damage "$pool" 1 # that attempt has written it anew
cp --sparse=always "$pool" "$work/damaged"
run pool repair "$pool" --dry-run
same "$status" 0
says "to mend: the index of the catalog is damaged in both copies"
says "to mend: the table of allocation groups 0 to "
says "to mend: copy 1 of the superblock, block 1, is damaged: it would be written anew"
cmp "$work/damaged" "$pool" || fail "a dry run has changed the pool"
run pool repair "$pool" --yes --json
same "$status" 0
same "$("$probe" json left <<<"$out")" 0
same "$("$probe" json mended <<<"$out")" 3
ok pool check --pool "$pool"
says "0 errors"
server_start
refused 1 "is in use by process" pool repair "$pool"
for lun in good bad@before; do
    [[ $(reads "$lun" 5) == *"read 1048576/1048576"* ]] || fail "$lun"
done
ok pool scrub
says " 0 damaged"
ok lun create more 8M
ok server stop
wait "$server"
server=
ok pool check --pool "$pool"
# One that is refused has mended nothing, and does not say so.
cp --sparse=always "$work/sound" "$pool"
for block in 0 "$index" "$index_twin" "$page" "$twin"; do damage "$pool" "$block"; done
cp --sparse=always "$pool" "$work/damaged"
for how in --dry-run --yes; do
    run pool repair "$pool" "$how"
    same "$status" 1
    checks=$((checks + 1))
    [[ $err == *"copy 0 of the superblock, block 0, is damaged: it would be written anew"*"nothing was written"*"cannot repair"* ]] ||
        fail "repair: $err"
    cmp "$work/damaged" "$pool" || fail "a refused repair has changed the pool"
done
# What is left of the deleted LUN whose job stopped is given up: a plan says what, and changes nothing.
cp --sparse=always "$work/deleted" "$pool"
run pool check --pool "$pool"
same "$status" 1
says "ERROR: a tree of a deleted LUN cannot be read"
run pool repair "$pool" --dry-run
same "$status" 0
says "to mend: trees of a deleted LUN (line "
cmp "$work/deleted" "$pool" || fail "a dry run has changed the pool"
planned=$(sed -n 's/^to mend: //p' <<<"$out" | sed 's/would be given up/is given up/; s/would be /are /')
run pool repair "$pool" --yes
same "$status" 0
same "$(sed -n 's/^mended: //p' <<<"$out")" "$planned"
ok pool check --pool "$pool"
says "0 errors"
server_start
[[ $(reads twin 5) == *"read 1048576/1048576"* ]] || fail "twin: $(reads twin 5)"
json count 0 job show
ok lun create again 64M
qemu-io -f raw "nbd+unix:///again?socket=$work/nbd.sock" -c 'write -P 7 0 60M' -c flush >/dev/null
[[ $(reads twin 5) == *"read 1048576/1048576"* ]] || fail "twin: $(reads twin 5)"
ok server stop
wait "$server"
server=
ok pool check --pool "$pool"
# While the LUN lives its map stays as it is, and so does what is lost: errors, not zeros.
cp --sparse=always "$work/sound" "$pool"
damage "$pool" "$map"
run pool repair "$pool" --yes
same "$status" 1
says "LEFT: a tree of bad cannot be read"
server_start
[[ $(reads bad 6) == *"read failed: Input/output error"* ]] || fail "bad: $(reads bad 6)"
[[ $(reads bad@before 5) == *"read 1048576/1048576"* ]] || fail "the snapshot: $(reads bad@before 5)"
ok server stop
wait "$server"
server=

# ---- a salvage ----
pool=$work/salvage
cp --sparse=always "$work/sound" "$pool"
json count 3 lun salvage --list --pool "$pool"
ok lun salvage good --pool "$pool" --to "$work/whole"
says "Copied 1 MiB of good to $work/whole; 0 B are lost, in 0 places."
same "$(stat -c %s "$work/whole")" 67108864
head -c 1M /dev/zero | tr '\0' '\5' >"$work/five"
cmp -n 1048576 "$work/five" "$work/whole" || fail "a salvaged LUN differs"
refused 1 "cannot be made: File exists" lun salvage good --pool "$pool" --to "$work/whole"
refused 1 "'bod' was not found" lun salvage bod --pool "$pool" --to "$work/bod"
refused 2 "use lun export" lun salvage good --to "$work/good"
refused 2 "give --list, or a NAME" lun salvage good --pool "$pool"
# A map is lost: all of one LUN, nothing of the others.
damage "$pool" "$map"
run lun salvage --list --pool "$pool" --units M
same "$status" 1
grep -qE '^bad +64.00 MiB +[0-9.]+ MiB +64.00 MiB +1  lost$' <<<"$out" || fail "what bad lacks is not there: $out"
grep -qE '^good +64.00 MiB +[0-9.]+ MiB +0.00 MiB +0  there$' <<<"$out" || fail "what good lacks is not there: $out"
[[ $(tail -n 2 <<<"$err") == $'lunette: 1 of 3 LUNs and snapshots lacks something\n  try: lunette lun salvage --help' ]] ||
    fail "salvage --list says: $err"
same "$(sort <<<"$err" | uniq -d)" ""
run lun salvage --list --pool "$pool" --json
same "$("$probe" json damaged <<<"$out")" 1
same "$("$probe" json error.exit <<<"$(tail -n 1 <<<"$err")")" 1
same "$("$probe" json note <<<"$(head -n 1 <<<"$err")" | grep -c "is damaged")" 1
json state there lun salvage good --pool "$pool" --dry-run
run lun salvage bad --pool "$pool" --dry-run --json
same "$("$probe" json state <<<"$out")" lost
run lun salvage bad --pool "$pool" --dry-run
same "$status" 1
says "Would copy 0 B of bad; 64 MiB would be lost, in 1 place."
run lun salvage bad --pool "$pool" --to "$work/bad" --map "$work/bad.map"
same "$status" 1
says "Copied 0 B of bad"
says "64 MiB are lost, in 1 place."
[[ $err == *"64 MiB of 'bad' are lost"* && $(grep -c lost <<<"$err") == 1 ]] || fail "salvage says: $err"
same "$(sed -n 's/^0x00000000  0x04000000  -$/all/p' "$work/bad.map")" all
run lun salvage bad@before --pool "$pool" --to "$work/before"
same "$status" 0
cmp -n 1048576 "$work/five" "$work/before" || fail "a salvaged snapshot differs"
# Of a map with several leaves one is lost: the LUN is there in part.
pool=$work/leaves
cp --sparse=always "$work/sound" "$pool"
server_start
ok lun create many 64M
for ((i = 0; i < 600; i++)); do echo "write -P 5 $((i * 8))k 4k"; done |
    qemu-io -f raw "nbd+unix:///many?socket=$work/nbd.sock" >/dev/null
ok server stop
wait "$server"
server=
ok pool dump map many --pool "$pool"
damage "$pool" "$(sed -n 's/^ *node \([0-9]*\) level 0 .*/\1/p' <<<"$out" | head -n 1)"
run lun salvage --list --pool "$pool" --units M
same "$status" 1
grep -qE '^many .* 1  lost in part$' <<<"$out" || fail "what many lacks is not there: $out"
# Both copies of a page: the pool is refused as a whole, and yet what other pages have is there.
pool=$work/pages
cp --sparse=always "$work/sound" "$pool"
server_start
for i in 1 2 3 4 5 6 7 8; do ok lun create "extra$i" 8M; done
ok server stop
wait "$server"
server=
ok pool dump objects --pool "$pool"
damage "$pool" "$(sed -n 's/^page 1 at blocks \([0-9]*\) .*/\1/p' <<<"$out")"
damage "$pool" "$(sed -n 's/^page 1 at blocks [0-9]* and \([0-9]*\):.*/\1/p' <<<"$out")"
run pool repair "$pool" --yes
same "$status" 1
[[ $err == *"cannot be made anew"* ]] || fail "repair: $err"
run lun salvage --list --pool "$pool"
same "$status" 1
[[ $err == *"the catalog is damaged: what is not listed is lost with it"* ]] || fail "salvage --list says: $err"
same "$(sort <<<"$err" | uniq -d)" ""
says "bad@before"
run lun salvage good --pool "$pool" --to "$work/whole" --overwrite --json
same "$status" 0
same "$("$probe" json pool <<<"$out")" raw
[[ $err == *"as the last checkpoint left it"* ]] || fail "salvage: $err"
cmp -n 1048576 "$work/five" "$work/whole" || fail "a salvaged LUN differs"
pool=$work/sound
server_start
refused 1 "is in use by process" lun salvage good --pool "$pool" --to "$work/served"
ok server stop
wait "$server"
server=

# ---- no pool at all ----
pool=$work/cut
head -c 30000000 "$work/sound" >"$pool"
run pool check --pool "$pool"
same "$status" 1
checks=$((checks + 1))
[[ $err =~ it\ was\ cut\ off\;\ .*\'truncate\ -s\ ([0-9]*)\'.*\'lunette\ lun\ salvage\ --list\ --pool\ COPY\' ]] || fail "no way out: $err"
cp --sparse=always "$pool" "$work/copy"
truncate -s "${BASH_REMATCH[1]}" "$work/copy"
run lun salvage --list --pool "$work/copy"
says "bad@before"
head -c 1000000 /dev/urandom >"$work/noise"
refused 1 "'file -s $work/noise' tells what it may be, 'lunette pool create --help'" pool check --pool "$work/noise"
refused 1 "is not a Lunette pool" pool show --pool "$work/noise"
finish
