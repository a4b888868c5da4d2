"""Accounting of sets and counters: each kind of violation, next to valid histories."""

from __future__ import annotations

import pytest

from harness.checkers.claims.accounting import CounterAccounting, SetAccounting
from harness.history import NEMESIS, History, Op
from harness.history.recorded import Recorded


def history(*rows: tuple, final: list[tuple] | None = None) -> Recorded:
    """Build a history from rows of (f, type, invoked value, result[, error]) and final reads."""
    ops: list[Op] = []

    def add(process: int, f: str, type: str, invoked, result, error=None) -> None:
        time = len(ops)
        ops.append(Op(time, time, "invoke", process, f, invoked))
        ops.append(Op(time + 1, time + 1, type, process, f, result, error))

    for i, row in enumerate(rows):
        add(i, *row)
    if final is not None:
        ops.append(Op(len(ops), len(ops), "invoke", NEMESIS, "final"))
        ops.append(Op(len(ops), len(ops), "info", NEMESIS, "final"))
        for i, (key, value) in enumerate(final):
            add(1000 + i, "read", "ok", [key, None], [key, value])
    return Recorded(History(ops))


def added(value, type="ok", error=None):
    return "add", type, [0, value], [0, value], error


def seen(*values):
    return "read", "ok", [0, None], [0, list(values)]


def judge(*rows, final):
    return SetAccounting().check(history(*rows, final=final))


def test_a_set_without_losses_is_valid() -> None:
    verdict = judge(added(1), added(2), seen(1, 2), added(3, "fail"), added(4, "info"),
                    final=[(0, [1, 2, 4])])  # fmt: skip
    assert verdict.valid is True
    assert verdict.evidence["recovered"] == 1


@pytest.mark.parametrize(
    ("rows", "final", "field"),
    [
        ([added(1), added(2)], [1], "lost"),
        ([added(1)], [1, 1], "doubled"),
        ([added(1, error="already a member")], [1], "doubled"),
        ([added(1), added(2, "fail")], [1, 2], "unexpected"),
        ([added(1)], [1, 7], "unexpected"),
        ([added(1), added(2), seen(2)], [1, 2], "stale"),
    ],
)
def test_each_violation_of_a_set_is_found_and_counted(rows, final, field) -> None:
    verdict = judge(*rows, final=[(0, final)])
    assert verdict.valid is False
    assert verdict.evidence[field] == 1


def test_a_read_that_overlaps_the_add_is_not_stale() -> None:
    ops = history(added(1), seen(), final=[(0, [1])]).history
    ops[1], ops[2] = ops[2], ops[1]
    for i, op in enumerate(ops):
        op.index = op.time = i
    assert SetAccounting().check(Recorded(ops)).valid is True


def test_a_final_read_at_a_demoted_node_is_ignored() -> None:
    ops = history(added(1), final=[(0, [1]), (0, [])]).history
    ops[-1].role = "replica"
    assert SetAccounting().check(Recorded(ops)).valid is True
    ops[-3].role = "replica"
    assert SetAccounting().check(Recorded(ops)).valid == "unknown"


def test_a_key_whose_additions_all_failed_need_not_be_read() -> None:
    failed = ("add", "fail", [1, 300], [1, 300])
    assert judge(added(1), failed, final=[(0, [1])]).valid is True


def test_a_loss_is_found_even_if_another_key_was_not_read() -> None:
    other = ("add", "ok", [1, 300], [1, 300])
    assert judge(added(1), added(2), other, final=[(0, [1])]).valid is False
    assert judge(added(1), other, final=[(0, [1])]).valid == "unknown"


def test_a_set_without_final_reads_is_unknown() -> None:
    assert judge(added(1), final=None).valid == "unknown"
    assert judge(added(1), final=[(9, [])]).valid == "unknown"


def test_a_set_without_successful_additions_is_unknown() -> None:
    assert judge(added(1, "fail"), final=[(0, [])]).valid == "unknown"


def increment(amount, type="ok"):
    return "add", type, [0, amount], [0, amount]


def total(n):
    return "read", "ok", [0, None], [0, n]


def judge_counter(*rows, final):
    return CounterAccounting().check(history(*rows, final=final))


def test_a_counter_between_its_bounds_is_valid() -> None:
    for final in (3, 8):
        verdict = judge_counter(
            increment(1), increment(2), increment(5, "info"), total(3), final=[(0, final)]
        )
        assert verdict.valid is True


@pytest.mark.parametrize(("final", "field", "by"), [(2, "lost", 1), (9, "doubled", 1)])
def test_adds_to_a_counter_outside_its_bounds_are_lost_or_doubled(final, field, by) -> None:
    verdict = judge_counter(increment(1), increment(2), increment(5, "info"), final=[(0, final)])
    assert verdict.valid is False
    assert verdict.evidence[field] == by


@pytest.mark.parametrize("n", [0, 4])
def test_a_read_outside_the_bounds_of_a_counter_is_found(n) -> None:
    verdict = judge_counter(increment(1), increment(2), total(n), final=[(0, 3)])
    assert verdict.valid is False
    assert verdict.evidence["reads_out_of_bounds"] == 1


def test_failed_additions_do_not_count() -> None:
    assert judge_counter(increment(1), increment(5, "fail"), final=[(0, 1)]).valid is True
    assert judge_counter(increment(1), increment(5, "fail"), final=[(0, 6)]).valid is False
