"""The interface of an environment, the place where the processes of a run live.

`Environment` is the part that all environments implement. Optional capabilities are protocols of
their own, such as `CanKill`: a fault declares the one that it needs, and gets an environment of
that type. Methods that may touch another machine are asynchronous.

An environment is a class that takes `EnvironmentOptions`, registered by an entry point in the
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

# A grudge maps a process to the processes whose packets it drops.
Grudge = Mapping[str, frozenset[str]]
Main = Callable[[Host], Coroutine[Any, Any, None]]


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions:
    """The arguments of an environment, which raises `UsageError` for those that it can't use.

    `nodes`: the number of nodes. `run_dir`: the run's folder on this machine, in which logs are
    collected. `addresses`: host:port,… of servers that already run. `first_port`: the port of the
    first node; the others follow. `world`: the parameters of a simulated world. `trace`: the file
    for its trace.
    """

    nodes: int
    run_dir: Path
    seed: int = 0
    addresses: str | None = None
    first_port: int | None = None
    world: World | None = None
    trace: Path | None = None

    def refuse_addresses(self, name: str) -> None:
        """Raise `UsageError` if addresses are given: for environments that start their nodes."""
        if self.addresses is not None:
            raise UsageError(
                f"--nodes {self.addresses}: --env {name} starts its own nodes: give how many, or "
                "leave out --env"
            )


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A process of the target. `node`: the node on whose host it runs, or the name of its own host.

    `argv`: the command to run as a real process, in the process' data directory, with `env` added
    to the environment variables. `main`: the coroutine function to run in a simulation.
    """

    name: str
    node: str
    argv: Sequence[str] = ()
    main: Main | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Exit:
    """The end of a process. `code`: its exit code, negative for a signal. `time`: nanoseconds since
    the start of the run. `expected`: whether the harness ended it."""

    process: str
    code: int
    time: int
    expected: bool


@runtime_checkable
class Environment(Protocol):
    """The place where the nodes of a run live.

    `simulated`: whether time, network and disks are simulated and processes are coroutines that
    take a `Host`. `processes`: the host of each declared process, nodes first; a node's host has
    its name. `client_hosts`: the hosts from which clients connect. `exits`: the processes that
    ended.
    """

    name: str
    simulated: bool
    nodes: tuple[str, ...]
    processes: dict[str, str]
    client_hosts: tuple[str, ...]
    exits: list[Exit]

    def now(self) -> int:
        """Return the nanoseconds since the start of the run."""
        ...

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, on the event loop of this environment."""
        ...

    def address(self, process: str, *, seen_from: str) -> Address:
        """Return the address at which another process or a client host reaches a process."""
        ...

    def control_address(self, process: str) -> Address:
        """Return the address at which the harness itself reaches a process, free of link faults."""
        ...

    async def open(self) -> None:
        """Prepare the environment, before any process is started."""
        ...

    async def state(self, process: str) -> str:
        """Return the process' state: `running`, `paused` or `dead`."""
        ...

    async def log_tail(self, process: str, lines: int = 2) -> str:
        """Return the last lines that a process printed, for an error message."""
        ...

    async def logs(self) -> Mapping[str, str | None]:
        """Return the output of the target's processes by name, where it is available; it is also
        in `logs/` of the run's folder. None for output that is lost."""
        ...

    async def helpers_ended(self) -> list[str]:
        """Return the processes of the harness, not of the target, that ended unexpectedly."""
        ...

    async def close(self) -> None:
        """Stop everything; safe to call at any point, more than once."""
        ...

    def describe(self) -> EnvironmentInfo:
        """Return the description of the environment that is kept with the results."""
        ...


@runtime_checkable
class CanStart(Environment, Protocol):
    """Starts the target's processes, unlike an environment of servers that already run."""

    def declare(self, process: str, host: str) -> None:
        """Announce a process that is not a node, on the host of a node or on a host of its own.
        Call it before `open`."""
        ...

    def data_dir(self, process: str) -> str:
        """Return the data directory of a process, on the machine where it runs."""
        ...

    async def start(self, spec: ProcessSpec) -> None:
        """Start a process; raises `EnvironmentFailed`."""
        ...


@runtime_checkable
class CanKill(CanStart, Protocol):
    async def kill(self, process: str, *, drop_held: bool = False) -> None:
        """SIGKILL a process. `drop_held`: also drop the bytes from it that links hold."""
        ...

    async def wipe(self, process: str) -> None:
        """Erase the data directory of a dead process."""
        ...


@runtime_checkable
class CanPause(Environment, Protocol):
    async def pause(self, process: str) -> None:
        """SIGSTOP a process."""
        ...

    async def resume(self, process: str) -> None:
        """SIGCONT a process."""
        ...


class Network(Protocol):
    """The links between processes; the clients of one client host are treated as one process."""

    async def apply(self, grudge: Grudge) -> None:
        """Replace the current grudge: drop exactly the packets that the new one names (or hold
        them, where the environment simulates or proxies links)."""
        ...

    async def heal(self) -> None:
        """Remove the grudge and all shaping."""
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
        """Slow down the traffic from one process to another; without arguments, undo that."""
        ...

    async def reset(self, source: str, sink: str) -> int:
        """Reset the open connections that `source` opened to `sink`; return their number."""
        ...

    async def stats(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return by directed pair the bytes passed, held_total, held_now, delayed and dropped."""
        ...


@runtime_checkable
class CanPartition(Environment, Protocol):
    """Cuts and slows down links, each direction of each pair separately."""

    @property
    def network(self) -> Network: ...


@runtime_checkable
class CanLose(CanPartition, Protocol):
    async def lose(self, source: str, sink: str, share: float) -> None:
        """Lose a share (0 to 1) of the segments from one process to another; TCP retransmits."""
        ...


@runtime_checkable
class CanSkewClocks(Environment, Protocol):
    async def drift_clock(self, node: str, ppm: int) -> None:
        """Make a node's clocks run fast by `ppm` parts per million; negative: slow; 0: exact."""
        ...

    async def jump_clock(self, node: str, ns: int) -> None:
        """Move a node's wall clock by `ns`, forward or back."""
        ...

    async def clock_error(self, node: str) -> tuple[int, int]:
        """Return by how many nanoseconds a node's wall clock and its monotonic clock are ahead of
        true time."""
        ...


@runtime_checkable
class CanCutPower(CanStart, Protocol):
    async def power_off(self, nodes: Sequence[str]) -> None:
        """Cut the power of nodes at the same time; writes that were not synced may be lost. `start`
        powers a node on again."""
        ...


@runtime_checkable
class CanReplay(Environment, Protocol):
    """The same seed gives the same run, which the hash of a trace verifies."""

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        ...

    def trace_digest(self) -> tuple[str, int]:
        """Return the hash of the trace and its number of lines."""
        ...
