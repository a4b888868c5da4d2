"""One life of one simulated process: what belongs to it, and how it stops."""

from __future__ import annotations

import random
from asyncio import Handle
from collections import deque
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness.simulation.network import Listener
    from harness.simulation.transport import Transport
    from harness.simulation.world import Machine

State = Literal["running", "paused", "dead"]

# Whose code runs: every handle, task and callback of a process carries this in its context. None
# is the harness itself: clients, nemesis, runner.
PROCESS: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


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
        self.connections: dict[int, Transport] = {}
        self.listeners: dict[int, Listener] = {}
        self.holds: list[Any] = []  # keeps what must not be collected

    def __repr__(self) -> str:
        return f"{self.name}#{self.life}"
