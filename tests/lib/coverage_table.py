#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which lines ran, from gcovr's JSON report.

Prints the share of lines that ran per folder. Fails if a
folder that --least names, with all below it, has less; a folder that has no line at all has 0 %.
--files FILE writes the share of every file, and the lines of it that did not run.
"""

import argparse
import collections
import json
import os
import sys


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", help="what gcovr --json wrote")
    parser.add_argument("--files", metavar="FILE", help="write every file and its lines there")
    parser.add_argument("--least", metavar="FOLDER=PERCENT", action="append", default=[],
                        help="fail if less of FOLDER ran; may be given more than once")
    return parser.parse_args()


def read_report(path):
    """{file: {line: whether it ran}}; a line that several objects have ran if it did in one."""
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)["files"]
    files = collections.defaultdict(dict)
    for entry in entries:
        lines = files[entry["file"]]
        for line in entry["lines"]:
            if not line.get("gcovr/noncode") and not line.get("gcovr/excluded"):
                number = line["line_number"]
                lines[number] = lines.get(number, False) or line["count"] > 0
    return {name: lines for name, lines in files.items() if lines}


def folders_of(name):
    """"lun/pool/pool.c" is in "lun/pool/", "lun/" and "all"."""
    folder = os.path.dirname(name)
    while folder:
        yield folder + "/"
        folder = os.path.dirname(folder)
    yield "all"


def sum_up(files):
    total, ran = collections.Counter(), collections.Counter()
    for name, lines in files.items():
        for folder in folders_of(name):
            total[folder] += len(lines)
            ran[folder] += sum(lines.values())
    return total, ran


def share(total, ran):
    return 100 * ran / total if total else 0.0


def row(name, total, ran):
    return f"{name:<32} {total:>6} {ran:>6} {share(total, ran):>5.1f} %"


def ranges(numbers):
    """[3, 4, 5, 9] is "3-5 9"."""
    parts = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def write_files(files, path):
    with open(path, "w", encoding="utf-8") as out:
        for name in sorted(files):
            lines = files[name]
            missed = ranges(sorted(number for number, did_run in lines.items() if not did_run))
            print(row(name, len(lines), sum(lines.values())), missed, file=out)


def short_of(total, ran, limits):
    """What to say of each folder that has less than it is to have."""
    for limit in limits:
        folder, _, percent = limit.partition("=")
        folder = folder.rstrip("/") + "/"
        if share(total[folder], ran[folder]) < float(percent):
            yield (f"coverage: of {folder} {share(total[folder], ran[folder]):.2f} % ran, "
                   f"at least {percent} % are to")


def main():
    args = arguments()
    files = read_report(args.report)
    total, ran = sum_up(files)
    print(f"{'folder':<32} {'lines':>6} {'ran':>6} {'share':>7}")
    for folder in sorted(total, key=lambda name: (name == "all", name)):
        print(row(folder, total[folder], ran[folder]))
    if args.files:
        write_files(files, args.files)
        print(f"every file, and its lines that did not run: {args.files}")
    short = list(short_of(total, ran, args.least))
    for text in short:
        print(text)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
