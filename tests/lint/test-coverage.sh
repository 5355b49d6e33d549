#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tests/lib/coverage_table.py on reports made here.

set -u
table=$(dirname "$(readlink -f "$0")")/../lib/coverage_table.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect STATUS TEXT ARGUMENT...
expect()
{
    local wanted=$1 text=$2 out status
    shift 2
    out=$(python3 "$table" "$@" "$work/report" 2>&1)
    status=$?
    if [[ $status != "$wanted" || $out != *"$text"* ]]; then
        failures=$((failures + 1))
        printf 'FAILED: %s: status %s, not %s, or no "%s" in:\n%s\n' "$*" "$status" "$wanted" "$text" "$out"
    fi
}

# file NAME LINE:COUNT...
file()
{
    local name=$1 line comma=
    shift
    printf '{"file": "%s", "lines": [' "$name"
    for line; do
        printf '%s{"line_number": %s, "count": %s}' "$comma" "${line%:*}" "${line#*:}"
        comma=,
    done
    printf ']}'
}

# Three of four lines of lun ran: line 2 of a.c in one of two objects.
{
    printf '{"files": ['
    file lun/x/a.c 1:5 2:0
    printf ,
    file lun/x/a.c 1:0 2:1
    printf ,
    file lun/y/b.c 7:1 8:0
    printf ,
    file server/c.c 1:0 2:0 3:0 5:0
    printf ']}'
} >"$work/report"

expect 0 "75.0 %"
expect 0 "all " --least lun=75 --least server=0
expect 1 "of lun/ 75.00 % ran, at least 75.1 % are to" --least lun=75.1
expect 1 "of server/ 0.00 % ran" --least lun=75 --least server=1
expect 0 "" --least lun/x=100
expect 1 "of lu/ 0.00 %" --least lu=1 # no folder, not one that begins so
expect 0 "" --files "$work/files"
grep -q '^server/c.c .* 0.0 % 1-3 5$' "$work/files" || { failures=$((failures + 1)); cat "$work/files"; }
grep -q '^lun/y/b.c .* 50.0 % 8$' "$work/files" || { failures=$((failures + 1)); cat "$work/files"; }
echo "$failures failures"
[[ $failures == 0 ]]
