# SPDX-License-Identifier: BSD-3-Clause
#
# What the scripts here share. A script is started as `SCRIPT NBD_TOOL PLUGIN`; it calls
# run_tests FUNCTION..., each of which runs in a directory of its own ($dir) and fails by `fail`,
# or by any command that fails.

set -euo pipefail
nbd_tool=$1
plugin=$2

need()
{
    local program
    for program; do
        if ! command -v "$program" >/dev/null; then
            echo "SKIP: no $program"
            exit 77
        fi
    done
}

fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

# same WHAT A B
same()
{
    [[ $2 == "$3" ]] || fail "$1: '$2' is not '$3'"
}

# refused COMMAND...: it must fail.
refused()
{
    if "$@" >"$dir/refused.out" 2>&1; then
        fail "went through: $*"
    fi
}

verb()
{
    "$nbd_tool" verb "$dir/verbs" "$*"
}

# uri EXPORT
uri()
{
    echo "nbd+unix:///$1?socket=$dir/nbd"
}

# serve FUNCTION [NBDKIT-ARGUMENT...]: options go before the plugin, parameters behind it.
serve()
{
    local function=$1 options=() parameters=() arg
    shift
    for arg; do
        if [[ $arg == -* ]]; then options+=("$arg"); else parameters+=("$arg"); fi
    done
    "$nbd_tool" serve "$dir" "${options[@]}" "$plugin" pool="$dir/pool" mgmt-socket="$dir/verbs" \
        "${parameters[@]}" -- bash "$0" "$nbd_tool" "$plugin" "$function" "$dir"
}

# Data that does not compress and has holes: random_file FILE MIB
random_file()
{
    truncate -s "$2M" "$1"
    local at
    for ((at = 0; at < $2; at += 4)); do
        dd if=/dev/urandom of="$1" bs=1M count=2 seek="$at" conv=notrunc status=none
    done
}

# A function that `serve` runs beside the server, or all the tests.
run_tests()
{
    if [[ $# == 0 ]]; then
        return
    fi
    if [[ -n ${inner:-} ]]; then
        dir=$inner_dir
        "$inner"
        exit 0
    fi
    local test
    for test; do
        dir=$(mktemp -d "${TMPDIR:-/tmp}/lunette-nbd-XXXXXX")
        trap 'rm -rf "$dir"' EXIT
        "$nbd_tool" make "$dir/pool" $((512 << 20))
        "$test"
        echo "passed: $test"
        rm -rf "$dir"
    done
}

inner=${3:-}
inner_dir=${4:-}
