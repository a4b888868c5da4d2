"""SCAN, SSCAN, HSCAN and ZSCAN.

A scan follows the order of the names' CRC-32, and its cursor is the CRC-32 to continue from. It
returns every name that exists from its first call to its last. SCAN reads a sorted index of the
keys; the others sort a collection's names at the first call, keep that list until the scan ends,
and leave out names that were removed since.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

from targets.engine.execution import Call, Commands
from targets.engine.keys import matches
from targets.engine.parsing import integer
from targets.engine.resp import BadSyntax, Command, Error, number_text
from targets.engine.table import ONE
from targets.engine.values import KINDS, Hash, Set, SortedSet

COMMANDS: Commands = Commands()

WHOLE = 512  # collections up to this size are returned at once


class _Options(NamedTuple):
    pattern: bytes | None
    most: int
    kind: bytes | None

    def fits(self, name: bytes) -> bool:
        return self.pattern is None or matches(name, self.pattern)


def _cursor(word: bytes) -> int:
    """Parse a cursor as strtoul does; an empty one is 0."""
    digits = word[1:] if word[:1] in (b"+", b"-") else word
    if word and (not digits.isdigit() or int(digits) >= 2**64):
        raise Error("ERR invalid cursor")
    return int(word or b"0") % 2**64


def _options(words: list[bytes], *, kinds: bool = False) -> _Options:
    pattern, count, kind = None, 10, None
    while words:
        word = words.pop(0).upper()
        if not words:
            raise BadSyntax
        if word == b"COUNT":
            count = integer(words.pop(0))
            if count < 1:
                raise BadSyntax
        elif word == b"MATCH":
            pattern = words.pop(0)
        elif word == b"TYPE" and kinds:
            kind = words.pop(0).lower()
        else:
            raise BadSyntax
    return _Options(pattern, count, kind)


def _step(order: Sequence[bytes], cursor: int, count: int) -> tuple[int, Sequence[bytes]]:
    """Return (next cursor or 0, names); names with the same hash are returned together."""
    first = bisect_left(order, cursor, key=crc32)
    last = min(first + count, len(order))
    while last < len(order) and crc32(order[last]) == crc32(order[last - 1]):
        last += 1
    return (crc32(order[last]) if last < len(order) else 0), order[first:last]


@COMMANDS.command("SCAN", -2, "readonly")
def _scan(call: Call, cmd: Command) -> Any:
    cursor, options = _cursor(cmd[1]), _options(list(cmd[2:]), kinds=True)
    call.whole = True
    state = call.state
    after, some = _step(state.by_hash(), cursor, options.most)
    found = []
    for key in some:
        if not options.fits(key):
            continue
        value = call.peek(key)
        if value is not None and options.kind in (None, KINDS[type(value)]):
            found.append(key)
    return [b"%d" % after, found]


def _scan_of(call: Call, cmd: Command, kind: type) -> Any:
    """Return (next cursor or 0, names, the collection or None)."""
    cursor = _cursor(cmd[2])
    value = call.look(cmd[1], kind)
    if value is None:
        return 0, [], None
    options = _options(list(cmd[3:]))
    names: Sequence[bytes] = (
        [member for _, member in value.order] if kind is SortedSet else list(value)
    )
    after = 0
    if len(value) > WHOLE:
        if cursor == 0 or value.scanned is None:
            value.scanned = sorted(value, key=crc32)
        after, names = _step(value.scanned, cursor, options.most)
        if after == 0:
            value.scanned = None
    present = value.scores if kind is SortedSet else value
    return after, [name for name in names if name in present and options.fits(name)], value


@COMMANDS.command("SSCAN", -3, "readonly", ONE)
def _sscan(call: Call, cmd: Command) -> Any:
    after, members, _ = _scan_of(call, cmd, Set)
    return [b"%d" % after, members]


@COMMANDS.command("HSCAN", -3, "readonly", ONE)
def _hscan(call: Call, cmd: Command) -> Any:
    after, fields, value = _scan_of(call, cmd, Hash)
    return [b"%d" % after, [word for field in fields for word in (field, value[field])]]


@COMMANDS.command("ZSCAN", -3, "readonly", ONE)
def _zscan(call: Call, cmd: Command) -> Any:
    after, members, value = _scan_of(call, cmd, SortedSet)
    pairs = [(member, number_text(value.scores[member])) for member in members]
    return [b"%d" % after, [word for pair in pairs for word in pair]]
