"""What a run needs of the place where its processes live.

`Environment` is what every place has. What only some can do are types of their own, `CanKill` and
the like: a fault names the one that it needs, and is given an environment of that type. Whatever
may touch another machine is asynchronous.

An environment is a class that takes `EnvironmentOptions`, made known by an entry point in the
group `harness.environments`, or given as `module:Class`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.errors import UsageError
from harness.history.record import EnvironmentInfo
from harness.host import Address, Host
from harness.spec import World

# A grudge maps a process to those whose packets it drops.
Grudge = Mapping[str, frozenset[str]]
Main = Callable[[Host], Coroutine[Any, Any, None]]


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions:
    """What an environment is made of; it raises `UsageError` for what it has no use for.

    `nodes`: how many the run needs. `run_dir`: the run's folder on this machine, in which logs are
    collected. `addresses`: host:port,… of servers that already run. `first_port`: the first node
    listens there. `world`: the shape of a simulated world. `trace`: write everything that happens
    there.
    """

    nodes: int
    run_dir: Path
    seed: int = 0
    addresses: str | None = None
    first_port: int | None = None
    world: World | None = None
    trace: Path | None = None

    def refuse_addresses(self, name: str) -> None:
        """For environments that start their own nodes; raises `UsageError`."""
        if self.addresses is not None:
            raise UsageError(
                f"--nodes {self.addresses}: --env {name} starts its own nodes: give how many, or "
                "leave out --env"
            )


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


@runtime_checkable
class Environment(Protocol):
    """The place where the nodes of a run live.

    `simulated`: time, network and disks are a model, and processes are coroutines of a `Host`.
    `processes`: the host of each process that has been declared, nodes first: a node's host has
    its name. `client_hosts`: the places from which clients connect. `exits`: processes that ended.
    """

    name: str
    simulated: bool
    nodes: tuple[str, ...]
    processes: dict[str, str]
    client_hosts: tuple[str, ...]
    exits: list[Exit]

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

    async def open(self) -> None: ...

    async def state(self, process: str) -> str:
        """`running`, `paused` or `dead`, as the operating system reports it."""
        ...

    async def log_tail(self, process: str, lines: int = 2) -> str:
        """The last lines that a process printed, for an error message."""
        ...

    async def logs(self) -> Mapping[str, str]:
        """What each process of the target printed, by its name, as far as it can be had; also in
        `logs/` of the run's folder."""
        ...

    async def helpers_ended(self) -> list[str]:
        """Processes of ours, not the target's, that are gone although they should not be."""
        ...

    async def close(self) -> None:
        """Stop everything; safe to call at any point, more than once."""
        ...

    def describe(self) -> EnvironmentInfo:
        """Return what a reader of the results needs to know of this place."""
        ...


@runtime_checkable
class CanStart(Environment, Protocol):
    """Starts the target's processes: all but those servers that already run."""

    def declare(self, process: str, host: str) -> None:
        """There will be a process that is no node, on the host of a node, or on one of its own;
        before `open`."""
        ...

    def data_dir(self, process: str) -> str:
        """The folder of a process, on the machine where it runs."""
        ...

    async def start(self, spec: ProcessSpec) -> None:
        """Start a process; raises `EnvironmentFailed`."""
        ...


@runtime_checkable
class CanKill(CanStart, Protocol):
    async def kill(self, process: str, *, drop_held: bool = False) -> None:
        """SIGKILL; `drop_held`: bytes of it that a link holds are lost too."""
        ...

    async def wipe(self, process: str) -> None:
        """Erase what a dead process has on its disk."""
        ...


@runtime_checkable
class CanPause(Environment, Protocol):
    async def pause(self, process: str) -> None:
        """SIGSTOP."""
        ...

    async def resume(self, process: str) -> None:
        """SIGCONT."""
        ...


class Network(Protocol):
    """The links between processes; clients are processes too, one group of them a client host."""

    async def apply(self, grudge: Grudge) -> None:
        """From now on drop (hold, where links are proxied) exactly what the grudge names."""
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


@runtime_checkable
class CanPartition(Environment, Protocol):
    """Links can be cut and slowed down, each direction of each pair by itself."""

    @property
    def network(self) -> Network: ...


@runtime_checkable
class CanLose(CanPartition, Protocol):
    async def lose(self, source: str, sink: str, share: float) -> None:
        """Lose this share of the segments from one process to another: TCP sends them again."""
        ...


@runtime_checkable
class CanSkewClocks(Environment, Protocol):
    async def drift_clock(self, node: str, ppm: int) -> None:
        """A node's clocks run faster by so many millionths; 0: as they should."""
        ...

    async def jump_clock(self, node: str, ns: int) -> None:
        """Set a node's wall clock forward, or back."""
        ...

    async def clock_error(self, node: str) -> tuple[int, int]:
        """By how many nanoseconds a node's wall clock, and its monotonic clock, are ahead of
        true time."""
        ...


@runtime_checkable
class CanCutPower(CanStart, Protocol):
    async def power_off(self, nodes: Sequence[str]) -> None:
        """At once, and with what was not synced; `start` switches on again."""
        ...


@runtime_checkable
class CanReplay(Environment, Protocol):
    """The same seed gives the same run, and a trace proves it."""

    def note(self, text: str) -> None:
        """A line of the trace."""
        ...

    def trace_digest(self) -> tuple[str, int]:
        """The hash of the trace, and how many lines it has."""
        ...
