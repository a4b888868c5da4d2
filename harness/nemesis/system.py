"""What faults act on, and what the other faults of the moment have done to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from harness.environments.protocol import Environment, Grudge
from harness.nemesis.grudges import flows, join
from harness.targets import HasLog, Target

E_co = TypeVar("E_co", bound=Environment, covariant=True)
T_co = TypeVar("T_co", bound=Target, covariant=True)


@dataclass
class System(Generic[E_co, T_co]):
    """A target in an environment, of the types that a fault has asked for.

    `grudges`: those of the moment, by whoever holds them. `down`, `paused`: processes that a fault
    has stopped. `wiped`: processes of the log that are not readmitted yet.
    """

    env: E_co
    target: T_co
    beyond_tolerance: bool = False
    grudges: dict[int, Grudge] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    wiped: set[str] = field(default_factory=set)

    @property
    def helpers(self) -> list[str]:
        """Processes of the target that are no nodes."""
        return [p for p in self.env.processes if p not in self.env.nodes]

    @property
    def azs(self) -> list[str]:
        """The processes of the target's log."""
        return list(self.target.azs) if isinstance(self.target, HasLog) else []

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(self.env.processes.values()))

    @property
    def up(self) -> list[str]:
        """The nodes that no fault has stopped."""
        return [n for n in self.env.nodes if n not in self.down | self.paused]

    def on(self, host: str) -> list[str]:
        """The processes of a host."""
        return [p for p, h in self.env.processes.items() if h == host]

    def tolerated(self, more: Iterable[str], grudge: Grudge | None = None) -> bool:
        """Whether the target survives it if these are lost too; `grudge`: what is to be cut."""
        if self.beyond_tolerance:
            return True
        out = self.down | self.paused | self.wiped | set(more)
        return self.target.tolerates(out, flows(self.grudge() if grudge is None else grudge))

    def grudge(self) -> Grudge:
        """Everything that is cut at the moment."""
        return join(self.grudges.values())

    def hold(self, grudge: Grudge) -> int:
        """Add a grudge; returns by what it is taken away again."""
        number = max(self.grudges, default=0) + 1
        self.grudges[number] = grudge
        return number
