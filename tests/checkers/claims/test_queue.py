"""Queues: each kind of violation, next to valid histories."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims import queue as claim
from harness.checkers.claims.queue import QueueAccounting
from harness.checkers.verdict import Verdict
from tests.support.claims import Row, one_by_one, overlapping


def push(value: int, length: int | None = None, type: str = "ok") -> tuple:
    return "push", type, [0, value], [0, value if length is None else [value, length]]


def pop(value: int | None, type: str = "ok") -> tuple:
    return "pop", type, [0, None], [0, value]


def judge(*rows: tuple, left: list[int]) -> Verdict:
    return QueueAccounting().check(one_by_one(*rows, final=[(0, left)]))


def test_a_queue_without_losses_is_valid() -> None:
    verdict = judge(push(1, 1), push(2, 2), push(3, type="fail"), pop(1), pop(2), pop(None),
                    push(4, type="info"), pop(4), push(5, 1), left=[5])  # fmt: skip
    assert verdict.valid is True, verdict.why


@pytest.mark.parametrize(
    ("rows", "left", "kind"),
    [
        ([push(1), push(2), pop(1)], [], claim.LOST),
        ([push(1), pop(1), pop(1)], [], claim.TWICE),
        ([push(1), pop(1)], [1], claim.TWICE),
        ([push(1)], [1, 1], claim.TWICE),
        ([push(1), pop(1)], [7], claim.NEVER),
        ([pop(1), push(1)], [], claim.NEVER),
        ([push(1), push(2, type="fail"), pop(1)], [2], claim.FAILED),
        ([push(1), push(2, type="fail"), pop(1), pop(2)], [], claim.FAILED),
        ([push(1), push(2), pop(2), pop(1)], [], claim.ORDER),
        ([push(1), push(2), pop(2)], [1], claim.ORDER),
        ([push(1), push(2)], [2, 1], claim.ORDER),
        ([push(1), pop(None), pop(1)], [], claim.EMPTY),
        ([push(1), pop(None)], [1], claim.EMPTY),
        ([push(1), push(2, 1)], [1, 2], claim.LENGTH),
        ([push(1), pop(1), push(2, 3)], [2], claim.LENGTH),
    ],
)
def test_each_violation_of_a_queue_is_found(rows: Any, left: list[int], kind: str) -> None:
    verdict = judge(*rows, left=left)
    assert verdict.valid is False
    assert verdict.evidence["violations"][kind] == 1
    assert "{" not in verdict.why


def test_a_pop_of_unknown_outcome_excuses_one_missing_element_of_its_queue() -> None:
    assert judge(push(1), push(2), pop(None, "info"), pop(2), left=[]).valid is True
    rows = [push(1), push(2), push(3), pop(None, "info"), pop(3)]
    assert judge(*rows, left=[]).valid is False
    other = ("pop", "info", [1, None], [1, None])
    assert judge(push(1), other, left=[]).valid is False


def test_a_pop_of_unknown_outcome_may_have_emptied_the_queue() -> None:
    assert judge(push(1), push(9), pop(9, "info"), pop(9), pop(None), left=[]).valid is True
    # It took 1 before: 2, which is popped later, was there all the time.
    rows = [push(1), push(2), pop(None, "info"), pop(None), pop(2)]
    assert judge(*rows, left=[]).valid is False
    assert judge(push(1), pop(None), pop(None, "info"), push(2), pop(2), left=[]).valid is False


def test_overlapping_pushes_may_be_popped_in_any_order() -> None:
    rows = [Row("push", "ok", [0, 1], [0, 1], 0, 10), Row("push", "ok", [0, 2], [0, 2], 5, 20),
            Row("pop", "ok", [0, None], [0, 2], 30, 31),
            Row("pop", "ok", [0, None], [0, 1], 40, 41)]  # fmt: skip
    assert QueueAccounting().check(overlapping(rows, final=[(0, [])])).valid is True


def test_a_queue_without_final_reads_is_unknown() -> None:
    unread = QueueAccounting().check(one_by_one(push(1), pop(1), final=[(9, [])]))
    assert unread.valid == "unknown"
    assert QueueAccounting().check(one_by_one(push(1), pop(1))).valid == "unknown"
    assert QueueAccounting().check(one_by_one(push(1), pop(1), pop(1))).valid is False
