"""Keys that expire: each kind of violation, next to valid histories."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims import ttl as claim
from harness.checkers.claims.ttl import EXPIRED_MIN, LinearizableExpiry, TimesToLive
from harness.history.events import FaultBegan, FaultEnded, operations
from harness.history.recorded import Recorded
from tests.support.claims import MS, Row, overlapping

TTL_MS = 100


def put(call: int = 0, ret: int | None = 10, type: str = "ok") -> tuple:
    return "set", type, TTL_MS, None, call, ret


def read(present: bool, call: int, ret: int | None = None, value: int | None = None) -> tuple:
    return "read", "ok", None, present if value is None else value, call, ret or call + 1


def history(*rows: tuple, keys: int = EXPIRED_MIN, clock_error_ms: int = 0) -> Recorded:
    """Return these operations on each of some keys, at the same times."""
    made = []
    for key in range(1, keys + 1):
        for f, type, ttl, value, call, ret in rows:
            answered = key if value is True else None if value is False else value
            made.append(Row(f, type, [key, ttl], [key, answered or None], call, ret))
    return overlapping(made, clock_error_ms=clock_error_ms)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([put(), read(True, 20), read(False, 150), read(False, 200)], None),
        ([read(False, 0), put(5), read(True, 20), read(False, 150)], None),
        ([put(), read(True, 20), read(False, 95, 101), read(False, 150)], None),  # may be over
        ([put(), read(False, 20)], claim.EARLY),
        ([put(), read(True, 20), read(False, 98)], claim.EARLY),
        ([put(type="info", ret=None), read(True, 20), read(False, 30)], claim.EARLY),
        ([put(), read(True, 111)], claim.LATE),
        ([put(), read(False, 103, 104), read(True, 106)], claim.BACK),
        ([put(), read(True, 20, value=999), read(False, 120)], claim.WRONG),
        ([put(type="fail"), read(True, 20), read(False, 120)], claim.WRONG),
    ],
)
def test_each_violation_of_a_time_to_live_is_found(rows: Any, kind: str | None) -> None:
    recorded = history(*rows)
    verdict = TimesToLive().check(recorded)
    if kind is None:
        assert verdict.valid is True, verdict.why
        assert LinearizableExpiry().check(recorded).valid is True
    else:
        assert verdict.evidence["violations"] == {kind: EXPIRED_MIN}
        assert "{" not in verdict.why
        assert LinearizableExpiry().check(recorded).valid is False


def test_a_set_of_unknown_outcome_may_take_effect_after_an_absent_read() -> None:
    rows = [put(type="info", ret=None), read(False, 20), read(True, 200), read(False, 250)]
    assert TimesToLive().check(history(*rows)).valid == "unknown", "nothing to find"
    assert LinearizableExpiry().check(history(*rows)).valid is True


def test_clocks_may_err_as_far_as_the_target_declares() -> None:
    rows = [put(), read(True, 20), read(False, 85), read(False, 200)]
    assert TimesToLive().check(history(*rows)).valid is False
    assert TimesToLive().check(history(*rows, clock_error_ms=20)).valid is True
    late = [put(), read(True, 20), read(True, 125), read(False, 160)]
    assert TimesToLive().check(history(*late)).valid is False
    assert TimesToLive().check(history(*late, clock_error_ms=20)).valid is True


def with_jump(recorded: Recorded, at: int, healed: int | None) -> Recorded:
    """Add a clock fault of 30 ms from `at` to `healed`, in ms; None: it had no end."""
    ops = recorded.history
    began = FaultBegan(fault="clock-jump", number=1, did={"node": "n1", "clock_ms": 30})
    ended = FaultEnded(fault="clock-jump", number=1, effective=True,
                       effect={"node": "n1", "ahead_ms": 30.0})  # fmt: skip
    ops += operations(began, None, 0, at * MS)
    if healed is not None:
        ops += operations(ended, None, 0, healed * MS)
    ops.sort(key=lambda op: op.time)
    for i, op in enumerate(ops):
        op.index = i
    return Recorded(ops, recorded.record)


@pytest.mark.parametrize(
    ("at", "healed", "early"),
    [
        (150, 155, True),
        (20, 25, False),  # before the time to live began
        (195, 230, True),  # the key was found absent before, but its deadline is later than that
        (205, 230, False),  # after the deadline: absent before it was due
        (20, None, True),
    ],
)
def test_clocks_may_err_by_what_a_fault_measured_of_them(
    at: int, healed: int | None, early: bool
) -> None:
    """A key that was set at 100 ms for 100 ms is absent at 185 ms; it is also read at 500 ms."""
    made = history(put(100, 110), read(True, 120), read(False, 185), read(False, 500))
    verdict = TimesToLive().check(with_jump(made, at, healed))
    assert (verdict.valid is not False) is early
    if healed is None:
        assert verdict.valid == "unknown"
        assert "no key was read before the earliest deadline" in verdict.why


def test_a_jump_after_its_deadline_may_bring_a_key_back_but_explains_no_early_end() -> None:
    back = history(put(), read(True, 20), read(False, 150), read(True, 160), read(False, 300))
    assert TimesToLive().check(with_jump(back, 155, 170)).valid is False, "it reappeared"
    present = history(put(), read(True, 20), read(True, 125), read(False, 500))
    assert TimesToLive().check(present).valid is False
    assert TimesToLive().check(with_jump(present, 115, 140)).valid is True


def test_an_error_as_long_as_the_times_to_live_leaves_nothing_to_judge() -> None:
    rows = [put(), read(True, 20), read(False, 150), read(False, 600)]
    assert TimesToLive().check(history(*rows, clock_error_ms=20)).valid is True
    assert TimesToLive().check(history(*rows, clock_error_ms=TTL_MS)).valid == "unknown"


def test_a_run_that_saw_no_value_or_no_expiry_is_unknown() -> None:
    assert TimesToLive().check(history(put(), read(True, 20))).valid == "unknown"
    nothing = history(put(), read(False, 150))
    assert TimesToLive().check(nothing).why == "no read saw a value"
    assert LinearizableExpiry().check(nothing).valid == "unknown"
