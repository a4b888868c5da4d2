"""Events: everything in a history that is not a client's operation, as typed structs.

In the file an event is an invocation and a completion of the process `nemesis`, as Jepsen writes
them: `start-kill`, `stop-kill` for faults, and one name each for what the run itself notes. This
module is the one place that knows those names: `invoked` and `completed` write an event, `read`
reads all events of a history.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from harness.errors import HistoryError
from harness.history.operations import NEMESIS, Op, Pair

START, STOP = "start-", "stop-"


class FaultBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A fault was injected: `did` is what was done. `skipped`: why its moment did not allow it.
    `number`: of the fault, so that its end is told from those of others of its kind."""

    fault: str
    number: int = 0
    arguments: dict[str, Any] = {}
    did: dict[str, Any] = {}
    skipped: str | None = None


class FaultEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A fault was healed. `effective`: whether it was measured to have had an effect; `effect`:
    what was measured. `number`: that of its beginning."""

    fault: str
    number: int = 0
    effective: bool = False
    effect: dict[str, Any] = {}


class Healed(msgspec.Struct, frozen=True):
    """The last fault was healed, the time of faults is over."""

    NAME: ClassVar[str] = "heal"


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Every node was up and linked again, so long after healing; with the event's error: not in
    time."""

    NAME: ClassVar[str] = "settle"
    ms: int | None = None


class FinalBegan(msgspec.Struct, frozen=True):
    """From here on clients read what is left."""

    NAME: ClassVar[str] = "final"


class Ended(msgspec.Struct, frozen=True):
    """The run came to its end."""

    NAME: ClassVar[str] = "end"


class ProcessEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A process ended although nobody ended it. `what`: in words."""

    NAME: ClassVar[str] = "exit"
    process: str
    what: str
    code: int | None = None


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A process logged what a target declares to be an alarm. `what`: in words."""

    NAME: ClassVar[str] = "alarm"
    process: str
    what: str


# An entry of a log: its number, and the commands that it applies, as words.
LogEntry = tuple[int, list[list[str]]]


class LogRead(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the target's log, read at the end."""

    NAME: ClassVar[str] = "log"
    entries: list[LogEntry]


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit of the target's log found.

    `nodes`: the digest of what each node holds; `replay`: of a replay of the log. `copies`: how
    many entries each copy of the log was seen to hold; `compared`: how many entries were seen in
    more than one; `differing`: where two copies are not the same, in words. `entries`: the last
    entry's number; `trimmed`: of the last one that no copy has kept. `snapshots`: of each its
    digest and that of a replay up to its position. `error`: why the log could not be read.
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


Noted = Healed | Settled | FinalBegan | Ended | ProcessEnded | Alarm | LogRead | Digests
What = FaultBegan | FaultEnded | Noted
_NOTED: dict[str, type[Noted]] = {
    kind.NAME: kind
    for kind in (Healed, Settled, FinalBegan, Ended, ProcessEnded, Alarm, LogRead, Digests)
}
T_co = TypeVar("T_co", bound=What, covariant=True)
T = TypeVar("T")


class Event(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """`index`, `time` (nanoseconds): of the invocation. `ended`: the time of the completion, None
    where there is none. `error`: what went wrong instead."""

    index: int
    time: int
    ended: int | None
    what: T_co
    error: str | None = None

    @property
    def happened(self) -> bool:
        """Whether it was neither skipped nor went wrong."""
        return self.error is None and getattr(self.what, "skipped", None) is None


class Events(list[Event[Any]]):
    """The events of a history, in order."""

    def of(self, kind: type[T_co]) -> list[Event[T_co]]:
        """Those of one kind."""
        return [event for event in self if isinstance(event.what, kind)]

    def faults(self) -> list[tuple[Event[FaultBegan], Event[FaultEnded] | None]]:
        """Every fault that began or was skipped, with its end, if it had one."""
        ends = {(e.what.fault, e.what.number): e for e in self.of(FaultEnded) if e.error is None}
        return [
            (began, ends.get((began.what.fault, began.what.number)) if began.happened else None)
            for began in self.of(FaultBegan)
        ]


# --- writing


def invoked(what: What) -> tuple[str, Any]:
    """(f, value) of an event's invocation."""
    if isinstance(what, FaultBegan):
        return START + what.fault, {"number": what.number, "arguments": what.arguments}
    if isinstance(what, FaultEnded):
        return STOP + what.fault, {"number": what.number}
    return what.NAME, None


def completed(what: What) -> Any:
    """The value of an event's completion."""
    if isinstance(what, FaultBegan):
        return {"did": what.did} if what.skipped is None else {"skipped": what.skipped}
    if isinstance(what, FaultEnded):
        return {"effective": what.effective, "effect": what.effect}
    return msgspec.to_builtins(what) or None


def operations(what: What, error: str | None, index: int, time: int) -> tuple[Op, Op]:
    """The two lines of an event that takes no time."""
    f, value = invoked(what)
    done = None if error is not None else completed(what)
    return (
        Op(index, time, "invoke", NEMESIS, f, value),
        Op(index + 1, time, "info", NEMESIS, f, done, error),
    )


# --- reading


class _Fault(msgspec.Struct):
    """What is said of a fault: when it is asked for, begun, ended. All of it may be missing."""

    number: int = 0
    arguments: dict[str, Any] = {}
    did: dict[str, Any] = {}
    skipped: str | None = None
    effective: bool = False
    effect: dict[str, Any] = {}


def fault_of(op: Op) -> tuple[type[FaultBegan] | type[FaultEnded], str] | None:
    """Whether a line of the nemesis begins or ends a fault, and which; None: neither."""
    if op.f.startswith(START):
        return FaultBegan, op.f.removeprefix(START)
    if op.f.startswith(STOP):
        return FaultEnded, op.f.removeprefix(STOP)
    return None


def was_skipped(op: Op) -> bool:
    """Whether a completion is that of a fault whose moment did not allow it."""
    return isinstance(op.value, dict) and "skipped" in op.value


def asked_for(op: Op) -> tuple[int, dict[str, Any]]:
    """The number and the arguments of a fault, of its invocation."""
    return op.value["number"], op.value.get("arguments", {})


def read(pairs: Iterable[Pair]) -> Events:
    """The events of a history, from the nemesis' operations. Raises `HistoryError`."""
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
    """None: an event of somebody else's making, which says nothing to us."""
    fault, value = fault_of(p.invoke), p.completed_value
    said = value if isinstance(value, dict) else {}
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
    return _converted(p, said, noted)


def _converted(p: Pair, value: Any, kind: type[T]) -> T:
    """Raises `HistoryError`."""
    try:
        return msgspec.convert(value if isinstance(value, dict) else {}, kind)
    except msgspec.ValidationError as e:
        raise HistoryError(f"operation {p.invoke.index} ({p.invoke.f}): {e}") from e
