"""The files of a run beside its history, as typed data: test.json, hashes.json, results.json.

Only `harness.results.Run` writes and reads them.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from harness.spec import Spec

Valid = bool | Literal["unknown"]
UNKNOWN: Final = "unknown"


FORMAT: Final = 2  # of test.json and of events in a history; 1 had no plan and no fault numbers
WORDS: Final[dict[Valid, str]] = {True: "valid", False: "invalid", UNKNOWN: "unknown"}


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a plan: it begins `at_s` seconds after the clients start and is healed
    `until_s` after that start. `arguments`: drawn by the fault, or written by the user."""

    at_s: float
    fault: str
    arguments: dict[str, Any] = {}
    until_s: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The faults of a run. `faults`: in order of time. `no_room`: requested kinds that did not fit
    into the time limit."""

    faults: tuple[PlannedFault, ...] = ()
    no_room: tuple[str, ...] = ()

    @property
    def kinds(self) -> list[str]:
        """The kinds of fault in the plan, each once, in the order in which they first occur."""
        return list(dict.fromkeys(fault.fault for fault in self.faults))


class TargetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The system under test, as described in the results. `clock_error_ms`: see `Target`."""

    target: str
    version: str
    binary: str | None = None
    options: dict[str, str] = {}
    clock_error_ms: int = 10


class EnvironmentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The environment of a run. `addresses`: of nodes that have one on a real network, by name."""

    environment: str
    simulated: bool = False
    addresses: dict[str, str] = {}


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of test.json: what a reader, `harness check` and `harness replay` need to know
    about a run. `faults`: the kinds in the plan. `no_room`: see `Plan`. `started`: ISO 8601.
    `versions`: of everything that affects the run: Python, libraries, the code. `volatile`: why the
    target loses its data when its processes end, if faults end them. `compares`: whether the run
    compares what its nodes hold, at the end."""

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
    volatile: str | None = None
    compares: bool = False


class Hashes(msgspec.Struct, frozen=True, kw_only=True):
    """The content of hashes.json, equal in two simulated runs of the same seed. `events`: the
    number of lines of the trace."""

    history: str
    trace: str
    events: int


class Verdict(msgspec.Struct, kw_only=True):
    """The result of a checker: `valid`, the reason in a sentence, and `evidence` as JSON data.

    `judged`: False for measurements, which never make a run invalid.
    """

    valid: Valid
    why: str
    evidence: dict[str, Any] = {}
    judged: bool = True


class Results(msgspec.Struct, kw_only=True):
    """The content of results.json. `valid`: the worst of the judged claims. `expect`: the verdict
    that the spec expects."""

    valid: Valid
    why: str
    expect: str
    claims: dict[str, Verdict]
    warnings: list[str] = []

    @property
    def exit_code(self) -> int:
        """0 if the verdict is the expected one, 1 if not, 2 if it is unknown."""
        if self.valid == UNKNOWN:
            return 2
        return 0 if self.valid is (self.expect == "valid") else 1
