#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# nbdkit's filters on top of the plugin (rate, cow, partition, luks, and checks of the protocol) and
# its TLS.
#
# usage: filters.sh NBD_TOOL PLUGIN

source "$(dirname "$0")/common.sh"
need nbdinfo nbdcopy qemu-img qemu-io openssl

size=$((16 << 20))

# Runs qemu-io commands, which must all succeed and verify: io URI COMMAND...
io()
{
    local uri=$1 args=() command out
    shift
    for command; do args+=(-c "$command"); done
    out=$(qemu-io -f raw "$uri" "${args[@]}" 2>&1) || fail "$out"
    [[ $out != *"verification failed"* && $out != *rror* ]] || fail "$out"
}

# ---- rate, and filters that check or split requests

rate_inner()
{
    verb create golden $size
    verb write golden 65536 0 7
    verb clone golden vm1
    io "$(uri golden)" 'read -P 7 0 64k' 'write -P 1 1000 5000' 'read -P 1 1000 5000' 'flush'
    io "$(uri vm1)" 'read -P 7 0 64k'
    nbdinfo --list "$(uri '')" >"$dir/list"
    grep -q 'export="vm1"' "$dir/list" || fail "$(cat "$dir/list")"
}
rate()
{
    serve rate_inner --filter=rate rate=800M
}
several()
{
    serve rate_inner --filter=blocksize --filter=log --filter=stats maxdata=64k \
        logfile="$dir/log" statsfile="$dir/stats"
    grep -q Write "$dir/log" || fail "$(cat "$dir/log")"
}

# ---- cow: writes stay in the server

cow_inner()
{
    verb create golden $size
    verb write golden 65536 0 7
    io "$(uri golden)" 'write -P 1 0 4k' 'write -z 4k 4k' 'discard 8k 4k' 'flush' 'read -P 7 12k 4k'
    same mapped "$(verb show golden | sed 's/ open .*//')" "size $size mapped 65536 own 65536"
    verb write golden 1 0 9
}
cow()
{
    serve cow_inner --filter=cow
}

# ---- partition: an MBR with one partition of 2 MiB at 1 MiB

partition_inner()
{
    verb create golden $size
    {
        head -c 446 /dev/zero
        printf '\x00\x00\x02\x00\x83\x00\x02\x00\x00\x08\x00\x00\x00\x10\x00\x00'
        head -c 48 /dev/zero
        printf '\x55\xaa'
    } >"$dir/mbr"
    io "$(uri golden)" "write -s $dir/mbr 0 512" 'flush'
}
partition_use()
{
    same size "$(nbdinfo --size "$(uri golden)")" $((2 << 20))
    io "$(uri golden)" 'write -P 5 0 4k' 'write -P 6 2093056 4k' 'flush' 'read -P 5 0 4k'
    refused qemu-io -f raw "$(uri golden)" -c 'write 2M 512'
    verb clone golden vm1
    same size "$(nbdinfo --size "$(uri vm1)")" $((2 << 20))
}
partition_look()
{
    io "$(uri golden)" 'read -P 5 1M 4k' 'read -P 0 1052672 64k' 'read -P 6 3141632 4k' 'read -P 0 3M 1M'
}
partition()
{
    serve partition_inner
    serve partition_use --filter=partition partition=1
    serve partition_look
}

# ---- luks: what the client reads is not what the LUN holds

luks_secret=swordfish
luks_format()
{
    verb create golden $size
    # qemu-img measures how fast the processor is, and gives up where the kernel's account of that is
    # too coarse for it: every other time on some hosts.
    local tries=0
    until qemu-img create -q -f luks --object secret,id=s,data=$luks_secret \
        -o key-secret=s,iter-time=10 "$dir/luks" 8M; do
        ((++tries < 40))
    done
    nbdcopy "$dir/luks" "$(uri golden)"
}
luks_use()
{
    io "$(uri golden)" 'write -P 0x4c 0 64k' 'write -P 0x4d 4M 64k' 'flush' 'read -P 0x4c 0 64k'
    verb clone golden vm1
    io "$(uri vm1)" 'read -P 0x4d 4M 64k'
}
luks_look()
{
    nbdcopy "$(uri golden)" "$dir/raw"
    ! grep -qa LLLLLLLLLLLLLLLL "$dir/raw" || fail "the data is not encrypted"
    # Somebody else's LUKS reads it too.
    local out
    out=$(qemu-io --object secret,id=s,data=$luks_secret --image-opts \
        "driver=luks,key-secret=s,file.filename=$dir/raw" -c 'read -P 0x4c 0 64k' \
        -c 'read -P 0x4d 4M 64k' 2>&1) || fail "$out"
    [[ $out != *"verification failed"* ]] || fail "$out"
}
luks()
{
    serve luks_format
    serve luks_use --filter=luks passphrase=$luks_secret
    serve luks_look
}

# ---- TLS

certificates()
{
    (
        cd "$dir"
        mkdir pki
        local name
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=test CA' -keyout ca-key.pem \
            -out pki/ca-cert.pem
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout pki/$name-key.pem \
                -out $name.csr
            openssl x509 -req -in $name.csr -CA pki/ca-cert.pem -CAkey ca-key.pem -CAcreateserial \
                -days 2 -extfile <(echo 'subjectAltName=DNS:localhost') -out pki/$name-cert.pem
        done
    ) >"$dir/openssl.log" 2>&1 || fail "$(cat "$dir/openssl.log")"
}

# tls_uri EXPORT OPTION
tls_uri()
{
    echo "nbds+unix://localhost/$1?socket=$dir/nbd&$2"
}
tls_inner()
{
    verb create golden $size
    refused nbdinfo "$(uri golden)"
    refused nbdinfo --list "$(uri '')" # nor is anybody told what there is
    random_file "$dir/in" 16
    nbdcopy "$dir/in" "$(tls_uri golden "tls-certificates=$dir/pki")"
    nbdcopy "$(tls_uri golden "tls-certificates=$dir/pki")" - | cmp - "$dir/in"
    nbdinfo --list "$(tls_uri '' "tls-certificates=$dir/pki")" | grep -q 'export="golden"'
}
tls()
{
    certificates
    serve tls_inner --tls=require --tls-verify-peer --tls-certificates="$dir/pki"
}

psk_uri()
{
    echo "nbds+unix://$1@localhost/golden?socket=$dir/nbd&tls-psk-file=$dir/$2"
}
psk_inner()
{
    verb create golden $size
    random_file "$dir/in" 16
    nbdcopy "$dir/in" "$(psk_uri alice keys)"
    nbdcopy "$(psk_uri alice keys)" - | cmp - "$dir/in"
    refused nbdinfo "$(uri golden)"
    refused nbdinfo --list "$(uri '')"
    refused nbdinfo --list "$(psk_uri alice wrong)"
    refused nbdinfo "$(psk_uri alice wrong)"
    refused nbdinfo "$(psk_uri mallory wrong)"
}
tls_psk()
{
    echo "alice:$(openssl rand -hex 32)" >"$dir/keys"
    printf 'alice:%s\nmallory:%s\n' "$(openssl rand -hex 32)" "$(openssl rand -hex 32)" >"$dir/wrong"
    serve psk_inner --tls=require --tls-psk="$dir/keys"
}

run_tests rate several cow partition luks tls tls_psk
