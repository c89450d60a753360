"""A loopback server for one file: ranges, keep-alive, sendfile; on wish slow per connection and late per answer.

python benchmarks/support/file_server.py FILE [--bytes-per-second N] [--latency-s S]     prints its port
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from pathlib import Path

_BLOCK = 256 * 1024


def _serve(connection: socket.socket, path: Path, rate: float | None, latency: float) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffered = b""
    with connection, path.open("rb") as file:
        size = path.stat().st_size
        while True:
            while b"\r\n\r\n" not in buffered:
                data = connection.recv(65536)
                if not data:
                    return
                buffered += data
            head, buffered = buffered.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            begin, end, status = 0, size, "200 OK"
            if "range" in headers:
                first, _, last = headers["range"].removeprefix("bytes=").partition("-")
                begin, end, status = int(first), min(size, int(last) + 1) if last else size, "206 Partial Content"
            time.sleep(latency)
            answer = (
                f"HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\n"
                'Accept-Ranges: bytes\r\nETag: "one"\r\n'
                f"Content-Length: {end - begin}\r\n"
            )
            if status.startswith("206"):
                answer += f"Content-Range: bytes {begin}-{end - 1}/{size}\r\n"
            connection.sendall(f"{answer}\r\n".encode())
            if lines[0].startswith("HEAD"):
                continue
            due = time.monotonic()
            while begin < end:
                sent = os.sendfile(
                    connection.fileno(), file.fileno(), begin, min(_BLOCK if rate else end - begin, end - begin)
                )
                if sent == 0:
                    return
                begin += sent
                if rate:
                    due = max(due, time.monotonic() - 0.05) + sent / rate
                    time.sleep(max(0.0, due - time.monotonic()))


def _quietly(connection: socket.socket, path: Path, rate: float | None, latency: float) -> None:
    try:
        _serve(connection, path, rate, latency)
    except OSError:
        return  # the client hung up


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--bytes-per-second", type=float)
    parser.add_argument("--latency-s", type=float, default=0.0)
    arguments = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(
            target=_quietly,
            args=(connection, arguments.file, arguments.bytes_per_second, arguments.latency_s),
            daemon=True,
        ).start()


if __name__ == "__main__":
    main()
