"""Consumer groups of streams: XGROUP, XACK, XCLAIM, XAUTOCLAIM and XPENDING."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from targets.engine.execution import Call, Commands, add_container
from targets.engine.objects import AT_TWO
from targets.engine.parsing import integer, printable
from targets.engine.resp import NIL_ARRAY, OK, BadSyntax, Command, Error
from targets.engine.streams import (
    entry,
    id_text,
    interval_end,
    interval_start,
    stream_id,
)
from targets.engine.table import ONE
from targets.engine.values import (
    COUNT_MAX,
    ENTRIES_READ_UNKNOWN,
    FIRST_ID,
    LAST_ID,
    Group,
    Pending,
    Stream,
    StreamId,
)
from targets.engine.version import Version

COMMANDS: Commands = Commands()

EXAMINED_PER_CLAIM = 10
CLAIMED_AT_ONCE = 100
NEEDS_A_KEY = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use "
    "the MKSTREAM option to create an empty stream automatically."
)

add_container(COMMANDS, "XGROUP")


# --- how far a group has read


def has_tombstones(stream: Stream, start: StreamId, version: Version) -> bool:
    """Return whether an entry at or after `start` was deleted. Redis asks only about those after
    the first entry that is left, Valkey 8.1 about all."""
    if not len(stream) or stream.max_deleted == FIRST_ID:
        return False
    if not version.since(valkey=(8, 1)) and stream.first_id > stream.max_deleted:
        return False
    return start <= stream.max_deleted


def entries_up_to(stream: Stream, entry_id: StreamId, version: Version) -> int:
    """Return how many entries were ever added up to an id, or UNKNOWN."""
    if not stream.added:
        return 0
    if not len(stream) and entry_id <= stream.last_id:
        return stream.added
    newer = version.since((8, 2), (8, 1))
    if newer and entry_id != FIRST_ID and entry_id < stream.max_deleted:
        return ENTRIES_READ_UNKNOWN
    if entry_id == stream.last_id:
        return stream.added
    if entry_id > stream.last_id:
        return ENTRIES_READ_UNKNOWN
    if stream.max_deleted == FIRST_ID or stream.max_deleted < stream.first_id:
        if entry_id < stream.first_id:
            return stream.added - len(stream)
        if entry_id == stream.first_id:
            return stream.added - len(stream) + 1
    return ENTRIES_READ_UNKNOWN


def lag(stream: Stream, group: Group, version: Version) -> int | None:
    """Return how many entries a group has yet to read, or None if that is unknown."""
    if not stream.added:
        return 0
    if version.since((8, 2)):
        if not len(stream):
            return 0
        if group.last_id < stream.first_id and stream.max_deleted < stream.first_id:
            return len(stream)
    if group.read != ENTRIES_READ_UNKNOWN and not has_tombstones(stream, group.last_id, version):
        return stream.added - group.read
    read = entries_up_to(stream, group.last_id, version)
    return None if read == ENTRIES_READ_UNKNOWN else stream.added - read


def read_after(stream: Stream, group: Group, entry_id: StreamId, version: Version) -> int:
    """Return how many entries a group has read once an entry is delivered to it, or UNKNOWN."""
    known = group.read != ENTRIES_READ_UNKNOWN
    if version.since((8, 2), (8, 1)):
        ahead = group.last_id >= stream.first_id
        if known and ahead and not has_tombstones(stream, group.last_id, version):
            return min(group.read + 1, COUNT_MAX)
        return entries_up_to(stream, entry_id, version)
    if known and not has_tombstones(stream, entry_id, version):
        return min(group.read + 1, COUNT_MAX)
    return entries_up_to(stream, entry_id, version) if stream.added else group.read


# --- effects


def xclaim_effect(
    key: bytes, name: bytes, group: Group, entry_id: bytes, pending: Pending
) -> Command:
    """Return the effect of a delivery: an XCLAIM."""
    return (
        b"XCLAIM", key, name, pending.consumer, b"0", entry_id, b"TIME", b"%d" % pending.time_ms,
        b"RETRYCOUNT", b"%d" % pending.count, b"FORCE", b"JUSTID", b"LASTID",
        id_text(group.last_id),
    )  # fmt: skip


def setid_effect(key: bytes, name: bytes, group: Group) -> Command:
    """Return the effect of a group's new position: an XGROUP SETID."""
    return (
        b"XGROUP", b"SETID", key, name, id_text(group.last_id), b"ENTRIESREAD", b"%d" % group.read,
    )  # fmt: skip


def mark_seen(call: Call, group: Group, consumer: bytes) -> bool:
    """Record that a consumer was seen; return whether it is new. Effects are applied at a negative
    time, which does not change when a known consumer was last seen."""
    new = consumer not in group.consumers
    if call.time_ms >= 0 or new:
        group.consumers[consumer] = max(call.time_ms, 0)
    return new


# --- XGROUP


def _group(call: Call, cmd: Command, *, needed: bool) -> tuple[Stream, Group | None]:
    stream = call.look(cmd[2], Stream)
    if stream is None:
        raise Error(NEEDS_A_KEY)
    group = stream.groups.get(cmd[3])
    if group is None and needed:
        raise Error(
            f"NOGROUP No such consumer group '{printable(cmd[3])}' for key name "
            f"'{printable(cmd[2])}'"
        )
    return stream, group


def _group_options(call: Call, cmd: Command, *, make: bool) -> tuple[bool, int]:
    """Return (whether MKSTREAM is given, ENTRIESREAD or UNKNOWN)."""
    words = list(cmd[5:])
    if len(words) > make and not call.version.since((7, 0), (0, 0)):
        raise BadSyntax  # 6.2 knows no ENTRIESREAD
    create, read = False, ENTRIES_READ_UNKNOWN
    while words:
        word = words.pop(0).upper()
        if make and word == b"MKSTREAM":
            create = True
        elif word == b"ENTRIESREAD" and words:
            read = integer(words.pop(0))
            if read < ENTRIES_READ_UNKNOWN:
                raise Error("ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise Error(
                "ERR unknown subcommand or wrong number of arguments for "
                f"'{printable(cmd[1])}'. Try XGROUP HELP."
            )
    return create, read


@COMMANDS.command("XGROUP|CREATE", -5, "write denyoom", AT_TWO)
def _create(call: Call, cmd: Command) -> Any:
    create, read = _group_options(call, cmd, make=True)
    stream = call.look(cmd[2], Stream)
    if stream is None and not create:
        raise Error(NEEDS_A_KEY)
    end = FIRST_ID if stream is None else stream.last_id
    entry_id = end if cmd[4] == b"$" else stream_id(cmd[4])
    if stream is None:
        stream = Stream()
        call.put(cmd[2], stream)
    if cmd[3] in stream.groups:
        raise Error("BUSYGROUP Consumer Group name already exists")
    if call.version.since((8, 2)):
        read = min(read, stream.added)
    stream.groups[cmd[3]] = Group(entry_id, read)
    call.touch(cmd[2])
    return OK


@COMMANDS.command("XGROUP|SETID", -5, "write", AT_TWO)
def _setid(call: Call, cmd: Command) -> Any:
    _, read = _group_options(call, cmd, make=False)
    stream, group = _group(call, cmd, needed=True)
    assert group is not None
    if call.version.since((8, 2)):
        read = min(read, stream.added)
    group.last_id = stream.last_id if cmd[4] == b"$" else stream_id(cmd[4], strict=False)
    group.read = read
    call.touch(cmd[2])
    return OK


@COMMANDS.command("XGROUP|DESTROY", 4, "write", AT_TWO)
def _destroy(call: Call, cmd: Command) -> Any:
    stream, group = _group(call, cmd, needed=False)
    if group is None:
        return 0
    del stream.groups[cmd[3]]
    call.touch(cmd[2])
    return 1


@COMMANDS.command("XGROUP|CREATECONSUMER", 5, "write denyoom", AT_TWO)
def _createconsumer(call: Call, cmd: Command) -> Any:
    _, group = _group(call, cmd, needed=True)
    assert group is not None
    if cmd[4] in group.consumers:
        return 0
    mark_seen(call, group, cmd[4])
    call.touch(cmd[2])
    return 1


@COMMANDS.command("XGROUP|DELCONSUMER", 5, "write", AT_TWO)
def _delconsumer(call: Call, cmd: Command) -> Any:
    _, group = _group(call, cmd, needed=True)
    assert group is not None
    if group.consumers.pop(cmd[4], None) is None:
        return 0
    pending = group.pending_of(cmd[4])
    for entry_id in pending:
        del group.pending[entry_id]
    call.touch(cmd[2])
    return len(pending)


# --- acknowledging and claiming


@COMMANDS.command("XACK", -4, "write fast", ONE)
def _xack(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    group = None if stream is None else stream.groups.get(cmd[2])
    if group is None:
        return 0
    acknowledged = sum(
        [
            group.pending.pop(entry_id, None) is not None
            for entry_id in [stream_id(w) for w in cmd[3:]]
        ]
    )
    if acknowledged:
        call.touch(cmd[1])
    return acknowledged


def _group_of(call: Call, cmd: Command) -> tuple[Stream, Group]:
    stream = call.look(cmd[1], Stream)
    group = None if stream is None else stream.groups.get(cmd[2])
    if stream is None or group is None:
        raise Error(
            f"NOGROUP No such key '{printable(cmd[1])}' or consumer group '{printable(cmd[2])}'"
        )
    return stream, group


class _Claiming(NamedTuple):
    ids: Sequence[bytes]
    force: bool
    just_id: bool
    time_ms: int
    tries: int | None
    last_id: StreamId


def _claiming(call: Call, cmd: Command) -> _Claiming:
    i = 5
    while i < len(cmd) and _is_id(cmd[i]):
        i += 1
    ids, words = cmd[5:i], list(cmd[i:])
    force = just_id = False
    time_ms, count, last_id = call.time_ms, None, FIRST_ID
    delivered: int | None = None
    while words:
        word = words.pop(0).upper()
        if word == b"FORCE":
            force = True
        elif word == b"JUSTID":
            just_id = True
        elif word in (b"IDLE", b"TIME", b"RETRYCOUNT") and words:
            name = word.decode()
            number = integer(words.pop(0), f"ERR Invalid {name} option argument for XCLAIM")
            if word == b"RETRYCOUNT":
                count = number
            else:
                delivered = call.time_ms - number if word == b"IDLE" else number
        elif word == b"LASTID" and words:
            last_id = stream_id(words.pop(0))
        else:
            raise Error(
                f"ERR Unrecognized XCLAIM option '{printable(cmd[len(cmd) - len(words) - 1])}'"
            )
    if delivered is not None and delivered >= 0 and (delivered <= call.time_ms or call.time_ms < 0):
        time_ms = delivered
    return _Claiming(ids, force, just_id, time_ms, count, last_id)


def _is_id(word: bytes) -> bool:
    try:
        stream_id(word)
    except Error:
        return False
    return True


@COMMANDS.command("XCLAIM", -6, "write fast", ONE)
def _xclaim(call: Call, cmd: Command) -> Any:
    stream, group = _group_of(call, cmd)
    key, name, consumer = cmd[1], cmd[2], cmd[3]
    idle_ms = max(0, integer(cmd[4], "ERR Invalid min-idle-time argument for XCLAIM"))
    o = _claiming(call, cmd)
    moved = o.last_id > group.last_id
    if moved:
        group.last_id = o.last_id
    replies: list[Any] = []
    effects: list[Command] = []
    for word in o.ids:
        entry_id = stream_id(word)
        pending = group.pending.get(entry_id)
        if entry_id not in stream.entries:
            if pending is not None:
                effects.append(xclaim_effect(key, name, group, word, pending))
                del group.pending[entry_id]
            continue
        if pending is None and not o.force:
            continue
        if pending is not None and idle_ms and call.time_ms - pending.time_ms < idle_ms:
            continue
        mark_seen(call, group, consumer)
        if call.time_ms < 0:  # an effect: the primary's time
            group.consumers[consumer] = o.time_ms
        if pending is None:
            pending = group.pending[entry_id] = Pending(consumer, o.time_ms, 1)
        pending.consumer, pending.time_ms = consumer, o.time_ms
        if o.tries is not None and o.tries >= 0:
            pending.count = o.tries
        elif not o.just_id:
            pending.count = min(pending.count + 1, COUNT_MAX)
        replies.append(
            id_text(entry_id) if o.just_id else entry(entry_id, stream.entries[entry_id])
        )
        effects.append(xclaim_effect(key, name, group, word, pending))
    if not effects and moved:
        effects.append(setid_effect(key, name, group))
    if effects:
        call.touch(key)
        call.instead(*effects)
    return replies


@COMMANDS.command("XAUTOCLAIM", -6, "write fast", ONE)
def _xautoclaim(call: Call, cmd: Command) -> Any:
    idle_ms = max(0, integer(cmd[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM"))
    start = interval_start(cmd[5])
    most, just_id = CLAIMED_AT_ONCE, False
    words = list(cmd[6:])
    while words:
        word = words.pop(0).upper()
        if word == b"COUNT" and words:
            most = integer(words.pop(0), "ERR COUNT must be > 0")
            if not 0 < most <= 2**63 // 160:
                raise Error("ERR COUNT must be > 0")
        elif word == b"JUSTID":
            just_id = True
        else:
            raise BadSyntax
    stream, group = _group_of(call, cmd)
    key, name, consumer = cmd[1], cmd[2], cmd[3]
    replies: list[Any] = []
    deleted: list[bytes] = []
    effects: list[Command] = []
    waiting = iter(list(group.pending.irange(start)))
    left = most
    for entry_id in _some(waiting, most * EXAMINED_PER_CLAIM):
        pending = group.pending[entry_id]
        if entry_id not in stream.entries:
            effects.append(xclaim_effect(key, name, group, id_text(entry_id), pending))
            del group.pending[entry_id]
            deleted.append(id_text(entry_id))
        elif idle_ms and call.time_ms - pending.time_ms < idle_ms:
            continue
        else:
            mark_seen(call, group, consumer)
            pending.consumer, pending.time_ms = consumer, call.time_ms
            pending.count = min(pending.count + (not just_id), COUNT_MAX)
            replies.append(
                id_text(entry_id) if just_id else entry(entry_id, stream.entries[entry_id])
            )
            effects.append(xclaim_effect(key, name, group, id_text(entry_id), pending))
        left -= 1
        if not left:
            break
    if effects:
        call.touch(key)
        call.instead(*effects)
    return [id_text(next(waiting, FIRST_ID)), replies, deleted]


def _some(ids: Iterator[StreamId], most: int) -> Iterator[StreamId]:
    """Yield up to `most` ids, leaving the rest in the iterator."""
    for _ in range(most):
        entry_id = next(ids, None)
        if entry_id is None:
            return
        yield entry_id


@COMMANDS.command("XPENDING", -3, "readonly", ONE)
def _xpending(call: Call, cmd: Command) -> Any:
    if len(cmd) != 3 and not 6 <= len(cmd) <= 9:
        raise BadSyntax
    idle_ms, most, first, last, consumer = 0, 0, FIRST_ID, LAST_ID, None
    if len(cmd) > 3:
        at = 3
        if cmd[3].upper() == b"IDLE":
            idle_ms = integer(cmd[4])
            if len(cmd) < 8:
                raise BadSyntax
            at = 5
        most = max(0, integer(cmd[at + 2]))
        first, last = interval_start(cmd[at]), interval_end(cmd[at + 1])
        consumer = cmd[at + 3] if len(cmd) > at + 3 else None
    _, group = _group_of(call, cmd)
    if len(cmd) == 3:
        return _summary(group)
    found: list[Any] = []
    for entry_id in group.pending.irange(first, last):
        pending = group.pending[entry_id]
        idle = max(0, call.time_ms - pending.time_ms)
        if len(found) == most:
            break
        if consumer in (None, pending.consumer) and idle >= idle_ms:
            found.append([id_text(entry_id), pending.consumer, idle, pending.count])
    return found


def _summary(group: Group) -> list[Any]:
    pending = group.pending
    if not pending:
        return [0, None, None, NIL_ARRAY]
    counts = [(name, len(group.pending_of(name))) for name in group.consumers]
    return [
        len(pending),
        id_text(pending.peekitem(0)[0]),
        id_text(pending.peekitem(-1)[0]),
        [[name, b"%d" % count] for name, count in counts if count],
    ]
