"""A worker's client: it routes operations by their keys, and classifies what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import redis.exceptions as rx

from harness.clients.connection import ConnectFailed, RedisConnection
from harness.clients.outcomes import Form, outcome_of
from harness.clients.replies import WrongReply
from harness.history.files import LINE_BYTES_MAX, encode
from harness.history.operations import Op, wrong_reply
from harness.topology import Topology


class Router(Protocol):
    """A target, as its clients use it."""

    def topology(self) -> Topology:
        """Return the shards as they are now, as far as it is known."""
        ...

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        """Return a new connection to a node. `readonly`: for reads, whatever role the node has."""
        ...


Apply = Callable[[RedisConnection, Op], Awaitable[Op]]
KeysOf = Callable[[Op], Sequence[str]]


class DatabaseClient:
    """A worker's client: at most one connection per node and value of `readonly`, opened before an
    operation is invoked.

    An operation is sent to the primary of the shard that has its keys, or to its `node`. While no
    node is known to be the primary, the client keeps to the last one that it knew. `keys_of(op)`
    returns the keys, `apply(connection, op)` sends the commands.
    """

    def __init__(
        self,
        router: Router,
        host: str,
        apply: Apply,
        *,
        keys_of: KeysOf,
        reads: frozenset[str],
        forms: Mapping[str, Form],
        timeout_s: float,
    ) -> None:
        """`reads`: kinds of operation that can't write; `forms`: those that are not sent as single
        commands. `timeout_s`: for connecting and for invoking, each."""
        self._router = router
        self._host = host
        self._apply = apply
        self._keys_of = keys_of
        self._reads = reads
        self._forms = forms
        self._timeout_s = timeout_s
        self._connections: dict[tuple[str, bool], RedisConnection] = {}  # by node and readonly
        self._primaries: dict[str, str] = {}  # by shard, as far as this client knows

    async def invoke(self, op: Op, /) -> Op:
        try:
            node, connection = await self._connected(op)
        except ConnectFailed as e:
            # Without a pause a dead primary would fill the history with failures.
            await asyncio.sleep(0.02)
            error = wrong_reply(str(e)) if e.wrong_reply else f"connect: {e}"
            return op.completed("fail", error=error)
        try:
            async with asyncio.timeout(self._timeout_s):
                done = await self._apply(connection, op)
        except (rx.RedisError, OSError, EOFError, TimeoutError, WrongReply) as e:
            if not isinstance(e, rx.ResponseError):
                await self._drop(node)
            type, error = outcome_of(
                e, read=op.f in self._reads, form=self._forms.get(op.f, "command")
            )
            return op.completed(type, error=error, node=node)
        done.node = node
        if len(encode(done)) > LINE_BYTES_MAX - 64:
            type = "fail" if op.f in self._reads else "info"
            return op.completed(type, error="reply too long for a history line", node=node)
        return done

    async def _connected(self, op: Op) -> tuple[str, RedisConnection]:
        node, readonly = await self._route(op), op.node is not None
        connection = self._connections.get((node, readonly))
        if connection is None or not connection.is_open:
            connection = self._router.open_to(node, self._host, readonly=readonly)
            await connection.open()
            self._connections[node, readonly] = connection
        return node, connection

    async def _route(self, op: Op) -> str:
        """Return the node that an operation goes to. Raises `ConnectFailed`."""
        shard = self._router.topology().of_keys(self._keys_of(op))
        if shard is None:
            raise ConnectFailed("no shard has all keys of the operation")
        if op.node is not None:
            if op.node not in shard.nodes:
                raise ConnectFailed(f"{op.node} is not a node of {shard.name}, which has the keys")
            return op.node
        known = self._primaries.get(shard.name)
        node = shard.primary or known
        if node is None:
            raise ConnectFailed("no node claims to be the primary")
        if known is not None and known != node:
            await self._drop(known)
        self._primaries[shard.name] = node
        return node

    async def _drop(self, node: str) -> None:
        for readonly in (False, True):
            connection = self._connections.pop((node, readonly), None)
            if connection is not None:
                await connection.close()

    async def close(self) -> None:
        for node, _ in list(self._connections):
            await self._drop(node)
