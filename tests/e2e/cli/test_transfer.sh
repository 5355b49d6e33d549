#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# lun import and lun export: contents, reports, and what is left of one that fails.

. "$(dirname "$0")/lib.sh"

ok pool create "$pool" 256M
server_start
truncate -s 40M "$work/raw"
head -c 3000000 /dev/urandom | dd of="$work/raw" bs=64k seek=100 conv=notrunc status=none
head -c 5000 /dev/urandom | dd of="$work/raw" bs=1 seek=41000000 conv=notrunc status=none

json total_bytes 41943040 lun import "$work/raw" raw
json luns.0.size_bytes 41943040 lun show raw
written=$("$lunette" lun show raw --json | "$probe" json luns.0.mapped_bytes)
[[ $written -ge 3005000 && $written -le 8000000 ]] || fail "mapped $written: holes were written"
checks=$((checks + 1))
ok lun export raw "$work/copy"
says "Copied raw to $work/copy"
cmp "$work/raw" "$work/copy" || fail "raw differs"
refused 1 "" lun export raw "$work/copy"
[[ $err == *overwrite* ]] || fail "no way out: $err"
refused 1 "overwrite" lun export raw "$work/copy" --dry-run
json destroys true lun export raw "$work/copy" --overwrite --dry-run
json destroys false lun export raw "$work/none" --dry-run
refused 1 "" lun export none "$work/none" --dry-run
[[ ! -e $work/none ]] || fail "a dry run left a file"
ok lun export raw "$work/copy" --overwrite --dry-run
says "What $work/copy holds now would be lost."
ok lun export raw "$work/copy" --overwrite --verify
refused 2 "nbdcopy" lun export raw -
refused 2 "nbdcopy" lun import - lost

qemu-img convert -O qcow2 "$work/raw" "$work/image.qcow2"
ok lun import "$work/image.qcow2" from-qcow2 --verify
ok lun export from-qcow2 "$work/back.qcow2"
checks=$((checks + 1))
qemu-img compare -q "$work/raw" "$work/back.qcow2" || fail "qcow2 differs"

# A LUN that is larger; a size that is no whole number of sectors; a clone and a snapshot.
ok lun import "$work/raw" larger --size 64M --comment big
json luns.0.size_bytes 67108864 lun show larger
truncate -s 1000 "$work/odd"
ok lun import "$work/odd" odd
json luns.0.size_bytes 1024 lun show odd
ok snapshot create raw@s
ok lun export raw@s "$work/snapshot"
cmp "$work/raw" "$work/snapshot" || fail "the snapshot differs"
ok lun clone raw twin
ok lun export twin "$work/twin.qcow2"
checks=$((checks + 1))
qemu-img compare -q "$work/raw" "$work/twin.qcow2" || fail "the clone differs"

# A difference: data where something changed, zeros too, and nowhere else.
qemu-io -f raw "nbd+unix:///raw?socket=$work/nbd.sock" -c 'write -P 5 1M 1M' -c 'write -z 7M 1M' \
    -c flush >/dev/null
ok lun export raw@s..raw "$work/difference"
same "$(stat -c %s "$work/difference")" 41943040
same "$(($(stat -c %b "$work/difference") * 512))" $((2 << 20))
checks=$((checks + 1))
cmp -n $((1 << 20)) <(tr '\0' '\005' </dev/zero | head -c $((1 << 20))) \
    <(tail -c +$((1 + (1 << 20))) "$work/difference") || fail "the difference differs"

# Refused, and nothing is left.
refused 1 "" lun import "$work/none" lost
refused 1 "cannot import $work/raw as LUN raw: " lun import "$work/raw" raw
refused 1 "the source has 40 MiB, --size only 1 MiB" lun import "$work/raw" lost --size 1M
refused 1 "" lun export none "$work/none"
refused 1 "" lun import nbd+unix:///x?socket="$work/none" lost
json count 0 lun show 'lost*'
[[ ! -e $work/none ]] || fail "a failed export left a file"

# Interrupted: a source that takes for ever, and a signal once the LUN is there.
nbdkit --foreground --unix "$work/slow.sock" --pidfile "$work/slow.pid" --filter=delay \
    pattern size=40M rdelay=2 >/dev/null 2>&1 &
slow=$!
until [[ -S $work/slow.sock && -s $work/slow.pid ]]; do :; done
for keep in "" --keep; do
    "$lunette" lun import "nbd+unix:///?socket=$work/slow.sock" cut $keep 2>"$work/cut" &
    import=$!
    until "$lunette" lun show cut >/dev/null 2>&1; do :; done
    kill -TERM "$import"
    wait "$import"
    same "$?" 1
    checks=$((checks + 1))
    if [[ -z $keep ]]; then
        grep -q "was deleted again" "$work/cut" || fail "$(<"$work/cut")"
        json count 0 lun show 'cut*'
    else
        grep -q "was left as it is" "$work/cut" || fail "$(<"$work/cut")"
        json count 1 lun show cut
    fi
done

# Who has the name by now keeps it: an import that comes to nothing deletes what it made itself.
"$lunette" lun import "nbd+unix:///?socket=$work/slow.sock" mine 2>"$work/cut" &
import=$!
until "$lunette" lun show mine >/dev/null 2>&1; do :; done
"$lunette" lun rename mine moved >/dev/null
"$lunette" lun create mine 1M >/dev/null
kill -TERM "$import"
wait "$import"
same "$?" 1
grep -q "is another one by now" "$work/cut" || fail "$(<"$work/cut")"
json count 1 lun show mine
json count 1 lun show moved
"$lunette" lun delete mine moved --force -y >/dev/null
kill "$slow"
wait "$slow" 2>/dev/null
finish
