"""Counters: each kind of violation, next to valid histories."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims import counter as claim
from harness.checkers.claims.counter import CounterAccounting
from harness.checkers.verdict import Verdict
from tests.support.claims import Row, one_by_one, overlapping


def add(amount: int, after: int | None = None, type: str = "ok") -> tuple:
    return "add", type, [0, amount], [0, [amount, after]]


def total(n: int) -> tuple:
    return "read", "ok", [0, None], [0, n]


def judge(*rows: tuple, final: int) -> Verdict:
    return CounterAccounting().check(one_by_one(*rows, final=[(0, final)]))


@pytest.mark.parametrize("final", [3, 8])
def test_a_counter_between_its_bounds_is_valid(final: int) -> None:
    assert judge(add(1, 1), add(2, 3), add(5, type="info"), total(3), final=final).valid is True


@pytest.mark.parametrize(
    ("rows", "final", "kind"),
    [
        ([add(1, 1), add(2, 3)], 2, claim.LOW),
        ([add(1, 1), add(2, 3)], 4, claim.HIGH),
        ([add(1, 1), add(2, 3), total(0)], 3, claim.LOW),
        ([add(1, 1), add(2, 3), total(4)], 3, claim.HIGH),
        ([add(1, 1), add(1, 1)], 2, claim.LOW),
        ([add(1, 5)], 5, claim.HIGH),
        ([add(1, 1), add(9, type="info"), total(10), total(1)], 10, claim.BACK),
        ([add(1, 1), add(9, type="info"), add(1, 11), total(2)], 11, claim.BACK),
    ],
)
def test_each_violation_of_a_counter_is_found(rows: Any, final: int, kind: str) -> None:
    verdict = judge(*rows, final=final)
    assert verdict.valid is False
    assert verdict.evidence["violations"][kind] >= 1
    assert "{" not in verdict.why


def test_two_overlapping_increments_are_not_answered_the_same_sum() -> None:
    rows = [Row("add", "ok", [0, 1], [0, [1, 1]], 0, 10),
            Row("add", "ok", [0, 1], [0, [1, 1]], 5, 20)]  # fmt: skip
    verdict = CounterAccounting().check(overlapping(rows, final=[(0, 2)]))
    assert verdict.evidence["violations"] == {claim.SAME: 1}


def test_increments_of_unknown_outcome_alone_are_unknown() -> None:
    verdict = judge(add(5, type="info"), final=5)
    assert (verdict.valid, verdict.why) == ("unknown", "no add was acknowledged")


def test_failed_additions_do_not_count() -> None:
    assert judge(add(1, 1), add(5, type="fail"), final=1).valid is True
    assert judge(add(1, 1), add(5, type="fail"), final=6).valid is False
