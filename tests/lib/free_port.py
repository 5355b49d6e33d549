#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints a TCP port of 127.0.0.1 that is free now.

It is none of those that the kernel gives to clients, and to servers that ask for any: none of the
other tests takes it before the one that asked, or while its server is started anew.
"""

import random
import socket


def candidates():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        first, last = map(int, limits.read().split())
    below, above = range(10000, first), range(last + 1, 65536)
    best = max(below, above, key=len)
    return best if len(best) >= 100 else range(10000, 65536)


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main():
    ports = candidates()
    port = random.choice(ports)
    while not is_free(port):
        port = random.choice(ports)
    print(port)


main()
