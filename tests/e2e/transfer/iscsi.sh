#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Transfers from and to an iSCSI target: Debian's tgtd, with a control socket and a port of its own.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
free_port=$(readlink -f "$(dirname "$0")/../../lib/free_port.py")
cd "$work" || exit 1
PATH=$PATH:/usr/sbin
command -v tgtd >/dev/null || skip "tgtd is not installed (apt-get install tgt)"
export TGT_IPC_SOCKET=$work/tgt.ipc
control=(tgtadm -C 32)

# start_target: on $port, with disk.raw as unit 1, thin or not ($thin), 4096-byte sectors or 512.
start_target()
{
    tgtd -f -C 32 --iscsi "portal=127.0.0.1:$port" >>tgtd.log 2>&1 &
    target_pid=$!
    server_pids+=("$target_pid")
    until "${control[@]}" --op show --mode sys >/dev/null 2>&1; do
        kill -0 "$target_pid" 2>/dev/null || return 1
    done
    "${control[@]}" --lld iscsi --op new --mode target --tid 1 -T iqn.2024-01.test:disk &&
        "${control[@]}" --lld iscsi --op new --mode logicalunit --tid 1 --lun 1 --bstype rdwr \
            -b "$work/disk.raw" --blocksize "$sector" &&
        "${control[@]}" --lld iscsi --op update --mode logicalunit --tid 1 --lun 1 \
            --params "thin_provisioning=$thin" &&
        "${control[@]}" --lld iscsi --op bind --mode target --tid 1 -I ALL
}

stop_target()
{
    kill -KILL "$target_pid"
    wait "$target_pid" 2>/dev/null
    forget "$target_pid"
    rm -f "$TGT_IPC_SOCKET"*
}

make_image a.raw 201326592
for config in "512 1" "512 0" "4096 1"; do
    read -r sector thin <<<"$config"
    rm -f disk.raw
    truncate -s 200M disk.raw
    dd if=/dev/urandom of=disk.raw bs=1M count=200 conv=notrunc status=none
    port=$("$free_port")
    start_target || skip "tgtd cannot start here: $(tail -n 3 tgtd.log)"
    uri=iscsi://127.0.0.1:$port/iqn.2024-01.test:disk/1
    [ "$("$tool" --size "$uri")" = 209715200 ] || fail "size of $uri"
    transfer --verify a.raw "$uri"
    expect skipped 0
    cmp -n 201326592 a.raw disk.raw || fail "disk.raw differs ($config)"
    transfer "$uri" "b$sector$thin.raw"
    same disk.raw "b$sector$thin.raw"
    if [ "$thin" = 1 ]; then
        [ "$(jq .hole <<<"$result")" -gt 100000000 ] || fail "no holes from a thin unit: $result"
    else
        expect hole 0
    fi
    transfer --verify "$uri" "b$sector$thin.qcow2"
    [ "$config" = "4096 1" ] || stop_target
done

# The target dies and loses what was not flushed, and comes back on the same port.
truncate -s 0 disk.raw
truncate -s 200M disk.raw
stop_target
start_target || fail "tgtd cannot start again"
pause_start --flush=8388608 --zero a.raw "$uri"
stop_target
truncate -s "$durable" disk.raw
truncate -s 200M disk.raw
start_target || fail "tgtd cannot start on the same port: $(tail -n 3 tgtd.log)"
pause_end
[ "$status" = 0 ] || fail "target died: $(cat stderr)"
expect reconnects 1
cmp -n 201326592 a.raw disk.raw || fail "disk.raw differs after the target died"

# CHAP, in the URL and in the environment; the password is shown nowhere.
"${control[@]}" --lld iscsi --op new --mode account --user reader --password TopSecret12345
"${control[@]}" --lld iscsi --op bind --mode account --tid 1 --user reader
transfer_fails "cannot log in to" "$uri" nothing.raw
transfer_fails "cannot log in to iscsi://127.0.0.1" \
    "iscsi://reader%WrongSecret1234@127.0.0.1:$port/iqn.2024-01.test:disk/1" nothing.raw
! grep -q WrongSecret stderr || fail "the password is shown: $(cat stderr)"
[ ! -e nothing.raw ] || fail "nothing.raw was left behind"
transfer_fails "cancelled" --cancel-at=50000000 --flush=8388608 --resume=state \
    "iscsi://reader%TopSecret12345@127.0.0.1:$port/iqn.2024-01.test:disk/1" chap.raw
! grep -q TopSecret state || fail "the password is in the resume file"
export LIBISCSI_CHAP_USERNAME=reader LIBISCSI_CHAP_PASSWORD=TopSecret12345
transfer --resume=state "$uri" chap.raw
same disk.raw chap.raw
unset LIBISCSI_CHAP_USERNAME LIBISCSI_CHAP_PASSWORD

transfer_fails "cannot log in to" iscsi://127.0.0.1:1/iqn.2024-01.test:disk/1 nothing.raw
finish
