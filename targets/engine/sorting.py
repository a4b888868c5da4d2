"""SORT and SORT_RO."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

from targets.engine.execution import WRONG_TYPE, Call, Commands
from targets.engine.parsing import floating, integer
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.table import ONE
from targets.engine.values import Hash, Set, SortedSet

COMMANDS: Commands = Commands()

NO_SCORE = "ERR One or more scores can't be converted into double"


class _Options(NamedTuple):
    descending: bool
    alpha: bool
    offset: int
    most: int
    by: bytes | None
    get: Sequence[bytes]
    store: bytes | None


def _options(call: Call, words: list[bytes], *, may_store: bool) -> _Options:
    descending = alpha = False
    offset, count, by, store = 0, -1, None, None
    get: list[bytes] = []
    while words:
        word = words.pop(0).upper()
        if word in (b"ASC", b"DESC"):
            descending = word == b"DESC"
        elif word == b"ALPHA":
            alpha = True
        elif word == b"LIMIT" and len(words) >= 2:
            offset, count = integer(words.pop(0)), integer(words.pop(0))
        elif word == b"STORE" and words and may_store:
            store = words.pop(0)
        elif word == b"BY" and words:
            by = words.pop(0)
            if call.state.sharded and b"*" in by:
                raise Error("ERR BY option of SORT denied in cluster mode.")
        elif word == b"GET" and words:
            get.append(words.pop(0))
            if call.state.sharded:
                raise Error("ERR GET option of SORT denied in cluster mode.")
        else:
            raise BadSyntax
    return _Options(descending, alpha, offset, count, by, get, store)


def stored_at(cmd: Command) -> Sequence[bytes]:
    """Return the keys that SORT names: the sorted one and, if given, the destination."""
    keys = [cmd[1]]
    skip = {b"LIMIT": 2, b"GET": 1, b"BY": 1}
    i, store = 2, None
    while i < len(cmd):
        word = cmd[i].upper()
        if word == b"STORE" and i + 1 < len(cmd):
            store = cmd[i + 1]
            i += 1
        i += 1 + skip.get(word, 0)
    return keys if store is None else [*keys, store]


def read_only_keys(cmd: Command) -> Sequence[bytes]:
    return cmd[1:2]


def _external(call: Call, pattern: bytes, element: bytes) -> bytes | None:
    """Return the value that a pattern of BY or GET refers to, or None."""
    if pattern == b"#":
        return element
    head, star, rest = pattern.partition(b"*")
    if not star:
        return None
    tail, arrow, field = rest.partition(b"->")
    if arrow and field:
        value = call.peek(head + element + tail)
        return value.get(field) if type(value) is Hash else None
    value = call.peek(head + element + rest)
    return value if type(value) is bytes else None


def _window(o: _Options, size: int) -> slice:
    first = max(0, o.offset)
    last = size - 1 if o.most < 0 else first + o.most - 1
    if first >= size:
        return slice(0, 0)
    return slice(first, max(first, min(last, size - 1) + 1))


def _number(call: Call, word: bytes | None) -> float:
    """Parse like C's strtod: None or an empty text is 0, and a NUL ends the text."""
    if word == b"" and call.version.since(valkey=(9, 1)):
        raise Error(NO_SCORE)
    text = (word or b"").partition(b"\0")[0].lstrip()
    return floating(text, NO_SCORE) if text else 0.0


def _compare(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


def _sorted(call: Call, elements: list[bytes], o: _Options) -> list[bytes]:
    by = None if o.by is None else [_external(call, o.by, each) for each in elements]
    weights: list[Any]
    if o.alpha:
        # Missing weights sort first.
        weights = elements if by is None else [(w is not None, w or b"") for w in by]
    else:
        weights = [_number(call, word) for word in (elements if by is None else by)]
    order = [(weight, each) for weight, each in zip(weights, elements, strict=True)]

    def compare(one: Any, other: Any) -> int:
        found = _compare(one[0], other[0])
        if found == 0 and not o.alpha:
            found = _compare(one[1], other[1])
        return -found if o.descending else found

    return [each for _, each in sorted(order, key=cmp_to_key(compare))]


def _sort(call: Call, cmd: Command, *, may_store: bool) -> Any:
    o = _options(call, list(cmd[2:]), may_store=may_store)
    value = call.peek(cmd[1])
    if value is not None and not isinstance(value, deque | Set | SortedSet):
        raise Error(WRONG_TYPE)
    elements = [] if value is None else list(value)
    if isinstance(value, SortedSet):
        elements = [member for _, member in value.order]
    if o.by is not None and b"*" not in o.by:
        if isinstance(value, Set) and (o.store is not None or call.in_script):
            elements = _sorted(call, elements, o._replace(by=None, alpha=True))
        elif isinstance(value, deque | SortedSet) and o.descending:
            elements.reverse()
    else:
        elements = _sorted(call, elements, o)
    elements = elements[_window(o, len(elements))]
    reply: list[bytes | None] = list(elements)
    if o.get:
        reply = [_external(call, pattern, each) for each in elements for pattern in o.get]
    if o.store is None:
        return reply
    if reply:
        call.peek(o.store)
        call.put(o.store, deque(word or b"" for word in reply), keep_ttl=False)
    else:
        call.remove(o.store)
    return len(reply)


@COMMANDS.command("SORT", -2, "write denyoom", ONE, stored_at)
def _sort_store(call: Call, cmd: Command) -> Any:
    return _sort(call, cmd, may_store=True)


@COMMANDS.command("SORT_RO", -2, "readonly", ONE, read_only_keys)
def _sort_ro(call: Call, cmd: Command) -> Any:
    return _sort(call, cmd, may_store=False)
