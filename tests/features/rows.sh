#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every row that README.md calls tested has a test that carries its name: a line of a test below the
# folder $1 with the section ("1d") and, behind it, the name.

tests=$1
readme=$tests/features/README.md
rows=0 failures=0
while IFS='|' read -r _ row _; do
    row=${row# } section=${row%% *} names=${row#* }
    while read -r name; do
        rows=$((rows + 1))
        grep -rhE --include='*.c' --include='*.sh' "\b$section\b" "$tests"/{features,unit,e2e} |
            awk -v section="$section" -v name="${name% }" '
                { rest = substr($0, index($0, section)) } index(rest, name) { found = 1 } END { exit !found }' || {
            failures=$((failures + 1))
            echo "no test is named after row $section $name"
        }
    done < <(sed 's/; */\n/g' <<<"$names")
done < <(sed -n '/^## Rows with a test/,/^## Rows without/p' "$readme" | grep -E '^\| 1[a-g]')
echo "$rows rows, $failures without a test"
[[ $failures == 0 && $rows -gt 40 ]]
