"""Linearizability of a history against a sequential model.

Every operation must appear to take effect at one instant between its invocation and its
completion (Herlihy & Wing 1990). Operations that failed did not happen; those of unknown outcome
may take effect at any later instant or never. Independent keys are checked separately, all of
them, in rounds of growing budget, so that one hard key does not hide an easy violation in another.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from harness.checkers.columns import OPEN, WHOLE, Columns, columns_of, rows_by_key
from harness.checkers.letters import Letter, Letters, OutOfMemory
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history import History, Pair
from harness.models.base import (
    DIFFERED,
    LEAST,
    Container,
    Growing,
    Model,
    Parted,
    Projectable,
    Registers,
    Suited,
)
from harness.models.counter import Counter
from harness.native import _core

if TYPE_CHECKING:
    from harness.checkers.witness import Witness

BUDGETS: Final = ("configurations", "memory")
WITNESS_KEYS_MAX: Final = 8  # shrinking takes longer than deciding


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


def _entry(columns: Columns, row: int, pair: Pair | None = None) -> Entry:
    ret = columns.ret[row]
    return Entry(
        columns.names[columns.f[row]],
        columns.value(row),
        ret != OPEN,
        columns.call[row],
        ret,
        pair,
        bool(columns.keys),
    )


def _merged(model: Model, entries: Sequence[Entry]) -> list[Hashable]:
    """The entries' values, with all open operations on elements of which nobody was told made
    equal.

    In a collection that only grows nothing tells them apart, so they are one class to the search.
    """
    if not (isinstance(model, Growing) and isinstance(model, Projectable)):
        return [e.value for e in entries]
    told = {
        v
        for e in entries
        if e.f == "read" or model.forget(e.f, e.value, e.known) != e.value
        for v in model.mentions(e.f, e.value, e.known)
    }
    stand_in: dict[str, Hashable] = {}
    values = []
    for e in entries:
        untold = not e.known and told.isdisjoint(model.mentions(e.f, e.value, e.known))
        values.append(stand_in.setdefault(e.f, e.value) if untold else e.value)
    return values


def check_entries(
    entries: Sequence[Entry], model: Model, budget: Budget, *, zones: bool = True
) -> Outcome:
    """Decide one partition. `zones` False forces the general search."""
    model = suited(model, {e.f for e in entries})
    return _check_keys([entries], model, budget, zones=zones, orders=True)[0]


def check_keys(
    by_key: dict[Hashable, list[Entry]], model: Model, budget: Budget
) -> dict[Hashable, Outcome]:
    """Every key, in rounds: first a small budget for each, then what is left for the hard ones.

    Once a key is refuted, the hard ones stay undecided.
    """
    model = suited(model, {e.f for entries in by_key.values() for e in entries})
    outcomes = _check_keys(list(by_key.values()), model, budget, zones=True, orders=False)
    return dict(zip(by_key, outcomes, strict=True))


def suited(model: Model, names: Collection[str]) -> Model:
    """The model that is used for histories of these operations."""
    return model.suited(names) if isinstance(model, Suited) else model


def _check_keys(
    keys: Sequence[Sequence[Entry]], model: Model, budget: Budget, *, zones: bool, orders: bool
) -> list[Outcome]:
    if zones and not orders and isinstance(model, Parted):
        outcomes = _check_parts(keys, model, budget)
        if outcomes is not None:
            return outcomes
    if zones and not orders and isinstance(model, Counter):
        return _check_counters(keys, model, budget)
    if not zones or not isinstance(model, Container):
        return _search_keys(keys, model, budget, zones=zones, orders=orders)
    outcomes = []
    for entries in keys:
        (outcome,) = _contained(
            model,
            (array("q", [e.call for e in entries]), array("q", [e.ret for e in entries])),
            None,
            1,
            [model.container_roles[e.f] for e in entries],
            _numbered([e.value for e in entries], model),
        )
        if outcome.valid is None or (outcome.valid and orders):
            (outcome,) = _search_keys([entries], model, budget, zones=False, orders=orders)
        outcomes.append(outcome)
    return outcomes


def _check_counters(keys: Sequence[Sequence[Entry]], model: Model, budget: Budget) -> list[Outcome]:
    from harness.checkers.counters import Tally, as_register

    tallies = [as_register(entries) for entries in keys]
    outcomes = iter(
        _search_keys([t for t in tallies if t is not None], Tally(), budget,
                     zones=True, orders=False)
    )  # fmt: skip
    others = iter(
        _search_keys([entries for entries, t in zip(keys, tallies, strict=True) if t is None],
                     model, budget, zones=True, orders=False)
    )  # fmt: skip
    return [next(others if t is None else outcomes) for t in tallies]


def _check_parts(
    keys: Sequence[Sequence[Entry]], model: Parted, budget: Budget
) -> list[Outcome] | None:
    """None where an operation is not on one part."""
    parts: dict[Hashable, tuple[int, list[int], list[Entry]]] = {}
    for k, entries in enumerate(keys):
        for i, e in enumerate(entries):
            found = model.part(e.f, e.value, e.known)
            if found is None:
                return None
            name, value = found
            _, places, of_part = parts.setdefault((k, name), (k, [], []))
            places.append(i)
            of_part.append(replace(e, value=value))
    decided = _check_keys(
        [of_part for _, _, of_part in parts.values()], model.part_model, budget,
        zones=True, orders=False,
    )  # fmt: skip
    outcomes = [Outcome(True, "nothing to check") for _ in keys]
    for (k, places, _), outcome in zip(parts.values(), decided, strict=True):
        outcomes[k] = _worse(outcomes[k], _moved(outcome, places.__getitem__))
    return outcomes


def _worse(one: Outcome, other: Outcome) -> Outcome:
    """Of two parts: a violation before what is undecided, and that before what is valid."""
    worst = max(
        one, other, key=lambda o: (o.valid is False, o.valid is None, bool(o.configurations))
    )
    if one.how == "nothing to check":
        worst = other
    return replace(
        worst,
        configurations=one.configurations + other.configurations,
        bytes=max(one.bytes, other.bytes),
    )


def _numbered(values: Sequence[Any], model: Container) -> list[int]:
    """A number of each value, by rank where the model compares them; -1 of none."""
    distinct = list(dict.fromkeys(v for v in values if v is not None))
    if model.discipline == LEAST:
        distinct.sort()
    numbers = {v: i for i, v in enumerate(distinct)}
    return [-1 if v is None else numbers[v] for v in values]


def _contained(
    model: Container,
    times: tuple[Any, Any],
    key: Any,
    keys: int,
    kinds: Sequence[int],
    values: Sequence[int],
) -> list[Outcome]:
    """`values`: numbers. Undecided where the core has no answer by itself."""
    decided = _core.containers(
        model.discipline, *times, key, array("i", kinds), array("i", values), keys
    )
    return [_outcome(*told) for told in decided]


def _search_keys(
    keys: Sequence[Sequence[Entry]], model: Model, budget: Budget, *, zones: bool, orders: bool
) -> list[Outcome]:
    if not keys:
        return []
    numbers: dict[Letter, int] = {}
    letter = array("i")
    for entries in keys:
        for e, value in zip(entries, _merged(model, entries), strict=True):
            letter.append(numbers.setdefault((e.f, value, e.known), len(numbers)))
    rows = [e for entries in keys for e in entries]
    try:
        letters = Letters(model, list(numbers), len(rows), budget.bytes)
    except OutOfMemory:
        return [Outcome(None, "memory", bytes=budget.bytes) for _ in keys]
    key = array("i", [k for k, entries in enumerate(keys) for _ in entries])
    times = array("q", [e.call for e in rows]), array("q", [e.ret for e in rows])
    _, outcomes = _run(
        times, key, len(keys), model, budget, zones, orders, letter=letter, letters=letters
    )
    moved: list[Outcome] = []
    first = 0
    for entries, outcome in zip(keys, outcomes, strict=True):
        moved.append(_moved(outcome, (-first).__add__))
        first += len(entries)
    return moved


def check_columns(
    columns: Columns, model: Model, budget: Budget, *, zones: bool = True, orders: bool = False
) -> tuple[int, list[Outcome]]:
    """(how many operations there are, but for those that say nothing; what the core said of each
    key); `order`, `core` and `stuck` are rows. `orders`: a linearization, too, of each valid key
    that the search decided."""
    for f in range(len(columns.names)):  # what the model does not know it says here
        row = columns.f.index(f)
        model.step(model.init(), columns.names[f], columns.value(row), columns.ret[row] != OPEN)
    keys = max(1, len(columns.keys))
    times = columns.call, columns.ret
    key = columns.key if columns.keys else None
    model = suited(model, columns.names)
    if (
        isinstance(model, Parted)
        or (isinstance(model, Growing) and isinstance(model, Projectable))
        or (isinstance(model, Counter) and OPEN in columns.ret)
    ):
        rows = rows_by_key(columns)
        outcomes = _check_keys(
            [[_entry(columns, row) for row in of_key] for of_key in rows],
            model, budget, zones=zones, orders=orders,
        )  # fmt: skip
        return len(columns), [_moved(o, rows[k].__getitem__) for k, o in enumerate(outcomes)]
    if isinstance(model, Container):
        roles = [model.container_roles[name] for name in columns.names]
        outcomes = _contained(model, times, key, keys, [roles[f] for f in columns.f],
                              _container_values(columns, model))  # fmt: skip
        hard = [k for k, o in enumerate(outcomes) if o.valid is None]
        if hard:
            rows = rows_by_key(columns)
            entries = [[_entry(columns, row) for row in rows[k]] for k in hard]
            for k, outcome in zip(
                hard, _search_keys(entries, model, budget, zones=False, orders=orders), strict=True
            ):
                outcomes[k] = _moved(outcome, rows[k].__getitem__)
        return len(columns), outcomes
    if isinstance(model, Registers):
        states = _register_states(columns, model)
        if states is not None:
            return _run(times, key, keys, model, budget, zones, orders,
                        states=(*states, len(columns.values)))  # fmt: skip
    values = columns.f, columns.shape, columns.a, columns.b, columns.c
    letter, first_rows = _core.letters(*values, columns.ret)
    distinct = [
        (columns.names[columns.f[row]], columns.value(row), columns.ret[row] != OPEN)
        for row in first_rows
    ]
    try:
        letters = Letters(model, distinct, len(columns), budget.bytes)
    except OutOfMemory:
        outcome = Outcome(None, "memory", bytes=budget.bytes)
        return len(columns), [outcome for _ in range(keys)]
    return _run(times, key, keys, model, budget, zones, orders,
                letter=memoryview(letter).cast("i"), letters=letters)  # fmt: skip


def _container_values(columns: Columns, model: Container) -> list[int]:
    """The number of each row's value."""
    if all(shape == WHOLE for shape in columns.shape):
        numbers = _numbered(columns.values, model)
        return [numbers[a] for a in columns.a]
    return _numbered([columns.value(row) for row in range(len(columns))], model)


def _outcome(
    valid: int, how: str, rows: list[int], configurations: int, size: int, stuck: int
) -> Outcome:
    """What the core told of one key."""
    outcome = Outcome(None if valid < 0 else bool(valid), how, configurations, size, stuck=stuck)
    if valid > 0:
        outcome.order = rows
    else:
        outcome.core = rows
    return outcome


def _moved(outcome: Outcome, to: Callable[[int], int]) -> Outcome:
    """The same outcome, with other numbers for its operations."""
    return replace(
        outcome,
        order=[to(i) for i in outcome.order],
        core=[to(i) for i in outcome.core],
        stuck=to(outcome.stuck) if outcome.stuck >= 0 else -1,
    )


def _register_states(columns: Columns, model: Registers) -> tuple[Any, Any] | None:
    """(requires, installs) of each row, or None where a value is of another kind."""
    roles = array("i", [model.roles[name] for name in columns.names])
    values = columns.f, columns.shape, columns.a, columns.b, columns.c
    try:
        differed = columns.values.index(DIFFERED)
    except ValueError:
        differed = -1
    joined = _core.registers(roles, *values, columns.ret, differed)
    return joined and tuple(memoryview(column).cast("i") for column in joined)  # type: ignore[return-value]


def _run(
    times: tuple[Any, Any],
    key: Any,
    keys: int,
    model: Model,
    budget: Budget,
    zones: bool,
    orders: bool,
    *,
    letter: Any = None,
    letters: Letters | None = None,
    states: tuple[Any, Any, int] | None = None,
) -> tuple[int, list[Outcome]]:
    """Either `letter` of each row and `letters`, or (requires, installs, how many) `states`."""
    if letters is not None:
        states = letters.requires, letters.installs, letters.states
    assert states is not None
    requires, installs, count = states
    call, ret = times
    step = letters.step if letters is not None and letters.asks else None
    reaches = letters.reaches if letters is not None and isinstance(model, Growing) else None
    texts = letters.texts() if letters is not None and step is not None else None
    try:
        operations, decided = _core.check(
            call,
            ret,
            key if keys > 1 else None,
            letter,
            requires,
            installs,
            count,
            model.recurs,
            step if texts is None else None,
            reaches if texts is None else None,
            texts,
            budget.configurations,
            budget.bytes,
            zones,
            orders,
            os.cpu_count() or 1,
        )
    except OutOfMemory:
        outcome = Outcome(None, "memory", bytes=budget.bytes)
        return len(times[0]), [outcome for _ in range(keys)]
    outcomes = [_outcome(*told) for told in decided]
    while len(outcomes) < keys:  # the last ones have nothing that says something
        outcomes.append(Outcome(True, "nothing to check"))
    return operations, outcomes


def check(
    history: History,
    model: Model,
    *,
    independent: bool = False,
    budget: Budget | None = None,
    keep: Callable[[Pair], bool] | None = None,
    witnesses: int = 3,
    of_reads: bool = False,
    observe_differed: bool = False,
) -> Verdict:
    """The verdict on a history, with at most so many witnesses (one a key) where it is invalid.

    `independent`: values are [key, value]. `keep`: which pairs belong to the claim. `of_reads`:
    prefer witnesses in which reads contradict each other. `observe_differed`: a `cas` that failed
    without an error has compared and seen another value. Raises ValueError for operations that
    the model does not know.
    """
    columns = columns_of(
        history.pairs(), independent=independent, keep=keep, observe_differed=observe_differed
    )
    return judge(columns, model, history.pairs, budget, witnesses, of_reads=of_reads)


def judge(
    columns: Columns,
    model: Model,
    pairs: Callable[[], Sequence[Pair]],
    budget: Budget | None = None,
    witnesses: int = 3,
    *,
    of_reads: bool = False,
) -> Verdict:
    """The same of columns; `pairs` is asked for the operations where there is a witness to tell."""
    model = suited(model, columns.names)
    budget = budget or Budget(configurations=max(5_000_000, 8 * len(columns)))
    operations, outcomes = check_columns(columns, model, budget)
    keys = columns.keys or [None]
    bad = [k for k, o in enumerate(outcomes) if o.valid is False]
    undecided = [k for k, o in enumerate(outcomes) if o.valid is None]
    evidence: dict[str, Any] = {
        "operations": operations,
        "keys": sum(o.how != "nothing to check" for o in outcomes),
        "invalid_keys": len(bad),
        "undecided_keys": [str(keys[k]) for k in undecided],
        "configurations": sum(o.configurations for o in outcomes),
        "decided_by": sorted({o.how for o in outcomes if o.how != "nothing to check"}),
    }
    if bad:
        found = _witnesses(columns, model, outcomes, bad[: max(WITNESS_KEYS_MAX, witnesses)], pairs,
                           of_reads=of_reads)  # fmt: skip
        evidence["witnesses"] = [w.as_json() for w in found[:witnesses]]
        return Verdict(valid=False, why=found[0].sentence, evidence=evidence)
    if undecided:
        how = sorted({outcomes[k].how for k in undecided})
        reasons = [f"budget of {h} spent" if h in BUDGETS else h for h in how]
        return Verdict(
            valid=UNKNOWN,
            evidence=evidence,
            why=(
                f"{len(undecided)} of {len(outcomes)} keys were not decided: {', '.join(reasons)}"
            ),
        )
    if all(ret == OPEN for ret in columns.ret):
        return Verdict(valid=UNKNOWN, why="no operation completed", evidence=evidence)
    several = evidence["keys"]
    return Verdict(
        valid=True,
        evidence=evidence,
        why=f"{operations} operations on {'1 key' if several == 1 else f'{several} keys'} "
        "are linearizable",
    )


def _witnesses(
    columns: Columns,
    model: Model,
    outcomes: Sequence[Outcome],
    bad: Sequence[int],
    pairs: Callable[[], Sequence[Pair]],
    *,
    of_reads: bool,
) -> list[Witness]:
    """One of each bad key, those that are told most easily first."""
    from harness.checkers.shrink import shrunk
    from harness.checkers.witness import witness_of

    rows = rows_by_key(columns)
    cores = []
    for k in bad:
        place = {row: i for i, row in enumerate(rows[k])}
        outcome = _moved(outcomes[k], place.__getitem__)
        cores.append(shrunk(_Rows(columns, rows[k]), model, outcome, of_reads=of_reads))
    wanted = {e.call for core in cores for e in core.entries}
    by_call = {p.invoke.index: p for p in pairs() if p.invoke.index in wanted}
    found = []
    for k, core in zip(bad, cores, strict=True):
        entries = [replace(e, pair=by_call[e.call]) for e in core.entries]
        key = columns.keys[k] if columns.keys else None
        found.append(witness_of(replace(core, entries=entries), model, key, bool(columns.keys)))
    found.sort(key=lambda w: (-len(w.read_at), w.stuck.value is None, len(w.entries), w.span))
    return found


class _Rows(Sequence[Entry]):
    """Entries of some rows, made when they are asked for."""

    def __init__(self, columns: Columns, rows: Sequence[int]) -> None:
        self._columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [_entry(self._columns, row) for row in self._rows[i]]
        return _entry(self._columns, self._rows[i])
