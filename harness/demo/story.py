"""Steps of a script: printed on the terminal, recorded in the history."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import click

from harness.history.events import FaultBegan, FaultEnded
from harness.history.operations import Op, OpType
from harness.workloads.base import ScriptContext

KEY = "A"


class Story:
    """Records each step in the history and prints it on the terminal."""

    def __init__(self, stage: ScriptContext) -> None:
        self._stage = stage
        self._begun = 0
        self._numbers: dict[str, int] = {}  # of active faults, by kind

    def tell(self, who: str, what: str, **style: Any) -> None:
        seconds = self._stage.now() / 1e9
        click.echo(f"{seconds:7.3f} s  {who:9} " + click.style(what, **style))

    def record(self, process: int, type: OpType, f: str, value: Any, **more: Any) -> None:
        recorder = self._stage.recorder
        recorder(Op(recorder.index, self._stage.now(), type, process, f, value, **more))

    def began(self, fault: str, **did: Any) -> None:
        """Record that a fault began. `did`: what was done."""
        self._begun += 1
        number = self._numbers[fault] = self._begun
        what = FaultBegan(fault=fault, number=number, did=did)
        self._stage.recorder.note(what, self._stage.now())

    def ended(self, fault: str, *, effective: bool, **effect: Any) -> None:
        """Record that a fault ended, with its measured effect."""
        what = FaultEnded(
            fault=fault, number=self._numbers[fault], effective=effective, effect=effect
        )
        self._stage.recorder.note(what, self._stage.now())

    async def operation(
        self, process: int, f: str, value: Any, node: str, act: Awaitable[tuple[OpType, Any]]
    ) -> Any:
        """Record an invocation, await `act`, record the completion; return its value."""
        self.record(process, "invoke", f, [KEY, value])
        type, result = await act
        self.record(process, type, f, [KEY, result], node=node)
        return result
