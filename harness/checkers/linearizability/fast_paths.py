"""Histories that need no search, or a smaller one: containers whose values are inserted once,
counters whose additions are equal, objects of independent parts."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from typing import Any, Final

from harness.checkers.linearizability.counters import Tally, as_register
from harness.checkers.linearizability.entries import Budget, Entry, Outcome, with_indices_mapped
from harness.checkers.linearizability.search import outcome_of, search_keys
from harness.history.columns import WHOLE, Columns, rows_by_key
from harness.models.base import LEAST, Constrained, Container, Model, Parted, Suited
from harness.models.counter import Counter
from harness.native import _core

FIRST_SHARE: Final = 20_000  # configurations of each key before the hard ones get more


def suited(model: Model, names: Collection[str]) -> Model:
    """Return the model to use where no operations but these occur: a simpler one if there is."""
    return model.suited(names) if isinstance(model, Suited) else model


def decide_keys(
    keys: Sequence[Sequence[Entry]], model: Model, budget: Budget, *, zones: bool, orders: bool
) -> list[Outcome]:
    """Return the outcome of each key, by the fastest algorithm that the model allows. `zones`
    False: by the search alone. `orders`: include a linearization of each valid key, which only the
    search finds."""
    if zones and not orders and isinstance(model, Parted):
        outcomes = _by_parts(keys, model, budget)
        if outcomes is not None:
            return outcomes
    if isinstance(model, Constrained):
        return _constrained(keys, model, budget, zones=zones, orders=orders)
    if zones and not orders and type(model) is Counter and model.init() == 0:
        return _by_gaps(keys, model, budget)
    if not zones or not isinstance(model, Container):
        return search_keys(keys, model, budget, zones=zones, orders=orders)
    outcomes = []
    for entries in keys:
        (outcome,) = decide_containers(
            model,
            (array("q", [e.call for e in entries]), array("q", [e.ret for e in entries])),
            None,
            1,
            [model.container_roles[e.f] for e in entries],
            numbered([e.value for e in entries], model),
        )
        if outcome.valid is None or (outcome.valid and orders):
            (outcome,) = search_keys([entries], model, budget, zones=False, orders=orders)
        outcomes.append(outcome)
    return outcomes


def _constrained(
    keys: Sequence[Sequence[Entry]],
    model: Constrained,
    budget: Budget,
    *,
    zones: bool,
    orders: bool,
) -> list[Outcome]:
    """Return the outcome of each key, by a search with a model made for it. The keys share the
    budget of configurations, in rounds: a hard key does not hide a violation in another."""
    outcomes = [Outcome(None, "configurations") for _ in keys]
    undecided = list(range(len(keys)))
    left, share = budget.configurations, FIRST_SHARE
    while undecided and left > 0:
        for k in undecided:
            (outcome,) = search_keys(
                [keys[k]],
                model.constrained(keys[k]),
                replace(budget, configurations=max(0, min(left, share))),
                zones=zones,
                orders=orders,
            )
            left -= outcome.configurations
            outcomes[k] = outcome
        if any(o.valid is False for o in outcomes):
            break
        # A search that is out of memory would be so again.
        undecided = [k for k in undecided if outcomes[k].how == "configurations"]
        share *= 8
    return outcomes


def _by_gaps(keys: Sequence[Sequence[Entry]], model: Model, budget: Budget) -> list[Outcome]:
    tallies = [as_register(entries) for entries in keys]
    outcomes = iter(
        search_keys([t for t in tallies if t is not None], Tally(), budget,
                     zones=True, orders=False)
    )  # fmt: skip
    others = iter(
        search_keys([entries for entries, t in zip(keys, tallies, strict=True) if t is None],
                     model, budget, zones=True, orders=False)
    )  # fmt: skip
    # A core of the chain lacks additions that fill no gap of it, but may fill one of the core.
    return [next(others) if t is None else replace(next(outcomes), core=[]) for t in tallies]


def _by_parts(
    keys: Sequence[Sequence[Entry]], model: Parted, budget: Budget
) -> list[Outcome] | None:
    """Return the outcomes by deciding each part alone; None where an operation is on all parts."""
    parts: dict[Hashable, tuple[int, list[int], list[Entry]]] = {}
    for k, entries in enumerate(keys):
        for i, e in enumerate(entries):
            found = model.part(e.f, e.value, e.known)
            if found is None and not e.known and e.f == "read":  # it constrains nothing
                continue
            if found is None:
                return None
            name, value = found
            _, places, of_part = parts.setdefault((k, name), (k, [], []))
            places.append(i)
            of_part.append(replace(e, value=value))
    decided = decide_keys(
        [of_part for _, _, of_part in parts.values()], model.part_model, budget,
        zones=True, orders=False,
    )  # fmt: skip
    outcomes = [Outcome(True, "nothing to check") for _ in keys]
    for (k, places, _), outcome in zip(parts.values(), decided, strict=True):
        outcomes[k] = _worse(outcomes[k], with_indices_mapped(outcome, places.__getitem__))
    return outcomes


def _worse(one: Outcome, other: Outcome) -> Outcome:
    """Return the worse outcome of two parts (invalid > undecided > valid), with the costs added."""
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


def numbered(values: Sequence[Any], model: Container) -> list[int]:
    """Return a number per value, its rank where the model compares values; -1 for None."""
    distinct = list(dict.fromkeys(v for v in values if v is not None))
    if model.discipline == LEAST:
        distinct.sort()
    numbers = {v: i for i, v in enumerate(distinct)}
    return [-1 if v is None else numbers[v] for v in values]


def decide_containers(
    model: Container,
    times: tuple[Any, Any],
    key: Any,
    keys: int,
    kinds: Sequence[int],
    values: Sequence[int],
) -> list[Outcome]:
    """Return the outcome of each key of a container, by the algorithms that need no search; None
    in `valid` where they do not apply. `kinds`: INSERT or REMOVE. `values`: see `numbered`."""
    decided = _core.containers(
        model.discipline, *times, key, array("i", kinds), array("i", values), keys
    )
    return [outcome_of(*result) for result in decided]


def container_values(columns: Columns, model: Container) -> list[int]:
    """Return the number of each row's value, see `numbered`; ranks are within the row's key."""
    if model.discipline == LEAST and columns.keys:
        ranks = [-1] * len(columns)
        for rows in rows_by_key(columns):
            of_key = numbered([columns.value(row) for row in rows], model)
            for row, number in zip(rows, of_key, strict=True):
                ranks[row] = number
        return ranks
    if all(shape == WHOLE for shape in columns.shape):
        numbers = numbered(columns.values, model)
        return [numbers[a] for a in columns.a]
    return numbered([columns.value(row) for row in range(len(columns))], model)
