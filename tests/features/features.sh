#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The rows of README.md that are commands, listings and mappings, as an admin meets them.

. "$(dirname "$0")/../e2e/cli/lib.sh"

command -v qemu-io >/dev/null || skip "no qemu-io"

# fill LUN PATTERN OFFSET LENGTH
fill()
{
    checks=$((checks + 1))
    qemu-io -f raw -c "write -P $2 $3 $4" -c flush "nbd+unix:///$1?socket=$work/nbd.sock" >"$work/io" 2>&1 ||
        fail "qemu-io: $(<"$work/io")"
}

# fits: no line of $out is wider than a plain terminal of an admin.
fits()
{
    checks=$((checks + 1))
    awk 'length > 100 { exit 1 }' <<<"$out" || fail "wider than 100 columns: $out"
}

ok pool create "$pool" 2G --name main
server_start

echo "1a: Cost"
ok lun create golden 64M
fill golden 5 0 32M
ok lun clone golden --count 3 --name 'dev-%d'
json mapped_bytes 134217728 pool show
json savings_ratio 4.0 pool show
ok pool show
says "4.00:1"
json entries.0.savings_ratio 4.0 df

echo "1a: As many copies as wanted"
fill dev-1 9 0 4M
json luns.0.own_bytes 4194304 lun show dev-1
ok lun redeploy golden dev-1
json luns.0.own_bytes 0 lun show dev-1

echo "1a: Fast VM provisioning; 1f: Volume clone copies permissions"
ok igroup create hosts iqn.2026-11.test:host1
ok igroup create developers iqn.2026-11.test:dev1
ok lun map golden --igroup hosts
ok lun clone golden --count 20 --name 'vm-%02d' --igroup developers
json count 20 mapping show --igroup developers
json mappings.0.lun vm-00 mapping show vm-00
json mappings.0.igroup developers mapping show vm-00
json count 1 mapping show golden # and no developer has the parent
ok lun clone golden plain
json count 0 mapping show plain # never the parent's mappings
ok lun map dev-1 --igroup developers # 1a: Clones are first-class

echo "1b: Sub-LUN clone"
ok lun create files 64M
fill files 6 8M 4M
fill golden 7 0 1M
ok lun clone golden files --range 0:16384:2048,2048:0:4096
says "Copied 6144 blocks of golden into files: 3 MiB of data"
checks=$((checks + 1))
qemu-io -f raw -c 'read -P 7 8M 1M' -c 'read -P 6 9M 3M' -c 'read -P 5 0 2M' \
    "nbd+unix:///files?socket=$work/nbd.sock" >"$work/io" 2>&1 || fail "qemu-io"
grep -q 'verification failed' "$work/io" && fail "a range is not where it should be: $(<"$work/io")"
json luns.0.mapped_bytes $(((4 + 2) << 20)) lun show files

echo "1d: Naming, Locking, Not removed with the clone"
ok volume create db 512M
ok lun create db/data 64M
fill db/data 1 0 8M
ok volume clone create db test-db
json snapshots.0.owners test-db snapshot show db
ok snapshot show db
says "db@clone_test-db."
snapshot=$("$probe" json snapshots.0.name < <("$lunette" snapshot show db --json))
refused 1 "lunette snapshot delete $snapshot --defer" snapshot delete "$snapshot"
refused 1 "lunette volume clone split start test-db" snapshot delete "$snapshot" --dry-run
ok volume delete test-db --with-contents
json count 1 snapshot show db
json snapshots.0.owners '' snapshot show db
json snapshots.0.name "$snapshot" snapshot show --orphaned
ok snapshot create db@by-hand # nobody's leftover
json count 1 snapshot show db --orphaned
refused 1 "is no volume" snapshot show db/data --orphaned
ok volume clone create "$snapshot" first-db
json count 0 snapshot show --orphaned
ok volume clone create db@by-hand second-db
ok volume clone create db third-db
third=$("$probe" json snapshots.2.name < <("$lunette" snapshot show db --json))
refused 1 "no clone of another" volume delete db --with-contents --delete-backing-snapshot
ok volume delete third-db --with-contents --delete-backing-snapshot --dry-run
json count 3 snapshot show db
ok volume delete third-db --with-contents --delete-backing-snapshot
json count 2 snapshot show db
refused 1 "has no snapshot" snapshot delete "$third"
ok volume clone create db@by-hand fourth-db
ok volume clone split start second-db --delete-backing-snapshot
json count 2 snapshot show db # until the other one is split too
ok volume clone split start fourth-db
json count 1 snapshot show db
ok volume delete first-db --with-contents
json count 1 snapshot show db
ok volume create k 64M
ok volume clone create k c
kept=$("$probe" json snapshots.0.name < <("$lunette" snapshot show k --json))
ok snapshot lock "$kept" --until 1h
refused 1 "locked" volume delete c --with-contents --delete-backing-snapshot
ok volume show c # nothing of it was done
ok volume delete c --with-contents
ok volume delete second-db --with-contents
ok volume delete fourth-db --with-contents

echo "1d: Do not delete the original snapshot"
fill db/data 2 0 8M
ok snapshot restore "$snapshot" # a client that is just going is waited for
json luns.0.own_bytes 0 lun show db/data
fill db/data 2 0 8M
json freed_bytes '*' snapshot delete "$snapshot" --dry-run
[[ $("$probe" json freed_bytes <<<"$out") -ge 8388608 ]] || fail "the cost is not told: $out"
json count 1 snapshot show db

echo "1e: Space of snapshot and clone, du -k, df"
json luns.0.snapshot_bytes 8388608 lun show db/data
json volumes.0.snapshot_bytes 8388608 volume show db
json freed_data_bytes 8388608 freed "db/data@${snapshot#db@}"
json entries.1.kind volume df
json entries.1.name db df
json entries.1.size_bytes 536870912 df
[[ $("$probe" json entries.1.used_bytes <<<"$out") -ge 16777216 ]] || fail "df: $out"

echo "1e: LUN clone inherits guarantee"
ok lun create reserved 1200M --space-reserve yes
refused 1 "are needed" lun clone reserved copy
refused 1 "--no-reserve" lun clone reserved copy
refused 1 "are available" lun clone reserved copy --dry-run
ok lun clone reserved copy --no-reserve
json luns.0.reserved false lun show copy

echo "1e: dry runs say what they would change"
ok volume create big 300M --space-guarantee volume --dry-run
says "300 MiB"
ok volume resize db +100M --dry-run
says "612 MiB"
ok volume modify db --space-guarantee none --dry-run
says "guarantee"
ok clone create db/data=a golden=b --dry-run
says "Would clone db/data to a"
says "Would clone golden to b"
ok snapshot restore "$snapshot" --dry-run
says "Would put volume db back to $snapshot"
says "db/data"
[[ $out != *null* ]] || fail "$out"
json luns.0.snapshot_bytes 8388608 lun show db/data # and it did not

echo "listings fit"
for listing in 'lun show' 'volume show' 'snapshot show' 'df' 'tree' 'qtree show' 'quota report' \
    'igroup show' 'mapping show' 'volume clone show' 'pool show' 'explain space db'; do
    # shellcheck disable=SC2086 # words
    ok $listing
    fits
done
ok volume create unbound
ok volume show unbound --fields name,size
[[ $out =~ unbound\ +- ]] || fail "a volume without a size: $out"

echo "examples name fields that there are"
examples=0
while read -r program example; do
    examples=$((examples + 1))
    # shellcheck disable=SC2086 # words
    [[ $program == lunette ]] && eval run "$example"
    [[ $status != 2 ]] || fail "lunette $example: $err"
done < <("$lunette" __manual | sed 's/\\//g' | grep '^lunette .*--fields')
[[ $examples -gt 3 ]] || fail "$examples examples with --fields"
json errors 0 pool check
ok server stop
wait "$server"
server=
finish
