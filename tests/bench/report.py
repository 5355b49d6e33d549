#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reads tests/bench/claims, says what must be measured for them, and makes the table and the JSON."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys


def read_claims(path, only):
    claims = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            name, ours, peer, bound, unit, text = [part.strip() for part in line.split("|")]
            rule, limit = bound.split()
            claims.append({"name": name, "ours": ours, "peer": None if peer == "-" else peer,
                           "rule": rule, "bound": float(limit), "unit": unit, "text": text})
    unknown = set(only) - {claim["name"] for claim in claims}
    if unknown:
        sys.exit(f"bench: no such claim: {', '.join(sorted(unknown))} (--list prints them)")
    return [claim for claim in claims if not only or claim["name"] in only]


def read_samples(path):
    samples = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            metric, value = line.split()
            samples.setdefault(metric, []).append(float(value))
    return samples


RUNS_MIN = 3  # a median of less says nothing


def judge(claim, samples, is_quick):
    """Adds what was measured to the claim."""
    ours = samples.get(claim["ours"], [])
    peer = samples.get(claim["peer"], []) if claim["peer"] else []
    claim["ours_values"], claim["peer_values"] = ours, peer
    claim["ratio"] = claim["met"] = None
    claim["too_few"] = bool(ours) and not is_quick and len(ours) < RUNS_MIN
    if not ours or (claim["peer"] and not peer):
        return
    value = max(ours) if claim["rule"] == "max<=" else statistics.median(ours)
    if claim["peer"]:
        base = statistics.median(peer)
        if base == 0:
            return
        value = claim["ratio"] = value / base
    if claim["too_few"]:
        return
    claim["met"] = value >= claim["bound"] if claim["rule"] == ">=" else value <= claim["bound"]


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def spread(values):
    return f"{number(min(values))}..{number(max(values))}" if values else "-"


def middle(values):
    return number(statistics.median(values)) if values else "-"


def print_table(claims):
    head = ["claim", "ours", "peer", "ratio", "bound", "met", "runs", "ours min..max", "peer min..max"]
    rows = [head]
    for claim in claims:
        met = {True: "yes", False: "NO", None: "too few runs" if claim["too_few"] else "not measured"}[claim["met"]]
        unit = "" if claim["unit"] in ("ratio", "count") else " " + claim["unit"]
        rows.append([claim["name"], middle(claim["ours_values"]) + unit, middle(claim["peer_values"]),
                     number(claim["ratio"]), f"{claim['rule']} {number(claim['bound'])}", met,
                     str(len(claim["ours_values"])), spread(claim["ours_values"]),
                     spread(claim["peer_values"])])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def print_cpu(samples):
    """The servers' processor time for one operation, where it was measured."""
    by_load = {}
    for metric, values in samples.items():
        if metric.endswith(".cpu_us"):
            load, server, _ = metric.split(".")
            by_load.setdefault(load, []).append(f"{server} {number(statistics.median(values))}")
    if by_load:
        print("\nthe server's processor time for one operation, in microseconds:")
    for load, parts in by_load.items():
        print(f"  {load:15} {', '.join(parts)}")


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else None


def machine(args):
    model = memory = None
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), None)
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(file.readline().split()[1]) // 1024
    with open("/proc/loadavg", encoding="utf-8") as file:
        load_after = file.read().strip()
    return {
        "cpu": model, "cpus": os.cpu_count(), "memory_mib": memory, "kernel": platform.release(),
        "file_system": output_of("findmnt", "-n", "-o", "FSTYPE", "-T", args.dir),
        "load_before": args.load_before, "load_after": load_after,
    }


def versions():
    return {
        "nbdkit": output_of("nbdkit", "--version"), "fio": output_of("fio", "--version"),
        "qemu": output_of("qemu-storage-daemon", "--version"), "xfsprogs": output_of("mkfs.xfs", "-V"),
    }


def commit(root):
    name = output_of("git", "-C", root, "rev-parse", "--short=12", "HEAD")
    changed = output_of("git", "-C", root, "status", "--porcelain", "--untracked-files=no")
    return f"{name} with changes" if changed else name


def table(args):
    claims, samples = read_claims(args.claims, args.only), read_samples(args.samples)
    for claim in claims:
        judge(claim, samples, args.quick == "true")
    where = machine(args)
    label = commit(args.root)
    print(f"\nLunette {label}, {where['cpus']} x {where['cpu']}, {where['memory_mib']} MiB, "
          f"Linux {where['kernel']}, {where['file_system']}")
    print(f"medians of {args.runs} runs, {args.seconds} s each, LUNs of {args.lun_mib} MiB; "
          f"load before {args.load_before}, after {where['load_after']}")
    if args.quick == "true":
        print("A QUICK run: sizes are small, no figure of it proves a claim.")
    print()
    print_table(claims)
    print_cpu(samples)
    unmet = [claim["name"] for claim in claims if claim["met"] is False]
    unmeasured = [claim["name"] for claim in claims if claim["met"] is None]
    print(f"\n{len(claims) - len(unmet) - len(unmeasured)} met, {len(unmet)} not met, "
          f"{len(unmeasured)} not measured")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"commit": label, "machine": where, "versions": versions(),
                       "runs": int(args.runs), "seconds": int(args.seconds),
                       "lun_mib": int(args.lun_mib), "quick": args.quick == "true",
                       "claims": claims, "samples": samples}, file, indent=1)
            file.write("\n")
    return 1 if unmeasured or (unmet and args.strict == "true") else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["list", "metrics", "table"])
    parser.add_argument("claims")
    parser.add_argument("rest", nargs="*")
    for name in ("runs", "seconds", "lun-mib", "quick", "root", "dir", "load-before", "strict", "json"):
        parser.add_argument("--" + name)
    args = parser.parse_intermixed_args()
    if args.verb == "table":
        args.samples, args.only = args.rest[0], args.rest[1:]
        return table(args)
    claims = read_claims(args.claims, args.rest)
    if args.verb == "list":
        for claim in claims:
            print(f"{claim['name']:24} {claim['rule']} {number(claim['bound']):6} {claim['text']}")
    else:
        metrics = {claim[side] for claim in claims for side in ("ours", "peer") if claim[side]}
        print("\n".join(sorted(metrics)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
