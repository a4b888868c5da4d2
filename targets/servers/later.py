"""Work that awaits the outcomes of an engine; synchronous if the engine is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

from targets.engine.protocol import Outcome

# Yields what an engine returned, and is sent the outcome.
Steps = Generator[Outcome | Awaitable[Outcome], Outcome, None]


class Lane:
    """Serializes work with an engine: outcomes are in the order of execution, and a transaction of
    several commands is isolated. With a synchronous engine, work is done within `do`, and the lane
    is never busy."""

    def __init__(self, failed: Callable[[BaseException], Any]) -> None:
        """`failed`: called with the exception that asynchronous work has raised."""
        self.busy = False
        self._failed = failed
        self._waiting: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def do(self, steps: Steps) -> None:
        """Start some work; the lane must not be busy."""
        step = _advance(steps)
        if step is not None:
            self.busy = True
            self._task = asyncio.get_running_loop().create_task(self._finish(steps, step))

    def when_free(self, work: Callable[[], None]) -> None:
        """Call `work` now, or when the lane is free again."""
        if self.busy:
            self._waiting.append(work)
        else:
            work()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wait until the lane is free, and keep it busy within the context."""
        while self.busy:
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(lambda free=free: free.done() or free.set_result(None))  # type: ignore[misc]
            await free
        self.busy = True
        try:
            yield
        finally:
            self._release()

    async def _finish(self, steps: Steps, step: Awaitable[Outcome] | None) -> None:
        try:
            while step is not None:
                step = _advance(steps, await step)
        except Exception as e:
            self._failed(e)
            raise
        self._release()

    def _release(self) -> None:
        self.busy = False
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            self.when_free(work)


def _advance(steps: Steps, outcome: Outcome | None = None) -> Awaitable[Outcome] | None:
    """Run to the next outcome that has to be awaited, and return it; None at the end."""
    try:
        step = next(steps) if outcome is None else steps.send(outcome)
        while isinstance(step, Outcome):
            step = steps.send(step)
    except StopIteration:
        return None
    return step
