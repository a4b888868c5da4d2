"""The interface of an engine: it executes commands, and its server does everything else.

An engine does not use connections, replication, logs or disks. `python` is the one in the server's
process; an engine may also be another process, as `execute` may return an awaitable of its outcome.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from targets.engine.resp import Command, Error
from targets.engine.table import CommandSpec

# The time at which the effects of a log or a stream are applied: they contain absolute times, and
# expired keys are deleted by a DEL of the primary, so at this time no key is expired.
NEVER_MS = -(2**63)


class Message(NamedTuple):
    """A published message. `sharded`: published by SPUBLISH."""

    sharded: bool
    channel: bytes
    text: bytes


class Blocked(NamedTuple):
    """The reply of a blocking command that has to wait for a write to one of its keys.

    `timeout_ms`: 0 for no limit. `nil`: the reply after that time. `again`: for each key, the
    command to execute when it was written, in a context that is `resumed`.
    """

    keys: tuple[bytes, ...]
    timeout_ms: int
    nil: Any
    again: Mapping[bytes, Command]


NO_MESSAGES: list[Message] = []  # never changed


def no_audience(sharded: bool, channel: bytes) -> int:
    """Return 0, the number of subscribers in a server without any."""
    return 0


class Context:
    """The circumstances in which commands are executed.

    `time_ms`: the time of day in milliseconds since 1970. `rng`: the source of random replies.
    `deny`: the reply to commands that may write, also if a script calls them; expired keys are then
    not deleted, but hidden if `mask` is true, else shown. `may_block`: whether a blocking command
    may reply `Blocked`; `resumed`: whether it has done so before. `room`: bytes of arguments that a
    script or a transaction may still write, None for no limit; the engine subtracts from it.
    `audience`: returns the number of subscribers of (sharded, channel).
    """

    __slots__ = ("audience", "deny", "mask", "may_block", "resumed", "rng", "room", "time_ms")

    def __init__(
        self,
        time_ms: int,
        rng: random.Random,
        deny: Error | None = None,
        *,
        mask: bool = True,
        may_block: bool = False,
        room: int | None = None,
        audience: Callable[[bool, bytes], int] = no_audience,
    ) -> None:
        self.time_ms = time_ms
        self.rng = rng
        self.deny = deny
        self.mask = mask
        self.may_block = may_block
        self.resumed = False
        self.room = room
        self.audience = audience


class Outcome:
    """The outcome of a command; valid until the engine executes the next one, but its lists and
    dicts stay valid.

    `reply`: to the client; may be an `Error` or `Blocked`. `effects`: commands that have the same
    effect on every replica, with absolute times and no random choices. `reads`: every key that was
    looked up, also if it was absent or of the wrong type. `writes`: every key that changed; both
    are ordered sets, as keys of a dict. `whole`: the command accessed the whole key space (DBSIZE,
    KEYS, FLUSHALL). `messages`: those that it published.
    """

    __slots__ = ("effects", "messages", "reads", "reply", "whole", "writes")

    reply: Any
    effects: list[Command]
    messages: list[Message]
    reads: dict[bytes, None]
    writes: dict[bytes, None]
    whole: bool

    def __init__(self, reply: Any = None) -> None:
        self.reply = reply
        self.effects = []
        self.messages = NO_MESSAGES
        self.reads = {}
        self.writes = {}
        self.whole = False

    def add(self, other: Outcome) -> None:
        """Add the outcome of another command of the same transaction, without its reply."""
        self.effects += other.effects
        self.messages = self.messages + other.messages
        self.reads.update(other.reads)
        self.writes.update(other.writes)
        self.whole = self.whole or other.whole


class KeySpace(Protocol):
    """The keys of an engine, without their values."""

    def __contains__(self, key: bytes) -> bool: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...

    @property
    def expiring(self) -> int:
        """The number of keys with a time to live."""
        ...

    def is_expired(self, key: bytes, time_ms: int) -> bool:
        """Return whether a key is still stored although its time to live has passed."""
        ...

    def due(self, time_ms: int, most: int) -> list[bytes]:
        """Return up to `most` keys whose time to live has passed, the earliest first."""
        ...


class Engine(Protocol):
    """Executes commands. An asynchronous engine answers in the order of the calls; its server makes
    one call at a time, so that the order of a log is the order of execution.

    `commands`: those that it can execute. `keys`: those that are stored.
    """

    commands: Mapping[bytes, CommandSpec[Any]]
    keys: KeySpace

    def execute(self, command: Command, context: Context) -> Outcome | Awaitable[Outcome]:
        """Execute one command. Errors are replies."""
        ...

    def apply(self, effects: Sequence[Sequence[bytes]]) -> Outcome | Awaitable[Outcome]:
        """Apply the effects of another engine of this kind, at `NEVER_MS`. The reply is None, or
        the `Error` of the first one that could not be applied."""
        ...

    def clear(self) -> Awaitable[None] | None:
        """Delete all keys."""
        ...


@runtime_checkable
class PlainStrings(Protocol):
    """An engine with a fast path for the most frequent read."""

    def plain(self, key: bytes) -> bytes | None:
        """Return the string at a key, None if the key is absent. Raises KeyError if it is of
        another type or has a time to live."""
        ...


@runtime_checkable
class Estimating(Protocol):
    """An engine that executes commands at once, and tells beforehand which may take long. `brief`:
    the names of commands that never do, unless their arguments are many."""

    brief: frozenset[str]

    def work(self, command: Command, spec: CommandSpec[Any]) -> int:
        """Return roughly how many elements a command of matching arity may look at."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """An engine whose data can be replaced by that of an RDB file."""

    def load(self, file: bytes, at_once: int) -> Iterator[None]:
        """Load a file into an empty engine; yields after every `at_once` keys, so that other work
        can be done. Raises `Malformed` of `rdb`."""
        ...


@runtime_checkable
class Digestible(Protocol):
    """An engine with a digest of its data, by which engines can be compared."""

    def digest(self) -> bytes:
        """Return 40 hexadecimal digits, equal for equal data."""
        ...
