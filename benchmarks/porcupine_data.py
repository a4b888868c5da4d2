"""Porcupine's own test data: logs of etcd, and key-value texts.

    python benchmarks/porcupine_data.py FOLDER [--rounds 50]

FOLDER is test_data of Porcupine's source. Prints for each history the median time in the core, on
one thread, columns given; and of whole verdicts in Python, with the cores of every bad key.
Porcupine's figures were recorded on a machine like this one: for the texts and the slowest logs of
etcd one by one, for the other logs the median of all.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.checkers.linearizability import search
from harness.checkers.linearizability.checker import decide_columns, judge
from harness.checkers.linearizability.entries import budget_of
from harness.formats import FORMATS
from harness.history.columns import columns_of
from harness.models.base import Model
from harness.models.register import CasRegister
from harness.models.text import Text
from harness.native import _core

RECORDED_US = {
    "c01-bad": 46, "c01-ok": 71, "c10-bad": 248, "c10-ok": 359, "c50-bad": 20_100,
    "c50-ok": 156_000, "etcd_002": 207_000, "etcd_007": 167_000, "etcd_057": 59_000,
    "etcd_099": 58_000, "etcd_075": 18_200, "etcd_040": 10_300, "etcd_080": 9_200,
}  # fmt: skip
ETCD_MEDIAN_US = 75


class _Timed:
    """The core, with its checks timed."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(_core, name)

    def check(self, *given: Any) -> Any:
        began = time.perf_counter()
        result = _core.check(*given[:-1], 1)
        self.seconds += time.perf_counter() - began
        return result


def timed(act: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the median microseconds in the core, and in total."""
    in_core, whole = [], []
    for _ in range(rounds):
        search._core = clock = _Timed()  # type: ignore[assignment]
        began = time.perf_counter()
        act()
        whole.append(time.perf_counter() - began)
        in_core.append(clock.seconds)
    search._core = _core
    return statistics.median(in_core) * 1e6, statistics.median(whole) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=50)
    given = parser.parse_args()
    ratios, etcd = [], []
    for path in [
        *sorted(given.folder.glob("jepsen/*.log")),
        *sorted(given.folder.glob("kv/*.txt")),
    ]:
        model: Model = Text() if path.suffix == ".txt" else CasRegister()
        form = FORMATS["kv" if path.suffix == ".txt" else "jepsen-log"]
        history, _ = form.read(path, True, form.keyed)
        columns = columns_of(history.pairs(), independent=form.keyed)
        if not len(columns):
            continue
        budget = budget_of(len(columns))
        in_core, whole = timed(lambda c=columns, m=model, b=budget: decide_columns(c, m, b),  # type: ignore[misc]
                               given.rounds)  # fmt: skip
        if path.suffix == ".log":
            etcd.append(in_core)
        theirs = RECORDED_US.get(path.stem, ETCD_MEDIAN_US)
        ratios.append(theirs / in_core)
        if path.stem in RECORDED_US:
            began = time.perf_counter()
            verdict = judge(columns, model, history.pairs, witnesses=10)
            seconds = time.perf_counter() - began
            cores = [len(w["operations"]) for w in verdict.evidence.get("witnesses", [])]
            minimal = all(w["minimal"] for w in verdict.evidence.get("witnesses", []))
            summary = f"cores of {cores} operations, all minimal: {minimal}" if cores else ""
            print(f"{path.stem:9} {len(columns):5} operations: {in_core:8.1f} us in the core, "
                  f"{whole:8.1f} from Python; Porcupine {theirs:,}* us, ratio {ratios[-1]:,.1f}; "
                  f"verdict {verdict.valid} in {seconds * 1e3:.1f} ms {summary}")  # fmt: skip
    if etcd:
        print(f"{len(etcd)} logs of etcd: {sum(etcd) / 1e3:.2f} ms together, median "
              f"{statistics.median(etcd):.1f} us, max {max(etcd):.0f}; Porcupine's median "
              f"{ETCD_MEDIAN_US}* us")  # fmt: skip
    mean = math.exp(statistics.fmean(math.log(r) for r in ratios))
    print(f"geometric mean of the ratios: {mean:.1f} (logs without a recorded figure are "
          "compared with the median); * recorded")  # fmt: skip


if __name__ == "__main__":
    main()
