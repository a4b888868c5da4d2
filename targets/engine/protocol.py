"""What a server needs of an engine: an engine executes commands, the server does everything else.

An engine knows nothing of connections, replication, logs or disks. `python` is ours, in the process
of the server; an engine may be another process as well: `execute` may return its outcome at once or
an awaitable of it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from targets.engine.resp import Command, Error
from targets.engine.table import CommandSpec

# The time at which the effects of a log or a stream are applied. They contain absolute times, and
# keys expire by a DEL of the primary: at this time nothing expires by itself.
NEVER_MS = -(2**63)


class Message(NamedTuple):
    """A published message. `sharded`: by SPUBLISH."""

    sharded: bool
    channel: bytes
    text: bytes


class Blocked(NamedTuple):
    """The reply of a blocking command that has to wait for a write to one of its keys.

    `timeout_ms`: 0 for no limit. `nil`: the reply after that time. `again`: the command to execute
    when one of the keys was written.
    """

    keys: tuple[bytes, ...]
    timeout_ms: int
    nil: Any
    again: Command


NO_MESSAGES: list[Message] = []  # never changed


def nobody(sharded: bool, channel: bytes) -> int:
    """Return the number of subscribers where there are none."""
    return 0


class Context:
    """The circumstances in which commands are executed.

    `time_ms`: the time of day in milliseconds since 1970. `rng`: what random replies are drawn
    from. `deny`: the reply to commands that may write, also where a script calls them; expired keys
    are then not deleted but hidden, or shown unless `mask`. `may_block`: whether a blocking command
    may reply `Blocked`. `room`: bytes of arguments that writes of a script or a transaction may
    still have, None for no limit; the engine subtracts from it. `audience`: returns the number of
    subscribers of (sharded, channel).
    """

    __slots__ = ("audience", "deny", "mask", "may_block", "rng", "room", "time_ms")

    def __init__(
        self,
        time_ms: int,
        rng: random.Random,
        deny: Error | None = None,
        *,
        mask: bool = True,
        may_block: bool = False,
        room: int | None = None,
        audience: Callable[[bool, bytes], int] = nobody,
    ) -> None:
        self.time_ms = time_ms
        self.rng = rng
        self.deny = deny
        self.mask = mask
        self.may_block = may_block
        self.room = room
        self.audience = audience


class Outcome:
    """What a command did; valid until the engine executes the next one, its lists and dicts for
    ever.

    `reply`: to the client; may be an `Error` or `Blocked`. `effects`: commands that have the same
    effect on every replica, with absolute times and without chance. `reads`: every key that was
    looked at, also if it was absent or of the wrong type. `writes`: every key that changed, in both
    as the keys of a dict. `whole`: it looked at the whole key space (DBSIZE, KEYS, FLUSHALL).
    `messages`: what it published.
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
        """Add what another command of the same transaction did; the reply stays."""
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
    """Executes commands. An engine that answers later answers in the order of the calls; its server
    asks it one thing at a time, so that the order of a log is the order of execution.

    `commands`: what it can execute. `keys`: what is stored.
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
    """An engine that answers the most frequent read fast."""

    def plain(self, key: bytes) -> bytes | None:
        """Return the string at a key, None if the key is absent. Raises KeyError if it is of
        another type or has a time to live."""
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
    """An engine that can say whether its data are those of another."""

    def digest(self) -> bytes:
        """Return 40 hexadecimal digits, equal for equal data."""
        ...
