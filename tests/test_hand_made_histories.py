"""Runs whose histories were written by hand: what `harness check` says of the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import campaign
from harness.history import NEMESIS, HistoryWriter, Op
from harness.history.record import EnvironmentInfo, Results, RunRecord, TargetInfo
from harness.results import Run
from harness.spec import Spec

Line = tuple[str, int | str, str, Any]
MS = 1_000_000


def op(process: int, f: str, asked: Any, answered: Any = None, type: str = "ok") -> list[Line]:
    return [("invoke", process, f, asked),
            (type, process, f, asked if answered is None else answered)]  # fmt: skip


def mark(f: str) -> list[Line]:
    return [("invoke", NEMESIS, f, None), ("info", NEMESIS, f, None)]


def lost(process: int, f: str, asked: Any) -> list[Line]:
    return op(process, f, asked, type="info")


def flat(lines: list[list[Line]]) -> list[Line]:
    return [line for each in lines for line in each]


def ended(*final: list[Line]) -> list[Line]:
    return mark("heal") + mark("final") + flat(list(final)) + mark("end")


EVERY = list(range(30))
ADDS = flat([op(0, "add", [0, k]) for k in EVERY])
READS = flat([op(1, "read", [0, None], [0, EVERY]) for _ in range(10)])
LEFT = ended(op(50, "read", [0, None], [0, EVERY]))
PUSHES = flat([op(0, "push", [0, k]) for k in range(40)])
POPS = flat([op(1, "pop", [0, None], [0, k]) for k in range(20)])
LAST_20 = ended(op(50, "read", [0, None], [0, list(range(20, 40))]))
SETS = flat([op(0, "set", [k, 1000]) for k in range(40)])
HISTORIES: dict[str, tuple[str, list[Line], bool | str]] = {
    "a right set": ("set", ADDS + READS + LEFT, True),
    "an add of unknown outcome is read and gone": ("set", ADDS + READS + lost(3, "add", [0, 99])
        + op(1, "read", [0, None], [0, [*EVERY, 99]]) + LEFT, False),
    "an element whose add failed is read": ("set", ADDS + READS
        + op(3, "add", [0, 99], type="fail")
        + op(1, "read", [0, None], [0, [*EVERY, 99]]) + LEFT, False),
    "an element that nobody added is read": ("set", ADDS + READS
        + op(1, "read", [0, None], [0, [*EVERY, 777]]) + LEFT, False),
    "an element is twice in a read in mid-run": ("set", ADDS + READS
        + op(1, "read", [0, None], [0, [*EVERY, 5, 5]]) + LEFT, False),
    "every increment answers 1": ("counter",
        flat([op(0, "add", [0, 1], [0, [1, 1]]) for _ in range(30)])
        + flat([op(1, "read", [0, None], [0, 30]) for _ in range(10)])
        + ended(op(50, "read", [0, None], [0, 30])), False),
    "reads go up and down": ("counter",
        flat([op(0, "add", [0, 1], [0, [1, k + 1]]) for k in range(30)])
        + flat([lost(p, "add", [0, 5]) for p in range(10, 20)])
        + flat([op(1, "read", [0, None], [0, 80]) for _ in range(10)])
        + op(1, "read", [0, None], [0, 30]) + op(1, "read", [0, None], [0, 80])
        + ended(op(50, "read", [0, None], [0, 80])), False),
    "a right counter": ("counter",
        flat([op(0, "add", [0, 1], [0, [1, k + 1]]) for k in range(30)])
        + flat([op(1, "read", [0, None], [0, 30]) for _ in range(10)])
        + ended(op(50, "read", [0, None], [0, 30])), True),
    "last in, first out": ("queue", PUSHES
        + flat([op(1, "pop", [0, None], [0, 39 - k]) for k in range(20)])
        + ended(op(50, "read", [0, None], [0, list(range(20))])), False),
    "pops of nothing while 40 are there": ("queue", PUSHES
        + flat([[("invoke", 2, "pop", [0, None]), ("ok", 2, "pop", [0, None])]
                for _ in range(20)]) + POPS + LAST_20, False),
    "popped before it was pushed": ("queue", POPS + PUSHES + LAST_20, False),
    "a right queue": ("queue", PUSHES + POPS + LAST_20, True),
    "a lock granted to five at once": ("lock",
        flat([op(k % 5, "acquire", [0, [k, None]], [0, [k, k + 1]]) for k in range(40)])
        + flat([op(0, "release", [0, k]) for k in range(6)])
        + ended(op(50, "read", [0, None], [0, 40])), False),
    "keys with a time to live are never there": ("ttl", SETS
        + flat([[("invoke", 1, "read", [k, None]), ("ok", 1, "read", [k, None])]
                for k in range(40)])
        + ended([("invoke", 50, "read", [0, None]), ("ok", 50, "read", [0, None])]), False),
    "keys with a time to live have wrong values": ("ttl", SETS
        + flat([op(1, "read", [k, None], [k, 999]) for k in range(1, 40)])
        + ended([("invoke", 50, "read", [0, None]), ("ok", 50, "read", [0, None])]), False),
}  # fmt: skip


def judged(
    folder: Path, workload: str, lines: list[Line], *, cut: range = range(0), **record: Any
) -> Results:
    folder.mkdir(exist_ok=True)
    spec = Spec(target="redis", workload=workload, nemesis="none", seed=1)
    about = RunRecord(spec=spec, command="", target=TargetInfo(target="redis", version="x"),
                      environment=EnvironmentInfo(environment="local"), **record)  # fmt: skip
    (folder / "test.json").write_bytes(msgspec.json.encode(about))
    writer = HistoryWriter(folder / "history.jsonl")
    for i, (type, process, f, value) in enumerate(lines):
        if i not in cut:
            answered = process != NEMESIS and type != "invoke"
            writer.append(Op(i, i * MS, type, process, f, value, None, "n1" if answered else None,
                             "primary" if answered else None))  # fmt: skip
    writer.close()
    return campaign.judge(Run(folder)).results


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_written_by_hand_gets_the_right_verdict(tmp_path: Path, name: str) -> None:
    workload, lines, valid = HISTORIES[name]
    results = judged(tmp_path, workload, lines)
    assert results.valid is valid, results.why


def test_a_history_with_a_part_cut_out_is_never_valid(tmp_path: Path) -> None:
    lines = ADDS + READS + LEFT
    at = len(ADDS) + 2
    results = judged(tmp_path, "set", lines, cut=range(at, at + 2))
    assert results.valid == "unknown"
    assert f"lines {at} to {at + 1} are missing from the history" in results.why


def test_a_run_whose_nodes_were_not_compared_is_unknown(tmp_path: Path) -> None:
    old = judged(tmp_path / "old", "set", ADDS + READS + LEFT)
    assert old.valid is True
    assert old.claims["copies"].judged is False
    new = judged(tmp_path / "new", "set", ADDS + READS + LEFT, compares=True)
    assert new.claims["copies"].valid == "unknown"
    assert new.valid == "unknown"
