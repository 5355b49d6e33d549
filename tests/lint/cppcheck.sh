#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs cppcheck over every C file of a build directory: cppcheck.sh BUILD. Results are kept there, so
# that a second run looks only at what changed.

set -euo pipefail
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
build=$(readlink -f "$1")
# cppcheck would not notice that its settings changed: each state of them has results of its own.
settings=$(cat "$0" "$root/tests/lint/cppcheck.cfg" | sha256sum | cut -c 1-16)
results=$build/cppcheck/$settings
mkdir -p "$results"

suppressions=(
    # Not found are only system headers and CUnit's, which cppcheck is not shown on purpose.
    missingIncludeSystem
    # Its own limits: too many combinations of macros in a file, a branch it did not follow.
    toomanyconfigs
    normalCheckLevelMaxBranches
    # A suppression in the code that one run of cppcheck does not need, another may.
    unmatchedSuppression
    # It does not know __attribute__((cleanup)): a leak at every AUTO_FREE. The address sanitizer
    # finds leaks.
    memleak
    resourceLeak
    # Types of libraries, whose headers it is not shown, with designated initialisers. Both compilers
    # and clang-tidy look for uninitialised variables.
    legacyUninitvar
    # CUnit's macros cast an assertion to void or pass a function as CU_BOOL.
    '*:*/CUnit/*'
)

exec cppcheck --project="$build/compile_commands.json" --cppcheck-build-dir="$results" \
    -j "${LUNETTE_JOBS:-$(nproc)}" --std=c11 --enable=warning,performance,portability \
    --library="$root/tests/lint/cppcheck.cfg" --inline-suppr --quiet --error-exitcode=1 --template=gcc --relative-paths="$root" \
    "${suppressions[@]/#/--suppress=}"
