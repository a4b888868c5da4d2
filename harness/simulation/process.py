"""Simulated machines, and the processes that run on them."""

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

# The process whose code is running: every handle, task and callback of a process has it in its
# context. None stands for the harness itself: clients, nemesis, runner.
PROCESS: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


class Machine:
    """A machine: its processes share its power, clock and IP address."""

    def __init__(self, name: str, ip: str, clock: Clock) -> None:
        self.name = name
        self.ip = ip
        self.clock = clock
        self.powered = True
        self.processes: dict[str, Process] = {}

    def alive(self) -> list[Process]:
        """Return the processes that are running or paused."""
        return [p for p in self.processes.values() if p.state != "dead"]


@dataclass
class Listener:
    """A port on which a process accepts connections, with the protocol factory to call."""

    process: Process
    factory: Callable[[], Any]
    context: Context


class Process:
    """A process from its start to its end. A restart creates a new one with the same name and the
    next `life`.

    A dead process' tasks and handles are kept, but not run, until the world is torn down: dropping
    the last reference to a suspended coroutine would run its `finally` blocks.
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
        self.parked: list[Handle] = []  # became ready while it was paused or dead
        self.inbox: deque[Handle] = deque()  # waiting for its processor
        self.busy_until = 0
        self.waking = False
        self.connections: dict[int, Any] = {}  # transports, by number
        self.listeners: dict[int, Listener] = {}
        self.holds: list[Any] = []  # references that prevent garbage collection

    def __repr__(self) -> str:
        return f"{self.name}#{self.life}"
