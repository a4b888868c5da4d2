"""Explains in words why a few operations contradict each other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from harness.checkers.linearizability.entries import Entry
from harness.checkers.linearizability.prefixes import Prefix, brief
from harness.checkers.linearizability.shrink import Core
from harness.history.columns import DIFFERED, OPEN, freeze
from harness.models.base import Growing, Model, Projectable

READING: Final = ("read", "get", "contains")
PAST: Final = {
    "write": "wrote", "put": "put", "get": "got", "append": "appended", "add": "added",
    "remove": "removed", "enqueue": "enqueued", "dequeue": "dequeued", "push": "pushed",
    "pop": "popped", "insert": "inserted", "acquire": "acquired", "release": "released",
    "set": "set", "delete": "deleted", "contains": "checked for",
    "txn": "executed", "transfer": "transferred", "expire": "saw the end of",
}  # fmt: skip
LISTED_MAX: Final = 4  # operations of a prefix that are listed
LINES_MAX: Final = 60
OPEN_MAX: Final = 8  # operations of unknown outcome; of more, all but four are left out


class Explanation:
    """Describes a core in lines and in a sentence. If the history has no timestamps, times are
    positions in it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._timed = any(e.pair is not None and e.pair.invoke.time for e in core.entries)

    def lines(self) -> list[str]:
        """Return one line per operation; if there are many, some in the middle are left out."""
        core = self._core.entries
        lines = []
        if self._core.initial is not None:
            lines.append(f"before {self._call_time(core[0])}: any initial state")
        unknown = [e for e in core if e.ret == OPEN]
        left_out = unknown[3:-1] if len(unknown) > OPEN_MAX else []
        if len(core) > LINES_MAX:
            left_out = core[3 : 3 - LINES_MAX]
        hidden = {id(e) for e in left_out}
        for e in core:
            if left_out and e is left_out[0]:
                lines.append(
                    f"… {len(left_out)} more operations, from "
                    f"{self._call_time(left_out[0])} to {self._call_time(left_out[-1])} …"
                )
            if id(e) not in hidden:
                lines.append(self._line(e))
        return lines

    def sentence(self, stuck: Entry, model: Model, where: str) -> str:
        """Return why `stuck` can't be linearized, as a text that begins with `where` (the key)."""
        core = self._core.entries
        head = f"{where}{clause(stuck)} at {self._call_time(stuck)}"
        before = sorted((e for e in core if e.ret < stuck.call), key=lambda e: e.ret)
        if stuck.f == "read" and isinstance(model, Growing) and isinstance(model, Projectable):
            for e in reversed(before):
                members: Any = freeze(recorded_value(stuck)) or ()
                missing = model.mentions(e.f, e.value, e.known) - frozenset(members)
                if missing:
                    what = "a value that was read" if e.f == "read" else "an acknowledged write"
                    return (
                        f"{head}, without {min(missing, key=repr)}, although "
                        f"{clause(e)} by {self._return_time(e)}: {what} is lost"
                    )
        seen = [e for e in before if e.f in READING and not _may_lead_to(e, stuck, model)]
        if stuck.f in READING and seen:
            last = seen[-1]
            return (
                f"{head}, after {process_text(last)} had {action_text(last)}{node_suffix(last)} by "
                f"{self._return_time(last)}: a value that was read is lost"
            )
        acknowledged = [e for e in before if e.f not in READING]
        if acknowledged:
            last = acknowledged[-1]
            return (
                f"{head}, after {clause(last)}, acknowledged by "
                f"{self._return_time(last)}: no linearization explains both"
            )
        if (
            stuck.f in ("read", "get")
            and not isinstance(stuck.value, tuple)
            and not any(e.f not in READING and _contains(e, stuck.value) for e in core)
        ):
            return f"{head}, a value that was never written"
        return f"{head}: no linearization of these {len(core)} operations explains it"

    def _line(self, e: Entry) -> str:
        if e.ret == OPEN:
            return f"from {self._call_time(e)}: {clause(e)}, any time later or never"
        return f"{self._call_time(e)} to {self._return_time(e)}: {clause(e)}"

    def _call_time(self, e: Entry) -> str:
        return self._time(e.pair.invoke.time if e.pair is not None else 0, e.call)

    def _return_time(self, e: Entry) -> str:
        done = e.pair.done if e.pair is not None else None
        return self._time(done.time if done is not None else 0, e.ret)

    def _time(self, nanos: int, position: int) -> str:
        return f"{nanos / 1e9:.3f} s" if self._timed else f"event {position}"


def prefix_words(prefix: Prefix) -> str:
    """Return `process 1 wrote 3; cannot be extended by process 2 read 2, because …`."""
    done = [f"{process_text(e)} {action_text(e)}" for e in prefix.order]
    if len(done) > LISTED_MAX:
        done = [f"{len(done) - LISTED_MAX} operations", *done[-LISTED_MAX:]]
    then = "; ".join(
        f"{process_text(e)} {action_text(e)}, because {why}"
        for e, why in prefix.rejected[:LISTED_MAX]
    )
    return f"{', '.join(done) or 'empty'}; cannot be extended by {then}"


def recorded_value(e: Entry) -> Any:
    """Return the value recorded in the history, without the key if keys are independent."""
    assert e.pair is not None
    value = e.pair.value
    return value[1] if e.keyed else value


def process_text(e: Entry) -> str:
    return f"process {e.pair.invoke.process}" if e.pair is not None else "a process"


def clause(e: Entry) -> str:
    """Return what an operation did, with its process and node: `process 1 wrote 3 at n1`."""
    return f"{process_text(e)} {action_text(e)}{node_suffix(e)}"


def node_suffix(e: Entry) -> str:
    node = e.pair.done.node if e.pair is not None and e.pair.done is not None else None
    return f" at {node}" if node else ""


def action_text(e: Entry) -> str:
    """Return what an operation did: `wrote 3`, `read [1, 2]`, `compared and set 1 to 2`."""
    value: Any = e.value
    if _is_command(value):
        sent = f"sent {' '.join(value[0])}"
        return f"{sent} and got {_reply_text(value[1])}" if e.known else sent
    if e.f == "read":
        recorded = recorded_value(e)
        if isinstance(value, tuple) and len(recorded or ()) > max(6, len(value)):
            if not value:
                return f"read {len(recorded)} other values"
            return f"read {len(recorded)} values, {brief(value)} among them"
        return f"read {brief(value)}"
    if e.f.startswith("cas") and isinstance(value, tuple) and len(value) in (2, 3):
        if e.known and len(value) == 3 and value[2] is DIFFERED:
            return f"compared with {value[0]} and saw another value"
        if e.known and len(value) == 3 and value[2] != value[0]:
            return f"compared with {value[0]} and saw {value[2]}"
        return f"compared and set {value[0]} to {value[1]}"
    if e.f == "contains" and e.known and isinstance(value, tuple) and len(value) == 2:
        return f"found {value[0]} {'present' if value[1] else 'absent'}"
    if e.f in ("append", "add") and e.known and isinstance(value, tuple) and len(value) == 2:
        result = f" (result {value[1]})" if value[1] is not None else ""
        return f"{PAST[e.f]} {value[0]}{result}"
    if e.f in ("acquire", "release") and e.known and isinstance(value, tuple) and len(value) == 2:
        owner, result = value
        if e.f == "release":
            return f"released it as owner {owner}" if result else f"was told that {owner} lacks it"
        granted = f"acquired it for owner {owner} with token {result}"
        return granted if result is not None else f"was refused it for owner {owner}"
    if e.f == "push" and e.known and isinstance(value, tuple) and len(value) == 2:
        return f"pushed {value[0]} (length {value[1]})"
    verb = PAST.get(e.f, e.f)
    if value is None and e.f in ("acquire", "release"):
        return verb
    return f"{verb} {brief(value)}"


def _is_command(value: Any) -> bool:
    """Return whether a value is that of the workload `commands`: [words, reply], perhaps with
    times."""
    return (
        isinstance(value, tuple)
        and len(value) in (2, 4)
        and isinstance(value[0], tuple)
        and bool(value[0])
        and all(isinstance(word, str) for word in value[0])
    )


def _reply_text(reply: Any) -> str:
    while isinstance(reply, tuple) and len(reply) == 1:
        (reply,) = reply
    if isinstance(reply, tuple) and len(reply) == 2 and reply[0] == "error":
        return f"error {reply[1]}"
    return "nil" if reply is None else brief(reply)


def _may_lead_to(e: Entry, later: Entry, model: Model) -> bool:
    """Return whether the state that `e` saw can lead to the one that `later` saw."""
    if isinstance(model, Growing) and isinstance(e.value, str) and isinstance(later.value, str):
        return model.reaches(e.value, later.value)
    return e.value == later.value


def _contains(e: Entry, value: Hashable) -> bool:
    own: Any = e.value
    return bool(own == value or (isinstance(own, tuple) and value in own))
