"""Operations of one key as the search sees them, what it may cost, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from harness.history import Pair
from harness.history.columns import OPEN, Columns


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation as the search sees it.

    `call`, `ret`: positions in the history, whose order is that of real time also where stamps
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
    """Bounds of one check. Where only configurations and bytes are bounded, a verdict is
    reproducible; `seconds` is for who has no more of them."""

    configurations: int = 5_000_000
    bytes: int = 1 << 30
    seconds: float | None = None


def budget_of(operations: int) -> Budget:
    """The usual one."""
    return Budget(configurations=max(5_000_000, 32 * operations))


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


def moved(outcome: Outcome, to: Callable[[int], int]) -> Outcome:
    """The same outcome, with other numbers for its operations."""
    return replace(
        outcome,
        order=[to(i) for i in outcome.order],
        core=[to(i) for i in outcome.core],
        stuck=to(outcome.stuck) if outcome.stuck >= 0 else -1,
    )


def entry_of(columns: Columns, row: int) -> Entry:
    """A row, without its pair."""
    ret = columns.ret[row]
    return Entry(
        columns.names[columns.f[row]],
        columns.value(row),
        ret != OPEN,
        columns.call[row],
        ret,
        keyed=bool(columns.keys),
    )
