"""Locks: their tokens, and that one owner holds them at a time."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims import lock as claim
from harness.checkers.claims.lock import Exclusion, FencingTokens, LinearizableLeases
from tests.support.claims import Row, one_by_one, overlapping

LEASE_MS = 100


def acquire(owner: int, token: int | None) -> tuple:
    return "acquire", "ok", [0, [owner, None]], [0, [owner, token]]


def tokens(*rows: tuple, last: int | None) -> Any:
    return FencingTokens().check(one_by_one(*rows, final=None if last is None else [(0, last)]))


def test_increasing_tokens_are_valid() -> None:
    assert tokens(acquire(1, 1), acquire(2, None), acquire(3, 4), last=4).valid is True
    assert tokens(acquire(2, None), last=0).valid == "unknown"
    assert tokens(acquire(1, 1), acquire(2, 2), last=None).valid == "unknown"


@pytest.mark.parametrize(
    ("rows", "last", "kind"),
    [
        ([acquire(1, 2), acquire(2, 1)], 2, claim.NOT_GREATER),
        ([acquire(1, 1), acquire(2, 1)], 1, claim.NOT_GREATER),
        ([acquire(1, 5)], 4, claim.FORGOTTEN),
    ],
)
def test_each_violation_of_fencing_tokens_is_found(rows: Any, last: int, kind: str) -> None:
    verdict = tokens(*rows, last=last)
    assert verdict.evidence["violations"] == {kind: 1}
    assert "{" not in verdict.why


def test_overlapping_grants_may_have_any_order_but_no_equal_tokens() -> None:
    def both(one: int, other: int) -> Any:
        rows = [Row("acquire", "ok", [0, [1, None]], [0, [1, one]], 0, 10),
                Row("acquire", "ok", [0, [2, None]], [0, [2, other]], 5, 20)]  # fmt: skip
        return FencingTokens().check(overlapping(rows, final=[(0, 2)]))

    assert both(2, 1).valid is True
    assert both(2, 2).evidence["violations"] == {claim.TWICE: 1}


def got(owner: int, token: int | None, call: int, ret: int | None, type: str = "ok") -> Row:
    return Row("acquire", type, [0, [owner, None]], [0, [owner, token]], call, ret)


def freed(owner: int, call: int, ret: int | None, type: str = "ok", held: bool = True) -> Row:
    return Row("release", type, [0, owner], [0, [owner, held]], call, ret)


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        ([got(1, 1, 0, 10), got(2, 2, 20, 30)], False),
        ([got(1, 1, 0, 10), got(2, 2, 20, 99)], False),
        ([got(1, 1, 0, 10), got(2, 2, 20, 100)], True),  # the lease may have ended by then
        ([got(1, 1, 0, 10), freed(1, 12, 15), got(2, 2, 20, 30)], True),
        ([got(1, 1, 0, 10), freed(1, 12, None, "info"), got(2, 2, 20, 30)], True),
        ([got(1, 1, 0, 10), freed(1, 12, 15, "fail"), got(2, 2, 20, 30)], False),
        ([got(1, 1, 0, 10), freed(2, 12, 15), got(2, 2, 20, 30)], False),
        ([got(1, 1, 0, 10), freed(1, 29, 40), got(2, 2, 20, 30)], True),
        ([got(1, 1, 0, 10), freed(1, 31, 40), got(2, 2, 20, 30)], False),
        ([got(1, 1, 0, 50), got(2, 2, 20, 60)], False),
        ([got(1, 1, 0, 50), freed(1, 55, 58), got(2, 2, 20, 60)], True),
        ([got(1, 2, 0, 50), freed(2, 30, 35), got(2, 1, 20, 25)], True),
    ],
)
def test_a_lock_is_granted_to_nobody_else_while_a_lease_lasts(rows: Any, valid: bool) -> None:
    recorded = overlapping(rows, final=[(0, 2)])
    verdict = Exclusion(LEASE_MS).check(recorded)
    assert verdict.valid is valid
    if not valid:
        (told,) = verdict.evidence["findings"]
        assert len(told["rows"]) == 2
        assert LinearizableLeases(LEASE_MS).check(recorded).valid is False


def test_the_clock_error_that_the_target_declares_shortens_the_certain_lease() -> None:
    rows = [got(1, 1, 0, 10), got(2, 2, 20, 85)]
    assert Exclusion(LEASE_MS).check(overlapping(rows)).valid is False
    assert Exclusion(LEASE_MS).check(overlapping(rows, clock_error_ms=20)).valid is True
    nothing = Exclusion(LEASE_MS).check(overlapping(rows, clock_error_ms=LEASE_MS))
    assert nothing.valid == "unknown"
    assert nothing.why == "clocks may err by more than a lease lasts"


@pytest.mark.parametrize(
    ("rows", "last", "valid"),
    [
        ([got(1, 1, 0, 10), got(2, 2, 100, 120)], 2, True),
        ([got(1, 1, 0, 10), got(2, 3, 100, 120)], 3, False),  # a token that nobody was granted
        ([got(1, 1, 0, 10), got(2, None, 20, 30), got(3, 2, 200, 210)], 2, True),
        ([got(1, 1, 0, 10), got(2, 2, 111, 115), got(3, None, 30, 31)], 2, True),
        ([got(1, 1, 0, 10), got(2, None, 111, 115), got(3, 2, 120, 130)], 2, False),  # free by then
        ([got(1, 1, 0, 10), freed(1, 20, 30), freed(1, 40, 50), got(2, 2, 60, 70)], 2, False),
        ([got(1, 1, 0, 10), freed(1, 20, 30, held=False), got(2, 2, 200, 210)], 2, False),
        ([got(1, 1, 0, 10), freed(1, 105, 120, held=False), got(2, 2, 200, 210)], 2, True),
        ([got(1, 1, 0, 10), freed(1, 120, 125), got(2, 2, 200, 210)], 2, False),
        ([got(1, 1, 0, 10), got(2, None, 20, None, "info"), got(3, 3, 300, 310)], 3, True),
    ],
)
def test_every_answer_about_a_lease_is_judged(rows: Any, last: int, valid: bool) -> None:
    recorded = overlapping(rows, final=[(0, last)])
    assert LinearizableLeases(LEASE_MS).check(recorded).valid is valid
