"""Keeps the real machine out of a simulated run.

What asyncio does not route through its loop is patched while a world runs: clocks and entropy
answer from the simulation, threads and what blocks raise. An audit hook is the net under it:
sockets and subprocesses raise for everybody, files for simulated processes (the harness itself
writes its history). What can't be caught asks the machine in C: `datetime.now()`, `os.stat`,
`Lock.acquire(timeout=…)`, a name bound before (`from time import time`). For our own servers
ruff and tests/test_tidy.py ban what gives another run; `harness replay` finds it in any.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import random
import select
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from harness.simulation.clock import Clock
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
        "os.chmod",
        "os.chown",
        "os.link",
        "os.symlink",
        "os.utime",
        "sqlite3.connect",
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
Patch = tuple[Any, str, Any]  # owner, name, value
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
    patches = [*_times(loop), *_chance(seed), *_REFUSED]
    with _patched(patches), _seeded(f"{seed}/global"):
        _world.append(loop)
        try:
            yield
        finally:
            _world.remove(loop)


def _times(loop: SimulatedLoop) -> list[Patch]:
    """Clocks: those of the machine whose code asks. The time zone is UTC."""

    def clock() -> Clock:
        process = PROCESS.get()
        return loop.clock if process is None else process.machine.clock

    def counted() -> int:
        return clock().count(loop.now_ns)

    def wall() -> int:
        return clock().wall(loop.now_ns)

    def gettime_ns(number: int) -> int:
        return wall() if number == time.CLOCK_REALTIME else counted()

    gmtime, strftime, asctime = time.gmtime, time.strftime, time.asctime

    def date(seconds: float | None = None) -> time.struct_time:
        return gmtime(wall() / NANOS if seconds is None else seconds)

    patches: list[Patch] = [
        (time, "time", lambda: wall() / NANOS),
        (time, "time_ns", wall),
        (time, "clock_gettime", lambda number: gettime_ns(number) / NANOS),
        (time, "clock_gettime_ns", gettime_ns),
        (time, "gmtime", date),
        (time, "localtime", date),
        (time, "ctime", lambda seconds=None: asctime(date(seconds))),
        (time, "asctime", lambda when=None: asctime(when or date())),
        (time, "strftime", lambda form, when=None: strftime(form, when or date())),
    ]
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        patches.append((time, name, lambda: counted() / NANOS))
        patches.append((time, f"{name}_ns", counted))
    return patches


def _chance(seed: str) -> list[Patch]:
    """Entropy: a stream for each process, one for the harness."""
    rng = random.Random(f"{seed}/entropy")

    def entropy(size: int, flags: int = 0) -> bytes:
        process = PROCESS.get()
        return (rng if process is None else process.entropy).randbytes(size)

    class Seeded(random.Random):
        """Without a seed, Python's takes one from the machine, in C."""

        def __init__(self, x: Any = None) -> None:
            super().__init__(entropy(32) if x is None else x)

        def seed(self, a: Any = None, version: int = 2) -> None:
            super().seed(entropy(32) if a is None else a, version)

    shared = random.seed

    def reseed(a: Any = None, version: int = 2) -> None:
        shared(entropy(32) if a is None else a, version)

    patches: list[Patch] = [
        (os, "urandom", entropy),
        (random, "_urandom", entropy),  # SystemRandom, secrets
        (random, "Random", Seeded),
        (random, "seed", reseed),
        (uuid, "_generate_time_safe", None),  # uuid1 would call libuuid
        (uuid, "_node", 0x020000000001),
        (uuid, "_last_timestamp", None),
        (os, "getpid", lambda: 1),
    ]
    if hasattr(os, "getrandom"):
        patches.append((os, "getrandom", entropy))
    return patches


_REFUSED: list[Patch] = [
    (owner, name, _refuse(f"{where}.{name}"))
    for owner, where, name in (
        (time, "time", "sleep"),
        (threading.Thread, "threading.Thread", "start"),
        (threading.Condition, "threading.Condition", "wait"),
        (select, "select", "select"),
        (select, "select", "poll"),
        (select, "select", "epoll"),
        (socket, "socket", "gethostname"),
    )
    if hasattr(owner, name)
]


@contextlib.contextmanager
def _patched(patches: list[Patch]) -> Iterator[None]:
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
