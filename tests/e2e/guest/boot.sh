#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# usage: boot.sh LUNETTE PLUGIN PROBE ENGINE nbd|iscsi
#
# Debian guests in qemu, without KVM, from clones of one golden LUN, all at once, with the options that
# `lunette lun attach` prints. Each writes its identity (see identity) into its disk and powers off.
# Then golden and a clone that nobody started are as before, and each guest's clone has its identity
# and nobody else's. In the end one of the guests starts again over the other protocol, and finds what
# it wrote.

# shellcheck source=../cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
protocol=$5
here=$(dirname "$(readlink -f "$0")")
image=${LUNETTE_BUILD:?the build folder; ctest sets it}/guest
guests=(vm1 vm2 vm3)
boot_seconds=2400
PATH=$PATH:/usr/sbin:/sbin # debugfs, e2fsck
declare -A qemus=()

end_guests()
{
    local guest
    for guest in "${!qemus[@]}"; do
        kill "${qemus[$guest]}" && wait "${qemus[$guest]}"
    done 2>/dev/null
    cleanup
}
trap end_guests EXIT

# need: what failed so far makes the rest pointless.
need()
{
    "$@"
    [[ $failures == 0 ]] || finish
}

# boot GUEST PROTOCOL: in the background. The options for the disk are the ones that people are told.
# On a busy host the kernel's test of its timer could fail, and would end the guest: no_timer_check.
boot()
{
    local path=.commands.qemu command=()
    [[ $2 == nbd ]] || path=".iscsi[0]$path"
    ok lun attach "$1" --json
    eval "command=($(jq -r "$path" <<<"$out"))"
    [[ ${command[0]-} == qemu-* ]] || fail "no command for qemu at $path of: $out"
    command+=(-accel tcg -m 256 -nodefaults -display none -no-reboot -serial "file:$work/console.$1"
        -kernel "$image/vmlinuz" -initrd "$image/initrd"
        -append "console=ttyS0 panic=-1 no_timer_check lunette.guest=$1")
    : >"$work/console.$1"
    timeout --kill-after=10 $boot_seconds "${command[@]}" >"$work/qemu.$1" 2>&1 </dev/null &
    qemus[$1]=$!
}

# await GUEST: it has said that it is done, and powered off.
await()
{
    local status=0
    wait "${qemus[$1]}" || status=$?
    unset "qemus[$1]"
    checks=$((checks + 1))
    if [[ $status == 0 ]] && grep -q "^guest $1: done" "$work/console.$1"; then
        grep '^guest ' "$work/console.$1"
        return
    fi
    [[ $status != 124 ]] || echo "not done after $boot_seconds s"
    cat "$work/qemu.$1"
    tail -n 40 "$work/console.$1"
    fail "guest $1: qemu's status $status; above, the end of its console"
}

# untouched LUN: the same bytes as the image.
untouched()
{
    checks=$((checks + 1))
    qemu-img compare -f raw -F raw "$image/golden.raw" "$(uri_of "$1")" >"$work/compare" 2>&1 ||
        fail "$1 is not as golden was: $(<"$work/compare")"
}

uri_of()
{
    echo "nbd+unix:///$1?socket=$work/nbd.sock"
}

# has_identity GUEST BOOTS: its clone, read through NBD, is a sound file system with the identity that
# it should have, all of it and nothing else.
has_identity()
{
    local guest=$1 boots=$2 disk=$work/disk wanted=$work/wanted found=$work/found
    checks=$((checks + 3))
    rm -rf "$disk" "$wanted" "$found"
    mkdir "$wanted" "$found"
    nbdcopy "$(uri_of "$guest")" "$disk" || fail "cannot read $guest"
    e2fsck -fn "$disk" >"$work/fsck" 2>&1 || fail "the file system of $guest: $(<"$work/fsck")"
    [[ $(debugfs -R "cat /etc/hostname" "$disk" 2>/dev/null) == "$guest" ]] ||
        fail "the host name of $guest is another"
    debugfs -R "rdump /srv $found" "$disk" 2>"$work/debugfs"
    debugfs -R "dump /srv/common $wanted/common" "$image/golden.raw" 2>>"$work/debugfs"
    "$here/identity" make "$guest" "$wanted/identity"
    for ((; boots > 0; boots--)); do echo "$guest" >>"$wanted/boots"; done
    diff -r "$wanted" "$found/srv" || fail "$guest has not the identity it should have"
}

need_programs()
{
    local program
    for program in qemu-system-x86_64 qemu-img nbdcopy jq debugfs e2fsck; do
        command -v "$program" >/dev/null || fail "no $program (conf/install-packages installs it)"
    done
}

need need_programs
made=0
"$here/image.sh" "$image" || made=$?
[[ $made == 0 ]] || exit "$made" # 77: it cannot be made here, as it says

need ok pool create "$pool" 4G
server_start --nbd-socket "$work/nbd.sock" --iscsi 127.0.0.1:0
need ok lun import "$image/golden.raw" golden
need ok lun clone golden --count 4 --first 1 --name 'vm%d'
untouched golden

# Each guest is an initiator and an igroup of its own, so it sees its own clone and no other.
for guest in "${guests[@]}"; do
    need ok igroup create "$guest" "iqn.2026-11.test:$guest"
    need ok lun map "$guest" --igroup "$guest" --lun-id 1
done
for guest in "${guests[@]}"; do
    need boot "$guest" "$protocol"
done
for guest in "${guests[@]}"; do
    await "$guest"
done
[[ $failures == 0 ]] || finish

untouched golden
untouched vm4
for guest in "${guests[@]}"; do
    has_identity "$guest" 1
done

other=nbd
[[ $protocol == iscsi ]] || other=iscsi
need boot vm2 $other
need await vm2
has_identity vm2 2
untouched golden
untouched vm4

ok server stop
wait "$server"
same "$?" 0
server=
ok pool check --pool "$pool"
finish
