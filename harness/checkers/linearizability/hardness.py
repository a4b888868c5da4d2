"""Why a key was not decided within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.checkers.linearizability.entries import Outcome
from harness.history.columns import OPEN, Columns


def hardness(columns: Columns, rows: Sequence[int], outcome: Outcome) -> dict[str, Any]:
    """Return the size of a key's problem: the number of `operations`, of completed ones that were
    concurrent `at_once` at most, of those of `unknown` outcome, of completed ones that a partial
    linearization `explained`, and what was spent."""
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
    """Return `hardness` in words: `200 operations, 14 concurrent, 9 of unknown outcome; …`."""
    unknown = f", {hard['unknown']} of unknown outcome" if hard["unknown"] else ""
    return (
        f"{hard['operations']} operations, {hard['at_once']} concurrent{unknown}; a linearization "
        f"was found for the first {hard['explained']} that completed"
    )
