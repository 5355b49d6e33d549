#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# conf/quickstart with programs that are built already: twice, after its server was killed, --stop,
# --clean; and that it writes nowhere but into its folder.

set -uo pipefail
build=${LUNETTE_BUILD:?the build folder; ctest sets it}
quickstart=${LUNETTE_SOURCE:?the source folder; ctest sets it}/conf/quickstart
work=$(mktemp -d)
folder=$work/quick
export HOME=$work/home TMPDIR=$work/tmp
mkdir "$HOME" "$TMPDIR"
failures=0

cleanup()
{
    "$quickstart" --build "$build" --clean "$folder" >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT

fail()
{
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# quick ARGUMENT...: must succeed; what it says is in $said.
quick()
{
    said=$("$quickstart" --build "$build" "$@" "$folder" 2>&1) || fail "quickstart $* ended with $?: $said"
}

# says TEXT COUNT
says()
{
    local count
    count=$(grep -cF -- "$1" <<<"$said")
    [ "$count" = "$2" ] || fail "should say \"$1\" $2 times, says it $count times: $said"
}

server_pid()
{
    cat "$folder/lunette.pid"
}

# Not a process that has ended and waits to be reaped.
is_alive()
{
    [ -n "$(readlink "/proc/$1/exe")" ]
}

quick
says "only vm-042 differs" 1
says "it is there already" 0
says "103 lines in all" 1 # one hidden point, golden, 100 clones, golden-qcow2
says "qemu-system-x86_64" 2 # over NBD and iSCSI: it is mapped before this is shown
says "# iSCSI, hosts of igroup quickstart: LUN 1" 1
says "is mapped to no igroup" 0
says "nbd-client" 1
says "nbdcopy 'nbd+unix" 1
says "<disk type='network'" 2
first=$(server_pid)
grep -q /lunette-hangup-guard.so "/proc/$first/maps" || fail "nbdkit runs without its guard"
is_alive "$first" || fail "the server does not run"
tr '\0' '\n' <"/proc/$first/cmdline" | grep -qx "key-file=$folder/lunette.key" || fail "the server has no key"

quick
says "only vm-042 differs" 1
says "it is there already" 4
says "they are there already" 1
says "it runs already, process $first" 1

# The server dies: the third run starts another one on the same pool.
kill -9 "$first"
status=0
while [ "$status" != 3 ]; do # 3: nobody answers any more
    LUNETTE_SOCKET=$folder/mgmt.sock "$build/server/ctl/lunette" server status >/dev/null 2>&1
    status=$?
done
quick
says "runs as process" 1
says "only vm-042 differs" 1
[ "$(server_pid)" != "$first" ] || fail "the server that was killed is still named"

# As it says it is to be stopped.
last=$(server_pid)
stop_line=$(sed -n 's|^ *conf/quickstart \(--stop .*[^ ]\)  *stops it,.*|\1|p' <<<"$said")
read -r -a words <<<"$stop_line"
said=$("$quickstart" "${words[@]}" 2>&1) || fail "quickstart $stop_line ended with $?: $said"
says "stopped" 1
! is_alive "$last" || fail "the server still runs after --stop"
"$build/server/ctl/lunette" pool check --pool "$folder/pool.lunette" || fail "the pool is not clean"
quick --stop
says "it does not run" 1

touch "$folder/mine"
quick --clean
[ "$(ls -A "$folder")" = mine ] || fail "--clean leaves $(ls -A "$folder")"
rm "$folder/mine"
rmdir "$folder"
quick --clean

# A folder that holds something else is not touched.
mkdir "$folder"
touch "$folder/mine"
if "$quickstart" --build "$build" "$folder" >/dev/null 2>"$work/stderr"; then
    fail "quickstart uses a folder that is not its own"
fi
grep -q "not made by quickstart" "$work/stderr" || fail "says $(cat "$work/stderr")"
[ "$(ls -A "$folder")" = mine ] || fail "quickstart leaves $(ls -A "$folder")"
rm "$folder/mine"

# A failure names the step, the reason and the log.
mkdir -p "$work/broken/server/ctl"
printf '#!/bin/sh\necho "no pool today" >&2\nexit 1\n' >"$work/broken/server/ctl/lunette"
chmod +x "$work/broken/server/ctl/lunette"
if "$quickstart" --build "$work/broken" "$folder" >/dev/null 2>"$work/stderr"; then
    fail "quickstart goes on after an error"
fi
for text in "failed: Making a pool" "status 1" "no pool today" "the log is $folder/quickstart.log"; do
    grep -qF "$text" "$work/stderr" || fail "should say \"$text\", says $(cat "$work/stderr")"
done

# Without the program, --clean asks for a server to be stopped only if there is one: the process that
# was noted may be gone, or its number somebody else's by now.
tail -f /dev/null "pool=$folder/pool.lunette" 2>/dev/null & # a command line like a server's
server=$!
echo "$server" >"$folder/lunette.pid"
if "$quickstart" --build "$work/nothing" --clean "$folder" >/dev/null 2>"$work/stderr"; then
    fail "--clean removes the pool of a server that runs"
fi
grep -q "stop process $server by hand" "$work/stderr" || fail "says $(cat "$work/stderr")"
kill "$server"
wait "$server" 2>/dev/null
for pid in "$server" $$; do
    mkdir -p "$folder"
    touch "$folder/.lunette-quickstart"
    echo "$pid" >"$folder/lunette.pid"
    "$quickstart" --build "$work/nothing" --clean "$folder" >/dev/null 2>"$work/stderr" ||
        fail "--clean wants process $pid stopped: $(cat "$work/stderr")"
    [ ! -e "$folder" ] || fail "--clean leaves $(ls -A "$folder")"
done

for outside in "$HOME" "$TMPDIR"; do
    [ -z "$(ls -A "$outside")" ] || fail "left in $outside: $(ls -A "$outside")"
done
if [ "$failures" -gt 0 ]; then
    echo "$failures failed"
    exit 1
fi
echo "all passed"
