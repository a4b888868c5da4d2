"""The longest linearizable prefixes of a core, and why no operation can extend them: Porcupine's
partial linearizations, with reasons."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

from harness.checkers.linearizability.entries import Entry
from harness.checkers.linearizability.shrink import OTHER, Core
from harness.history.columns import OPEN
from harness.models.base import ANY, INCONSISTENT, KEEP, AllBut, Model, Versioned

CONFIGURATIONS_MAX: Final = 20_000
KEPT: Final = 3  # prefixes that are returned
ENTRIES_MAX: Final = 64  # of a core; longer prefixes would not be readable


@dataclass(frozen=True, slots=True)
class Prefix:
    """An order of operations that no completed operation can extend. `leaves`: the state after it,
    as text. `rejected`: the completed operations that real time allows next, each with the reason
    why the model does not allow it."""

    order: list[Entry]
    leaves: str
    rejected: list[tuple[Entry, str]]


def longest_prefixes(core: Core, model: Model) -> list[Prefix]:
    """Return at most three prefixes with the most completed operations; none for a large core. At
    most CONFIGURATIONS_MAX configurations are tried."""
    entries = core.entries
    if len(entries) > ENTRIES_MAX:
        return []
    completed = sum(1 << i for i, e in enumerate(entries) if e.ret != OPEN)
    ends: list[tuple[int, int, list[int], Any]] = []
    tried = 0
    for state in core.initial if core.initial is not None else [model.init()]:
        seen: set[tuple[int, Hashable]] = set()
        stack: list[tuple[int, Any, list[int]]] = [(0, state, [])]
        while stack and tried < CONFIGURATIONS_MAX:
            done, state, order = stack.pop()
            if (done, state) in seen:
                continue
            seen.add((done, state))
            tried += 1
            extended = False
            for i in reversed(_next(entries, done)):
                e = entries[i]
                after = _step(model, state, e)
                if after is not INCONSISTENT:
                    extended = extended or e.ret != OPEN
                    stack.append((done | 1 << i, after, [*order, i]))
            if not extended:
                ends.append(((done & completed).bit_count(), -len(order), order, state))
    ends.sort(key=lambda end: end[:2], reverse=True)
    kept: list[Prefix] = []
    most = ends[0][0] if ends else 0
    for count, _, order, state in ends:
        if count < most or len(kept) == KEPT:
            break
        rejected = [i for i in _next(entries, sum(1 << i for i in order)) if entries[i].ret != OPEN]
        prefix = Prefix(
            [entries[i] for i in order],
            brief(state),
            [(entries[i], _why(model, state, entries[i])) for i in rejected],
        )
        if all(other.order != prefix.order or other.leaves != prefix.leaves for other in kept):
            kept.append(prefix)
    return kept


def _next(entries: list[Entry], done: int) -> list[int]:
    """Return the indices of the entries that real time allows next."""
    left = [i for i in range(len(entries)) if not done >> i & 1]
    deadline = min((entries[i].ret for i in left), default=OPEN)
    return [i for i in left if entries[i].call <= deadline]


def _step(model: Model, state: Any, e: Entry) -> Any:
    if state is not OTHER:
        return model.step(state, e.f, e.value, e.known)
    versions = model.versions(e.f, e.value, e.known) if isinstance(model, Versioned) else None
    if versions is None or not (versions[0] is ANY or isinstance(versions[0], AllBut)):
        return INCONSISTENT
    return state if versions[1] is KEEP else versions[1]


def _why(model: Model, state: Any, e: Entry) -> str:
    versions = model.versions(e.f, e.value, e.known) if isinstance(model, Versioned) else None
    if versions is None or versions[0] is ANY:
        return f"it is not legal in state {brief(state)}"
    if isinstance(versions[0], AllBut):
        return f"it requires another state than {brief(versions[0].state)}"
    return f"it requires {brief(versions[0])}, but the state is {brief(state)}"


def brief(state: Any) -> str:
    """Return a short text for a state or a value."""
    if state is OTHER:
        return "something else"
    if state is None or state in ("", (), frozenset()):
        return "nothing"
    if isinstance(state, (tuple, frozenset)):
        items = sorted(state, key=repr) if isinstance(state, frozenset) else list(state)
        if len(items) > 6:
            return f"[… {len(items) - 3} more, {', '.join(str(v) for v in items[-3:])}]"
        return "[" + ", ".join(brief(v) for v in items) + "]"
    text = str(state)
    return text if len(text) <= 60 else f"{len(text)} characters that end in …{text[-40:]}"
