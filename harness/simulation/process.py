"""A simulated machine, and one life of one process on it: what belongs to it, how it stops."""

from __future__ import annotations

import random
from asyncio import Handle
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from harness.simulation.clock import Clock

State = Literal["running", "paused", "dead"]

# Whose code runs: every handle, task and callback of a process carries this in its context. None
# is the harness itself: clients, nemesis, runner.
PROCESS: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


class Machine:
    """What processes share: power, a clock, an IP address."""

    def __init__(self, name: str, ip: str, clock: Clock) -> None:
        self.name = name
        self.ip = ip
        self.clock = clock
        self.powered = True
        self.processes: dict[str, Process] = {}

    def alive(self) -> list[Process]:
        return [p for p in self.processes.values() if p.state != "dead"]


@dataclass
class Listener:
    """Who accepts connections on a port of a machine."""

    process: Process
    factory: Callable[[], Any]
    context: Context


class Process:
    """From its start to its end. A restart makes a new one of the same name.

    A dead process' tasks and handles are kept, unrun, until the world is torn down: dropping the
    last reference to a suspended coroutine would run its `finally`.
    """

    def __init__(self, name: str, machine: Machine, life: int, seed: str) -> None:
        self.name = name
        self.machine = machine
        self.life = life
        self.rng = random.Random(f"{seed}/process/{name}/{life}")
        self.entropy = random.Random(f"{seed}/entropy/{name}/{life}")
        self.state: State = "running"
        self.context = Context()
        self.context.run(PROCESS.set, self)
        self.parked: list[Handle] = []  # what came due while it was paused, or dead
        self.inbox: deque[Handle] = deque()  # what waits for its processor
        self.busy_until = 0
        self.waking = False
        self.connections: dict[int, Any] = {}  # transports, by number
        self.listeners: dict[int, Listener] = {}
        self.holds: list[Any] = []  # keeps what must not be collected

    def __repr__(self) -> str:
        return f"{self.name}#{self.life}"
