"""Why a history is not linearizable: the fewest operations that show it, and a sentence.

Shrinking only relaxes, so it can't create a violation: drop a read, forget an outcome (the
operation may then take effect at any later time), forget a result, remove every trace of one
value. The result is 1-minimal: no single relaxation leaves a violation. Every step is re-checked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.checkers.linearizable import OPEN, Budget, Entry, Outcome, check_entries
from harness.models.base import BOUND, GONE, KEEP, Model, Projectable, Versioned

# Enough for a sub-history of a refuted one; what takes longer to refute is not simpler to read.
SHRINK_BUDGET = Budget(configurations=200_000, bytes=1 << 28)


@dataclass(slots=True)
class Witness:
    """Operations of one key that no order explains; `stuck` is the one that can't be placed."""

    key: Hashable
    entries: list[Entry]
    stuck: Entry
    sentence: str
    words: list[str]

    @property
    def across_nodes(self) -> bool:
        """Whether more than one node answered its reads."""
        nodes = {
            e.pair.done.node
            for e in self.entries
            if e.pair is not None and e.pair.done is not None and e.ret != OPEN
        }
        return len(nodes) > 1

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "sentence": self.sentence,
            "words": self.words,
            "operations": [_as_json(e, e is self.stuck) for e in self.entries],
        }


def _as_json(e: Entry, stuck: bool) -> dict[str, Any]:
    assert e.pair is not None
    invoke, done = e.pair.invoke, e.pair.done
    return {
        "process": invoke.process,
        "f": e.f,
        "value": _recorded_value(e),
        "call": e.call,
        "ret": None if e.ret == OPEN else e.ret,
        "index": invoke.index,
        "outcome": done.type if done is not None else "info",
        "error": done.error if done is not None else None,
        "node": done.node if done is not None else invoke.node,
        "stuck": stuck,
    }


def find_witness(
    entries: Sequence[Entry],
    model: Model,
    outcome: Outcome,
    key: Hashable,
    independent: bool,
    *,
    of_reads: bool = False,
) -> Witness:
    """A 1-minimal witness of a refuted partition.

    `of_reads`: prefer one in which it is reads that contradict each other, over one with an
    acknowledged write.
    """

    def refuted(candidate: list[Entry]) -> bool:
        return check_entries(candidate, model, SHRINK_BUDGET).valid is False

    core = _start(entries, outcome, model, refuted)
    if of_reads:
        opened = [e if _reads(model, e) else replace(e, ret=OPEN) for e in entries]
        core = opened if refuted(opened) else core
    core = _shrink(core, model, refuted)
    stuck = _last_called(core)
    core.sort(key=lambda e: (e.call, e.ret))
    return Witness(key, core, stuck, _sentence(core, stuck, key, independent), _words(core))


def _start(
    entries: Sequence[Entry], outcome: Outcome, model: Model, refuted: Callable[[list[Entry]], bool]
) -> list[Entry]:
    """The algorithm's own core, else everything up to the return that nothing explains."""
    core = [entries[i] for i in outcome.core]
    if core and refuted(core):
        return core
    if 0 <= outcome.stuck < len(entries):
        end = entries[outcome.stuck].ret
        cut = [
            e if e.ret <= end else replace(e, ret=OPEN)
            for e in entries
            if e.call <= end and (e.ret <= end or not _reads(model, e))
        ]
        if refuted(cut):
            return cut
    return list(entries)


def _reads(model: Model, e: Entry) -> bool:
    if not isinstance(model, Versioned):
        return False
    versions = model.versions(e.f, e.value, e.known)
    return versions is not None and versions[1] is KEEP


def _shrink(core: list[Entry], model: Model, refuted: Callable[[list[Entry]], bool]) -> list[Entry]:
    if isinstance(model, Projectable):
        core = _without_answers(core, model, refuted)
    while True:
        before = core
        core = _without_reads(core, model, refuted)
        if isinstance(model, Projectable):
            core = _without_values(core, model, refuted)
        core = _without_outcomes(core, model, refuted)
        if core == before:
            return core


def _without_answers(
    core: list[Entry], model: Projectable, refuted: Callable[[list[Entry]], bool]
) -> list[Entry]:
    """Forget what writers were answered, if what was read suffices."""
    forgotten = [replace(e, value=model.forget(e.f, e.value, e.known)) for e in core]
    return forgotten if refuted(forgotten) else core


def _without_reads(
    core: list[Entry], model: Model, refuted: Callable[[list[Entry]], bool]
) -> list[Entry]:
    """Drop reads in halves, quarters, … one by one (delta debugging)."""
    reads = [e for e in core if _reads(model, e)]
    size = max(1, len(reads) // 2)
    while reads:
        for start in range(0, len(reads), size):
            chunk = {id(e) for e in reads[start : start + size]}
            smaller = [e for e in core if id(e) not in chunk]
            if refuted(smaller):
                core = smaller
        reads = [e for e in core if _reads(model, e)]
        if size == 1:
            return core
        size = max(1, size // 2)
    return core


def _without_values(
    core: list[Entry], model: Projectable, refuted: Callable[[list[Entry]], bool]
) -> list[Entry]:
    values = {
        v: None for e in core for v in sorted(model.mentions(e.f, e.value, e.known), key=repr)
    }
    pending = list(values)
    size = max(1, len(pending) // 2)
    while pending:
        kept: list[Hashable] = []
        for start in range(0, len(pending), size):
            chunk = pending[start : start + size]
            smaller = _project(core, model, chunk)
            if smaller is not None and refuted(smaller):
                core = smaller
            else:
                kept += chunk
        if size == 1:
            return core
        pending, size = kept, max(1, size // 2)
    return core


def _project(
    core: list[Entry], model: Projectable, dropped: Sequence[Hashable]
) -> list[Entry] | None:
    entries = []
    gone = frozenset(dropped)
    for e in core:
        value = model.without(e.f, e.value, e.known, gone)
        if value is BOUND:
            return None
        if value is not GONE:
            entries.append(e if value == e.value else replace(e, value=value))
    return entries


def _without_outcomes(
    core: list[Entry], model: Model, refuted: Callable[[list[Entry]], bool]
) -> list[Entry]:
    """Leave open what need not have returned; what is open and unneeded then goes."""
    for e in list(core):
        if e.ret == OPEN or _reads(model, e):
            continue
        relaxed = [replace(x, ret=OPEN) if x is e else x for x in core]
        if refuted(relaxed):
            core = relaxed
    for e in list(core):
        if e.ret != OPEN:
            continue
        smaller = [x for x in core if x is not e]
        if _nobody_needs(e, smaller, model) and refuted(smaller):
            core = smaller
    return core


def _nobody_needs(e: Entry, others: Sequence[Entry], model: Model) -> bool:
    """An open operation whose state no other one requires can't make a history linearizable."""
    if not isinstance(model, Versioned):
        return False
    mine = model.versions(e.f, e.value, e.known)
    if mine is None:
        return False
    for other in others:
        versions = model.versions(other.f, other.value, other.known)
        if versions is None or (versions[0] == mine[1] and mine[1] is not KEEP):
            return False
    return True


def _last_called(core: Sequence[Entry]) -> Entry:
    returned = [e for e in core if e.ret != OPEN]
    return max(returned or core, key=lambda e: e.call)


def _recorded_value(e: Entry) -> Any:
    """What the history holds, without the key of an independent one."""
    assert e.pair is not None
    value = e.pair.value
    return value[1] if e.keyed else value


def _who(e: Entry) -> str:
    return f"process {e.pair.invoke.process}" if e.pair is not None else "somebody"


def _where(e: Entry) -> str:
    node = e.pair.done.node if e.pair is not None and e.pair.done is not None else None
    return f" at {node}" if node else ""


def _at(nanos: int) -> str:
    return f"{nanos / 1e9:.3f} s"


def _brief(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > 6:
        return f"[… {len(value) - 3} more, {', '.join(str(v) for v in value[-3:])}]"
    if isinstance(value, tuple):
        return "[" + ", ".join(str(v) for v in value) + "]"
    return "nothing" if value is None else str(value)


def _did(e: Entry) -> str:
    """`wrote 3`, `read [1, 2]`, `compared and set 1 to 2`."""
    value: Any = e.value
    if e.f == "read":
        recorded = _recorded_value(e)
        if isinstance(value, tuple) and len(recorded) > max(6, len(value)):
            if not value:
                return f"read {len(recorded)} other values"
            return f"read {len(recorded)} values, {_brief(value)} among them"
        return f"read {_brief(value)}"
    if e.f.startswith("cas"):
        if e.known and len(value) == 3 and value[2] != value[0]:
            return f"compared with {value[0]} and saw {value[2]}"
        return f"compared and set {value[0]} to {value[1]}"
    if e.f in ("append", "add") and e.known and isinstance(value, tuple):
        return f"{'appended' if e.f == 'append' else 'added'} {value[0]}" + (
            f" (answer {value[1]})" if value[1] is not None else ""
        )
    verb = {"write": "wrote", "append": "appended", "add": "added"}.get(e.f, e.f)
    return f"{verb} {_brief(value)}"


def _words(core: Sequence[Entry]) -> list[str]:
    """A line an operation; of many whose outcome does not matter only the first and the last."""
    unknown = [e for e in core if e.ret == OPEN]
    if len(unknown) <= 8:
        return [_describe(e) for e in core]
    left_out = unknown[3:-1]
    words = []
    for e in core:
        if e is left_out[0]:
            words.append(
                f"… {len(left_out)} more operations like that, from "
                f"{_at(left_out[0].call)} to {_at(left_out[-1].call)} …"
            )
        if not any(e is other for other in left_out):
            words.append(_describe(e))
    return words


def _describe(e: Entry) -> str:
    if e.ret == OPEN:
        return f"from {_at(e.call)}: {_who(e)} {_did(e)}{_where(e)}, at some time or never"
    return f"{_at(e.call)} to {_at(e.ret)}: {_who(e)} {_did(e)}{_where(e)}"


def _sentence(core: Sequence[Entry], stuck: Entry, key: Hashable, independent: bool) -> str:
    """What a person would say of the operation that nothing explains."""
    where = f"key {key}: " if independent else ""
    head = f"{where}{_who(stuck)} {_did(stuck)}{_where(stuck)} at {_at(stuck.call)}"
    before = sorted((e for e in core if e.ret < stuck.call), key=lambda e: e.ret)
    if stuck.f == "read" and isinstance(stuck.value, tuple):
        for e in reversed(before):
            missing = _shown(e) - frozenset(_recorded_value(stuck))
            if missing:
                kind = "acknowledged write" if e.f != "read" else "value that was read"
                return (
                    f"{head}, and {min(missing, key=repr)} was not among them, although "
                    f"{_who(e)} {_did(e)}{_where(e)} by {_at(e.ret)}: an {kind} is gone".replace(
                        "an value", "a value"
                    )
                )
    seen = [e for e in before if e.f == "read" and e.value != stuck.value]
    if stuck.f == "read" and seen:
        last = seen[-1]
        return (
            f"{head}, after {_who(last)} had {_did(last)}{_where(last)} by {_at(last.ret)}: "
            "what was read is gone"
        )
    acknowledged = [e for e in before if e.f != "read"]
    if acknowledged:
        last = acknowledged[-1]
        return (
            f"{head}, after {_who(last)} {_did(last)}{_where(last)} and was told so by "
            f"{_at(last.ret)}: no order of these operations explains both"
        )
    if stuck.f == "read" and not any(e.f != "read" and _installs(e, stuck.value) for e in core):
        return f"{head}, a value that nobody wrote"
    return f"{head}: no order of these {len(core)} operations explains it"


def _shown(e: Entry) -> frozenset[Hashable]:
    """The elements that an append, an add or a read of a collection stands for."""
    value: Any = e.value
    if e.f == "read":
        return frozenset(value)
    return frozenset({value[0] if isinstance(value, tuple) else value})


def _installs(e: Entry, value: Hashable) -> bool:
    mine: Any = e.value
    return bool(mine == value or (isinstance(mine, tuple) and value in mine))
