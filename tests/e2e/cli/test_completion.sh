#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# conf/completion in a bash: words, options, and names that the server knows.

. "$(dirname "$0")/lib.sh"

PATH=$(dirname "$lunette"):$PATH
. "$LUNETTE_SOURCE/conf/completion"
compopt()
{
    :
}

# completes "LINE" WORD...: these come next.
completes()
{
    local line=$1
    shift
    checks=$((checks + 1))
    read -r -a COMP_WORDS <<<"$line"
    [[ $line != *' ' ]] || COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _lunette
    [[ ${COMPREPLY[*]} == "$*" ]] || fail "\"$line\" completes to ${COMPREPLY[*]}, not $*"
}

completes "lunette sn" snapshot
completes "lunette snapshot re" rename restore
completes "lunette tree --d" --dot
cd "$work" || exit 1
touch image.qcow2
completes "lunette lun import im" image.qcow2 # no server, no names: files
ok pool create "$pool" 256M
server_start
ok lun create vm1 64M
ok lun create vm2 64M
ok lun create other 64M
ok snapshot create vm1@s
completes "lunette lun delete vm" vm1 vm2
completes "lunette lun clone vm1" vm1 vm1@s
completes "lunette snapshot delete vm1@" vm1@s
completes "lunette lun delete o" other
completes "lunette qos class modify b" background
completes "lunette qos set vm1 d" default
completes "lunette qos set o" other
completes "lunette top vm" vm1 vm2
finish
