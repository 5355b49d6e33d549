#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the JUnit file of one ctest run for tests/run.

usage: junit_summary.py RUN JUNIT-FILE EXPECTED-SKIPS-FILE

Prints "PASSED FAILED SKIPPED NAME...", the names being those that failed; then, for people, each
failure with the end of its output and each skip with its reason. Exits with 1 if there is no result.
"""

import fnmatch
import re
import sys
import xml.etree.ElementTree as ElementTree

SHOWN_LINES = 60


def read_expected(path):
    with open(path, encoding="utf-8") as lines:
        words = [line.split() for line in lines if not line.startswith("#")]
    return [line[0] for line in words if line]


def is_expected(run, name, patterns):
    return any(fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(f"{run}/{name}", p)
               for p in patterns)


def read_cases(path):
    with open(path, "rb") as file:
        text = file.read().decode("utf-8", "replace")
    # A test may print anything; XML takes no control characters.
    text = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
    return ElementTree.fromstring(text).iter("testcase")


def skip_reason(output):
    for line in output.splitlines():
        if "SKIP" in line:
            return re.sub(r".*?SKIP(PED)?:?\s*", "", line) or "no reason given"
    return "no reason given"


def main():
    run, junit, expected_path = sys.argv[1:]
    patterns = read_expected(expected_path)
    passed, skipped, failed, text = 0, 0, [], []
    for case in read_cases(junit):
        name = case.get("name")
        output = case.findtext("system-out") or ""
        skip = case.find("skipped")
        if case.get("status") == "run":
            passed += 1
        elif skip is not None and "SKIP_RETURN_CODE" in skip.get("message", ""):
            reason = skip_reason(output)
            if is_expected(run, name, patterns):
                skipped += 1
                text.append(f"skipped {name}: {reason}")
            else:
                failed.append(name)
                text.append(f"{name}: skipped, but not listed in tests/expected-skips: {reason}")
        else:
            failed.append(name)
            text.append(f"{name} failed after {float(case.get('time', 0)):.1f} s:")
            text += ["    " + line[:300] for line in output.splitlines()[-SHOWN_LINES:]]
    if passed + skipped + len(failed) == 0:
        sys.exit(1)
    print(passed, len(failed), skipped, *failed)
    print("\n".join(text))


try:
    main()
except (OSError, ElementTree.ParseError) as error:
    sys.exit(f"junit_summary.py: {error}")
