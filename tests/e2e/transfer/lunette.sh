#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# lun import and lun export with a real server: figures, interruptions, a server that is killed, a
# pool that is full.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
lunette=$build/server/ctl/lunette
export LUNETTE_SOCKET=$work/mgmt.sock

start_lunette()
{
    "$lunette" serve --pool pool --socket mgmt.sock --nbd-socket nbd.sock --pid-file pid \
        >>serve.log 2>&1 || fail "cannot start the server: $(cat serve.log)"
    lunette_pid=$(cat pid)
    server_pids+=("$lunette_pid")
}

# The server is no child of ours: it is gone when nobody answers (status 3).
kill_lunette()
{
    kill -KILL "$lunette_pid"
    local status=0
    while [ "$status" != 3 ]; do
        "$lunette" server status >/dev/null 2>&1
        status=$?
    done
    forget "$lunette_pid"
}

# lunette ARGUMENT...: must succeed; its output is in $result.
lunette()
{
    result=$("$lunette" "$@" 2>"$work/stderr") || fail "lunette $*: $(cat "$work/stderr")"
}

# lunette_refuses TEXT ARGUMENT...
lunette_refuses()
{
    local text=$1 status
    shift
    "$lunette" "$@" >"$work/stdout" 2>"$work/stderr"
    status=$?
    [ "$status" = 1 ] || fail "lunette $*: status $status, should be 1"
    grep -qF -- "$text" "$work/stderr" || fail "lunette $*: should say \"$text\": $(cat "$work/stderr")"
}

# delete_luns OPTION... NAME...: once the server has noticed that all clients have hung up.
delete_luns()
{
    local deadline=$((SECONDS + 60))
    until "$lunette" lun delete --yes "$@" >/dev/null 2>"$work/stderr"; do
        if ! grep -q "is open by" "$work/stderr" || [ "$SECONDS" -ge "$deadline" ]; then
            fail "lunette lun delete $*: $(cat "$work/stderr")"
            return
        fi
    done
}

lun_uri()
{
    echo "nbd+unix:///$1?socket=$work/nbd.sock"
}

lunette pool create pool 300M
start_lunette
make_image a.raw
size=$(stat -c %s a.raw)
data=$((64 * 1048576 + 4096 + 3 * 4096)) # what make_image writes and is not zero

# Import, figures, and the same bytes over NBD; an odd size is rounded up to the sector.
lunette lun import --verify --json a.raw golden
expect total_bytes "$size"
expect written_bytes "$data"
expect verified_bytes "$size"
lunette lun show --json golden
[ "$(jq -r '.. | .mapped_bytes? // empty' <<<"$result" | head -n 1)" = "$data" ] ||
    fail "mapped should be $data: $result"
[ "$("$tool" --size "$(lun_uri golden)")" = $(((size + 511) / 512 * 512)) ] || fail "size of golden"
nbdcopy "$(lun_uri golden)" copy.raw || fail "nbdcopy cannot read golden"
cmp -n "$size" a.raw copy.raw || fail "golden differs"

# Export of a LUN, a snapshot, a clone; import of what came out.
lunette snapshot create golden@first
lunette lun clone golden vm
qemu-io -f raw -c 'write -P 5 100M 1M' "$(lun_uri golden)" >/dev/null
lunette lun export golden@first first.qcow2
lunette lun export --verify vm vm.raw
qemu-img compare -q -f qcow2 -F raw first.qcow2 vm.raw || fail "snapshot and clone differ"
cmp -n "$size" a.raw vm.raw || fail "vm.raw differs"
lunette lun export golden golden.vmdk
lunette lun import golden.vmdk back
lunette lun export back back.raw
qemu-img compare -q -f raw -F raw "$(lun_uri golden)" back.raw || fail "back.raw differs"
lunette_refuses "exists" lun export golden back.raw
delete_luns --with-snapshots golden
delete_luns vm
delete_luns back
lunette job wait

# A source that does not answer beyond 64 MiB: Ctrl-C, and the LUN is gone again.
mkfifo reached gate
exec 8<>gate
truncate -s 192M plain.raw
make_image plain.raw 201326592
for resume in "" --resume=state; do
    # shellcheck disable=SC2016 # nbdkit's shell expands it
    serve source eval get_size='echo 201326592' can_multi_conn='echo 0' \
        pread='if [ "$4" -ge 67108864 ]; then echo >reached; read x <gate; fi
            dd if=plain.raw skip="$4" count="$3" iflag=skip_bytes,count_bytes status=none'
    # shellcheck disable=SC2086 # none or one option
    "$lunette" lun import $resume "nbd+unix:///?socket=$work/source" slow >stdout 2>stderr &
    import_pid=$!
    read -r _ <reached
    kill -INT "$import_pid"
    wait "$import_pid"
    [ $? = 1 ] || fail "interrupted import: status should be 1"
    grep -q "cancelled" stderr || fail "interrupted import says $(cat stderr)"
    if [ -z "$resume" ]; then
        lunette_refuses "slow" lun show slow
    else
        lunette lun show slow
        [ -e state ] || fail "no resume file"
    fi
    stop_server "$server_pid" -KILL
done
# The source is itself again: the import goes on to the end.
serve source file plain.raw
lunette lun import --resume=state "nbd+unix:///?socket=$work/source" slow
[ ! -e state ] || fail "the resume file was left behind"
qemu-img compare -q -f raw -F raw plain.raw "$(lun_uri slow)" || fail "slow differs"

# The server is killed in the middle of an import and started again: the import goes on by itself.
delete_luns slow
lunette job wait
lunette lun create killed 192M
pause_start --flush=8388608 --zero --verify plain.raw "$(lun_uri killed)"
kill_lunette
start_lunette
pause_end
[ "$status" = 0 ] || fail "server killed: $(cat stderr)"
expect reconnects 1
qemu-img compare -q -f raw -F raw plain.raw "$(lun_uri killed)" || fail "killed differs"

# The pool is too full: the error says so, the LUN is gone again, and the rest is as before.
dd if=/dev/urandom of=big.raw bs=1M count=300 status=none
lunette_refuses "No space left on device" lun import big.raw big
lunette_refuses "big" lun show big
lunette job wait
qemu-img compare -q -f raw -F raw plain.raw "$(lun_uri killed)" || fail "killed differs afterwards"
lunette server stop --yes
forget "$lunette_pid"
lunette pool check --pool pool
no_children_left
# Lets go of what is left of the hanging sources.
for _ in 1 2 3 4 5 6 7 8 9; do echo >&8; done
finish
