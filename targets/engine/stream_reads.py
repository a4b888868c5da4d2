"""XREAD and XREADGROUP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from targets.engine.execution import Call, Commands
from targets.engine.parsing import integer, printable
from targets.engine.protocol import Blocked
from targets.engine.resp import NIL_ARRAY, BadSyntax, ByName, Command, Error
from targets.engine.stream_groups import (
    mark_seen,
    read_after,
    setid_effect,
    xclaim_effect,
)
from targets.engine.streams import after, before, between, entry, id_text, stream_id
from targets.engine.values import (
    COUNT_MAX,
    FIRST_ID,
    LAST_ID,
    Pending,
    Stream,
    StreamId,
)

COMMANDS: Commands = Commands()

SERVED_AT_ONCE = 1000  # entries, to a blocked client that gave no COUNT
# To a client that was blocked in XREADGROUP.
GROUP_GONE = Error("NOGROUP the consumer group this client was blocked on no longer exists")
STREAM_GONE = Error("UNBLOCKED the stream key no longer exists")
NOT_A_TIMEOUT = "ERR timeout is not an integer or out of range"


class _Reading(NamedTuple):
    """The arguments of XREAD or XREADGROUP. `block_ms`: None without BLOCK; `most`: 0 without
    COUNT; `group`: (name, consumer)."""

    block_ms: int | None
    most: int
    group: tuple[bytes, bytes] | None
    acknowledge: bool
    keys: Sequence[bytes]
    ids: Sequence[bytes]


def read_keys(cmd: Command) -> Sequence[bytes]:
    """Return the keys of XREAD or XREADGROUP: the first half of the words after STREAMS."""
    skip = {b"BLOCK": 2, b"COUNT": 2, b"GROUP": 3, b"NOACK": 1}
    i = 1
    while i < len(cmd):
        word = cmd[i].upper()
        if word == b"STREAMS":
            rest = cmd[i + 1 :]
            return rest[: len(rest) // 2] if len(rest) % 2 == 0 else ()
        if word not in skip:
            break
        i += skip[word]
    return ()


def _reading(cmd: Command, *, in_group: bool) -> _Reading:
    block_ms, most, group, acknowledge = None, 0, None, True
    i = 1
    while i < len(cmd):
        word, more = cmd[i].upper(), len(cmd) - i - 1
        if word == b"BLOCK" and more:
            i += 1
            block_ms = integer(cmd[i], NOT_A_TIMEOUT)
            if block_ms < 0:
                raise Error("ERR timeout is negative")
        elif word == b"COUNT" and more:
            i += 1
            most = max(0, integer(cmd[i]))
        elif word == b"STREAMS" and more:
            break
        elif word == b"GROUP" and more >= 2:
            if not in_group:
                raise Error(_only("GROUP"))
            group = cmd[i + 1], cmd[i + 2]
            i += 2
        elif word == b"NOACK":
            if not in_group:
                raise Error(_only("NOACK"))
            acknowledge = False
        else:
            raise BadSyntax
        i += 1
    rest = cmd[i + 1 :]
    if len(rest) % 2:
        raise Error(
            "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be "
            "specified."
        )
    if not rest:
        raise BadSyntax
    if in_group and group is None:
        raise Error("ERR Missing GROUP option for XREADGROUP")
    half = len(rest) // 2
    return _Reading(block_ms, most, group, acknowledge, rest[:half], rest[half:])


def _only(option: str) -> str:
    return f"ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."


@COMMANDS.command("XREAD", -4, "readonly blocking", movable=read_keys)
def _xread(call: Call, cmd: Command) -> Any:
    o = _reading(cmd, in_group=False)
    starts = []
    for key, word in zip(o.keys, o.ids, strict=True):
        stream = call.awaited(key, Stream)
        if word == b"$":
            starts.append(FIRST_ID if stream is None else stream.last_id)
        elif word == b"+" and call.version.since((7, 4), (8, 1)):
            starts.append(_before_the_last(call, stream))
        elif word == b">":
            raise Error(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
                "<group> <consumer> option."
            )
        else:
            starts.append(stream_id(word))
    replies = []
    for key, start in zip(o.keys, starts, strict=True):
        stream = call.awaited(key, Stream)
        first = after(start)
        if stream is None or first is None or stream.top_id <= start:
            continue
        found = between(stream, first, LAST_ID, o.most)
        replies.append((key, [entry(entry_id, stream.entries[entry_id]) for entry_id in found]))
    if replies:
        return ByName(replies)
    return _wait(call, o, [id_text(start) for start in starts], cmd)


def _before_the_last(call: Call, stream: Stream | None) -> StreamId:
    """Return the id after which XREAD with + begins: it shows the last entry, or, except in Redis
    8.2, nothing if that was deleted."""
    if stream is None or not len(stream):
        return LAST_ID
    if stream.top_id != stream.last_id and not call.version.since((8, 2)):
        return stream.last_id
    return before(stream.top_id) or FIRST_ID


def _wait(call: Call, o: _Reading, ids: Sequence[bytes], cmd: Command) -> Any:
    if o.block_ms is None or not call.context.may_block:
        return NIL_ARRAY
    head = cmd[: len(cmd) - len(o.keys) - len(o.ids)]
    if not o.most:
        head = (head[0], b"COUNT", b"%d" % SERVED_AT_ONCE, *head[1:])
    again = {key: (*head, key, start) for key, start in zip(o.keys, ids, strict=True)}
    return Blocked(tuple(o.keys), o.block_ms, NIL_ARRAY, again)


@COMMANDS.command("XREADGROUP", -7, "write blocking", movable=read_keys)
def _xreadgroup(call: Call, cmd: Command) -> Any:
    o = _reading(cmd, in_group=True)
    assert o.group is not None
    name, consumer = o.group
    starts: list[StreamId | None] = []  # None: entries new to the group
    for key, word in zip(o.keys, o.ids, strict=True):
        stream = call.awaited(key, Stream)
        if stream is None or name not in stream.groups:
            if call.context.resumed:
                raise STREAM_GONE if stream is None else GROUP_GONE
            raise Error(
                f"NOGROUP No such key '{printable(key)}' or consumer group '{printable(name)}' in "
                "XREADGROUP with GROUP option"
            )
        if word == b"$":
            raise Error(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the "
                "history of this consumer by specifying a proper ID, or use the > ID to get new "
                "messages. The $ ID would just return an empty result set."
            )
        starts.append(None if word == b">" else stream_id(word))
    replies: list[tuple[bytes, list[Any]]] = []
    effects: list[Command] = []
    for key, start in zip(o.keys, starts, strict=True):
        stream = call.look(key, Stream)
        group = stream.groups[name]
        nothing = start is None and stream.top_id <= group.last_id
        if nothing and not call.version.since((7, 2), (8, 1)):
            continue
        new = mark_seen(call, group, consumer)
        if nothing:
            if new:
                effects.append((b"XGROUP", b"CREATECONSUMER", key, name, consumer))
                call.touch(key)
            continue
        if start is None:
            found, made = _deliver(call, key, stream, o)
        else:
            found, made = _again(call, key, stream, o, start)
        if new and not any(effect[0] == b"XCLAIM" for effect in made):
            made.insert(0, (b"XGROUP", b"CREATECONSUMER", key, name, consumer))
        if made:
            call.touch(key)
        effects += made
        replies.append((key, found))
    if effects:
        call.instead(*effects)
    if replies:
        return ByName(replies)
    return _wait(call, o, o.ids, cmd)


def _deliver(
    call: Call, key: bytes, stream: Stream, o: _Reading
) -> tuple[list[Any], list[Command]]:
    """Deliver entries that are new to the group; return (entries, effects)."""
    assert o.group is not None
    name, consumer = o.group
    group = stream.groups[name]
    first = after(group.last_id)
    assert first is not None
    effects: list[Command] = []
    found = between(stream, first, LAST_ID, o.most)
    for entry_id in found:
        group.read = read_after(stream, group, entry_id, call.version)
        group.last_id = entry_id
        if o.acknowledge:
            pending = group.pending[entry_id] = Pending(consumer, call.time_ms, 1)
            effects.append(xclaim_effect(key, name, group, id_text(entry_id), pending))
    effects.append(setid_effect(key, name, group))
    return [entry(entry_id, stream.entries[entry_id]) for entry_id in found], effects


def _again(
    call: Call, key: bytes, stream: Stream, o: _Reading, start: StreamId
) -> tuple[list[Any], list[Command]]:
    """Deliver a consumer's pending entries once more; return (entries, effects). Redis does not
    propagate repeated deliveries; here they are effects, so that a new primary counts them."""
    assert o.group is not None
    name, consumer = o.group
    group = stream.groups[name]
    found: list[Any] = []
    effects: list[Command] = []
    for entry_id in group.pending.irange(after(start)) if after(start) is not None else ():
        pending = group.pending[entry_id]
        if pending.consumer != consumer:
            continue
        fields = stream.entries.get(entry_id)
        if fields is None:
            found.append([id_text(entry_id), NIL_ARRAY])
        else:
            found.append(entry(entry_id, fields))
            pending.time_ms = call.time_ms
            pending.count = min(pending.count + 1, COUNT_MAX)
            effects.append(xclaim_effect(key, name, group, id_text(entry_id), pending))
        if len(found) == o.most:
            break
    return found, effects
