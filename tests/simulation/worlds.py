"""Small simulated worlds for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from harness.simulation.delays import Delays
from harness.simulation.process import Process
from harness.simulation.world import World

FIXED = Delays(low_ns=1_000_000, high_ns=1_000_001, slow_per_1024=0)


def world(*machines: str, seed: object = 1, **given: Any) -> World:
    """Return a world of machines (default: a and b) and a client host c1; the latency is 1 ms."""
    made = World(seed, delays=given.pop("delays", FIXED), **given)
    for name in machines or ("a", "b"):
        made.add_machine(name)
    made.add_client_host("c1")
    return made


def start(w: World, name: str, main: Callable[[Any], Coroutine[Any, Any, None]]) -> Process:
    return w.start(name, w.machines[name], main)


def seconds(w: World) -> float:
    """Return the virtual time since the start of the world."""
    return (w.loop.now_ns - 1000 * 10**9) / 1e9


class Echo(asyncio.Protocol):
    """Echoes every byte, and records what it received and how it ended."""

    made: list[Echo]

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[Exception | None] = []
        self.eof = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.transport.write(data)

    def eof_received(self) -> bool:
        self.eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Sink(Echo):
    """Reads bytes and answers nothing."""

    def data_received(self, data: bytes) -> None:
        self.data += data


def server(protocol: type[Echo], made: list[Echo]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return a main function that accepts connections and adds their protocols to `made`."""

    def factory() -> Echo:
        made.append(protocol())
        return made[-1]

    async def main(host: Any) -> None:
        await (await host.serve(factory)).serve_forever()

    return main


async def connect(
    w: World, protocol: type[Echo] = Sink, name: str = "a", source: str = "c1"
) -> Any:
    """Connect from the harness, and return the protocol."""
    _, made = await w.loop.create_connection(protocol, f"{name}@{source}", 6379)
    return made
