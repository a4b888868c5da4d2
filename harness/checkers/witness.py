"""Why a history is not linearizable: the fewest operations that show it, and a sentence.

Shrinking only relaxes, so it can't create a violation: drop a read, forget an outcome (the
operation may then take effect at any later time), forget an answer, remove every trace of one
value. The result is 1-minimal: no single relaxation leaves a violation. Every step is re-checked.
The work has a bound; where it is spent, the witness is a violation but perhaps not minimal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.checkers.columns import OPEN
from harness.checkers.linearizable import Budget, Entry, Outcome, check_entries
from harness.models.base import (
    BOUND,
    DIFFERED,
    GONE,
    KEEP,
    AllBut,
    Growing,
    Model,
    Projectable,
    Versioned,
)

# Of one re-check: what takes longer to refute is not simpler to read.
CHECK_BUDGET = Budget(configurations=50_000, bytes=1 << 28)
# Of all re-checks of one witness together: entries looked at plus configurations.
WORK_MAX = 400_000


@dataclass(slots=True)
class Witness:
    """Operations of one key that no order explains; `stuck` is the one that can't be placed."""

    key: Hashable
    entries: list[Entry]
    stuck: Entry
    sentence: str
    words: list[str]
    minimal: bool

    @property
    def read_at(self) -> set[str | None]:
        """The nodes that answered its reads."""
        return {
            e.pair.done.node
            for e in self.entries
            if e.f == "read" and e.pair is not None and e.pair.done is not None
        }

    @property
    def span(self) -> int:
        """How many operations of the history lie between its first and its last."""
        return self.stuck.call - self.entries[0].call

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "sentence": self.sentence,
            "words": self.words,
            "minimal": self.minimal,
            "operations": [_as_json(e, e is self.stuck) for e in self.entries],
        }


def _as_json(e: Entry, stuck: bool) -> dict[str, Any]:
    assert e.pair is not None
    invoke, done = e.pair.invoke, e.pair.done
    return {
        "process": invoke.process,
        "f": e.f,
        "value": _recorded_value(e),
        "call": invoke.time,
        "ret": None if e.ret == OPEN or done is None else done.time,
        "index": invoke.index,
        "outcome": done.type if done is not None else "info",
        "error": done.error if done is not None else None,
        "node": done.node if done is not None else invoke.node,
        "stuck": stuck,
    }


class _Shrinker:
    """Tries relaxations of a violation and keeps those that leave one."""

    def __init__(self, core: list[Entry], model: Model) -> None:
        self.core = core
        self.model = model
        self._left = WORK_MAX // getattr(model, "cost", 1)

    @property
    def spent(self) -> bool:
        return self._left <= 0

    def refuted(self, candidate: list[Entry]) -> bool:
        if self.spent:
            return False
        budget = Budget(min(CHECK_BUDGET.configurations, self._left), CHECK_BUDGET.bytes)
        outcome = check_entries(candidate, self.model, budget)
        self._left -= len(candidate) + outcome.configurations
        return outcome.valid is False

    def attempt(self, candidate: list[Entry] | None) -> bool:
        """Take a relaxed violation if it still is one."""
        if candidate is None or candidate == self.core or not self.refuted(candidate):
            return False
        self.core = candidate
        return True

    def relax_all(self, items: Sequence[Any], relax: Callable[[Any], list[Entry] | None]) -> None:
        """Relax by all the items, by halves, quarters, … and one by one (delta debugging)."""
        pending = list(items)
        size = len(pending)
        while pending:
            kept: list[Any] = []
            for start in range(0, len(pending), size):
                chunk = pending[start : start + size]
                if not self.attempt(relax(chunk)):
                    kept += chunk
            if size == 1:
                return
            pending, size = kept, max(1, size // 2)

    def shrink(self) -> None:
        while True:
            before = self.core
            self._drop_reads()
            self._forget_answers()
            self._drop_values()
            self._open_outcomes()
            self._drop_unneeded()
            if self.core == before or self.spent:
                return

    def forget_all(self) -> bool:
        """Whether what was read suffices, whatever writers were answered: the shortest story."""
        model = self.model
        return isinstance(model, Projectable) and self.attempt(
            [replace(e, value=model.forget(e.f, e.value, e.known)) for e in self.core]
        )

    def _drop_reads(self) -> None:
        reads = [e for e in self.core if _reads(self.model, e)]
        self.relax_all(reads, lambda chunk: [e for e in self.core if not _among(e, chunk)])

    def _forget_answers(self) -> None:
        model = self.model
        if not isinstance(model, Projectable):
            return

        def forget(chunk: list[Entry]) -> list[Entry]:
            return [
                replace(e, value=model.forget(e.f, e.value, e.known)) if _among(e, chunk) else e
                for e in self.core
            ]

        answered = [e for e in self.core if model.forget(e.f, e.value, e.known) != e.value]
        self.relax_all(answered, forget)

    def _drop_values(self) -> None:
        model = self.model
        if not isinstance(model, Projectable):
            return
        values = {
            v: None
            for e in self.core
            for v in sorted(model.mentions(e.f, e.value, e.known), key=repr)
        }
        self.relax_all(list(values), lambda chunk: _project(self.core, model, chunk))

    def _open_outcomes(self) -> None:
        returned = [e for e in self.core if e.ret != OPEN and not _reads(self.model, e)]

        def opened(chunk: list[Entry]) -> list[Entry]:
            return [replace(e, ret=OPEN) if _among(e, chunk) else e for e in self.core]

        self.relax_all(returned, opened)

    def _drop_unneeded(self) -> None:
        """Open operations without which nothing would become legal."""
        for e in [e for e in self.core if e.ret == OPEN]:
            others = [x for x in self.core if x is not e]
            if _nobody_needs(e, others, self.model):
                self.attempt(others)


def _among(e: Entry, chunk: Sequence[Entry]) -> bool:
    return any(e is other for other in chunk)


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
    shrinker = _Shrinker(list(entries), model)
    opened = [e if _reads(model, e) else replace(e, ret=OPEN) for e in entries]
    if not (of_reads and shrinker.attempt(opened)) and not shrinker.forget_all():
        _start(shrinker, entries, outcome)
    shrinker.shrink()
    core = sorted(shrinker.core, key=lambda e: (e.call, e.ret))
    stuck = _last_called(core)
    sentence = _sentence(core, stuck, model, key, independent)
    return Witness(key, core, stuck, sentence, _words(core), not shrinker.spent)


def _start(shrinker: _Shrinker, entries: Sequence[Entry], outcome: Outcome) -> None:
    """The algorithm's own core, else everything up to the return that nothing explains."""
    core = [entries[i] for i in outcome.core]
    if core and shrinker.attempt(core):
        return
    if 0 <= outcome.stuck < len(entries):
        end = entries[outcome.stuck].ret
        shrinker.attempt(
            [
                e if e.ret <= end else replace(e, ret=OPEN)
                for e in entries
                if e.call <= end and (e.ret <= end or not _reads(shrinker.model, e))
            ]
        )


def _reads(model: Model, e: Entry) -> bool:
    if not isinstance(model, Versioned):
        return False
    versions = model.versions(e.f, e.value, e.known)
    return versions is not None and versions[1] is KEEP


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


def _nobody_needs(e: Entry, others: Sequence[Entry], model: Model) -> bool:
    """Whether the history without this open operation is linearizable if the one with it is.

    So it is where no other operation requires the state that it leaves; and in a collection
    where nobody shows its element and no known answer counts it.
    """
    if isinstance(model, Growing) and isinstance(model, Projectable):
        mine = model.mentions(e.f, e.value, e.known)
        return all(
            mine.isdisjoint(model.mentions(x.f, x.value, x.known))
            and model.forget(x.f, x.value, x.known) == x.value
            for x in others
        )
    if not isinstance(model, Versioned):
        return False
    versions = model.versions(e.f, e.value, e.known)
    if versions is None:
        return False
    for other in others:
        needed = model.versions(other.f, other.value, other.known)
        if needed is None or isinstance(needed[0], AllBut):
            return False
        if needed[0] == versions[1] and versions[1] is not KEEP:
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


def _called(e: Entry) -> int:
    """When it was invoked, in nanoseconds."""
    return e.pair.invoke.time if e.pair is not None else e.call


def _returned(e: Entry) -> int:
    """When it completed, in nanoseconds."""
    return e.pair.done.time if e.pair is not None and e.pair.done is not None else e.ret


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
        if isinstance(value, tuple) and len(recorded or ()) > max(6, len(value)):
            if not value:
                return f"read {len(recorded)} other values"
            return f"read {len(recorded)} values, {_brief(value)} among them"
        return f"read {_brief(value)}"
    if e.f.startswith("cas"):
        if e.known and len(value) == 3 and value[2] is DIFFERED:
            return f"compared with {value[0]} and saw another value"
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
                f"{_at(_called(left_out[0]))} to {_at(_called(left_out[-1]))} …"
            )
        if not any(e is other for other in left_out):
            words.append(_describe(e))
    return words


def _describe(e: Entry) -> str:
    if e.ret == OPEN:
        return f"from {_at(_called(e))}: {_who(e)} {_did(e)}{_where(e)}, at some time or never"
    return f"{_at(_called(e))} to {_at(_returned(e))}: {_who(e)} {_did(e)}{_where(e)}"


def _sentence(
    core: Sequence[Entry], stuck: Entry, model: Model, key: Hashable, independent: bool
) -> str:
    """What a person would say of the operation that nothing explains."""
    where = f"key {key}: " if independent else ""
    head = f"{where}{_who(stuck)} {_did(stuck)}{_where(stuck)} at {_at(_called(stuck))}"
    before = sorted((e for e in core if e.ret < stuck.call), key=lambda e: e.ret)
    if stuck.f == "read" and isinstance(model, Growing) and isinstance(model, Projectable):
        for e in reversed(before):
            missing = model.mentions(e.f, e.value, e.known) - frozenset(
                _recorded_value(stuck) or ()
            )
            if missing:
                what = "a value that was read" if e.f == "read" else "an acknowledged write"
                return (
                    f"{head}, and {min(missing, key=repr)} was not among them, although "
                    f"{_who(e)} {_did(e)}{_where(e)} by {_at(_returned(e))}: {what} is gone"
                )
    seen = [e for e in before if e.f == "read" and e.value != stuck.value]
    if stuck.f == "read" and seen:
        last = seen[-1]
        return (
            f"{head}, after {_who(last)} had {_did(last)}{_where(last)} by {_at(_returned(last))}: "
            "what was read is gone"
        )
    acknowledged = [e for e in before if e.f != "read"]
    if acknowledged:
        last = acknowledged[-1]
        return (
            f"{head}, after {_who(last)} {_did(last)}{_where(last)} and was told so by "
            f"{_at(_returned(last))}: no order of these operations explains both"
        )
    if stuck.f == "read" and not any(e.f != "read" and _installs(e, stuck.value) for e in core):
        return f"{head}, a value that nobody wrote"
    return f"{head}: no order of these {len(core)} operations explains it"


def _installs(e: Entry, value: Hashable) -> bool:
    mine: Any = e.value
    return bool(mine == value or (isinstance(mine, tuple) and value in mine))
