"""Coverage, the composition of verdicts, exit codes, JUnit, availability, and performance."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.checkers.claims.availability import Availability
from harness.checkers.claims.coverage import Coverage
from harness.checkers.claims.performance import Performance, series
from harness.checkers.verdict import UNKNOWN, Verdict, worst
from harness.cli.exits import worst_code
from harness.history import NEMESIS, History, Op
from harness.history.events import FaultBegan, FaultEnded, operations
from harness.history.record import Results
from harness.history.recorded import Recorded
from harness.report.junit import write_junit

SECOND = 1_000_000_000


@pytest.mark.parametrize(("a", "b"), list(product([True, False, UNKNOWN], repeat=2)))
def test_false_outranks_unknown_outranks_true(a, b) -> None:
    order = [False, UNKNOWN, True]
    assert worst([a, b]) == order[min(order.index(a), order.index(b))]


def test_no_verdicts_are_unknown() -> None:
    assert worst([]) == UNKNOWN


def test_exit_codes_compose_the_same_way() -> None:
    assert worst_code([0, 2, 1, 0]) == 1
    assert worst_code([0, 2, 0]) == 2
    assert worst_code([0]) == 0


def history(*ops: tuple) -> Recorded:
    return Recorded(History(Op(i, i * SECOND, *op) for i, op in enumerate(ops)))


def reads(n: int) -> list[tuple]:
    return [op for i in range(n) for op in (("invoke", i, "read"), ("ok", i, "read"))]


def fault(name: str, effective: bool, number: int = 0, skipped: str | None = None) -> list[tuple]:
    whats = [FaultBegan(fault=name, number=number, did={"node": "n1"}, skipped=skipped),
             FaultEnded(fault=name, number=number, effective=effective)]  # fmt: skip
    return [
        (op.type, op.process, op.f, op.value)
        for what in (whats if skipped is None else whats[:1])
        for op in operations(what, None, 0, 0)
    ]


END = [("invoke", NEMESIS, "end"), ("info", NEMESIS, "end")]


def coverage(*ops: tuple, minimum=None, faults=(), final=False, end=True) -> Verdict:
    checker = Coverage(minimum=minimum or {}, faults=faults, final=final)
    return checker.check(history(*ops, *(END if end else [])))


def test_enough_successes_and_effective_faults_are_coverage() -> None:
    verdict = coverage(*reads(3), *fault("kill", True), minimum={"read": 3}, faults=["kill"])
    assert verdict.valid is True
    assert verdict.evidence["faults"] == {
        "kill": {"injected": 1, "skipped": 0, "failed": 0, "effective": 1}
    }


@pytest.mark.parametrize(
    ("ops", "options", "reason"),
    [
        (reads(2), {"minimum": {"read": 3}}, "only 2 read succeeded, 3 are needed"),
        ([], {"minimum": {"read": 1}}, "only 0 read"),
        (fault("kill", False), {"faults": ["kill"]}, "kill had no effect (1 injected)"),
        ([], {"faults": ["pause"]}, "pause had no effect (0 injected)"),
        (
            fault("kill", False, skipped="no node is up"),
            {"faults": ["kill"]}, "kill had no effect (0 injected, 1 skipped)",
        ),
        (reads(1), {"final": True}, "ended before the final reads"),
        (reads(1), {"end": False}, "the run did not complete"),
        (
            [("invoke", NEMESIS, "settle"), ("info", NEMESIS, "settle", None, "n2 is not up")],
            {}, "did not settle after healing: n2 is not up",
        ),
        (
            [("invoke", 0, "read"), ("ok", 0, "read", 1, None, "n2", "replica")],
            {"minimum": {"read": 1}}, "only 0 read",
        ),
        (
            [("invoke", NEMESIS, "final"), ("info", NEMESIS, "final"), *reads(3)],
            {"minimum": {"read": 1}}, "only 0 read",
        ),
        (
            [("invoke", NEMESIS, "final"), ("info", NEMESIS, "final"),
             ("invoke", 0, "read", ["k", None]), ("fail", 0, "read", ["k", None])],
            {"final": True}, "1 keys were not read at the end",
        ),
        (
            [("invoke", NEMESIS, "exit", {"process": "n2", "what": "ended by itself with code 1"}),
             ("info", NEMESIS, "exit", {"process": "n2", "what": "ended by itself with code 1"})],
            {}, "n2 ended by itself with code 1",
        ),
    ],
)  # fmt: skip
def test_a_run_without_coverage_is_unknown(ops, options, reason) -> None:
    verdict = coverage(*ops, **options)
    assert verdict.valid == UNKNOWN
    assert reason in verdict.why


def test_one_effective_fault_of_a_kind_is_enough() -> None:
    ops = [*fault("kill", False, 1), *fault("kill", True, 2)]
    assert coverage(*ops, faults=["kill"]).valid is True


def test_a_fault_that_could_not_be_injected_is_counted_as_failed() -> None:
    broke = [("invoke", NEMESIS, "start-kill", {"number": 1}),
             ("info", NEMESIS, "start-kill", None, "EnvironmentFailed: no")]  # fmt: skip
    verdict = coverage(*broke, faults=["kill"])
    assert verdict.valid == UNKNOWN
    assert "kill had no effect (0 injected, 1 failed)" in verdict.why


def test_the_end_of_a_fault_is_not_matched_to_a_skipped_one() -> None:
    ops = [*fault("kill", False, 1, skipped="no node is up"), *fault("kill", True, 2),
           *fault("kill", False, 3)]  # fmt: skip
    verdict = coverage(*ops, faults=["kill"])
    assert verdict.valid is True
    assert verdict.evidence["faults"]["kill"] == {
        "injected": 2, "skipped": 1, "failed": 0, "effective": 1}  # fmt: skip
    spans = history(*ops).events.faults()
    assert [(b.what.number, e and e.what.number) for b, e in spans] == [(1, None), (2, 2), (3, 3)]


def test_unclassified_errors_are_counted() -> None:
    verdict = coverage(("invoke", 0, "read"), ("info", 0, "read", None, "unclassified: odd"))
    assert verdict.evidence["unclassified_errors"] == 1


def test_availability_measures_windows_and_recoveries() -> None:
    ops = [
        ("invoke", 0, "read"), ("ok", 0, "read"), ("invoke", 0, "read"), ("fail", 0, "read"),
        ("invoke", NEMESIS, "stop-kill"), ("info", NEMESIS, "stop-kill"),
        ("invoke", 0, "read"), ("ok", 0, "read"),
        ("invoke", NEMESIS, "heal"), ("info", NEMESIS, "heal"),
    ]  # fmt: skip
    verdict = Availability().check(history(*ops))
    assert verdict.evidence["windows"][1] == {"from": 1 * SECOND, "to": 7 * SECOND}
    assert verdict.evidence["recoveries"] == [{"after": "kill", "time": 4 * SECOND, "ms": 3000.0}]


def test_performance_measures_successful_operations() -> None:
    verdict = Performance().check(history(*reads(4)))
    assert verdict.evidence["latency_ms"]["read"]["p50"] == 1000.0
    made = series(history(*reads(4)).pairs, buckets=4)
    assert sum(made["rate"]["ok"].values()) * made["width_s"] == pytest.approx(4)


def results(valid, expect="valid") -> Results:
    witnesses = [{"sentence": "gone", "words": ["w 1", "r 1"]}] if valid is False else []
    claim = Verdict(valid=valid, why="because \x00 <b>", evidence={"witnesses": witnesses})
    measured = Verdict(valid=False, why="stale", judged=False)
    return Results(valid=valid, why="why", expect=expect, claims={"c": claim, "m": measured})


@pytest.mark.parametrize(
    ("valid", "expect", "code"),
    [(True, "valid", 0), (False, "valid", 1), (UNKNOWN, "valid", 2),
     (True, "invalid", 1), (False, "invalid", 0), (UNKNOWN, "invalid", 2)],
)  # fmt: skip
def test_exit_code_of_a_run(valid, expect, code) -> None:
    assert results(valid, expect).exit_code == code


@pytest.mark.parametrize(
    ("made", "failures", "errors"),
    [(results(True), 0, 0), (results(False), 1, 0), (results(UNKNOWN), 0, 1),
     (results(False, "invalid"), 0, 0), (results(True, "invalid"), 1, 0)],
)  # fmt: skip
def test_junit_has_a_case_per_claim(tmp_path: Path, made, failures, errors) -> None:
    write_junit(tmp_path / "j.xml", [("run", made)])
    suite = ET.parse(tmp_path / "j.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == (str(failures), str(errors))
    assert suite.get("tests") == str(len(suite)) == "1"


def test_junit_failures_carry_the_witness(tmp_path: Path) -> None:
    write_junit(tmp_path / "j.xml", [("run", results(False))])
    text = ET.parse(tmp_path / "j.xml").getroot().findtext(".//failure")
    assert text is not None
    assert text.splitlines()[-3:] == ["gone", "w 1", "r 1"]
