#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Where a process has secrets in memory: secret_pages.py PID SECRET... (text, or 64 hex digits of a key).

Prints "locked N swappable M": in how many places they lie in pages that are locked and left out of core
dumps, and in how many others. Exit status 77: the memory may not be read.
"""
import re
import sys


def areas(pid):
    """(from, to, is kept) of what can hold something; kept: locked and not dumped."""
    found = None
    for line in open(f"/proc/{pid}/smaps"):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if head:
            found = int(head[1], 16), int(head[2], 16), head[3]
        elif line.startswith("VmFlags:") and "w" in found[2] and "r" in found[2]:
            flags = line.split()
            yield found[0], found[1], "lo" in flags and "dd" in flags


def main():
    pid, secrets = sys.argv[1], sys.argv[2:]
    words = [bytes.fromhex(s) if re.fullmatch("[0-9a-f]{64}", s) else s.encode() for s in secrets]
    words += [s.encode() for s in secrets if re.fullmatch("[0-9a-f]{64}", s)]
    counts = {True: 0, False: 0}
    try:
        memory = open(f"/proc/{pid}/mem", "rb", 0)
    except PermissionError:
        return 77
    for begin, end, is_kept in areas(pid):
        try:
            memory.seek(begin)
            content = memory.read(end - begin)
        except (OSError, ValueError, OverflowError):
            continue  # gone, or of a device
        for word in words:
            count = content.count(word)
            counts[is_kept] += count
            if count and not is_kept:
                at = begin + content.find(word)
                print(f"{word[:8]!r}... at {at:x} in {begin:x}-{end:x}", file=sys.stderr)
    print(f"locked {counts[True]} swappable {counts[False]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
