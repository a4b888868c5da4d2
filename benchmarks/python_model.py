"""A five-valued register whose model is five lines of Python, beside the built-in one.

    python benchmarks/python_model.py [--operations 100000] [--rounds 7]

Columns are given; rounds alternate. Prints the median of each and their ratio, which should be at
most 3. Needs `.[bench]`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from array import array
from typing import Any

from histories import Columns, registers

from harness.checkers.linearizability.checker import decide_columns
from harness.checkers.linearizability.entries import budget_of
from harness.history import columns
from harness.models.base import INCONSISTENT, Model
from harness.models.register import Register


class Five:
    recurs = True

    def init(self) -> Any:
        return None

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        if f == "write":
            return value
        return state if value == state else INCONSISTENT


def given_columns(made: Columns) -> columns.Columns:
    """Return reads and writes as columns, as a reader of files would."""
    return columns.Columns(
        call=array("q", made.call.tolist()),
        ret=array("q", made.ret.tolist()),
        f=array("i", made.f.tolist()),
        shape=array("i", [0] * len(made)),
        a=array("i", (made.a + 1).tolist()),
        b=array("i", [0] * len(made)),
        c=array("i", [0] * len(made)),
        names=["read", "write"],
        values=[None, *range(int(made.a.max()) + 1)],
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for clients in (5, 10, 20):
        made = registers(given.operations, clients, values=5)
        rows = given_columns(made)
        models: list[Model] = [Five(), Register()]
        took: list[list[float]] = [[], []]
        for _ in range(given.rounds):
            for model, seconds in zip(models, took, strict=True):
                began = time.perf_counter()
                _, (outcome,) = decide_columns(rows, model, budget_of(len(rows)))
                seconds.append(time.perf_counter() - began)
                assert outcome.valid, outcome
        in_python, built_in = (statistics.median(seconds) * 1e3 for seconds in took)
        print(f"{len(rows):,} operations, c{clients}: in Python {in_python:.1f} ms, built in "
              f"{built_in:.1f} ms, ratio {in_python / built_in:.2f} (at most 3)")  # fmt: skip


if __name__ == "__main__":
    main()
