"""Calls the zones and the search of the native core on entries or columns."""

from __future__ import annotations

import os
from array import array
from collections.abc import Hashable, Sequence
from typing import Any

from harness.checkers.linearizability.alphabet import Letter, Letters, OutOfMemory
from harness.checkers.linearizability.entries import Budget, Entry, Outcome, with_indices_mapped
from harness.history.columns import DIFFERED, Columns
from harness.models.base import Growing, Model, Projectable, Registers
from harness.native import _core


def _merged(model: Model, entries: Sequence[Entry]) -> list[Hashable]:
    """Return the entries' values, with those of operations of unknown outcome on elements that were
    never observed made equal.

    In a collection that only grows nothing distinguishes these, so the search sees one class.
    """
    if not (isinstance(model, Growing) and isinstance(model, Projectable)):
        return [e.value for e in entries]
    observed = {
        v
        for e in entries
        if e.f == "read" or model.forget(e.f, e.value, e.known) != e.value
        for v in model.mentions(e.f, e.value, e.known)
    }
    stand_in: dict[str, Hashable] = {}
    values = []
    for e in entries:
        unseen = not e.known and observed.isdisjoint(model.mentions(e.f, e.value, e.known))
        values.append(stand_in.setdefault(e.f, e.value) if unseen else e.value)
    return values


def search_keys(
    keys: Sequence[Sequence[Entry]], model: Model, budget: Budget, *, zones: bool, orders: bool
) -> list[Outcome]:
    """Return the outcome of each key. `zones`: try them first. `orders`: include linearizations."""
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
    _, outcomes = run(
        times, key, len(keys), model, budget, zones, orders, letter=letter, letters=letters
    )
    placed: list[Outcome] = []
    first = 0
    for entries, outcome in zip(keys, outcomes, strict=True):
        placed.append(with_indices_mapped(outcome, (-first).__add__))
        first += len(entries)
    return placed


def register_states(columns: Columns, model: Registers) -> tuple[Any, Any] | None:
    """Return (requires, installs) by row, or None if an operation's value has the wrong shape."""
    roles = array("i", [model.roles[name] for name in columns.names])
    values = columns.f, columns.shape, columns.a, columns.b, columns.c
    try:
        differed = columns.values.index(DIFFERED)
    except ValueError:
        differed = -1
    joined = _core.registers(roles, *values, columns.ret, differed)
    return joined and tuple(memoryview(column).cast("i") for column in joined)  # type: ignore[return-value]


def run(
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
    """Run the native core; return (number of operations that constrain the result, one outcome per
    key, by rows).

    `times`: (call, ret) columns. Operations are given as `letter`, of each row, and `letters`, or
    as `states`: (requires by row, installs by row, number of states).
    """
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
            budget.seconds,
            zones,
            orders,
            os.cpu_count() or 1,
        )
    except OutOfMemory:
        outcome = Outcome(None, "memory", bytes=budget.bytes)
        return len(times[0]), [outcome for _ in range(keys)]
    outcomes = [outcome_of(*result) for result in decided]
    while len(outcomes) < keys:  # the core stops at the last key that has rows
        outcomes.append(Outcome(True, "nothing to check"))
    return operations, outcomes


def outcome_of(
    valid: int, how: str, rows: list[int], configurations: int, size: int, stuck: int
) -> Outcome:
    """Return the outcome of one key, given the tuple that the core returns for it."""
    outcome = Outcome(None if valid < 0 else bool(valid), how, configurations, size, stuck=stuck)
    if valid > 0:
        outcome.order = rows
    else:
        outcome.core = rows
    return outcome
