"""Keeps the real machine out of a simulated run.

What asyncio does not route through its loop is patched while a world runs: clocks and entropy
answer from the simulation, threads and blocking sleeps raise. An audit hook is the net under it:
sockets and subprocesses raise for everybody, files for simulated processes (the harness itself
writes its history).
"""

from __future__ import annotations

import contextlib
import linecache
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from harness.simulation.loop import NANOS, SimulatedLoop, SimulationEscape
from harness.simulation.process import PROCESS

# Audit events that never are the simulation's.
_FOR_NOBODY = frozenset(
    {
        "socket.__new__",
        "socket.connect",
        "socket.bind",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "subprocess.Popen",
        "os.system",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.exec",
        "_thread.start_new_thread",
        "time.sleep",
    }
)
_NOT_FOR_PROCESSES = frozenset(
    {
        "open",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.truncate",
        "os.kill",
        "os.chdir",
    }
)
_world: list[SimulatedLoop] = []  # the one that runs in this thread, if any
_hooked = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _world:
        return
    if event in _FOR_NOBODY:
        raise SimulationEscape(f"{event}{args!r:.200}")
    if event in _NOT_FOR_PROCESSES and PROCESS.get() is not None and not _reading_code():
        raise SimulationEscape(f"{event}{args!r:.200}: files are the host's disk")


def _reading_code() -> bool:
    """Python reads modules when it first meets them, and their lines for a traceback; that is no
    business of the world."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if "importlib" in frame.f_code.co_filename or frame.f_globals is linecache.__dict__:
            return True
        frame = frame.f_back
    return False


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **given: Any) -> NoReturn:
        raise SimulationEscape(name)

    return refuse


@contextlib.contextmanager
def sandbox(loop: SimulatedLoop, seed: str) -> Iterator[None]:
    """Time, chance and the outside are `loop`'s until the end of the block."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    rng = random.Random(f"{seed}/entropy")

    def counted() -> int:
        process = PROCESS.get()
        clock = loop.clock if process is None else process.machine.clock
        return clock.count(loop.now_ns)

    def wall() -> int:
        process = PROCESS.get()
        clock = loop.clock if process is None else process.machine.clock
        return clock.wall(loop.now_ns)

    def entropy(size: int) -> bytes:
        process = PROCESS.get()
        return (rng if process is None else process.entropy).randbytes(size)

    patches: list[tuple[Any, str, Any]] = [
        (time, "time", lambda: wall() / NANOS),
        (time, "time_ns", wall),
        (time, "sleep", _refuse("time.sleep")),
        (os, "urandom", entropy),
        (random, "_urandom", entropy),  # SystemRandom, secrets
        (uuid, "_generate_time_safe", None),  # uuid1 would call libuuid
        (uuid, "_node", 0x020000000001),
        (uuid, "_last_timestamp", None),
        (threading.Thread, "start", _refuse("threading.Thread.start")),
    ]
    for name in ("monotonic", "perf_counter"):
        patches.append((time, name, lambda: counted() / NANOS))
        patches.append((time, f"{name}_ns", counted))
    with _patched(patches), _seeded(f"{seed}/global"):
        _world.append(loop)
        try:
            yield
        finally:
            _world.remove(loop)


@contextlib.contextmanager
def _patched(patches: list[tuple[Any, str, Any]]) -> Iterator[None]:
    saved = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    try:
        for owner, name, value in patches:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)


@contextlib.contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Libraries draw from Python's global stream (redis-py's back-off does)."""
    state = random.getstate()
    random.setstate(random.Random(seed).getstate())
    try:
        yield
    finally:
        random.setstate(state)
