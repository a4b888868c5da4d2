"""The system that faults act on, with the state of the active faults."""

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
    """A target in an environment, of the types that a fault requires.

    `beyond_tolerance`: also inject what the target does not tolerate. `grudges`: the active ones,
    by the number that `hold` returned. `down`, `paused`: processes that a fault has killed or
    paused. `wiped`: wiped processes of the log that have not been readmitted.
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
        """Processes of the target that are not nodes."""
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
        """The nodes that no fault has killed or paused."""
        return [n for n in self.env.nodes if n not in self.down | self.paused]

    def on(self, host: str) -> list[str]:
        """Return the processes of a host."""
        return [p for p, h in self.env.processes.items() if h == host]

    def tolerated(self, more: Iterable[str], grudge: Grudge | None = None) -> bool:
        """Return whether the target tolerates the active faults and the loss of these processes.
        `grudge`: all that is cut then; None: the active grudges."""
        if self.beyond_tolerance:
            return True
        out = self.down | self.paused | self.wiped | set(more)
        return self.target.tolerates(out, flows(self.grudge() if grudge is None else grudge))

    def grudge(self) -> Grudge:
        """Return the union of the active grudges."""
        return join(self.grudges.values())

    def hold(self, grudge: Grudge) -> int:
        """Add a grudge and return its key in `grudges`."""
        number = max(self.grudges, default=0) + 1
        self.grudges[number] = grudge
        return number
