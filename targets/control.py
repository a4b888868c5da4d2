"""The control path: how a target queries its nodes, on connections that no fault cuts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import redis.exceptions as rx

from harness.clients import ConnectFailed, Credentials, RedisConnection, WrongReply, replies
from harness.environments.protocol import Environment
from harness.errors import EnvironmentFailed

POLL_S = 0.02


class ControlPath:
    """Queries nodes. Each query opens a connection, or, with `keep`, reuses the last one to that
    node, which suits frequent queries."""

    def __init__(self, env: Environment, credentials: Credentials, *, keep: bool = False) -> None:
        self._env = env
        self._keep = keep
        self._credentials = credentials
        self._connections: dict[str, RedisConnection] = {}

    async def ask(self, node: str, *command: Any, timeout_s: float = 2.0) -> Any:
        """Return a node's reply to a command. Raises `EnvironmentFailed` if there is none in time,
        or if it is an error."""
        connection = self._connections.pop(node, None)
        try:
            async with asyncio.timeout(timeout_s):
                if connection is None or not connection.is_open:
                    address = self._env.control_address(node)
                    connection = RedisConnection(address, self._credentials, timeout_s)
                    await connection.open()
                reply = await connection.call(*command)
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            if connection is not None:
                await connection.close()
            raise EnvironmentFailed(f"{node} did not answer {command[0]}: {e}") from e
        unused: RedisConnection | None = connection
        if self._keep:
            unused, self._connections[node] = self._connections.get(node), connection
        if unused is not None:
            await unused.close()
        return reply

    async def role(self, node: str, timeout_s: float = 1.0) -> list[Any] | None:
        """Return a node's reply to ROLE, or None if there is none in time, or not that of a primary
        or a replica."""
        try:
            role = await self.ask(node, "ROLE", timeout_s=timeout_s)
            replies.role(role)
        except (EnvironmentFailed, WrongReply):
            return None
        return list(role)

    async def is_primary(self, node: str, timeout_s: float = 1.0) -> bool | None:
        """Return whether a node claims to be a primary; None if it does not answer in time."""
        role = await self.role(node, timeout_s)
        return None if role is None else replies.role(role) == "primary"

    async def wait(
        self, node: str, condition: Callable[[str], Awaitable[bool]], what: str, timeout_s: float
    ) -> None:
        """Wait until a condition is met for a node. Raises `EnvironmentFailed` if the node ends, or
        if it is not met in time; `what`: the predicate of that error, "does not answer"."""
        deadline = self._env.now() + int(timeout_s * 1e9)
        while not await condition(node):
            if await self._env.state(node) == "dead":
                raise EnvironmentFailed(f"{node} ended: {await self._env.log_tail(node)}")
            if self._env.now() > deadline:
                raise EnvironmentFailed(f"{node} {what} after {timeout_s:.0f} s")
            await asyncio.sleep(POLL_S)

    async def answers(self, node: str) -> bool:
        """Return whether a node answers ROLE."""
        return await self.role(node) is not None

    async def close(self) -> None:
        for connection in self._connections.values():
            await connection.close()
        self._connections.clear()


def fields(info: Any) -> dict[str, str]:
    """Return the fields of a reply to INFO."""
    lines = (line.partition(":") for line in str(info).splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}
