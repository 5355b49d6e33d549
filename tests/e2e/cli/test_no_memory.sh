#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The n-th allocation of the program fails, n = 0, 1, 2, ..., once or from there on, its libraries'
# included: it ends by itself, says what is so, and leaves no file that looks whole and is not.
# LUNETTE PLUGIN PROBE ENGINE SHIM.
. "$(dirname "$0")/lib.sh"
shim=$5
tries=0 lacking=0

# starve EACH PLUS CHECK ARGUMENT...: each EACH-th allocation. CHECK is called after each try, with
# $status and $out; what is wrong it tells by fail.
starve()
{
    local each=$1 plus=$2 check=$3 n=0
    shift 3
    while :; do
        rm -f "$work/told"
        out=$(timeout 60 env LUNETTE_NO_MEMORY="$n$plus" LUNETTE_NO_MEMORY_TOLD="$work/told" \
            sh -c 'LD_PRELOAD=$0 exec "$@"' "$shim" "$lunette" "$@" 2>"$work/err" </dev/null)
        status=$?
        err=$(<"$work/err")
        checks=$((checks + 1)) tries=$((tries + 1))
        [[ $status -lt 124 ]] || fail "lunette $*, allocation $n$plus: ended by $status: $err"
        [[ $status == 0 || -n $err ]] || fail "lunette $*, allocation $n$plus: status $status and nothing said"
        [[ $status == 0 || -z $out ]] || fail "lunette $*, allocation $n$plus: status $status, and prints ${out:0:300}"
        [[ $status == 0 ]] || lacking=$((lacking + 1))
        $check "$n$plus" "$@"
        [[ -e $work/told && $failures -lt 10 ]] || break
        n=$((n + each))
    done
    [[ $status == 0 ]] || fail "lunette $*: with all memory: $err"
}

# What is available changes by itself with each checkpoint.
lasting()
{
    sed 's/"available_bytes": [0-9]*/"available_bytes": N/' <<<"$1"
}

same_output()
{
    [[ $status != 0 || $(lasting "$out") == "$(lasting "$expected")" ]] || fail "$2 $3, allocation $1: prints ${out:0:300}"
}

# A clone is there if that was said, and is not if it was refused; what may be so is asked for.
clone_is_told()
{
    local there=no
    "$lunette" lun delete c1 --force &>/dev/null && there=yes
    [[ $status != 0 || $there == yes ]] || fail "lun clone, allocation $1: done, it says, and is not"
    [[ $there == no || $status == 0 || $err == *"may be done"* || $err == *"until now is done"* || $err == *'"no memory"'* ]] ||
        fail "lun clone, allocation $1: is done, and it says $err"
}

imported_is_whole()
{
    if [[ $status == 0 ]]; then
        "$lunette" lun export im "$work/back" --overwrite &>/dev/null
        cmp -s "$work/raw" "$work/back" || fail "lun import, allocation $1: done, and is not what was imported"
    fi
    "$lunette" lun delete im --force &>/dev/null
    rm -f "$work/resume" "$work/back"
}

exported_is_whole()
{
    local file=$5
    if [[ $status == 0 || -e $file ]]; then
        "$lunette" lun import "$file" im &>/dev/null &&
            "$lunette" lun export im "$work/back" --overwrite &>/dev/null &&
            cmp -s "$work/raw" "$work/back" || fail "lun export, allocation $1: status $status, and the file is not whole"
        "$lunette" lun delete im --force &>/dev/null
    fi
    rm -f "$file"* "$work/back"
}

ok pool create "$pool" 64M
server_start
head -c 1M /dev/urandom >"$work/raw"
truncate -s 3M "$work/raw"
ok lun import "$work/raw" golden
for plus in "" +; do
    for i in {1..1200}; do # until the server has noticed that what was before is over
        ok lun show --json
        [[ $out == *"\"open\": 0"* ]] && break
        sleep 0.05
    done
    ok lun show --json; expected=$out
    starve 1 "$plus" same_output lun show --json
    ok lun show; expected=$out
    starve 7 "$plus" same_output lun show
    starve 2 "$plus" clone_is_told lun clone golden c1
    starve 11 "$plus" clone_is_told lun clone golden c1 --json
    starve 31 "$plus" imported_is_whole lun import "$work/raw" im
    starve 47 "$plus" exported_is_whole lun export golden "$work/out.qcow2"
    starve 41 "$plus" exported_is_whole lun export golden "$work/out"
done
echo "$tries tries, $lacking refused"
[[ $lacking -gt 100 ]] || fail "nothing lacked memory"
finish
