# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the transfer tests share: a temporary folder, servers that end with the test, checks.

set -uo pipefail
build=${LUNETTE_BUILD:?the build folder; ctest sets it}
tool=$build/bin/transfer_tool
work=$(mktemp -d)
server_pids=()
failures=0
export TRANSFER_TEST=$work # by which children() knows its own
unset LIBISCSI_CHAP_USERNAME LIBISCSI_CHAP_PASSWORD

cleanup()
{
    local pid
    for pid in "${server_pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null # tgtd does not end otherwise
        wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap cleanup EXIT

skip()
{
    echo "SKIP: $*"
    exit 77
}

fail()
{
    echo "FAILED: $*"
    failures=$((failures + 1))
}

finish()
{
    if [ "$failures" -gt 0 ]; then
        echo "$failures failed"
        exit 1
    fi
    echo "all passed"
    exit 0
}

# transfer ARGUMENT...: must succeed; its result is in $result.
transfer()
{
    result=$("$tool" "$@" 2>"$work/stderr") || fail "transfer $*: $(cat "$work/stderr")"
}

# transfer_fails TEXT ARGUMENT...: must fail and say TEXT.
transfer_fails()
{
    local text=$1
    shift
    if result=$("$tool" "$@" 2>"$work/stderr"); then
        fail "transfer $*: should have failed with \"$text\""
    elif ! grep -qF -- "$text" "$work/stderr"; then
        fail "transfer $*: should say \"$text\", says: $(cat "$work/stderr")"
    fi
}

# expect FIELD VALUE: of the last result.
expect()
{
    local value
    value=$(jq ".$1" <<<"$result")
    [ "$value" = "$2" ] || fail "$1 is $value, should be $2, in $result"
}

same()
{
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

# Holes, data, zeros written as data, single sectors: 192 MiB and an odd rest.
make_image()
{
    truncate -s "${2:-201327104}" "$1"
    dd if=/dev/urandom of="$1" bs=1M count=24 conv=notrunc status=none
    dd if=/dev/urandom of="$1" bs=1M count=40 seek=70 conv=notrunc status=none
    dd if=/dev/zero of="$1" bs=1M count=10 seek=120 conv=notrunc status=none
    dd if=/dev/urandom of="$1" bs=512 count=1 seek=300001 conv=notrunc status=none
    dd if=/dev/urandom of="$1" bs=4096 count=3 seek=48000 conv=notrunc status=none
}

# Until the socket is there, or the server is not.
wait_for_socket()
{
    local pid=$1 socket=$2
    while [ ! -S "$socket" ] && kill -0 "$pid" 2>/dev/null; do
        read -rt 0.02 <> <(:) || true
    done
    [ -S "$socket" ] || fail "no server on $socket"
}

# serve SOCKET NBDKIT-ARGUMENT...: $! is its pid, in $server_pid too.
serve()
{
    local socket=$1
    shift
    rm -f "$socket"
    nbdkit -f -U "$socket" "$@" 2>>"$work/nbdkit.log" &
    server_pid=$!
    server_pids+=("$server_pid")
    wait_for_socket "$server_pid" "$socket"
}

# forget PID: it has ended, and its number may be somebody else's soon.
forget()
{
    local pid left=()
    for pid in "${server_pids[@]}"; do
        [ "$pid" = "$1" ] || left+=("$pid")
    done
    server_pids=("${left[@]}")
}

stop_server()
{
    kill "${2:--TERM}" "$1"
    wait "$1" 2>/dev/null
    forget "$1"
}

# pause_start ARGUMENT...: begins a transfer that stops at its first flush; $durable is how far it is.
pause_start()
{
    rm -f "$work/pause.here" "$work/pause.go"
    mkfifo "$work/pause.here" "$work/pause.go"
    "$tool" "--pause-at-first-flush=$work/pause" "$@" >"$work/stdout" 2>"$work/stderr" &
    tool_pid=$!
    read -r durable <"$work/pause.here"
}

# pause_end: lets it go on; its exit status in $status, its result in $result.
pause_end()
{
    : >"$work/pause.go"
    wait "$tool_pid"
    status=$?
    result=$(cat "$work/stdout")
}

# The pids of those qemu-nbd that were started by this test.
children()
{
    local folder
    for folder in /proc/[0-9]*; do
        if [ "$(cat "$folder/comm" 2>/dev/null)" = qemu-nbd ] &&
            grep -qzxF "TRANSFER_TEST=$work" "$folder/environ" 2>/dev/null; then
            echo "${folder#/proc/}"
        fi
    done
}

no_children_left()
{
    [ -z "$(children)" ] || fail "a qemu-nbd is left: $(children)"
}
