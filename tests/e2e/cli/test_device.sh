#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A pool on a block device, a loop device here: made, locked, grown with it, discarded.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory needs no device"
[[ $(id -u) == 0 ]] || skip "needs root, for a loop device"
truncate -s 256M "$work/file"
device=$(losetup --find --show "$work/file" 2>/dev/null) || skip "there is no loop device to be had"
end_device()
{
    cleanup
    losetup --detach "$device"
}
trap end_device EXIT
pool=$device

json size_bytes 0 pool create "$device" --dry-run
ok pool create "$device"
says "Made a pool on all of $device."
refused 1 "$device' holds a Lunette pool" pool create "$device"
refused 1 "--overwrite" pool create "$device" --dry-run
ok pool show --pool "$device"
server_start
refused 1 "in use by process $server" pool check --pool "$device"
refused 1 "adds no allocation group" pool grow
refused 1 "enlarge it first" pool grow 1G
ok lun create a 64M
qemu-io -f raw "nbd+unix:///a?socket=$work/nbd.sock" -c 'write -P 5 0 32M' -c flush >/dev/null
ok lun clone a b
truncate -s 512M "$work/file"
losetup --set-capacity "$device"
json size_bytes '*' pool grow --dry-run
would=$("$probe" json size_bytes <<<"$out")
json size_bytes "$would" pool grow
[[ $would -gt $((400 << 20)) ]] || fail "grows to $would only"
server_kill
server_start
json size_bytes "$would" pool show
checks=$((checks + 1))
said=$(qemu-io -r -f raw "nbd+unix:///b?socket=$work/nbd.sock" -c 'read -P 5 0 32M' 2>&1)
[[ $said == *"read 33554432/33554432"* && $said != *failed* ]] || fail "$said"
json errors 0 pool check
# What is deleted is discarded, so that the file behind the device shrinks.
taken=$(stat -c %b "$work/file")
ok lun delete a b
ok job wait --timeout 2m
ok lun create c 64M
until [[ $(stat -c %b "$work/file") -lt $((taken - 50000)) ]]; do
    kill -0 "$server" || { fail "no server"; break; }
done
ok server stop
wait "$server"
server=
json errors 0 pool check --pool "$device"
finish
