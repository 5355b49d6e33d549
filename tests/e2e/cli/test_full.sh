#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A full pool, and a pool in a full file system: writes get ENOSPC; reads, commands, unmapping and
# deleting go on, also over a restart; all is well when there is space again.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory is never full"
mounted=
end_full()
{
    [[ -z $server ]] || { kill -9 "$server" && wait "$server"; } 2>/dev/null
    server=
    [[ -z $mounted ]] || umount "$mounted"
    cleanup
}
trap end_full EXIT

# io LUN COMMAND...: qemu-io on it; what it said is in $out.
io()
{
    local name=$1 args=() command
    shift
    for command; do args+=(-c "$command"); done
    out=$(qemu-io -f raw "nbd+unix:///$name?socket=$work/nbd.sock" "${args[@]}" -c flush 2>&1)
}

# io_ok LUN COMMAND...
io_ok()
{
    checks=$((checks + 1))
    io "$@"
    [[ $out != *"rror"* && $out != *failed* ]] || fail "qemu-io $*: $out"
}

# io_full LUN COMMAND...: it ends with ENOSPC.
io_full()
{
    checks=$((checks + 1))
    io "$@"
    [[ $out == *"write failed: No space left on device"* ]] || fail "qemu-io $*: $out"
}

# What must go on with LUN big full of 2s behind its first 20 MiB of 1s. A prefix for new names.
goes_on()
{
    local n=$1
    io_ok big 'read -P 1 0 20M' 'write -P 1 0 64k' 'write -P 1 100k 1k'
    io_ok keep 'read -P 7 0 1M'
    ok lun show
    ok df
    ok tree
    ok pool show
    ok lun create "$n-new" 64M
    io_full "$n-new" 'write 0 64M'
    ok lun rename "$n-new" "$n-other"
    ok lun comment "$n-other" full
    ok lun resize "$n-other" 128M
    ok snapshot create "$n-other@s"
    ok lun clone keep "$n-clone"
    ok lun clone big --count 5 --name "$n-clone%d"
    ok freed "$n-clone" "$n-clone0"
    ok snapshot restore "$n-other@s"
    ok snapshot delete "$n-other@s"
    ok lun delete "$n-other" "$n-clone" "$n-clone"{0..4}
    ok job wait --timeout 2m
    json errors 0 pool check
    # More than fits, so that the transfer's own clean-up is seen too.
    run lun import "$work/large" "$n-large"
    [[ $status == 1 && $err == *"No space left on device"* ]] || fail "import: $status $err"
    json count 0 lun show "$n-*"
    ok job wait --timeout 2m
}

# healthy: the pool says so once a checkpoint has given back what was freed.
healthy()
{
    local deadline=$((SECONDS + 60))
    until run pool show --json && [[ $out == *'"health": "healthy"'* ]]; do
        [[ $SECONDS -lt $deadline ]] || { fail "not healthy: $out"; break; }
    done
}

truncate -s 400M "$work/large"
head -c 150000000 /dev/urandom | dd of="$work/large" conv=notrunc status=none bs=1M iflag=fullblock

# ---- the pool is full ----
ok pool create "$pool" 128M
server_start
# What only clones share with each other is nobody's own, and is said all the same.
ok lun create shared 64M
io_ok shared 'write -P 9 0 8M'
ok lun clone shared twin
ok explain space
says "8 MiB are shared by LUNs, their clones and snapshots"
ok lun delete shared twin
ok job wait --timeout 2m
# What is available to a LUN in a volume is what the volume has.
ok volume create bound 4M
ok lun create bound/a 64M
says "(4 MiB available)"
ok lun clone bound/a bound/b --json
same "$("$probe" json available_bytes <<<"$out")" 4194304
ok volume delete bound --with-contents
ok job wait --timeout 2m
ok lun create keep 64M
ok lun create big 1G
io_ok keep 'write -P 7 0 1M'
io_ok big 'write -P 1 0 20M'
io_full big 'write -P 2 20M 900M'
json health "out of space" pool show
ok event show
says "lunette pool grow"
goes_on first
server_kill
server_start
goes_on second
io_ok big 'discard 30M 40M'
ok job wait --timeout 2m
healthy
io_ok big 'write -P 3 200M 30M' 'read -P 3 200M 30M'
io_full big 'write -P 2 300M 200M'
ok lun delete big --force
ok job wait --timeout 2m
healthy
io_ok keep 'read -P 7 0 1M' 'write -P 8 1M 40M'
ok lun create again 1G
io_full again 'write -P 2 0 900M'
ok pool grow +128M
json health healthy pool show
io_ok again 'write -P 4 950M 60M' 'read -P 4 950M 60M'
json errors 0 pool check
ok server stop
wait "$server"
server=
json errors 0 pool check --pool "$pool"
rm "$pool"

# ---- the file system below is full ----
below=$work/below
mkdir "$below"
if [[ $(id -u) == 0 ]] && mount -t tmpfs -o size=96M tmpfs "$below" 2>/dev/null; then
    mounted=$below
    pool=$below/pool
    ok pool create "$pool" 512M
    server_start
    ok lun create keep 64M
    ok lun create big 1G
    io_ok keep 'write -P 7 0 1M'
    io_ok big 'write -P 1 0 20M'
    io_full big 'write -P 2 20M 400M'
    ok event show
    says "the file system that holds '$pool' is full"
    json file_system_free_bytes 0 pool show
    goes_on third
    ok server stop
    wait "$server"
    server_start
    goes_on fourth
    server_kill
    server_start
    json health healthy pool show
    ok lun delete big --force
    ok job wait --timeout 2m
    ok snapshot create keep@s # what was freed is given back with the next checkpoint
    until [[ $("$lunette" pool show --json | "$probe" json file_system_free_bytes) -gt 20000000 ]]; do :; done
    io_ok keep 'read -P 7 0 1M' 'write -P 8 1M 16M' 'read -P 8 1M 16M'
    ok server stop
    wait "$server"
    server=
    json errors 0 pool check --pool "$pool"
else
    (finish) || exit
    skip "a full file system below, which needs root and a mount; all else was tried"
fi
finish
