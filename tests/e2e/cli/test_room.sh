#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A grow, an autogrow, a first promise and a new pool that the file system below has no room for: each
# is refused with the figures, and the file system has as much free as before, the pool its length.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no file"
[[ $(id -u) == 0 ]] || skip "needs root, for a file system of its own"
below=$work/below
mounted=
end_room()
{
    [[ -z $server ]] || { kill -9 "$server" && wait "$server"; } 2>/dev/null
    server=
    [[ -z $mounted ]] || umount "$below"
    cleanup
}
trap end_room EXIT

# free_below: bytes, once what was written is on disk.
free_below()
{
    sync -f "$below"
    stat -f -c '%a %S' "$below" | { read -r blocks size; echo $((blocks * size)); }
}

# unchanged FREE LENGTH: as before, and the pool is all right.
unchanged()
{
    local free
    checks=$((checks + 1))
    free=$(free_below)
    # The engine has written a checkpoint or two: a few blocks more or less.
    ((free >= $1 - 1048576)) || fail "$free bytes are free below, not $1"
    same "$(stat -c %s "$pool")" "$2"
    json errors 0 pool check
}

# small_file_system KIND: 400 MiB of it.
small_file_system()
{
    mkdir -p "$below"
    rm -f "$work/image" # mkfs.xfs refuses to take the place of another file system
    truncate -s 400M "$work/image"
    case $1 in
    ext4) mkfs.ext4 -q -F "$work/image" && mount -o loop "$work/image" "$below" ;;
    xfs) mkfs.xfs -q "$work/image" && mount -o loop "$work/image" "$below" ;;
    tmpfs) mount -t tmpfs -o size=400M tmpfs "$below" ;;
    esac 2>/dev/null || return 1
    mounted=yes
}

refusals()
{
    local kind=$1 before length
    pool=$below/pool
    ok pool create "$pool" 96M
    refused 1 "the file system below has no room for pool" pool create "$below/whole" 1G --preallocate
    [[ ! -e $below/whole ]] || fail "a pool that could not be made is there"
    # Twice the same on a closed pool and on a served one.
    length=$(stat -c %s "$pool")
    before=$(free_below)
    refused 1 "has no room for its metadata" pool grow 64G --pool "$pool"
    same "$(stat -c %s "$pool")" "$length"
    server_start
    ok lun create data 32M
    qemu-io -f raw -c 'write -P 5 0 16M' -c flush "nbd+unix:///data?socket=$work/nbd.sock" >"$work/io" ||
        fail "qemu-io: $(<"$work/io")"
    before=$(free_below)
    refused 1 "has no room for its metadata: growing to 64" pool grow 64G
    refused 1 "has no room for its metadata" pool grow 64G --dry-run
    unchanged "$before" "$length"
    # It has 400 MiB; a sparse pool of 1 GiB fits, its promises do not.
    ok pool grow 1G
    length=$(stat -c %s "$pool")
    same "$length" $((1 << 30))
    before=$(free_below)
    refused 1 "cannot promise space" lun create promised 8M --space-reserve yes
    unchanged "$before" "$length"
    json count 1 lun show
    # An autogrow that fails is an event, once, and takes nothing.
    ok pool modify --autogrow-step 64G --autogrow-threshold 1
    until run event show --json && [[ $out == *pool.autogrow.failed* ]]; do :; done
    says "has no room for its metadata"
    unchanged "$before" "$length"
    ok pool modify --autogrow-step none
    qemu-io -f raw -c 'read -P 5 0 16M' "nbd+unix:///data?socket=$work/nbd.sock" >"$work/io" ||
        fail "qemu-io: $(<"$work/io")"
    ok server stop
    wait "$server"
    server=
    json errors 0 pool check --pool "$pool"
}

# Where there is room for a promise, the file is whole, and a grow takes all of its part.
promises()
{
    local before
    rm "$pool"
    ok pool create "$pool" 96M
    server_start
    ok lun create promised 8M --space-reserve yes
    same "$(($(stat -c '%b' "$pool") * 512 >= 96 << 20))" 1
    before=$(free_below)
    refused 1 "no room for the whole file" pool grow 512M
    unchanged "$before" $((96 << 20))
    ok pool grow 144M
    same "$(($(stat -c '%b' "$pool") * 512 >= 144 << 20))" 1
    json errors 0 pool check
    ok server stop
    wait "$server"
    server=
}

tried=0
for kind in ext4 xfs tmpfs; do
    small_file_system "$kind" || { echo "not tried: $kind cannot be made or mounted here"; continue; }
    tried=$((tried + 1))
    refusals "$kind"
    promises
    umount "$below"
    mounted=
done
[[ $tried != 0 ]] || skip "no file system can be mounted"
finish
