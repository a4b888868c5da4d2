"""The protocol of a model, and optional protocols that speed up checks or improve witnesses."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from harness.history.columns import Marker

INCONSISTENT: Final = Marker("INCONSISTENT")  # the operation is not legal in the state
ANY: Final = Marker("ANY")  # legal in every state
KEEP: Final = Marker("KEEP")  # leaves the state as it is
REMOVED: Final = Marker("GONE")  # the operation is removed as a whole
BOUND: Final = Marker("BOUND")  # the value can't be removed alone


class AllBut(NamedTuple):
    """Required state of an operation that is legal in every state but this one."""

    state: Any


class Model(Protocol):
    """A sequential specification. `recurs`: whether a state can come back after it was left. A
    model may have a `cost`: that of a step, as a multiple of a register's; the higher, the less a
    witness is shrunk. One whose every state depends on all operations before it is `cumulative`: a
    witness without some that were acknowledged would prove nothing to its reader.

    An operation is `f`, `value` (lists as tuples) and `known`: whether it completed, so that
    `value` has its result. The value of an unknown operation is that of its invocation.
    """

    recurs: bool

    def init(self) -> Hashable: ...

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        """Return the next state, or INCONSISTENT. Raises ValueError for an unknown operation."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A model that can name the states before and after an operation."""

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        """Return (the one state in which the operation is legal, or ANY, or AllBut one; the state
        after it, or KEEP, which AllBut implies).

        Return None where these depend on the state: then `step` decides. Must agree with `step`. An
        unknown operation is legal where it takes effect.
        """
        ...


READ, WRITE, CAS = range(3)  # roles of operations on a register, as in native/letters.hpp


@runtime_checkable
class Registers(Protocol):
    """A model of one register, whose every state is None or a value that was written. `versions`
    follows from the role (by `f`), so the core computes it by itself."""

    roles: Mapping[str, int]

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]: ...


INSERT, REMOVE = range(2)  # roles of operations on containers, as in native/insertions.hpp
FIRST, LAST, LEAST = range(3)  # the value to remove next, as in native/containers.hpp


@runtime_checkable
class Container(Protocol):
    """A model of a queue, a stack or a priority queue: where no value is inserted twice the core
    needs no `step`. A removal's value is the removed one, or None where the container was empty."""

    discipline: int
    container_roles: Mapping[str, int]


@runtime_checkable
class Texts(Protocol):
    """A model of one string: operations for which `versions` returns None append to it."""

    def appended(self, f: str, value: Any) -> Any:
        """Return the string that an operation appends; any string for other operations."""
        ...


@runtime_checkable
class Reading(Protocol):
    """A model that can tell which operations are read-only even where `versions` returns None."""

    def reads(self, f: str, value: Any) -> bool: ...


@runtime_checkable
class Parted(Protocol):
    """A model of independent parts: histories without operations on the whole are checked part by
    part (Horn & Kroening 2015)."""

    part_model: Model

    def part(self, f: str, value: Any, known: bool) -> tuple[Hashable, Any] | None:
        """Return (part, value of the operation on that part), or None for one on the whole."""
        ...


@runtime_checkable
class Suited(Protocol):
    """A model for which a simpler one suffices where some operations do not occur."""

    def suited(self, names: Collection[str]) -> Model:
        """Return a model for histories with no other operations than these."""
        ...


class Operation(Protocol):
    """An operation of one key, as `Constrained` gets it. `call`, `ret`: positions in the history;
    `ret` is `OPEN` where the outcome is unknown."""

    @property
    def f(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def known(self) -> bool: ...
    @property
    def call(self) -> int: ...
    @property
    def ret(self) -> int: ...


@runtime_checkable
class Constrained(Protocol):
    """A model that can tell from a whole history which steps can't be part of a linearization."""

    def constrained(self, operations: Sequence[Operation]) -> Model:
        """Return a model that decides this history alike, but refuses such steps at once."""
        ...


def last_read(certain: Sequence[Operation]) -> Operation | None:
    """Return the read of the whole that was called after all others of these completed operations
    had returned, or None: nothing remains to be explained after it."""
    ended = sorted(certain, key=lambda e: e.ret)[-2:]
    if not ended or ended[-1].f != "read" or (len(ended) > 1 and ended[0].ret >= ended[1].call):
        return None
    return ended[-1]


@runtime_checkable
class Growing(Protocol):
    """A model in which operations for which `versions` returns None only let the state grow."""

    def reaches(self, state: Any, later: Any) -> bool:
        """Return whether operations for which `versions` returns None can lead to `later`."""
        ...


@runtime_checkable
class Projectable(Protocol):
    """A model whose histories stay linearizable when every trace of a value is removed."""

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        """Return the values that an operation writes or shows."""
        ...

    def forget(self, f: str, value: Any, known: bool) -> Any:
        """Return the operation's value without the result, if it is a writing operation."""
        ...

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        """Return the operation's value without the dropped values, or REMOVED, or BOUND."""
        ...


def unknown_operation(model: str, f: str, known: str) -> ValueError:
    return ValueError(f"model {model} supports {known}, not {f!r}")
