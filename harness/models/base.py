"""The protocol of a model, and what checkers may ask beyond it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from harness.history.columns import Marker

INCONSISTENT: Final = Marker("INCONSISTENT")  # this operation can't happen in this state
ANY: Final = Marker("ANY")  # legal in every state
KEEP: Final = Marker("KEEP")  # leaves the state as it is
GONE: Final = Marker("GONE")  # nothing is left of the operation
BOUND: Final = Marker("BOUND")  # the value can't be dropped without losing more


class AllBut(NamedTuple):
    """Legal in every state but one, and shows no more than that."""

    state: Any


class Model(Protocol):
    """`recurs`: whether a state can come back after it was left. A model may have a `cost`: how
    many times that of a register a step of it takes; witnesses are shrunk less then.

    An operation is `f`, `value` (lists as tuples) and `known`: whether it completed, so that
    `value` holds its result. An unknown operation's value is what was asked for.
    """

    recurs: bool

    def init(self) -> Hashable: ...

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        """The next state, or INCONSISTENT. Raises ValueError for an operation it does not know."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A model that can name the states which an operation joins."""

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        """(the one state in which it is legal, or ANY, or AllBut one; the state that it leaves, or
        KEEP, as it always is with AllBut).

        None where that depends on the state: then `step` decides. Must agree with `step`. An
        unknown operation is legal where it takes effect.
        """
        ...


READ, WRITE, CAS = range(3)  # of an operation on a register, as in native/letters.hpp


@runtime_checkable
class Registers(Protocol):
    """A model that is one register, whose every state is None or a value that was written. What
    `versions` says follows from the role: the core finds it without asking."""

    roles: Mapping[str, int]

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]: ...


INSERT, REMOVE = range(2)  # of an operation on a container, as in native/insertions.hpp
FIRST, LAST, LEAST = range(3)  # which value of a container goes next, as in native/containers.hpp


@runtime_checkable
class Container(Protocol):
    """A model that is a queue, a stack or a priority queue: where no value is inserted twice the
    core needs no steps. A removal's value is what it took, None where there was nothing."""

    discipline: int
    container_roles: Mapping[str, int]


@runtime_checkable
class Texts(Protocol):
    """A model that is one string: operations of which `versions` knows nothing append to it."""

    def appended(self, f: str, value: Any) -> Any:
        """What an operation appends; of others whatever is a string."""
        ...


@runtime_checkable
class Reading(Protocol):
    """A model that can tell which operations only look, where `versions` can't name what they
    see."""

    def reads(self, f: str, value: Any) -> bool: ...


@runtime_checkable
class Parted(Protocol):
    """A model of parts that are independent, but for operations on all of it: histories without
    those are judged part by part (Horn & Kroening 2015)."""

    part_model: Model

    def part(self, f: str, value: Any, known: bool) -> tuple[Hashable, Any] | None:
        """(which part, what the operation's value is there), or None for one on all of it."""
        ...


@runtime_checkable
class Suited(Protocol):
    """A model that is simpler where some operations do not occur."""

    def suited(self, names: Collection[str]) -> Model:
        """For histories with no others."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A model whose states grow, but for operations that say what state they leave."""

    def reaches(self, state: Any, later: Any) -> bool:
        """Whether operations of which `versions` knows nothing lead from one to the other."""
        ...


@runtime_checkable
class Projectable(Protocol):
    """A model whose histories stay linearizable when every trace of a value is removed."""

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        """The values that an operation brings in or shows."""
        ...

    def forget(self, f: str, value: Any, known: bool) -> Any:
        """The operation's value with nothing known of a writing operation's answer."""
        ...

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        """The operation's value without the dropped values, or GONE, or BOUND."""
        ...


def unknown_operation(model: str, f: str, known: str) -> ValueError:
    return ValueError(f"model {model} knows {known}, not {f!r}")
