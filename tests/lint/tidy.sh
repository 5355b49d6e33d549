#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Finds what compilers, clang-tidy and cppcheck do not: includes against the layering, files and
# functions that are too long, banned calls, raw pthread locks, missing licence lines, headers that do
# not compile alone. Prints one line per finding and exits with 1 if there is any. Modules that no
# test mentions are only warned about, unless tests/lint/untested lists them.
#
# usage: tests/lint/tidy.sh [ROOT]        (ROOT: the source tree, default: the one of this script)

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "${1:-$here/../..}")
jobs=$(nproc)
findings=$(mktemp)
trap 'rm -f "$findings"' EXIT
cd "$root"

folders=()
for folder in lun server plugin conf tests; do
    [[ -d $folder ]] && folders+=("$folder")
done
mapfile -t c_files < <(find "${folders[@]}" -type f -name '*.[ch]' | sort)
mapfile -t headers < <(printf '%s\n' "${c_files[@]}" | grep '\.h$' || true)

lines_of_c()
{
    [[ ${#c_files[@]} == 0 ]] || awk -v root=./ -f "$here/tidy.awk" "${c_files[@]}"
}

# Every script and build list says its licence too.
licence_of_scripts()
{
    local file
    while read -r file; do
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' ||
            echo "$file:1: [spdx] no SPDX-License-Identifier: BSD-3-Clause in the first three lines"
    done < <({
        find "${folders[@]}" -type f \( -name CMakeLists.txt -o -name '*.cmake' -o -name '*.sh' \
            -o -name '*.py' -o -name '*.awk' \)
        find "${folders[@]}" -type f -perm -u+x ! -name '*.[ch]' -exec grep -lI '^#!' {} +
        [[ ! -f CMakeLists.txt ]] || echo CMakeLists.txt
    } | sort -u)
}

header_alone()
{
    local out
    if ! out=$(printf '#include "%s"\n' "$1" |
        gcc -std=gnu17 -D_GNU_SOURCE -I. -x c -fsyntax-only - 2>&1); then
        echo "$1:1: [alone] does not compile alone: $(grep -m1 -o 'error:.*' <<<"$out" || echo "$out")"
    fi
}
export -f header_alone

headers_alone()
{
    [[ ${#headers[@]} == 0 ]] ||
        printf '%s\n' "${headers[@]}" | xargs -P "$jobs" -I{} bash -c 'header_alone "$1"' _ {}
}

# A module is tested when a unit test has its name, or any test includes its header.
warn_untested()
{
    local listed=tests/lint/untested file module mentioned untested=()
    mentioned=$(find tests -name '*.[ch]' -exec cat {} + 2>/dev/null |
        grep -o '#include "[^"]*"' | cut -d'"' -f2 | sort -u || true)
    while read -r file; do
        module=$(basename "$file" .c)
        if [[ -f tests/unit/test_$module.c ]] || grep -qxF "${file%.c}.h" <<<"$mentioned"; then
            if [[ -f $listed ]] && grep -qxF "$file" "$listed"; then
                echo "warning: $file has a test now: remove it from $listed"
            fi
        elif ! { [[ -f $listed ]] && grep -qxF "$file" "$listed"; }; then
            untested+=("$file")
        fi
    done < <(printf '%s\n' "${c_files[@]}" | grep -E '^(lun|server)/.*\.c$' || true)
    if [[ ${#untested[@]} != 0 ]]; then
        echo "warning: ${#untested[@]} modules that no test is named after or includes: ${untested[*]}"
    fi
}

{
    lines_of_c
    licence_of_scripts
    headers_alone
} >"$findings"
warn_untested
sort -t: -k1,1 -k2,2n "$findings"
count=$(wc -l <"$findings")
echo "tidy.sh: ${#c_files[@]} C files, $count findings"
[[ $count == 0 ]]
