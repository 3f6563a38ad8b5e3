#!/usr/bin/env python3
"""Counts the instructions of one request and compares them with what was recorded: a guard that no noise disturbs.

    benches/instructions.py target/release/gateway            compare; exit 1 beyond 5 % more
    benches/instructions.py target/release/gateway --record   write benches/instructions.json

callgrind counts the gateway's own code, not the kernel's: a run of 1,200 requests less one of 200, on one connection,
by 1,000. The same binary comes within about 1 % of itself. Another compiler, C library or processor counts otherwise:
record anew then, in a commit that says so.
"""

import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

RECORDED = pathlib.Path(__file__).with_name("instructions.json")
MOST = 1.05
FEW, MANY = 200, 1200
BODY = b"hello from the upstream\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
GET = b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n"
PATIENCE = 60


def upstream():
    """An API that answers at once, on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection):
        read = b""
        while piece := connection.recv(65536):
            read += piece
            while b"\r\n\r\n" in read:
                read = read.split(b"\r\n\r\n", 1)[1]
                connection.sendall(ANSWER)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect(certs, port, protocol):
    context = ssl.create_default_context(cafile=certs / "ca.crt")
    context.load_cert_chain(certs / "clients/client-1.crt", certs / "clients/client-1.key")
    context.set_alpn_protocols([protocol])
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            return context.wrap_socket(plain, server_hostname="localhost")
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def http1(stream, count):
    for _ in range(count):
        stream.sendall(GET)
        read = b""
        while not read.endswith(BODY):
            piece = stream.recv(65536)
            assert piece and (read + piece).startswith(b"HTTP/1.1 200"), read + piece
            read += piece


def http2(stream, count):
    """RFC 9113 by hand: one request at a time, fields without the dynamic table."""
    stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4))
    path, host = b"/api/hello", b"localhost"
    fields = b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(host)]) + host
    read = b""
    for number in range(count):
        stream_id = 2 * number + 1
        stream.sendall(len(fields).to_bytes(3, "big") + b"\x01\x05" + stream_id.to_bytes(4, "big") + fields)
        ended = False
        while not ended:
            while len(read) < 9 or len(read) < 9 + int.from_bytes(read[:3], "big"):
                piece = stream.recv(65536)
                assert piece, "the connection ended"
                read += piece
            length, kind, flags = int.from_bytes(read[:3], "big"), read[3], read[4]
            payload, read = read[9 : 9 + length], read[9 + length :]
            if kind == 4 and not flags & 1:
                stream.sendall(bytes(3) + b"\x04\x01" + bytes(4))
            if kind == 0:
                assert payload == BODY or not payload, payload
            assert kind not in (3, 7), "a reset or GOAWAY"
            ended = kind in (0, 1) and bool(flags & 1)


def instructions(gateway, folder, api, protocol, requests, count):
    port, counted = free_port(), folder / "callgrind.out"
    certs = folder / "certs"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}", gateway, "run", "--workers", "1"]
    command += ["--listen", f"127.0.0.1:{port}", "--upstream", f"http://127.0.0.1:{api}", "--drain-delay", "0s"]
    command += ["--access-log", "false", "--log-format", "json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        with connect(certs, port, protocol) as stream:
            assert stream.selected_alpn_protocol() == protocol
            requests(stream, count)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    found = re.search(r"Collected : (\d+)", said)
    assert found, said
    return int(found.group(1))


def measure(gateway):
    gateway = str(pathlib.Path(gateway).resolve())
    api, figures = upstream(), {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([gateway, "certs", "bootstrap"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for protocol, requests in (("http/1.1", http1), ("h2", http2)):
            few, many = (instructions(gateway, folder, api, protocol, requests, count) for count in (FEW, MANY))
            figures[protocol] = round((many - few) / (MANY - FEW))
    return figures


def main():
    gateway, *options = sys.argv[1:]
    figures = measure(gateway)
    if options == ["--record"]:
        RECORDED.write_text(json.dumps(figures, indent=4) + "\n")
        print(f"{RECORDED}: {figures}")
        return 0
    recorded, worse = json.loads(RECORDED.read_text()), False
    for protocol, figure in figures.items():
        ratio = figure / recorded[protocol]
        worse |= ratio > MOST
        print(f"{protocol}: {figure} instructions a request, recorded {recorded[protocol]}, ratio {ratio:.3f}")
    if worse:
        print(f"more than {MOST} of what was recorded: find out why, or record it with --record and say why", file=sys.stderr)
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
