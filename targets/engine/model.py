"""A model of Redis and Valkey, for histories of any commands on one group of keys. The command
engine executes its steps, with the answers of one version of the server."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Container, Hashable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from harness.models.base import INCONSISTENT, unknown_operation
from targets.engine import rdb, streams
from targets.engine.commands import commands_of
from targets.engine.descriptions import documentation, information, names_of
from targets.engine.execution import Call
from targets.engine.parsing import integer
from targets.engine.protocol import Context
from targets.engine.resp import BadSyntax, Error, to_resp2
from targets.engine.state import State
from targets.engine.syntax import RANDOM, UNORDERED
from targets.engine.table import find
from targets.engine.values import (
    FIRST_ID,
    Group,
    Hash,
    Pending,
    Set,
    SortedSet,
    Stream,
    Value,
)
from targets.engine.version import REFERENCE, Version, version_named

STEPS_KEPT: Final = 100_000
TIME_MS: Final = 1_700_000_000_000  # of operations that do not say when they were executed
NEVER_MS: Final = 1 << 50  # after any time of a run
FIELDS_SLACK_MS: Final = 60_000  # of the deadlines of fields, which are far away
# Commands whose replies count time, by how many milliseconds the counted unit has.
COUNTING: Final = {
    "TTL": 1000, "PTTL": 1, "EXPIRETIME": 1000, "PEXPIRETIME": 1,
    "HTTL": 1000, "HPTTL": 1, "HEXPIRETIME": 1000, "HPEXPIRETIME": 1,
}  # fmt: skip
# Commands that set a deadline, with the index of the time to live and its unit in milliseconds, and
# options that do.
_SETTING: Final = {
    "EXPIRE": (2, 1000), "PEXPIRE": (2, 1), "SETEX": (2, 1000), "PSETEX": (2, 1),
    "HEXPIRE": (2, 1000), "HPEXPIRE": (2, 1),
}  # fmt: skip
_OPTIONS: Final = {"EX": 1000, "PX": 1}
# Commands whose replies depend on the server, on chance, or on an unspecified order.
_LEFT_OUT: Final = frozenset(RANDOM) - {"XADD", "XTRIM", "XPENDING", *COUNTING} | {
    "XINFO|STREAM", "MEMORY|USAGE", "EVAL", "EVALSHA", "EVAL_RO",
    "EVALSHA_RO", "SPUBLISH", "RESTORE", "XPENDING",
    "ZLEXCOUNT", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZREMRANGEBYLEX",
}  # fmt: skip
_WORDS_LEFT_OUT: Final = frozenset(
    {"*", "~", "BY", "GET", "GT", "LT", "DB", "BLOCK", "BYLEX", "TIME", "IDLE", "ANY", "BYPOLYGON"}
)
_PAIRS: Final = ("HGETALL",)
_SEARCHES: Final = ("GEOSEARCH", "GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER",
                    "GEORADIUSBYMEMBER_RO")  # fmt: skip
# Known faults of servers that would break a connection or a history; see the tests.
_BROKEN: Final = {("valkey", (9, 0)): frozenset({"HPERSIST", "HSETEX", "HTTL", "HPTTL",
                                                "HEXPIRETIME", "HPEXPIRETIME"})}  # fmt: skip


class CommandModel:
    """Operations `read` and `write` with the value [words, reply], the reply in the form that
    `reply_of` returns, or [words, reply, called, returned] with the times, in Unix milliseconds, of
    commands on which time has an effect (`returned` is None where the outcome is unknown); and
    `expire` of [key, the earliest deadline], which an operation has set.

    A key certainly exists until its earliest deadline, and certainly does not after its latest one.
    `slack_ms`: by how much clocks may err. Histories may only contain commands that the method
    `understands` accepts.
    """

    recurs = True
    cost = 50

    def __init__(self, version: Version = REFERENCE, slack_ms: int = 0) -> None:
        self.step = lru_cache(STEPS_KEPT)(self._step)  # a search repeats the same steps
        self.version = version
        self.slack_ms = slack_ms
        self._commands = commands_of(version)
        self._shortest = version.since((7, 2), (8, 1))
        self._keeps_minus_zero = not version.since((7, 0), (0, 0))  # as a score

    @classmethod
    def of(cls, server: str) -> CommandModel:
        """Return the model of a server whose name and version are in a text, as `Valkey 9.1.2`."""
        return cls(version_named(server))

    def documented(self) -> tuple[Any, Any]:
        """Return the replies to COMMAND DOCS and COMMAND of the commands of this version, for
        servers that have no COMMAND DOCS."""
        names = names_of(self._commands)
        made = documentation(self._commands, names), information(self._commands, names)
        return _texts(to_resp2(made[0])), _texts(to_resp2(made[1]))

    # --- commands to draw

    def understands(self, words: Sequence[str], keys: Container[str]) -> bool:
        """Return whether the engine has a command that names one or more of these keys and no
        others, and whose reply depends on their data and on the time alone."""
        command = tuple(word.encode() for word in words)
        known = find(self._commands, command)
        if known is None or not known.fits(command) or known.name in _LEFT_OUT:
            return False
        if known.name in _BROKEN.get(self.version, ()):
            return False
        odd = _WORDS_LEFT_OUT & {word.upper() for word in words[1:]}
        if known.name == "SET" or known.name.startswith("BITFIELD"):
            odd -= {"GET"}
        if known.name.startswith("GEO") and "inf" in words:
            return False
        named = known.keys_of(command)
        if odd or not named or any(key.decode() not in keys for key in named):
            return False
        return not any(
            isinstance(self._executed(state, command, TIME_MS), BadSyntax)
            for state in self._examples(named)
        )

    @property
    def fields_expire(self) -> bool:
        """Whether fields of hashes can have a time to live."""
        return b"HPEXPIRE" in self._commands

    def needs_time(self, words: Sequence[str]) -> bool:
        """Return whether the time has an effect on a command: it counts it, or sets a deadline."""
        name = words[0].upper()
        return (
            name in COUNTING
            or name in _SETTING
            or not _DEADLINE_WORDS.isdisjoint(word.upper() for word in words[2:])
        )

    def time_to_live_ms(self, words: Sequence[str]) -> int | None:
        """Return the time to live that a command may give to its keys; None if it gives none, or to
        fields of hashes only."""
        name = words[0].upper()
        if name.startswith("H"):
            return None
        word, unit = None, 1
        if name in _SETTING:
            at, unit = _SETTING[name]
            word = words[at] if len(words) > at else None
        else:
            for i, each in enumerate(words[:-1]):
                if each.upper() in _OPTIONS and i >= 2:
                    word, unit = words[i + 1], _OPTIONS[each.upper()]
        try:
            return None if word is None else max(0, integer(word.encode())) * unit
        except Error:
            return None

    def keys_of(self, words: Sequence[str]) -> list[str]:
        """Return the keys that a command names."""
        command = tuple(word.encode() for word in words)
        known = find(self._commands, command)
        return [] if known is None else [key.decode() for key in known.keys_of(command)]

    def could_answer(self, words: Sequence[str], seen: Any) -> bool:
        """Return whether a reply is of a kind that the command may have, with another error or type
        of value at worst in some states: a reply of no such kind is unlike this model's."""
        command = tuple(word.encode() for word in words)
        entry = find(self._commands, command)
        if entry is None or not entry.fits(command):
            return False
        kinds = {
            _kind(self._seen(words, self._executed(state, command, TIME_MS)))
            for state in self._examples(entry.keys_of(command), more=True)
        }
        return _kind(seen) in kinds

    # --- steps

    def init(self) -> Hashable:
        return ()

    def _step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        if f == "expire":
            return _without(state, *value)
        if f not in ("read", "write"):
            raise unknown_operation("redis", f, "read, write and expire")
        words, seen, *times = value
        if self._keeps_minus_zero:
            seen = _without_minus_zero(seen)
        called, returned = times if times else (None, None)
        time_ms = TIME_MS if called is None else called
        command = tuple(word.encode() for word in words)
        entry = find(self._commands, command)
        keys = frozenset(() if entry is None else entry.keys_of(command))
        items = [item for item in state if item[0] in keys]
        thawed = self._thawed(items)
        reply = self._seen(words, self._executed(thawed, command, time_ms))
        lasted = NEVER_MS if returned is None else returned - time_ms
        if known and not _agrees(words[0].upper(), reply, seen, _spread(items) + lasted):
            return INCONSISTENT
        if entry is None or not (entry.write or entry.name == "PFCOUNT"):
            return state
        others = [item for item in state if item[0] not in keys]
        lasted = lasted if called is not None else 0
        return _frozen(thawed, others, items, lasted, self.slack_ms)

    def reply_of(self, words: Sequence[str], reply: Any) -> Any:
        return reply_of(words, reply)

    def _seen(self, words: Sequence[str], reply: Any) -> Any:
        return reply_of(words, to_resp2(reply, shortest=self._shortest))

    def _executed(self, state: State, command: tuple[bytes, ...], time_ms: int) -> Any:
        # Commands that depend on chance are left out.
        return Call(state, self._commands, Context(time_ms, random.Random(0))).run(command)

    def _state(self) -> State:
        return State(sharded=True, version=self.version)

    def _examples(self, keys: Sequence[bytes], *, more: bool = False) -> Iterator[State]:
        """Yield states to check syntax and kinds of replies in: some commands check their syntax
        only if their key exists."""
        yield self._state()
        values = chain(_example_values(), _more_values()) if more else _example_values()
        for value in values:
            state = self._state()
            for key in keys:
                state.put(key, value)
            yield state

    def _thawed(self, frozen: Any) -> State:
        state = self._state()
        for key, value, deadline in frozen:
            state.put(key, _thawed_value(value))
            if deadline is not None:
                state.expire(key, deadline[1])
        return state


# What examples contain: texts that workloads use, too, so that commands find them.
_MEMBERS: Final = (b"a", b"b", b"c", b"1", b"2", b"", b"3.5")


def _example_values() -> Iterator[Value]:
    """Yield values of every type, new ones each time, as commands change them."""
    yield from (b"1", b"a", b"9223372036854775807", b"3.5")
    yield deque(_MEMBERS)
    yield deque(reversed(_MEMBERS))
    yield Set(dict.fromkeys(_MEMBERS))
    for word in (b"1", b"a", b"9223372036854775807", b"3.5"):
        yield Hash(dict.fromkeys(_MEMBERS, word))
    made = SortedSet()
    for i, member in enumerate(_MEMBERS):
        made.set(member, 3479099956230698.0 + i)
    yield made
    other = SortedSet()
    other.set(b"other", 1.0)
    yield other
    for groups in ((), (b"g",)):
        stream = Stream()
        for name in groups:
            stream.groups[name] = Group(FIRST_ID, 0)
        yield stream
    full = Stream()
    for i in range(1, 6):
        streams.append(full, (i, 1), (b"a", b"1"))
    for name in (b"g", b"a"):
        full.groups[name] = Group((5, 1), 5)
        for entry_id in full.entries:
            full.groups[name].pending[entry_id] = Pending(b"alice", TIME_MS, 1)
        full.groups[name].consumers[b"alice"] = TIME_MS
    yield full


def _more_values() -> Iterator[Value]:
    """Yield values that only replies, not syntax, depend on."""
    yield from _MEMBERS
    for member in _MEMBERS:
        yield deque([member] * 12)
    for cached in (b"\0", b"\x80"):  # a HyperLogLog with something appended
        yield b"HYLL\x01" + bytes(10) + cached + b"\x7f\xff" + b"a"
    late = Stream()
    streams.append(late, (1 << 63, 1), (b"a", b"1"))
    yield late


_DEADLINE_WORDS: Final = frozenset({"EX", "PX", "EXAT", "PXAT"})


def _texts(reply: Any) -> Any:
    """Return a reply with its bytes as text."""
    if isinstance(reply, list):
        return [_texts(each) for each in reply]
    return reply.decode("latin-1") if isinstance(reply, bytes) else reply


def _without(state: Any, key: str, earliest: int) -> Any:
    """Return the state without a key that has this earliest deadline, INCONSISTENT if it has
    another or none."""
    name = key.encode()
    for i, (each, _, deadline) in enumerate(state):
        if each == name and deadline is not None and deadline[0] == earliest:
            return (*state[:i], *state[i + 1 :])
    return INCONSISTENT


def _spread(items: Sequence[Any]) -> int:
    """Return how far the earliest and the latest deadline of a key are apart at most."""
    return max((end[1] - end[0] for _, _, end in items if end is not None), default=0)


def _agrees(name: str, expected: Any, seen: Any, slack_ms: int) -> bool:
    """Return whether a reply is the expected one; a count of time may be lower by the slack."""
    if name not in COUNTING:
        return bool(expected == seen)
    if name.startswith("H"):
        slack_ms += FIELDS_SLACK_MS
        if isinstance(expected, tuple) and isinstance(seen, tuple) and len(expected) == len(seen):
            return all(_counted(name, *pair, slack_ms) for pair in zip(expected, seen, strict=True))
    return _counted(name, expected, seen, slack_ms)


def _counted(name: str, expected: Any, seen: Any, slack_ms: int) -> bool:
    both = type(expected) is int and type(seen) is int
    if not both or expected < 0 or seen < 0:
        return bool(expected == seen)
    more = FIELDS_SLACK_MS if name.startswith("H") else 0
    unit = COUNTING[name]
    return bool(expected - slack_ms // unit - 1 <= seen <= expected + more // unit + 1)


def _kind(reply: Any) -> Any:
    """Return the kind of a reply: its type, or the code of an error."""
    return reply if _is_error(reply) else type(reply)


def reply_of(words: Sequence[str], reply: Any) -> Any:
    """Return a reply in the form that the model compares: bytes as text, lists as tuples, sorted if
    the server's order is unspecified, and errors as their code, since texts differ by version."""
    made = _made(reply)
    name = words[0].upper()
    if not isinstance(made, tuple) or _is_error(made):
        return made
    if name in _SEARCHES and not {"ASC", "DESC"} & {word.upper() for word in words}:
        return tuple(sorted(made, key=repr))
    if name not in UNORDERED:
        return made
    if name in _PAIRS:
        pairs = sorted(zip(made[::2], made[1::2], strict=True))
        return tuple(word for pair in pairs for word in pair)
    return tuple(sorted(made))


def _without_minus_zero(made: Any) -> Any:
    if isinstance(made, tuple):
        return tuple(map(_without_minus_zero, made))
    return "0" if made == "-0" else made


def _is_error(made: Any) -> bool:
    return (
        isinstance(made, tuple)
        and len(made) == 1
        and isinstance(made[0], tuple)
        and made[0][:1] == ("error",)
    )


def _made(reply: Any) -> Any:
    if isinstance(reply, dict):
        return (("error", reply["error"]),)
    if isinstance(reply, bytes):
        return reply.decode("latin-1")
    if isinstance(reply, Error):
        return (("error", reply.code),)
    if isinstance(reply, list | tuple):
        return tuple(map(_made, reply))
    return reply


# --- states as hashable values, and back


def _frozen(
    state: State, others: list[Any], before: Sequence[Any], lasted_ms: int, slack_ms: int
) -> Hashable:
    """Return a state, with the other keys, as a value. `before`: the keys that were thawed: a
    deadline that one of them had stays as it was. A new one is that many milliseconds later at most
    as the operation lasted."""
    known = {end[1]: end for _, _, end in before if end is not None}
    own = {key: end for key, _, end in before if end is not None}
    items = []
    for key, value in state.values.items():
        end = state.expires.get(key)
        deadline = None
        if end is not None:
            had = own.get(key)
            deadline = had if had is not None and had[1] == end else known.get(end)
            deadline = deadline or (end - slack_ms, end + lasted_ms + slack_ms)
        items.append((key, _frozen_value(value), deadline))
    return tuple(sorted([*items, *others], key=lambda each: each[0]))


def _frozen_value(value: Value) -> Hashable:
    if isinstance(value, bytes):
        return value
    if isinstance(value, deque):
        return "list", tuple(value)
    if isinstance(value, Set):
        return "set", tuple(sorted(value))
    if isinstance(value, Hash):
        return "hash", (tuple(sorted(value.items())), tuple(sorted(value.ends.items())))
    if isinstance(value, SortedSet):
        return "zset", tuple(value.order)
    return "stream", rdb.dump(value)


def _thawed_value(frozen: Any) -> Value:
    if isinstance(frozen, bytes):
        return frozen
    kind, content = frozen
    if kind == "list":
        return deque(content)
    if kind == "set":
        return Set((member, None) for member in content)
    if kind == "hash":
        made_hash = Hash(content[0])
        made_hash.ends.update(content[1])
        return made_hash
    if kind == "zset":
        made = SortedSet()
        for score, member in content:
            made.set(member, score)
        return made
    stream = rdb.parse_dump(content)
    assert isinstance(stream, Stream)
    return stream
