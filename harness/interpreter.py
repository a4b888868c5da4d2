"""Runs the operations of generators on workers and the nemesis, and records the history.

It uses one asyncio loop, and no clock or randomness of its own: `now` and the streams are passed
in, so the same code runs on virtual time. A worker that completes an operation asks the generator
at once; there is no scheduler task in between. The next free worker is drawn from the stream
`workers`; its operation, from the worker's own stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Protocol

from harness.generators import Context, Generator, Later, Nothing
from harness.history.operations import NEMESIS, Op, unclassified


class Invoker(Protocol):
    """Performs operations: a client of the system under test, or the nemesis."""

    async def invoke(self, op: Op, /) -> Op:
        """Perform an invocation; return its completion: the same operation as ok, fail or info.

        It takes a bounded time, and never performs an operation twice.
        """
        ...

    async def close(self) -> None: ...


# Creates the client of a worker, and a new one in place of a client that crashed.
NewClient = Callable[[int], Invoker]
Stream = Callable[[str], random.Random]


class GeneratorStuck(Exception):
    """A generator waits for a completion although no operation is outstanding."""


class Lane:
    """A generator and its workers. `all`, `free`: bit sets of workers."""

    def __init__(self, generator: Generator, workers: range) -> None:
        self.generator = generator
        self.all = sum(1 << w for w in workers)
        self.free = self.all
        self.exhausted = False
        self.timer: asyncio.TimerHandle | None = None


class Interpreter:
    """Runs the generators of the clients and of the nemesis concurrently, until both are exhausted.
    Each invocation and completion is passed to `record`, in order."""

    def __init__(
        self,
        generator: Generator,
        concurrency: int,
        new_client: NewClient,
        nemesis: Invoker,
        *,
        faults: Generator | None = None,
        record: Callable[[Op], None],
        now: Callable[[], int],
        stream: Stream,
        first_index: int = 0,
        first_process: int = 0,
    ) -> None:
        """`faults`: the generator of the nemesis. `now`: returns the nanoseconds since the start of
        the run. `stream`: returns the random stream of a name. `first_process`: a multiple of the
        number of clients, so that a second interpreter in one run uses fresh processes."""
        self._clients = Lane(generator, range(concurrency))
        self._nemesis = Lane(faults or Nothing(), range(concurrency, concurrency + 1))
        self._invokers = [*(new_client(worker) for worker in range(concurrency)), nemesis]
        self._new_client = new_client
        self._concurrency = concurrency
        self._record = record
        self._now = now
        self._choice = stream("workers")
        self._streams = [stream(f"client/{worker}") for worker in range(concurrency)]
        self._streams.append(stream("nemesis"))
        self.index = first_index
        # The current process of each worker; the nemesis is the last worker.
        self.processes: list[int | str] = [first_process + i for i in range(concurrency)]
        self.processes.append(NEMESIS)
        # Per worker: the future on which it waits, or an operation dispatched while it does not.
        self._inbox: list[asyncio.Future[Op] | None] = [None] * len(self._invokers)
        self._given: list[Op | None] = [None] * len(self._invokers)
        self._finished: asyncio.Future[None] | None = None

    @property
    def faults_left(self) -> Generator:
        """The generator of the faults that have not been injected."""
        return self._nemesis.generator

    async def run(self) -> None:
        """Run until both generators are exhausted and every operation has completed."""
        self._finished = asyncio.get_running_loop().create_future()
        workers = [asyncio.create_task(self._work(w)) for w in range(len(self._invokers))]
        for worker in workers:
            worker.add_done_callback(self._worker_ended)
        try:
            self._pump(self._clients)
            self._pump(self._nemesis)
            await self._finished
        finally:
            for lane in (self._clients, self._nemesis):
                if lane.timer is not None:
                    lane.timer.cancel()
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for invoker in self._invokers[: self._concurrency]:
                await invoker.close()

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._finished is None or self._finished.done():
            return
        error = task.exception()
        if error is not None:
            self._finished.set_exception(error)

    def _context(self, lane: Lane, worker: int, time: int) -> Context:
        return Context(
            time,
            worker,
            self.processes[worker],
            self._streams[worker],
            lane.free,
            lane.all,
            self._concurrency,
        )

    # --- dispatching operations

    def _pump(self, lane: Lane) -> None:
        """Dispatch operations until the generator has none for any free worker."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        assert self._finished is not None
        while lane.free and not lane.exhausted and not self._finished.done():
            if not self._dispatch_next(lane):
                break
        if lane.exhausted:
            self._finish_if_done()

    def _dispatch_next(self, lane: Lane) -> bool:
        """Dispatch one operation; return False if the generator has none now."""
        left, waits = lane.free, None
        while left:
            worker = self._choose(left)
            left &= ~(1 << worker)
            time = self._now()
            ctx = self._context(lane, worker, time)
            step = lane.generator.next(ctx)
            if step is None:
                lane.exhausted = True
                return False
            answer, lane.generator = step
            if isinstance(answer, Op):
                self._dispatch(lane, worker, answer, time)
                return True
            if isinstance(answer, Later):
                waits = answer.time if waits is None else min(waits, answer.time)
                if answer.everyone:
                    break
        if waits is not None:
            loop = asyncio.get_running_loop()
            lane.timer = loop.call_later((waits - self._now()) / 1e9, self._on_timer, lane)
        elif lane.free == lane.all:
            raise GeneratorStuck(repr(lane.generator)[:500])
        return False

    def _choose(self, free: int) -> int:
        """Draw one of a set of workers, so that a low rate does not always use the same one."""
        if free & (free - 1) == 0:
            return free.bit_length() - 1
        shift = self._choice.randrange(free.bit_length())
        rotated = free >> shift
        return shift + (rotated & -rotated).bit_length() - 1

    def _on_timer(self, lane: Lane) -> None:
        lane.timer = None
        try:
            self._pump(lane)
        except Exception as e:
            if self._finished is not None and not self._finished.done():
                self._finished.set_exception(e)

    def _dispatch(self, lane: Lane, worker: int, op: Op, time: int) -> None:
        lane.free &= ~(1 << worker)
        op.index = self._next_index()
        self._record(op)
        lane.generator = lane.generator.update(self._context(lane, worker, time), op)
        inbox = self._inbox[worker]
        if inbox is not None:
            inbox.set_result(op)
        else:
            self._given[worker] = op

    def _finish_if_done(self) -> None:
        lanes = (self._clients, self._nemesis)
        assert self._finished is not None
        if not self._finished.done() and all(
            lane.exhausted and lane.free == lane.all for lane in lanes
        ):
            self._finished.set_result(None)

    def _next_index(self) -> int:
        self.index += 1
        return self.index - 1

    # --- workers

    async def _work(self, worker: int) -> None:
        lane = self._clients if worker < self._concurrency else self._nemesis
        while True:
            op = self._given[worker]
            if op is None:
                inbox = self._inbox[worker] = asyncio.get_running_loop().create_future()
                op = await inbox
                self._inbox[worker] = None
            self._given[worker] = None
            self._complete(lane, worker, await self._invoke(worker, op))
            self._pump(lane)

    async def _invoke(self, worker: int, op: Op) -> Op:
        """Perform an operation. If the client raises, the outcome is unknown and the client is
        replaced; an error of the nemesis ends the run."""
        invoker = self._invokers[worker]
        if worker == self._concurrency:
            return await invoker.invoke(op)
        try:
            return await invoker.invoke(op)
        except Exception as e:
            with contextlib.suppress(Exception):
                await invoker.close()
            self._invokers[worker] = self._new_client(worker)
            error = unclassified(f"the client crashed: {type(e).__name__}: {e}")
            return op.completed("info", error=error[:200])

    def _complete(self, lane: Lane, worker: int, op: Op) -> None:
        op.index = self._next_index()
        op.time = time = self._now()
        self._record(op)
        ctx = self._context(lane, worker, time)
        lane.free |= 1 << worker
        lane.generator = lane.generator.update(ctx, op)
        if op.type == "info" and isinstance(op.process, int):
            self.processes[worker] = op.process + self._concurrency
