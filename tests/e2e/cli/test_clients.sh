#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients that are rude, slow, many or large: the others are served.

. "$(dirname "$0")/lib.sh"

ok pool create "$pool" 256M
server_start
ok lun create a 64M

# NBD clients that hang up in the middle of things would end nbdkit without it (test_nbd_hangup).
checks=$((checks + 1))
grep -q /lunette-hangup-guard.so "/proc/$server/maps" || fail "nbdkit runs without its guard"

# expect TEXT INPUT: the answer to INPUT has TEXT.
expect()
{
    local answer
    checks=$((checks + 1))
    answer=$(printf '%b' "$2" | "$probe" send "$LUNETTE_SOCKET")
    [[ $answer == *"$1"* ]] || fail "to $2: $answer"
}
expect EBADMSG 'GET / HTTP/1.1\r\n\r\n'
expect EBADMSG '\x00\x01\x02\xff\xfe\n'
expect EBADMSG '[1,2,3]\n'
expect EBADMSG '{"verb":"lun.show"\n'
expect EBADMSG '{"id":1,"id":2,"verb":"lun.show"}\n'
expect EINVAL '{"verb":"lun.fly"}\n'
expect EINVAL '{"verb":"lun.show","args":{"colour":"red"}}\n'
expect EINVAL '{"verb":"lun.create","args":{"name":"b","size_bytes":-1}}\n'
expect EBADMSG '{"verb":"lun.create","args":{"name":"b","size_bytes":18446744073709551616}}\n'
expect '"ok":true' '{"id":"x","verb":"lun.show"}\n'
expect EBADMSG "$(printf '[%.0s' {1..5000})\\n"
json luns.# 1 lun show

# Larger than a request may be.
checks=$((checks + 1))
answer=$("$probe" spaces "$LUNETTE_SOCKET" $((2 << 20)) 2>/dev/null)
[[ $answer == *EMSGSIZE* ]] || fail "an oversized request: $answer"
ok lun show

# Half-dead clients: 60 that have sent half a request, 3 that never read what they asked for.
coproc HOLD { "$probe" hold "$LUNETTE_SOCKET" 60; }
read -r line <&"${HOLD[0]}"
same "$line" holding
stuffers=()
mkfifo "$work/end"
exec 6<>"$work/end"
for i in 1 2 3; do
    : >"$work/stuff$i"
    "$probe" stuff "$LUNETTE_SOCKET" <"$work/end" >"$work/stuff$i" 6>&- &
    stuffers+=($!)
done
for i in 1 2 3; do
    until [[ $(<"$work/stuff$i") == stuffed ]]; do :; done
done
ok lun create b 64M
json luns.# 2 lun show

# 100 at once, each with a LUN of its own.
for i in {1..100}; do
    "$lunette" lun create "p$i" 64M >/dev/null 2>>"$work/parallel" &
    parallel[i]=$!
done
for i in {1..100}; do
    wait "${parallel[i]}" || fail "client $i of 100"
done
same "$(cat "$work/parallel")" ""
json luns.# 102 lun show

# One follows events, all along.
"$lunette" event show --follow --json >"$work/events" 2>&1 &
follower=$!
ok lun create last 64M
until grep -q '"object":"last"' "$work/events"; do :; done
checks=$((checks + 1))
while read -r line; do
    "$probe" json id <<<"$line" >/dev/null || fail "no JSON in: $line"
done <"$work/events"

# With all of them connected the server stops as it should, and says so to who follows.
ok server stop
wait "$server"
same "$?" 0
server=
wait "$follower"
same "$?" 1
exec 6>&-
wait "${stuffers[@]}"
finish
