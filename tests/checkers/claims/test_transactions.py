"""Transactions are atomic."""

from __future__ import annotations

import pytest

from harness.checkers.linearizability.checker import check
from harness.history import History, Op
from harness.models.multi_register import MultiRegister


def txn(*steps: tuple[str, int, int | None]) -> tuple:
    return "txn", "ok", [list(s) for s in steps]


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        ([txn(("w", 0, 1), ("w", 1, 1)), txn(("r", 0, 1), ("r", 1, 1))], True),
        ([txn(("w", 0, 1), ("w", 1, 1)), txn(("r", 0, 1), ("r", 1, None))], False),
        ([txn(("w", 0, 1)), txn(("r", 0, 1), ("w", 0, 2), ("r", 0, 2))], True),
        ([txn(("w", 0, 1)), txn(("r", 0, None), ("w", 0, 2))], False),
    ],
)
def test_transactions_are_atomic(rows: list[tuple], valid: bool) -> None:
    ops: list[Op] = []
    for process, (f, type, steps) in enumerate(rows):
        asked = [[w, k, v if w == "w" else None] for w, k, v in steps]
        ops.append(Op(len(ops), len(ops), "invoke", process, f, asked))
        ops.append(Op(len(ops), len(ops), type, process, f, steps))
    assert check(History(ops), MultiRegister(2)).valid is valid
