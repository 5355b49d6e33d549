#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Transfers between raw files and QEMU's image formats; interrupted, resumed, refused.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
make_image a.raw

# Raw to raw: byte for byte, as sparse, and the sums are those of the file's own map.
map=$(python3 - a.raw <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
at, data = 0, 0
while at < size:
    try:
        begin = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break
    at = os.lseek(fd, begin, os.SEEK_HOLE)
    data += at - begin
zeros = 0
os.lseek(fd, 0, os.SEEK_SET)
while True:
    block = os.read(fd, 4096)
    if not block:
        break
    if not block.strip(b'\0'):
        zeros += len(block)
print(size, data, zeros)
PY
)
read -r size data zeros <<<"$map"
transfer --verify a.raw b.raw
same a.raw b.raw
expect total "$size"
expect read "$data"
expect hole $((size - data))
expect written $((size - zeros))
expect skipped "$zeros"
expect zeroed 0
expect verified "$size"
[ "$(stat -c %b b.raw)" -le "$(stat -c %b a.raw)" ] || fail "b.raw is less sparse than a.raw"

# Refused: an existing file, unless it may be overwritten; itself.
transfer_fails "exists" a.raw b.raw
transfer_fails "both the source and the destination" --overwrite a.raw ./a.raw
printf x | dd of=b.raw bs=1 seek=100000000 conv=notrunc status=none
transfer --overwrite a.raw b.raw
same a.raw b.raw

# Zeros kept as data, and holes not asked for.
transfer --overwrite --keep-zeros --ignore-map a.raw b.raw
same a.raw b.raw
expect written "$size"
expect hole 0

# Each format of QEMU's that can be made, both ways.
for format in qcow2 vmdk vdi vhdx; do
    transfer --verify a.raw "b.$format"
    qemu-img compare -q -f raw -F "$format" a.raw "b.$format" || fail "b.$format differs"
    transfer "b.$format" "from_$format.raw"
    cmp -n "$size" a.raw "from_$format.raw" || fail "from_$format.raw differs"
    expect written $((size - zeros))
    rm "from_$format.raw"
done

# A qcow2 with a backing file and holes in it; what is read is what qemu-img's map calls data.
qemu-img create -q -f qcow2 -F qcow2 -b b.qcow2 over.qcow2
qemu-io -f qcow2 -c 'write -P 7 30M 3M' -c 'write -z 80M 5M' -c 'discard 100M 4M' over.qcow2 >/dev/null
transfer over.qcow2 over.raw
qemu-img compare -q -f qcow2 -F raw over.qcow2 over.raw || fail "over.raw differs"
expect read "$(qemu-img map --output=json over.qcow2 |
    jq '[.[] | select(.data and (.zero | not)) | .length] | add')"

# Other files that an image names are read only if they are beside it: it may come from anybody.
mkdir in out
cp b.qcow2 out/secret.qcow2
cp a.raw out/secret.raw
qemu-img create -q -f qcow2 -F raw -b "$PWD/out/secret.raw" in/absolute.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b ../out/secret.qcow2 in/relative.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b absolute.qcow2 in/second.qcow2
ln -s ../out/secret.raw in/link.raw
qemu-img create -q -f qcow2 -F raw -b link.raw in/linked.qcow2
qemu-img create -q -f qcow2 -o data_file="$PWD/out/data.raw" in/data.qcow2 1M
qemu-img create -q -f qcow2 -u -F raw -b 'json:{"driver":"file","filename":"out/secret.raw"}' in/json.qcow2 1M
for image in absolute relative second linked data json; do
    transfer_fails "names another file" "in/$image.qcow2" nothing.raw
    transfer_fails "names another file" --source-format qcow2 "in/$image.qcow2" nothing.raw
done
# A raw disk into which a guest wrote the header of such an image.
cp in/absolute.qcow2 in/guest.img
transfer_fails "names another file" in/guest.img nothing.raw
# VMDK: a description in text that names its extents.
qemu-img create -q -f vmdk -o subformat=monolithicFlat in/flat.vmdk 1M
transfer in/flat.vmdk flat.raw
sed -i 's,"flat-flat.vmdk","../out/secret.raw",' in/flat.vmdk
transfer_fails "names another file" in/flat.vmdk nothing.raw
[ ! -e nothing.raw ] || fail "nothing.raw was left behind"
rm -r in out flat.raw

# "raw" means raw: the magic of another format inside is not looked at.
transfer --source-format raw b.qcow2 copy.img
same b.qcow2 copy.img
transfer --source-format raw --destination-format raw b.qcow2 copy.qcow2
same b.qcow2 copy.qcow2
[ "$("$tool" --size b.qcow2)" = "$(qemu-img info --output=json b.qcow2 | jq '."virtual-size"')" ] ||
    fail "size of a qcow2"

# Odd names are names.
cp a.raw 'nbd:x,y=z %41 ü.raw'
transfer 'nbd:x,y=z %41 ü.raw' 'json:{}.qcow2'
qemu-img compare -q -f raw -F qcow2 a.raw './json:{}.qcow2' || fail "odd names"

# Not what it claims to be, not there, not readable as an image.
transfer_fails "cannot open" --source-format qcow2 a.raw nothing.raw
[ ! -e nothing.raw ] || fail "nothing.raw was left behind"
transfer_fails "cannot open" missing.raw nothing.raw
transfer_fails "cannot make" a.raw missing/nothing.raw
transfer_fails "cannot make" a.raw missing/nothing.qcow2

# Cancelled without a resume file: undone. With one: goes on, to the same bytes and sums.
for target in c.raw c.qcow2; do
    transfer_fails "cancelled" --cancel-at=50000000 --flush=8388608 a.raw "$target"
    [ ! -e "$target" ] || fail "$target was left behind"
    transfer_fails "cancelled" --cancel-at=50000000 --flush=8388608 --resume=state a.raw "$target"
    durable=$(jq .durable_bytes state)
    [ "$durable" -gt 0 ] || fail "nothing durable in $(cat state)"
    transfer --resume=state --verify a.raw "$target"
    expect resumed_from "$durable"
    expect read "$data"
    expect written $((size - zeros))
    expect skipped "$zeros"
    [ ! -e state ] || fail "the resume file was left behind"
    qemu-img compare -q -f raw a.raw "$target" || fail "$target differs"
done

# Interrupted by a signal, which must not reach the child qemu-nbd first.
pause_start --flush=8388608 --resume=state a.raw d.qcow2
kill -INT "$tool_pid"
pause_end
[ "$status" = 1 ] || fail "interrupted: status $status"
transfer --resume=state a.raw d.qcow2
expect resumed_from "$(jq .durable "$work/stdout")"
qemu-img check -q d.qcow2 || fail "d.qcow2 is damaged"
qemu-img compare -q -f raw a.raw d.qcow2 || fail "d.qcow2 differs"

# The source was changed in between: refused.
cp --sparse=always a.raw changing.raw
transfer_fails "cancelled" --cancel-at=50000000 --flush=8388608 --resume=state changing.raw e.raw
printf x | dd of=changing.raw bs=1 seek=1000 conv=notrunc status=none
transfer_fails "was changed since" --resume=state changing.raw e.raw
rm state

# qemu-nbd is killed half way: an error that says so, nothing left.
pause_start --flush=8388608 a.raw f.qcow2
kill -9 "$(children)"
pause_end
[ "$status" = 1 ] || fail "qemu-nbd killed: status $status"
grep -q "qemu-nbd" "$work/stderr" || fail "qemu-nbd killed: says $(cat "$work/stderr")"
[ ! -e f.qcow2 ] || fail "f.qcow2 was left behind"

no_children_left
# Those of other tests, which run beside this one, are gone in a moment.
for folder in $(find /tmp -maxdepth 1 -name 'lunette-nbd.*' -newer a.raw); do
    deadline=$((SECONDS + 60))
    while [ -e "$folder" ] && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    [ ! -e "$folder" ] || fail "a socket folder is left: $folder"
done
finish
