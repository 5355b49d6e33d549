#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Threads and descriptors that cannot be had: while the server starts it says so and leaves nothing
# behind, or serves; in service who is new is refused, who is there goes on, and all is as it was
# afterwards. LUNETTE PLUGIN PROBE ENGINE SHIM.
. "$(dirname "$0")/lib.sh"
[[ $engine == lun ]] || skip "$engine has no iSCSI"
shim=$5
export LUNETTE_NO_ROOM_TOLD=$work/told
starts=0 refusals=0
ok pool create "$pool" 64M

# ---- starting: the n-th call fails ----
for call in pthread_create eventfd epoll_create1 socket; do
    for ((n = 0; n < 60; n++)); do
        rm -f "$work/told"
        starts=$((starts + 1)) checks=$((checks + 1))
        LUNETTE_NO_ROOM=$call:$n LD_PRELOAD=$shim "$lunette" serve --plugin "$plugin" --pool "$pool" \
            --iscsi 127.0.0.1:0 --wait 2m >"$work/out" 2>"$work/err" </dev/null
        status=$?
        if [[ $status == 0 ]]; then
            # The one that fails may have been that of a request: the next one has it.
            "$lunette" server stop &>/dev/null || "$lunette" server stop >/dev/null 2>"$work/err2" || fail "$call:$n: does not stop: $(<"$work/err2")"
        else
            refusals=$((refusals + 1))
            [[ -s $work/err ]] || fail "$call:$n: status $status and nothing said"
            grep -qi "cannot\|no room\|too many\|temporarily\|no .* can" "$work/err" || fail "$call:$n: says $(<"$work/err")"
        fi
        "$lunette" pool check --pool "$pool" >/dev/null 2>"$work/err2" || fail "$call:$n: the pool is held or wrong: $(<"$work/err2")"
        [[ -e $work/told && $failures -lt 8 ]] || break
    done
    echo "$call: $n fail"
done
echo "$starts starts, $refusals refused"
[[ $refusals -gt 4 ]] || fail "nothing lacked room"

# ---- in service ----
# Threads fail by the shim; descriptors by a limit that leaves none.
for call in pthread_create descriptors; do
    rm -f "$work/told"
    LUNETTE_NO_ROOM=$call LUNETTE_NO_ROOM_WHILE=$work/flag LD_PRELOAD=$shim server_start --iscsi 127.0.0.1:0
    [[ $call == pthread_create ]] && ok lun create a 1M
    nbd="nbd+unix:///a?socket=$work/nbd.sock"
    coproc client { qemu-io -f raw "$nbd" 2>&1; }
    echo "write -P 1 0 64k" >&"${client[1]}"
    until read -r line <&"${client[0]}" && [[ $line == *wrote* ]]; do :; done
    ok server status --json
    nbdkit=$("$probe" json pid <<<"$out")
    fds=$(ls "/proc/$nbdkit/fd" | wc -l)
    touch "$work/flag"
    [[ $call == pthread_create ]] || prlimit --pid "$nbdkit" --nofile=5:
    # Without a descriptor it cannot say so, and takes nobody until it has one.
    patience=$([[ $call == descriptors ]] && echo 3 || echo 60)
    out=$(timeout "$patience" "$lunette" server status 2>&1)
    status=$?
    checks=$((checks + 1))
    [[ $status != 0 ]] || fail "$call: the server took one more"
    [[ $call != pthread_create || $out == *"can start no thread"* ]] || fail "$call: said: $out"
    timeout "$patience" qemu-io -f raw "$nbd" -c 'read 0 64k' >/dev/null 2>&1
    echo "read -P 1 0 64k" >&"${client[1]}"
    until read -r line <&"${client[0]}" && [[ $line == *" bytes at offset"* || $line == *fail* ]]; do :; done
    [[ $line == *"read 65536/65536"* ]] || fail "$call: a client that was there does not go on: $line"
    rm "$work/flag"
    [[ $call == pthread_create ]] || prlimit --pid "$nbdkit" --nofile=1024:
    [[ $call != pthread_create || -s $work/told ]] || fail "$call never failed"
    json pool '*' server status --wait 2m
    qemu-io -f raw "$nbd" -c 'read -P 1 0 64k' >"$work/io" 2>&1 || fail "$call: $(<"$work/io")"
    for i in {1..1200}; do
        now=$(ls "/proc/$nbdkit/fd" | wc -l)
        [[ $now -le $fds ]] && break
        sleep 0.05
    done
    [[ $now -le $fds ]] || fail "$call: $now descriptors, $fds before"
    echo "quit" >&"${client[1]}"
    wait "$client_PID"
    ok pool check
    server_kill
done
finish
