"""Events: everything in a history that is not a client's operation, as typed structs.

In the file an event is an invocation and a completion of the process `nemesis`, as in Jepsen:
`start-kill`, `stop-kill` for faults, and one name for each kind of event of the run itself. Only
this module knows those names: `invoked` and `completed` encode an event, `read` decodes all events
of a history.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from harness.errors import HistoryError
from harness.history.operations import NEMESIS, Op, Pair

START, STOP = "start-", "stop-"


class FaultBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A fault was injected, as described by `did`, or skipped, for the reason in `skipped`.
    `number`: identifies the fault, to match its end."""

    fault: str
    number: int = 0
    arguments: dict[str, Any] = {}
    did: dict[str, Any] = {}
    skipped: str | None = None


class FaultEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A fault was healed. `effective`: whether an effect was measured; `effect`: the measurements.
    `number`: that of its `FaultBegan`."""

    fault: str
    number: int = 0
    effective: bool = False
    effect: dict[str, Any] = {}


class Healed(msgspec.Struct, frozen=True):
    """All faults were healed; no more will be injected."""

    NAME: ClassVar[str] = "heal"


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Every node was up and connected again, `ms` milliseconds after healing; if the event has an
    error, they were not in time."""

    NAME: ClassVar[str] = "settle"
    ms: int | None = None


class FinalBegan(msgspec.Struct, frozen=True):
    """The final reads begin here."""

    NAME: ClassVar[str] = "final"


class Ended(msgspec.Struct, frozen=True):
    """The run completed."""

    NAME: ClassVar[str] = "end"


class ProcessEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A process exited unexpectedly. `what`: a description. `code`: its exit code, if known."""

    NAME: ClassVar[str] = "exit"
    process: str
    what: str
    code: int | None = None


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A process logged a text that the target declares an alarm. `what`: a description. `damage`:
    it found its data damaged."""

    NAME: ClassVar[str] = "alarm"
    process: str
    what: str
    damage: bool = False


# An entry of a log: its number, and the commands that it applies, each a list of words.
LogEntry = tuple[int, list[list[str]]]


class LogRead(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the target's log, read after the run."""

    NAME: ClassVar[str] = "log"
    entries: list[LogEntry]


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an audit of the target's log.

    `nodes`: the digest of each node's data; `replay`: that of a replay of the log. `copies`: the
    number of entries read from each copy of the log; `compared`: of entries read from more than
    one; `differing`: descriptions of differences between copies. `entries`: the number of the last
    entry; `trimmed`: of the last one trimmed from all copies. `snapshots`: the digest of each, and
    that of a replay up to its position. `error`: why the log could not be read.
    """

    NAME: ClassVar[str] = "digests"
    nodes: dict[str, str] = {}
    replay: str = ""
    copies: dict[str, int] = {}
    compared: int = 0
    differing: list[str] = []
    entries: int = 0
    trimmed: int = 0
    snapshots: dict[str, tuple[str, str | None]] = {}
    error: str | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A key that two nodes hold differently. `at_primary`, `at_node`: what they hold, as text."""

    key: str
    primary: str
    node: str
    at_primary: str
    at_node: str


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What the nodes of a shard hold of the run's keys was compared, after the last write.

    `keys`: how many were looked for; `held`: how many of them the primary had; `replicas`: those
    that were compared with the primary; `looks`: how often. `differences`: those that were the same
    in the last looks, at most as many as fit into a line; `count`: all of them. `error`: why nodes
    could not be compared.
    """

    NAME: ClassVar[str] = "compared"
    keys: int = 0
    held: int = 0
    primary: str | None = None
    replicas: list[str] = []
    looks: int = 0
    differences: list[Difference] = []
    count: int = 0
    error: str | None = None


class Primaries(msgspec.Struct, frozen=True, kw_only=True):
    """The primaries that clients were routed to during the run, as (since when in ns, shard, node),
    one entry for each change."""

    NAME: ClassVar[str] = "primaries"
    changes: list[tuple[int, str, str | None]] = []


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """A reason, in words, why the run can't be valid."""

    NAME: ClassVar[str] = "doubt"
    what: str


Noted = (
    Healed
    | Settled
    | FinalBegan
    | Ended
    | ProcessEnded
    | Alarm
    | LogRead
    | Digests
    | Compared
    | Primaries
    | Doubt
)
What = FaultBegan | FaultEnded | Noted
_NOTED: dict[str, type[Noted]] = {
    kind.NAME: kind
    for kind in (
        Healed,
        Settled,
        FinalBegan,
        Ended,
        ProcessEnded,
        Alarm,
        LogRead,
        Digests,
        Compared,
        Primaries,
        Doubt,
    )
}
T_co = TypeVar("T_co", bound=What, covariant=True)
T = TypeVar("T")


class Event(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """An event with its place in the history. `index`, `time` (nanoseconds): of the invocation.
    `ended`: the time of the completion, if there is one. `error`: why the event failed, if so."""

    index: int
    time: int
    ended: int | None
    what: T_co
    error: str | None = None

    @property
    def happened(self) -> bool:
        """Whether the event was neither skipped nor failed."""
        return self.error is None and getattr(self.what, "skipped", None) is None


class Events(list[Event[Any]]):
    """The events of a history, in order."""

    def of(self, kind: type[T_co]) -> list[Event[T_co]]:
        """Return the events of one kind."""
        return [event for event in self if isinstance(event.what, kind)]

    def faults(self) -> list[tuple[Event[FaultBegan], Event[FaultEnded] | None]]:
        """Return every fault that began, failed or was skipped, with its end, if there is one."""
        ends = {(e.what.fault, e.what.number): e for e in self.of(FaultEnded) if e.error is None}
        return [
            (began, ends.get((began.what.fault, began.what.number)) if began.happened else None)
            for began in self.of(FaultBegan)
        ]


# --- writing


def invoked(what: What) -> tuple[str, Any]:
    """Return (f, value) of an event's invocation."""
    if isinstance(what, FaultBegan):
        return START + what.fault, {"number": what.number, "arguments": what.arguments}
    if isinstance(what, FaultEnded):
        return STOP + what.fault, {"number": what.number}
    return what.NAME, None


def completed(what: What) -> Any:
    """Return the value of an event's completion."""
    if isinstance(what, FaultBegan):
        return {"did": what.did} if what.skipped is None else {"skipped": what.skipped}
    if isinstance(what, FaultEnded):
        return {"effective": what.effective, "effect": what.effect}
    return msgspec.to_builtins(what) or None


def operations(what: What, error: str | None, index: int, time: int) -> tuple[Op, Op]:
    """Return the invocation and the completion of an instantaneous event."""
    f, value = invoked(what)
    done = None if error is not None else completed(what)
    return (
        Op(index, time, "invoke", NEMESIS, f, value),
        Op(index + 1, time, "info", NEMESIS, f, done, error),
    )


# --- reading


class _Fault(msgspec.Struct):
    """All fields in the values of a fault's operations, each of which may be missing."""

    number: int = 0
    arguments: dict[str, Any] = {}
    did: dict[str, Any] = {}
    skipped: str | None = None
    effective: bool = False
    effect: dict[str, Any] = {}


def fault_of(op: Op) -> tuple[type[FaultBegan] | type[FaultEnded], str] | None:
    """Return the kind of event and the fault that an operation is about; None if not a fault."""
    if op.f.startswith(START):
        return FaultBegan, op.f.removeprefix(START)
    if op.f.startswith(STOP):
        return FaultEnded, op.f.removeprefix(STOP)
    return None


def was_skipped(op: Op) -> bool:
    """Return whether a completion is that of a skipped fault."""
    return isinstance(op.value, dict) and "skipped" in op.value


def fault_arguments(op: Op) -> tuple[int, dict[str, Any]]:
    """Return the number and the arguments of a fault, from its invocation."""
    return op.value["number"], op.value.get("arguments", {})


def read(pairs: Iterable[Pair]) -> Events:
    """Return the events of a history, from the nemesis' operations. Raises `HistoryError`."""
    events = Events()
    for p in pairs:
        what = _read(p)
        if what is not None:
            done = p.done
            events.append(
                Event(
                    index=p.invoke.index,
                    time=p.invoke.time,
                    ended=None if done is None else done.time,
                    what=what,
                    error=None if done is None else done.error,
                )
            )
    return events


def _read(p: Pair) -> What | None:
    """Return the event of a pair, or None for one that this module does not know."""
    fault, value = fault_of(p.invoke), p.completed_value
    fields = value if isinstance(value, dict) else {}
    if fault is not None:
        kind, name = fault
        asked = _converted(p, p.invoke.value, _Fault)
        done = _converted(p, value, _Fault)
        if kind is FaultBegan:
            return FaultBegan(
                fault=name,
                number=asked.number,
                arguments=asked.arguments,
                did=done.did,
                skipped=done.skipped,
            )
        return FaultEnded(
            fault=name, number=asked.number, effective=done.effective, effect=done.effect
        )
    noted = _NOTED.get(p.invoke.f)
    if noted is None:
        return None
    if value is None and p.done is not None and p.done.error is not None and noted is not Settled:
        return None
    return _converted(p, fields, noted)


def _converted(p: Pair, value: Any, kind: type[T]) -> T:
    """Return a value as a struct, without fields if it is not a dict. Raises `HistoryError`."""
    try:
        return msgspec.convert(value if isinstance(value, dict) else {}, kind)
    except msgspec.ValidationError as e:
        raise HistoryError(f"operation {p.invoke.index} ({p.invoke.f}): {e}") from e
