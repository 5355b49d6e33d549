#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# usage: test_skip.sh
#
# Who may not mount, or is not root, gets no image of a guest: a skip with its reason, no failure.

here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d /tmp/lunette-guest-XXXXXX)
trap 'rm -rf "$work"' EXIT
failures=0

# skips REASON COMMAND...
skips()
{
    local reason=$1 out status=0
    shift
    out=$("$@" "$here/image.sh" "$work/image" 2>&1) || status=$?
    [[ $status == 77 && $out == "SKIP: "*"$reason"* ]] && return
    echo "FAILED: $*: status $status: $out"
    failures=$((failures + 1))
}

if [[ $(id -u) == 0 ]]; then
    chmod 755 "$work"
    skips "may not mount" setpriv --bounding-set -sys_admin --inh-caps -sys_admin
    skips "needs root" setpriv --reuid 65534 --clear-groups
else
    skips "needs root" env
fi
[[ $failures == 0 ]]
