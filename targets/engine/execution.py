"""Execution of commands: (state, command, time, random) -> (reply, effects, reads, writes).

Nothing here knows of connections, replication or disks. Effects are what goes to replicas and
logs instead of the command: with absolute times, without chance. Read is every key that was looked
at, whatever the reply, also where it was found absent or of another type; written is every key
that has changed. `whole`: the command looked at the key space (DBSIZE, KEYS, FLUSHALL).

Semantics and texts are those of Redis 7.0; tests hold them against a real server.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from zlib import crc32

from sortedcontainers import SortedKeyList

from targets.engine.documentation import usage
from targets.engine.resp import Command, Error, Simple, number_text
from targets.engine.values import Hash, Set, SortedSet, Value

INT64 = 2**63
MEMBERS_A_COMMAND = 1000  # of a snapshot
STALE_ENDS_MAX = 1000

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"
FORBIDDEN = "ERR This Redis command is not allowed from script"
UNKNOWN_IN_SCRIPT = Error("ERR Unknown Redis command called from script")
WRONG_NUMBER_IN_SCRIPT = Error("ERR Wrong number of args calling Redis command from script")
NO_SUCH_KEY = "ERR no such key"


@dataclass
class State:
    """What a server holds. `expires`: milliseconds since 1970. `scripts`: by SHA-1. `sharded`: keys
    that a command does not name may be elsewhere, so it may not look for them."""

    values: dict[bytes, Value] = field(default_factory=dict)
    expires: dict[bytes, int] = field(default_factory=dict)
    scripts: dict[bytes, bytes] = field(default_factory=dict)
    sharded: bool = False
    _hashed: SortedKeyList[bytes] | None = None
    _ends: list[tuple[int, bytes]] = field(default_factory=list)  # a heap, with stale entries

    def expire(self, key: bytes, end_ms: int) -> None:
        self.expires[key] = end_ms
        heapq.heappush(self._ends, (end_ms, key))
        if len(self._ends) > 2 * len(self.expires) + STALE_ENDS_MAX:
            self._ends = [(end, key) for key, end in self.expires.items()]
            heapq.heapify(self._ends)

    def due(self, time_ms: int, most: int) -> list[bytes]:
        """Keys whose time has come, the earliest first."""
        keys: list[bytes] = []
        while self._ends and self._ends[0][0] <= time_ms and len(keys) < most:
            end, key = heapq.heappop(self._ends)
            if self.expires.get(key) == end:
                keys.append(key)
        for key in keys:  # they stay until they are deleted
            heapq.heappush(self._ends, (self.expires[key], key))
        return keys

    def put(self, key: bytes, value: Value) -> None:
        if self._hashed is not None and key not in self.values:
            self._hashed.add(key)
        self.values[key] = value

    def drop(self, key: bytes) -> None:
        del self.values[key]
        self.expires.pop(key, None)
        if self._hashed is not None:
            self._hashed.remove(key)

    def by_hash(self) -> SortedKeyList[bytes]:
        """The keys in the order of their CRC-32; kept from the first question on."""
        if self._hashed is None:
            self._hashed = SortedKeyList(self.values, key=crc32)
        return self._hashed

    def clear(self) -> None:
        self.values.clear()
        self.expires.clear()
        self._ends.clear()
        self._hashed = None

    def snapshot(self) -> list[Command]:
        """Commands that make an empty state equal to this one."""
        commands: list[Command] = []
        for key, value in self.values.items():
            name, words = _rebuilt(value)
            step = 2 * MEMBERS_A_COMMAND
            for start in range(0, len(words), step):
                commands.append((name, key, *words[start : start + step]))
            if key in self.expires:
                commands.append((b"PEXPIREAT", key, b"%d" % self.expires[key]))
        return commands


def _rebuilt(value: Value) -> tuple[bytes, list[bytes]]:
    """The command that makes a value, and its arguments after the key."""
    if isinstance(value, bytes):
        return b"SET", [value]
    if isinstance(value, deque):
        return b"RPUSH", list(value)
    if isinstance(value, Set):
        return b"SADD", list(value)
    if isinstance(value, Hash):
        return b"HSET", [word for pair in value.items() for word in pair]
    if isinstance(value, SortedSet):
        return b"ZADD", [word for m, s in value.scores.items() for word in (number_text(s), m)]
    from targets.engine.rdb import dump  # it needs the commands on streams

    return b"RESTORE", [b"0", dump(value)]


class Outcome(NamedTuple):
    """See the module's text. `reply` may be an `Error`, or `Blocked`."""

    reply: Any
    effects: list[Command]
    reads: dict[bytes, None]
    writes: dict[bytes, None]
    whole: bool


class Message(NamedTuple):
    """Something that was published. `sharded`: by SPUBLISH."""

    sharded: bool
    channel: bytes
    text: bytes


class Blocked(NamedTuple):
    """The reply of a blocking command that has to wait: to be executed again when one of the keys
    is written, as `again`. `timeout_ms`: 0 for ever. `nil`: the reply after that time."""

    keys: tuple[bytes, ...]
    timeout_ms: int
    nil: Any
    again: Command


def execute(
    state: State,
    command: Command,
    time_ms: int,
    rng: random.Random,
    deny: Error | None = None,
    *,
    may_block: bool = False,
    mask: bool = True,
) -> Outcome:
    """Execute one command; the state is changed in place. `deny`: what a command that may write is
    answered instead, also when a script calls it; then keys whose time has come are only hidden,
    or, without `mask`, shown."""
    call = Call(state, time_ms, rng, deny, mask=mask)
    call.may_block = may_block
    reply = call.run(command)
    effects = call.effects
    if len(effects) > 1 and effects[0] != (b"MULTI",):
        effects = [(b"MULTI",), *effects, (b"EXEC",)]
    return Outcome(reply, effects, call.reads, call.writes, call.whole)


def is_expired(state: State, key: bytes, time_ms: int) -> bool:
    """Whether a key is there still although its time has come."""
    end = state.expires.get(key)
    return end is not None and end <= time_ms


def is_write(command: Command) -> bool:
    """Whether a command may change keys; false for one that is not known."""
    known = find(TABLE, command)
    return known is not None and known.write


def refuse(command: Command) -> Error | None:
    """Unknown, or with too few or too many arguments: not to be executed, nor queued."""
    known = find(TABLE, command)
    if known is None:
        return unknown(command)
    return None if known.fits(command) else wrong_number(known.name)


def find(table: Mapping[bytes, Known], command: Command) -> Known | None:
    """A command's entry in a table; of those with subcommands, the subcommand's."""
    name = command[0]
    known = None if b"|" in name else table.get(name) or table.get(name.upper())
    if known is not None and known.container and len(command) > 1:
        return table.get(b"%s|%s" % (known.name.encode(), command[1].upper()))
    return known


def unknown(command: Command) -> Error:
    if command[0].upper() in CONTAINERS and len(command) > 1:
        name = printable(command[0]).upper()
        return Error(f"ERR unknown subcommand '{printable(command[1])}'. Try {name} HELP.")
    args = ""
    for word in command[1:]:
        if len(args) >= 128:
            break
        args += f"'{printable(word)[: 128 - len(args)]}' "
    return Error(f"ERR unknown command '{printable(command[0])}', with args beginning with: {args}")


def wrong_arity(command: Command, arity: int) -> Error | None:
    """`arity` counts the name too; negative: at least so many."""
    if len(command) == arity or (arity < 0 and len(command) >= -arity):
        return None
    return wrong_number(command[0].decode("latin-1"))


def wrong_number(name: str) -> Error:
    return Error(f"ERR wrong number of arguments for '{name.lower()}' command")


def printable(word: bytes) -> str:
    """As it is shown in an error."""
    return word[:128].partition(b"\0")[0].decode("utf-8", "surrogateescape")


class Call:
    """One command that is being executed; of a script, all that it calls."""

    __slots__ = (
        "_changed", "_instead", "audience", "deny", "effects", "expiring", "in_script", "mask",
        "may_block", "messages", "reads", "rng", "room", "state", "time_ms", "whole", "writes",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        time_ms: int,
        rng: random.Random,
        deny: Error | None = None,
        *,
        mask: bool = True,
    ) -> None:
        self.state = state
        self.rng = rng
        self.mask = mask
        self.in_script = False
        self.audience: Callable[[bool, bytes], int] = lambda sharded, channel: 0
        self._changed = False
        self._instead: list[Command] | None = None
        self.begin(time_ms, deny)

    def begin(self, time_ms: int, deny: Error | None, *, may_block: bool = False) -> None:
        """As if it were new: what it has gathered is the caller's."""
        self.time_ms = time_ms
        self.deny = deny
        self.expiring = deny is None  # what has expired is deleted; a script of reads does so too
        self.may_block = may_block
        self.room: int | None = None  # bytes that commands of a script or transaction may write
        self.whole = False
        self.effects: list[Command] = []
        self.messages: list[Message] = []  # that were published
        self.reads: dict[bytes, None] = {}
        self.writes: dict[bytes, None] = {}

    def run(self, command: Command) -> Any:
        """The reply; errors are replies."""
        known = find(TABLE, command)
        if known is None:
            return UNKNOWN_IN_SCRIPT if self.in_script else unknown(command)
        if not known.fits(command):
            return WRONG_NUMBER_IN_SCRIPT if self.in_script else wrong_number(known.name)
        if self.in_script and known.noscript:
            return Error(FORBIDDEN)
        return self.perform(known, command)

    def perform(self, known: Known, command: Command) -> Any:
        """The reply of a command of right arity."""
        if known.write and self.deny is not None:
            return self.deny
        if self.room is not None and known.write:
            self.room -= sum(map(len, command))
            if self.room < 0:
                return Error("ERR a record of so many bytes is more than max-record-bytes")
        self._changed, self._instead = False, None
        try:
            reply = known.run(self, command)
        except Error as e:
            reply = e
        if known.nested:
            return reply
        instead: list[Command] | None = self._instead  # commands have set it meanwhile
        if instead is not None:
            self.effects += instead
        elif self._changed:
            self.effects.append(command)
        return reply

    # --- what commands do with keys

    def peek(self, key: bytes) -> Value | None:
        """A value of any kind; removes it first if its time has come."""
        self.reads[key] = None
        state = self.state
        if state.expires and is_expired(state, key, self.time_ms):
            if not self.expiring:
                return None if self.mask else state.values.get(key)
            self._drop(key)
            self.effects.append((b"DEL", key))
        return state.values.get(key)

    def look(self, key: bytes, kind: type) -> Any:
        """A value of a kind, or None; raises WRONGTYPE."""
        value = self.peek(key)
        if value is not None and type(value) is not kind:
            raise Error(WRONG_TYPE)
        return value

    def put(self, key: bytes, value: Value, *, keep_ttl: bool = True) -> None:
        self.state.put(key, value)
        if not keep_ttl:
            self.state.expires.pop(key, None)
        self.writes[key] = None
        self._changed = True

    def touch(self, key: bytes) -> None:
        """The key's value was changed in place."""
        self.writes[key] = None
        self._changed = True

    def settle(self, key: bytes, value: Any) -> None:
        """The key's value was changed in place; an empty one goes."""
        self.touch(key)
        if not value:
            self._drop(key)

    def remove(self, key: bytes) -> bool:
        there = self.peek(key) is not None
        if there:
            self._drop(key)
            self._changed = True
        return there

    def _drop(self, key: bytes) -> None:
        self.state.drop(key)
        self.writes[key] = None

    def instead(self, *effects: Command) -> None:
        """What is to be propagated in place of the command itself."""
        self._instead = list(effects)


class Known(NamedTuple):
    """`arity`, `flags`, `keys` (first, last, step) as in COMMAND INFO. `movable`: finds the keys
    of a command whose keys are not at fixed places. `nested`: runs commands itself. `container`:
    has subcommands, with entries of their own (`OBJECT|ENCODING`)."""

    name: str
    run: Callable[..., Any]
    arity: int
    flags: tuple[str, ...]
    keys: tuple[int, int, int]
    movable: Callable[[Command], Sequence[bytes]] | None
    write: bool
    noscript: bool
    nested: bool
    container: bool

    @property
    def sub(self) -> bool:
        """Whether there is more to its name than one word: a subcommand, or what has some."""
        return self.container or "|" in self.name

    def fits(self, command: Command) -> bool:
        """Whether it has so many words as it must."""
        arity = self.arity
        return len(command) == arity or (arity < 0 and len(command) >= -arity)

    def keys_of(self, command: Command) -> Sequence[bytes]:
        """The keys that a command of right arity names; raises `Error` where it can't be told."""
        if self.movable is not None:
            return self.movable(command)
        first, last, step = self.keys
        if first == 0:
            return ()
        if first == last:
            return (command[first],)
        return command[first : last + 1 if last >= 0 else len(command) + last + 1 : step]


TABLE: dict[bytes, Known] = {}
CONTAINERS: dict[bytes, None] = {}
Run = Callable[[Call, Command], Any]


def known(
    name: str,
    run: Callable[..., Any],
    arity: int,
    flags: str = "",
    keys: tuple[int, int, int] = (0, 0, 0),
    movable: Callable[[Command], Sequence[bytes]] | None = None,
) -> Known:
    """An entry of a table of commands. `flags`: as in COMMAND INFO, with spaces between."""
    words = tuple(flags.split())
    nested = name in ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO")
    if movable is not None:
        words = (*words, "movablekeys")
    write, noscript = "write" in words, "noscript" in words
    container = name.encode() in CONTAINERS
    return Known(name, run, arity, words, keys, movable, write, noscript, nested, container)


def container(name: str) -> None:
    """Registers a command that has subcommands, and its HELP."""
    CONTAINERS[name.encode()] = None
    TABLE[name.encode()] = known(name, lambda call, cmd: None, -2)

    @command(f"{name}|HELP", 2, "loading stale")
    def _help(call: Call, cmd: Command) -> Any:
        return [Simple(line.encode()) for line in usage(name)]


def command(
    name: str,
    arity: int,
    flags: str = "",
    keys: tuple[int, int, int] = (0, 0, 0),
    movable: Callable[[Command], Sequence[bytes]] | None = None,
) -> Callable[[Run], Run]:
    """Registers the function that executes a command."""

    def register(run: Run) -> Run:
        TABLE[name.encode()] = known(name, run, arity, flags, keys, movable)
        return run

    return register


ONE: Final = (1, 1, 1)
ALL: Final = (1, -1, 1)


def counted_keys(place: int) -> Callable[[Command], Sequence[bytes]]:
    """Keys of a command that says at a place how many follow it."""

    def find(cmd: Command) -> Sequence[bytes]:
        try:
            count = integer(cmd[place])
        except Error:
            count = 0
        if not 0 <= count <= len(cmd) - place - 1:
            count = 0
        return cmd[place + 1 : place + 1 + count]

    return find


def integer(word: bytes, error: str = NOT_AN_INTEGER) -> int:
    """As strict as Redis: no spaces, no plus sign, 64 bits."""
    digits = word[1:] if word[:1] == b"-" else word
    plain = (
        digits.isdigit()
        and len(digits) < 20
        and (digits == b"0" or digits[:1] != b"0")
        and word != b"-0"
    )
    if not plain or not -INT64 <= int(word) < INT64:
        raise Error(error)
    return int(word)


def floating(word: bytes, error: str = NOT_A_FLOAT) -> float:
    """A double: decimal, hexadecimal or infinite, but no NaN, no spaces, no underscores."""
    text = word.decode("latin-1")
    try:
        if not text or text[0].isspace() or text[-1].isspace() or "_" in text:
            raise ValueError
        lower = text.lower().lstrip("+-")
        value = float.fromhex(text) if lower.startswith("0x") else float(text)
    except (ValueError, OverflowError):
        raise Error(error) from None
    mantissa = lower.removeprefix("0x").split("p" if "x" in lower else "e")[0]
    lost = value == 0 and any(digit in "123456789abcdef" for digit in mantissa)
    too_big = abs(value) == math.inf and any(digit.isdigit() for digit in mantissa)
    if value != value or lost or too_big:
        raise Error(error)
    return value
