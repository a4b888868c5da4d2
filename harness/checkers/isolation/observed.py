"""What transactions observed of each other: write-read dependencies and version orders.

Every value is written once to a register, or appended once to a list, so that a read identifies the
write that it saw. Vocabulary and anomalies: Adya 1999; Kingsbury & Alvaro 2020 (Elle).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import NoneType
from typing import Any, Final

from harness.history import Pair
from harness.history.columns import freeze

INITIAL: Final = 0  # the transaction that wrote the initial state


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. `steps`: (`w`, key, value), (`append`, key, element), (`r`, key, value
    seen). `known`: False where the outcome is unknown, and with it the values seen."""

    name: str
    session: Hashable
    steps: tuple[Any, ...]
    known: bool


@dataclass(frozen=True, slots=True)
class Read:
    """`reader` saw `value` of `key`, written by `writer`: both are indices of transactions."""

    reader: int
    key: Hashable
    writer: int
    value: Any


@dataclass(slots=True)
class Observed:
    """The result of `observe`; transactions are indices. `transactions`: those that took effect,
    after that of the initial state. `writers`: of each key, without INITIAL. `versions`: (writer,
    later writer, key), as far as lists show the order. `anomalies`: descriptions of what no
    isolation level allows."""

    transactions: list[Transaction]
    reads: list[Read] = field(default_factory=list)
    writers: dict[Hashable, list[int]] = field(default_factory=dict)
    versions: list[tuple[int, int, Hashable]] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)


def observe(pairs: Iterable[Pair]) -> Observed:
    """Return what the transactions observed. Raises ValueError where a value is written twice, or a
    step is malformed."""
    done, aborted = _transactions(pairs)
    appended = _lists([*done, *aborted])
    writer_of, dead = _writers(done), _writers(aborted)
    seen = _observed_unknowns(done, writer_of, appended)
    kept = [i for i, t in enumerate(done) if t.known or i in seen]
    number = {old: new for new, old in enumerate(kept, 1)}
    observed = Observed(
        [Transaction("the initial state", None, (), True), *(done[i] for i in kept)]
    )
    for old, new in number.items():
        for key in dict.fromkeys(s[1] for s in done[old].steps if s[0] != "r"):
            observed.writers.setdefault(key, []).append(new)
    alive = {v: (number[i], last) for v, (i, last) in writer_of.items() if i in number}
    lists: dict[Hashable, dict[tuple[Any, ...], str]] = {}
    for new, t in enumerate(observed.transactions):
        if t.known:
            _Reader(observed, new, alive, dead, lists, appended).read_all()
    for key, contents in lists.items():
        _order_list(observed, key, contents, alive)
    return observed


def _transactions(pairs: Iterable[Pair]) -> tuple[list[Transaction], list[Transaction]]:
    """Return (transactions that may have taken effect, aborted ones)."""
    done: list[Transaction] = []
    aborted: list[Transaction] = []
    for pair in pairs:
        kind = pair.done.type if pair.done is not None else "info"
        steps = freeze(pair.value) or ()
        if not isinstance(steps, tuple):
            raise ValueError(f"operation {pair.invoke.index}: {steps!r} is not a list of steps")
        for step in steps:
            if not isinstance(step, tuple) or len(step) != 3 or step[0] not in ("r", "w", "append"):
                raise ValueError(
                    f"operation {pair.invoke.index}: {step!r} is not one of [r, key, seen], "
                    "[w, key, value] and [append, key, element]"
                )
        process = pair.invoke.process
        name = f"process {process}'s {_brief(steps)} (event {pair.invoke.index})"
        made = Transaction(name, process, steps, kind == "ok")
        (aborted if kind == "fail" else done).append(made)
    return done, aborted


def _brief(steps: Sequence[Any]) -> str:
    words = [f"{what} {key} {_value(value)}" for what, key, value in steps[:6]]
    return f"[{', '.join(words)}{', …' if len(steps) > 6 else ''}]"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + " ".join(str(v) for v in value) + "]"
    return "nil" if value is None else str(value)


def _lists(transactions: Sequence[Transaction]) -> set[Hashable]:
    """Return the keys that are appended to."""
    kinds: dict[Hashable, str] = {}
    for t in transactions:
        for what, key, value in t.steps:
            if what == "r":
                continue
            if value is None:
                raise ValueError(f"nil is written to {key!r}, the initial value: see {t.name}")
            if kinds.setdefault(key, what) != what:
                raise ValueError(f"{key!r} is both written and appended to: see {t.name}")
    return {key for key, what in kinds.items() if what == "append"}


Writers = dict[tuple[Hashable, Any], tuple[int, bool]]


def _writers(transactions: Sequence[Transaction]) -> Writers:
    """Return {(key, value): (writer, whether it is the writer's last value of the key)}."""
    found: Writers = {}
    for i, t in enumerate(transactions):
        last: dict[Hashable, Any] = {}
        for what, key, value in t.steps:
            if what == "r":
                continue
            if (key, value) in found:
                raise ValueError(f"{value!r} is written twice to {key!r}: see {t.name}")
            if key in last:
                found[key, last[key]] = i, False
            found[key, value] = i, True
            last[key] = value
    return found


def _observed_unknowns(
    transactions: Sequence[Transaction], writer_of: Writers, lists: set[Hashable]
) -> set[int]:
    """Return the transactions whose writes were read: those of unknown outcome took effect, too."""
    seen: set[int] = set()
    for t in transactions:
        if not t.known:
            continue
        for what, key, value in t.steps:
            if what == "r":
                for each in value or () if key in lists else (value,):
                    if (key, each) in writer_of:
                        seen.add(writer_of[key, each][0])
    return seen


class _Reader:
    """Checks and records the reads of one transaction."""

    def __init__(
        self,
        observed: Observed,
        number: int,
        alive: Writers,
        dead: Writers,
        lists: dict[Hashable, dict[tuple[Any, ...], str]],
        appended: set[Hashable],
    ) -> None:
        self._observed = observed
        self._number = number
        self._name = observed.transactions[number].name
        self._alive, self._dead = alive, dead
        self._lists = lists
        self._appended = appended

    def read_all(self) -> None:
        own: dict[Hashable, list[Any]] = {}  # its writes so far
        for what, key, value in self._observed.transactions[self._number].steps:
            if what != "r":
                own.setdefault(key, []).append(value)
            elif key in self._appended or value == ():
                if not isinstance(value, tuple | NoneType):
                    raise ValueError(f"{value!r} was read from the list {key!r}: see {self._name}")
                self._read_list(key, value or (), own.get(key, []))
            elif key in own:
                if value != own[key][-1]:
                    self._wrong(f"read {_value(value)} from {key} after it wrote {own[key][-1]}")
            else:
                self._read(key, value)

    def _read_list(self, key: Hashable, seen: tuple[Any, ...], own: list[Any]) -> None:
        if len(set(seen)) < len(seen):
            self._wrong(f"read {_value(seen)} from {key}, which contains an element twice")
            return
        if own and seen[-len(own) :] != tuple(own):
            self._wrong(
                f"read {_value(seen)} from {key}, which does not end with its own appends, "
                f"{_value(tuple(own))}"
            )
            return
        before = seen[: len(seen) - len(own)]
        if not all(self._check_is_written(key, element) for element in before):
            return
        if self._are_whole(key, before):
            self._lists.setdefault(key, {}).setdefault(before, self._name)
            self._read(key, before[-1] if before else None)

    def _are_whole(self, key: Hashable, seen: tuple[Any, ...]) -> bool:
        """Return whether the elements of each transaction are complete and contiguous."""
        at = 0
        while at < len(seen):
            writer = self._observed.transactions[self._alive[key, seen[at]][0]]
            block = tuple(e for what, k, e in writer.steps if what == "append" and k == key)
            if seen[at : at + len(block)] != block:
                self._wrong(
                    f"read {_value(seen)} from {key}, in which {_value(block)}, appended by "
                    f"{writer.name}, is not complete and contiguous (G1b)"
                )
                return False
            at += len(block)
        return True

    def _check_is_written(self, key: Hashable, value: Any) -> bool:
        if (key, value) in self._alive:
            return True
        aborted = (key, value) in self._dead
        what = "which was aborted (G1a)" if aborted else "which was never written"
        self._wrong(f"read {_value(value)} from {key}, {what}")
        return False

    def _read(self, key: Hashable, value: Any) -> None:
        if value is None:
            self._observed.reads.append(Read(self._number, key, INITIAL, value))
        elif self._check_is_written(key, value):
            writer, last = self._alive[key, value]
            if writer == self._number:
                self._wrong(f"read {_value(value)} from {key} before it wrote it")
            elif not last:
                self._wrong(f"read {_value(value)} from {key}, which its writer overwrote (G1b)")
            else:
                self._observed.reads.append(Read(self._number, key, writer, value))

    def _wrong(self, what: str) -> None:
        self._observed.anomalies.append(f"{self._name} {what}")


def _order_list(
    observed: Observed, key: Hashable, contents: dict[tuple[Any, ...], str], alive: Writers
) -> None:
    """Add the version order that the reads of a list show: unread appends come last."""
    longest = max(contents, key=len)
    for seen, name in contents.items():
        if longest[: len(seen)] != seen:
            observed.anomalies.append(
                f"{name} read {_value(seen)} from {key}, and {contents[longest]} read "
                f"{_value(longest)}: neither is a prefix of the other"
            )
    chain = [alive[key, element][0] for element in longest if (key, element) in alive]
    chain = list(dict.fromkeys(chain))
    later = [w for w in observed.writers.get(key, []) if w not in chain]
    observed.versions += [(a, b, key) for a, b in pairwise(chain)]
    if chain:
        observed.versions += [(chain[-1], w, key) for w in later]
