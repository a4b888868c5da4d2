"""Public recorded histories with known verdicts, read from ../shared/histories if it exists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.checkers.linearizability.checker import check
from harness.formats import FORMATS
from harness.models.bank import Bank
from harness.models.base import Model
from harness.models.counter import Counter
from harness.models.mutex import Mutex
from harness.models.register import CasRegister
from harness.models.set import Set
from harness.models.text import Text
from harness.models.transactions import Transactions
from tests.conftest import SHARED_HISTORIES

MANIFEST = SHARED_HISTORIES / "manifest.json"
OURS = {
    "edn-jepsen": "edn", "edn-jepsen (no :process/:f)": "edn", "json": "json",
    "jepsen-log-text": "jepsen-log", "edn-per-line :key field": "kv",
}  # fmt: skip
# It reads a value that was never written; "valid" upstream, as Elle infers no order from that.
GARBAGE = "elle-cli/histories/elle/rw-register.json"
# No operation in them succeeded, so the verdict is unknown.
WITHOUT_SUCCESS = ("mongodb-v0-ack-rollback-9", "mongodb-v0-ack-rollback-10")


class From(CasRegister):
    def __init__(self, state: object) -> None:
        self._first = state

    def init(self) -> object:
        return self._first


def model_of(case: dict) -> Model | None:
    name = case["model"]
    if name.startswith("cas-register"):
        first = case.get("init")
        return From(None if first in (None, "None") else int(first))
    if name.startswith("kv "):
        return Text()
    if name in ("list-append", "rw-register", "long-fork"):
        return Transactions()
    models = {"mutex": Mutex(), "counter": Counter(), "bank": Bank(), "set-full": Set()}
    return models.get(name)


def cases() -> list[dict]:
    if not MANIFEST.exists():
        return []
    return [e for e in json.loads(MANIFEST.read_text())
            if e["format"] in OURS and model_of(e) and e["expected_valid"] is not None]  # fmt: skip


@pytest.mark.skipif(not MANIFEST.exists(), reason="no public histories in ../shared/histories")
def test_there_are_histories_of_both_kinds() -> None:
    assert {c["expected_valid"] for c in cases()} == {True, False}
    assert len(cases()) > 100


@pytest.mark.parametrize("case", cases(), ids=lambda c: Path(c["path"]).name)
def test_known_verdict(case: dict) -> None:
    path = SHARED_HISTORIES / case["path"]
    model = model_of(case)
    assert model is not None
    name = OURS[case["format"]]
    history, warnings = FORMATS[name].read(path, False, False)
    assert not warnings
    verdict = check(history, model, independent=FORMATS[name].keyed)
    expected = False if case["path"] == GARBAGE else case["expected_valid"]
    expected = "unknown" if path.stem in WITHOUT_SUCCESS else expected
    assert verdict.valid == expected, verdict.why
