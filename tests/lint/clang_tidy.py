#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs clang-tidy over every C file of a build directory: clang_tidy.py BUILD

What was clean is not looked at again until it, a header it takes in, its flags or .clang-tidy
change. Prints findings and exits with 1 if there are any.
"""

import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess
import sys

TIDY = "clang-tidy-14"
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


def look_at(build, entry, config):
    """Returns (findings, was remembered)."""
    key = fingerprint(entry, config)
    stamp = key and os.path.join(build, "clang-tidy-clean", key)
    if stamp and os.path.exists(stamp):
        return "", True
    done = subprocess.run([TIDY, "-p", build, "--quiet", entry["file"]], capture_output=True,
                          text=True, check=False)
    if done.returncode == 0:
        if stamp:
            with open(stamp, "w", encoding="utf-8"):
                pass
        return "", False
    return done.stdout or done.stderr, False


def main():
    build = os.path.realpath(sys.argv[1])
    os.makedirs(os.path.join(build, "clang-tidy-clean"), exist_ok=True)
    with open(os.path.join(ROOT, ".clang-tidy"), "rb") as file:
        config = file.read()
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        # One entry per file, though some are compiled twice; and none that is gone.
        entries = {entry["file"]: entry for entry in json.load(file)
                   if os.path.exists(entry["file"])}
    bad, remembered = 0, 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("LUNETTE_JOBS", 0)) or
                                               os.cpu_count()) as pool:
        for findings, known in pool.map(lambda entry: look_at(build, entry, config),
                                        entries.values()):
            remembered += known
            if findings:
                bad += 1
                print(findings.replace(ROOT + "/", ""), flush=True)
    print(f"clang-tidy: {len(entries)} files, {remembered} unchanged, {bad} with findings")
    return bad > 0


sys.exit(main())
