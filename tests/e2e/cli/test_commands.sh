#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every command: its help, its success in words and in JSON.

. "$(dirname "$0")/lib.sh"

# ---- help ----
ok help
listed=$(awk '/^  [a-z]/ { sub(/^  /, ""); sub(/  .*/, ""); print }' <<<"$out")
[[ $(wc -l <<<"$listed") -gt 30 ]] || fail "help lists few commands: $listed"
while read -r command; do
    # shellcheck disable=SC2086
    ok $command --help
    says "usage: lunette $command"
    says "example:"
    says "--json"
    # shellcheck disable=SC2086
    ok help $command
    says "usage: lunette $command"
done <<<"$listed"
ok help lun
says "lun create"
ok --version
ok --help

# ---- pool ----
ok pool create "$pool" 1G --dry-run
[[ ! -e $pool ]] || fail "a dry run made the pool"
ok pool create "$pool" 1G --name main
json name main pool show --pool "$pool"
server_start
json name main pool show
json health healthy pool show --fields health
json '' '*' pool show
ok pool show --units M
says "MiB"
says "Savings (mapped : data): 1.00:1"
json errors 0 pool check
ok pool check
says " 0 errors"
json lines.# '*' pool dump superblock
ok pool dump lines

# ---- LUNs ----
ok lun create golden 1.5G --comment 'the first'
says "Created LUN golden of 1.5 GiB"
json size_bytes 67108864 lun create --size 64M small
json dry_run true lun create never 1G --dry-run
json count 2 lun show
json luns.0.size_bytes 1610612736 lun show golden
json luns.0.comment 'the first' lun show golden --fields comment,name
ok lun show
says "2 entries were displayed."
ok lun show 's*' --fields name,size --units B
same "$out" $'Name         Size\nsmall  67108864 B\n1 entry was displayed.'
json count 0 lun show 'none*'

ok lun clone golden vm1
says "Cloned golden to vm1."
json count 12 lun clone golden --count 12 --name 'vm-%03d' --first 5
json count 12 lun show 'vm-*'
json luns.0.name vm-005 lun show 'vm-*'
json luns.0.origin golden lun show vm-016
ok volume file clone create -source-path golden -destination-path ontap1
ok lun clone create golden ontap2
json count 2 lun show 'ontap*'
json shared_bytes '*' lun clone golden x --dry-run
json count 3 lun clone golden --count 3 --name 'x%d' --dry-run
json count 0 lun show 'x*'

json size_bytes 2147483648 lun resize small 2G
json size_bytes 3221225472 lun resize small +1G
json cut_bytes 0 lun resize small 1G --force --dry-run
json size_bytes 1073741824 lun resize small 1G --force
json '' '*' lun rename small tiny
json luns.0.name tiny lun show tiny
json '' '*' lun comment tiny 'né à l’heure'
json luns.0.comment 'né à l’heure' lun show tiny
json uri '*' lun attach tiny
json commands.qemu '*' lun attach tiny
ok lun attach tiny
says "qemu-system-x86_64"
says "nbd-client"
says "nbdcopy"
says "<disk type='network'"

# ---- snapshots ----
ok snapshot create golden@monday
says "Created snapshot golden@monday."
json '' '*' snapshot create golden tuesday --comment two
json count 2 snapshot show
json snapshots.1.name golden@tuesday snapshot show golden --fields name
json luns.# 3 lun show golden --snapshots
ok lun clone golden@monday from-monday
json luns.0.origin golden@monday lun show from-monday
json '' '*' snapshot rename golden@tuesday wednesday
ok snapshot rename golden@wednesday golden@friday
json snapshots.1.name golden@friday snapshot show
json lost_bytes 0 snapshot restore golden@friday --dry-run
json '' '*' snapshot restore golden@friday
json goes.0 golden@friday snapshot delete golden@friday --dry-run
json count 2 snapshot show
json '' '*' snapshot delete golden@friday
json count 1 snapshot show

# ---- lineage and space ----
ok tree
says "golden"
says "vm-016"
json lines.# '*' tree
ok tree --help
says "both go on from there"
ok tree --dot
says "digraph lunette {"
ok df
says "Savings"
json entries.0.kind pool df
json freed_bytes '*' freed golden golden@monday vm1
ok freed vm1
says "If deleted: vm1"
says "Frees "
ok freed golden golden@monday vm1
same "$(head -n 4 <<<"$out")" $'If deleted together:\n  golden\n  golden@monday\n  vm1'
ok snapshot delete golden@monday --dry-run
same "$(grep -c golden@monday <<<"$out")" 1

# ---- events and jobs ----
json events.0.id 1 event show
ok event show --fields name,object
says "lun.created"
json count 0 event show --after 1000000
ok job wait --timeout 1m
json count 0 job show
json '' '*' job wait

# ---- delete ----
json goes.# 2 lun delete golden --with-snapshots --dry-run
json luns.# 1 lun show golden
ok lun delete golden --with-snapshots
says "Deleted LUN golden."
json luns.0.name vm1 lun show vm1
json deleted.# 2 lun delete vm1 tiny

# Patterns, as lun show has them; each LUN once.
for name in ci-1 ci-2 ci-30 other; do ok lun create "$name" 1M; done
json goes.# 3 lun delete 'ci-*' ci-1 --dry-run
json goes.# 2 lun delete 'ci-?' --dry-run
json goes.# 4 lun delete other 'ci-[1-3]*' 'ci-*' --dry-run
json freed_bytes "$("$lunette" freed ci-1 ci-2 ci-30 --json | "$probe" json freed_bytes)" lun delete 'ci-*' --dry-run
refused 1 "no LUN matches none-*" lun delete 'ci-*' 'none-*'
json count 3 lun show 'ci-*'
ok snapshot create ci-2@s
refused 1 "'ci-2' has 1 snapshot" lun delete 'ci-*'
json count 3 lun show 'ci-*'
json deleted.# 4 lun delete 'ci-*' --with-snapshots
json count 0 lun show 'ci-*'
ok lun delete other

# A job that is over counts as waited for; what was never one is refused.
ok lun create job 1M
line=$("$lunette" lun show job --json | "$probe" json luns.0.line)
ok snapshot create job@s
snapshot=$("$lunette" lun show job@s --json | "$probe" json luns.0.id)
if [[ $engine == lun ]]; then
    refused 1 "there is no job 999999999, and was none" job wait 999999999
    refused 1 "there is no job $line, and was none" job wait "$line"
    refused 1 "there is no job $snapshot, and was none" job wait "$snapshot"
fi
ok lun delete job --with-snapshots
ok job wait
ok job wait "$line"

# ---- server ----
json pid "$server" server status
ok server status
says "healthy"
json pid "$server" server stop
wait "$server"
same "$?" 0
server=
[[ ! -e $LUNETTE_SOCKET && ! -e $LUNETTE_SOCKET.lock ]] || fail "the socket was left behind"

# ---- offline ----
if [[ $engine == lun ]]; then
    json errors 0 pool check --pool "$pool"
    ok pool dump objects --pool "$pool"
    json size_bytes '*' pool grow 2G --pool "$pool" --dry-run
    would=$("$probe" json size_bytes <<<"$out")
    json file_bytes 1073741824 pool show --pool "$pool"
    json size_bytes "$would" pool grow +1G --pool "$pool" # whole allocation groups
    json file_bytes 2147483648 pool show --pool "$pool"
    server_start
    ok pool grow +1G
    json file_bytes 3221225472 pool show
    json count 15 lun show
fi
finish
