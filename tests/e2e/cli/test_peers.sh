#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who may look and who may change, by what the kernel says of the client.

. "$(dirname "$0")/lib.sh"

[[ $(id -u) == 0 ]] || skip "needs root, to become other users"
group=54321 nobody=65534
chmod 755 "$work"
cp "$lunette" "$work/lunette"
chmod 755 "$work/lunette"
ok pool create "$pool" 256M
server_start --group $group

# as USER GROUPS ARGUMENT...
as()
{
    local user=$1 groups=$2 how
    shift 2
    how=--clear-groups
    [[ -z $groups ]] || how=--groups=$groups
    out=$(setpriv --reuid="$user" --regid="$user" "$how" "$work/lunette" "$@" 2>"$work/err" \
        </dev/null)
    status=$?
    err=$(<"$work/err")
    checks=$((checks + 1))
}

ok lun create a 64M
ok snapshot create a@s

# Everybody may look.
for command in "lun show" "lun show a --snapshots" "snapshot show" "pool show" "df" "tree" \
    "event show" "job show" "job wait" "server status" "freed a a@s" "lun attach a" \
    "igroup show" "mapping show" "iscsi chap show" "iscsi session show" "iscsi portal show"; do
    # shellcheck disable=SC2086
    as $nobody "" $command
    [[ $status == 0 ]] || fail "nobody may not $command: $err"
done
as $nobody "" server status --json
same "$("$probe" json may_change <<<"$out")" false

# Not change, nor see secrets, nor look where looking holds others up.
for command in "lun create b 64M" "lun clone a b" "lun delete a" "lun resize a 1G" "lun rename a b" \
    "lun comment a x" "snapshot create a@t" "snapshot delete a@s" "snapshot rename a@s t" \
    "snapshot restore a@s" "pool grow 1G" "pool check" "pool dump lines" "job cancel 1" \
    "server stop" "store get x" "store list" "lun create b 64M --dry-run" \
    "igroup create g" "igroup add g iqn.a:b" "igroup remove g iqn.a:b" "igroup delete g --dry-run" \
    "lun map a --igroup g" "lun unmap a --igroup g" "iscsi session terminate --id 1" \
    "iscsi chap set discovery --user u --secret 123456789012" "iscsi chap delete x"; do
    # shellcheck disable=SC2086
    as $nobody "" $command
    [[ $status == 1 ]] || fail "nobody: $command: status $status"
    [[ $err == *"user $nobody may look but not change"* ]] || fail "$command: $err"
done
json luns.# 2 lun show --snapshots
json pid "$server" server status

# Members of the group may, be it their first or another.
as $nobody $group lun create b 64M
same "$status" 0
as $group "" lun clone b c
same "$status" 0
as $nobody 54322 lun create d 64M
same "$status" 1
json luns.# 3 lun show

# A request of somebody who may only look has to be short.
checks=$((checks + 1))
cp "$probe" "$work/probe"
chmod 755 "$work/probe"
answer=$(setpriv --reuid=$nobody --regid=$nobody --clear-groups "$work/probe" spaces \
    "$LUNETTE_SOCKET" 70000 2>/dev/null)
[[ $answer == *EMSGSIZE* ]] || fail "a long request of nobody: $answer"

# Permissions of the socket keep people out altogether.
run server stop
wait "$server"
server_start --mode 0600
as $nobody "" lun show
same "$status" 3
[[ $err == *"Permission denied"* ]] || fail "$err"
ok lun show
finish
