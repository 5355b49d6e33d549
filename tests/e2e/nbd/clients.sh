#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The clients that people use: nbdinfo, nbdcopy, qemu-img, qemu-io, fio.
#
# usage: clients.sh NBD_TOOL PLUGIN

source "$(dirname "$0")/common.sh"
need nbdinfo nbdcopy qemu-img qemu-io fio jq

size=$((64 << 20))

# ---- nbdinfo

nbdinfo_inner()
{
    verb create golden $size
    verb write golden $((4 << 20)) $((8 << 20)) 7
    verb snapshot golden base
    verb clone golden vm1
    local list
    list=$(nbdinfo --list --json "$(uri '')")
    same names "$(jq -r '[.exports[]."export-name"] | sort | join(" ")' <<<"$list")" \
        "golden golden@base vm1"
    same size "$(jq '[.exports[]."export-size"] | unique | .[]' <<<"$list")" $size
    same description "$(jq -r '.exports[] | select(."export-name" == "vm1").description' <<<"$list")" \
        "LUN of 64.0 MiB, mapped 4.0 MiB, own 0 B, clone of golden"
    same size "$(nbdinfo --size "$(uri golden)")" $size
    nbdinfo --can multi-conn "$(uri golden)"
    nbdinfo --can fua "$(uri golden)"
    nbdinfo --can fast-zero "$(uri golden)"
    nbdinfo --can cache "$(uri golden@base)"
    nbdinfo --is readonly "$(uri golden@base)"
    refused nbdinfo --is readonly "$(uri golden)"
    refused nbdinfo --is rotational "$(uri golden)"
    refused nbdinfo "$(uri missing)"
    same map "$(nbdinfo --map "$(uri vm1)" | awk '{ print $1, $2, $3 }')" \
        "0 $((8 << 20)) 3
$((8 << 20)) $((4 << 20)) 0
$((12 << 20)) $((52 << 20)) 3"
}
nbdinfo_tells()
{
    serve nbdinfo_inner
}

# ---- nbdcopy

nbdcopy_inner()
{
    verb create golden $size
    verb create other $size
    random_file "$dir/in" 64
    nbdcopy "$dir/in" "$(uri golden)"
    nbdcopy --connections=4 "$(uri golden)" "$dir/out"
    cmp "$dir/in" "$dir/out"
    # Holes arrive as holes.
    same mapped "$(verb show golden | awk '{ print $4 }')" $((32 << 20))
    nbdcopy --flush "$(uri golden)" "$(uri other)"
    nbdcopy "$(uri other)" - | cmp - "$dir/in"

    # A difference holds what changed and nothing else.
    verb snapshot golden base
    verb write golden 8192 $((5 << 20)) 1
    verb write golden 4096 $((33 << 20)) 2
    same map "$(nbdinfo --map "$(uri golden@base..golden)" | awk '$3 == 0 { print $1, $2 }')" \
        "$((5 << 20)) 8192
$((33 << 20)) 4096"
    nbdcopy "$(uri golden@base..golden)" "$dir/changes"
    same changes "$(($(stat -c %b "$dir/changes") * 512 / 1024))" 12
    # Put on top of the old state it gives the new one.
    dd if="$dir/changes" of="$dir/out" bs=4096 skip=1280 seek=1280 count=2 conv=notrunc status=none
    dd if="$dir/changes" of="$dir/out" bs=4096 skip=8448 seek=8448 count=1 conv=notrunc status=none
    nbdcopy "$(uri golden)" - | cmp - "$dir/out"
}
nbdcopy_copies()
{
    serve nbdcopy_inner
}

# ---- qemu-img

qemu_img_inner()
{
    verb create golden $size
    random_file "$dir/in" 64
    qemu-img convert -f raw -O qcow2 "$dir/in" "$dir/in.qcow2"
    qemu-img convert -n -W -f qcow2 -O raw "$dir/in.qcow2" "$(uri golden)"
    qemu-img compare -f raw -F raw "$dir/in" "$(uri golden)" >"$dir/out"
    verb clone golden vm1
    qemu-img compare -f raw -F raw "$(uri golden)" "$(uri vm1)" >"$dir/out"
    verb write vm1 512 $((63 << 20)) 3
    refused qemu-img compare -f raw -F raw "$(uri golden)" "$(uri vm1)"
    qemu-img convert -f raw -O qcow2 "$(uri vm1)" "$dir/out.qcow2"
    qemu-img compare -f raw -F qcow2 "$(uri vm1)" "$dir/out.qcow2" >"$dir/out"
    same data "$(qemu-img map --output=json -f raw "$(uri golden)" |
        jq '[.[] | select(.data) | .length] | add')" $((32 << 20))
}
qemu_img_converts()
{
    serve qemu_img_inner
}

# ---- qemu-io

qemu_io_inner()
{
    verb create golden $size
    local out
    out=$(qemu-io -f raw -t none "$(uri golden)" \
        -c 'write -P 0x11 0 1M' -c 'write -P 0x22 513 3000' -c 'aio_write -P 0x33 2M 1M' \
        -c 'aio_write -P 0x44 3M 1M' -c 'aio_flush' -c 'flush' \
        -c 'write -z 512k 64k' -c 'write -z -u 640k 64k' -c 'discard 768k 64k' \
        -c 'write -f -P 0x55 4M 4k' \
        -c 'read -P 0x11 0 513' -c 'read -P 0x22 513 3000' -c 'read -P 0x11 3513 520775' \
        -c 'read -P 0 512k 64k' -c 'read -P 0x11 576k 64k' -c 'read -P 0 640k 64k' \
        -c 'read -P 0 768k 64k' -c 'read -P 0x33 2M 1M' -c 'read -P 0x44 3M 1M' \
        -c 'read -P 0x55 4M 4k' -c 'read -P 0 5M 59M' 2>&1) || fail "$out"
    [[ $out != *"verification failed"* && $out != *rror* ]] || fail "$out"
    # qemu asks again after a restart of the client, and reads the same.
    out=$(qemu-io -r -f raw "$(uri golden)" -c 'read -P 0x22 513 3000' -c 'read -P 0x44 3M 1M' 2>&1)
    [[ $out != *"verification failed"* ]] || fail "$out"
    refused qemu-io -f raw "$(uri golden@missing)" -c 'read 0 512'
}
qemu_io_verifies()
{
    serve qemu_io_inner
}

# ---- fio

fio_inner()
{
    verb create golden $size
    verb write golden $((32 << 20)) 0 7
    verb clone golden vm1
    fio --output="$dir/fio.out" --directory="$dir" --name=verify --ioengine=nbd --uri="$(uri vm1)" \
        --rw=randwrite --bsrange=512-64k --bs_unaligned --size=32M --iodepth=16 --verify=crc32c \
        --verify_fatal=1 --randseed=3 || fail "$(cat "$dir/fio.out")"
    # The source of the clone was not touched.
    qemu-io -r -f raw "$(uri golden)" -c 'read -P 7 0 32M' >"$dir/out"
    ! grep -q 'verification failed' "$dir/out" || fail "$(cat "$dir/out")"
    verb check
}
fio_verifies()
{
    serve fio_inner
}

run_tests nbdinfo_tells nbdcopy_copies qemu_img_converts qemu_io_verifies fio_verifies
