#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Stands before an iSCSI target and answers logins as no target does.

hostile_target.py PORT ORDERS: prints the port that it listens on. The file ORDERS has a number and a
word: that many connections, from when it was written, are handed through to 127.0.0.1:PORT. The
first request of those behind them is answered by a PDU that belongs to a SCSI command ("r2t",
"data"), or they are handed through until 2 MiB have come, and nothing more ("hang").
"""
import socket
import struct
import sys
import threading
import time


HANG_BYTES = 2 << 20


def pump(source, to, most=1 << 60):
    try:
        while data := source.recv(65536):
            most -= len(data)
            while most < 0:
                time.sleep(1)
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def receive(client, size):
    data = b''
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise OSError('the client hung up')
        data += part
    return data


def answer_wrongly(client, kind):
    header = receive(client, 48)
    receive(client, (int.from_bytes(header[5:8], 'big') + 3) // 4 * 4)
    opcode, data = (0x31, b'') if kind == 'r2t' else (0x25, bytes(512))
    pdu = bytearray(48)
    pdu[0], pdu[1] = opcode, 0x80
    pdu[5:8] = len(data).to_bytes(3, 'big')
    pdu[16:20] = header[16:20]
    pdu[20:24] = struct.pack('>I', 1)
    pdu[24:36] = struct.pack('>III', 1, 1, 16)
    pdu[44:48] = struct.pack('>I', 4096)
    client.sendall(bytes(pdu) + data)
    receive(client, 1 << 20)


def serve(client, port, kind):
    try:
        if kind in ('r2t', 'data'):
            answer_wrongly(client, kind)
            return
        target = socket.create_connection(('127.0.0.1', port))
        threading.Thread(target=pump, args=(client, target), daemon=True).start()
        pump(target, client, HANG_BYTES if kind == 'hang' else 1 << 60)
    except OSError:
        pass
    finally:
        client.close()


def main():
    port, orders, known, count = int(sys.argv[1]), sys.argv[2], '', 0
    listener = socket.create_server(('127.0.0.1', 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        with open(orders, encoding='ascii') as file:
            now = file.read()
        count = count + 1 if now == known else 1
        known = now
        good, kind, _ = now.split()
        if count <= int(good):
            kind = 'good'
        threading.Thread(target=serve, args=(client, port, kind), daemon=True).start()


main()
