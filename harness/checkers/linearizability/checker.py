"""Linearizability of a history against a sequential model.

Every operation must appear to take effect at one instant between its invocation and its
completion (Herlihy & Wing 1990). Operations that failed did not happen; those of unknown outcome
may take effect at any later instant or never. Independent keys are checked separately, all of
them, in rounds of growing budget, so that one hard key does not hide an easy violation in another.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from harness.checkers.linearizability.alphabet import Letters, OutOfMemory
from harness.checkers.linearizability.entries import (
    Budget,
    Entry,
    Outcome,
    budget_of,
    entry_of,
    with_indices_mapped,
)
from harness.checkers.linearizability.fast_paths import (
    container_values,
    decide_containers,
    decide_keys,
    suited,
)
from harness.checkers.linearizability.hardness import hardness, hardness_words
from harness.checkers.linearizability.search import register_states, run, search_keys
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.columns import OPEN, Columns, rows_by_key
from harness.history.operations import History, Pair
from harness.history.recorded import Recorded
from harness.models.base import (
    INCONSISTENT,
    Constrained,
    Container,
    Growing,
    Model,
    Parted,
    Projectable,
    Registers,
)
from harness.models.counter import Counter
from harness.native import _core

if TYPE_CHECKING:
    from harness.checkers.linearizability.witness import Witness

__all__ = [
    "OPEN",
    "Budget",
    "Entry",
    "Linearizable",
    "Outcome",
    "check",
    "check_columns",
    "decide_by_key",
    "decide_columns",
    "decide_entries",
    "if_observed",
]

BUDGETS: Final = ("configurations", "memory", "time")
WITNESS_KEYS_MAX: Final = 8  # shrinking takes longer than deciding
HARD_KEYS_MAX: Final = 3


def decide_entries(
    entries: Sequence[Entry], model: Model, budget: Budget, *, zones: bool = True
) -> Outcome:
    """Return the outcome of one partition. `zones` False forces the general search."""
    model = suited(model, {e.f for e in entries})
    return decide_keys([entries], model, budget, zones=zones, orders=True)[0]


def decide_by_key(
    by_key: dict[Hashable, list[Entry]], model: Model, budget: Budget
) -> dict[Hashable, Outcome]:
    """Return the outcome of each key, decided in rounds: a small budget for each key first, then
    the rest of it for the hard ones.

    Once a key is refuted, the hard ones stay undecided.
    """
    model = suited(model, {e.f for entries in by_key.values() for e in entries})
    outcomes = decide_keys(list(by_key.values()), model, budget, zones=True, orders=False)
    return dict(zip(by_key, outcomes, strict=True))


def decide_columns(
    columns: Columns, model: Model, budget: Budget, *, zones: bool = True, orders: bool = False
) -> tuple[int, list[Outcome]]:
    """Return (number of operations, without those that the core found to constrain nothing; one
    outcome per key). In outcomes `order`, `core` and `stuck` are rows. `orders`: include a
    linearization of each valid key that the search decided."""
    for f in range(len(columns.names)):  # the model raises here for operations it does not know
        row = columns.f.index(f)
        model.step(model.init(), columns.names[f], columns.value(row), columns.ret[row] != OPEN)
    keys = max(1, len(columns.keys))
    times = columns.call, columns.ret
    key = columns.key if columns.keys else None
    model = suited(model, columns.names)
    if (
        isinstance(model, Parted | Constrained)
        or (isinstance(model, Growing) and isinstance(model, Projectable))
        or (isinstance(model, Counter) and OPEN in columns.ret)
    ):
        rows = rows_by_key(columns)
        outcomes = decide_keys(
            [[entry_of(columns, row) for row in of_key] for of_key in rows],
            model, budget, zones=zones, orders=orders,
        )  # fmt: skip
        return len(columns), [
            with_indices_mapped(o, rows[k].__getitem__) for k, o in enumerate(outcomes)
        ]
    if isinstance(model, Container):
        roles = [model.container_roles[name] for name in columns.names]
        outcomes = decide_containers(model, times, key, keys, [roles[f] for f in columns.f],
                              container_values(columns, model))  # fmt: skip
        hard = [k for k, o in enumerate(outcomes) if o.valid is None]
        if hard:
            rows = rows_by_key(columns)
            entries = [[entry_of(columns, row) for row in rows[k]] for k in hard]
            for k, outcome in zip(
                hard, search_keys(entries, model, budget, zones=False, orders=orders), strict=True
            ):
                outcomes[k] = with_indices_mapped(outcome, rows[k].__getitem__)
        return len(columns), outcomes
    if isinstance(model, Registers):
        states = register_states(columns, model)
        if states is not None:
            return run(times, key, keys, model, budget, zones, orders,
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
    return run(times, key, keys, model, budget, zones, orders,
                letter=memoryview(letter).cast("i"), letters=letters)  # fmt: skip


class Linearizable:
    """The claim that operations on independent keys are linearizable on the primary.

    Replies of nodes that reported the role of a replica are left out: other claims cover them.
    """

    def __init__(self, model: Model, *, of_reads: bool = False) -> None:
        """`of_reads`: prefer witnesses in which reads contradict each other."""
        self._model = model
        self._of_reads = of_reads

    def check(self, recorded: Recorded, /) -> Verdict:
        columns = recorded.columns(independent=True, primary=True)
        verdict = check_columns(
            columns, self._model, lambda: recorded.by_index, of_reads=self._of_reads
        )
        return if_observed(verdict, columns, self._model)


def if_observed(
    verdict: Verdict, columns: Columns, model: Model, *, besides: str | None = None
) -> Verdict:
    """Return a verdict of a run, unknown in place of valid if no operation returned anything that
    the initial state would not: such a run can't have shown a violation. `besides`: the kind of
    operations that no client made."""
    model = suited(model, columns.names)
    initial = model.init()
    if verdict.valid is not True or any(
        columns.ret[row] != OPEN
        and columns.names[columns.f[row]] != besides
        and model.step(initial, columns.names[columns.f[row]], columns.value(row), True)
        is INCONSISTENT
        for row in range(len(columns))
    ):
        return verdict
    why = "no operation returned anything that another one had written"
    return Verdict(valid=UNKNOWN, why=why, evidence=verdict.evidence)


def check(
    history: History,
    model: Model,
    *,
    independent: bool = False,
    budget: Budget | None = None,
    witnesses: int = 3,
    of_reads: bool = False,
    observe_differed: bool = False,
) -> Verdict:
    """Return the verdict on a history; if it is invalid, with at most `witnesses` witnesses, one
    per key.

    `independent`: values are [key, value]. `of_reads`: prefer witnesses in which reads contradict
    each other. `observe_differed`: a `cas` that failed without an error observed another value
    than its old one. Raises ValueError for operations that the model does not know.
    """
    recorded = Recorded(history)
    columns = recorded.columns(independent=independent, observe_differed=observe_differed)
    return check_columns(
        columns, model, lambda: recorded.by_index, budget, witnesses, of_reads=of_reads
    )


def check_columns(
    columns: Columns,
    model: Model,
    pairs: Callable[[], Mapping[int, Pair]],
    budget: Budget | None = None,
    witnesses: int = 3,
    *,
    of_reads: bool = False,
) -> Verdict:
    """Return the verdict on columns; `pairs`, called only to describe witnesses, returns them by
    the position of their invocation."""
    model = suited(model, columns.names)
    budget = budget or budget_of(len(columns))
    operations, outcomes = decide_columns(columns, model, budget)
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
        try:
            found = _witnesses(columns, model, outcomes, bad[: max(WITNESS_KEYS_MAX, witnesses)],
                               pairs, of_reads=of_reads)  # fmt: skip
        except Exception as e:
            why = f"key {keys[bad[0]]}: not linearizable; extracting a counterexample failed: {e!r}"
            return Verdict(valid=False, why=why, evidence=evidence)
        evidence["witnesses"] = [w.as_json() for w in found[:witnesses]]
        return Verdict(valid=False, why=found[0].sentence, evidence=evidence)
    if undecided:
        how = sorted({outcomes[k].how for k in undecided})
        reasons = [f"budget of {h} spent" if h in BUDGETS else h for h in how]
        rows = rows_by_key(columns)
        hard = {
            str(keys[k]): hardness(columns, rows[k], outcomes[k]) for k in undecided[:HARD_KEYS_MAX]
        }
        evidence["hard"] = hard
        return Verdict(
            valid=UNKNOWN,
            evidence=evidence,
            why=(
                f"{len(undecided)} of {len(outcomes)} keys were not decided: {', '.join(reasons)}; "
                f"{'key ' + next(iter(hard)) + ': ' if columns.keys else ''}"
                f"{hardness_words(next(iter(hard.values())))}"
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
    pairs: Callable[[], Mapping[int, Pair]],
    *,
    of_reads: bool,
) -> list[Witness]:
    """Return one witness per key of `bad`, those that are easiest to explain first."""
    from harness.checkers.linearizability.shrink import shrunk
    from harness.checkers.linearizability.witness import witness_of

    rows = rows_by_key(columns)
    cores = []
    for k in bad:
        place = {row: i for i, row in enumerate(rows[k])}
        outcome = with_indices_mapped(outcomes[k], place.__getitem__)
        cores.append(shrunk(_Rows(columns, rows[k]), model, outcome, of_reads=of_reads))
    by_call = pairs()
    found = []
    for k, core in zip(bad, cores, strict=True):
        entries = [replace(e, pair=by_call[e.call]) for e in core.entries]
        key = columns.keys[k] if columns.keys else None
        found.append(witness_of(replace(core, entries=entries), model, key, bool(columns.keys)))
    found.sort(key=lambda w: (-len(w.read_at), w.stuck.value is None, len(w.entries), w.span))
    return found


class _Rows(Sequence[Entry]):
    """The entries of some rows, created on access."""

    def __init__(self, columns: Columns, rows: Sequence[int]) -> None:
        self._columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [entry_of(self._columns, row) for row in self._rows[i]]
        return entry_of(self._columns, self._rows[i])
