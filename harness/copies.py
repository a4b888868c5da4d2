"""Compares what the nodes of a shard hold of a run's keys, after the last write.

When every replica has reached the offset that the primary had, primary and replicas hold the same:
which keys exist, as a read sees it, their types, values and absolute deadlines, the deadlines of
fields of hashes, and groups of streams with their pending entries. Encodings, idle times and access
frequencies may differ. A key whose deadline passes during a look is left out of it.

A difference counts when it is the same in `LOOKS` looks, `PAUSE_S` apart: nodes that agree have
converged, however late somebody looked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import msgspec
import redis.exceptions as rx

from harness.clients import ConnectFailed, RedisConnection, WrongReply, replies
from harness.history.events import Compared, Difference
from harness.topology import Shard

LOOKS: Final = 3
LOOKS_MAX: Final = 10  # looks at nodes whose differences change
PAUSE_S: Final = 1.0
CATCH_UP_S: Final = 30.0
POLL_S: Final = 0.02
TIMEOUT_S: Final = 10.0  # of one batch of commands
BATCH: Final = 200
TOLD_MAX: Final = 4  # differences of one shard that are told
SHOWN: Final = 300  # characters of a value
TOLD_BYTES_MAX: Final = 3000  # of all differences together, so that they fit into a line

# How to read a whole value of a type.
READ: Final[dict[str, Callable[[str], tuple[Any, ...]]]] = {
    "string": lambda key: ("GET", key),
    "list": lambda key: ("LRANGE", key, 0, -1),
    "set": lambda key: ("SMEMBERS", key),
    "hash": lambda key: ("HGETALL", key),
    "zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    "stream": lambda key: ("XINFO", "STREAM", key, "FULL", "COUNT", 0),
}
# Of XINFO STREAM FULL: what is compared of a stream, and of a group. Redis 6.2 says `pel`.
_OF_STREAM: Final = ("length", "last-generated-id", "entries")
_OF_GROUP: Final = ("name", "last-delivered-id")
_PENDING: Final = ("pending", "pel")
_EMPTY: Final[dict[str, Any]] = {"string": None, "zset": [], "list": [], "set": [], "hash": []}


class CannotCompare(Exception):
    """Nodes could not be compared; the text is the reason."""


Open = Callable[[str], RedisConnection]


@dataclass(frozen=True)
class _Held:
    """A key at a node. `deadline_ms`: in Unix time, None without one. `value`: comparable.
    `fields`: pairs of the fields of a hash that expire and their deadlines."""

    type: str
    value: Any
    deadline_ms: int | None
    fields: Any = ()

    def words(self) -> str:
        text = f"{self.type} {_shown(self.value)}"
        if self.fields:
            text += f" whose fields expire at {_shown(self.fields)} ms"
        if len(text) > SHOWN:  # two long values differ in the digest at least
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
            text = f"{text[:SHOWN]}… (sha256 {digest})"
        return text + ("" if self.deadline_ms is None else f", expires at {self.deadline_ms} ms")


class _Node:
    """One node, as far as comparing needs it."""

    def __init__(self, name: str, open_to: Open) -> None:
        self.name = name
        self._open_to = open_to
        self._connection: RedisConnection | None = None
        self._knows: dict[str, bool] = {}  # whether the server has a command

    @property
    def exact(self) -> bool:
        """Whether it tells deadlines, and not only times to live."""
        return self._knows.get("PEXPIRETIME", True)

    async def calls(self, *commands: Sequence[Any]) -> list[Any]:
        """Return the replies to commands, error replies as exceptions; raises `CannotCompare`."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._connection is None or not self._connection.is_open:
                    self._connection = self._open_to(self.name)
                    await self._connection.open()
                return await self._connection.calls(*commands)
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            await self.close()
            raise CannotCompare(f"{self.name} could not be queried: {e}") from e

    async def in_batches(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(commands), BATCH):
            found += await self.calls(*commands[start : start + BATCH])
        return found

    def _accept(self, command: str, reply: Any) -> None:
        """Raise `CannotCompare` for an error reply."""
        if isinstance(reply, Exception):
            raise CannotCompare(f"{self.name} does not answer {command}: {reply}")

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def offset(self) -> tuple[str, int]:
        """Return the role (`primary`, `replica`) and the replication offset. A replica that is not
        connected with its primary has offset -1."""
        (role,) = await self.calls(("ROLE",))
        self._accept("ROLE", role)
        try:
            name = replies.role(role)
        except WrongReply as e:
            raise CannotCompare(f"{self.name}: {e}") from e
        at = 1 if name == "primary" else 4
        if len(role) <= at:
            raise CannotCompare(f"{self.name} answered ROLE {role}")
        connected = name == "primary" or role[3] == "connected"
        return name, self._integer("ROLE", role[at]) if connected else -1

    async def time_ms(self) -> int:
        (now,) = await self.calls(("TIME",))
        self._accept("TIME", now)
        try:
            seconds, micros = map(int, replies.array("TIME", now, length=2))
        except (WrongReply, ValueError, TypeError) as e:
            raise CannotCompare(f"{self.name} does not answer TIME: {e}") from e
        return seconds * 1000 + micros // 1000

    async def held(self, keys: Sequence[str]) -> dict[str, _Held]:
        """Return what the node holds of some keys."""
        types = await self.in_batches([("TYPE", key) for key in keys])
        for key, type in zip(keys, types, strict=True):
            self._accept(f"TYPE {key}", type)
        existing = {k: str(t) for k, t in zip(keys, types, strict=True) if t != "none"}
        deadlines = await self._deadlines(list(existing))
        reads = [READ[t](k) if t in READ else ("DUMP", k) for k, t in existing.items()]
        values = await self.in_batches(reads)
        fields = await self._field_deadlines([k for k, t in existing.items() if t == "hash"])
        held = {}
        for (key, type), read, value in zip(existing.items(), reads, values, strict=True):
            if "no such key" in str(value) and isinstance(value, Exception):
                value = None  # a stream that expired after its TYPE was read
            self._accept(" ".join(map(str, read)), value)
            if value == _EMPTY.get(type, ...) or value is None:
                continue  # it expired after its TYPE was read
            try:
                made = _comparable(type, value)
            except (ValueError, TypeError, LookupError) as e:
                raise CannotCompare(f"{self.name}: {type} {key} has an odd reply: {e}") from e
            held[key] = _Held(type, made, deadlines[key], fields.get(key, ()))
        return held

    async def _deadlines(self, keys: Sequence[str]) -> dict[str, int | None]:
        if not keys:
            return {}
        if await self._has("PEXPIRETIME", keys[0]):
            found = await self.in_batches([("PEXPIRETIME", key) for key in keys])
            ends = [self._integer("PEXPIRETIME", each) for each in found]
            return {k: d if d >= 0 else None for k, d in zip(keys, ends, strict=True)}
        found = await self.in_batches([("PTTL", key) for key in keys])
        now = await self.time_ms()
        left = [self._integer("PTTL", each) for each in found]
        return {k: now + d if d >= 0 else None for k, d in zip(keys, left, strict=True)}

    def _integer(self, command: str, reply: Any) -> int:
        self._accept(command, reply)
        try:
            return replies.integer(command, reply)
        except WrongReply as e:
            raise CannotCompare(f"{self.name}: {e}") from e

    async def _field_deadlines(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return by hash the deadlines of its fields that have one."""
        if not keys or not await self._has("HPEXPIRETIME", keys[0], "FIELDS", 1, "f"):
            return {}
        names = await self._arrays([("HKEYS", key) for key in keys])
        asked = [(k, n) for k, n in zip(keys, names, strict=True) if n]
        found = await self._arrays(
            [("HPEXPIRETIME", key, "FIELDS", len(n), *n) for key, n in asked]
        )
        return {
            key: tuple(sorted((f, int(d)) for f, d in zip(n, ends, strict=True) if int(d) >= 0))
            for (key, n), ends in zip(asked, found, strict=True)
            if len(ends) == len(n)  # else it expired after its keys were read
        }

    async def _arrays(self, commands: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Return replies that are arrays, [] for null; raises `CannotCompare`."""
        found = await self.in_batches(commands)
        for command, reply in zip(commands, found, strict=True):
            self._accept(f"{command[0]} {command[1]}", reply)
            if not isinstance(reply, (list, NoneType)):
                raise CannotCompare(f"{self.name} answered {command[0]} {command[1]} {reply}")
        return [reply or [] for reply in found]

    async def _has(self, *command: Any) -> bool:
        name = command[0]
        if name not in self._knows:
            (reply,) = await self.calls(command)
            unknown = isinstance(reply, Exception) and "unknown command" in str(reply).lower()
            self._knows[name] = not unknown
        return self._knows[name]


async def compare(
    shard: Shard, keys: Sequence[str], open_to: Open, now_s: Callable[[], float]
) -> Compared:
    """Compare what the primary and the replicas of a shard hold of some keys. `open_to(node)`
    returns a new connection that may read at a replica; `now_s`: a clock."""
    nodes = {name: _Node(name, open_to) for name in shard.nodes}
    try:
        primary = shard.primary
        if primary is None:
            raise CannotCompare("no node is known to be the primary")
        replicas = [name for name in shard.nodes if name != primary]
        await _catch_up(nodes[primary], [nodes[name] for name in replicas], now_s)
        return await _looks(nodes, primary, replicas, keys)
    except CannotCompare as e:
        return Compared(keys=len(keys), primary=shard.primary, error=str(e)[:300])
    finally:
        for node in nodes.values():
            await node.close()


async def _catch_up(primary: _Node, replicas: Sequence[_Node], now_s: Callable[[], float]) -> None:
    """Wait until every replica has reached the offset that the primary has now."""
    role, wanted = await primary.offset()
    if role != "primary":
        raise CannotCompare(f"{primary.name} is no longer the primary")
    deadline = now_s() + CATCH_UP_S
    for replica in replicas:
        while True:
            role, offset = await replica.offset()
            if role == "primary":
                raise CannotCompare(f"{replica.name} and {primary.name} both claim to be the "
                                    "primary")  # fmt: skip
            if offset >= wanted:
                break
            if now_s() > deadline:
                where = f"is at {offset}" if offset >= 0 else "is not connected"
                raise CannotCompare(
                    f"{replica.name} did not reach offset {wanted} of {primary.name} within "
                    f"{CATCH_UP_S:g} s: it {where}"
                )
            await asyncio.sleep(POLL_S)


async def _looks(
    nodes: dict[str, _Node], primary: str, replicas: Sequence[str], keys: Sequence[str]
) -> Compared:
    """Look until the nodes agree, or differ in the same way `LOOKS` times."""
    same, before, held = 0, None, 0
    looked = keys
    for look in range(1, LOOKS_MAX + 1):
        differences, found = await _look(nodes, primary, replicas, looked)
        held = found if look == 1 else held
        same = same + 1 if differences == before else 1
        before = differences
        if not differences or same >= LOOKS:
            return Compared(
                keys=len(keys), held=held, primary=primary, replicas=list(replicas), looks=look,
                differences=_told(primary, differences), count=len(differences),
            )  # fmt: skip
        await asyncio.sleep(PAUSE_S)
        looked = list(dict.fromkeys(key for _, key in differences))
    raise CannotCompare(f"the differences between nodes still changed after {LOOKS_MAX} looks")


def _told(primary: str, differences: dict[tuple[str, str], tuple[str, str]]) -> list[Difference]:
    """Return as many differences as fit into a line of the history."""
    told: list[Difference] = []
    size = 0
    for (node, key), (one, other) in list(differences.items())[:TOLD_MAX]:
        each = Difference(key=key, primary=primary, node=node, at_primary=one, at_node=other)
        size += len(msgspec.json.encode(each))
        if size > TOLD_BYTES_MAX:
            break
        told.append(each)
    return told


async def _look(
    nodes: dict[str, _Node], primary: str, replicas: Sequence[str], keys: Sequence[str]
) -> tuple[dict[tuple[str, str], tuple[str, str]], int]:
    """Return the differences between the primary and each replica, by (replica, key), and how many
    of the keys the primary holds."""
    at = {name: await nodes[name].held(keys) for name in (primary, *replicas)}
    now_ms = max([await nodes[name].time_ms() for name in (primary, *replicas)])
    exact = all(node.exact for node in nodes.values())
    differences: dict[tuple[str, str], tuple[str, str]] = {}
    for name in replicas:
        for key in keys:
            one, other = at[primary].get(key), at[name].get(key)
            if _expired(one, now_ms) or _expired(other, now_ms) or _alike(one, other, exact=exact):
                continue
            differences[name, key] = (_words(one), _words(other))
    return differences, len(at[primary])


def _expired(held: _Held | None, now_ms: int) -> bool:
    return held is not None and held.deadline_ms is not None and held.deadline_ms <= now_ms


def _alike(one: _Held | None, other: _Held | None, *, exact: bool) -> bool:
    if one is None or other is None:
        return one is other
    if (one.type, one.value, one.fields) != (other.type, other.value, other.fields):
        return False
    if one.deadline_ms is None or other.deadline_ms is None:
        return one.deadline_ms is other.deadline_ms
    return abs(one.deadline_ms - other.deadline_ms) <= (0 if exact else 1000)


def _shown(value: Any) -> str:
    """Return a comparable value in words."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, str):
        plain = value.isprintable() and not set(value) & set(' ,[]"')
        return value if value and plain else json.dumps(value)
    return "nil" if value is None else str(value)


def _words(held: _Held | None) -> str:
    return "nothing" if held is None else held.words()


def _comparable(type: str, value: Any) -> Any:
    """Return a value such that equal ones compare equal, whatever the order of the server."""
    if type == "set":
        return tuple(sorted(value))
    if type == "hash":
        return tuple(sorted(zip(value[::2], value[1::2], strict=True)))
    if type == "stream":
        return _stream(value)
    if isinstance(value, str) and len(value) > 4 * SHOWN:
        digest = hashlib.sha256(value.encode("latin-1")).hexdigest()[:16]
        return f"{value[:SHOWN]}… ({len(value)} bytes, sha256 {digest})"
    return _tuple(value)


def _stream(value: Any) -> Any:
    """Return the entries, the last id, and of each group the last id, and the ids and consumers of
    pending entries, of a reply to XINFO STREAM FULL."""
    stream = _map(value)
    groups = []
    for each in map(_map, stream.get("groups", ())):
        pending: list[Any] = next((each[name] for name in _PENDING if name in each), [])
        owned = tuple((entry[0], entry[1]) for entry in pending)
        groups.append((*(each.get(name) for name in _OF_GROUP), owned))
    return (*(_tuple(stream.get(name)) for name in _OF_STREAM), tuple(sorted(groups)))


def _map(flat: Any) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else {}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
