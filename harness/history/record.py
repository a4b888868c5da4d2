"""What a run leaves beside its history, as typed data: test.json, hashes.json, results.json.

`harness.results.Run` writes and reads them; nothing else knows how they look on disk.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from harness.spec import Spec

Valid = bool | Literal["unknown"]
UNKNOWN: Final = "unknown"


FORMAT: Final = 2  # of test.json and of the events in a history; 1 had neither plan nor numbers
WORDS: Final[dict[Valid, str]] = {True: "valid", False: "invalid", UNKNOWN: "unknown"}


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a plan: it begins `at_s` seconds after the clients and is healed `until_s`
    after them. `arguments`: what the fault has drawn, or what a person wrote instead."""

    at_s: float
    fault: str
    arguments: dict[str, Any] = {}
    until_s: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`faults`: in order of time. `no_room`: kinds of fault that were asked for and did not fit
    into the time limit."""

    faults: tuple[PlannedFault, ...] = ()
    no_room: tuple[str, ...] = ()

    @property
    def kinds(self) -> list[str]:
        """The kinds of fault that it announces, each once, in order of time."""
        return list(dict.fromkeys(fault.fault for fault in self.faults))


class TargetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The system under test, as a reader of the results must know it."""

    target: str
    version: str
    binary: str | None = None
    options: dict[str, str] = {}


class EnvironmentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where nodes lived. `addresses`: of nodes, where they have some on a real network."""

    environment: str
    simulated: bool = False
    addresses: dict[str, str] = {}


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of test.json: what a reader, `harness check` or `harness replay` needs to know
    of a run. `faults`: the kinds that the plan announces. `versions`: of whatever decides how a
    run goes: Python, libraries, the code. `started`: ISO 8601."""

    format: int = FORMAT
    spec: Spec
    command: str
    faults: list[str] = []
    plan: list[PlannedFault] = []
    no_room: list[str] = []
    started: str = ""
    target: TargetInfo
    environment: EnvironmentInfo
    versions: dict[str, str] = {}


class Hashes(msgspec.Struct, frozen=True, kw_only=True):
    """The content of hashes.json: what two runs of one seed have in common. `events`: lines of
    the trace."""

    history: str
    trace: str
    events: int


class Verdict(msgspec.Struct, kw_only=True):
    """`valid` with the reason in a sentence; `evidence` is JSON.

    `judged`: False for what is measured and shown but never turns a run red.
    """

    valid: Valid
    why: str
    evidence: dict[str, Any] = {}
    judged: bool = True


class Results(msgspec.Struct, kw_only=True):
    """The content of results.json. `valid` is the worst of the judged claims; `expect` is what
    the spec asked for."""

    valid: Valid
    why: str
    expect: str
    claims: dict[str, Verdict]
    warnings: list[str] = []

    @property
    def exit_code(self) -> int:
        """0 as expected, 1 not, 2 unknown."""
        if self.valid == UNKNOWN:
            return 2
        return 0 if self.valid is (self.expect == "valid") else 1
