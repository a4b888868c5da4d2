"""The simulated world: machines, the processes on them, and faults of both.

Each process is addressed by its name. Client hosts and the operator have names too: the harness
connects from one of them (`n1@c2`: to n1, from c2). Grudges use the same names.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.errors import EnvironmentFailed
from harness.host import Address
from harness.simulation.clock import Clock
from harness.simulation.delays import Delays
from harness.simulation.disk import SimulatedDisk
from harness.simulation.loop import START_NS, SimulatedLoop
from harness.simulation.network import SimulatedNetwork
from harness.simulation.process import Listener, Machine, Process
from harness.simulation.sandbox import sandbox
from harness.simulation.trace import Trace

EPOCH_NS = 1_767_225_600 * 10**9 - START_NS  # worlds begin on 2026-01-01
PORT = 6379
OPERATOR = "operator"
SERVICE_NS = 20_000
Main = Callable[[Any], Coroutine[Any, Any, None]]


class SimulatedHost:
    """Implements `harness.host.Host` for one simulated process."""

    def __init__(self, world: World, process: Process, disk: SimulatedDisk) -> None:
        self.name = process.name
        self.rng = process.rng
        self.disk = disk
        self._world = world
        self._process = process

    def wall_ns(self) -> int:
        return self._process.machine.clock.wall(self._world.loop.now_ns)

    def lease_ns(self) -> int:
        return self._process.machine.clock.count(self._world.loop.now_ns)

    def address(self, process: str) -> Address:
        if process not in self._world.places:
            raise KeyError(process)
        return process, PORT

    async def serve(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.AbstractServer:
        return await self._world.loop.create_server(factory, "0.0.0.0", PORT)

    def charge(self, commands: int) -> None:
        process = self._process
        busy = max(process.busy_until, self._world.loop.now_ns)
        process.busy_until = busy + commands * self._world.service_ns

    def spent_ns(self) -> int:
        return max(self._process.busy_until, self._world.loop.now_ns)

    def log(self, text: str) -> None:
        self._world.log(self._process, text)


class World:
    """The machines of one simulation, with their event loop, network, disks and trace.

    `on_log` is called with (process, text), `on_exit` with (process, exit code, whether the
    harness ended it).
    """

    def __init__(
        self,
        seed: object,
        *,
        delays: Delays | None = None,
        service_ns: int = SERVICE_NS,
        trace: Trace | None = None,
    ) -> None:
        """`service_ns`: the time that a server needs for one command."""
        self.seed = str(seed)
        self.service_ns = service_ns
        self.trace = trace or Trace()
        self.loop = SimulatedLoop(self.seed, Clock(EPOCH_NS))
        self.network = SimulatedNetwork(self.loop, self, delays or Delays(), self.seed, self.trace)
        self.loop.network = self.network
        self.loop.on_error = self.log
        self.loop.on_system_exit = self._exited
        self.machines: dict[str, Machine] = {}
        self.places: dict[str, Machine] = {}  # by the name of the process
        self.on_log: Callable[[Process, str], None] = lambda process, text: None
        self.on_exit: Callable[[Process, int, bool], None] = lambda process, code, expected: None
        self._sources: dict[str, str] = {}  # the client hosts' IP addresses
        self._disks: dict[str, SimulatedDisk] = {}
        self._lives: dict[str, int] = {}
        self._dead: list[Process] = []

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run until `main` returns, then tear the world down; return the result of `main`."""
        try:
            with sandbox(self.loop, self.seed), _interruptible() as interrupts:
                task = self.loop.create_task(main, name="harness")
                interrupts.append(task)
                try:
                    return self.loop.run_until_complete(task)
                except asyncio.CancelledError:
                    if len(interrupts) > 1:
                        raise KeyboardInterrupt from None
                    raise
                finally:
                    self.trace.seal()
                    self.on_log = lambda process, text: None
                    self.on_exit = lambda process, code, expected: None
                    self.network.tear_down()
                    self.loop.tear_down()
                    self.loop.close()
        finally:
            self.trace.close()

    # --- machines

    def add_machine(self, name: str) -> Machine:
        machine = self.machines[name] = Machine(
            name, f"10.0.0.{len(self.machines) + 1}", Clock(EPOCH_NS)
        )
        return machine

    def add_client_host(self, name: str) -> None:
        """Add a host from which the harness' clients can connect."""
        self._sources[name] = f"10.0.1.{len(self._sources) + 1}"

    def machine_powered(self, name: str) -> bool:
        machine = self.places.get(name)
        return machine is None or machine.powered

    def ip(self, name: str) -> str:
        """Return the IP address of a process' machine, a client host or the operator; raises
        gaierror."""
        machine = self.places.get(name)
        if machine is not None:
            return machine.ip
        if name in self._sources or name == OPERATOR:
            return self._sources.get(name, "10.0.2.1")
        raise socket.gaierror(socket.EAI_NONAME, f"no simulated host is called {name!r}")

    def listener(self, name: str, port: int) -> Listener | None:
        machine = self.places.get(name)
        process = None if machine is None else machine.processes.get(name)
        return None if process is None else process.listeners.get(port)

    def process_at(self, host: str, port: int) -> str:
        """Return the name of the process at a host and port; `host`: its name or IP address."""
        if host in self.places:
            return host
        for name, machine in self.places.items():
            if machine.ip == host and self.listener(name, port) is not None:
                return name
        return next((n for n, m in self.places.items() if m.ip == host), host)

    def note(self, what: str) -> None:
        self.trace.add(self.loop.now_ns - START_NS, what)

    def log(self, process: Process, text: str) -> None:
        """Log a text of a process. The trace gets only its last line: the other lines of a
        traceback differ between versions of Python."""
        self.note(f"log {process.name} {text.strip().splitlines()[-1] if text.strip() else ''}")
        self.on_log(process, text)

    # --- processes

    def start(self, name: str, machine: Machine, main: Main) -> Process:
        """Start `main(host)` as a process of a machine, which is powered on if it was off.

        Raises `EnvironmentFailed` if the process is already running.
        """
        running = machine.processes.get(name)
        if running is not None and running.state != "dead":
            raise EnvironmentFailed(f"{name} is already running")
        if not machine.powered:
            machine.powered = True
            names = [n for n, m in self.places.items() if m is machine]
            self.note(f"boot {machine.name}")
            self.network.boot(names)
        self.places[name] = machine
        life = self._lives[name] = self._lives.get(name, 0) + 1
        process = machine.processes[name] = Process(name, machine, life, self.seed)
        host = SimulatedHost(self, process, self.disk(name))
        self.note(f"start {process!r}")
        task = self.loop.create_task(main(host), name=f"{name}/main", context=process.context)
        process.holds.append(task)
        task.add_done_callback(lambda done: self._ended(process, done))
        return process

    def disk(self, name: str) -> SimulatedDisk:
        """Return the disk of a process; it outlives the process."""
        if name not in self._disks:
            rng = random.Random(f"{self.seed}/disk/{name}")
            self._disks[name] = SimulatedDisk(
                self.loop, name, rng, lambda what: self.note(f"disk {name} {what}")
            )
        return self._disks[name]

    def kill(self, process: Process) -> None:
        """SIGKILL a process: its code stops, and its machine's kernel resets its connections."""
        if process.state == "dead":
            return
        self.note(f"kill {process!r}")
        self._mark_dead(process, silent=False)
        self.on_exit(process, -signal.SIGKILL, True)

    def power_off(self, machine: Machine) -> None:
        """Stop a machine's processes and kernel: no connection is closed, and writes that were not
        synced may be lost."""
        self.note(f"power off {machine.name}")
        for process in machine.alive():
            self._mark_dead(process, silent=True)
            self.on_exit(process, -signal.SIGKILL, True)
        machine.powered = False
        for name, place in self.places.items():
            if place is machine:
                self.note(f"disk {name} lost {self.disk(name).power_cut() or 'nothing'}")

    def pause(self, process: Process) -> None:
        """SIGSTOP a process: the kernel still accepts its connections and receives its bytes."""
        if process.state == "running":
            self.note(f"pause {process!r}")
            process.state = "paused"

    def resume(self, process: Process) -> None:
        """SIGCONT a process."""
        if process.state == "paused":
            self.note(f"resume {process!r}")
            process.state = "running"
            self.loop.resume(process)

    # --- clocks

    def drift(self, machine: Machine, ppm: int) -> None:
        self.note(f"clock {machine.name} drifts {ppm} ppm")
        machine.clock.drift(self.loop.now_ns, ppm)
        self.loop.reset_timers(machine.clock)

    def jump(self, machine: Machine, ns: int) -> None:
        self.note(f"clock {machine.name} jumps {ns} ns")
        machine.clock.jump(ns)

    def cut(self, flows: Iterable[tuple[str, str]]) -> None:
        self.network.cut(flows)

    def _mark_dead(self, process: Process, *, silent: bool) -> None:
        """`silent`: its kernel is dead too, and resets no connections."""
        process.state = "dead"
        self._dead.append(process)
        process.holds += [
            t for t in asyncio.all_tasks(self.loop) if getattr(t, "process", None) is process
        ]
        self.network.kill(process, silent=silent)

    def _ended(self, process: Process, task: asyncio.Task[None]) -> None:
        """End a process whose `main` has returned, with exit code 0, or raised, with 1."""
        if process.state == "dead":
            return
        error = None if task.cancelled() else task.exception()
        if isinstance(error, SystemExit):
            self._exited(process, error)
            return
        if error is not None or task.cancelled():
            self.loop.call_exception_handler(
                {"message": f"{process.name} ended", "exception": error, "task": task}
            )
            self._exit(process, 1)
            return
        self._exit(process, 0)

    def _exited(self, process: Process, error: SystemExit) -> None:
        """End a process after `sys.exit` in any of its tasks or callbacks. A text is logged, as a
        real process prints it, and the code is 1."""
        if isinstance(error.code, str):
            self.log(process, error.code)
        self._exit(process, error.code if isinstance(error.code, int) else int(bool(error.code)))

    def _exit(self, process: Process, code: int) -> None:
        if process.state == "dead":
            return
        self.note(f"exit {process!r} {code}")
        self._mark_dead(process, silent=False)
        self.on_exit(process, code, False)


@contextmanager
def _interruptible() -> Iterator[list[asyncio.Task[Any]]]:
    """Yield a list: Ctrl-C cancels the task that was appended to it, and appends it once more, so
    that the caller can tell."""
    tasks: list[asyncio.Task[Any]] = []

    def cancel(number: int, frame: object) -> None:
        if len(tasks) == 1:
            tasks.append(tasks[0])
            tasks[0].cancel()
        else:
            raise KeyboardInterrupt

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, cancel)
    try:
        yield tasks
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
