#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# qemu's iSCSI driver on the target: an image written, compared, discarded in part, copied back.

set -euo pipefail
bin=${LUNETTE_BUILD:?}/bin
initiator=iqn.2026-11.test:qemu

for program in qemu-img qemu-io; do
    command -v "$program" > /dev/null || { echo "SKIP: no $program (package qemu-utils)"; exit 77; }
done
qemu-img --help | grep -q '^Supported formats:.*iscsi' ||
    find /usr/lib -name 'block-iscsi.so' 2> /dev/null | grep -q . ||
    { echo "SKIP: qemu has no iSCSI driver (package qemu-block-extra)"; exit 77; }

work=$(mktemp -d)
# It prints where it is when it is ready, and ends when its input does.
coproc host { "$bin/conformance_host" "$work/pool" $((256 << 20)) "$initiator"; }
host_pid=$host_PID
exec 8<&"${host[0]}" 9>&"${host[1]}"
eval "exec ${host[0]}<&- ${host[1]}>&-"
trap 'exec 9>&-; wait $host_pid || true; rm -rf "$work"' EXIT
read -r address target <&8 || { echo "the target did not start"; exit 1; }

image()
{
    echo "driver=iscsi,transport=tcp,portal=$address,target=$target,lun=$1,initiator-name=$initiator"
}

head -c $((64 << 20)) /dev/urandom > "$work/golden"
for lun in 0 1; do
    echo "LUN $lun: write and compare"
    qemu-img convert -n --target-image-opts -f raw "$work/golden" "$(image $lun)"
    qemu-img convert --image-opts "driver=raw,size=$((64 << 20)),file.driver=iscsi,file.transport=tcp,file.portal=$address,file.target=$target,file.lun=$lun,file.initiator-name=$initiator" \
        -O raw "$work/copy"
    cmp "$work/golden" "$work/copy"

    # qemu-io 7.2 aborts on an assertion of its own driver when sectors have 4,096 bytes.
    [[ $lun == 0 ]] || continue
    echo "LUN $lun: zeros, discard, patterns, flush"
    qemu-io --image-opts "driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$address,file.target=$target,file.lun=$lun,file.initiator-name=$initiator,discard=unmap" \
        -c 'write -P 0x5a 1M 3M' -c 'read -P 0x5a 1M 3M' \
        -c 'write -z 2M 1M' -c 'read -P 0 2M 1M' -c 'read -P 0x5a 3M 1M' \
        -c 'discard 8M 4M' -c 'read -P 0 8M 4M' \
        -c 'write -f -P 0x11 4096 4096' -c 'read -P 0x11 4096 4096' -c 'flush' > "$work/log" ||
        { cat "$work/log"; exit 1; }
    if grep -iE 'fail|error' "$work/log"; then
        exit 1
    fi
done
echo "good"
