#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints the share of lines that ran, per folder, from gcovr's JSON summary: coverage_table.py FILE"""

import collections
import json
import os
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    files = json.load(file)["files"]
total = collections.Counter()
covered = collections.Counter()
for entry in files:
    for folder in (os.path.dirname(entry["filename"]), "all"):
        total[folder] += entry["line_total"]
        covered[folder] += entry["line_covered"]
print(f"{'folder':<24} {'lines':>7} {'ran':>7} {'share':>6}")
for folder in sorted(total, key=lambda name: (name == "all", name)):
    if total[folder]:
        share = 100 * covered[folder] / total[folder]
        print(f"{folder:<24} {total[folder]:>7} {covered[folder]:>7} {share:>5.1f}%")
