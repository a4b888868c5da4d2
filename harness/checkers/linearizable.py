"""Linearizability of a history against a sequential model.

Every operation must appear to take effect at one instant between its invocation and its
completion (Herlihy & Wing 1990). Operations that failed did not happen; those of unknown outcome
may take effect at any later instant or never. Independent keys are checked separately, all of
them, in rounds of growing budget, so that one hard key does not hide an easy violation in another.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history import History, Op, Pair
from harness.models.base import ANY, INCONSISTENT, KEEP, Growing, Model, Projectable, Versioned
from harness.native import _core

OPEN: Final = (1 << 63) - 1  # the return of an operation of unknown outcome
WITNESS_KEYS_MAX: Final = 8  # shrinking takes longer than deciding
_ANY, _OPAQUE, _KEEP = -1, -2, -1  # as in native/history.hpp


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation as the search sees it.

    `call`, `ret`: positions in the history, whose order is that of real time also where stamps
    are equal. `ret` is OPEN and `known` False where the outcome is unknown; an entry that is open
    but known happened, at an unknown time. `keyed`: the pair's values are [key, value].
    """

    f: str
    value: Hashable
    known: bool
    call: int
    ret: int
    pair: Pair | None = None
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of one check. Counted in configurations, not seconds: a verdict is reproducible."""

    configurations: int = 5_000_000
    bytes: int = 1 << 30


@dataclass(slots=True)
class Outcome:
    """What the core said of one partition. `valid` None: undecided, `how` says what ran out.

    `core`: indices of entries that suffice for the violation, where the algorithm names them.
    `stuck`: the entry whose return nothing explains.
    """

    valid: bool | None
    how: str
    configurations: int = 0
    bytes: int = 0
    order: list[int] = field(default_factory=list)
    core: list[int] = field(default_factory=list)
    stuck: int = -1


def freeze(value: Any) -> Hashable:
    """JSON data as a hashable value: lists become tuples."""
    if isinstance(value, list):
        return tuple(freeze(v) for v in value)
    if isinstance(value, dict):
        return tuple(sorted((k, freeze(v)) for k, v in value.items()))
    return value  # type: ignore[no-any-return]


def entries_of(
    pairs: Iterable[Pair],
    model: Model,
    *,
    independent: bool,
    keep: Callable[[Pair], bool] | None = None,
) -> dict[Hashable, list[Entry]]:
    """The entries by key, without what failed and without reads of unknown outcome.

    Raises ValueError where `independent` histories hold a value that is no [key, value].
    """
    by_key: dict[Hashable, list[Entry]] = {}
    kinds: set[str] = set()
    for pair in pairs:
        if pair.type == "fail" or (keep is not None and not keep(pair)):
            continue
        known = pair.type == "ok"
        key, value = _split(pair.invoke, pair.value) if independent else (None, pair.value)
        entry = Entry(
            pair.invoke.f,
            freeze(value),
            known,
            pair.invoke.index,
            pair.done.index if known and pair.done is not None else OPEN,
            pair,
            independent,
        )
        if entry.f not in kinds:  # what the model does not know it says here, not in the search
            kinds.add(entry.f)
            model.step(model.init(), entry.f, entry.value, entry.known)
        if not known and _reads_only(model, entry):
            continue
        by_key.setdefault(freeze(key), []).append(entry)
    return by_key


def _split(op: Op, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"operation {op.index} ({op.f}): {value!r} is not [key, value]")
    return value[0], value[1]


def _reads_only(model: Model, entry: Entry) -> bool:
    if not isinstance(model, Versioned):
        return False
    versions = model.versions(entry.f, entry.value, entry.known)
    return (versions is not None and versions[1] is KEEP) or (
        versions is None and entry.f == "read"
    )


class _OutOfMemory(Exception):
    """The states of a model take more than the budget."""


class _Interner:
    """States and letters of one partition as dense ids, and the model's step on ids."""

    def __init__(self, model: Model, entries: Sequence[Entry], bytes_max: int) -> None:
        self.model = model
        self.states: dict[Hashable, int] = {}
        self.by_id: list[Hashable] = []
        self._bytes_left = bytes_max
        self.init = self.state(model.init())
        letters: dict[tuple[str, Hashable, bool], int] = {}
        self.letters = array("i")
        for e, value in zip(entries, _merged(model, entries), strict=True):
            self.letters.append(letters.setdefault((e.f, value, e.known), len(letters)))
        self.requires, self.installs = array("i"), array("i")
        self.meanings = list(letters)
        for f, value, known in self.meanings:
            versions = model.versions(f, value, known) if isinstance(model, Versioned) else None
            if versions is None:
                self.requires.append(_OPAQUE)
                self.installs.append(_KEEP)
                continue
            requires, installs = versions
            self.requires.append(_ANY if requires is ANY else self.state(requires))
            self.installs.append(_KEEP if installs is KEEP else self.state(installs))

    def state(self, state: Hashable) -> int:
        known = self.states.get(state)
        if known is None:
            known = self.states[state] = len(self.by_id)
            self.by_id.append(state)
            self._bytes_left -= sys.getsizeof(state) + 100
            if self._bytes_left < 0:
                raise _OutOfMemory
        return known

    def step(self, state: int, letter: int) -> int:
        after = self.model.step(self.by_id[state], *self.meanings[letter])
        return -1 if after is INCONSISTENT else self.state(after)

    def reaches(self, state: int, later: int) -> bool:
        assert isinstance(self.model, Growing)
        return self.model.reaches(self.by_id[state], self.by_id[later])


def _merged(model: Model, entries: Sequence[Entry]) -> list[Hashable]:
    """The entries' values, with all open operations on elements that nobody read made equal.

    In a collection that only grows nothing tells them apart, so they are one class to the search.
    """
    if not (isinstance(model, Growing) and isinstance(model, Projectable)):
        return [e.value for e in entries]
    read = {v for e in entries if e.f == "read" for v in model.mentions(e.f, e.value, e.known)}
    stand_in: dict[str, Hashable] = {}
    values = []
    for e in entries:
        unread = not e.known and read.isdisjoint(model.mentions(e.f, e.value, e.known))
        values.append(stand_in.setdefault(e.f, e.value) if unread else e.value)
    return values


def check_entries(
    entries: Sequence[Entry], model: Model, budget: Budget, *, zones: bool = True
) -> Outcome:
    """Decide one partition. `zones` False forces the general search."""
    if not entries:
        return Outcome(True, "nothing to check")
    try:
        interner = _Interner(model, entries, budget.bytes)
        valid, how, order, configurations, size, stuck = _core.check(
            array("q", [e.call for e in entries]),
            array("q", [e.ret for e in entries]),
            interner.letters,
            interner.requires,
            interner.installs,
            len(interner.by_id),
            interner.init,
            model.recurs,
            interner.step,
            interner.reaches if isinstance(model, Growing) else None,
            budget.configurations,
            budget.bytes,
            zones,
        )
    except _OutOfMemory:
        return Outcome(None, "memory", bytes=budget.bytes)
    outcome = Outcome(None if valid < 0 else bool(valid), how, configurations, size, stuck=stuck)
    if valid > 0:
        outcome.order = order
    else:
        outcome.core = order
    return outcome


def check_keys(
    by_key: dict[Hashable, list[Entry]], model: Model, budget: Budget
) -> dict[Hashable, Outcome]:
    """Every key in rounds: first a small budget for each, then what is left for the hard ones.

    Once a key is refuted, the hard ones stay undecided.
    """
    outcomes: dict[Hashable, Outcome] = {}
    spent = 0
    share = 20_000
    open_keys = sorted(by_key, key=lambda k: len(by_key[k]))
    while open_keys and spent < budget.configurations:
        still_open = []
        for key in open_keys:
            left = Budget(min(share, max(1, budget.configurations - spent)), budget.bytes)
            outcome = outcomes[key] = check_entries(by_key[key], model, left)
            spent += outcome.configurations
            if outcome.valid is None and outcome.how == "configurations":
                still_open.append(key)
        if any(o.valid is False for o in outcomes.values()):
            break
        open_keys, share = still_open, share * 8
    for key in by_key:
        outcomes.setdefault(key, Outcome(None, "configurations"))
    return outcomes


def check(
    history: History,
    model: Model,
    *,
    independent: bool = False,
    budget: Budget | None = None,
    keep: Callable[[Pair], bool] | None = None,
    witnesses: int = 3,
    of_reads: bool = False,
) -> Verdict:
    """The verdict on a history, with at most so many witnesses (one a key) where it is invalid.

    `independent`: values are [key, value]. `keep`: which pairs belong to the claim. `of_reads`:
    prefer witnesses in which reads contradict each other. Raises ValueError for operations that
    the model does not know.
    """
    from harness.checkers.witness import find_witness

    by_key = entries_of(history.pairs(), model, independent=independent, keep=keep)
    operations = sum(len(entries) for entries in by_key.values())
    budget = budget or Budget(configurations=max(5_000_000, 8 * operations))
    outcomes = check_keys(by_key, model, budget)
    bad = [k for k, o in outcomes.items() if o.valid is False]
    undecided = [k for k, o in outcomes.items() if o.valid is None]
    evidence: dict[str, Any] = {
        "operations": operations,
        "keys": len(by_key),
        "invalid_keys": len(bad),
        "undecided_keys": [str(k) for k in undecided],
        "configurations": sum(o.configurations for o in outcomes.values()),
        "decided_by": sorted({o.how for o in outcomes.values()}),
    }
    if bad:
        found = [
            find_witness(by_key[k], model, outcomes[k], k, independent, of_reads=of_reads)
            for k in bad[:WITNESS_KEYS_MAX]
        ]
        found.sort(key=lambda w: (-len(w.read_at), w.stuck.value is None, len(w.entries), w.span))
        evidence["witnesses"] = [w.as_json() for w in found[:witnesses]]
        return Verdict(valid=False, why=found[0].sentence, evidence=evidence)
    if undecided:
        reasons = sorted({outcomes[k].how for k in undecided})
        return Verdict(
            valid=UNKNOWN,
            evidence=evidence,
            why=(
                f"{len(undecided)} of {len(by_key)} keys were not decided: budget of "
                f"{', '.join(reasons)} spent"
            ),
        )
    if all(e.ret == OPEN for entries in by_key.values() for e in entries):
        return Verdict(valid=UNKNOWN, why="no operation completed", evidence=evidence)
    keys = "1 key" if len(by_key) == 1 else f"{len(by_key)} keys"
    return Verdict(
        valid=True,
        evidence=evidence,
        why=f"{operations} operations on {keys} are linearizable",
    )
