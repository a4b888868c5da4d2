"""The report, opened in a browser: it needs no network, shows its parts, and escapes values."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.checkers.linearizability.checker import check
from harness.checkers.verdict import Verdict
from harness.history import NEMESIS, History, Op
from harness.history.record import EnvironmentInfo, Results, RunRecord, TargetInfo
from harness.history.recorded import Recorded
from harness.models.register import Register
from harness.report.data import document
from harness.report.page import render
from harness.report.picture import label
from harness.spec import Spec
from tests.conftest import require

pytestmark = pytest.mark.real

SECOND = 1_000_000_000


def history(value) -> History:
    rows = [
        ("invoke", 0, "write", ["k", 1]), ("ok", 0, "write", ["k", 1]),
        ("invoke", NEMESIS, "start-partition", {"number": 0}),
        ("info", NEMESIS, "start-partition", {"did": {"kind": "primary"}}),
        ("invoke", 1, "write", ["k", value]),
        ("invoke", 2, "read", ["k", None]), ("ok", 2, "read", ["k", value]),
        ("invoke", NEMESIS, "start-failover", {"number": 1}),
        ("info", NEMESIS, "start-failover", {"did": {"new": "n2"}}),
        ("invoke", 2, "read", ["k", None]), ("ok", 2, "read", ["k", 1]),
        ("invoke", NEMESIS, "stop-partition", {"number": 0}),
        ("info", NEMESIS, "stop-partition", {"effective": True, "effect": {"bytes_held": 9}}),
    ]  # fmt: skip
    return History(Op(i, i * SECOND // 3, *row, node="n1") for i, row in enumerate(rows))


RECORD = RunRecord(
    spec=Spec(),
    command="harness run --seed 1",
    started="today",
    target=TargetInfo(target="redis", version="Redis 7.0.15"),
    environment=EnvironmentInfo(environment="local"),
    versions={"python": "3.11"},
)


def page(value=2) -> str:
    made = history(value)
    verdict = check(made, Register(), independent=True)
    coverage = Verdict(valid=True, why="x", evidence={"operations": {"read": {"ok": 2}}})
    results = Results(valid=False, why=verdict.why, expect="valid",
                      claims={"linearizable": verdict, "coverage": coverage})  # fmt: skip
    return render(document(RECORD, results, Recorded(made)))


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.partition("</style>")[2]))


def test_the_page_begins_with_the_verdict_and_has_every_part() -> None:
    text = text_of(page())
    assert text.strip().startswith("Invalid. The database broke a promise. key k: process 2 read 1")
    for part in ("n2 promoted", "partition begins", "Latency and rate", "bytes held 9",
                 "harness run --seed 1", "Redis 7.0.15", "read → 2"):  # fmt: skip
        assert part in text, part


def test_violations_are_told_with_a_table_the_first_of_each_kind_first() -> None:
    row = {"begin_s": 1.5, "end_s": None, "who": "process 3 at n1 (primary)", "what": "add <7>",
           "outcome": "outcome unknown"}  # fmt: skip
    findings = [{"kind": kind, "sentence": f"7 is {kind}", "rows": [row]}
                for kind in ("lost", "lost", "read twice")]  # fmt: skip
    claim = Verdict(valid=False, why="lost", evidence={
        "findings": findings, "violations": {"lost": 5, "read twice": 1}})  # fmt: skip
    results = Results(valid=False, why="lost", expect="valid", claims={"set": claim,
                      "coverage": Verdict(valid=True, why="x")})  # fmt: skip
    html = render(document(RECORD, results, Recorded(history(2))))
    text = text_of(html)
    assert text.index("set : 7 is read twice") < text.rindex("set : 7 is lost")
    assert "1.500 s – process 3 at n1 (primary) add &lt;7&gt; outcome unknown" in text
    assert "3 more are not shown." in text
    assert "findings" not in text


@pytest.mark.parametrize(
    ("f", "value", "outcome", "text"),
    [
        ("read", None, "ok", "read → nothing"), ("read", 4, "ok", "read → 4"),
        ("read", [3, 4], "ok", "read → [3 4]"), ("read", [1, 2, 3, 4, 5], "ok", "5 values, last 5"),
        ("append", [41, 7], "ok", "append 41 → 7"), ("append", 41, "info", "append 41"),
        ("cas", [1, 2], "info", "cas 1→2"), ("cas", [1, 2, 1], "ok", "cas 1→2"),
        ("cas", [1, 2, 3], "ok", "cas 1→2 saw 3"), ("write", 9, "ok", "write 9"),
    ],
)  # fmt: skip
def test_the_label_of_an_operation(f, value, outcome, text) -> None:
    assert text in label({"f": f, "value": value, "outcome": outcome})


def test_the_page_loads_no_external_resources() -> None:
    assert not re.search(r"(src|href|url)\s*[=(]", page())
    assert "http" not in page().replace("http://www.w3.org", "")


def test_values_of_the_system_under_test_are_escaped() -> None:
    html = page(value="<script>alert(1)</script>")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.timeout(60)
def test_the_page_renders_in_a_browser(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    require(chromium, "no Chromium to open the report with")
    (tmp_path / "report.html").write_text(page())
    dom = subprocess.run(
        [str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         f"file://{tmp_path / 'report.html'}"],
        capture_output=True, text=True, timeout=50, check=True,
    ).stdout  # fmt: skip
    assert dom.count('class="op stuck"') == 1
    assert dom.count("<svg") == 3
    assert "a value that was read is lost" in text_of(dom)
