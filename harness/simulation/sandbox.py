"""Isolates a simulated run from the real machine.

Functions that bypass the asyncio loop are patched while a world runs: clocks and entropy come from
the simulation, threads and blocking calls raise. An audit hook catches the rest: sockets and
subprocesses raise for all code, files for simulated processes only (the harness itself writes its
history). Calls in C can't be intercepted: `datetime.now()`, `os.stat`,
`Lock.acquire(timeout=…)`, or a name bound before (`from time import time`). For our own servers
ruff and tests/repository/test_tidy.py ban such calls; `harness replay` detects them in any target.
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

# Audit events that raise for all code.
_REFUSED_EVENTS = frozenset(
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
# Audit events that raise for simulated processes only.
_REFUSED_TO_PROCESSES = frozenset(
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
_world: list[SimulatedLoop] = []  # the loop of the running world, if any
_hooked = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _world:
        return
    if event in _REFUSED_EVENTS:
        raise SimulationEscape(f"{event}{args!r:.200}")
    if event in _REFUSED_TO_PROCESSES and PROCESS.get() is not None and not _reading_code():
        raise SimulationEscape(f"{event}{args!r:.200}: use host.disk for files")


def _reading_code() -> bool:
    """Return whether Python itself is reading source code, for an import or a traceback."""
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
    """Within the block, take time and randomness from the simulation, and refuse other access to
    the machine."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    patches = [*_times(loop), *_randomness(seed), *_REFUSED]
    with _patched(patches), _seeded(f"{seed}/global"):
        _world.append(loop)
        try:
            yield
        finally:
            _world.remove(loop)


def _times(loop: SimulatedLoop) -> list[Patch]:
    """Return patches of the clocks, to those of the caller's machine. The time zone is UTC."""

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


def _randomness(seed: str) -> list[Patch]:
    """Return patches of the entropy sources, to one stream per process and one for the harness."""
    rng = random.Random(f"{seed}/entropy")

    def entropy(size: int, flags: int = 0) -> bytes:
        process = PROCESS.get()
        return (rng if process is None else process.entropy).randbytes(size)

    class Seeded(random.Random):
        """Takes a missing seed from the simulation; Python's class asks the machine, in C."""

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
    """Seed Python's global stream within the block: libraries use it (redis-py's back-off does)."""
    state = random.getstate()
    random.setstate(random.Random(seed).getstate())
    try:
        yield
    finally:
        random.setstate(state)
