"""The base class of the two scripts of the demo, as workloads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import click
import redis.exceptions as rx

from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import ConnectFailed, Form, RedisConnection
from harness.demo.story import Story
from harness.errors import EnvironmentFailed
from harness.generators import Generator, Nothing
from harness.history.operations import Op
from harness.models.register import Register
from harness.targets import Disturbance
from harness.workloads.base import ScriptContext, WorkloadOptions

TIMEOUT_S = 30.0


class Script:
    """A workload whose every step is fixed. `expected`: the values that B must read, in order."""

    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {}
    expected: ClassVar[Sequence[Any]]

    def __init__(self, options: WorkloadOptions) -> None:
        pass

    def generator(self) -> Generator:
        return Nothing()

    def final(self) -> Generator | None:
        return None

    def keys_of(self, op: Op, /) -> list[str]:
        return ["A"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        raise NotImplementedError("a script sends its own commands")

    def claims(self) -> dict[str, Checker]:
        return {"linearizable": Linearizable(Register())}

    async def play(self, stage: ScriptContext) -> None:
        click.echo(click.style(f"{stage.target.describe().version}: three nodes\n", bold=True))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self.steps(stage, Story(stage))
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            raise EnvironmentFailed(f"the script failed: {type(e).__name__} {e}") from e

    async def steps(self, stage: ScriptContext, story: Story) -> None:
        raise NotImplementedError
