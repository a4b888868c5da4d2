"""Sets: each kind of violation, next to valid histories."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims import set as claim
from harness.checkers.claims.set import SetAccounting
from harness.checkers.verdict import Verdict
from tests.support.claims import Row, one_by_one, overlapping


def added(value: int, type: str = "ok", *, new: bool = True) -> tuple:
    return "add", type, [0, value], [0, [value, new]]


def seen(*values: int) -> tuple:
    return "read", "ok", [0, None], [0, list(values)]


def judge(*rows: tuple, final: list | None) -> Verdict:
    return SetAccounting().check(one_by_one(*rows, final=final))


def test_a_set_without_losses_is_valid() -> None:
    verdict = judge(added(1), added(2), seen(1, 2), added(3, "fail"), added(4, "info"),
                    final=[(0, [1, 2, 4])])  # fmt: skip
    assert verdict.valid is True
    assert verdict.evidence["recovered"] == 1


@pytest.mark.parametrize(
    ("rows", "final", "kind"),
    [
        ([added(1), added(2)], [1], claim.LOST),
        ([added(1)], [1, 1], claim.TWICE),
        ([added(1), seen(1, 1)], [1], claim.TWICE),
        ([added(1, new=False)], [1], claim.MEMBER),
        ([added(1), added(2, "fail")], [1, 2], claim.FAILED),
        ([added(1), added(2, "fail"), seen(1, 2)], [1], claim.FAILED),
        ([added(1)], [1, 7], claim.NEVER),
        ([added(1), seen(1, 7)], [1], claim.NEVER),
        ([added(1), seen(1, 2), added(2)], [1, 2], claim.NEVER),
        ([added(1), added(2), seen(2)], [1, 2], claim.STALE),
        ([added(1), added(2, "info"), seen(1, 2)], [1], claim.UNREAD),
        ([added(1), added(2, "info"), seen(1, 2), seen(1)], [1, 2], claim.GONE),
    ],
)
def test_each_violation_of_a_set_is_found_and_told(rows: Any, final: Any, kind: str) -> None:
    verdict = judge(*rows, final=[(0, final)])
    assert verdict.valid is False
    assert verdict.evidence["violations"][kind] == 1
    told = next(f for f in verdict.evidence["findings"] if f["kind"] == kind)
    assert "{" not in told["sentence"]
    assert "key 0" in told["sentence"]
    assert told["rows"]


def test_a_loss_is_told_with_the_add_the_read_that_saw_it_and_the_one_that_lacks_it() -> None:
    verdict = judge(added(1), added(2), seen(1, 2), final=[(0, [1])])
    (told,) = verdict.evidence["findings"]
    assert told["sentence"] == (
        "key 0: 2, added by process 1 and acknowledged by n1 at 0.003 s, is absent from the read "
        "of process 1000 that n1 answered at 0.007 s"
    )
    assert [row["what"] for row in told["rows"]] == [
        "add 2", "read 2 elements with 2", "read 1 elements without 2",
    ]  # fmt: skip


def test_a_read_that_overlaps_the_add_is_not_stale() -> None:
    rows = [Row("add", "ok", [0, 1], [0, [1, True]], 0, 10),
            Row("read", "ok", [0, None], [0, []], 5, 20)]  # fmt: skip
    assert SetAccounting().check(overlapping(rows, final=[(0, [1])])).valid is True


def test_a_final_read_at_a_demoted_node_is_ignored() -> None:
    ops = one_by_one(added(1), final=[(0, [1]), (0, [])])
    ops.history[-1].role = "replica"
    assert SetAccounting().check(ops).valid is True
    ops = one_by_one(added(1), final=[(0, [1]), (0, [])])
    ops.history[-1].role = ops.history[-3].role = "replica"
    assert SetAccounting().check(ops).valid == "unknown"


def test_where_demoted_nodes_must_refuse_their_answers_count() -> None:
    ops = one_by_one(added(1), seen(), final=[(0, [1])])
    ops.history[3].role = "replica"
    assert SetAccounting().check(ops).valid is True
    ops = one_by_one(added(1), seen(), final=[(0, [1])])
    ops.history[3].role, ops.fenced = "replica", True
    assert SetAccounting().check(ops).valid is False


def test_a_key_whose_additions_all_failed_need_not_be_read() -> None:
    failed = ("add", "fail", [1, 300], [1, 300])
    assert judge(added(1), failed, final=[(0, [1])]).valid is True


def test_a_loss_is_found_even_if_another_key_was_not_read() -> None:
    other = ("add", "ok", [1, 300], [1, 300])
    assert judge(added(1), added(2), other, final=[(0, [1])]).valid is False
    assert judge(added(1), other, final=[(0, [1])]).valid == "unknown"


def test_a_set_without_final_reads_is_unknown_unless_reads_show_a_violation() -> None:
    assert judge(added(1), final=None).valid == "unknown"
    assert judge(added(1), final=[(9, [])]).valid == "unknown"
    assert judge(added(1), seen(1), seen(), final=None).valid is False


def test_a_set_without_successful_additions_is_unknown() -> None:
    assert judge(added(1, "fail"), final=[(0, [])]).valid == "unknown"
