#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Writes naive_rename.h: every global name of the naive engine, with naive_ before it. Run it in the
# root of the sources after a change of lun.h: tests/lib/naive_rename.sh > tests/lib/naive_rename.h
set -eu
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for file in tests/lib/naive*.c; do
    cc -std=gnu17 -D_GNU_SOURCE -I. -c "$file" -o "$objects/$(basename "$file").o"
done
cat <<'END'
/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Made by naive_rename.sh: puts naive_ before every global name of the naive engine, so that it
 * can be linked beside the real one. Included before everything else by the compiler's -include.
 */
#ifndef TESTS_LIB_NAIVE_RENAME_H
#define TESTS_LIB_NAIVE_RENAME_H

#define engine_api naive_engine_api /* the table of functions in tests/model/api.c */
END
nm --defined-only -g "$objects"/*.o | awk 'NF == 3 { print "#define " $3 " naive_" $3 }' | LC_ALL=C sort -u
printf '\n#endif\n'
