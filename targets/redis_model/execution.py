"""Execution of commands: (state, command, time, random) -> (reply, effects, reads, writes).

Nothing here knows of connections, replication or disks. Effects are what goes to replicas and
logs instead of the command: with absolute times, without chance. Read is every key that was looked
at, whatever the reply, also where it was found absent or of another type; written is every key
that has changed. DBSIZE and FLUSHALL look at no key in particular.

Semantics and texts are those of Redis 7.0; tests hold them against a real server.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from targets.redis_model.resp import Command, Error

# Sets keep the order of insertion, so that what is drawn from them depends on the seed alone.
Value = bytes | list[bytes] | dict[bytes, None]
KINDS: Final[dict[type, bytes]] = {bytes: b"string", list: b"list", dict: b"set"}
INT64 = 2**63
MEMBERS_A_COMMAND = 1000  # of a snapshot

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"
FORBIDDEN = "ERR This Redis command is not allowed from script"


@dataclass
class State:
    """What a server holds. `expires`: milliseconds since 1970. `scripts`: by SHA-1."""

    values: dict[bytes, Value] = field(default_factory=dict)
    expires: dict[bytes, int] = field(default_factory=dict)
    scripts: dict[bytes, bytes] = field(default_factory=dict)

    def snapshot(self) -> list[Command]:
        """Commands that make an empty state equal to this one."""
        commands: list[Command] = []
        for key, value in self.values.items():
            if isinstance(value, bytes):
                commands.append((b"SET", key, value))
            else:
                name, members = b"RPUSH" if isinstance(value, list) else b"SADD", list(value)
                for start in range(0, len(members), MEMBERS_A_COMMAND):
                    part = members[start : start + MEMBERS_A_COMMAND]
                    commands.append((name, key, *part))
            if key in self.expires:
                commands.append((b"PEXPIREAT", key, b"%d" % self.expires[key]))
        return commands


class Outcome(NamedTuple):
    """See the module's text. `reply` may be an `Error`."""

    reply: Any
    effects: list[Command]
    reads: dict[bytes, None]
    writes: dict[bytes, None]


def execute(
    state: State,
    command: Command,
    time_ms: int,
    rng: random.Random,
    deny: Error | None = None,
) -> Outcome:
    """Execute one command; the state is changed in place. `deny`: what a command that may write is
    answered instead, also when a script calls it; then keys whose time has come are only hidden."""
    call = Call(state, time_ms, rng, deny)
    reply = call.run(command)
    return Outcome(reply, call.effects, call.reads, call.writes)


def is_expired(state: State, key: bytes, time_ms: int) -> bool:
    """Whether a key is there still although its time has come."""
    end = state.expires.get(key)
    return end is not None and end <= time_ms


def is_write(name: bytes) -> bool:
    """Whether a command may change keys; false for one that is not known."""
    known = TABLE.get(name.upper())
    return known is not None and known.write


def refuse(command: Command) -> Error | None:
    """Unknown, or with too few or too many arguments: not to be executed, nor queued."""
    known = TABLE.get(command[0].upper())
    if known is None:
        args = "".join(f"'{printable(a)}' " for a in command[1:])
        return Error(
            f"ERR unknown command '{printable(command[0])}', with args beginning with: {args}"
        )
    return wrong_arity(command, known.arity)


def wrong_arity(command: Command, arity: int) -> Error | None:
    """`arity` counts the name too; negative: at least so many."""
    if len(command) == arity or (arity < 0 and len(command) >= -arity):
        return None
    name = printable(command[0]).lower()
    return Error(f"ERR wrong number of arguments for '{name}' command")


def printable(word: bytes) -> str:
    return word[:128].decode("utf-8", "replace")


class Call:
    """One command that is being executed; of a script, all that it calls."""

    def __init__(
        self, state: State, time_ms: int, rng: random.Random, deny: Error | None = None
    ) -> None:
        self.state = state
        self.time_ms = time_ms
        self.rng = rng
        self.deny = deny
        self.in_script = False
        self.effects: list[Command] = []
        self.reads: dict[bytes, None] = {}
        self.writes: dict[bytes, None] = {}
        self._instead: list[Command] | None
        self._begin()

    def run(self, command: Command) -> Any:
        """The reply; errors are replies."""
        error = refuse(command)
        if error is not None:
            return error
        self._begin()
        known = TABLE[command[0].upper()]
        if known.write and self.deny is not None:
            return self.deny
        try:
            reply = known.run(self, command)
        except Error as e:
            reply = e
        if known.nested:
            return reply
        if self._instead is not None:
            self.effects += self._instead
        elif self._changed:
            self.effects.append(command)
        return reply

    def _begin(self) -> None:
        self._changed, self._instead = False, None

    # --- what commands do with keys

    def peek(self, key: bytes) -> Value | None:
        """A value of any kind; removes it first if its time has come."""
        self.reads.setdefault(key)
        if is_expired(self.state, key, self.time_ms):
            if self.deny is not None:
                return None
            self._drop(key)
            self.effects.append((b"DEL", key))
        return self.state.values.get(key)

    def look(self, key: bytes, kind: type) -> Any:
        """A value of a kind, or None; raises WRONGTYPE."""
        value = self.peek(key)
        if value is not None and type(value) is not kind:
            raise Error(WRONG_TYPE)
        return value

    def put(self, key: bytes, value: Value, *, keep_ttl: bool = True) -> None:
        self.state.values[key] = value
        if not keep_ttl:
            self.state.expires.pop(key, None)
        self.touch(key)

    def touch(self, key: bytes) -> None:
        """The key's value was changed in place."""
        self.writes.setdefault(key)
        self._changed = True

    def remove(self, key: bytes) -> bool:
        there = self.peek(key) is not None
        if there:
            self._drop(key)
            self._changed = True
        return there

    def _drop(self, key: bytes) -> None:
        del self.state.values[key]
        self.state.expires.pop(key, None)
        self.writes.setdefault(key)

    def instead(self, *effects: Command) -> None:
        """What is to be propagated in place of the command itself."""
        self._instead = list(effects)


class Known(NamedTuple):
    """`arity` as in COMMAND INFO. `nested`: runs commands itself (scripts)."""

    run: Callable[[Call, Command], Any]
    arity: int
    write: bool
    nested: bool


TABLE: dict[bytes, Known] = {}


def command(
    name: str, arity: int, *, write: bool = False, nested: bool = False
) -> Callable[[Callable[[Call, Command], Any]], Callable[[Call, Command], Any]]:
    """Registers the function that executes a command."""

    def register(run: Callable[[Call, Command], Any]) -> Callable[[Call, Command], Any]:
        TABLE[name.encode()] = Known(run, arity, write, nested)
        return run

    return register


def integer(word: bytes) -> int:
    """As strict as Redis: no spaces, no plus sign, 64 bits."""
    digits = word[1:] if word[:1] == b"-" else word
    plain = (
        digits.isdigit()
        and len(digits) < 20
        and (digits == b"0" or digits[:1] != b"0")
        and word != b"-0"
    )
    if not plain or not -INT64 <= int(word) < INT64:
        raise Error(NOT_AN_INTEGER)
    return int(word)
