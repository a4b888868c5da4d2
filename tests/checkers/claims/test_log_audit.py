"""The audit of the log: each kind of violation, next to valid histories."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkers.claims.log_audit import LogAudit
from harness.history import History, Op
from harness.history.events import Digests, LogRead, What, operations
from harness.history.recorded import Recorded


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


class Pairs:
    """`set` of a value at two keys."""

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        return [("SET", "a", str(op.value)), ("SET", "b", str(op.value))]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return []


class Counted(Strings):
    """`set` of a value, and of how many there are."""

    def beside(self, op: Op) -> list[tuple[str, ...]]:
        return [("INCR", "n")]


@pytest.mark.parametrize(
    ("workload", "entries", "type", "valid"),
    [
        (Pairs(), [[["SET", "a", "1"], ["SET", "b", "1"]]], "ok", True),
        (Pairs(), [[["SET", "a", "1"]], [["SET", "b", "1"]]], "ok", False),
        (Pairs(), [[["SET", "a", "1"]]], "info", False),
        (Pairs(), [], "info", True),
        (Counted(), [[["SET", "k", "1"], ["INCR", "n"]]], "ok", True),
        (Counted(), [[["SET", "k", "1"]], [["INCR", "n"]]], "ok", False),
        (Counted(), [[["INCR", "n"]]], "info", True),
    ],
)
def test_the_effects_of_one_operation_are_in_one_entry(
    workload: Any, entries: Any, type: Any, valid: bool
) -> None:
    ops = [Op(0, 0, "invoke", 0, "set", 1), Op(1, 1, type, 0, "set", 1, None, "n1")]
    log = LogRead(entries=[(i + 1, effects) for i, effects in enumerate(entries)])
    for what in (log, Digests(**SAME)):
        ops += operations(what, None, len(ops), len(ops))
    assert LogAudit(workload).check(Recorded(History(ops))).valid is valid
