#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A command that has returned is durable: after each the server is killed, started again and asked.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory keeps nothing"

# after ARGUMENT...: does it and loses the server.
after()
{
    ok "$@"
    server_kill
    server_start
}

ok pool create "$pool" 512M
server_start
after lun create golden 64M --comment first
json luns.0.comment first lun show golden
after lun comment golden second
json luns.0.comment second lun show golden
after lun resize golden 128M
json luns.0.size_bytes 134217728 lun show golden
truncate -s 8M "$work/raw"
head -c 1000000 /dev/urandom | dd of="$work/raw" conv=notrunc bs=64k seek=3 status=none
after lun import "$work/raw" image
ok lun export image "$work/copy"
cmp "$work/raw" "$work/copy" || fail "an import that was reported done was lost"
after snapshot create image@s
json count 1 snapshot show image
after lun clone image@s twin
ok lun export twin "$work/twin" --overwrite
cmp "$work/raw" "$work/twin" || fail "the clone differs"
after lun clone image --count 1000 --name 'vm-%04d'
json count 1000 lun show 'vm-*'
after lun rename twin brother
json count 1 lun show brother
after snapshot rename image@s t
json snapshots.0.name image@t snapshot show
after snapshot restore image@t
json count 1 snapshot show
after snapshot delete image@t
json count 0 snapshot show
after lun resize golden 64M --force
json luns.0.size_bytes 67108864 lun show golden
after lun delete golden
refused 1 "" lun show golden
after lun delete image
ok lun export brother "$work/brother"
cmp "$work/raw" "$work/brother" || fail "the clone lost its data with its source"
after pool grow 1G
json file_bytes 1073741824 pool show
after qos class create gold --max-iops 900
json classes.0.max_iops 900 qos class show gold
after qos class modify gold --weight 7
json classes.0.weight 7 qos class show gold
after qos set brother gold
json subjects.0.class gold qos show brother
after lun clone brother clone --qos gold
json subjects.0.class gold qos show clone
after qos set --pool gold
json subjects.0.class gold qos show
after qos set brother clone default
after qos set --pool default
json classes.0.users 0 qos class show gold
after volume create disks
after qos set disks gold
json subjects.0.class gold qos show disks
after volume delete disks
json classes.0.users 0 qos class show gold
after qos class delete gold
json count 2 qos class show
json errors 0 pool check
ok job wait --timeout 1m
json errors 0 pool check
server_kill
json errors 0 pool check --pool "$pool"
finish
