#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the corpus of fuzz_cdb: commands that are as they should be, for the fuzzer to spoil.

usage: tests/fuzz/make_cdb_corpus.py FOLDER
"""
import os
import struct
import sys

COMMAND, BEGIN, TMF, RELOGIN, ATTRIBUTES = range(5)


def record(cdb, out=b"", room=4096, kind=COMMAND, who=0, lun=0, attribute=1):
    flags = who | lun << 2 | attribute << 4
    cdb = bytes(cdb) + bytes(16 - len(cdb))
    return struct.pack(">BBHH", kind, flags, len(out), room // 16) + cdb + out


def ready(who=0, lun=0):
    """Takes the unit attention of the login."""
    return record([0] * 6, who=who, lun=lun)


def rw(opcode, lba, blocks, flags=0):
    """READ or WRITE shaped CDBs by the group of the opcode."""
    if opcode < 0x20:
        return struct.pack(">BBHBB", opcode, flags, lba, blocks, 0)
    if opcode < 0x60:
        return struct.pack(">BBIBHB", opcode, flags, lba, 0, blocks, 0)
    if opcode < 0xa0:
        return struct.pack(">BBQIBB", opcode, flags, lba, blocks, 0, 0)
    return struct.pack(">BBIIBB", opcode, flags, lba, blocks, 0, 0)


def pr_out(action, kind=0, key=0, new=0, flags=0, tail=b"", who=0, port=0):
    head = struct.pack(">QQIBBH", key, new, 0, flags, 0, port)
    if action == 7:
        head = struct.pack(">QQBBHI", key, new, 0, flags, port, len(tail))
    elif tail:
        tail = struct.pack(">I", len(tail)) + tail
    body = head + tail
    return record(struct.pack(">BBBHIB", 0x5f, action, kind, 0, len(body), 0), body, 0, who=who)


def transport_id(name, isid):
    text = ("iqn.2001-04.com.example:%s,i,0x%012x" % (name, isid)).encode() + b"\0"
    text += bytes(-len(text) % 4)
    return struct.pack(">BBH", 0x45, 0, len(text)) + text


def pr_in(action):
    return record(struct.pack(">BB5xHB", 0x5e, action, 4096, 0))


def inputs():
    block, page = bytes(range(256)) * 2, bytes(range(256)) * 16
    start = ready()
    yield "inquiry", start + b"".join(
        record([0x12, evpd, code, 0x10, 0, 0]) for evpd, code in
        [(0, 0), (1, 0), (1, 0x80), (1, 0x83), (1, 0x86), (1, 0x87), (1, 0x8f), (1, 0xb0),
         (1, 0xb1), (1, 0xb2)])
    yield "mode", start + b"".join(
        record([0x1a, 0, code, 0, 255, 0]) for code in (0x3f, 0x08, 0x0a, 0x7f, 0x8a)) + record(
            [0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 1, 0, 0]) + record(
                [0x15, 0x10, 0, 0, 16, 0],
                bytes([0, 0, 0, 0, 10, 10, 4, 16, 8, 0, 0, 0, 255, 255, 0, 0]), 0) + record(
                    rw(0x2a, 0, 1), block) + record(
                        [0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0],
                        bytes([0] * 8 + [8, 18] + [0] * 18), 0) + record(rw(0x2a, 0, 1), block)
    yield "log", start + b"".join(
        record([0x4d, 0, 0x40 | code, sub, 0, 0, 0, 1, 0, 0]) for code, sub in
        [(0, 0), (0, 255), (0x0c, 0), (0x19, 0), (0x2f, 0)])
    yield "capacity", start + record([0x25]) + record(
        struct.pack(">BBQIBB", 0x9e, 0x10, 0, 32, 0, 0)) + record(
            struct.pack(">BBQIBB", 0x9e, 0x12, 5, 4096, 0, 0)) + record(
                [0x37, 0, 8, 0, 0, 0, 0, 1, 0, 0]) + record([0xb7, 8] + [0] * 7 + [64, 0, 0])
    yield "report", start + record([0xa0] + [0] * 7 + [1, 0, 0, 0]) + record(
        [0xa3, 0x0a] + [0] * 6 + [1, 0, 0, 0]) + record(
            [0xa3, 0x0c] + [0] * 6 + [16, 0, 0, 0]) + record(
                [0xa3, 0x0c, 0x81, 0x28] + [0] * 4 + [1, 0, 0, 0]) + record(
                    [0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 1, 0, 0, 0]) + record(
                        [0xa3, 0x0d, 0x80] + [0] * 6 + [16, 0, 0])
    for name, read, write, verify, both in (("rw10", 0x28, 0x2a, 0x2f, 0x2e),
                                            ("rw12", 0xa8, 0xaa, 0xaf, 0xae),
                                            ("rw16", 0x88, 0x8a, 0x8f, 0x8e)):
        yield name, start + record(rw(write, 7, 2), block * 2, 0) + record(
            rw(read, 7, 2)) + record(rw(verify, 7, 2, 2), block * 2, 0) + record(
                rw(verify, 7, 2, 6), block, 0) + record(rw(both, 9, 2, 2), block * 2, 0) + record(
                    rw(write, 7, 2, 8), block, 0) + record(rw(read, 7, 2, 0x18), b"", 512)
    yield "rw6", start + record(rw(0x0a, 3, 1), block, 0) + record(rw(0x08, 3, 1))
    yield "rw4096", ready(lun=1) + record(rw(0x2a, 7, 1), page, 0, lun=1) + record(
        rw(0x28, 7, 1), lun=1) + record(rw(0x93, 3, 4), page, 0, lun=1)
    caw = bytearray(rw(0x89, 4, 0))
    caw[13] = 1
    yield "atomic", start + record(caw, bytes(512) + block, 0) + record(
        caw, bytes(512) + block, 0) + record(rw(0x8b, 4, 1), block, 0) + record(
            struct.pack(">BBQHHBB", 0x9c, 8, 8, 0, 8, 0, 0), page, 0)
    yield "same", start + record(rw(0x41, 4, 9), block, 0) + record(
        rw(0x93, 4, 9, 8), bytes(512), 0) + record(rw(0x93, 4, 9, 1), b"", 0)
    unmap = struct.pack(">HH4xQI4xQI4x", 38, 32, 5, 3, 16, 8)
    yield "unmap", start + record(rw(0x2a, 0, 8), page, 0) + record(
        [0x42, 0, 0, 0, 0, 0, 0, 0, len(unmap), 0], unmap, 0)
    yield "cache", start + record(rw(0x34, 0, 8)) + record(rw(0x90, 0, 0)) + record(
        rw(0x35, 0, 0, 2)) + record(rw(0x91, 0, 0))
    yield "removable", record([2], kind=ATTRIBUTES) + start + ready() + record(
        [0x1e, 0, 0, 0, 1, 0]) + record([0x1b, 0, 0, 0, 2, 0]) + record(
            [0x1e, 0, 0, 0, 0, 0]) + record([0x1b, 0, 0, 0, 2, 0]) + record(
                rw(0x28, 0, 1)) + record([0x1b, 0, 0, 0, 3, 0])
    yield "reserve", start + ready(1) + record([0x16]) + record(
        rw(0x28, 0, 1), who=1) + record([0x17], who=1) + record([0x57]) + record([0x56])
    who = [ready(i) for i in range(3)]
    yield "pr", b"".join(who) + pr_out(0, new=1) + pr_out(6, new=2, who=1, flags=1) + pr_out(
        1, 5, 1) + pr_in(0) + pr_in(1) + pr_in(2) + pr_in(3) + record(
            rw(0x2a, 0, 1), block, 0, who=2) + pr_out(4, 3, 2, 1, who=1) + pr_out(
                2, 3, 2, who=1) + pr_out(3, 0, 2, who=1)
    yield "pr-ports", b"".join(who) + pr_out(
        0, new=1, flags=0x0d, tail=transport_id("b", 0x800000000001)) + pr_out(
            1, 3, 1) + pr_out(7, 0, 1, 9, 2, transport_id("c", 0x800000000002), port=1) + pr_in(3)
    yield "pr-abort", b"".join(who) + pr_out(6, new=1) + pr_out(6, new=2, who=1) + record(
        [0] * 6, kind=BEGIN, who=1) + pr_out(5, 7, 1, 2) + pr_out(5, 7, 1, 0)
    for name, function in (("abort", 0), ("abort-set", 1), ("clear-set", 3), ("lun-reset", 4),
                           ("target-reset", 5), ("nexus-reset", 9)):
        yield name, b"".join(who) + record([0] * 6, kind=BEGIN) + record(
            rw(0x2a, 0, 1), block, kind=BEGIN, who=1, attribute=2) + record(
                [0] * 6, who=2, attribute=3) + record([function], kind=TMF) + ready(1) + record(
                    [0], kind=RELOGIN, who=1) + ready(1)
    naa = record([0x12, 1, 0x83, 0x10, 0, 0])
    cscd = bytes([0xe4, 0, 0, 0, 1, 3, 0, 16]) + bytes(20) + bytes([0, 0, 2, 0])
    segment = struct.pack(">BBHHHxxHQQ", 2, 0, 24, 0, 0, 8, 0, 64)
    xcopy = struct.pack(">BBH4xII", 1, 0, len(cscd), len(segment), 0) + cscd + segment
    yield "xcopy", start + naa + record(
        struct.pack(">BB8xIH", 0x83, 0, len(xcopy), 0), xcopy, 0) + b"".join(
            record(struct.pack(">BBB7xIH", 0x84, action, 1, 1024, 0)) for action in (0, 1, 3, 4))
    populate = struct.pack(">HBBIIHHQI4x", 30, 0, 0, 0, 0, 0, 16, 0, 8)
    use = struct.pack(">H6xQ", 550, 0) + bytes([255, 255, 0, 1, 0, 0, 1, 0xf8]) + bytes(
        504 + 6) + struct.pack(">HQI4x", 16, 8, 8)
    yield "token", start + record(
        struct.pack(">BB4xIIH", 0x83, 0x10, 1, len(populate), 0), populate, 0) + record(
            struct.pack(">BBI4xIH", 0x84, 7, 1, 1024, 0)) + record(
                struct.pack(">BB4xIIH", 0x83, 0x11, 2, len(use), 0), use, 0)
    yield "sanitize", start + record(
        [0x48, 1, 0, 0, 0, 0, 0, 0, 8, 0], bytes([1, 0, 0, 4, 0, 0, 0, 0]), 0) + record(
            [0x48, 0x82]) + record([0] * 6) + record([3, 1, 0, 0, 64]) + record([0x48, 0x1f])
    yield "absent", record([0x12, 0, 0, 0, 96], lun=3) + record([3, 0, 0, 0, 18], lun=3) + record(
        [0] * 6, lun=3)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, data in inputs():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(data)


if __name__ == "__main__":
    main()
