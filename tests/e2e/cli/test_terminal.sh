#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# On a terminal: what destroys asks first, and shows what goes; without one, or with --yes, it does not.

. "$(dirname "$0")/lib.sh"

command -v script >/dev/null || skip "needs script, of bsdutils"
ok pool create "$pool" 256M
server_start
for lun in a b c d; do
    ok lun create $lun 64M
done
ok snapshot create d@s

# on_terminal ANSWER ARGUMENT...: with a terminal for all three streams; $out has what it showed.
on_terminal()
{
    local answer=$1
    shift
    checks=$((checks + 1))
    out=$(printf '%s\n' "$answer" | script --quiet --return --command "$lunette $*" /dev/null)
    status=$?
}

on_terminal n lun delete a
same "$status" 1
says "Would delete a"
says "Go on? {y|n}"
says "nothing was changed"
json luns.# 4 lun show
on_terminal y lun delete a
same "$status" 0
says "Deleted LUN a."
on_terminal "" lun delete b --yes
same "$status" 0
[[ $out != *"Go on?"* ]] || fail "--yes asks"
on_terminal n lun resize c 32M --force
says "Would resize LUN c from 64 MiB to 32 MiB."
same "$status" 1
on_terminal y lun resize c 32M --force
same "$status" 0
on_terminal n snapshot restore d@s
says "Would put LUN d back to d@s"
same "$status" 1
on_terminal n snapshot delete d@s
same "$status" 1
json luns.# 3 lun show --snapshots
json luns.0.size_bytes 33554432 lun show c
on_terminal n server stop
same "$status" 1
says "process $server"
# top goes on until q is pressed, and leaves the terminal as it was.
on_terminal q top --interval 100ms
same "$status" 0
says "q quits"
on_terminal x top --interval 100ms --count 1
says "displayed."
[[ $out != *"q quits"* ]] || fail "--count shows a screen"
# Nobody to ask: it is done.
ok lun delete c
json luns.# 1 lun show
# A comment cannot steer the terminal.
ok lun comment d $'red\e[31m'
ok lun show --fields name,comment
[[ $out != *$'\e'* ]] || fail "an escape reaches the terminal"
finish
