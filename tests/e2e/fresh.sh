#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# conf/quickstart as README.md says it, on a Debian that has nothing but itself: packages are installed,
# all is built, and what it shows is there. The Debian is made by debootstrap, in the build folder; what is
# mounted and started for it goes with this process.

set -uo pipefail
umask 022
here=$(dirname "$(readlink -f "$0")")
source=${LUNETTE_SOURCE:?the source folder; ctest sets it}
folder=${LUNETTE_BUILD:?the build folder; ctest sets it}/fresh
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=guest/mirror.sh
. "$here/guest/mirror.sh"

skip()
{
    echo "SKIP: no fresh Debian: $*"
    exit 77
}

fail()
{
    echo "FAILED: $*"
    tail -n 30 "$folder/log" 2>/dev/null
    exit 1
}

# inside COMMAND...: in the fresh Debian, with nothing of this environment.
inside()
{
    env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
}

make_debian()
{
    local release address
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    use_proxy
    address=$(mirror)
    [[ -n $address ]] || { apt-get update -q && address=$(mirror); }
    [[ -n $address ]] || fail "apt's sources have no Debian $release main"
    debootstrap --variant=minbase "$release" "$root" "$address" || fail "debootstrap ended with $?"
    apt-config dump | grep -E '^Acquire::https?::Proxy ' >"$root/etc/apt/apt.conf.d/proxy"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
}

# What git would check out here, with what is not committed yet.
copy_source()
{
    mkdir -p "$root/lunette"
    git -C "$source" ls-files -z --cached --others --exclude-standard |
        tar -C "$source" --null --ignore-failed-read -cf - -T - | tar -C "$root/lunette" -xf -
}

if [[ ${1-} != inside ]]; then
    [[ $EUID == 0 ]] || skip "debootstrap needs root"
    rm -rf "$folder"
    mkdir -p "$folder"
    unshare --mount --propagation private sh -c 'mount -t tmpfs tmpfs "$1"' sh "$folder" 2>/dev/null ||
        skip "this process may not mount, and debootstrap needs that"
    unshare --mount --propagation private --pid --fork --kill-child "$0" inside
    status=$?
    rm -rf "$folder/root"
    exit $status
fi

root=$folder/root
mkdir "$root"
make_debian >"$folder/log" 2>&1 || fail "no Debian"
copy_source || fail "the source cannot be copied"
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" || fail "cannot mount /proc and /dev"

grep -q '^    conf/quickstart' "$root/lunette/README.md" || fail "README.md does not begin with conf/quickstart"
said=$(inside sh -c 'cd /lunette && conf/quickstart' 2>&1) || fail "conf/quickstart ended with $?: $said"
echo "$said"
for text in "only vm-042 differs" "qemu-system-x86_64" "nbd-client" "nbdcopy"; do
    grep -qF -- "$text" <<<"$said" || fail "it does not say: $text"
done
inside sh -c 'cd /lunette && conf/quickstart --stop && conf/quickstart --clean' || fail "--stop or --clean ended with $?"
[[ ! -e $root/root/lunette-quickstart ]] || fail "--clean has left $(ls -A "$root/root/lunette-quickstart")"
umount -l "$root/dev" "$root/proc"
