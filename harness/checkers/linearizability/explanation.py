"""What a person would say of a few operations that contradict each other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from harness.checkers.linearizability.entries import Entry
from harness.checkers.linearizability.prefixes import Prefix, said
from harness.checkers.linearizability.shrink import Core
from harness.history.columns import DIFFERED, OPEN, freeze
from harness.models.base import Growing, Model, Projectable

READING: Final = ("read", "get", "contains")
PAST: Final = {
    "write": "wrote", "put": "put", "get": "got", "append": "appended", "add": "added",
    "remove": "removed", "enqueue": "enqueued", "dequeue": "dequeued", "push": "pushed",
    "pop": "popped", "insert": "inserted", "acquire": "acquired", "release": "released",
    "set": "set", "delete": "deleted", "contains": "asked for",
    "txn": "did", "transfer": "transferred",
}  # fmt: skip
TOLD_MAX: Final = 4  # operations of an order
LINES_MAX: Final = 60
OPEN_MAX: Final = 8  # operations of unknown outcome that are told one by one


class Words:
    """Lines and a sentence of a core; where the history has no times, by positions in it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._timed = any(e.pair is not None and e.pair.invoke.time for e in core.entries)

    def lines(self) -> list[str]:
        """A line an operation; of many whose outcome does not matter only the first and last."""
        core = self._core.entries
        lines = []
        if self._core.initial is not None:
            lines.append(f"before {self._called(core[0])}: whatever it was")
        unknown = [e for e in core if e.ret == OPEN]
        left_out = unknown[3:-1] if len(unknown) > OPEN_MAX else []
        if len(core) > LINES_MAX:
            left_out = core[3 : 3 - LINES_MAX]
        hidden = {id(e) for e in left_out}
        for e in core:
            if left_out and e is left_out[0]:
                lines.append(
                    f"… {len(left_out)} more operations, from "
                    f"{self._called(left_out[0])} to {self._called(left_out[-1])} …"
                )
            if id(e) not in hidden:
                lines.append(self._line(e))
        return lines

    def sentence(self, stuck: Entry, model: Model, where: str) -> str:
        """Of the operation that nothing explains."""
        core = self._core.entries
        head = f"{where}{who(stuck)} {did(stuck)}{at_node(stuck)} at {self._called(stuck)}"
        before = sorted((e for e in core if e.ret < stuck.call), key=lambda e: e.ret)
        if stuck.f == "read" and isinstance(model, Growing) and isinstance(model, Projectable):
            for e in reversed(before):
                there: Any = freeze(recorded_value(stuck)) or ()
                missing = model.mentions(e.f, e.value, e.known) - frozenset(there)
                if missing:
                    what = "a value that was read" if e.f == "read" else "an acknowledged write"
                    return (
                        f"{head}, and {min(missing, key=repr)} was not among them, although "
                        f"{who(e)} {did(e)}{at_node(e)} by {self._returned(e)}: {what} is gone"
                    )
        seen = [e for e in before if e.f in READING and not _may_lead_to(e, stuck, model)]
        if stuck.f in READING and seen:
            last = seen[-1]
            return (
                f"{head}, after {who(last)} had {did(last)}{at_node(last)} by "
                f"{self._returned(last)}: what was read is gone"
            )
        acknowledged = [e for e in before if e.f not in READING]
        if acknowledged:
            last = acknowledged[-1]
            return (
                f"{head}, after {who(last)} {did(last)}{at_node(last)} and was told so by "
                f"{self._returned(last)}: no order of these operations explains both"
            )
        if (
            stuck.f in ("read", "get")
            and not isinstance(stuck.value, tuple)
            and not any(e.f not in READING and _brings(e, stuck.value) for e in core)
        ):
            return f"{head}, a value that nobody wrote"
        return f"{head}: no order of these {len(core)} operations explains it"

    def _line(self, e: Entry) -> str:
        if e.ret == OPEN:
            return f"from {self._called(e)}: {who(e)} {did(e)}{at_node(e)}, at some time or never"
        return f"{self._called(e)} to {self._returned(e)}: {who(e)} {did(e)}{at_node(e)}"

    def _called(self, e: Entry) -> str:
        return self._at(e.pair.invoke.time if e.pair is not None else 0, e.call)

    def _returned(self, e: Entry) -> str:
        done = e.pair.done if e.pair is not None else None
        return self._at(done.time if done is not None else 0, e.ret)

    def _at(self, nanos: int, position: int) -> str:
        return f"{nanos / 1e9:.3f} s" if self._timed else f"event {position}"


def prefix_words(prefix: Prefix) -> str:
    """`process 1 wrote 3; next can't be: process 2 read 2, as it needs to find 2, and …`."""
    done = [f"{who(e)} {did(e)}" for e in prefix.order]
    if len(done) > TOLD_MAX:
        done = [f"{len(done) - TOLD_MAX} operations", *done[-TOLD_MAX:]]
    then = "; ".join(f"{who(e)} {did(e)}, as {why}" for e, why in prefix.rejected[:TOLD_MAX])
    return f"{', '.join(done) or 'nothing'}; next can't be: {then}"


def recorded_value(e: Entry) -> Any:
    """What the history holds, without the key of an independent one."""
    assert e.pair is not None
    value = e.pair.value
    return value[1] if e.keyed else value


def who(e: Entry) -> str:
    return f"process {e.pair.invoke.process}" if e.pair is not None else "somebody"


def at_node(e: Entry) -> str:
    node = e.pair.done.node if e.pair is not None and e.pair.done is not None else None
    return f" at {node}" if node else ""


def did(e: Entry) -> str:
    """`wrote 3`, `read [1, 2]`, `compared and set 1 to 2`."""
    value: Any = e.value
    if e.f == "read":
        recorded = recorded_value(e)
        if isinstance(value, tuple) and len(recorded or ()) > max(6, len(value)):
            if not value:
                return f"read {len(recorded)} other values"
            return f"read {len(recorded)} values, {said(value)} among them"
        return f"read {said(value)}"
    if e.f.startswith("cas") and isinstance(value, tuple) and len(value) in (2, 3):
        if e.known and len(value) == 3 and value[2] is DIFFERED:
            return f"compared with {value[0]} and saw another value"
        if e.known and len(value) == 3 and value[2] != value[0]:
            return f"compared with {value[0]} and saw {value[2]}"
        return f"compared and set {value[0]} to {value[1]}"
    if e.f == "contains" and e.known and isinstance(value, tuple) and len(value) == 2:
        return f"asked for {value[0]} and was told {'yes' if value[1] else 'no'}"
    if e.f in ("append", "add") and e.known and isinstance(value, tuple) and len(value) == 2:
        answer = f" (answer {value[1]})" if value[1] is not None else ""
        return f"{PAST[e.f]} {value[0]}{answer}"
    verb = PAST.get(e.f, e.f)
    if value is None and e.f in ("acquire", "release"):
        return verb
    return f"{verb} {said(value)}"


def _may_lead_to(e: Entry, later: Entry, model: Model) -> bool:
    """Whether what one saw may have become what the other did."""
    if isinstance(model, Growing) and isinstance(e.value, str) and isinstance(later.value, str):
        return model.reaches(e.value, later.value)
    return e.value == later.value


def _brings(e: Entry, value: Hashable) -> bool:
    mine: Any = e.value
    return bool(mine == value or (isinstance(mine, tuple) and value in mine))
