#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs clang-tidy over every C file of a build directory: clang_tidy.py [--deep] BUILD

What was clean is not looked at again until it, a header it takes in, its flags or .clang-tidy
change. Prints findings and exits with 1 if there are any.

The analyzer (clang-analyzer-*) takes most of the time. It looks at what is in lun, server and plugin,
and follows fewer paths through a function than it could; with --deep it follows all that clang
lets it, in the tests too. tests/run does that in nightly.

Dropped are what the analyzer cannot know better:
  - leaks: it has not heard of __attribute__((cleanup)) and sees one at every AUTO_FREE. The address
    sanitizer finds leaks; double free and use after free are still reported here.
  - paths on which a function returned more than 0, or failed with an errno of 0. Results are 0 or a
    negative errno here.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

TIDY = "clang-tidy-14"
QUICK_NODES = 75000  # of the graph of a function's paths; clang's own limit is 225000
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def fingerprint(entry, config):
    """Of the file after preprocessing, so that headers count; None if it does not compile."""
    command = shlex.split(entry["command"])
    output = command.index("-o")
    del command[output:output + 2]
    command = [word for word in command if word not in ("-c", "-MD")]
    for option in ("-MT", "-MF"):
        if option in command:
            at = command.index(option)
            del command[at:at + 2]
    done = subprocess.run(command + ["-E"], cwd=entry["directory"], capture_output=True, check=False)
    if done.returncode != 0:
        return None
    return hashlib.sha256(config + shlex.join(command).encode() + done.stdout).hexdigest()


def is_real(finding):
    """Whether a finding, a line FILE:LINE:COLUMN: error: ... with its notes, is one of ours."""
    if re.match(r".*: (Potential (memory leak|leak of memory)|Opened stream never closed)", finding):
        return False
    if "[clang-analyzer-core." not in finding:
        return True
    # A result that is neither 0 nor negative: "r == 0" was false, and then "r < 0" too.
    if re.search(r"'(\w+)' is not equal to 0\n(?s:.*)'\1' is >= 0\n", finding):
        return False
    # A function that failed with -errno, which the analyzer takes for 0 or less as well.
    return not re.search(r"Returning without writing to (?s:.*)Assuming '\w+' is >= 0\n", finding)


def real_findings(text):
    parts = re.split(r"(?m)^(?=\S+:\d+:\d+: (?:error|warning): )", text)
    return "".join(part for part in parts if part.strip() and is_real(part))


def depth_options(file, deep):
    if deep:
        return []
    if file.startswith(os.path.join(ROOT, "tests") + os.sep):
        return ["--checks=-clang-analyzer-*"]
    return ["--extra-arg=" + word
            for word in ("-Xclang", "-analyzer-config", "-Xclang", f"max-nodes={QUICK_NODES}")]


def look_at(build, entry, config, deep):
    """Returns (findings, was remembered)."""
    depth = depth_options(entry["file"], deep)
    key = fingerprint(entry, config + shlex.join(depth).encode())
    stamp = key and os.path.join(build, "clang-tidy-clean", key)
    if stamp and os.path.exists(stamp):
        return "", True
    command = [TIDY, "-p", build, "--quiet", entry["file"]] + depth
    if not entry["file"].endswith("/lun/base/err.c"):
        command.append("--extra-arg=-include" + os.path.join(ROOT, "tests/lint/analyzer.h"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = real_findings(done.stdout)
    if done.returncode != 0 and not done.stdout.strip():
        findings = done.stderr or f"{entry['file']}: {TIDY} failed\n"
    if not findings.strip():
        if stamp:
            with open(stamp, "w", encoding="utf-8"):
                pass
        return "", False
    return findings, False


def main():
    deep = sys.argv[1:2] == ["--deep"]
    if len(sys.argv) != 2 + deep:
        sys.exit("usage: clang_tidy.py [--deep] BUILD")
    build = os.path.realpath(sys.argv[-1])
    os.makedirs(os.path.join(build, "clang-tidy-clean"), exist_ok=True)
    config = b""
    for name in (".clang-tidy", "tests/.clang-tidy", "tests/lint/analyzer.h",
                 "tests/lint/clang_tidy.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            config += file.read()
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        # One entry per file, though some are compiled twice; and none that is gone.
        entries = {entry["file"]: entry for entry in json.load(file)
                   if os.path.exists(entry["file"])}
    bad, remembered = 0, 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("LUNETTE_JOBS", 0)) or
                                               os.cpu_count()) as pool:
        for findings, known in pool.map(lambda entry: look_at(build, entry, config, deep),
                                        entries.values()):
            remembered += known
            if findings:
                bad += 1
                print(findings.replace(ROOT + "/", ""), flush=True)
    print(f"clang-tidy: {len(entries)} files, {remembered} unchanged, {bad} with findings")
    return bad > 0


sys.exit(main())
