"""The fewest operations that still show a violation.

Shrinking only relaxes, so it can't create a violation: drop a read, open an operation (it may then
take effect at any later time), forget a result, remove every trace of one value, begin later with
any initial state. Every step is re-checked. The result is 1-minimal: no single relaxation leaves a
violation. The work is limited; beyond the limit the result is a violation, but may not be minimal.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.checkers.linearizability.alphabet import Letters, OutOfMemory
from harness.checkers.linearizability.entries import Budget, Entry, Outcome
from harness.checkers.linearizability.fast_paths import decide_keys, suited
from harness.history.columns import OPEN, Marker
from harness.models.base import (
    ANY,
    BOUND,
    KEEP,
    REMOVED,
    AllBut,
    Growing,
    Model,
    Parted,
    Projectable,
    Reading,
    Registers,
    Suited,
    Texts,
    Versioned,
)

# Limits of one re-check: a core that takes more work to refute would not be easier to understand.
CONFIGURATIONS_MAX = 50_000
BYTES_MAX = 1 << 28
STEP_COST = 20  # of a model that is not Versioned, relative to one that is
OTHER = Marker("OTHER")  # a state that no operation requires
WINDOWS = (32, 128, 512, 2048)  # sizes, in operations, of the windows tried first in a long history


@dataclass(frozen=True, slots=True)
class Core:
    """Operations, in order of invocation, that are not linearizable.

    `initial`: the possible initial states, where earlier operations are left out; None: the model's
    initial state. `minimal`: whether no single relaxation leaves a violation.
    """

    entries: list[Entry]
    initial: Sequence[Hashable] | None
    minimal: bool


def shrunk(
    entries: Sequence[Entry],
    model: Model,
    outcome: Outcome,
    *,
    of_reads: bool = False,
    work: int = 400_000,
) -> Core:
    """Return a core of a refuted partition. `entries`: in order of invocation.

    `of_reads`: prefer a core in which reads contradict each other over one with an acknowledged
    write. `work`: the limit of all re-checks together, in entries plus configurations.
    """
    if isinstance(model, Suited):
        model = suited(model, {e.f for e in entries})
    shrinker = _Shrinker([], model, work)
    short = len(entries) <= WINDOWS[-1]
    if short:
        shrinker.core = list(entries)
    of_reads = of_reads and not shrinker.cumulative
    if not (short and of_reads and shrinker.open_all()) and not (short and shrinker.forget_all()):
        shrinker.start(entries, outcome)
    shrinker.shrink()
    core = sorted(shrinker.core, key=lambda e: (e.call, e.ret))
    return Core(core, shrinker.initial, not shrinker.spent and not shrinker.undecided)


class _Shrinker:
    """Tries relaxations of a violation and keeps those that are still violations."""

    def __init__(self, core: list[Entry], model: Model, work: int) -> None:
        self.core = core
        self.model = model
        self.initial: Sequence[Hashable] | None = None
        self.cumulative: bool = getattr(model, "cumulative", False)
        step_cost = 1 if isinstance(model, Versioned) else STEP_COST
        self.work_left = work // (getattr(model, "cost", 1) * step_cost)
        self.recheck_max = CONFIGURATIONS_MAX  # configurations of one re-check
        self.undecided = False  # whether a re-check reached its limit
        self.core_cost = CONFIGURATIONS_MAX  # configurations it took to refute the core

    @property
    def spent(self) -> bool:
        return self.work_left <= 0

    def refuted(self, candidate: list[Entry], initial: Sequence[Hashable] | None) -> bool:
        """Return whether the candidate is a violation from each of the initial states."""
        models = [self.model]
        if initial is not None:
            models = [beginning_with(self.model, state) for state in initial]
        cost = 0
        for model in models:
            if self.spent:
                return False
            budget = Budget(min(self.recheck_max, self.work_left), BYTES_MAX)
            (outcome,) = decide_keys([candidate], model, budget, zones=True, orders=False)
            self.work_left -= len(candidate) + outcome.configurations
            self.undecided = self.undecided or outcome.valid is None
            if outcome.valid is not False:
                return False
            cost = max(cost, outcome.configurations)
        self.core_cost = cost
        return True

    def attempt(self, candidate: list[Entry] | None) -> bool:
        """Make the candidate the core if it is a violation; return whether it is."""
        if candidate is None or candidate == self.core:
            return False
        if not self.refuted(candidate, self.initial):
            return False
        self.core = candidate
        return True

    def start(self, entries: Sequence[Entry], outcome: Outcome) -> None:
        """Begin with the core that the algorithm named, or with all operations up to the return
        that can't be linearized; in a long history with only the last of these, if they suffice."""
        named = sorted((entries[i] for i in outcome.core), key=lambda e: e.call)
        if self.cumulative:
            named = []
        if named and len(named) <= WINDOWS[0] and self.attempt(named):
            return
        stuck = entries[outcome.stuck] if outcome.stuck >= 0 else None
        if stuck is not None and stuck.ret != OPEN:
            end = stuck.ret
        else:
            end = max((e.ret for e in named or entries if e.ret != OPEN), default=OPEN)
        stop = bisect_right(range(len(entries)), end, key=lambda i: entries[i].call)
        if self._find_window(entries, stop, end) or (named and self.attempt(named)):
            return
        self.core = list(entries)
        self.attempt(self._until(self.core[:stop], end))

    def _until(self, entries: Sequence[Entry], end: int) -> list[Entry]:
        """Return the entries that had returned by `end`, and the other writing ones, as open."""
        return [
            e if e.ret <= end else replace(e, ret=OPEN)
            for e in entries
            if e.ret <= end or not self._reads(e)
        ]

    def _find_window(self, entries: Sequence[Entry], stop: int, end: int) -> bool:
        """Find the shortest suffix of `entries[:stop]`, within the largest window, that suffices,
        and make it the core; return whether there is one."""
        fewest = 1
        for size in WINDOWS:
            if size >= stop:
                return False
            if self._suffices(entries, stop - size, stop, end):
                break
            fewest = size + 1
        else:
            return False
        while fewest < size:  # if a window suffices, so does every larger one
            half = (fewest + size) // 2
            if self._suffices(entries, stop - half, stop, end):
                size = half
            else:
                fewest = half + 1
        return True

    def _suffices(self, entries: Sequence[Entry], begin: int, stop: int, end: int) -> bool:
        """Make `entries[begin:stop]` the core if it is a violation from any initial state; return
        whether it is. Writing operations that were open at `begin` are added, as open. Return
        False for collections, whose states depend on everything inserted before."""
        if not isinstance(self.model, Versioned) or isinstance(self.model, (Growing, Parted)):
            return False
        since = entries[begin].call
        straddling = [e for e in (entries[i] for i in range(begin)) if e.ret >= since]
        opened = [replace(e, ret=OPEN) for e in straddling if not self._reads(e)]
        candidate = [
            *_few_of_each(opened, stop - begin),
            *self._until(entries[begin:stop], end),
        ]
        states = _required(candidate, self.model)
        if states is None or not self.refuted(candidate, states):
            return False
        self.core, self.initial = candidate, states
        return True

    def shrink(self) -> None:
        """Relax as far as possible: first with re-checks limited to about twice the work that
        refutes the core itself, then with the full limit."""
        self.refuted(self.core, self.initial)
        quickly = True
        while not self.spent:
            before = self.core
            self.undecided = False
            if quickly:
                self.recheck_max = min(CONFIGURATIONS_MAX, 2 * self.core_cost + 1000)
            else:
                self.recheck_max = CONFIGURATIONS_MAX
            self._drop_reads()
            self._forget_answers()
            self._drop_values()
            if not self.cumulative:
                self._open_outcomes()
                self._drop_unneeded()
            if self.core == before:
                if not quickly or not self.undecided:
                    return
                quickly = False

    def forget_all(self) -> bool:
        """Attempt a core without the results of writing operations, the easiest to explain."""
        model = self.model
        return isinstance(model, Projectable) and self.attempt(
            [replace(e, value=model.forget(e.f, e.value, e.known)) for e in self.core]
        )

    def open_all(self) -> bool:
        """Attempt a core in which every writing operation is open."""
        return self.attempt([e if self._reads(e) else replace(e, ret=OPEN) for e in self.core])

    def _relax_all(self, items: Sequence[Any], relax: Callable[[Any], list[Entry] | None]) -> None:
        """Try to relax all items at once, then halves, quarters, … and single items (delta
        debugging)."""
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

    def _reads(self, e: Entry) -> bool:
        if isinstance(self.model, Reading) and self.model.reads(e.f, e.value):
            return True
        if not isinstance(self.model, Versioned):
            return False
        versions = self.model.versions(e.f, e.value, e.known)
        return versions is not None and versions[1] is KEEP

    def _drop_reads(self) -> None:
        versions_of = _versions_of(self.core, self.model)
        reads = [
            e for e in self.core
            if self._reads(e) or ((versions := versions_of(e)) and versions[1] is KEEP)
        ]  # fmt: skip

        self._relax_all(reads, self._without)

    def _without(self, chunk: list[Entry]) -> list[Entry]:
        dropped = {id(e) for e in chunk}
        return [e for e in self.core if id(e) not in dropped]

    def _forget_answers(self) -> None:
        model = self.model
        if not isinstance(model, Projectable):
            return

        def forget(chunk: list[Entry]) -> list[Entry]:
            answered = {id(e) for e in chunk}
            return [
                replace(e, value=model.forget(e.f, e.value, e.known)) if id(e) in answered else e
                for e in self.core
            ]

        answered = [e for e in self.core if model.forget(e.f, e.value, e.known) != e.value]
        self._relax_all(answered, forget)

    def _drop_values(self) -> None:
        model = self.model
        if not isinstance(model, Projectable):
            return
        values = {
            v: None
            for e in self.core
            for v in sorted(model.mentions(e.f, e.value, e.known), key=repr)
        }
        self._relax_all(list(values), lambda chunk: _project(self.core, model, chunk))

    def _open_outcomes(self) -> None:
        returned = [e for e in self.core if e.ret != OPEN and not self._reads(e)]

        def opened(chunk: list[Entry]) -> list[Entry]:
            among = {id(e) for e in chunk}
            return [replace(e, ret=OPEN) if id(e) in among else e for e in self.core]

        self._relax_all(returned, opened)

    def _drop_unneeded(self) -> None:
        """Drop open operations that make no other operation legal."""
        needed = _needed(self.core, self.model)
        unneeded = [e for e in self.core if e.ret == OPEN and not needed(e)]
        self._relax_all(unneeded, self._without)


def beginning_with(model: Model, state: Hashable) -> Model:
    """Return a copy of the model with another initial state."""
    other = copy.copy(model)
    other.init = lambda: state  # type: ignore[method-assign]
    return other


def _few_of_each(opened: list[Entry], most: int) -> list[Entry]:
    """Return at most `most` of each set of identical operations, where `most` is the number of the
    core's other operations: before each of them, at most one of a set has to take effect."""
    kept: list[Entry] = []
    count: dict[Any, int] = {}
    for e in opened:
        letter = (e.f, e.value, e.known)
        count[letter] = count.get(letter, 0) + 1
        if count[letter] <= most:
            kept.append(e)
    return kept


def _required(entries: Sequence[Entry], model: Versioned) -> list[Hashable] | None:
    """Return the states that operations require, and OTHER in place of all other states; None if
    the model can't name the state that some operation requires."""
    required: dict[Hashable, None] = {}
    for e in entries:
        versions = model.versions(e.f, e.value, e.known)
        if versions is None:
            return None
        needed = versions[0].state if isinstance(versions[0], AllBut) else versions[0]
        if needed is not ANY:
            required[needed] = None
    return [*required, OTHER]


Versions = tuple[Any, Any]  # (required state, installed state), as of `Versioned.versions`


def _versions_of(core: Sequence[Entry], model: Model) -> Callable[[Entry], Versions | None]:
    """Return a function that returns an entry's versions, as named by the model or found by
    exploring its states, or None if they are not known."""
    if isinstance(model, Versioned):
        versioned = model
        return lambda e: versioned.versions(e.f, e.value, e.known)
    distinct = list({(e.f, e.value, e.known): None for e in core})
    try:
        letters = Letters(model, distinct, len(core), BYTES_MAX)
    except OutOfMemory:
        return lambda e: None
    found: dict[Any, Versions | None] = {}
    for letter, requires, installs in zip(
        distinct, letters.requires, letters.installs, strict=True
    ):
        found[letter] = letters.joined(requires, installs)
    return lambda e: found[e.f, e.value, e.known]


def _project(
    core: list[Entry], model: Projectable, dropped: Sequence[Hashable]
) -> list[Entry] | None:
    entries = []
    values = frozenset(dropped)
    for e in core:
        value = model.without(e.f, e.value, e.known, values)
        if value is BOUND:
            return None
        if value is not REMOVED:
            entries.append(e if value == e.value else replace(e, value=value))
    return entries


def _needed(core: Sequence[Entry], model: Model) -> Callable[[Entry], bool]:
    """Return a predicate: whether an open operation can make the history linearizable.

    It can't if no other operation requires the state that it installs; in a collection, if no
    other operation mentions its element and no other result is known; in a string, if no read
    returned what it puts or appends.
    """
    if isinstance(model, Projectable) and not isinstance(model, Registers):
        return _needed_in_a_collection(core, model)
    if isinstance(model, Texts):
        return _needed_in_a_text(core, model)
    versions_of = _versions_of(core, model)
    required: dict[Any, int] = {}
    for e in core:
        versions = versions_of(e)
        if versions is None or isinstance(versions[0], AllBut):
            return lambda e: True
        if versions[0] is not ANY:
            required[versions[0]] = required.get(versions[0], 0) + 1

    def needed(e: Entry) -> bool:
        versions = versions_of(e)
        assert versions is not None
        requires, installs = versions
        own = 1 if requires is not ANY and requires == installs else 0
        return installs is not KEEP and required.get(installs, 0) > own

    return needed


def _needed_in_a_collection(core: Sequence[Entry], model: Any) -> Callable[[Entry], bool]:
    mentioned: dict[Hashable, int] = {}
    with_result = 0
    for e in core:
        for v in model.mentions(e.f, e.value, e.known):
            mentioned[v] = mentioned.get(v, 0) + 1
        with_result += model.forget(e.f, e.value, e.known) != e.value

    def needed(e: Entry) -> bool:
        own = model.mentions(e.f, e.value, e.known)
        own_result = int(model.forget(e.f, e.value, e.known) != e.value)
        return not own or with_result > own_result or any(mentioned[v] > 1 for v in own)

    return needed


def _needed_in_a_text(core: Sequence[Entry], model: Any) -> Callable[[Entry], bool]:
    contents = []
    for e in core:
        versions = model.versions(e.f, e.value, e.known)
        if versions is not None and versions[0] is not ANY:
            contents.append(versions[0])

    def needed(e: Entry) -> bool:
        versions = model.versions(e.f, e.value, e.known)
        text = model.appended(e.f, e.value) if versions is None else versions[1]
        return any(text in content for content in contents)

    return needed
