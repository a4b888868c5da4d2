"""An asyncio event loop on virtual time: the same seed gives the same order of events everywhere.

Time is an integer number of nanoseconds. Everything that starts outside a process (a message
arrives, a timer fires, a disk operation completes) is an event on one heap. Events are processed
one at a time, each with all the callbacks that it makes ready: so the order does not depend on
how many loop steps a version of asyncio needs for the same operation. Simultaneous events of
different processes and disks are ordered by a draw from the seed.

A call that would reach the real machine raises `SimulationEscape`, which names the call.

Modelled on FoundationDB's Flow, turmoil, madsim, and the Python packages simloop and simloom.
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
# It is not zero, so that no time is falsy.
START_NS = 1000 * NANOS
COLLECT_EVERY_NS = NANOS // 2
# Limits of the livelock checks: steps in one instant, and time without a callback of the harness.
STEPS_PER_INSTANT_MAX = 1_000_000
LIVELOCK_NS = 3600 * NANOS
_MASK = (1 << 62) - 1
_TIMER_S_MAX = 1e9
_ASYNCIO = os.path.dirname(asyncio.__file__)


class SimulationEscape(RuntimeError):
    """Simulated code tried to use the real machine; the message names the call."""


class Deadlock(EnvironmentFailed):
    """No event is pending, and the run has not ended."""


class Livelock(EnvironmentFailed):
    """Virtual time does not advance, or advances without any event that reaches the harness."""


class Connector(Protocol):
    """The network interface that the loop uses."""

    async def connect(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]: ...

    def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], port: int
    ) -> asyncio.AbstractServer: ...

    def resolve(self, host: str) -> str: ...


class SimulatedTask(asyncio.Task[Any]):
    """A task whose hash depends on its coroutine's name and its time of creation.

    asyncio keeps tasks in sets (TaskGroup, wait, as_completed) and iterates over them, by default
    in the order of their addresses. A serial number would not be reproducible: versions of Python
    create different numbers of tasks and futures for the same operation. Tasks created in the same
    instant by the same function have equal hashes, and keep their order of insertion.
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
    """A future whose hash is its time of creation."""

    def __init__(self, *, loop: SimulatedLoop) -> None:
        self._hash = loop.now_ns
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash


class SimulatedLoop(asyncio.BaseEventLoop):
    """The event loop of one simulated world; the module docstring describes its order of events."""

    def __init__(self, seed: str, clock: Clock) -> None:
        """`clock`: the clock of the harness itself."""
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
        """Suppress asyncio's warning of an unclosed loop: it owns nothing of the real machine."""

    # --- time

    def _clock_of(self, process: Process | None) -> Clock:
        return self.clock if process is None else process.machine.clock

    def time(self) -> float:
        """Return the seconds on the monotonic clock of the caller's machine, or of the harness."""
        return self._clock_of(PROCESS.get()).count(self.now_ns) / NANOS

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> TimerHandle:
        process = PROCESS.get()
        deadline = self._clock_of(process).count(self.now_ns) + _nanos(delay)
        return self._timer(process, deadline, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self._timer(PROCESS.get(), _nanos(when), callback, args, context)

    def _timer(
        self,
        process: Process | None,
        deadline: int,
        callback: Any,
        args: tuple[Any, ...],
        context: Context | None,
    ) -> TimerHandle:
        """`deadline`: in nanoseconds on the monotonic clock of the process' machine."""
        timer = TimerHandle(deadline / NANOS, callback, args, self, context)
        if self._over:
            return timer
        true = max(self.now_ns, self._clock_of(process).true(deadline))
        self._push(true, "" if process is None else process.name, (timer, process, deadline))
        return timer

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        return None

    def reset_timers(self, clock: Clock) -> None:
        """Recompute the true times of a clock's pending timers, after its drift has changed."""
        changed = []
        for true, order, pushed, what in self._events:
            if type(what[0]) is TimerHandle and self._clock_of(what[1]) is clock:
                true = max(self.now_ns, clock.true(what[2]))
            changed.append((true, order, pushed, what))
        heapq.heapify(changed)
        self._events = changed

    # --- events

    def _push(self, true: int, lane: str, what: Any) -> None:
        """`lane`: the process or disk of the event. Lanes with events at the same time are ordered
        by a draw from the seed."""
        order = self._order.get(lane)
        if order is None:
            order = self._order[lane] = (zlib.crc32(lane.encode(), self._salt) << 20) | 1
        self._pushed += 1
        # Fibonacci hashing: the factor is 2**64 divided by the golden ratio.
        drawn = ((true ^ order) * 0x9E3779B97F4A7C15 & _MASK) >> 20
        heapq.heappush(self._events, (true, drawn, self._pushed, what))

    def at(self, true: int, lane: str, do: Callable[..., None], *args: Any) -> None:
        """Call `do(*args)` at a true time, outside every process: for networks and disks."""
        self._push(max(true, self.now_ns), lane, (do, args))

    def deliver(self, process: Process | None, handle: Handle) -> None:
        """Run a handle of a process when its processor is free; the harness (None) always is."""
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
        """Run a handle even if its process is busy (but not while it is paused, or dead)."""
        self._ready.append(handle)

    def _wake(self, process: Process) -> None:
        """Take the next handle of the inbox, now that the process' processor is free."""
        process.waking = False
        if process.busy_until <= self.now_ns and process.inbox:
            self._ready.append(process.inbox.popleft())
        if process.inbox:
            process.waking = True
            self.at(process.busy_until, process.name, self._wake, process)

    def _advance(self) -> None:
        """Process events until one of them makes a handle ready."""
        while not self._ready:
            if not self._events:
                raise Deadlock(f"deadlock: no event is pending{self.tasks_by_process()}")
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
            if self.now_ns - self._heard_ns > LIVELOCK_NS:
                self._check_silence()

    def _check_silence(self) -> None:
        """Raise `Livelock` unless the harness is waiting for a timer of its own."""
        self._heard_ns = self.now_ns
        for _, _, _, what in self._events:
            if type(what[0]) is TimerHandle and what[1] is None and not what[0].cancelled():
                return
        raise Livelock(
            f"nothing reached the harness for {LIVELOCK_NS // NANOS} s of simulated time"
            + self.tasks_by_process()
        )

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_PER_INSTANT_MAX:
            raise Livelock(
                f"time stands still at {(self.now_ns - START_NS) / 1e9:.9f} s: "
                f"{STEPS_PER_INSTANT_MAX} steps in one instant{self.tasks_by_process()}"
            )

    def _run_once(self) -> None:
        """Process one event and all handles that it makes ready; called by `run_forever`."""
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
            except SystemExit as e:  # asyncio re-raises it; it ends only the process that raised it
                if process is None:
                    raise
                self.on_system_exit(process, e)
            self._count_step()
            if self._stopping:  # type: ignore[attr-defined]
                return

    def resume(self, process: Process) -> None:
        """Deliver the handles that became ready while the process was paused."""
        parked, process.parked = process.parked, []
        for handle in parked:
            self.deliver(process, handle)

    def run_forever(self) -> None:
        """Run the loop, with garbage collection at fixed virtual times and never by allocations."""
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
        """Close all coroutines after the run; from here on the loop ignores calls and timers."""
        self._over = True
        left = sorted(asyncio.all_tasks(self), key=_number)
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            process = getattr(task, "process", None)
            context = Context() if process is None else process.context
            try:
                context.run(coroutine.close)
            except BaseException:  # its `finally` blocks may fail in a world that has ended
                continue
        self._events.clear()
        self._ready.clear()

    # --- the interface that asyncio uses

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
        """Close an unreferenced asynchronous generator in the process that iterated over it."""
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
        """Number default names within the loop: asyncio's count is shared by all loops."""
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
        """Log a process' unhandled error in its log; report the harness' own as asyncio does."""
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
        """Return a suffix for an error message: the pending tasks by process, each with the line
        where it waits."""
        lines: dict[str, list[str]] = {}
        for task in sorted(asyncio.all_tasks(self), key=_number):
            process = getattr(task, "process", None)
            whose = "harness" if process is None else f"{process!r} ({process.state})"
            lines.setdefault(whose, []).append(_where(task))
        parts = [f"{whose}: {', '.join(tasks)}" for whose, tasks in lines.items()]
        return "; waiting tasks: " + "; ".join(parts) if parts else ""


def _nanos(seconds: float) -> int:
    """Convert to nanoseconds, rounded up: a timer never fires early. The maximum is 31 years."""
    return math.ceil(min(seconds, _TIMER_S_MAX) * NANOS)


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
    """Return `name at file:line` for the innermost frame that is not asyncio's own."""
    coroutine: Any = task.get_coro()
    where = ""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        file = frame.f_code.co_filename
        if not where or os.path.dirname(file) != _ASYNCIO:
            where = f" at {os.path.basename(file)}:{frame.f_lineno}"
        coroutine = coroutine.cr_await
    return task.get_name() + where


def _only_plain(call: str, given: dict[str, Any]) -> None:
    """Raise `SimulationEscape` for TLS or for a socket that is passed in."""
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
