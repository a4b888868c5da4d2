"""Recorded histories of others, each with its known verdict (../shared/histories)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import SHARED_HISTORIES

from harness.checkers.linearizable import OPEN, Budget, Entry, check_entries
from harness.models.register import CasRegister

MANIFEST = SHARED_HISTORIES / "manifest.json"
LOG_LINE = re.compile(r"INFO\s+jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*)")
EDN_OP = re.compile(r"\{([^{}]*)\}")
EDN_FIELD = re.compile(r":(process|type|f|value)\s+(\[[^\]]*\]|[^,\s}]+)")


def cases() -> list[dict]:
    if not MANIFEST.exists():
        return []
    wanted = ("cas-register", "cas-register (init nil)")
    return [e for e in json.loads(MANIFEST.read_text())
            if e["model"] in wanted and e["expected_valid"] is not None]  # fmt: skip


def parse(text: str, format: str) -> list[tuple[str, str, str, object]]:
    """(process, type, f, value) a line or map; values as numbers, None or pairs."""
    found = []
    if format == "jepsen-log-text":
        rows = [m.groups() for m in map(LOG_LINE.match, text.splitlines()) if m]
    else:
        rows = []
        for m in EDN_OP.finditer(text):
            fields = dict(EDN_FIELD.findall(m.group(1)))
            if "process" in fields and "f" in fields:
                rows.append((fields["process"], fields["type"][1:], fields["f"][1:],
                             fields.get("value", "nil")))  # fmt: skip
    for process, type, f, value in rows:
        numbers = [None if n == "nil" else int(n) for n in re.findall(r"-?\d+|nil", value)]
        found.append((process, type, f, tuple(numbers) if f == "cas" else (numbers or [None])[0]))
    return found


def entries_of(ops: list[tuple[str, str, str, object]], knows_nil: bool) -> list[Entry]:
    """Failed operations are dropped, as Knossos does; no verdict here depends on that."""
    entries, open_ops = [], {}
    for time, (process, type, f, value) in enumerate(ops):
        if not process.isdigit():
            continue
        if type == "invoke":
            open_ops[process] = (time, f, value)
        elif process in open_ops:
            call, f, asked = open_ops.pop(process)
            if type == "ok" and f == "read" and value is None and not knows_nil:
                continue  # Knossos: a read of nil says nothing
            if type == "ok":
                result = value if f == "read" else asked
                entries.append(Entry(f, result, True, call, time))
            elif f != "read" and type == "info":
                entries.append(Entry(f, asked, False, call, OPEN))
    for call, f, asked in open_ops.values():
        if f != "read":
            entries.append(Entry(f, asked, False, call, OPEN))
    return entries


class From(CasRegister):
    def __init__(self, init: object) -> None:
        self._init = init

    def init(self):
        return self._init


@pytest.mark.skipif(not MANIFEST.exists(), reason="../shared/histories is not here")
def test_there_are_cases_of_both_verdicts() -> None:
    assert {c["expected_valid"] for c in cases()} == {True, False}
    assert len(cases()) > 50


@pytest.mark.parametrize("case", cases(), ids=lambda c: Path(c["path"]).stem)
def test_known_verdict(case: dict) -> None:
    text = (SHARED_HISTORIES / case["path"]).read_text()
    entries = entries_of(parse(text, case["format"]), case["format"] == "jepsen-log-text")
    init = case.get("init")
    model = From(int(init) if init not in (None, "None") else None)
    outcome = check_entries(entries, model, Budget())
    assert outcome.valid is case["expected_valid"], outcome
