"""A transaction log in the simulation, and processes that only use it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from harness.simulation.delays import Delays
from harness.simulation.process import Process
from harness.simulation.world import World
from targets.memorydb_py.log.client import LogClient
from targets.memorydb_py.log.interface import ZERO, Batch, Id
from targets.memorydb_py.log.service import AzSettings, serve_az

AZS = ("az1", "az2", "az3")
MS = 1_000_000


class Logs:
    """Three AZs on machines m1 to m3; users u1, u2, ... on machines w1, w2, ... of their own."""

    def __init__(self, seed: object, users: int = 2, **given: Any) -> None:
        self.world = World(seed, delays=given.pop("delays", Delays()), **given)
        self.azs: dict[str, Process] = {}
        self.clients: dict[str, LogClient] = {}
        self.lines: list[str] = []
        self.exits: list[tuple[str, int]] = []
        self.world.on_log = lambda p, text: self.lines.append(f"{p.name} {text}")
        self.world.on_exit = lambda p, code, expected: (
            None if expected else self.exits.append((p.name, code))
        )
        for i in range(3):
            self.world.add_machine(f"m{i + 1}")
        for i in range(users):
            self.world.add_machine(f"w{i + 1}")

    def run(self, scenario: Callable[[Logs], Awaitable[None]], *, begin: bool = True) -> None:
        async def main() -> None:
            if begin:
                for az in AZS:
                    self.start(az, create=True)
                for user in [m for m in self.world.machines if m.startswith("w")]:
                    await self.user(f"u{user[1:]}", user)
            await scenario(self)

        self.world.run(main())

    def start(self, az: str, *, create: bool = False) -> None:
        async def main(host: Any) -> None:
            await serve_az(host, AzSettings(azs=AZS, create=create))

        machine = self.world.machines[f"m{az[2:]}"]
        self.azs[az] = self.world.start(az, machine, main)

    async def user(self, name: str, machine: str) -> LogClient:
        """Start a process that has only a client of the log; return the client."""

        async def main(host: Any) -> None:
            self.clients[name] = LogClient(host, AZS)
            await asyncio.Event().wait()

        self.world.start(name, self.world.machines[machine], main)
        while name not in self.clients:
            await asyncio.sleep(0.001)
        return self.clients[name]

    async def lose_azs(self, rng: random.Random, rounds: int, ways: Sequence[str]) -> None:
        """Fail one AZ at a time and restore it, by a random choice of `ways`: `kill`, `wipe`,
        `power`, `cut`, or `half` (one other AZ does not receive what it sends)."""
        for _ in range(rounds):
            await asyncio.sleep(rng.random())
            az, way = rng.choice(AZS), rng.choice(ways)
            if way == "cut":
                self.cut(az)
            elif way == "half":
                self.world.cut([(az, rng.choice([other for other in AZS if other != az]))])
            elif way == "power":
                self.world.power_off(self.azs[az].machine)
            else:
                self.world.kill(self.azs[az])
                if way == "wipe":
                    self.wipe(az)
            await asyncio.sleep(rng.random())
            self.world.cut(())
            if self.azs[az].state == "dead":
                self.start(az)
            if way == "wipe":
                await asyncio.sleep(1.5)

    def now_ms(self) -> float:
        return self.world.loop.now_ns / MS

    def leader(self) -> str:
        """Return the AZ that was the last to log that it leads the log."""
        leaders = [line.split()[0] for line in self.lines if "leads the log" in line]
        return leaders[-1]

    def wipe(self, az: str) -> None:
        """Empty the disk of an AZ, which must be dead."""
        self.world.disk(az).wipe()

    def cut(self, *names: str) -> None:
        """Cut these off from all AZs and users, in both directions; every other cut is healed."""
        everybody = [*AZS, *self.clients]
        self.world.cut(
            pair
            for name in names
            for other in everybody
            if other != name
            for pair in ((name, other), (other, name))
        )


def fail_if_trimmed(n: int) -> None:
    """Fail the test: a `trimmed` callback for a log that is never trimmed."""
    raise AssertionError(f"trimmed up to {n}")


def leadership_entry(after: Id, payload: bytes) -> Batch:
    """Return a leadership entry."""
    return Batch(after.n + 1, after.n + 1, after.n + 1, payload)


def entries(after: Id, count: int, payload: bytes = b"x") -> Batch:
    return Batch(after.epoch, after.n + 1, after.n + count, payload)


__all__ = ["AZS", "ZERO", "Logs", "entries", "fail_if_trimmed", "leadership_entry"]
