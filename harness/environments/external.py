"""Servers that already run: connected to directly, and neither started, stopped nor disturbed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from harness.environments.protocol import EnvironmentOptions, Exit
from harness.errors import UsageError
from harness.history.record import EnvironmentInfo
from harness.host import Address


def parse_nodes(text: str) -> dict[str, Address]:
    """Return the addresses in `host:port,host:port` as those of n1, n2, …; raises `UsageError`."""
    nodes: dict[str, Address] = {}
    for i, part in enumerate(text.split(",")):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"--nodes: {part!r} is not host:port, as in 10.0.0.1:6379")
        nodes[f"n{i + 1}"] = (host.strip("[]"), int(port))
    return nodes


class ExternalEnvironment:
    """An environment of servers that already run; it can't inject faults."""

    name = "external"
    simulated = False

    def __init__(self, options: EnvironmentOptions) -> None:
        if options.addresses is None:
            raise UsageError("--env external: give --nodes host:port,…")
        if options.first_port is not None:
            raise UsageError("--port is for servers that the harness starts: leave it out")
        self._addresses = parse_nodes(options.addresses)
        self.nodes = tuple(self._addresses)
        self.processes: dict[str, str] = {node: node for node in self.nodes}
        self.client_hosts: tuple[str, ...] = ("c1",)
        self.exits: list[Exit] = []
        self._started = time.monotonic_ns()

    def now(self) -> int:
        return time.monotonic_ns() - self._started

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)

    def address(self, process: str, *, seen_from: str) -> Address:
        return self._addresses[process]

    def control_address(self, process: str) -> Address:
        return self._addresses[process]

    async def open(self) -> None:
        return None

    async def state(self, process: str) -> str:
        return "running"

    async def log_tail(self, process: str, lines: int = 2) -> str:
        return "its log is not available"

    async def logs(self) -> dict[str, str | None]:
        return {}

    async def close(self) -> None:
        return None

    async def helpers_ended(self) -> list[str]:
        return []

    def describe(self) -> EnvironmentInfo:
        return EnvironmentInfo(
            environment=self.name,
            addresses={n: f"{h}:{p}" for n, (h, p) in self._addresses.items()},
        )
