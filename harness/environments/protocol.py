"""What a run needs of the place where its processes live."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.host import Address, Host

# A grudge maps a process to those whose packets it drops.
Grudge = Mapping[str, frozenset[str]]
Main = Callable[[Host], Coroutine[Any, Any, None]]


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A process that a target asks for: its name, the node whose host it runs on, how to run it:
    `argv` as a real process, in the node's data directory; `main` in a simulation.
    """

    name: str
    node: str
    argv: Sequence[str] = ()
    main: Main | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Exit:
    """A process that ended. `expected`: the harness ended it."""

    process: str
    code: int
    time: int
    expected: bool


class Network(Protocol):
    """The links between processes; clients are processes too, one group of them a client host."""

    async def apply(self, grudge: Grudge) -> None:
        """From now on drop (hold, where links are proxied) exactly what the grudge says."""
        ...

    async def heal(self) -> None:
        """No grudge, no shaping."""
        ...

    async def shape(
        self,
        source: str,
        sink: str,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        bytes_per_s: float = 0.0,
    ) -> None:
        """Slow down what goes from one process to another."""
        ...

    async def reset(self, source: str, sink: str) -> int:
        """Reset the open connections that `source` made to `sink`; returns how many."""
        ...

    async def stats(self) -> dict[tuple[str, str], dict[str, int]]:
        """Bytes by directed pair: passed, held_total, held_now, delayed, dropped."""
        ...


class Environment(Protocol):
    """Starts, breaks and mends the processes of a run.

    `capabilities`: which faults it can do, of {"network", "slow", "kill", "pause"}, and, where
    there are `Machines`, {"loss", "clock", "power"}. `processes`: the host of each process that
    has been declared, nodes first: a node's host has its name.
    """

    name: str
    nodes: tuple[str, ...]
    processes: dict[str, str]
    client_hosts: tuple[str, ...]
    capabilities: frozenset[str]
    exits: list[Exit]

    @property
    def network(self) -> Network: ...

    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        ...

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine on the event loop of this place, to its end."""
        ...

    def address(self, process: str, *, seen_from: str) -> Address:
        """Where a process is reached from another process or client host."""
        ...

    def control_address(self, process: str) -> Address:
        """Where the harness itself reaches it, outside the links that faults act on."""
        ...

    def data_dir(self, process: str) -> Path: ...

    async def wipe(self, process: str) -> None:
        """Erase what a dead process has on its disk."""
        ...

    def declare(self, process: str, host: str) -> None:
        """There will be a process that is no node, on the host of a node, or on one of its own;
        before `open`. Raises `UsageError` where there can't be."""
        ...

    async def open(self) -> None: ...

    async def start(self, spec: ProcessSpec) -> None:
        """Start a process; raises `EnvironmentFailed`."""
        ...

    async def kill(self, process: str, *, drop_held: bool = False) -> None:
        """SIGKILL; `drop_held`: bytes of it that a link holds are lost too."""
        ...

    async def pause(self, process: str) -> None: ...

    async def resume(self, process: str) -> None: ...

    def state(self, process: str) -> str:
        """`running`, `paused` or `dead`, as the operating system says."""
        ...

    def log_tail(self, process: str, lines: int = 2) -> str:
        """The last lines that a process printed, for an error message."""
        ...

    async def close(self) -> None:
        """Stop everything; safe to call at any point, more than once."""
        ...

    def helpers_ended(self) -> list[str]:
        """Processes of ours, not the target's, that are gone although they should not be."""
        ...

    def describe(self) -> dict[str, Any]:
        """For the results: what a reader needs to know of this place."""
        ...


@runtime_checkable
class Machines(Protocol):
    """What an environment can do that is more than processes and links."""

    def drift_clock(self, node: str, ppm: int) -> None:
        """A node's clocks run faster by so many millionths; 0: as they should."""
        ...

    def jump_clock(self, node: str, ns: int) -> None:
        """Set a node's wall clock forward, or back."""
        ...

    def clock_error(self, node: str) -> tuple[int, int]:
        """By how many nanoseconds a node's wall clock, and its monotonic clock, are ahead of
        true time."""
        ...

    def power_off(self, nodes: Sequence[str]) -> None:
        """At once, and with what was not synced; `start` switches on again."""
        ...

    def lose(self, source: str, sink: str, share: float) -> None:
        """Lose this share of the segments from one process to another: TCP sends them again."""
        ...
