"""Nodes in the simulated world: one process, one thread, virtual time, the same run every time.

The runner, its clients and the nemesis run in the same loop, on no machine: they connect as one of
the client hosts (`n1@c2`), the operator by links that no fault touches.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import IO, Any

from harness.environments.protocol import Exit, Grudge, ProcessSpec
from harness.errors import UsageError
from harness.host import Address
from harness.simulation.delays import Delays
from harness.simulation.loop import START_NS
from harness.simulation.process import Process
from harness.simulation.trace import Trace
from harness.simulation.world import EPOCH_NS, OPERATOR, PORT, SERVICE_NS, World

_LOSS_MAX = 0.9


class SimulatedLinks:
    """`Network` for the world's links."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def apply(self, grudge: Grudge) -> None:
        self._world.cut((source, sink) for sink, sources in grudge.items() for source in sources)

    async def heal(self) -> None:
        self._world.cut(())
        self._world.note("links are as they were")
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
    """See the module's text; also `Machines`."""

    name = "simulated"
    capabilities = frozenset({"network", "slow", "loss", "kill", "pause", "clock", "power"})

    def __init__(
        self,
        nodes: Sequence[str],
        run_dir: Path,
        *,
        seed: int = 0,
        client_hosts: int = 3,
        delays: Delays | None = None,
        service_ns: int = SERVICE_NS,
        trace: Path | None = None,
    ) -> None:
        """`trace`: where to write what happens; its hash is kept anyway."""
        self.nodes = tuple(nodes)
        self.processes: dict[str, str] = {node: node for node in nodes}
        self.client_hosts = tuple(f"c{i + 1}" for i in range(client_hosts))
        self.exits: list[Exit] = []
        self.world = World(seed, delays=delays, service_ns=service_ns, trace=Trace(trace))
        self.network = SimulatedLinks(self.world)
        self._run_dir = run_dir
        self._processes: dict[str, Process] = {}
        self._logs: dict[str, IO[str]] = {}
        self.world.on_exit = self._exited
        self.world.on_log = self._logged
        for node in self.nodes:
            self.world.add_machine(node)
        for host in self.client_hosts:
            self.world.add_client_host(host)

    def now(self) -> int:
        return self.world.loop.now_ns - START_NS

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        self.world.run(main)

    def address(self, process: str, *, seen_from: str) -> Address:
        return (f"{process}@{seen_from}" if seen_from in self.client_hosts else process), PORT

    def control_address(self, process: str) -> Address:
        return f"{process}@{OPERATOR}", PORT

    def data_dir(self, process: str) -> Path:
        return self._run_dir / "data" / process

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
            raise UsageError(f"{spec.name} can't run in a simulation: it is a program")
        if not callable(spec.main) or not inspect.iscoroutinefunction(
            getattr(spec.main, "func", spec.main)
        ):
            raise UsageError(f"{spec.name}: its main is no coroutine function of a host")
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

    def state(self, process: str) -> str:
        found = self._processes.get(process)
        return "dead" if found is None else found.state

    def log_tail(self, process: str, lines: int = 2) -> str:
        node = self._processes[process].machine.name
        text = (self._run_dir / "logs" / node / f"{process}.log").read_text(errors="replace")
        said = [line for line in text.strip().splitlines() if line.strip()]
        return " | ".join(said[-lines:])

    async def close(self) -> None:
        for log in self._logs.values():
            with contextlib.suppress(OSError):
                log.close()
        self.world.on_log = lambda process, text: None
        self.world.on_exit = lambda process, code, expected: None

    def helpers_ended(self) -> list[str]:
        return []

    def describe(self) -> dict[str, Any]:
        return {"environment": self.name}

    # --- Machines

    def drift_clock(self, node: str, ppm: int) -> None:
        self.world.drift(self.world.machines[node], ppm)

    def jump_clock(self, node: str, ns: int) -> None:
        self.world.jump(self.world.machines[node], ns)

    def clock_error(self, node: str) -> tuple[int, int]:
        now = self.world.loop.now_ns
        clock = self.world.machines[node].clock
        return clock.wall(now) - (now + EPOCH_NS), clock.count(now) - now

    def power_off(self, nodes: Sequence[str]) -> None:
        for node in nodes:
            self.world.power_off(self.world.machines[node])

    def lose(self, source: str, sink: str, share: float) -> None:
        self.world.note(f"lose {source}>{sink} {share}")
        self.world.network.link(source, sink).loss_per_1024 = round(min(share, _LOSS_MAX) * 1024)
