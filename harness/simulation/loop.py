"""An asyncio event loop on virtual time: the same seed gives the same order, everywhere.

Time is an integer number of nanoseconds. What happens outside a process (a message arrives, a
timer ends, a disk answers) is an event on one heap. Events are taken one at a time, and all that
follows at once from one event is done before the next is taken: so the order does not depend on
how many steps a version of asyncio needs for the same thing. Events of one instant on different
machines are ordered by the seed.

Whatever would reach the real machine raises `SimulationEscape` and names the call.

After FoundationDB's Flow, turmoil, madsim, and the Python packages simloop and simloom.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import math
import os
import socket
import threading
import traceback
import zlib
from asyncio import Handle, TimerHandle
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, NoReturn, Protocol

from harness.errors import EnvironmentFailed
from harness.simulation.clock import Clock
from harness.simulation.process import PROCESS, Process

NANOS = 1_000_000_000
# Not zero, so that a time is never taken for "none".
START_NS = 1000 * NANOS
COLLECT_EVERY_NS = NANOS // 2
# Bounds of one instant, and of the time in which nothing reaches the harness.
STEPS_AN_INSTANT = 1_000_000
SILENCE_NS = 3600 * NANOS
_MASK = (1 << 62) - 1
_EVER_S = 1e9
_ASYNCIO = os.path.dirname(asyncio.__file__)


class SimulationEscape(RuntimeError):
    """Simulated code reached for something of the real machine; the text names the call."""


class Deadlock(EnvironmentFailed):
    """Nothing will ever happen again, and the run has not ended."""


class Livelock(EnvironmentFailed):
    """Time stands still, or passes without anything reaching the harness."""


class Connector(Protocol):
    """The network, as the loop sees it."""

    async def connect(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]: ...

    def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], port: int
    ) -> asyncio.AbstractServer: ...

    def resolve(self, host: str) -> str: ...


class SimulatedTask(asyncio.Task[Any]):
    """A task that hashes by what it is and when it was made.

    asyncio keeps tasks in sets (TaskGroup, wait, as_completed), and iterates over them: by
    address, without this. A number would not do: versions of Python make different numbers of
    tasks and futures for the same thing. Those made at once hash alike, and keep their order.
    """

    def __init__(
        self,
        coro: Any,
        *,
        loop: SimulatedLoop,
        number: int,
        context: Context | None = None,
        **given: Any,
    ) -> None:
        self.number = number
        self.process = PROCESS.get() if context is None else context.get(PROCESS)
        self._hash = loop.now_ns ^ zlib.crc32(getattr(coro, "__qualname__", "").encode())
        super().__init__(coro, loop=loop, context=context, **given)

    def __hash__(self) -> int:
        return self._hash


class SimulatedFuture(asyncio.Future[Any]):
    """A future that hashes by when it was made."""

    def __init__(self, *, loop: SimulatedLoop) -> None:
        self._hash = loop.now_ns
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module's text."""

    def __init__(self, seed: str, clock: Clock) -> None:
        """`clock`: of the harness itself."""
        super().__init__()
        self.set_debug(False)  # slow-callback warnings would read the real clock
        self.now_ns = START_NS
        self.clock = clock
        self.network: Connector | None = None
        self.on_error: Callable[[Process, str], None] = lambda process, text: None
        self.on_system_exit: Callable[[Process, SystemExit], None] = lambda process, error: None
        self._salt = zlib.crc32(seed.encode())
        self._order: dict[str, int] = {}
        self._events: list[tuple[int, int, int, Any]] = []
        self._ready: deque[Handle] = deque()
        self._pushed = 0
        self._numbered = 0
        self._heard_ns = START_NS
        self._collect_ns = START_NS
        self._steps = 0
        self._generators: dict[int, Process | None] = {}
        self._owner = threading.get_ident()
        self._over = False

    def __del__(self) -> None:
        """One that was never run holds nothing of the machine, so there is nothing to warn of."""

    # --- time

    def _clock_of(self, process: Process | None) -> Clock:
        return self.clock if process is None else process.machine.clock

    def time(self) -> float:
        """Seconds, by the clock of the machine that asks."""
        return self._clock_of(PROCESS.get()).count(self.now_ns) / NANOS

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> TimerHandle:
        process = PROCESS.get()
        counted = self._clock_of(process).count(self.now_ns) + _nanos(delay)
        return self._timer(process, counted, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self._timer(PROCESS.get(), _nanos(when), callback, args, context)

    def _timer(
        self,
        process: Process | None,
        counted: int,
        callback: Any,
        args: tuple[Any, ...],
        context: Context | None,
    ) -> TimerHandle:
        timer = TimerHandle(counted / NANOS, callback, args, self, context)
        if self._over:
            return timer
        true = max(self.now_ns, self._clock_of(process).true(counted))
        self._push(true, "" if process is None else process.name, (timer, process, counted))
        return timer

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        return None

    def reset_timers(self, clock: Clock) -> None:
        """The rate of a clock has changed: its pending timers end at other true times."""
        changed = []
        for true, order, pushed, what in self._events:
            if type(what[0]) is TimerHandle and self._clock_of(what[1]) is clock:
                true = max(self.now_ns, clock.true(what[2]))
            changed.append((true, order, pushed, what))
        heapq.heapify(changed)
        self._events = changed

    # --- events

    def _push(self, true: int, lane: str, what: Any) -> None:
        """`lane`: whose event this is; those of one instant go by a draw from the seed."""
        order = self._order.get(lane)
        if order is None:
            order = self._order[lane] = (zlib.crc32(lane.encode(), self._salt) << 20) | 1
        self._pushed += 1
        drawn = ((true ^ order) * 0x9E3779B97F4A7C15 & _MASK) >> 20
        heapq.heappush(self._events, (true, drawn, self._pushed, what))

    def at(self, true: int, lane: str, do: Callable[..., None], *args: Any) -> None:
        """Call at a true time, outside every process: how networks and disks work."""
        self._push(max(true, self.now_ns), lane, (do, args))

    def deliver(self, process: Process | None, handle: Handle) -> None:
        """An event for a process: run it when the process gets to it."""
        if process is None:
            self._ready.append(handle)
        elif process.busy_until > self.now_ns or process.inbox:
            process.inbox.append(handle)
            if not process.waking:
                process.waking = True
                self.at(process.busy_until, process.name, self._wake, process)
        else:
            self._ready.append(handle)

    def run_now(self, handle: Handle) -> None:
        """Whatever else the process has to do: unless it is dead, or as long as it is paused."""
        self._ready.append(handle)

    def _wake(self, process: Process) -> None:
        """The process' processor is free again: one more of what waits for it."""
        process.waking = False
        if process.busy_until <= self.now_ns and process.inbox:
            self._ready.append(process.inbox.popleft())
        if process.inbox:
            process.waking = True
            self.at(process.busy_until, process.name, self._wake, process)

    def _advance(self) -> None:
        """Take the next event that makes something ready."""
        while not self._ready:
            if not self._events:
                raise Deadlock(f"nothing will ever happen again{self.tasks_by_process()}")
            true, _, _, what = heapq.heappop(self._events)
            if true > self.now_ns:
                self.now_ns = true
                self._steps = 0
                if true >= self._collect_ns:
                    self._collect_ns = true + COLLECT_EVERY_NS
                    gc.collect()
            if type(what[0]) is TimerHandle:
                if not what[0].cancelled():
                    self.deliver(what[1], what[0])
            else:
                what[0](*what[1])
            self._count_step()
            if self.now_ns - self._heard_ns > SILENCE_NS:
                self._check_silence()

    def _check_silence(self) -> None:
        """Is the harness asleep, or will it never hear anything again?"""
        self._heard_ns = self.now_ns
        for _, _, _, what in self._events:
            if type(what[0]) is TimerHandle and what[1] is None and not what[0].cancelled():
                return
        raise Livelock(
            f"nothing reached the harness for {SILENCE_NS // NANOS} s of simulated time"
            + self.tasks_by_process()
        )

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_AN_INSTANT:
            raise Livelock(
                f"time stands still at {(self.now_ns - START_NS) / 1e9:.9f} s: "
                f"{STEPS_AN_INSTANT} steps without a wait{self.tasks_by_process()}"
            )

    def _run_once(self) -> None:
        """One event and all that follows from it at once; called by `run_forever`."""
        ready = self._ready
        if not ready:
            if self._stopping:  # type: ignore[attr-defined]
                return
            self._advance()
        while ready:
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = _context(handle).get(PROCESS)
            if process is None:
                self._heard_ns = self.now_ns
            elif process.state != "running":
                process.parked.append(handle)
                continue
            try:
                handle._run()
            except SystemExit as e:  # asyncio lets it through: of a process it ends that process
                if process is None:
                    raise
                self.on_system_exit(process, e)
            self._count_step()
            if self._stopping:  # type: ignore[attr-defined]
                return

    def resume(self, process: Process) -> None:
        """What came due while the process was paused happens now."""
        parked, process.parked = process.parked, []
        for handle in parked:
            self.deliver(process, handle)

    def run_forever(self) -> None:
        """Garbage is collected at set times, not when some allocation happens to trigger it."""
        enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            super().run_forever()
        finally:
            gc.unfreeze()
            if enabled:
                gc.enable()

    def tear_down(self) -> None:
        """After the run: from here on the loop swallows what closing coroutines ask for."""
        self._over = True
        left = sorted(asyncio.all_tasks(self), key=_number)
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            process = getattr(task, "process", None)
            context = Context() if process is None else process.context
            try:
                context.run(coroutine.close)
            except BaseException:  # whatever its `finally` meets in a world that is over
                continue
        self._events.clear()
        self._ready.clear()

    # --- what asyncio asks of a loop

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        if not self._over:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Handle:
        self._write_to_self()
        return self.call_soon(callback, *args, context=context)

    def _write_to_self(self) -> None:
        if threading.get_ident() != self._owner:
            raise SimulationEscape("call_soon_threadsafe from another thread")

    def _process_events(self, event_list: object) -> None:
        return None

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        self._generators[id(agen)] = PROCESS.get()
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """An asynchronous generator that nobody holds any more is closed by whoever ran it."""
        process = self._generators.pop(id(agen), None)
        if self._over:
            return
        if process is None:
            super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]
        elif process.state == "dead":
            process.holds.append(agen)
        else:
            self.create_task(agen.aclose(), context=process.context)

    def create_future(self) -> SimulatedFuture:
        return SimulatedFuture(loop=self)

    def create_task(
        self, coro: Any, *, name: Any = None, context: Context | None = None, **given: Any
    ) -> SimulatedTask:
        """Names count up within the loop: the default ones count up within the Python process."""
        self._numbered += 1
        return SimulatedTask(
            coro,
            loop=self,
            number=self._numbered,
            name=name or f"task-{self._numbered}",
            context=context,
            **given,
        )

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **given: Any
    ) -> tuple[Any, Any]:
        _only_plain("create_connection", given)
        assert self.network is not None
        return await self.network.connect(protocol_factory, host, port)

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Any, host: Any = None, port: Any = None, **given: Any
    ) -> asyncio.AbstractServer:
        _only_plain("create_server", given)
        assert self.network is not None
        return self.network.listen(protocol_factory, port)

    async def getaddrinfo(self, host: Any, port: Any, **given: Any) -> list[Any]:
        assert self.network is not None
        address = (self.network.resolve(host), port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> NoReturn:
        raise SimulationEscape(f"loop.run_in_executor (a thread) for {func!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """What a process let fall goes to its log; the harness' own to the usual place."""
        if self._over:
            return
        process = _process_of(context)
        if process is None:
            super().default_exception_handler(context)
            return
        error = context.get("exception")
        text = str(context.get("message", "unhandled error"))
        if error is not None:
            text += "\n" + "".join(traceback.format_exception(error)).rstrip()
        self.on_error(process, text)

    def tasks_by_process(self) -> str:
        """Every task that waits, by process, with the line at which it does."""
        lines: dict[str, list[str]] = {}
        for task in sorted(asyncio.all_tasks(self), key=_number):
            process = getattr(task, "process", None)
            whose = "harness" if process is None else f"{process!r} ({process.state})"
            lines.setdefault(whose, []).append(_where(task))
        told = [f"{whose}: {', '.join(tasks)}" for whose, tasks in lines.items()]
        return "; waiting are " + "; ".join(told) if told else ""


def _nanos(seconds: float) -> int:
    """Rounded up: a timer never ends early. For ever is some thirty years."""
    return math.ceil(min(seconds, _EVER_S) * NANOS)


def _context(handle: Handle) -> Context:
    found: Context = handle._context  # type: ignore[attr-defined]
    return found


def _number(task: asyncio.Task[Any]) -> int:
    return task.number if isinstance(task, SimulatedTask) else 0


def _process_of(context: dict[str, Any]) -> Process | None:
    for name in ("task", "future"):
        process = getattr(context.get(name), "process", None)
        if process is not None:
            return process  # type: ignore[no-any-return]
    handle = context.get("handle")
    if handle is not None:
        return _context(handle).get(PROCESS)
    return PROCESS.get()


def _where(task: asyncio.Task[Any]) -> str:
    """`name at file:line`, of the innermost frame that is not asyncio's own."""
    coroutine: Any = task.get_coro()
    where = ""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        file = frame.f_code.co_filename
        if not where or os.path.dirname(file) != _ASYNCIO:
            where = f" at {os.path.basename(file)}:{frame.f_lineno}"
        coroutine = coroutine.cr_await
    return task.get_name() + where


def _only_plain(call: str, given: dict[str, Any]) -> None:
    for name in ("ssl", "sock"):
        if given.get(name):
            raise SimulationEscape(f"loop.{call} with {name}=")


def _refusal(name: str) -> Any:
    def refuse(self: Any, *args: Any, **given: Any) -> NoReturn:
        raise SimulationEscape(f"loop.{name}")

    return refuse


for _name in (
    "add_reader",
    "add_writer",
    "remove_reader",
    "remove_writer",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_sendall",
    "sock_sendto",
    "sock_sendfile",
    "sock_connect",
    "sock_accept",
    "sendfile",
    "start_tls",
    "connect_accepted_socket",
    "create_datagram_endpoint",
    "create_unix_connection",
    "create_unix_server",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
    "add_signal_handler",
    "remove_signal_handler",
    "set_default_executor",
    "getnameinfo",
):
    setattr(SimulatedLoop, _name, _refusal(_name))
