"""Nodes in a simulated world: one process, one thread, virtual time, a run determined by its seed.

The runner, its clients and the nemesis run on the same loop but on none of the machines: clients
connect from client hosts (`n1@c2`), the harness itself as operator, by links that are never cut.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Coroutine, Sequence
from typing import IO, Any

from harness.environments.nodes import node_names
from harness.environments.protocol import EnvironmentOptions, Exit, Grudge, ProcessSpec
from harness.errors import UsageError
from harness.history.record import EnvironmentInfo
from harness.host import Address
from harness.simulation.delays import Delays
from harness.simulation.loop import START_NS
from harness.simulation.process import Process
from harness.simulation.trace import Trace
from harness.simulation.world import EPOCH_NS, OPERATOR, PORT
from harness.simulation.world import World as SimulatedWorld
from harness.spec import World

_LOSS_MAX = 0.9


class SimulatedLinks:
    """Implements `Network` with the links of a simulated world."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    async def apply(self, grudge: Grudge) -> None:
        self._world.cut((source, sink) for sink, sources in grudge.items() for source in sources)

    async def heal(self) -> None:
        self._world.cut(())
        self._world.note("links healed")
        for link in self._world.network.links():
            link.shape(0, 0, 0)
            link.loss_per_1024 = 0

    async def shape(
        self,
        source: str,
        sink: str,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        bytes_per_s: float = 0.0,
    ) -> None:
        self._world.note(f"shape {source}>{sink} {delay_s} {jitter_s} {bytes_per_s}")
        self._world.network.link(source, sink).shape(delay_s, jitter_s, bytes_per_s)

    async def reset(self, source: str, sink: str) -> int:
        return self._world.network.reset(source, sink)

    async def stats(self) -> dict[tuple[str, str], dict[str, int]]:
        return {(each.source, each.sink): each.stats() for each in self._world.network.links()}


class SimulatedEnvironment:
    """An environment of one simulated world; it implements every capability."""

    name = "simulated"
    simulated = True

    def __init__(self, options: EnvironmentOptions) -> None:
        options.refuse_addresses(self.name)
        if options.first_port is not None:
            raise UsageError("--port: simulated servers don't use ports of this machine")
        shape = options.world or World()
        delays = Delays(
            low_ns=shape.low_ns,
            high_ns=shape.high_ns,
            slow_per_1024=shape.slow_per_1024,
            bytes_per_s=shape.bytes_per_s,
        )
        self.nodes = node_names(options.nodes)
        self.processes: dict[str, str] = {node: node for node in self.nodes}
        self.client_hosts = tuple(f"c{i + 1}" for i in range(shape.client_hosts))
        self.exits: list[Exit] = []
        self.world = SimulatedWorld(
            options.seed,
            delays=delays,
            service_ns=shape.service_ns,
            trace=Trace(options.trace),
        )
        self._network = SimulatedLinks(self.world)
        self._run_dir = options.run_dir
        self._processes: dict[str, Process] = {}
        self._logs: dict[str, IO[str]] = {}
        self.world.on_exit = self._exited
        self.world.on_log = self._logged
        for node in self.nodes:
            self.world.add_machine(node)
        for host in self.client_hosts:
            self.world.add_client_host(host)

    @property
    def network(self) -> SimulatedLinks:
        return self._network

    def now(self) -> int:
        return self.world.loop.now_ns - START_NS

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        self.world.run(main)

    def address(self, process: str, *, seen_from: str) -> Address:
        return (f"{process}@{seen_from}" if seen_from in self.client_hosts else process), PORT

    def control_address(self, process: str) -> Address:
        return f"{process}@{OPERATOR}", PORT

    def data_dir(self, process: str) -> str:
        return f"/{process}"

    def declare(self, process: str, host: str) -> None:
        self.processes[process] = host
        if host not in self.world.machines:
            self.world.add_machine(host)

    async def wipe(self, process: str) -> None:
        self.world.disk(process).wipe()

    async def open(self) -> None:
        (self._run_dir / "logs").mkdir(parents=True, exist_ok=True)
        self.world.trace.open()

    async def start(self, spec: ProcessSpec) -> None:
        if spec.main is None:
            raise UsageError(f"{spec.name} can't be simulated: it is a program")
        if not callable(spec.main) or not inspect.iscoroutinefunction(
            getattr(spec.main, "func", spec.main)
        ):
            raise UsageError(f"{spec.name}: `main` must be an async function that takes a Host")
        if spec.name not in self._logs:
            folder = self._run_dir / "logs" / spec.node
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{spec.name}.log"
            self._logs[spec.name] = path.open("a", buffering=1, encoding="utf-8")
        machine = self.world.machines[spec.node]
        self._processes[spec.name] = self.world.start(spec.name, machine, spec.main)

    def _exited(self, process: Process, code: int, expected: bool) -> None:
        self.exits.append(Exit(process=process.name, code=code, time=self.now(), expected=expected))

    def _logged(self, process: Process, text: str) -> None:
        self._logs[process.name].write(f"{self.now() / 1e9:.9f} {process!r} {text}\n")

    async def kill(self, process: str, *, drop_held: bool = False) -> None:
        self.world.kill(self._processes[process])
        if drop_held:
            self.world.network.drop_held(process)

    async def pause(self, process: str) -> None:
        self.world.pause(self._processes[process])

    async def resume(self, process: str) -> None:
        self.world.resume(self._processes[process])

    async def state(self, process: str) -> str:
        found = self._processes.get(process)
        return "dead" if found is None else found.state

    async def log_tail(self, process: str, lines: int = 2) -> str:
        printed = [line for line in self._log(process).strip().splitlines() if line.strip()]
        return " | ".join(printed[-lines:])

    async def logs(self) -> dict[str, str | None]:
        return {process: self._log(process) for process in self._logs}

    def _log(self, process: str) -> str:
        node = self._processes[process].machine.name
        return (self._run_dir / "logs" / node / f"{process}.log").read_text(errors="replace")

    async def close(self) -> None:
        for log in self._logs.values():
            with contextlib.suppress(OSError):
                log.close()
        self.world.on_log = lambda process, text: None
        self.world.on_exit = lambda process, code, expected: None

    async def helpers_ended(self) -> list[str]:
        return []

    def describe(self) -> EnvironmentInfo:
        return EnvironmentInfo(environment=self.name, simulated=True)

    # --- clocks, power, loss

    async def drift_clock(self, node: str, ppm: int) -> None:
        self.world.drift(self.world.machines[node], ppm)

    async def jump_clock(self, node: str, ns: int) -> None:
        self.world.jump(self.world.machines[node], ns)

    async def clock_error(self, node: str) -> tuple[int, int]:
        now = self.world.loop.now_ns
        clock = self.world.machines[node].clock
        return clock.wall(now) - (now + EPOCH_NS), clock.count(now) - now

    async def power_off(self, nodes: Sequence[str]) -> None:
        for node in nodes:
            self.world.power_off(self.world.machines[node])

    async def lose(self, source: str, sink: str, share: float) -> None:
        self.world.note(f"lose {source}>{sink} {share}")
        self.world.network.link(source, sink).loss_per_1024 = round(min(share, _LOSS_MAX) * 1024)

    # --- the trace

    def note(self, text: str) -> None:
        self.world.note(text)

    def trace_digest(self) -> tuple[str, int]:
        return self.world.trace.digest(), self.world.trace.count
