"""The linearizability checker on the families of histories of `histories.py`, beside Porcupine.

    python benchmarks/linearizable.py [--rounds 5] [--quick] [--porcupine FOLDER] [--only TEXT]

Each line: operations, the verdict and the algorithm, the median time of a check on one thread
without building the columns, its memory beyond them, the goal, and the ratio to Porcupine, whose
source is in FOLDER; else to figures recorded on a machine like this one, marked *. `>`: Porcupine
did not finish within 20 s and 8 GB. Needs `.[bench]`.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from histories import CAS, NOTHING, OPEN, READ, WRITE, Columns, Contents, contents, registers
from peer import Porcupine

from harness.native import _core

ANY, KEEP = -1, -1
FIVE = {"values": 5, "writes": 0.3, "swaps": 0.3}


@dataclass
class Case:
    """One history to check. `goal_ms`: the time to stay within. `porcupine_s`: Porcupine's recorded
    time; None if it did not finish within 20 s and 8 GB."""

    name: str
    make: Callable[[], Columns | Contents]
    goal_ms: float | None = None
    porcupine_s: float | None = None
    threads: int = 1
    quick: bool = True


def case(name: str, goal_ms: float | None, porcupine_s: float | None, n: int, clients: int,
         threads: int = 1, **more: Any) -> Case:  # fmt: skip
    return Case(name, lambda: registers(n, clients, **more), goal_ms, porcupine_s, threads,
                n <= 1_000_000)  # fmt: skip


def container(name: str, goal_ms: float | None, n: int, clients: int, goes_next: str,
              **more: Any) -> Case:  # fmt: skip
    return Case(name, lambda: contents(n, clients, goes_next, **more), goal_ms, None, 1, True)


CASES = [
    case("A unique writes, c5, 1e5", 4, 18.3, 100_000, 5),
    case("A unique writes, c5, 1e6", 40, None, 1_000_000, 5),
    case("A unique writes, c100, 1e6", 40, None, 1_000_000, 100),
    case("A unique writes, c5, 1e7", None, None, 10_000_000, 5),
    case("A unique writes, c100, 1e7", None, None, 10_000_000, 100),
    case("B one stale read, c100, 1e6", 40, None, 1_000_000, 100, stale_at=0.9),
    case("B one stale read, c100, 1e7", None, None, 10_000_000, 100, stale_at=0.9),
    case("C unique, failing CAS, c20, 1e6", 250, None, 1_000_000, 20, writes=0.25, swaps=0.25),
    case("D five values, CAS, c5, 1e5", None, 5.1, 100_000, 5, **FIVE),
    case("D five values, CAS, c10, 1e5", 60, None, 100_000, 10, **FIVE),
    case("D five values, CAS, c20, 1e5", 200, None, 100_000, 20, **FIVE),
    case("D five values, CAS, c50, 1e4", 1000, None, 10_000, 50, seed=2, **FIVE),
    case("D five values, CAS, c10, 1e6", None, None, 1_000_000, 10, **FIVE),
    case("E phantom read, c10, 1e5", None, None, 100_000, 10, phantom_at=0.9, **FIVE),
    case("H five values, 1 % unknown, c5, 1e5", None, 2.7, 100_000, 5, unknown=0.01, **FIVE),
    case("H five values, 5 % unknown, c5, 1e5", 120, None, 100_000, 5, unknown=0.05, **FIVE),
    case("I 1000 keys, unique, c50, 1e6", None, 3.5, 1_000_000, 50, keys=1000),
    case("I 1000 keys, unique, c50, 1e6, 2 threads", 30, 3.5, 1_000_000, 50, 2, keys=1000),
    case("J 10 keys, 1 % unknown, c20, 1e6", None, None, 1_000_000, 20, keys=10, unknown=0.01),
    case("K 100 keys, five values, c20, 1e6", None, 6.8, 1_000_000, 20, keys=100, **FIVE),
    case("L 100 keys, one stale read, c20, 1e6", None, 5.7, 1_000_000, 20, keys=100, stale_at=0.9),
    container("FIFO queue, c20, 1e6", 120, 1_000_000, 20, "first"),
    container("FIFO queue, two exchanged, c20, 1e6", 120, 1_000_000, 20, "first", swapped_at=0.9),
    container("stack, c20, 1e6", None, 1_000_000, 20, "last"),
    container("stack, two exchanged, c20, 1e6", None, 1_000_000, 20, "last", swapped_at=0.9),
    container("priority queue, c20, 1e6", None, 1_000_000, 20, "least"),
    container("priority queue, two exchanged, c20, 1e6", None, 1_000_000, 20, "least",
              swapped_at=0.9),
]  # fmt: skip


DISCIPLINES = {"first": 0, "last": 1, "least": 2}


@dataclass
class Measured:
    """Result of one check. `verdict`: 1 linearizable, 0 not, -1 undecided. `mb`: peak growth of
    the process."""

    verdict: int
    how: str
    seconds: float
    mb: float
    configurations: int


def joined(made: Columns) -> tuple[Any, Any, int]:
    """Return (requires, installs, number of states) for the core; state 0 is NOTHING."""
    failed = (made.f == CAS) & ~made.swapped & (made.ret != OPEN)
    requires = np.where(made.f == WRITE, ANY, made.a + 1)
    requires = np.where(failed, -3 - (made.a + 1), requires)
    installs = np.where(made.f == WRITE, made.a + 1, made.b + 1)
    installs = np.where((made.f == READ) | failed, KEEP, installs)
    states = int(max(made.a.max(), made.b.max(), NOTHING)) + 2
    return requires.astype(np.int32), installs.astype(np.int32), states


def prepared(
    made: Columns | Contents, threads: int, configurations: int
) -> Callable[[], list[Any]]:
    """Return a function that checks the columns and returns the outcomes."""
    call, ret = made.call.astype(np.int64), made.ret.astype(np.int64)
    if isinstance(made, Contents):
        kind, value = made.kind.astype(np.int32), made.value.astype(np.int32)
        discipline = DISCIPLINES[made.goes_next]
        return lambda: _core.containers(discipline, call, ret, None, kind, value, 1)
    requires, installs, states = joined(made)
    key = made.key.astype(np.int32) if made.key.max() else None
    return lambda: _core.check(
        call, ret, key, None, requires, installs, states, True, None, None, None,
        configurations, 4 << 30, None, True, False, threads,
    )[1]  # fmt: skip


def measure(
    made: Columns | Contents, threads: int = 1, rounds: int = 5, configurations: int = 20_000_000
) -> Measured:
    """Return the median of `rounds` checks."""
    check = prepared(made, threads, configurations)
    ctypes.CDLL(None).malloc_trim(0)  # exclude memory from making the history
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = _status("VmRSS")
    result = check()
    mb = _status("VmHWM") - before
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        result = check()
        took.append(time.perf_counter() - began)
    how = ", ".join(sorted({r[1] for r in result}))
    return Measured(min(r[0] for r in result), how, statistics.median(took), mb,
                    sum(r[3] for r in result))  # fmt: skip


def _status(name: str) -> float:
    """Return an entry of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1000
    raise LookupError(name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="skip histories longer than a million")
    parser.add_argument("--only", default="", help="only cases whose names contain this")
    parser.add_argument("--porcupine", type=Path, help="folder of Porcupine's source")
    given = parser.parse_args()
    peer = Porcupine(given.porcupine) if given.porcupine else None
    print(f"{'':42}{'operations':>11}{'verdict':>9}{'ms':>9}{'goal':>7}{'MB':>7}{'Porcupine s':>13}"
          f"{'ratio':>9}  how")  # fmt: skip
    for c in CASES:
        if (given.quick and not c.quick) or given.only not in c.name:
            continue
        made = c.make()
        got = measure(made, c.threads, given.rounds)
        assert got.verdict < 0 or bool(got.verdict) is made.valid, f"{c.name}: {got}"
        word = {1: "valid", 0: "invalid", -1: "unknown"}[got.verdict]
        seconds, mark = c.porcupine_s, "*"
        if peer is not None and isinstance(made, Columns):
            theirs = peer.check(made, c.threads)
            seconds, mark = theirs.seconds, ""
            assert theirs.verdict in ("Unknown", "Ok" if made.valid else "Illegal"), theirs
        if isinstance(made, Contents):  # it takes over 15 s for a thousand operations of a queue
            seconds, mark = None, "*"
        porcupine = f"{seconds:.3g}{mark}" if seconds else f"> 20{mark}"
        ratio = f"{(seconds or 20) / got.seconds:,.0f}"
        print(f"{c.name:42}{len(made):>11,}{word:>9}{got.seconds * 1e3:>9.2f}"
              f"{c.goal_ms if c.goal_ms else '':>7}{got.mb:>7.0f}{porcupine:>13}"
              f"{ratio if seconds else '> ' + ratio:>9}  {got.how}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
