"""One primary with asynchronous replicas, and an operator who promotes them.

What vanilla servers and the model of them have in common for the harness. A target says how a node
is run (`spec`); the rest goes through the commands that every such server knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.exceptions as rx

from harness.clients import ConnectFailed, RedisConnection, role_name
from harness.environments.protocol import CanStart, Environment, ProcessSpec
from harness.errors import EnvironmentFailed, UsageError
from harness.targets import Disturbance, TargetOptions

START_TIMEOUT_S = 20.0


class Operated:
    """See the module's text. Works on servers that it starts, or on those of `external`."""

    name: str
    version = "unknown"
    promises: frozenset[str] = frozenset()
    depends_on: frozenset[Disturbance] = frozenset({"links", "processes", "disks", "roles"})
    alarms: Sequence[str] = ()
    hands_over = False

    def __init__(self, env: Environment, options: TargetOptions) -> None:
        self.env = env
        self.options = options
        self.place = env if isinstance(env, CanStart) else None  # None: others start the servers
        self._announced: str | None = None
        self._asked = -(10**10)

    def spec(self, node: str) -> ProcessSpec:
        """How to run a node now: as a replica of the present primary, or as that primary."""
        raise NotImplementedError

    # --- life

    async def start(self) -> None:
        if self.place is None:
            try:
                self.version = await self._version_of_running()
            except EnvironmentFailed as e:
                raise UsageError(f"--nodes: {e}") from e
            if await self.primary() is None:
                raise UsageError("none of the given nodes says that it is a primary")
            return
        self._announced = self.env.nodes[0]
        for node in self.env.nodes:
            await self.place.start(self.spec(node))
        try:
            await self.settle(START_TIMEOUT_S)
        except EnvironmentFailed as e:
            for node in self.env.nodes:
                if await self.env.state(node) == "dead":
                    raise UsageError(f"{self.version} did not start: {e}") from e
            raise

    async def restart(self, node: str) -> None:
        assert self.place is not None, "what the harness did not start it does not kill"
        await self.place.start(self.spec(node))
        await self._wait(node, self._answers, "does not answer", 10.0)

    async def settle(self, timeout_s: float) -> None:
        for node in self.env.nodes:
            await self._wait(node, self._linked, "is not up and linked", timeout_s)
        if self._announced is not None and len(self.env.nodes) > 1:
            await self._wait(self._announced, self._followed, "lacks acknowledgements", timeout_s)

    async def _wait(
        self, node: str, holds: Callable[[str], Awaitable[bool]], what: str, timeout_s: float
    ) -> None:
        deadline = self.env.now() + int(timeout_s * 1e9)
        while not await holds(node):
            if await self.env.state(node) == "dead":
                raise EnvironmentFailed(f"{node} ended: {await self.env.log_tail(node)}")
            if self.env.now() > deadline:
                raise EnvironmentFailed(f"{node} {what} after {timeout_s:.0f} s")
            await asyncio.sleep(0.02)

    # --- asking nodes, by the control path

    async def ask(self, node: str, *command: Any, timeout_s: float = 2.0) -> Any:
        """One command on a fresh control connection; raises `EnvironmentFailed`."""
        connection = RedisConnection(
            self.env.control_address(node), self.options.credentials, timeout_s
        )
        try:
            await connection.open()
            async with asyncio.timeout(timeout_s):
                return await connection.call(*command)
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            raise EnvironmentFailed(f"{node} did not answer {command[0]}: {e}") from e
        finally:
            await connection.close()

    async def _version_of_running(self) -> str:
        for node in self.env.nodes:
            info = await self.ask(node, "INFO", "server")
            for line in str(info).splitlines():
                if line.startswith(("valkey_version:", "redis_version:")):
                    name, _, version = line.partition(":")
                    return f"{name.removesuffix('_version').capitalize()} {version.strip()}"
        return "unknown"

    async def role(self, node: str, timeout_s: float = 1.0) -> list[Any] | None:
        """The node's reply to ROLE, or None when it does not answer."""
        try:
            reply = await self.ask(node, "ROLE", timeout_s=timeout_s)
        except EnvironmentFailed:
            return None
        return list(reply)

    async def _answers(self, node: str) -> bool:
        return await self.role(node) is not None

    async def _linked(self, node: str) -> bool:
        role = await self.role(node)
        if role is None:
            return False
        if self.place is None:
            return True
        if node == self._announced:
            return bool(role[0] == "master")
        return bool(role[0] == "slave" and role[3] == "connected")

    async def _followed(self, primary: str) -> bool:
        """Every replica has acknowledged something: a diskless one that is "connected" does not
        get the stream before its first acknowledgement."""
        role = await self.role(primary)
        if role is None or role[0] != "master":
            return False
        acknowledged = [int(offset) for _, _, offset in role[2]]
        return len(acknowledged) >= len(self.env.nodes) - 1 and all(acknowledged)

    async def primary(self) -> str | None:
        """The node that the operator announced; on external servers the one that says so,
        asked again at most once a second."""
        if self.place is not None or self.env.now() - self._asked < 10**9:
            return self._announced
        self._asked = self.env.now()
        roles = await asyncio.gather(*(self.role(n) for n in self.env.nodes))
        claims = [
            n
            for n, r in zip(self.env.nodes, roles, strict=True)
            if r is not None and role_name(r) == "primary"
        ]
        self._announced = claims[0] if claims else None
        return self._announced

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        return RedisConnection(
            self.env.address(node, seen_from=client_host),
            self.options.credentials,
            self.options.timeout_s,
        )

    async def close(self) -> None:
        return None

    def tolerates(self, out: set[str], cut: set[tuple[str, str]]) -> bool:
        return True  # whatever it loses, it loses by design

    def links(self, primary: str) -> set[tuple[str, str]]:
        others = [n for n in (*self.env.nodes, *self.env.client_hosts) if n != primary]
        return {pair for other in others for pair in ((primary, other), (other, primary))}

    # --- an operator's failover

    async def promote(self, node: str) -> dict[str, Any]:
        old = self._announced
        before = await self.role(old, timeout_s=0.2) if old is not None else None
        await self.ask(node, "REPLICAOF", "NO", "ONE")
        role = await self.role(node)
        if role is None or role[0] != "master":
            raise EnvironmentFailed(f"{node} did not become a primary: {role}")
        self._announced = node
        return {
            "old": old,
            "new": node,
            "new_offset": role[1],
            "old_offset": before[1] if before is not None and before[0] == "master" else None,
        }

    async def repoint(self, nodes: Sequence[str]) -> list[str]:
        reached = []
        for node in nodes:
            if node == self._announced or self._announced is None:
                continue
            host, port = self.env.address(self._announced, seen_from=node)
            try:
                await self.ask(node, "REPLICAOF", host, port)
            except EnvironmentFailed:
                continue
            reached.append(node)
        return reached
