"""The linearizability checker on the families of histories that Porcupine's authors and we use.

    python benchmarks/linearizable.py [--rounds 5] [--quick]

Each line: operations, what was decided and how, the median time of a check on one thread without
building the columns, how much memory it took beyond them, the goal, and the ratio to Porcupine:
figures marked * were recorded on a machine like this one, > where it did not finish. Needs numpy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from histories import CAS, NOTHING, OPEN, READ, WRITE, Columns, registers

from harness.native import _core

ANY, KEEP = -1, -1
FIVE = {"values": 5, "writes": 0.3, "swaps": 0.3}


@dataclass
class Case:
    """`goal_ms`: shared/checkers.md, section 9. `porcupine_s`: recorded; None: did not finish in
    20 s or 8 GB."""

    name: str
    make: Callable[[], Columns]
    goal_ms: float | None = None
    porcupine_s: float | None = None
    threads: int = 1
    quick: bool = True


def case(name: str, goal_ms: float | None, porcupine_s: float | None, n: int, clients: int,
         threads: int = 1, **more: Any) -> Case:  # fmt: skip
    return Case(name, lambda: registers(n, clients, **more), goal_ms, porcupine_s, threads,
                n <= 1_000_000)  # fmt: skip


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
]  # fmt: skip


def joined(made: Columns) -> tuple[Any, Any, int]:
    """(requires, installs, how many states) as the core takes them; state 0 is NOTHING."""
    failed = (made.f == CAS) & ~made.swapped & (made.ret != OPEN)
    requires = np.where(made.f == WRITE, ANY, made.a + 1)
    requires = np.where(failed, -3 - (made.a + 1), requires)
    installs = np.where(made.f == WRITE, made.a + 1, made.b + 1)
    installs = np.where((made.f == READ) | failed, KEEP, installs)
    states = int(max(made.a.max(), made.b.max(), NOTHING)) + 2
    return requires.astype(np.int32), installs.astype(np.int32), states


def check(made: Columns, threads: int, rounds: int) -> tuple[int, str, float, float]:
    """(verdict, how, median seconds, MB of the search)."""
    requires, installs, states = joined(made)
    call, ret = made.call.astype(np.int64), made.ret.astype(np.int64)
    key = made.key.astype(np.int32) if made.key.max() else None
    took, result = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        _, result = _core.check(
            call, ret, key, None, requires, installs, states, True, None, None, None,
            20_000_000, 4 << 30, None, True, False, threads,
        )  # fmt: skip
        took.append(time.perf_counter() - began)
    how = sorted({r[1] for r in result})
    return (min(r[0] for r in result), ", ".join(how), statistics.median(took),
            sum(r[4] for r in result) / 1e6)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="nothing longer than a million")
    given = parser.parse_args()
    _core.check(array("q", [0]), array("q", [1]), None, None, array("i", [0]), array("i", [-1]),
                1, True, None, None, None, 1, 1 << 20, None, True, False, 1)  # fmt: skip
    print(f"{'':42}{'operations':>11}{'verdict':>9}{'ms':>9}{'goal':>7}{'MB':>7}{'Porcupine s':>13}"
          f"{'ratio':>9}  how")  # fmt: skip
    for c in CASES:
        if given.quick and not c.quick:
            continue
        made = c.make()
        valid, how, seconds, mb = check(made, c.threads, given.rounds)
        assert valid < 0 or bool(valid) is made.valid, f"{c.name}: {valid}"
        word = {1: "valid", 0: "invalid", -1: "unknown"}[valid]
        theirs = f"{c.porcupine_s}*" if c.porcupine_s else "> 20*"
        ratio = f"{(c.porcupine_s or 20) / seconds:,.0f}"
        print(f"{c.name:42}{len(made):>11,}{word:>9}{seconds * 1e3:>9.2f}"
              f"{c.goal_ms if c.goal_ms else '':>7}{mb:>7.1f}{theirs:>13}"
              f"{ratio if c.porcupine_s else '> ' + ratio:>9}  {how}")  # fmt: skip


if __name__ == "__main__":
    main()
