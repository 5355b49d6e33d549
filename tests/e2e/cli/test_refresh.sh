#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Refreshes: LUNs that get the content of another one on schedule or by command, through a hook that
# masks it, and whatever happens in between.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory has no volumes"
command -v qemu-io >/dev/null || skip "no qemu-io"

# await TEXT ARGUMENT...: what lunette says has TEXT, within two minutes.
await()
{
    local text=$1 end=$((SECONDS + 120))
    shift
    checks=$((checks + 1))
    while run "$@" && [[ $out != *"$text"* ]]; do
        if ((SECONDS >= end)); then
            fail "lunette $* does not come to say \"$text\": $out"
            return
        fi
        sleep 0.1
    done
}

await_file()
{
    local end=$((SECONDS + 120))
    checks=$((checks + 1))
    until [[ -e $1 ]]; do
        ((SECONDS < end)) || {
            fail "$1 is not made"
            return
        }
        sleep 0.05
    done
}

# io NAME COMMAND: qemu-io on it, which is read-only for a read.
io()
{
    local args=(-f raw)
    [[ $2 != read* ]] || args+=(-r)
    qemu-io "${args[@]}" -c "$2" "nbd+unix:///$1?socket=$work/nbd.sock" 2>&1
}

# put LUN BYTE: all of its first MiB.
put()
{
    [[ $(io "$1" "write -P $2 0 1M") == *wrote* ]] || fail "cannot write to $1"
}

# holds NAME BYTE [OFFSET]: 4 KiB of it there.
holds()
{
    local said
    checks=$((checks + 1))
    said=$(io "$1" "read -P $2 ${3:-0} 4k" | head -n 3)
    [[ $said == *"read 4096"* && $said != *verification* ]] || fail "$1 does not hold $2: $said"
}

no_clone_is_left()
{
    ok lun show --fields name
    checks=$((checks + 1))
    [[ $out != *"refresh-"[0-9a-f]* ]] || fail "a clone is left: $out"
    json count 0 store list policy/masking/
}

mkdir "$work/hooks"
chmod 755 "$work/hooks"
# hook NAME: a program, from standard input.
hook()
{
    { echo '#!/bin/bash'; cat; } >"$work/hooks/$1"
    chmod 755 "$work/hooks/$1"
}
hook mask <<END
echo "\$1 \$LUNETTE_SOURCE for \$LUNETTE_TARGETS" >>$work/masked
qemu-io -f raw -c 'write -P 0x58 0 4k' "\$LUNETTE_URI" >/dev/null
END
hook fails <<END
qemu-io -f raw -c 'write -P 0x58 0 4k' "\$LUNETTE_URI" >/dev/null
echo "no customers found" >&2
exit 3
END
hook hangs <<END
echo "\$LUNETTE_LUN \$\$" >$work/hangs.new
mv $work/hangs.new $work/hangs
exec sleep 1000
END
hook swaps <<END
$lunette lun rename --socket $LUNETTE_SOCKET "\$LUNETTE_LUN" kept >$work/swaps 2>&1
$lunette lun create --socket $LUNETTE_SOCKET "\$LUNETTE_LUN" 8M >>$work/swaps 2>&1
END
hook deletes <<END
$lunette lun delete --yes --socket $LUNETTE_SOCKET "\$LUNETTE_LUN" >/dev/null
END
hook open <<<'exit 0'
chmod 777 "$work/hooks/open"
cat >"$work/conf" <<END
[refresh]
folder = $work/hooks
timeout = 2h
[nbd]
socket = $work/nbd.sock
END
ok pool create "$pool" 256M --name main
server_start --conf "$work/conf"
ok lun create prod 16M
ok lun create dev1 8M
ok lun create dev2 8M
put prod 1
put dev1 2

# ---- what is set ----
refused 2 "needs --from SOURCE and --schedule" refresh create dev1 --from prod
refused 1 "is no schedule" refresh create dev1 --from prod --schedule daily@25:00
refused 1 "'nope'" refresh create dev1 --from nope --schedule daily
refused 1 "'nope'" refresh create nope --from prod --schedule daily
refused 1 "from itself" refresh create prod --from prod@latest --schedule daily
refused 1 "is for a source that is the latest" refresh create dev1 --from prod --prefix a --schedule daily
refused 1 "cannot be run" refresh create dev1 --from prod --schedule daily --hook nope
refused 1 "without a folder" refresh create dev1 --from prod --schedule daily --hook /bin/true
refused 1 "may change it" refresh create dev1 --from prod --schedule daily --hook open
ok snapshot create dev1@mine
refused 1 "a refresh would replace it" refresh create dev1 --from prod --schedule daily --undo mine
refused 1 "'nope'" refresh create dev1 dev2 nope --from prod --schedule daily
json count 0 refresh show
ok refresh create dev1 dev2 --from prod --schedule daily@02:00 --dry-run
says "Would refresh 2 LUNs from prod"
json count 0 refresh show
json refreshes.0.schedule daily@02:00 refresh create dev1 dev2 --from prod --schedule daily@02:00
refused 1 "has a refresh already" refresh create dev1 --from prod --schedule daily
json count 2 refresh show
json refreshes.0.result never refresh show dev1
json refreshes.0.last null refresh show dev1
ok refresh show
says dev2
next=$("$lunette" refresh show dev1 --json | "$probe" json refreshes.0.next)
same "$(date -d "@$next" +%H:%M)" 02:00
holds dev1 2 # not before it is due

# ---- 1f Refresh rate: by command ----
ok refresh run dev1 dev2 --dry-run
says "Would put the content of prod into LUN dev1"
holds dev1 2
serial=$("$lunette" lun show dev1 --json | "$probe" json luns.0.uuid)
ok refresh run dev1 dev2
says "Put the content of prod into LUN dev1; what it held is snapshot refresh-undo"
holds dev1 1
holds dev2 1
holds dev1@refresh-undo 2
holds prod 1
json luns.0.size_bytes 16777216 lun show dev1
same "$("$lunette" lun show dev1 --json | "$probe" json luns.0.uuid)" "$serial"
json refreshes.0.result done refresh show dev1
json refreshes.0.point prod refresh show dev1
# The snapshot is replaced: there is one, of what the LUN held last.
put dev1 3
put prod 4
ok refresh run dev1
holds dev1 4
holds dev1@refresh-undo 3
json count 3 lun show dev1 --snapshots
ok snapshot restore dev1@refresh-undo
holds dev1 3
# The newest snapshot, of those that begin so.
ok refresh modify dev1 --from prod@latest --prefix nightly.
# not_run TEXT LUN...: refresh run says so, and its status is 1.
not_run()
{
    local text=$1
    shift
    checks=$((checks + 1))
    run refresh run "$@"
    [[ $status == 1 && $out == *"$text"* && $err == *"not all LUNs were refreshed"* ]] ||
        fail "refresh run $*: status $status: $out $err"
}
not_run "LUN dev1 failed: LUN 'prod' has no snapshot that begins with nightly." dev1
json refreshes.0.result failed refresh show dev1
ok refresh show dev1
says "Reason"
says "LUN 'prod' has no snapshot that begins with nightly."
ok snapshot create prod@nightly.1
put prod 5
ok snapshot create prod@nightly.2
put prod 6
ok snapshot create prod@other
ok refresh run dev1
holds dev1 5
json refreshes.0.point prod@nightly.2 refresh show dev1
json refreshes.0.source prod@latest refresh show dev1

# ---- who is not refreshed is in nobody's way ----
mkfifo "$work/hold"
qemu-io -f raw "nbd+unix:///dev2?socket=$work/nbd.sock" <"$work/hold" >/dev/null 2>&1 &
holder=$!
exec 7>"$work/hold"
await '"open": 1' lun show dev2 --json
ok refresh modify dev2 --from prod@latest --prefix nightly.
put dev1 7
not_run "LUN dev2 skipped: LUN 'dev2' is open" dev1 dev2
holds dev1 5
json refreshes.1.result skipped refresh show
await "refresh.skipped" event show
ok refresh modify dev2 --force yes
ok refresh run dev2
exec 7>&-
wait $holder
holds dev2 5
ok refresh modify dev2 --force no
ok lun modify dev2 --lock-until 1h
not_run "is locked" dev2
await refresh.failed event show
ok lun clone dev1 dev3
ok refresh delete dev2
refused 1 "has no refresh" refresh run dev2

ok __complete refresh run d
says dev1

# ---- on schedule ----
ok refresh create dev3 --from prod --schedule 1sec
await '"result": "done"' refresh show dev3 --json
holds dev3 6
ok lun rename dev3 dev4
put prod 8
await '"result": "done"' refresh show dev4 --json
end=$((SECONDS + 120))
until [[ $(io dev4 'read -P 8 0 4k') != *verification* ]] || ((SECONDS >= end)); do sleep 0.2; done
holds dev4 8
# What was due while the server was down is made up for, once, and a kill is no harm.
server_kill
server_start --refresh-folder "$work/hooks" # without a conf file
ok refresh modify dev4 --schedule monthly
holds dev4 8
ok lun delete dev4 --with-snapshots
json count 1 refresh show

# ---- 1f Oracle dev with masking: a hook ----
put prod 9
ok refresh modify dev1 --from prod --prefix "" --hook mask
ok lun create dev5 8M
ok refresh create dev5 --from prod --schedule daily --hook mask
ok refresh run dev1 dev5 --dry-run
says "changed by mask"
[[ ! -e $work/masked ]] || fail "a dry run ran the hook"
ok refresh run dev1 dev5
same "$(<"$work/masked")" "refresh prod for dev1 dev5"
for lun in dev1 dev5; do
    holds $lun 0x58
    holds $lun 9 8k
done
holds prod 9
no_clone_is_left
json refreshes.0.hook mask refresh show dev1
# One that fails leaves all as it is.
put prod 10
ok refresh modify dev1 --hook fails
not_run "ended with status 3: no customers found" dev1
holds dev1 9 8k
no_clone_is_left
await "no customers found" event show
# One that somebody else could change is not run, also if that came later.
chmod 666 "$work/hooks/mask"
not_run "may change it" dev5
chmod 755 "$work/hooks/mask"
# What has got the name of the clone meanwhile is not taken for it, and the clone goes.
ok lun create dev9 8M
ok refresh create dev9 --from prod --schedule daily --hook swaps
ok refresh run dev9
holds dev9 10 8k
ok lun show --fields name
checks=$((checks + 1))
[[ $out != *kept* && $out == *"refresh-"[0-9a-f]* ]] || fail "the wrong LUN was deleted: $out; $(<"$work/swaps")"
ok lun delete --yes "$(grep -o 'refresh-[0-9a-f]*' <<<"$out")"
ok refresh modify dev9 --hook deletes
not_run "the clone that the program worked on is gone" dev9
holds dev9 10 8k
no_clone_is_left
ok refresh delete dev9
ok lun delete --yes --with-snapshots dev9

# ---- the server ends while a hook runs ----
ok refresh modify dev1 --hook hangs
"$lunette" refresh run dev1 >/dev/null 2>&1 &
asker=$!
await_file "$work/hangs"
read -r clone sleeper <"$work/hangs"
ok lun show "$clone"
server_kill
wait $asker 2>/dev/null
kill "$sleeper"
rm "$work/hangs"
server_start --conf "$work/conf"
await "1 entry" refresh show dev1
end=$((SECONDS + 120))
while "$lunette" lun show "$clone" >/dev/null 2>&1 && ((SECONDS < end)); do sleep 0.1; done
no_clone_is_left
holds dev1 0x58
holds dev1 9 8k
# And when it stops in good order: the hook is ended, the clone goes.
"$lunette" refresh run dev1 >/dev/null 2>&1 &
asker=$!
await_file "$work/hangs"
ok server stop --yes
wait "$server"
wait $asker 2>/dev/null
server_start --conf "$work/conf"
no_clone_is_left
holds dev1 9 8k

# ---- the source is gone ----
ok refresh modify dev1 --hook none
ok lun delete prod --with-snapshots
not_run "what it was refreshed from is gone" dev1
await "lunette refresh modify dev1 --from SOURCE" event show
ok refresh show dev1
says "(gone)"
holds dev1 9 8k
ok lun create prod2 16M
put prod2 11
ok refresh modify dev1 --from prod2
ok refresh run dev1
holds dev1 11
ok refresh delete dev1 dev5
json count 0 refresh show
ok pool check
finish
