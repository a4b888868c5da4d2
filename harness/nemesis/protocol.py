"""What a fault is.

A fault is a class without arguments, made known by an entry point in the group `harness.faults`,
or given as `module:Class`. It keeps no state: what was injected is an object of its own, so that
faults overlap, also with themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from harness.environments.protocol import Environment
from harness.nemesis.system import System
from harness.targets import Disturbance, Target

Arguments = dict[str, Any]


class Layer(IntEnum):
    """In this order the faults of a cycle begin, and are healed: links before roles. A drawn cycle
    has at most one fault of PROCESSES."""

    LINKS = 0
    PROCESSES = 1
    ROLES = 2


@dataclass(frozen=True, kw_only=True)
class Traits:
    """`disturbs`: what of a system it acts on: it can't hurt a target that depends on nothing of
    that. `in_all`: one of the kinds of `--nemesis all`. `stops_everything`: while it lasts no
    process runs. `moves_primary`: it makes another node the primary."""

    layer: Layer
    disturbs: frozenset[Disturbance]
    in_all: bool = True
    stops_everything: bool = False
    moves_primary: bool = False


class Skipped(Exception):
    """A fault's moment did not allow it; the text is the reason."""


class Effect(NamedTuple):
    """What was measured of a fault when it was healed. `effective`: it did something."""

    effective: bool
    measured: dict[str, Any]


class Injected(Protocol):
    """A fault that was injected. `did`: what was done, as JSON that fits a history line (4 kB)."""

    did: dict[str, Any]

    async def heal(self) -> Effect:
        """Mend it and measure; called again where it raised `EnvironmentFailed`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What the arguments of a fault are drawn with. `strength_percent`: how bad it may be, of the
    usual. `together`: the faults of the same cycle."""

    rng: random.Random
    strength_percent: int = 100
    together: Sequence[Fault] = ()

    def scaled(self, most: int) -> int:
        """How bad a fault may be at most."""
        return max(1, most * self.strength_percent // 100)

    @property
    def primary_moves(self) -> bool:
        """Whether another fault of the cycle makes another node the primary."""
        return any(fault.traits.moves_primary for fault in self.together)


UNDO_TIMEOUT_S = 10.0


@contextlib.asynccontextmanager
async def undone_if_it_fails(injected: Injected) -> AsyncIterator[None]:
    """What was done of a fault is mended where doing the rest of it fails, or takes too long: it
    counts as not injected then, and nobody else heals it."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(UNDO_TIMEOUT_S):
                await injected.heal()
        raise


class Fault(Protocol):
    """One kind of fault. `takes`: the type of its arguments, a TypedDict; those that a person
    wrote are checked against it."""

    name: str
    traits: Traits
    takes: type[Any]

    def available(self, target: Target, env: Environment) -> str | None:
        """Why it is not possible for this target in this environment; None: it is."""
        ...

    def draw(self, chance: Chance, system: System[Any, Any], /) -> Arguments:
        """Arguments as JSON. Nothing has started yet: victims are roles, or names of processes."""
        ...

    async def inject(self, system: System[Any, Any], arguments: Arguments, /) -> Injected:
        """Break something. Raises `Skipped` where the moment does not allow it."""
        ...


@runtime_checkable
class Lasting(Fault, Protocol):
    """A fault whose injection takes a while."""

    def injection_ms(self, arguments: Arguments, target: Target, /) -> int:
        """About how long: a plan has nothing else begin meanwhile."""
        ...
