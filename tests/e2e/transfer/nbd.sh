#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Transfers from and to NBD servers; servers that fail, die, and come back.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
make_image a.raw
size=$(stat -c %s a.raw)
uri="nbd+unix:///?socket=$work/s"

# To a server that holds other bytes: zeros are zeroed. From it again: the sums are those of its map.
serve s memory "$size"
qemu-io -f raw -c 'write -P 9 0 192M' "$uri" >/dev/null || fail "cannot fill the server"
transfer --verify a.raw "$uri"
expect skipped 0
nbdcopy "$uri" copy.raw && same a.raw copy.raw
transfer "$uri" b.raw
same a.raw b.raw
expect read "$(nbdinfo --map --totals --json "$uri" | jq '[.[] | select(.type == 0) | .size] | add')"
transfer "$uri" b.qcow2
qemu-img compare -q -f raw -F qcow2 a.raw b.qcow2 || fail "b.qcow2 differs"

# A server without zeroing, mapping or parallel requests, with a minimum and maximum request size.
serve t --filter=nozero --filter=noextents --filter=noparallel --filter=blocksize-policy memory 192M \
    zeromode=notrim blocksize-minimum=8192 blocksize-preferred=8192 blocksize-maximum=64K
truncate -s 192M plain.raw
make_image plain.raw 201326592
transfer --verify plain.raw "nbd+unix:///?socket=$work/t"
transfer "nbd+unix:///?socket=$work/t" c.raw
same plain.raw c.raw
expect hole 0

# Several connections where they are safe, one where they are not; each write seen by the flush.
serve u --filter=log memory 192M logfile="$work/log"
transfer --zero --connections=3 plain.raw "nbd+unix:///?socket=$work/u"
[ "$(grep -c ' Connect ' log)" = 3 ] || fail "connections: $(grep -c ' Connect ' log), should be 3"
[ "$(grep -c ' Flush ' log)" -ge 1 ] || fail "no flush was seen"
serve v --filter=log --filter=multi-conn memory 192M logfile="$work/log1" multi-conn-mode=disable
transfer --zero plain.raw "nbd+unix:///?socket=$work/v"
[ "$(grep -c ' Connect ' log1)" = 1 ] || fail "several connections to a server without multi-conn"

# Over TLS with a shared key.
if nbdkit --dump-config | grep -q '^tls=yes'; then
    (umask 077 && echo "alice:$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')" >keys.psk)
    serve w --tls=require --tls-psk="$work/keys.psk" memory 192M
    transfer --zero --verify plain.raw \
        "nbds+unix://alice@/?socket=$work/w&tls-psk-file=$work/keys.psk"
    transfer_fails "cannot connect" plain.raw "nbd+unix:///?socket=$work/w"
fi

# Errors name the side, the offset and the reason.
serve x full 192M
transfer_fails "writing the destination nbd+unix:///?socket=$work/x failed at offset" --zero plain.raw \
    "nbd+unix:///?socket=$work/x"
grep -q "No space left on device" stderr || fail "no ENOSPC in: $(cat stderr)"
serve y --filter=error memory 192M error-pread=EIO error-pread-rate=1
transfer_fails "reading the source nbd+unix:///?socket=$work/y failed at offset" --ignore-map \
    "nbd+unix:///?socket=$work/y" nothing.raw
[ ! -e nothing.raw ] || fail "nothing.raw was left behind"
serve z memory 100M
transfer_fails "is too small: it has 104857600 bytes" plain.raw "nbd+unix:///?socket=$work/z"
serve r -r memory 192M
transfer_fails "is read-only" plain.raw "nbd+unix:///?socket=$work/r"
transfer_fails "cannot connect to nbd+unix:///?socket=$work/nobody" plain.raw \
    "nbd+unix:///?socket=$work/nobody"

# The server dies and loses what was not flushed; another takes its place: the copy is whole.
truncate -s 192M disk.raw
serve k file disk.raw
pause_start --flush=8388608 --zero plain.raw "nbd+unix:///?socket=$work/k"
stop_server "$server_pid" -KILL
truncate -s "$durable" disk.raw
truncate -s 192M disk.raw
serve k file disk.raw
pause_end
[ "$status" = 0 ] || fail "server died: $(cat stderr)"
expect reconnects 1
same plain.raw disk.raw

# The same with the source's server.
rm -f out.raw
pause_start --flush=8388608 "nbd+unix:///?socket=$work/k" out.raw
stop_server "$server_pid" -KILL
serve k file disk.raw
pause_end
[ "$status" = 0 ] || fail "source died: $(cat stderr)"
expect reconnects 1
same plain.raw out.raw

# It dies for good: an error; with a resume file the next run goes on.
truncate -s 0 disk.raw
truncate -s 192M disk.raw
pause_start --flush=8388608 --zero --resume=state plain.raw "nbd+unix:///?socket=$work/k"
stop_server "$server_pid" -KILL
rm -f k
pause_end
[ "$status" = 1 ] || fail "server gone: status $status"
grep -q "was lost with .* bytes done: 5 attempts" stderr || fail "server gone: says $(cat stderr)"
serve k file disk.raw
transfer --zero --resume=state --verify plain.raw "nbd+unix:///?socket=$work/k"
expect resumed_from "$durable"
same plain.raw disk.raw
finish
