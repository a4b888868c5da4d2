"""The protocol of a fault.

A fault is a class without arguments, registered as an entry point in the group `harness.faults`,
or given as `module:Class`. It is stateless: every injection returns an object of its own, so that
faults can overlap, also several of one kind.
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
    """The order in which the faults of a cycle begin, and in which they are healed. A drawn cycle
    has at most one fault of PROCESSES."""

    LINKS = 0
    PROCESSES = 1
    ROLES = 2


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of a kind of fault.

    `disturbs`: what it acts on; it can't cause a violation on a target that depends on none of it.
    `in_all`: whether `--nemesis all` includes it. `stops_everything`: no process runs while it
    lasts. `moves_primary`: it makes another node the primary. `ends_processes`: processes lose what
    they hold in memory.
    """

    layer: Layer
    disturbs: frozenset[Disturbance]
    in_all: bool = True
    stops_everything: bool = False
    moves_primary: bool = False
    ends_processes: bool = False


class Skipped(Exception):
    """A fault could not be injected in the present state; the text is the reason."""


class NoPrimary(Skipped):
    """A fault acts on a primary, and no node is known to be it: an election may be under way."""

    def __init__(self) -> None:
        super().__init__("no node is known to be the primary")


class Effect(NamedTuple):
    """What was measured of a fault on healing. `effective`: whether it had an effect."""

    effective: bool
    measured: dict[str, Any]


class Injected(Protocol):
    """A fault that was injected. `did`: what was done, as JSON that fits a history line (4 kB)."""

    did: dict[str, Any]

    async def heal(self) -> Effect:
        """Undo the fault and return its effect; called again if it raised `EnvironmentFailed`."""
        ...


@dataclass(frozen=True, kw_only=True)
class DrawContext:
    """Inputs for drawing the arguments of a fault. `strength_percent`: scales their maximum.
    `together`: the faults of the same cycle."""

    rng: random.Random
    strength_percent: int = 100
    together: Sequence[Fault] = ()

    def scaled(self, most: int) -> int:
        """Return a maximum scaled by the strength, at least 1."""
        return max(1, most * self.strength_percent // 100)

    @property
    def primary_moves(self) -> bool:
        """Whether a fault of the cycle makes another node the primary."""
        return any(fault.traits.moves_primary for fault in self.together)


UNDO_TIMEOUT_S = 10.0


@contextlib.asynccontextmanager
async def rolled_back_on_failure(injected: Injected) -> AsyncIterator[None]:
    """Undo a partly injected fault if the rest of its injection fails or takes too long: it counts
    as not injected then, so the nemesis will not heal it."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(UNDO_TIMEOUT_S):
                await injected.heal()
        raise


class Fault(Protocol):
    """One kind of fault. `takes`: the type of its arguments, a TypedDict; a user's arguments are
    validated against it."""

    name: str
    traits: Traits
    takes: type[Any]

    def available(self, target: Target, env: Environment) -> str | None:
        """Return why it is not available for this target in this environment, None if it is."""
        ...

    def draw(self, chance: DrawContext, system: System[Any, Any], /) -> Arguments:
        """Draw arguments, as JSON. Nothing has started yet: victims are roles or process names."""
        ...

    async def inject(self, system: System[Any, Any], arguments: Arguments, /) -> Injected:
        """Inject the fault. Raises `Skipped` if the present state does not allow it."""
        ...


@runtime_checkable
class Lasting(Fault, Protocol):
    """A fault whose injection takes a while."""

    def injection_ms(self, arguments: Arguments, target: Target, /) -> int:
        """Return about how long, in ms: no other fault of a plan begins meanwhile."""
        ...
