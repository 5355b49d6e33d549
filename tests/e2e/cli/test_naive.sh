#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The front ends on the engine in memory, as PLUGIN_ENGINE=lun_naive builds them: it is served, and what that
# engine has not is refused, not done wrong. usage: test_naive.sh LUNETTE PLUGIN PROBE ENGINE NBD_TOOL

. "$(dirname "$0")/lib.sh"
command -v qemu-io >/dev/null || skip "no qemu-io"

# io LUN COMMAND...
io()
{
    local lun=$1 command args=()
    shift
    for command; do args+=(-c "$command"); done
    checks=$((checks + 1))
    qemu-io -f raw "${args[@]}" "nbd+unix:///$lun?socket=$work/nbd.sock" >"$work/io" 2>&1 ||
        fail "qemu-io: $(<"$work/io")"
    ! grep -q 'verification failed' "$work/io" || fail "$lun: $(<"$work/io")"
}

"$5" make "$pool" $((256 << 20)) || fail "no pool was made"
server_start
ok lun create a 64M
io a 'write -P 5 0 1M' flush
ok lun clone a b
io b 'read -P 5 0 1M' 'write -P 6 64k 64k' 'read -P 6 64k 64k'
io a 'read -P 5 0 1M' # not the clone's
ok lun clone a leased --expire 1s # by the policy, which asks the engine what there is
for ((i = 0; i < 200; i++)); do
    run lun show leased
    [[ $status == 0 ]] || break
    sleep 0.1
done
refused 1 "leased" lun show leased
json count 2 lun show

refused 1 "has no dry runs" lun create c 64M --dry-run
json count 2 lun show # none was made
ok volume create v 128M
refused 1 "has no quotas" quota rule create v --type user --target '*' --disk-limit 1G
ok lun delete a
ok server stop
wait "$server"
server=
finish
