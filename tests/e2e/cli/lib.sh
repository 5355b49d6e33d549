# SPDX-License-Identifier: BSD-3-Clause
#
# For the scripts beside it: a server of their own in a folder of their own, and checks that count.
# Sourced with the script's arguments: LUNETTE PLUGIN PROBE ENGINE.

set -u
lunette=$1 plugin=$2 probe=$3 engine=$4
work=$(mktemp -d /tmp/lunette-cli-XXXXXX)
export LUNETTE_SOCKET=$work/mgmt.sock
unset XDG_RUNTIME_DIR
pool=$work/pool
server=
checks=0 failures=0

cleanup()
{
    [[ -z $server ]] || { kill -9 "$server" && wait "$server"; } 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

skip()
{
    echo "SKIP: $*"
    exit 77
}

fail()
{
    failures=$((failures + 1))
    local at=1
    while [[ ${BASH_SOURCE[at]} == */lib.sh && -n ${BASH_SOURCE[at + 1]:-} ]]; do at=$((at + 1)); done
    echo "FAILED (${BASH_SOURCE[at]##*/}:${BASH_LINENO[at - 1]}): $*"
}

# Runs lunette; what it said is in $out and $err, how it ended in $status.
run()
{
    out=$("$lunette" "$@" 2>"$work/err" </dev/null)
    status=$?
    err=$(<"$work/err")
}

# ok ARGUMENT...: it is done, and quietly.
ok()
{
    checks=$((checks + 1))
    run "$@"
    [[ $status == 0 ]] || fail "lunette $*: status $status: $err"
    [[ -z $err ]] || fail "lunette $*: said $err"
}

# refused STATUS TEXT ARGUMENT...: it ends with STATUS and says TEXT, and nothing on standard output.
refused()
{
    local wanted=$1 text=$2
    shift 2
    checks=$((checks + 1))
    run "$@"
    [[ $status == "$wanted" ]] || fail "lunette $*: status $status, not $wanted: $err"
    [[ $err == *"$text"* ]] || fail "lunette $*: says not \"$text\" but: $err"
    [[ $err == "lunette: "* || " $* " == *" --json "* ]] || fail "lunette $*: its error begins otherwise: $err"
    [[ -z $out ]] || fail "lunette $*: prints $out"
}

# json PATH VALUE ARGUMENT...: with --json it is done, prints JSON, and that has VALUE at PATH.
json()
{
    local path=$1 wanted=$2 found
    shift 2
    ok "$@" --json
    found=$("$probe" json "$path" <<<"$out" 2>&1) || fail "lunette $* --json: $found: $out"
    [[ $wanted == '*' || $found == "$wanted" ]] || fail "lunette $* --json: $path is $found, not $wanted"
}

# says TEXT: the last one's output has it.
says()
{
    checks=$((checks + 1))
    [[ $out == *"$1"* ]] || fail "no \"$1\" in: $out"
}

same()
{
    checks=$((checks + 1))
    [[ $1 == "$2" ]] || fail "$1 is not $2"
}

server_start()
{
    "$lunette" serve --foreground --plugin "$plugin" --pool "$pool" "$@" 2>>"$work/log" &
    server=$!
    "$lunette" server status --wait 2m >/dev/null || {
        cat "$work/log"
        echo "FAILED: no server"
        exit 1
    }
}

server_kill()
{
    kill -9 "$server"
    wait "$server" 2>/dev/null
    server=
}

finish()
{
    [[ $failures == 0 || ! -s $work/log ]] || tail -n 20 "$work/log"
    echo "$checks checks, $failures failed"
    [[ $failures == 0 && $checks -gt 0 ]]
    exit
}
