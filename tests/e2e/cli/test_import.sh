#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A LUN that an import fills is marked until it is whole, whatever is killed; what may be done with it
# meanwhile, and how it becomes whole.

. "$(dirname "$0")/lib.sh"
[[ $engine == lun ]] || skip "the engine in memory keeps nothing"

slow=
stop_slow()
{
    [[ -z $slow ]] || { kill "$slow"; wait "$slow"; } 2>/dev/null
    slow=
}
trap 'stop_slow; cleanup' EXIT

# The source gives each block only after a while. A new one each time: nbdkit's delay filter may abort
# when a client is killed that it lets wait.
slow_start()
{
    stop_slow
    rm -f "$work/slow.pid" "$work/slow.sock"
    nbdkit --foreground --unix "$work/slow.sock" --pidfile "$work/slow.pid" --filter=delay \
        pattern size=40M rdelay=60 >/dev/null 2>&1 &
    slow=$!
    until [[ -S $work/slow.sock && -s $work/slow.pid ]]; do :; done
}

# importer NAME ARGUMENT...: one that is on its way, as $importer: it has the LUN open.
importer()
{
    slow_start
    "$lunette" lun import "nbd+unix:///?socket=$work/slow.sock" "$@" >"$work/importer" 2>&1 &
    importer=$!
    until [[ $(opened "$1") -gt 0 && (${2:-} != --resume || -e ${3:-}) ]]; do
        kill -0 "$importer" 2>/dev/null || {
            fail "the importer has ended: $(<"$work/importer")"
            return
        }
    done
}

# How many clients have it open; nothing if it is not there.
opened()
{
    "$lunette" lun show "$1" --json --fields name,open 2>/dev/null | "$probe" json luns.0.open 2>/dev/null
}

# Killed as kill -9 does it, with the process that copies, which dies with it.
importer_kill()
{
    kill -9 "$importer"
    wait "$importer" 2>/dev/null
    until [[ $(opened "$1") == 0 ]]; do :; done
}

await()
{
    until "$lunette" event show --json | grep -q "$1"; do :; done
    checks=$((checks + 1))
}

ok pool create "$pool" 512M
server_start
slow_start
truncate -s 40M "$work/raw"
head -c 3000000 /dev/urandom | dd of="$work/raw" bs=64k seek=100 conv=notrunc status=none
ok igroup create web iqn.2026-11.com.example:web
ok volume create v
ok lun create whole 40M

# What one that is on its way keeps others from.
importer cut
json luns.0.importing true lun show cut
json luns.0.importing false lun show whole
ok lun show
says "cut is not whole: an import is filling it, or was interrupted."
not_whole="LUN 'cut' is not whole"
refused 1 "$not_whole" lun clone cut twin
refused 1 "$not_whole" lun clone cut twin --dry-run
refused 1 "$not_whole" clone create whole=a cut=b
refused 1 "$not_whole" snapshot create cut@s
refused 1 "$not_whole" lun map cut --igroup web
refused 1 "$not_whole" lun redeploy cut whole --yes
refused 1 "$not_whole" lun redeploy whole cut --yes
refused 1 "$not_whole" lun clone cut whole --range 0:0:8
refused 1 "$not_whole" lun clone whole cut --range 0:0:8
refused 1 "cut is not whole" lun export cut "$work/copy"
refused 1 "cut is not whole" lun attach cut
checks=$((checks + 3))
nbdinfo --size "nbd+unix:///cut?socket=$work/nbd.sock" >/dev/null 2>&1 && fail "a client got what is not whole"
nbdinfo --size "nbd+unix:///cut!import-999?socket=$work/nbd.sock" >/dev/null 2>&1 && fail "an id of no import"
nbdinfo --list "nbd+unix:///?socket=$work/nbd.sock" 2>/dev/null | grep -q 'export="cut"' && fail "it is listed"
refused 1 "another import is filling LUN 'cut' now" lun import "$work/raw" cut
refused 1 "an import is filling LUN 'cut' now" lun modify cut --importing no
refused 1 "open" lun delete cut --yes

# Killed: still marked, also after a crash of the server; then an event, and only one.
importer_kill cut
json luns.0.importing true lun show cut
await '"lun.import.interrupted"'
server_kill
server_start
json luns.0.importing true lun show cut
refused 1 "$not_whole" lun clone cut twin
await '"lun.import.interrupted"'
same "$("$lunette" event show --json | grep -o '"lun.import.interrupted"' | wc -l)" 1

# It is begun anew, with other bytes and another size; nothing of the first one is left.
json replaces true lun import "$work/raw" cut --dry-run
json luns.0.importing true lun show cut
ok lun import "$work/raw" cut
json luns.0.importing false lun show cut
await '"lun.imported"'
ok lun export cut "$work/copy"
checks=$((checks + 1))
cmp "$work/raw" "$work/copy" || fail "what was begun anew differs"
ok lun clone cut twin
ok lun map cut --igroup web
refused 1 "cannot import $work/raw as LUN cut: " lun import "$work/raw" cut

# Resumed: the same LUN.
importer again --resume "$work/resume"
id=$("$lunette" lun show again --json | "$probe" json luns.0.id)
importer_kill again
stop_slow
rm -f "$work/slow.sock"
nbdkit --foreground --unix "$work/slow.sock" --pidfile "$work/slow.pid" pattern size=40M >/dev/null 2>&1 &
slow=$!
until [[ -S $work/slow.sock ]]; do :; done
[[ -e $work/resume ]] || fail "no note of how far it was"
ok lun import "nbd+unix:///?socket=$work/slow.sock" again --resume "$work/resume" --verify
json luns.0.id "$id" lun show again
json luns.0.importing false lun show again

# Ctrl-Z stops the importer and its copying child, fg lets both go on.
stopped()
{
    [[ $(<"/proc/$1/stat") =~ \)\ T\  ]]
}
stop_slow
rm -f "$work/slow.sock"
slow_start
importer paused
child=$(pgrep -P "$importer")
kill -TSTP "$importer"
until stopped "$importer"; do :; done
checks=$((checks + 2))
stopped "$child" || fail "the child copies on"
kill -CONT "$importer"
while stopped "$importer" || stopped "$child"; do :; done
kill -TERM "$importer"
wait "$importer"
same $? 1
json count 0 lun show 'paused*'

# Deleted; accepted as it is; a resume of what is gone or whole.
stop_slow
rm -f "$work/slow.sock"
slow_start
importer gone --resume "$work/resume"
importer_kill gone
ok lun delete gone --yes
refused 1 "" lun import "nbd+unix:///?socket=$work/slow.sock" gone --resume "$work/resume"
rm -f "$work/resume"
importer part --resume "$work/resume"
importer_kill part
refused 2 "--importing no" lun modify part --importing yes
refused 2 "without other options" lun modify part --importing no --owner me
ok lun modify part --importing no --dry-run
json luns.0.importing true lun show part
ok lun modify part --importing no
json luns.0.importing false lun show part
ok lun clone part part2
refused 1 "it is not being imported" lun modify part --importing no
slow_start
refused 1 "is whole" lun import "nbd+unix:///?socket=$work/slow.sock" part --resume "$work/resume"
rm -f "$work/resume"

# In a volume: a snapshot says so, and is no clone while the LUN is not whole.
importer v/cut
json not_whole.0 v/cut snapshot create v@s
refused 1 "LUN 'v/cut' is not whole" volume clone create v w
refused 1 "LUN 'v/cut' is not whole" lun clone v/cut@s part3
refused 1 "LUN 'v/cut' is not whole" volume clone create v@s w
importer_kill v/cut
ok lun rename v/cut v/cut2
json luns.0.importing true lun show v/cut2
ok pool check
ok lun delete v/cut2 --yes
finish
