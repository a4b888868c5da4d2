"""One connection to a Redis-like server.

redis-py's asyncio connection is used directly, without its client on top: no pool, no retries, no
health checks, no reconnecting behind the harness' back. One invocation sends its commands once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis.exceptions as rx
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from harness.host import Address

_pack: Callable[[tuple[Any, ...]], bytes] | None = None
with contextlib.suppress(ImportError):  # redis-py works without it too
    import hiredis

    _pack = hiredis.pack_command


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How to log in: an ACL user, a password, TLS with an optional CA file."""

    username: str | None = None
    password: str | None = None
    tls: bool = False
    tls_ca: str | None = None


class ConnectFailed(Exception):
    """Connecting or shaking hands failed: the operation was never sent."""


class RedisConnection:
    """One connection: opened once, used for one invocation after the other, never reopened."""

    def __init__(
        self,
        address: Address,
        credentials: Credentials,
        timeout_s: float,
        *,
        readonly: bool = False,
    ) -> None:
        """`readonly`: allow reads of a replica (READONLY of Redis Cluster)."""
        self.address = address
        self._readonly = readonly
        self._timeout_s = timeout_s
        kind = SSLConnection if credentials.tls else Connection
        tls: dict[str, Any] = {}
        if credentials.tls:
            tls = {"ssl_ca_certs": credentials.tls_ca}
        self._connection: Any = kind(
            host=address[0],
            port=address[1],
            username=credentials.username,
            password=credentials.password,
            protocol=2,
            decode_responses=True,
            encoding="latin-1",  # of replies: whatever bytes a value has
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            **tls,
        )

    async def open(self) -> None:
        """Connect and log in; raises `ConnectFailed`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connection.connect()
                await self._handshake()
        except (rx.RedisError, OSError, TimeoutError) as e:
            await self.close()
            raise ConnectFailed(" ".join(f"{type(e).__name__}: {e}".split())[:160]) from e

    async def _handshake(self) -> None:
        """Wait until the server answers: a proxy may have accepted the connection, or the kernel on
        behalf of a stopped process. An error other than LOADING is an answer too."""
        with contextlib.suppress(rx.ResponseError):
            await self.call("PING")
        if self._readonly:
            with contextlib.suppress(rx.ResponseError):
                await self.call("READONLY")

    @property
    def is_open(self) -> bool:
        return bool(self._connection.is_connected)

    async def call(self, *command: Any) -> Any:
        """Send a command and return its reply; raises redis-py's exceptions."""
        reply = (await self.calls(command))[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def calls(self, *commands: Sequence[Any]) -> list[Any]:
        """Send commands in one write; return the replies in order, error replies as exceptions.

        Raises only errors that leave replies unread: a lost connection, and LOADING, which redis-py
        treats as one; the connection must be closed then.
        """
        connection = self._connection
        if not connection.is_connected:
            raise rx.ConnectionError("connection is closed")
        if _pack is None:
            packed = b"".join(connection.pack_commands(commands))
        else:  # redis-py's own packing, in Python, costs a tenth of an operation
            packed = b"".join([_pack(tuple(c)) for c in commands])
        await connection.send_packed_command(packed, check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except rx.ResponseError as e:
                replies.append(e)
        return replies

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


async def with_role(connection: RedisConnection, *command: Any) -> tuple[Any, str | None]:
    """Return a command's reply, and the role (`primary`, `replica`) of the node right after it.

    Both commands are sent in one write, so the server executes them one after the other. The role
    is None if ROLE is not permitted. Raises the command's error, if it is one.
    """
    reply, role = await connection.calls(command, ("ROLE",))
    if isinstance(reply, Exception):
        raise reply
    return reply, None if isinstance(role, Exception) else role_name(role)


def role_name(reply: Any) -> str:
    """Return `primary` or `replica`, from the reply to ROLE."""
    return "primary" if reply[0] == "master" else "replica"
