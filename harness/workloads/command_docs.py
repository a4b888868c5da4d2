"""Random commands generated from a server's COMMAND DOCS and COMMAND INFO."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

# Few values of each type, so that commands interact; edge cases among them.
POOLS: dict[str, tuple[str, ...]] = {
    "integer": ("0", "1", "2", "3", "-1", "-2", "5", "10", "100"),
    "double": ("0", "1", "2.5", "-1", "3", "0.5", "10", "inf", "-inf", "(1"),
    "unix-time": ("4000000000", "4000000000000", "1"),
    "pattern": ("*", "a*", "?"),
    "string": ("a", "b", "c", "1", "2", "", "3.5"),
}
NAMED: dict[str, tuple[str, ...]] = {
    "operation": ("AND", "OR", "XOR", "NOT"), "encoding": ("u8", "i8", "u4", "i16", "u1"),
    "offset": ("0", "1", "7", "8", "3"), "bit": ("0", "1"), "increment": ("1", "2", "-1", "10"),
    "id": ("1-1", "2-1", "3-1", "4-1", "5-5", "9-9", "0", ">", "$"), "last-id": ("9-9", "5-5"),
    "start": ("-", "0", "1", "-1", "2-1", "-2"), "end": ("+", "-1", "1", "5", "3-1"),
    "threshold": ("2", "3-1", "1"), "group": ("g",), "groupname": ("g",),
    "consumer": ("alice", "bob"), "consumername": ("alice", "bob"),
    "seconds": ("1000", "100000", "-1"), "milliseconds": ("1000000", "100000000", "-1"),
    "unix-time-seconds": ("4000000000", "1"), "unix-time-milliseconds": ("4000000000000", "1"),
    "entries-added": ("100",), "entries-read": ("2", "100"), "entriesread": ("2", "100"),
    "max-deleted-id": ("1-1", "3-1"), "element": ("a", "b", "c", "1", "2"),
    "min-idle-time": ("0",), "count": ("1", "2", "3", "0"), "min": ("0", "1", "-inf", "(1", "2.5"),
    "max": ("1", "3", "+inf", "inf", "(3"), "entries_added": ("100",), "timeout": ("0.01",),
}  # fmt: skip
# In place of these, where keys may expire soon.
SOON: dict[str, tuple[str, ...]] = {
    "seconds": ("1", "2", "1000", "-1"), "milliseconds": ("50", "200", "600", "1000000", "-1"),
}  # fmt: skip
# Counts of what follows: of words, or of pairs of words for these commands.
COUNTS = ("numkeys", "numfields", "numids")
PAIRED = ("MSETEX", "HSETEX")
OPTIONAL_PERCENT = 25
MORE_PERCENT = 35
KEYS_MAX = 4
# A key per data type: most commands get the key of the type that they operate on.
KINDS = ("string", "list", "hash", "set", "sorted-set", "stream")
OWN_KIND_PERCENT = 75


class Argument(msgspec.Struct, frozen=True):
    """An argument as COMMAND DOCS describes it."""

    name: str
    type: str
    token: str | None = None
    flags: frozenset[str] = frozenset()
    arguments: tuple[Argument, ...] = ()


class Documented(msgspec.Struct, frozen=True):
    """A command. `words`: its name and subcommand. `group`: its group in COMMAND DOCS."""

    words: tuple[str, ...]
    group: str
    writes: bool
    arguments: tuple[Argument, ...]


def read_docs(docs: Sequence[Any], info: Sequence[Any]) -> list[Documented]:
    """Return the commands that read or write keys and need not block, sorted by name.

    `docs`, `info`: the replies to COMMAND DOCS and COMMAND INFO in RESP2.
    """
    flags: dict[str, frozenset[str]] = {}
    for entry in info:
        _flags(entry, flags)
    found: list[Documented] = []
    for name, doc in _pairs(docs):
        _read(name, dict(_pairs(doc)), flags, found)
    return sorted(found, key=lambda each: each.words)


def _pairs(flat: Sequence[Any]) -> list[tuple[str, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _flags(entry: Any, into: dict[str, frozenset[str]]) -> None:
    if entry:
        into[entry[0]] = frozenset(entry[2])
        for part in entry[9] if len(entry) > 9 else ():
            _flags(part, into)


def _read(
    name: str, doc: dict[str, Any], flags: dict[str, frozenset[str]], into: list[Documented]
) -> None:
    for part, of_part in _pairs(doc.get("subcommands", ())):
        _read(part, dict(_pairs(of_part)), flags, into)
    flagged = flags.get(name, frozenset())
    usable = flagged & {"readonly", "write"} and not flagged & {"admin", "noscript", "pubsub"}
    arguments = tuple(_argument(dict(_pairs(each))) for each in doc.get("arguments", ()))
    if "blocking" in flagged and not any(argument.token == "BLOCK" for argument in arguments):
        usable = False  # it always blocks
    if usable and any(_has_key(argument) for argument in arguments):
        words = tuple(name.upper().split("|"))
        into.append(Documented(words, doc.get("group", ""), "write" in flagged, arguments))


def _argument(doc: dict[str, Any]) -> Argument:
    return Argument(
        name=doc["name"],
        type=doc["type"],
        token=doc.get("token"),
        flags=frozenset(doc.get("flags", ())),
        arguments=tuple(_argument(dict(_pairs(each))) for each in doc.get("arguments", ())),
    )


def _has_key(argument: Argument) -> bool:
    return argument.type == "key" or any(map(_has_key, argument.arguments))


def with_own_subcommands(info: Sequence[Any], own: Sequence[Any]) -> list[Any]:
    """Return the reply to COMMAND of a server that lists no subcommands, with those of another
    one."""
    parts = {entry[0]: entry[9] for entry in own if len(entry) > 9}
    return [
        [*entry, *[[]] * (9 - len(entry)), parts.get(entry[0], [])] if len(entry) < 10 else entry
        for entry in info
    ]


def draw(
    command: Documented, keys: Sequence[str], rng: random.Random, *, soon: bool = False
) -> list[str]:
    """Return the words of a command with random arguments, on some of these keys. `soon`: times to
    live may be short."""
    group = {"bitmap": "string", "hyperloglog": "string", "geo": "sorted-set"}.get(
        command.group, command.group
    )
    if group in KINDS:
        preferred = keys[KINDS.index(group) % len(keys)]
        keys = [preferred if rng.randrange(100) < OWN_KIND_PERCENT else key for key in keys]
    words = list(command.words)
    drawing = _Drawing(keys, rng, SOON if soon else {})
    for argument in command.arguments:
        words += drawing.draw(argument, len(words))
    for position in drawing.counts:
        count = _counted(words, position + 1, keys, drawing.ends.get(position))
        words[position] = str(count // 2 if command.words[0] in PAIRED else count)
    return words


def _counted(words: Sequence[str], first: int, keys: Sequence[str], end: int | None) -> int:
    """Return how many words a count is of: those up to `end`, or the keys that follow it."""
    if end is not None:
        return end - first
    count = 0
    while first + count < len(words) and words[first + count] in keys:
        count += 1
    return count


class _Drawing:
    """Draws the arguments of one command. `counts`: positions of counts; `ends`: by position, where
    what is counted ends, if it is not keys alone."""

    def __init__(
        self, keys: Sequence[str], rng: random.Random, named: dict[str, tuple[str, ...]]
    ) -> None:
        self.counts: list[int] = []
        self.ends: dict[int, int] = {}
        self._keys = keys
        self._rng = rng
        self._named = named
        self._open: int | None = None  # a count whose words have not been drawn yet

    def draw(self, argument: Argument, position: int) -> list[str]:
        rng = self._rng
        if "optional" in argument.flags and rng.randrange(100) >= OPTIONAL_PERCENT:
            return []
        counting, self._open = self._open, None
        times = 1
        while (
            "multiple" in argument.flags and times < KEYS_MAX and rng.randrange(100) < MORE_PERCENT
        ):
            times += 1
        words: list[str] = []
        for i in range(times):
            if argument.token is not None and (i == 0 or "multiple_token" in argument.flags):
                words.append(argument.token)
            if argument.type == "oneof":
                chosen = rng.choice(argument.arguments)
                words += self.draw(_needed(chosen), position + len(words))
            elif argument.type == "block":
                for part in argument.arguments:
                    words += self.draw(part, position + len(words))
            elif argument.type != "pure-token":
                if argument.name in COUNTS:
                    self._open = position + len(words)
                    self.counts.append(self._open)
                words.append(self._word(argument))
        if counting is not None and argument.type != "key":
            self.ends[counting] = position + len(words)
        return words

    def _word(self, argument: Argument) -> str:
        if argument.type == "key":
            return self._rng.choice(self._keys)
        pool = (
            self._named.get(argument.name)
            or NAMED.get(argument.name)
            or POOLS.get(argument.type, POOLS["string"])
        )
        if argument.type == "integer":
            pool = tuple(w for w in pool if w.lstrip("-").isdigit()) or POOLS["integer"]
        return self._rng.choice(pool)


def _needed(argument: Argument) -> Argument:
    return msgspec.structs.replace(argument, flags=argument.flags - {"optional"})
