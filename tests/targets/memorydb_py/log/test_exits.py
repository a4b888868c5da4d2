"""SystemExit raised by a message handler ends the process, also under uvloop, which swallows it in
a callback."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.real

SCRIPT = """
import asyncio, sys
from targets.memorydb_py.log.messages import Beat
from targets.memorydb_py.log.wire import Connection

class Ends:
    def received(self, connection, message):
        raise SystemExit(4)
    def lost(self, connection):
        pass

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(Ends(), lambda c: None, name="a", accepts=True, nonce=b"1"),
        "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, mine = await loop.create_connection(
        lambda: Connection(
            Ends(), lambda c: c.send(Beat(True)), name="a", accepts=False, nonce=b"2"),
        "127.0.0.1", port)
    await asyncio.sleep(5)

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_handler_can_end_the_process(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    done = subprocess.run([sys.executable, "-c", SCRIPT, loop], timeout=30)
    assert done.returncode == 4
