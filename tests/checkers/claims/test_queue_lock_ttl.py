"""Queues, locks, keys that expire, and the log: each kind of violation, next to valid histories."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims.lock import FencingTokens
from harness.checkers.claims.log_audit import LogAudit
from harness.checkers.claims.queue import QueueAccounting
from harness.checkers.claims.ttl import NeverReappears
from harness.checkers.linearizability.checker import check
from harness.history import History, Op
from harness.history.events import Digests, LogRead, What, operations
from harness.history.recorded import Recorded
from harness.models.multi_register import MultiRegister
from tests.checkers.claims.test_accounting import history

# --- queues


def push(value: int, type: str = "ok") -> tuple:
    return "push", type, [0, value], [0, value]


def pop(value: int | None, type: str = "ok") -> tuple:
    return "pop", type, [0, None], [0, value]


def queue(*rows: tuple, left: list[int]) -> Any:
    return QueueAccounting().check(history(*rows, final=[(0, left)]))


def test_a_queue_without_losses_is_valid() -> None:
    verdict = queue(push(1), push(2), push(3, "fail"), push(4, "info"), pop(1), pop(None), pop(4),
                    left=[2])  # fmt: skip
    assert verdict.valid is True


@pytest.mark.parametrize(
    ("rows", "left", "field"),
    [
        ([push(1), push(2), pop(1)], [], "lost"),
        ([push(1), pop(1), pop(1)], [], "doubled"),
        ([push(1), pop(1)], [1], "doubled"),
        ([push(1), pop(1)], [7], "unexpected"),
        ([push(1), push(2, "fail"), pop(1)], [2], "unexpected"),
    ],
)
def test_each_violation_of_a_queue_is_found(rows: list[tuple], left: list[int], field: str) -> None:
    verdict = queue(*rows, left=left)
    assert verdict.valid is False
    assert verdict.evidence[field] == 1


def test_a_pop_of_unknown_outcome_excuses_one_missing_element_of_its_queue() -> None:
    assert queue(push(1), push(2), pop(2), pop(None, "info"), left=[]).valid is True
    rows = [push(1), push(2), push(3), pop(3), pop(None, "info")]
    assert queue(*rows, left=[]).valid is False
    other = ("pop", "info", [1, None], [1, None])
    assert queue(push(1), push(2), pop(2), other, left=[]).valid is False


def test_a_queue_without_final_reads_is_unknown() -> None:
    unread = QueueAccounting().check(history(push(1), pop(1), final=[(9, [])]))
    assert unread.valid == "unknown"
    assert QueueAccounting().check(history(push(1), pop(1))).valid == "unknown"


# --- locks


def acquire(owner: int, token: int | None) -> tuple:
    return "acquire", "ok", [0, [owner, None]], [0, [owner, token]]


def lock(*rows: tuple, last: int | None) -> Any:
    return FencingTokens().check(history(*rows, final=[] if last is None else [(0, last)]))


def test_increasing_tokens_are_valid() -> None:
    assert lock(acquire(1, 1), acquire(2, None), acquire(3, 4), last=4).valid is True
    assert lock(acquire(2, None), last=0).valid == "unknown"
    assert lock(acquire(2, 1), last=None).valid == "unknown"


@pytest.mark.parametrize(
    ("rows", "last", "what"),
    [
        ([acquire(1, 2), acquire(2, 1)], 2, "not greater"),
        ([acquire(1, 1), acquire(2, 1)], 1, "not greater"),
        ([acquire(1, 5)], 4, "forgotten"),
    ],
)
def test_each_violation_of_fencing_tokens_is_found(rows: list[tuple], last: int, what: str) -> None:
    verdict = lock(*rows, last=last)
    assert verdict.valid is False
    assert verdict.evidence["examples"][0]["what"] == what


def test_overlapping_grants_may_have_any_order_but_no_equal_tokens() -> None:
    def overlapping(one: int, other: int) -> Any:
        ops = history(acquire(1, one), acquire(2, other), final=[(0, 2)]).history
        ops[1], ops[2] = ops[2], ops[1]
        for i, op in enumerate(ops):
            op.index = op.time = i
        return FencingTokens().check(Recorded(ops))

    assert overlapping(2, 1).valid is True
    verdict = overlapping(2, 2)
    assert verdict.valid is False
    assert verdict.evidence["examples"][0]["what"] == "given twice"


# --- keys that expire


def ttl(*rows: tuple[str, Any]) -> Any:
    """Judge rows of ("set", type) or ("read", value), repeated for five keys."""
    ops: list[Op] = []
    for key in range(5):
        for f, what in rows:
            asked = [key, 100] if f == "set" else [key, None]
            done = asked if f == "set" else [key, what]
            ops.append(Op(len(ops), len(ops), "invoke", 0, f, asked))
            type = what if f == "set" else "ok"
            ops.append(Op(len(ops), len(ops), type, 0, f, done, None, "n1", "primary"))
    return NeverReappears().check(Recorded(History(ops)))


def test_a_key_that_expires_and_stays_absent_is_valid() -> None:
    assert ttl(("set", "ok"), ("read", 1), ("read", None), ("read", None)).valid is True
    assert ttl(("read", None), ("set", "ok"), ("read", 1), ("read", None)).valid is True


def test_a_key_that_reappears_is_found() -> None:
    verdict = ttl(("set", "ok"), ("read", None), ("read", 1))
    assert (verdict.valid, verdict.evidence["came_back"]) == (False, 5)
    assert ttl(("set", "info"), ("read", 1), ("read", None), ("read", 1)).valid is False


def test_a_set_of_unknown_outcome_may_take_effect_after_an_absent_read() -> None:
    assert ttl(("set", "info"), ("read", None), ("read", 1)).valid == "unknown"


def test_keys_that_never_expired_are_unknown() -> None:
    assert ttl(("set", "ok"), ("read", 1)).valid == "unknown"


# --- the log


class Strings:
    """`set` and `get` of a value at one key."""

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        return [("SET", "k", str(op.value))] if op.f == "set" else []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return [("SET", "k", str(op.value))] if op.f == "get" else []


SAME = {"nodes": {"n1": "d", "n2": "d"}, "replay": "d", "copies": {"az1": 3, "az2": 2},
        "compared": 2, "differing": [], "snapshots": {"s1": ["e", "e"]}}  # fmt: skip


def audit(rows: list[tuple[str, str, Any]], log: list[str], digests: Any = SAME) -> Any:
    ops: list[Op] = []
    for process, (f, type, value) in enumerate(rows):
        ops.append(Op(len(ops), len(ops), "invoke", process, f, None if f == "get" else value))
        ops.append(Op(len(ops), len(ops), type, process, f, value, None, "n1", "primary"))
    entries = [(i + 1, [["SET", "k", value]]) for i, value in enumerate(log)]
    noted: list[What] = [LogRead(entries=entries)]
    noted += [] if digests is None else [Digests(**digests)]
    for what in noted:
        ops += operations(what, None, len(ops), len(ops))
    return LogAudit(Strings()).check(Recorded(History(ops)))


def test_a_history_that_agrees_with_its_log_is_valid() -> None:
    rows = [("set", "ok", 1), ("set", "fail", 2), ("set", "info", 3), ("set", "info", 4),
            ("get", "ok", 3)]  # fmt: skip
    assert audit(rows, ["1", "3"]).valid is True


@pytest.mark.parametrize(
    ("rows", "log", "what"),
    [
        ([("set", "ok", 1)], [], "acknowledged writes are not in the log"),
        ([("set", "fail", 1)], ["1"], "failed writes are in the log"),
        ([("set", "ok", 1)], ["1", "1"], "writes are in the log more than once"),
        ([("set", "info", 1)], ["1", "1"], "writes are in the log more than once"),
        ([("get", "ok", 1)], [], "values were read that were never committed"),
    ],
)
def test_each_way_to_contradict_the_log_is_found(rows: Any, log: list[str], what: str) -> None:
    verdict = audit(rows, log)
    assert verdict.valid is False
    assert verdict.why == f"1 {what}"


@pytest.mark.parametrize(
    "changed",
    [
        {"nodes": {"n1": "d", "n2": "other"}},
        {"replay": "other"},
        {"differing": ["az2 holds another entry 1.2"]},
        {"snapshots": {"s1": ["e", "f"]}},
    ],
)
def test_copies_that_differ_are_found(changed: dict[str, Any]) -> None:
    assert audit([("set", "ok", 1)], ["1"], SAME | changed).valid is False


def test_a_log_that_was_not_read_proves_nothing() -> None:
    assert audit([("set", "ok", 1)], ["1"], None).valid == "unknown"
    assert audit([("set", "ok", 1)], ["1"], {"error": "refused"}).valid == "unknown"
    for nothing in ({"compared": 0}, {"copies": {"az1": 3, "az2": 0}}):
        assert audit([("set", "ok", 1)], ["1"], SAME | nothing).valid == "unknown"


# --- transactions


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
