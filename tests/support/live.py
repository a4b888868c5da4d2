"""A live Redis 7.0, and a connection that returns raw replies."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from targets.engine.resp import pack
from tests.conftest import server


class Redis:
    """A connection that returns replies as raw RESP."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")

    def send(self, *words: str | bytes) -> None:
        self._socket.sendall(pack(w if isinstance(w, bytes) else w.encode() for w in words))

    def call(self, *words: str | bytes) -> bytes:
        self.send(*words)
        return self.read()

    def read(self) -> bytes:
        line = self._file.readline()
        kind, count = line[:1], line[1:-2]
        if kind in b"$=" and int(count) >= 0:
            return line + self._file.read(int(count) + 2)
        if kind in b"*~>%":
            many = max(0, int(count)) * (2 if kind == b"%" else 1)
            return line + b"".join(self.read() for _ in range(many))
        return line

    def skip(self, count: int) -> None:
        self._file.read(count)

    def line(self) -> bytes:
        return self._file.readline()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """Start a server on the data in a folder, without automatic saves; yield its port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        number = int(s.getsockname()[1])
    process = subprocess.Popen(
        [server("redis-7.0"), "--port", str(number), "--save", "", "--dir", str(folder), *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(400):
            assert process.poll() is None, "the server has ended"
            try:
                redis = Redis(number)
            except OSError:
                time.sleep(0.02)
                continue
            ready = not redis.call("PING").startswith(b"-LOADING")
            redis.close()
            if ready:
                break
        yield number
    finally:
        process.kill()
        process.wait()
