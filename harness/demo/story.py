"""Steps of a script: told on the terminal, recorded in the history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from harness.history import NEMESIS, HistoryWriter, Op, OpType

KEY = "A"


class Story:
    """Records each step in the history and tells it on the terminal."""

    def __init__(self, writer: HistoryWriter, now: Callable[[], int]) -> None:
        self._writer = writer
        self._now = now
        self._index = 0

    def tell(self, who: str, what: str, **style: Any) -> None:
        click.echo(f"{self._now() / 1e9:7.3f} s  {who:9} " + click.style(what, **style))

    def record(self, process: int | str, type: OpType, f: str, value: Any, **more: Any) -> None:
        self._writer.append(Op(self._index, self._now(), type, process, f, value, **more))
        self._index += 1

    async def fault(self, f: str, value: dict[str, Any]) -> None:
        """What was done to the system, as the nemesis' operation."""
        self.record(NEMESIS, "invoke", f, None)
        self.record(NEMESIS, "info", f, value)

    async def operation(
        self, process: int, f: str, value: Any, node: str, act: Awaitable[tuple[OpType, Any]]
    ) -> Any:
        """Invoke, await, complete; returns the completion's value."""
        self.record(process, "invoke", f, [KEY, value])
        type, result = await act
        self.record(process, type, f, [KEY, result], node=node)
        return result
