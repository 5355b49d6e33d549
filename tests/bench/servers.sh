# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The servers that tests/bench/run measures, and their undoing. Sourced by it; uses $work, $build,
# $lunette, $lun_mib and wants().
#
# Every process that is started stands in $pids, every mount and loop device in its variable, so that
# bench_cleanup leaves nothing behind, whatever happened.

pids=()
xfs_mount=
xfs_loop=
target_uri=
target_pid= # of the server that was started or chosen last
target_digest=none # of what it is asked for by iSCSI
iscsi_portal= # Lunette's
iscsi_target=
main_pid=

bench_cleanup()
{
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null
    done
    for pid in "${pids[@]}"; do
        wait_gone "$pid"
    done
    if [[ -n $xfs_mount ]]; then
        umount "$xfs_mount" || echo "bench: $xfs_mount stays mounted" >&2
    fi
    if [[ -n $xfs_loop ]]; then
        losetup -d "$xfs_loop" || echo "bench: $xfs_loop stays" >&2
    fi
    rm -rf "$work"
}

# wait_gone PID: until the process has ended; after 20 s it is killed.
wait_gone()
{
    local i
    for ((i = 0; i < 400; i++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -9 "$1" 2>/dev/null
}

# Ends one server and forgets it.
stop_pid()
{
    local pid kept=()
    kill "$1" 2>/dev/null
    wait_gone "$1"
    for pid in "${pids[@]}"; do
        [[ $pid == "$1" ]] || kept+=("$pid")
    done
    pids=("${kept[@]}")
}

# wait_socket SOCKET PID: until the server listens.
wait_socket()
{
    local i
    for ((i = 0; i < 600; i++)); do
        [[ ! -S $1 ]] || return 0
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 3 "$work/server.log" >&2
    return 1
}

# Nothing is left for one measurement that another one has written.
settle()
{
    sync -f "$work"
    [[ -z $xfs_mount ]] || sync -f "$xfs_mount"
}

# What writes new blocks takes new pages for them. In a virtual machine a page that the host has not
# backed yet costs some 10 us, against one of what is written here, whoever takes it; so all targets
# find pages that were in use a moment ago.
warm_memory()
{
    dd if=/dev/zero of="$work/warm" bs=64k count=16384 2>>"$work/cli.log"
    rm -f "$work/warm"
}

# warm_cache FILE: reads what it has, as a kernel that pages out what was not used for a while
# (DAMON) may have done so since the file was written.
warm_cache()
{
    python3 - "$1" <<'PY'
import os, sys

fd = os.open(sys.argv[1], os.O_RDONLY)
size, at = os.fstat(fd).st_size, 0
while at < size:
    try:
        at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break  # the rest is a hole
    end = os.lseek(fd, at, os.SEEK_HOLE)
    while at < end:
        at += len(os.pread(fd, min(end - at, 1 << 20), at))
PY
}

# serve SOCKET COMMAND...: starts it; its process is $target_pid.
serve()
{
    local socket=$1
    shift
    rm -f "$socket"
    "$@" >>"$work/server.log" 2>&1 &
    target_pid=$!
    pids+=("$target_pid")
    wait_socket "$socket" "$target_pid"
}

uri_of()
{
    echo "nbd+unix:///$1?socket=$work/$2"
}

# fill URI: writes all of it through NBD, as every target is filled, with bytes that are not alike.
fill()
{
    fio --name=fill --ioengine=nbd --uri="$1" --rw=write --bs=1m --iodepth=16 --refill_buffers \
        --end_fsync=1 --output-format=terse >>"$work/fio.log" 2>&1 ||
        { tail -n 3 "$work/fio.log" >&2; return 1; }
}

# ---- Lunette ---------------------------------------------------------------------------------------

# lunette_serve NAME [OPTION...]: serves NAME.lunette on NAME.mgmt and NAME.nbd.
lunette_serve()
{
    "$lunette" serve --background --pool "$work/$1.lunette" --socket "$work/$1.mgmt" \
        --nbd-socket "$work/$1.nbd" --pid-file "$work/$1.pid" "${@:2}" >>"$work/cli.log" 2>&1 ||
        { tail -n 5 "$work/cli.log" >&2; return 1; }
    pids+=("$(<"$work/$1.pid")")
}

# lunette_up NAME POOL-SIZE [OPTION...]: the same with a new pool.
lunette_up()
{
    "$lunette" pool create "$work/$1.lunette" "$2" >>"$work/cli.log" 2>&1 ||
        { tail -n 5 "$work/cli.log" >&2; return 1; }
    lunette_serve "$1" "${@:3}"
}

# million_up: serves the LUN "large", of a million extents.
million_up()
{
    local options=()
    if $quick; then
        options+=(--quick)
    fi
    "$build/bin/bench_engine" million --dir "$work" --parts none --keep --runs 1 "${options[@]}" \
        >>"$work/cli.log" 2>&1 || { tail -n 3 "$work/cli.log" >&2; return 1; }
    mv "$work/million.pool" "$work/million.lunette" && lunette_serve million
}

million_down()
{
    if [[ -e $work/million.pid ]]; then
        stop_pid "$(<"$work/million.pid")"
    fi
    rm -f "$work"/million.*
}

main_up()
{
    lunette_up main 8G --iscsi 127.0.0.1:0 || return
    main_pid=$(<"$work/main.pid")
    export LUNETTE_SOCKET=$work/main.mgmt
    local name
    for name in own golden; do
        "$lunette" lun create "$name" "${lun_mib}M" >>"$work/cli.log" 2>&1 || return
        fill "$(uri_of $name main.nbd)" || return
    done
    iscsi_up || return
    if wants '.*\.file'; then
        file_up || return
    fi
    if wants '.*\.tgt.*'; then
        tgt_up || note_failure "tgtd: it takes the package tgt"
    fi
    if wants '.*\.istgt.*'; then
        istgt_up || note_failure "istgt: it takes the package istgt"
    fi
    if wants '.*\.qcow2'; then
        qcow2_up || return
    fi
    if wants '.*\.xfs'; then
        xfs_up || note_failure "XFS: it takes root, xfsprogs and a loop device"
    fi
}

main_down()
{
    local pid
    stop_pid "$main_pid"
    if [[ -n $file_pid ]]; then
        stop_pid "$file_pid"
    fi
    for pid in $tgt_pid $istgt_pid; do
        { kill -9 "$pid" && wait "$pid"; } 2>/dev/null # tgtd takes its time otherwise
        stop_pid "$pid"
    done
    rm -f "$work"/main.lunette "$work"/*.raw "$work"/*.qcow2
}

many_up()
{
    lunette_up many 8G || return
    LUNETTE_SOCKET=$work/many.mgmt "$lunette" lun create golden 256M >>"$work/cli.log" 2>&1 &&
        fill "$(uri_of golden many.nbd)"
}

many_down()
{
    if [[ -e $work/many.pid ]]; then
        stop_pid "$(<"$work/many.pid")"
    fi
    rm -f "$work"/many.*
}

# anonymous_kib PID: its memory that is not page cache.
anonymous_kib()
{
    awk '/^Rss(Anon|Shmem):/ { kib += $2 } END { print kib }' "/proc/$1/status"
}

# Memory of the server that is not page cache, in MB, while 100 clients read and write 100 LUNs.
many_memory()
{
    local i fio_pid kib
    {
        printf '[global]\nioengine=nbd\nrw=randrw\nbs=4k\niodepth=4\ntime_based\nruntime=%s\nthread\n' \
            $((seconds + 3))
        for ((i = 0; i < 100; i++)); do
            printf '[vm%d]\nuri=%s\n' "$i" "$(uri_of "$(printf 'vm-%05d' $((i * 100)))" many.nbd)"
        done
    } >"$work/many.fio"
    fio "$work/many.fio" --output-format=terse >>"$work/fio.log" 2>&1 &
    fio_pid=$!
    pids+=("$fio_pid")
    sleep $((seconds + 1))
    kib=$(anonymous_kib "$(<"$work/many.pid")")
    wait "$fio_pid" || return
    awk -v kib="$kib" 'BEGIN { print kib * 1024 / 1e6 }'
}

# The LUNs for the iSCSI loads: "own" is 1, a fresh clone of "golden" 2.
iscsi_up()
{
    local status
    status=$("$lunette" server status --json) || return
    iscsi_portal=$(jq -r '.iscsi_portals[0]' <<<"$status")
    iscsi_target=$(jq -r .iscsi_target <<<"$status")
    { "$lunette" igroup create bench iqn.2026-11.test:load &&
        "$lunette" lun map own --igroup bench --lun-id 1; } >>"$work/cli.log" 2>&1
}

# ---- peers -----------------------------------------------------------------------------------------

file_pid=

file_up()
{
    truncate -s "${lun_mib}M" "$work/file.raw" || return
    serve "$work/file.nbd" nbdkit -f -U "$work/file.nbd" file "$work/file.raw" || return
    file_pid=$target_pid
    fill "$(uri_of '' file.nbd)"
}

qcow2_options=extended_l2=on,cluster_size=128k

# The golden image: as many bytes as the others have, copied from a LUN of random bytes.
qcow2_up()
{
    nbdcopy "$(uri_of golden main.nbd)" "$work/copy.raw" 2>>"$work/server.log" &&
        qemu-img convert -f raw -O qcow2 -o "$qcow2_options" "$work/copy.raw" "$work/golden.qcow2" \
            2>>"$work/server.log" || { tail -n 3 "$work/server.log" >&2; return 1; }
    rm -f "$work/copy.raw"
    cat "$work/golden.qcow2" >/dev/null
}

# A file system on a file that is written beforehand, so that its holes cost nothing later.
xfs_up()
{
    [[ $EUID == 0 ]] && command -v mkfs.xfs >/dev/null || return
    dd if=/dev/zero of="$work/xfs.img" bs=1M count=$((lun_mib * 6)) conv=fsync 2>>"$work/server.log" || return
    xfs_loop=$(losetup --find --show --direct-io=on "$work/xfs.img") || return
    mkfs.xfs -q -K -m reflink=1 "$xfs_loop" >>"$work/server.log" 2>&1 || return
    mkdir -p "$work/xfs" && mount "$xfs_loop" "$work/xfs" || return
    xfs_mount=$work/xfs
    truncate -s "${lun_mib}M" "$xfs_mount/golden" || return
    serve "$work/xfs.nbd" nbdkit -f -U "$work/xfs.nbd" file "$xfs_mount/golden" || return
    fill "$(uri_of '' xfs.nbd)" || return
    stop_pid "$target_pid"
}

# A port of 127.0.0.1 that is free now.
free_port()
{
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# iscsi_fill URL: writes all of it.
iscsi_fill()
{
    timeout 600 "$build/bin/iscsi_load" "$1" fill 1048576 16 0 >>"$work/fio.log" 2>&1 ||
        { tail -n 3 "$work/fio.log" >&2; return 1; }
}

tgt_pid=
tgt_url=

# Debian's tgtd on a raw file, with data segments of 256 KiB instead of its 8 KiB.
tgt_up()
{
    local port control=(tgtadm -C 33 --lld iscsi) i
    command -v tgtd >/dev/null || return
    port=$(free_port)
    export TGT_IPC_SOCKET=$work/tgt.ipc
    truncate -s "${lun_mib}M" "$work/tgt.raw" || return
    tgtd -f -C 33 --iscsi "portal=127.0.0.1:$port" >>"$work/server.log" 2>&1 &
    tgt_pid=$!
    pids+=("$tgt_pid")
    for ((i = 0; i < 200; i++)); do
        tgtadm -C 33 --op show --mode sys >/dev/null 2>&1 && break
        kill -0 "$tgt_pid" 2>/dev/null || return
        sleep 0.05
    done
    { "${control[@]}" --op new --mode target --tid 1 -T iqn.2026-11.test:tgt &&
        "${control[@]}" --op update --mode target --tid 1 --name MaxRecvDataSegmentLength --value 262144 &&
        "${control[@]}" --op update --mode target --tid 1 --name MaxXmitDataSegmentLength --value 262144 &&
        "${control[@]}" --op new --mode logicalunit --tid 1 --lun 1 --bstype rdwr -b "$work/tgt.raw" &&
        "${control[@]}" --op bind --mode target --tid 1 -I ALL; } >>"$work/server.log" 2>&1 || return
    tgt_url=iscsi://127.0.0.1:$port/iqn.2026-11.test:tgt/1
    iscsi_fill "$tgt_url"
}

istgt_pid=
istgt_url=

istgt_up()
{
    local port i
    command -v istgt >/dev/null || return
    port=$(free_port)
    truncate -s "${lun_mib}M" "$work/istgt.raw" || return
    printf '%s\n' "[Global]" "  NodeBase iqn.2026-11.test" "  PidFile $work/istgt.pid" \
        "  AuthFile $work/istgt.auth" "  LogFacility local7" "  Timeout 30" "  NopInInterval 20" \
        "  DiscoveryAuthMethod None" "  MaxSessions 16" "  MaxConnections 4" "  MaxR2T 32" \
        "  MaxOutstandingR2T 16" "  DefaultTime2Wait 2" "  DefaultTime2Retain 60" \
        "  FirstBurstLength 262144" "  MaxBurstLength 1048576" "  MaxRecvDataSegmentLength 262144" \
        "  InitialR2T Yes" "  ImmediateData Yes" "  DataPDUInOrder Yes" "  DataSequenceInOrder Yes" \
        "  ErrorRecoveryLevel 0" "[UnitControl]" "  AuthMethod None" "  Portal UC1 127.0.0.1:$(free_port)" \
        "  Netmask 127.0.0.1" "[PortalGroup1]" "  Portal DA1 127.0.0.1:$port" "[InitiatorGroup1]" \
        "  InitiatorName ALL" "  Netmask 127.0.0.0/8" "[LogicalUnit1]" "  TargetName istgt" \
        "  Mapping PortalGroup1 InitiatorGroup1" "  AuthMethod None" "  UseDigest Auto" \
        "  UnitType Disk" "  QueueDepth 64" "  LUN0 Storage $work/istgt.raw Auto" >"$work/istgt.conf"
    : >"$work/istgt.auth"
    chmod 600 "$work/istgt.auth"
    istgt -D -c "$work/istgt.conf" >>"$work/server.log" 2>&1 &
    istgt_pid=$!
    pids+=("$istgt_pid")
    istgt_url=iscsi://127.0.0.1:$port/iqn.2026-11.test:istgt/0
    for ((i = 0; i < 200; i++)); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        kill -0 "$istgt_pid" 2>/dev/null || return
        sleep 0.05
    done
    iscsi_fill "$istgt_url"
}

# A file of @1 extents on XFS: every second block of it is written.
xfs_fragment()
{
    python3 - "$xfs_mount/fragmented" "$1" <<'PY'
import os
import sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
block = os.urandom(4096)
for i in range(int(sys.argv[2])):
    os.pwrite(fd, block, 2 * i * 4096)
os.fsync(fd)
PY
}

# ---- one target for one measurement ------------------------------------------------------------------

# target_up SERVER RUN: sets $target_uri, $target_pid and the file with its data, $target_file. What is
# fresh is made here, outside the measured time.
target_up()
{
    target_digest=none
    target_file=$work/main.lunette
    case $1 in
    lun | digest)
        target_uri=iscsi://$iscsi_portal/$iscsi_target/1
        target_pid=$main_pid
        [[ $1 == lun ]] || target_digest=data
        ;;
    newclone)
        { "$lunette" lun clone golden fresh && "$lunette" lun map fresh --igroup bench --lun-id 2; } \
            >>"$work/cli.log" 2>&1 || return
        target_uri=iscsi://$iscsi_portal/$iscsi_target/2
        target_pid=$main_pid
        ;;
    tgt)
        target_uri=$tgt_url
        target_pid=$tgt_pid
        target_file=$work/tgt.raw
        [[ -n $tgt_url ]]
        ;;
    istgt)
        target_uri=$istgt_url
        target_pid=$istgt_pid
        target_file=$work/istgt.raw
        [[ -n $istgt_url ]]
        ;;
    own)
        target_uri=$(uri_of own main.nbd)
        target_pid=$main_pid
        ;;
    golden)
        target_uri=$(uri_of golden main.nbd)
        target_pid=$main_pid
        ;;
    file)
        target_uri=$(uri_of '' file.nbd)
        target_pid=$file_pid
        target_file=$work/file.raw
        ;;
    clone)
        "$lunette" lun clone golden fresh >>"$work/cli.log" 2>&1 || return
        target_uri=$(uri_of fresh main.nbd)
        target_pid=$main_pid
        ;;
    qcow2)
        qemu-img create -q -f qcow2 -F qcow2 -b "$work/golden.qcow2" -o "$qcow2_options" \
            "$work/fresh.qcow2" >>"$work/server.log" 2>&1 || return
        serve "$work/qcow2.nbd" qemu-storage-daemon \
            --blockdev "driver=file,node-name=file,filename=$work/fresh.qcow2" \
            --blockdev driver=qcow2,node-name=image,file=file \
            --nbd-server "addr.type=unix,addr.path=$work/qcow2.nbd" \
            --export type=nbd,id=fresh,node-name=image,name=fresh,writable=on || return
        target_uri=$(uri_of fresh qcow2.nbd)
        target_file=$work/golden.qcow2
        ;;
    xfs)
        [[ -n $xfs_mount ]] && cp --reflink=always "$xfs_mount/golden" "$xfs_mount/fresh" || return
        serve "$work/xfs.nbd" nbdkit -f -U "$work/xfs.nbd" file "$xfs_mount/fresh" || return
        target_uri=$(uri_of '' xfs.nbd)
        target_file=$xfs_mount/fresh
        ;;
    esac
}

target_down()
{
    case $1 in
    clone | newclone)
        # The last connection may still be closing.
        local i
        for ((i = 0; i < 100; i++)); do
            "$lunette" lun delete fresh >>"$work/cli.log" 2>&1 && break
            sleep 0.05
        done
        "$lunette" job wait >>"$work/cli.log" 2>&1
        [[ $i -lt 100 ]]
        ;;
    qcow2) stop_pid "$target_pid" && rm -f "$work/fresh.qcow2" ;;
    xfs) stop_pid "$target_pid" && rm -f "$xfs_mount/fresh" ;;
    esac
}
