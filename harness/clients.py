"""Clients of a Redis-like server, and the one table from an error to fail or info.

redis-py's asyncio connection is used directly, without its client on top: no pool, no retries, no
health checks, no reconnecting behind the harness' back. One invocation sends its commands once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import redis.exceptions as rx
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from harness.history.files import LINE_BYTES_MAX, encode
from harness.history.operations import Op, OpType, unclassified
from harness.host import Address
from harness.topology import Topology

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


# How an operation reaches the server, and the error codes that mean "not executed" then. A script
# may fail after it wrote; an error of EXEC is definite only if the whole transaction was refused.
Form = Literal["command", "script", "exec"]
DEFINITE_CODES: Final[Mapping[Form, frozenset[str]]] = {
    "command": frozenset(
        {
            "MOVED",
            "ASK",
            "CLUSTERDOWN",
            "READONLY",
            "LOADING",
            "MASTERDOWN",
            "NOREPLICAS",
            "CROSSSLOT",
            "TRYAGAIN",
            "OOM",
            "MISCONF",
            "NOSCRIPT",
            "NOAUTH",
            "NOPERM",
            "BUSY",
            "WRONGTYPE",
        }
    ),
    "script": frozenset({"NOSCRIPT", "BUSY"}),
    "exec": frozenset({"MOVED", "ASK", "EXECABORT"}),
}
_KNOWN_CODES: Final = frozenset().union(*DEFINITE_CODES.values())
# redis-py strips codes that it has a class for.
_CODE_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (rx.ReadOnlyError, "READONLY"),
    (rx.NoScriptError, "NOSCRIPT"),
    (rx.BusyLoadingError, "LOADING"),
    (rx.OutOfMemoryError, "OOM"),
    (rx.NoPermissionError, "NOPERM"),
    (rx.AuthenticationError, "NOAUTH"),
    (rx.ExecAbortError, "EXECABORT"),
    (rx.AskError, "ASK"),
    (rx.MovedError, "MOVED"),
    (rx.TryAgainError, "TRYAGAIN"),
    (rx.ClusterDownError, "CLUSTERDOWN"),
    (rx.ClusterCrossSlotError, "CROSSSLOT"),
    (rx.MasterDownError, "MASTERDOWN"),
)


def error_code(error: Exception) -> str | None:
    """Return the server's error code (`READONLY`), or None if the server sent no error."""
    for kind, code in _CODE_BY_CLASS:
        if isinstance(error, kind):
            return code
    if not isinstance(error, rx.ResponseError):
        return None
    if error.status_code:
        return str(error.status_code)
    first = str(error).split(" ", 1)[0]
    return first if first.isupper() else "ERR"


def outcome_of(error: Exception, *, read: bool, form: Form = "command") -> tuple[OpType, str]:
    """Return (`fail` or `info`, the text to record) for an error of an invocation that was sent.

    `read`: the operation can't have written.
    """
    code = error_code(error)
    text = " ".join(str(error).split())[:120]
    definite = False
    if isinstance(error, TimeoutError | rx.TimeoutError):
        label = "timeout"
    elif code is not None:
        label = text if text.startswith(code) else f"{code} {text}"
        arity = "wrong number of arguments" in text
        definite = code in DEFINITE_CODES[form] or (arity and form == "command")
        if code not in _KNOWN_CODES and not arity:
            label = unclassified(label)
    elif isinstance(error, rx.ConnectionError | OSError | EOFError):
        label = f"connection: {text}"
    else:
        label = unclassified(f"{type(error).__name__}: {text}")
    return ("fail" if read or definite else "info"), label


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
            return op.completed("fail", error=f"connect: {e}")
        try:
            async with asyncio.timeout(self._timeout_s):
                done = await self._apply(connection, op)
        except (rx.RedisError, OSError, EOFError, TimeoutError, ValueError, TypeError) as e:
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
