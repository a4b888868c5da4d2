"""Why a key was not decided within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.checkers.linearizability.entries import Outcome
from harness.history.columns import OPEN, Columns


def hardness(columns: Columns, rows: Sequence[int], outcome: Outcome) -> dict[str, Any]:
    """Of a key: how many `operations`, how many `at_once` at most, how many of `unknown` outcome,
    how many completions an order was `explained` for, and what was spent on the rest."""
    returned = sorted(columns.ret[row] for row in rows if columns.ret[row] != OPEN)
    called = sorted(columns.call[row] for row in rows if columns.ret[row] != OPEN)
    most = ended = 0
    for begun, call in enumerate(called, 1):
        while returned[ended] < call:
            ended += 1
        most = max(most, begun - ended)
    stuck = columns.ret[outcome.stuck] if outcome.stuck >= 0 else 0
    return {
        "operations": len(rows),
        "at_once": most,
        "unknown": len(rows) - len(returned),
        "explained": sum(ret < stuck for ret in returned),
        "configurations": outcome.configurations,
        "bytes": outcome.bytes,
        "spent": outcome.how,
    }


def hardness_words(hard: dict[str, Any]) -> str:
    """`200 operations, 14 at once, 9 of unknown outcome; an order of the first 31 was found`."""
    unknown = f", {hard['unknown']} of unknown outcome" if hard["unknown"] else ""
    return (
        f"{hard['operations']} operations, {hard['at_once']} at once{unknown}; an order was found "
        f"for the first {hard['explained']} that completed"
    )
