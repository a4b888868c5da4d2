"""Generator x workers x nemesis -> history.

One asyncio loop, no clock and no randomness of its own: `now` and `rng` are passed in, so the same
code runs on virtual time. A worker that completes an operation asks the generator at once; there
is no scheduler task in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Protocol

from harness.generators import SLEEP, Context, Generator
from harness.history import NEMESIS, Op


class Invoker(Protocol):
    """Whatever performs operations: a client of the system under test, or the nemesis."""

    async def invoke(self, op: Op, /) -> Op:
        """The completion of an invocation: the same operation as ok, fail or info.

        Bounded in time, and never performs an operation twice.
        """
        ...

    async def close(self) -> None: ...


# Makes the client of a worker; a client that crashed is replaced by a new one.
NewClient = Callable[[int], Invoker]


class GeneratorStuck(Exception):
    """A generator waits for a completion although no operation is outstanding."""


class Interpreter:
    """Runs a generator to its end; each operation goes to `record`, in order."""

    def __init__(
        self,
        generator: Generator,
        concurrency: int,
        new_client: NewClient,
        nemesis: Invoker,
        *,
        record: Callable[[Op], None],
        now: Callable[[], int],
        rng: random.Random,
        first_index: int = 0,
        first_process: int = 0,
    ) -> None:
        """`now`: nanoseconds since the start of the run. `first_process`: a multiple of the
        number of clients, so that a second interpreter in one run uses fresh processes."""
        self._generator = generator
        self._invokers = [*(new_client(worker) for worker in range(concurrency)), nemesis]
        self._new_client = new_client
        self._concurrency = concurrency
        self._record = record
        self._now = now
        self._rng = rng
        self.index = first_index
        self.processes: list[int | str] = [first_process + i for i in range(concurrency)]
        self.processes.append(NEMESIS)
        self._all = (1 << len(self._invokers)) - 1
        self._free = self._all
        self._inbox: list[asyncio.Future[Op] | None] = [None] * len(self._invokers)
        self._given: list[Op | None] = [None] * len(self._invokers)
        self._timer: asyncio.TimerHandle | None = None
        self._finished: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Until the generator is exhausted and every operation has completed."""
        self._finished = asyncio.get_running_loop().create_future()
        workers = [asyncio.create_task(self._work(w)) for w in range(len(self._invokers))]
        for worker in workers:
            worker.add_done_callback(self._worker_ended)
        try:
            self._pump()
            await self._finished
        finally:
            if self._timer is not None:
                self._timer.cancel()
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

    def _context(self) -> Context:
        return Context(self._now(), self._free, self._all, self.processes, self._rng)

    def _pump(self) -> None:
        """Hand out operations until the generator has none that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        assert self._finished is not None
        while self._free and not self._finished.done():
            ctx = self._context()
            step = self._generator.next(ctx)
            if step is None:
                if self._free == self._all:
                    self._finished.set_result(None)
                return
            op, after = step
            if not isinstance(op, Op):
                self._generator = after
                if self._free == self._all:
                    raise GeneratorStuck(repr(after)[:500])
                return
            if op.time > ctx.time:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later((op.time - ctx.time) / 1e9, self._on_timer)
                return
            self._generator = after
            self._dispatch(op, ctx)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._pump()
        except Exception as e:
            if self._finished is not None and not self._finished.done():
                self._finished.set_exception(e)

    def _dispatch(self, op: Op, ctx: Context) -> None:
        worker = ctx.worker_of(op.process)
        self._free &= ~(1 << worker)
        op.time = ctx.time
        if op.f != SLEEP:
            op.index = self._next_index()
            self._record(op)
            self._generator = self._generator.update(self._context(), op)
        inbox = self._inbox[worker]
        if inbox is not None:
            inbox.set_result(op)
        else:
            self._given[worker] = op

    def _next_index(self) -> int:
        self.index += 1
        return self.index - 1

    async def _work(self, worker: int) -> None:
        while True:
            op = self._given[worker]
            if op is None:
                inbox = self._inbox[worker] = asyncio.get_running_loop().create_future()
                op = await inbox
                self._inbox[worker] = None
            self._given[worker] = None
            if op.f == SLEEP:
                await asyncio.sleep(op.value / 1e9)
                self._free |= 1 << worker
            else:
                self._complete(worker, await self._invoke(worker, op))
            self._pump()

    async def _invoke(self, worker: int, op: Op) -> Op:
        """A client that crashes leaves its outcome unknown, and is replaced. The nemesis is ours:
        its errors end the run."""
        invoker = self._invokers[worker]
        if worker == self._concurrency:
            return await invoker.invoke(op)
        try:
            return await invoker.invoke(op)
        except Exception as e:
            with contextlib.suppress(Exception):
                await invoker.close()
            self._invokers[worker] = self._new_client(worker)
            error = f"unclassified: the client crashed: {type(e).__name__}: {e}"
            return op.completed("info", error=error[:200])

    def _complete(self, worker: int, op: Op) -> None:
        op.index = self._next_index()
        op.time = self._now()
        self._record(op)
        ctx = self._context()
        self._free |= 1 << worker
        self._generator = self._generator.update(ctx, op)
        if op.type == "info" and isinstance(op.process, int):
            self.processes[worker] = op.process + self._concurrency
