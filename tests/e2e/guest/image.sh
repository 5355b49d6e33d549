#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# usage: image.sh FOLDER
#
# Makes in FOLDER what a guest boots: golden.raw, an ext4 file system with a small Debian that
# debootstrap has installed; vmlinuz, Debian's kernel; initrd, which has the drivers of a virtio disk
# and mounts it. What is there already is kept if it was made by these same scripts.
#
# Packages come from where apt on this host gets its own, through its proxy if it has one. The guest is
# put together in memory (a tmpfs that only this process sees), as dpkg syncs each file.

set -Eeuo pipefail
umask 022
here=$(dirname "$(readlink -f "$0")")
PATH=$PATH:/usr/sbin:/sbin
folder=${1:?the folder to make it in}
kernel_package=linux-image-cloud-amd64 # without the drivers of real hardware
modules=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk)
image_size=384M
doing=

# shellcheck source=mirror.sh
. "$here/mirror.sh"

fail()
{
    echo "FAILED: no image of a Debian guest: $*" >&2
    [[ ! -s ${log-} ]] || tail -n 20 "$log" >&2
    exit 1
}
trap 'fail "$doing: status $?"' ERR

# For ctest: this cannot be done here, and that is nobody's fault.
skip()
{
    echo "SKIP: no image of a Debian guest: $*"
    exit 77
}

# step TEXT: the next thing to be done, and how long the last one took.
step()
{
    local now=$EPOCHSECONDS
    [[ -z $doing ]] || echo "$doing: $((now - began)) s"
    doing=$1
    began=$now
}

# kernel_name: the package that $kernel_package stands for.
kernel_name()
{
    apt-cache --no-all-versions show "$kernel_package" |
        sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p'
}

fetch_kernel()
{
    local name
    name=$(kernel_name) && [[ -n $name ]] || return
    (cd "$tree/kernel" && rm -f -- *.deb && apt-get download -q "$name")
}

# bootstrap MIRROR: into $root. The network may fail for a moment; packages that have arrived are kept.
# The second attempt has a folder of its own, as /dev and /proc may be mounted in that of the first.
bootstrap()
{
    mkdir -p "$folder/debs"
    for root in "$tree/first" "$tree/second"; do
        if timeout 600 debootstrap --variant=minbase --include=busybox-static \
            --cache-dir="$folder/debs" "$release" "$root" "$1"; then
            return 0
        fi
        echo "status $?; the end of debootstrap.log:"
        tail -n 5 "$root/debootstrap/debootstrap.log" || true
    done
    return 1
}

make_golden()
{
    find "$root/var/cache/apt" "$root/var/lib/apt/lists" -type f -delete
    echo golden >"$root/etc/hostname"
    install -m 755 "$here/identity" "$root/usr/local/sbin/identity"
    head -c $((8 << 20)) /dev/urandom >"$root/srv/common"
    mke2fs -q -t ext4 -b 4096 -L golden -E lazy_itable_init=0,lazy_journal_init=0 -d "$root" \
        "$folder/golden.new" "$image_size"
}

make_initrd()
{
    local top=$tree/initrd busybox=$root/bin/busybox module file
    mkdir -p "$top"/{bin,dev,modules,root}
    install -m 755 "$here/init" "$top/init"
    cp "$busybox" "$top/bin/busybox"
    for module in "${modules[@]}"; do
        file=$(find "$tree/kernel/lib/modules" -name "$module.ko")
        [[ -n $file ]] || fail "Debian's kernel has no $module.ko"
        cp "$file" "$top/modules/$module.ko"
        echo "$module" >>"$top/modules/order"
    done
    (cd "$top" && find . | "$busybox" cpio -o -H newc >"$folder/initrd")
}

# In a mount namespace of its own: what is mounted here goes with this process.
make_all()
{
    local address root
    tree=$folder/tree
    mkdir -p "$tree"
    mount -t tmpfs -o mode=755,size=2G tmpfs "$tree"
    mkdir "$tree/kernel"
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    use_proxy

    step "finding the packages"
    address=$(mirror)
    if [[ -z $address ]] || ! fetch_kernel >>"$log" 2>&1; then
        apt-get update -q >>"$log" 2>&1 || fail "apt-get update cannot reach a mirror"
        address=$(mirror)
        [[ -n $address ]] || fail "apt's sources have no Debian $release main"
        fetch_kernel >>"$log" 2>&1 || fail "apt-get cannot download $kernel_package"
    fi

    step "debootstrap of $release"
    bootstrap "$address" >>"$log" 2>&1 || fail "debootstrap cannot install $release here"
    step "unpacking the kernel"
    dpkg-deb -x "$tree"/kernel/*.deb "$tree/kernel" >>"$log" 2>&1
    cp "$tree"/kernel/boot/vmlinuz-* "$folder/vmlinuz"
    step "making golden.raw"
    make_golden >>"$log" 2>&1
    step "making the initrd"
    make_initrd >>"$log" 2>&1
    mv "$folder/golden.new" "$folder/golden.raw"
    step ""
}

[[ $(id -u) == 0 ]] || skip "debootstrap needs root"
for program in debootstrap mke2fs flock unshare apt-get; do
    command -v "$program" >/dev/null || fail "no $program (conf/install-packages installs it)"
done
mkdir -p "$folder"
folder=$(readlink -f "$folder")
log=$folder/log
if [[ -n ${2-} ]]; then
    make_all
    exit 0
fi
exec 9>"$folder/lock"
flock 9
inputs=$(cat "$here"/{image.sh,mirror.sh,init,identity} /etc/os-release | sha256sum)
if [[ ! -e $folder/stamp || $(<"$folder/stamp") != "$inputs" ]]; then
    rm -f "$folder"/{stamp,golden.raw,golden.new,vmlinuz,initrd,log}
    # shellcheck disable=SC2016 # of the inner shell
    unshare --mount --propagation private sh -c 'mount -t tmpfs tmpfs "$1"' sh "$folder" 2>/dev/null ||
        skip "this process may not mount, and debootstrap needs that"
    # What it starts must not hold the lock when it is killed.
    unshare --mount --propagation private "$0" "$folder" inside 9>&- || exit 1
    echo "$inputs" >"$folder/stamp"
fi
