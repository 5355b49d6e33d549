#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# lun import from an iSCSI target that sends what libiscsi 1.19 follows to nowhere: the program says
# what became of it, the LUN is gone or can be gone on with, the server and other LUNs are as before.

. "$(dirname "$0")/lib.sh"
[[ $engine == lun ]] || skip "$engine has no iSCSI"
proxy=
trap '[[ -z $proxy ]] || kill "$proxy"; cleanup' EXIT

ok pool create "$pool" 64M
server_start --iscsi 127.0.0.1:0
head -c 8M /dev/urandom >"$work/raw"
ok lun import "$work/raw" source
ok igroup create all iqn.2024-01.io.github.lunette:transfer
ok lun map source --igroup all --lun-id 0
json count 1 iscsi portal show
target=$("$probe" json portals.0.target <<<"$out")
portal=$("$probe" json portals.0.address <<<"$out")
"$(dirname "$0")/hostile_target.py" "${portal##*:}" "$work/orders" >"$work/port" &
proxy=$!
until [[ -s $work/port ]]; do sleep 0.01; done
url=iscsi://127.0.0.1:$(<"$work/port")/$target/0

# GOOD KIND: what the target is told (hostile_target.py); each time it is another text.
orders=0
hostile()
{
    orders=$((orders + 1))
    echo "$1 $2 $orders" >"$work/orders"
}

hostile 100 good
ok lun import "$url" good
ok lun export good "$work/back"
cmp "$work/raw" "$work/back" || fail "what came through is not what was there"
for kind in r2t data; do
    for good in 0 1; do # before there is a LUN, and once there is one
        hostile $good $kind
        refused 1 "ended by signal 11" lun import "$url" bad
        [[ $good == 0 || $err == *"LUN bad was deleted again"* ]] || fail "what became of the LUN: $err"
        refused 1 "there is no LUN" lun show bad
        hostile $good $kind
        refused 1 "ended by signal 11" lun import "$url" bad --json
    done
    hostile 1 $kind
    refused 1 "LUN kept was left as it is" lun import "$url" kept --keep
    ok lun delete kept
done

# In the midst of it, with a note of how far it is: the same command goes on.
hostile 1 hang
"$lunette" lun import "$url" resumed --resume "$work/note" 2>"$work/err" </dev/null &
import=$!
until [[ -s $work/note ]]; do sleep 0.01; done
child=$(<"/proc/$import/task/$import/children")
kill -SEGV $child
wait $import
same $? 1
grep -q "ended by signal 11" "$work/err" || fail "said: $(<"$work/err")"
grep -q "go on with the same command" "$work/err" || fail "said: $(<"$work/err")"
hostile 100 good
ok lun import "$url" resumed --resume "$work/note"
ok lun export resumed "$work/back" --overwrite
cmp "$work/raw" "$work/back" || fail "what was gone on with is not what was there"

ok pool check
ok lun export source "$work/back" --overwrite
cmp "$work/raw" "$work/back" || fail "the source has changed"
finish
