#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What others do to the file of a pool that is served: another takes its name, it is cut off.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no file"

# io LUN COMMAND...: qemu-io's words.
io()
{
    local lun=$1 args=()
    shift
    for command; do args+=(-c "$command"); done
    qemu-io -f raw "nbd+unix:///$lun?socket=$work/nbd.sock" "${args[@]}" 2>&1
}

# has LUN PATTERN LENGTH: that is what a read gives.
has()
{
    local said
    checks=$((checks + 1))
    said=$(io "$1" "read -P $2 0 $3")
    [[ $said == *"ops; "* && $said != *failed* ]] || fail "$1: $said"
}

ok pool create "$pool" 128M
server_start
ok lun create a 64M
io a 'write -P 5 0 32M' flush >/dev/null
has a 5 32M

# ---- another file takes its name ----
# The server goes on with the one that it has open and has locked.
mv "$pool" "$work/moved"
head -c 8000000 /dev/urandom >"$pool"
before=$(cksum <"$pool")
io a 'write -P 6 0 1M' flush >/dev/null
has a 6 1M
ok lun clone a b
ok server stop
wait "$server"
server=
same "$(cksum <"$pool")" "$before"
refused 1 "is not a Lunette pool" pool check --pool "$pool"
rm "$pool"
pool=$work/moved
ok pool check --pool "$pool"
server_start
has a 6 1M
has b 6 1M

# ---- it is removed ----
cp --sparse=always "$pool" "$work/kept"
rm "$pool"
io b 'write -P 7 0 1M' flush >/dev/null
has b 7 1M
run lun list
same "$status" 0
ok server stop
wait "$server"
server=

# ---- it is cut off ----
# What was there is an error, not other bytes; the server answers, and ends when it is asked to.
pool=$work/kept
ok pool check --pool "$pool"
server_start
truncate -s 4M "$pool"
said=$(io a 'read -P 6 0 1M')
checks=$((checks + 1))
[[ $said == *failed* || $said == *rror* ]] || fail "a is served although it is gone: $said"
run lun list
same "$status" 0
run lun create c 1M
io a 'write -P 8 40M 1M' flush >/dev/null
run lun list
same "$status" 0
run server stop
wait "$server"
ended=$?
checks=$((checks + 1))
[[ $ended -lt 128 ]] || fail "the server was ended by signal $((ended - 128))"
server=
run pool check --pool "$pool"
checks=$((checks + 1))
[[ $status != 0 ]] || fail "the check finds nothing: $out"
finish
