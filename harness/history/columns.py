"""Client operations as columns: one row per operation, without an object for each.

    columns = columns_of(history.pairs(), independent=True)

Values are indices into a table: of up to three scalars, or of one composite value. So the native
core works on numbers only.
"""

from __future__ import annotations

import reprlib
from array import array
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.history.operations import Op, Pair

OPEN: Final = (1 << 63) - 1  # the return of an operation of unknown outcome
WHOLE: Final = 0  # the shape of a value that is `a` alone
_PARTS: Final = (2, 3)  # shapes of lists of scalars: how many of a, b, c are used
_SCALAR: Final = (int, str, type(None), bool, float)


class Marker:
    """A constant that is equal only to itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


DIFFERED: Final = Marker("DIFFERED")  # seen by a failed comparison: any value but the expected one


@dataclass(slots=True)
class Columns:
    """One row per operation. `call`, `ret`: positions of its invocation and completion; `ret` is
    OPEN where the outcome is unknown. `f`: index in `names`. `key`: index in `keys`; empty without
    keys. `shape`, `a`, `b`, `c`: the value, by indices in `values`, whose first is None and whose
    lists are tuples."""

    call: array[int] = field(default_factory=lambda: array("q"))
    ret: array[int] = field(default_factory=lambda: array("q"))
    key: array[int] = field(default_factory=lambda: array("i"))
    f: array[int] = field(default_factory=lambda: array("i"))
    shape: array[int] = field(default_factory=lambda: array("i"))
    a: array[int] = field(default_factory=lambda: array("i"))
    b: array[int] = field(default_factory=lambda: array("i"))
    c: array[int] = field(default_factory=lambda: array("i"))
    keys: list[Hashable] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    values: list[Hashable] = field(default_factory=lambda: [None])

    def __len__(self) -> int:
        return len(self.call)

    def value(self, row: int) -> Hashable:
        """Return the value of an operation, as models get it."""
        shape, values = self.shape[row], self.values
        if shape == WHOLE:
            return values[self.a[row]]
        parts = (values[self.a[row]], values[self.b[row]], values[self.c[row]])
        return parts[:shape]


def freeze(value: Any) -> Hashable:
    """Return JSON data as a hashable value: lists become tuples, objects sorted tuples of pairs."""
    if isinstance(value, list):
        whole = tuple(value)
        try:
            hash(whole)
        except TypeError:
            return tuple(freeze(v) for v in value)
        return whole
    if isinstance(value, dict):
        return tuple(sorted((k, freeze(v)) for k, v in value.items()))
    return value  # type: ignore[no-any-return]


class _Table:
    """Numbers distinct values; those that are equal in Python are one, as they are for models."""

    def __init__(self, values: list[Hashable]) -> None:
        self.values = values
        self._numbers: dict[Hashable, int] = {}
        for value in values:
            self._numbers[value] = len(self._numbers)

    def number(self, value: Any) -> int:
        known = self._numbers.get(value)
        if known is None:
            known = self._numbers[value] = len(self.values)
            self.values.append(value)
        return known


def columns_of(
    pairs: Iterable[Pair],
    *,
    independent: bool = False,
    observe_differed: bool = False,
) -> Columns:
    """Return the columns of the operations that did not fail.

    `independent`: values are [key, value]; raises ValueError where one is not. `observe_differed`:
    a `cas` that failed without an error observed another value than its old one.
    """
    columns = Columns()
    rows = _Rows(columns, independent)
    for pair in pairs:
        invoke, done = pair.invoke, pair.done
        if done is None or done.type == "info":
            rows.add(invoke, invoke.value, OPEN)
        elif done.type == "ok":
            rows.add(invoke, done.value, done.index)
        elif observe_differed and done.error is None and invoke.f.startswith("cas"):
            rows.add_differed(invoke, done)
    return columns


class _Rows:
    """Appends operations to columns."""

    def __init__(self, columns: Columns, independent: bool) -> None:
        self._columns = columns
        self._independent = independent
        self._values = _Table(columns.values)
        self._keys = _Table(columns.keys)
        self._names: dict[str, int] = {}

    def add(self, invoke: Op, value: Any, ret: int) -> None:
        columns = self._columns
        if self._independent:
            key, value = split(invoke, value)
            columns.key.append(self._keys.number(key if type(key) in _SCALAR else freeze(key)))
        f = self._names.get(invoke.f)
        if f is None:
            f = self._names[invoke.f] = len(columns.names)
            columns.names.append(invoke.f)
        columns.call.append(invoke.index)
        columns.ret.append(ret)
        columns.f.append(f)
        number = self._values.number
        a = b = c = 0
        if type(value) is list and len(value) in _PARTS and all(type(v) in _SCALAR for v in value):
            shape = len(value)
            a, b = number(value[0]), number(value[1])
            if shape == 3:
                c = number(value[2])
        else:
            shape = WHOLE
            a = number(value if type(value) in _SCALAR else freeze(value))
        columns.shape.append(shape)
        columns.a.append(a)
        columns.b.append(b)
        columns.c.append(c)

    def add_differed(self, invoke: Op, done: Op) -> None:
        """Add a failed comparison of (old, new), as an observation of another value than old."""
        self.add(invoke, invoke.value, done.index)
        columns = self._columns
        if columns.shape[-1] != 2:
            raise ValueError(f"operation {invoke.index} (cas): {invoke.value!r} is not [old, new]")
        columns.shape[-1], columns.c[-1] = 3, self._values.number(DIFFERED)


def split(op: Op, value: Any) -> tuple[Any, Any]:
    """Return the key and the value of an operation on independent keys; raises ValueError."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(
            f"operation {op.index} ({op.f}): {reprlib.repr(value)} is not [key, value]"
        )
    return value[0], value[1]


def rows_by_key(columns: Columns) -> Sequence[Sequence[int]]:
    """Return the rows of each key, in order; all rows as one where there are no keys."""
    if not columns.key:
        return [range(len(columns))] if len(columns) else []
    rows: list[list[int]] = [[] for _ in columns.keys]
    for row, key in enumerate(columns.key):
        rows[key].append(row)
    return rows
