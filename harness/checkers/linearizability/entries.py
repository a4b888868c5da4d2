"""The operations of one key as the search sees them, its budget and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from harness.history import Pair
from harness.history.columns import OPEN, Columns


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation as the search sees it.

    `call`, `ret`: positions in the history, whose order is that of real time even where timestamps
    are equal. `ret` is OPEN and `known` False where the outcome is unknown; an entry that is open
    but known may have happened, at an unknown time, with that result. `keyed`: the pair's values
    are [key, value].
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
    """Limits of one check. Limits of configurations and bytes keep a verdict reproducible; one of
    `seconds` does not."""

    configurations: int = 5_000_000
    bytes: int = 1 << 30
    seconds: float | None = None


def budget_of(operations: int) -> Budget:
    """Return the default budget for a history of that many operations."""
    return Budget(configurations=max(5_000_000, 32 * operations))


@dataclass(slots=True)
class Outcome:
    """The outcome of one partition. `how`: the algorithm that decided it; where `valid` is None
    (undecided), the reason, such as the limit that was reached.

    `order`: indices of a linearization, if asked for. `core`: indices of entries that suffice for
    the violation, where the algorithm names them. `stuck`: index of the entry whose return could
    not be linearized, or -1.
    """

    valid: bool | None
    how: str
    configurations: int = 0
    bytes: int = 0
    order: list[int] = field(default_factory=list)
    core: list[int] = field(default_factory=list)
    stuck: int = -1


def with_indices_mapped(outcome: Outcome, to: Callable[[int], int]) -> Outcome:
    """Return the outcome with the indices of its operations mapped by `to`."""
    return replace(
        outcome,
        order=[to(i) for i in outcome.order],
        core=[to(i) for i in outcome.core],
        stuck=to(outcome.stuck) if outcome.stuck >= 0 else -1,
    )


def entry_of(columns: Columns, row: int) -> Entry:
    """Return the entry of a row, without its pair."""
    ret = columns.ret[row]
    return Entry(
        columns.names[columns.f[row]],
        columns.value(row),
        ret != OPEN,
        columns.call[row],
        ret,
        keyed=bool(columns.keys),
    )
