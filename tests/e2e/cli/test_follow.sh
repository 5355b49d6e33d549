#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# event.follow of a client that names no event to begin behind: it is told what happens from now on, and no
# more. The `lunette` command always names one.

. "$(dirname "$0")/lib.sh"

ok pool create "$pool" 256M
server_start
ok lun create old 64M

# Prints each line of the answer.
python3 -u - "$LUNETTE_SOCKET" >"$work/events" <<'PY' &
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b'{"id": 1, "verb": "event.follow"}\n')
for line in client.makefile():
    print(line, end="")
PY
follower=$!

# It may have come too late for the first ones.
for ((i = 0; i < 200; i++)); do
    ok lun create "new-$i" 64M
    ! grep -q progress "$work/events" || break
    sleep 0.1
done
ok lun create last 64M
for ((i = 0; i < 200; i++)); do
    ! grep -q '"object":"last"' "$work/events" || break
    sleep 0.1
done
checks=$((checks + 2))
grep -q '"object":"last"' "$work/events" || fail "not told of the last: $(<"$work/events")"
! grep -q '"object":"old"' "$work/events" || fail "told of what was before: $(<"$work/events")"
[[ $(grep -c '"object":"last"' "$work/events") == 1 ]] || fail "told twice: $(<"$work/events")"
ok server stop
wait "$server"
server=
wait "$follower"
checks=$((checks + 1))
grep -q '"errno":"ECANCELED"' "$work/events" || fail "not told of the stop: $(<"$work/events")"
finish
