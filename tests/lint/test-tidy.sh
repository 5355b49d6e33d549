#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Shows that every rule of tidy.sh finds a violation planted for it, and nothing in a clean tree.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
passed=0
spdx='/* SPDX-License-Identifier: BSD-3-Clause */'

# A small tree without fault.
clean_tree()
{
    rm -rf "$work/tree"
    mkdir -p "$work"/tree/{lun/base,lun/pool,server/{iscsi,scsi,ctl,net},plugin,tests/unit}
    cd "$work/tree"
    local header
    for header in lun/lun.h lun/limits.h lun/base/list.h lun/pool/space.h lun/pool/pool_internal.h \
        server/target.h server/iscsi/pdu.h server/iscsi/pdu_internal.h server/net/loop.h \
        server/scsi/cdb.h plugin/export.h tests/helper.h; do
        printf '%s\nint declared(void);\n' "$spdx" >"$header"
    done
    printf '%s\n#include "lun/lun.h"\n\n/* A table. */\nstatic const int table[] = {\n    1,\n};\n\nint f(void)\n{\n    return table[0];\n}\n' \
        "$spdx" >lun/pool/space.c
}

# verdict NAME FINDINGS-EXPECTED OUTPUT-PATTERN
verdict()
{
    local name=$1 expected=$2 pattern=$3 out status=0
    out=$("$here/tidy.sh" "$work/tree" 2>&1) || status=$?
    if [[ $status == $((expected > 0)) ]] && grep -q ", $expected findings" <<<"$out" &&
        grep -qE -- "$pattern" <<<"$out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name: wanted $expected findings and /$pattern/, got status $status and:"
        printf '    %s\n' "$out"
    fi
}

# What is planted in one tree, each in a file of its own, until all_planted looks at it.
planted=()

# plant RULE FILE TEXT: TEXT as the body of FILE; a file a.c or a.h gets a number of its own.
plant()
{
    local file=$2
    [[ $file != */a.[ch] ]] || file=${file%a.*}a${#planted[@]}.${file##*.}
    [[ ! -e $file ]] || { echo "FAILED: $file is planted twice" && exit 1; }
    printf '%s\n%b\n' "$spdx" "$3" >"$file"
    planted+=("$file $1 $3")
}

# finds RULE FILE TEXT: it is found, as exactly one finding of RULE.
finds()
{
    plant "$@"
}

# accepts FILE TEXT: it is not found.
accepts()
{
    plant - "$@"
}

all_planted()
{
    local out case file rule text found wanted total=0
    out=$("$here/tidy.sh" "$work/tree" 2>&1) || true
    for case in "${planted[@]}"; do
        read -r file rule text <<<"$case"
        found=$(grep "^$file:" <<<"$out" || true)
        wanted=0
        [[ $rule == - ]] || wanted=1
        total=$((total + wanted))
        if [[ $wanted == 0 && -z $found ]] ||
            [[ $wanted == 1 && $found =~ ^$file:[0-9]+:\ \[$rule\] && $found != *$'\n'* ]]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: $file, rule $rule, with $text: got"
            printf '    %s\n' "$found"
        fi
    done
    if ! grep -q ", $total findings" <<<"$out"; then
        failed=$((failed + 1))
        echo "FAILED: not $total findings in all: $(tail -n 1 <<<"$out")"
    fi
    planted=()
}

lines() # lines COUNT
{
    local i
    for ((i = 0; i < $1; i++)); do
        printf '    x++;\\n'
    done
}

clean_tree
verdict "clean tree" 0 'tidy.sh:'

# Layers.
clean_tree
finds include lun/base/a.c '#include "lun/lun.h"'
finds include lun/pool/a.c '#include "server/target.h"'
finds include lun/pool/a.c '#include "plugin/export.h"'
finds include lun/pool/a.c '#include "tests/helper.h"'
finds include lun/pool/a.c '#include "space.h"'
finds include lun/pool/a.c '#include "../lun.h"'
finds include server/a.c '#include "lun/pool/space.h"'
finds include server/a.c '#include "plugin/export.h"'
finds include server/a.c '#include "server/iscsi/pdu_internal.h"'
finds include server/ctl/a.c '#include "server/iscsi/pdu.h"'
finds include server/scsi/a.c '#include "server/iscsi/pdu.h"'
finds include server/scsi/a.c '#include "server/net/loop.h"'
finds include server/iscsi/a.c '#include "server/scsi/cdb.h"'
finds include plugin/a.c '#  include "lun/pool/space.h"'
accepts server/a.c '#include "lun/lun.h"\n#include "lun/limits.h"\n#include "lun/base/list.h"'
accepts plugin/a.c '#include "server/target.h"\n#include "lun/lun.h"\n#include <stdio.h>'
accepts lun/pool/a.c '#include "lun/pool/pool_internal.h"\n#include "lun/base/list.h"'
accepts lun/a.c '#include "lun/pool/pool_internal.h"'
finds include lun/base/a.c '#include "lun/pool/pool_internal.h"'
accepts tests/unit/a.c '#include "lun/pool/pool_internal.h"\n#include "server/iscsi/pdu.h"'
accepts lun/pool/a.c '/*\n#include "server/target.h"\n*/'

# Calls.
for call in strcpy strcat sprintf vsprintf strtok gets atoi atol atoll atof alloca assert; do
    finds banned server/a.c "int f(void)\n{\n    return $call(1);\n}"
done
finds banned tests/unit/a.c 'int f(void)\n{\n    return atoi (1);\n}'
finds goto server/a.c 'int f(void)\n{\n    goto out;\n}'
finds pthread server/a.c 'int f(void)\n{\n    return pthread_mutex_lock(0);\n}'
finds pthread lun/pool/a.c 'int f(void)\n{\n    return pthread_cond_signal(0);\n}'
for call in time clock_gettime rand random getrandom open; do
    finds world lun/pool/a.c "int f(void)\n{\n    return $call(0);\n}"
done
accepts server/a.c 'static_assert(1, "x");\nint f(void)\n{\n    return x->open(1) + my_atoi(2) + time(0);\n}'
accepts server/a.c '/* never call strcpy(a) */\nconst char *s = "assert(1) \\" goto x";'
accepts lun/pool/device_file.c 'int f(void)\n{\n    return open(0);\n}'
accepts lun/base/a.c 'int f(void)\n{\n    return pthread_mutex_lock(0);\n}'
accepts server/a.c '/* tidy: allow pthread, because a library wants one */\nstatic pthread_mutex_t m;'
finds pthread server/a.c '/* tidy: allow banned, because */\nint pthread_mutex_x;'

# Shape.
finds function-length server/a.c "int f(int x)\n{\n$(lines 70)}"
accepts server/a.c "int f(int x)\n{\n$(lines 69)}"
accepts server/a.c "enum\n{\n$(lines 90)};"
finds file-length server/a.c "$(for ((i = 0; i < 500; i++)); do printf 'int x;\\n\\n'; done)"
finds width server/a.c "/* $(printf 'x%.0s' {1..98}) */"
finds tab server/a.c 'int\tx;'
finds trailing server/a.c 'int x; \nint y;'

finds alone server/a.h 'uint64_t f(void);'
finds alone server/a.h '#include "server/absent.h"'
all_planted

# Licences.
clean_tree
echo 'int x;' >server/a.c
verdict "C file without licence" 1 '^server/a.c:1: \[spdx\]'
clean_tree
printf '#!/bin/sh\n' >tests/a.sh
verdict "script without licence" 1 '^tests/a.sh:1: \[spdx\]'
clean_tree
printf '#!/usr/bin/env python3\n' >tests/go
chmod +x tests/go
verdict "program without licence" 1 '^tests/go:1: \[spdx\]'
clean_tree
printf 'add_library(x)\n' >lun/CMakeLists.txt
verdict "build list without licence" 1 '^lun/CMakeLists.txt:1: \[spdx\]'

# Modules without a test: a warning, until a test or the list has them.
clean_tree
verdict "untested module" 0 '^warning: 1 modules .* lun/pool/space.c$'
echo lun/pool/space.c >"$work/listed"
mkdir -p tests/lint
cp "$work/listed" tests/lint/untested
out=$("$here/tidy.sh" "$work/tree")
if grep -q '^warning' <<<"$out"; then
    echo "FAILED: a listed module is warned about: $out"
    failed=$((failed + 1))
fi
printf '%s\n#include "lun/pool/space.h"\n' "$spdx" >tests/unit/test_more.c
verdict "tested module in the list" 0 'space.c has a test now'

echo "$passed rules checked, $failed failed"
[[ $failed == 0 ]]
