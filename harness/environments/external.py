"""Servers that somebody else runs: reached directly, never started, stopped or broken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

from harness.environments.protocol import Exit, Grudge, ProcessSpec
from harness.errors import UsageError
from harness.host import Address


def parse_nodes(text: str) -> dict[str, Address]:
    """`host:port,host:port` as n1, n2, …; raises `UsageError` naming the part that is wrong."""
    nodes: dict[str, Address] = {}
    for i, part in enumerate(text.split(",")):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"--nodes: {part!r} is not host:port, as in 10.0.0.1:6379")
        nodes[f"n{i + 1}"] = (host.strip("[]"), int(port))
    return nodes


def _no_faults() -> NoReturn:
    raise UsageError("the external environment injects no faults: use --nemesis none")


class _NoNetwork:
    async def apply(self, grudge: Grudge) -> None:
        _no_faults()

    async def heal(self) -> None:
        return None

    async def shape(
        self,
        source: str,
        sink: str,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        bytes_per_s: float = 0.0,
    ) -> None:
        _no_faults()

    async def reset(self, source: str, sink: str) -> int:
        _no_faults()

    async def stats(self) -> dict[tuple[str, str], dict[str, int]]:
        return {}


class ExternalEnvironment:
    """See the module's text."""

    name = "external"
    capabilities: frozenset[str] = frozenset()

    def __init__(self, nodes: dict[str, Address], run_dir: Path) -> None:
        self.nodes = tuple(nodes)
        self.processes: dict[str, str] = {node: node for node in nodes}
        self.client_hosts: tuple[str, ...] = ("c1",)
        self.exits: list[Exit] = []
        self.network = _NoNetwork()
        self._addresses = nodes
        self._run_dir = run_dir
        self._started = time.monotonic_ns()

    def now(self) -> int:
        return time.monotonic_ns() - self._started

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)

    def address(self, process: str, *, seen_from: str) -> Address:
        return self._addresses[process]

    def control_address(self, process: str) -> Address:
        return self._addresses[process]

    def declare(self, process: str, host: str) -> None:
        raise UsageError("servers that already run are what they are: the target starts its own")

    async def wipe(self, process: str) -> None:
        _no_faults()

    def data_dir(self, node: str) -> Path:
        return self._run_dir / "data" / node

    async def open(self) -> None:
        return None

    async def start(self, spec: ProcessSpec) -> None:
        _no_faults()

    async def kill(self, process: str, *, drop_held: bool = False) -> None:
        _no_faults()

    async def pause(self, process: str) -> None:
        _no_faults()

    async def resume(self, process: str) -> None:
        _no_faults()

    def state(self, process: str) -> str:
        return "running"

    def log_tail(self, process: str, lines: int = 2) -> str:
        return "its log is not here"

    async def close(self) -> None:
        return None

    def helpers_ended(self) -> list[str]:
        return []

    def describe(self) -> dict[str, Any]:
        return {
            "environment": self.name,
            "addresses": {n: f"{h}:{p}" for n, (h, p) in self._addresses.items()},
        }
