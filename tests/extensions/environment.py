"""An environment in one file: nodes are tasks in the harness' own event loop, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from harness.environments.protocol import EnvironmentOptions, Exit, ProcessSpec
from harness.history.record import EnvironmentInfo
from harness.host import RealHost


class InProcess:
    """Starts nodes, and can inject no faults."""

    name, simulated, client_hosts = "in-process", False, ("c1",)

    def __init__(self, options: EnvironmentOptions) -> None:
        options.refuse_addresses(self.name)
        self.nodes = tuple(f"n{i + 1}" for i in range(options.nodes))
        self.processes = {node: node for node in self.nodes}
        self.exits: list[Exit] = []
        self._folder = options.run_dir / "data"
        self._ports: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._started = time.monotonic_ns()

    def now(self) -> int:
        return time.monotonic_ns() - self._started

    def run(self, main) -> None:
        asyncio.run(main)

    def address(self, process: str, *, seen_from: str):
        return "127.0.0.1", self._ports[process]

    def control_address(self, process: str):
        return "127.0.0.1", self._ports[process]

    def declare(self, process: str, host: str) -> None:
        self.processes[process] = host

    def data_dir(self, process: str) -> str:
        path = self._folder / process
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    async def open(self) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in self.processes]
        for process, each in zip(self.processes, sockets, strict=True):
            self._ports[process] = each.getsockname()[1]
            each.close()

    async def start(self, spec: ProcessSpec) -> None:
        assert spec.main is not None
        peers = {p: ("127.0.0.1", port) for p, port in self._ports.items()}
        host = RealHost(spec.name, peers[spec.name], peers, Path(self.data_dir(spec.name)))
        self._running[spec.name] = asyncio.get_running_loop().create_task(spec.main(host))

    async def state(self, process: str) -> str:
        task = self._running.get(process)
        return "running" if task is not None and not task.done() else "dead"

    async def log_tail(self, process: str, lines: int = 2) -> str:
        return ""

    async def logs(self) -> dict[str, str | None]:
        return {}

    async def helpers_ended(self) -> list[str]:
        return []

    async def close(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def describe(self) -> EnvironmentInfo:
        return EnvironmentInfo(environment=self.name)
