"""One simulated run in a process of its own, with a heap that differs each time.

    python tests/support/simulated_run.py FOLDER SPEC [no-hiredis]

A process that has just started has the same heap each time, so that small sets of objects have the
same order. Therefore it first allocates and frees a random amount of memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

NOISE: list = []


def use_memory() -> None:
    n = int.from_bytes(os.urandom(2), "big")
    NOISE.extend(bytearray(i % 500) for i in range(n % 3000))
    NOISE.extend([] for _ in range(n % 777))
    NOISE.extend({"a": i} for i in range(n % 501))
    loop = asyncio.new_event_loop()
    NOISE.extend(asyncio.Future(loop=loop) for _ in range(n % 333))
    loop.close()
    del NOISE[::2]


def main() -> None:
    folder, spec, *flags = sys.argv[1:]
    use_memory()
    if "no-hiredis" in flags:
        sys.modules["hiredis"] = None  # type: ignore[assignment]
    import msgspec
    import redis.utils

    from harness.campaign import execute
    from harness.results import Run
    from harness.spec import Spec

    assert ("no-hiredis" not in flags) == redis.utils.HIREDIS_AVAILABLE
    run = Run(Path(folder))
    execute(msgspec.json.decode(spec, type=Spec), run)
    print(json.dumps(msgspec.to_builtins(run.read_hashes())))


if __name__ == "__main__":
    main()
