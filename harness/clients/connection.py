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

from harness.clients import replies
from harness.clients.replies import WrongReply
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
    """Connecting or shaking hands failed: the operation was never sent. `wrong_reply`: the server
    answered the handshake, but with a reply that no right server gives."""

    wrong_reply = False


class RedisConnection:
    """One connection: opened once, used for one invocation after the other, never reopened."""

    def __init__(
        self,
        address: Address,
        credentials: Credentials,
        timeout_s: float,
        *,
        readonly: bool = False,
        fenced: bool = False,
    ) -> None:
        """`readonly`: allow reads of a replica (READONLY of Redis Cluster). `fenced`: replicas must
        not answer without it, so the role is asked before and after each command, too."""
        self.address = address
        self._readonly = readonly
        self.fenced = fenced
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
        except (rx.RedisError, OSError, TimeoutError, WrongReply) as e:
            await self.close()
            what = str(e) if isinstance(e, WrongReply) else f"{type(e).__name__}: {e}"
            failed = ConnectFailed(" ".join(what.split())[:160])
            failed.wrong_reply = isinstance(e, WrongReply)
            raise failed from e

    async def _handshake(self) -> None:
        """Wait until the server answers: a proxy may have accepted the connection, or the kernel on
        behalf of a stopped process. An error other than LOADING is an answer too. The text of the
        ping is this connection's own, so that another client's reply is noticed."""
        text = self._text()
        with contextlib.suppress(rx.ResponseError):
            reply = await self.call("PING", text)
            if reply != text:
                raise WrongReply("PING", reply, repr(text))
        if self._readonly:
            with contextlib.suppress(rx.ResponseError):
                replies.ok("READONLY", await self.call("READONLY"))

    def _text(self) -> str:
        """Return a text that no other open connection to the server sends."""
        writer = getattr(self._connection, "_writer", None)
        own = writer.get_extra_info("sockname") if writer is not None else None
        return f"harness {own[0]}:{own[1]}" if own else f"harness {id(self)}"

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
        received: list[Any] = []
        for _ in commands:
            try:
                received.append(await connection.read_response())
            except rx.ResponseError as e:
                received.append(e)
        return received

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


async def with_role(connection: RedisConnection, *command: Any) -> tuple[Any, str | None]:
    """Return a command's reply, and the role (`primary`, `replica`) of the node that executed it.
    Raises the command's error, if it is one."""
    (reply,), role = await with_roles(connection, command)
    if isinstance(reply, Exception):
        raise reply
    return reply, role


async def with_roles(
    connection: RedisConnection, *commands: Sequence[Any]
) -> tuple[list[Any], str | None]:
    """Return the replies of commands, error replies as exceptions, and the role of the node right
    after them, None if ROLE is not permitted.

    All are sent in one write, so the server executes them one after the other. On a fenced
    connection the role is `replica` only if it was so right before, too: a node may be demoted
    after it has executed the commands.
    """
    if not connection.fenced:
        *replied, after = await connection.calls(*commands, ("ROLE",))
        return replied, _role_of(after)
    before, *replied, after = await connection.calls(("ROLE",), *commands, ("ROLE",))
    roles = _role_of(before), _role_of(after)
    return replied, "primary" if "primary" in roles else roles[1]


def _role_of(reply: Any) -> str | None:
    return None if isinstance(reply, Exception) else replies.role(reply)


async def transaction(
    connection: RedisConnection, *commands: Sequence[Any]
) -> tuple[list[Any] | None, str | None]:
    """Send commands between MULTI and EXEC in one write; return their replies, None if a WATCH
    aborted the transaction, and the role, see `with_roles`. Raises the error of EXEC, or the first
    one among the replies, and `WrongReply`."""
    (multi, *queued, result), role = await with_roles(connection, ("MULTI",), *commands, ("EXEC",))
    if isinstance(result, Exception):
        raise result
    replies.ok("MULTI", multi)
    for command, reply in zip(commands, queued, strict=True):
        if reply != "QUEUED":
            raise WrongReply(f"{command[0]} in MULTI", reply, "QUEUED")
    if result is None:
        return None, role
    for each in replies.array("EXEC", result, length=len(commands)):
        if isinstance(each, Exception):
            raise each
    return result, role
