"""Commands on streams: entries, ranges, trimming. Consumer groups are in `stream_groups`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from targets.engine import listpack
from targets.engine.execution import NO_SUCH_KEY, Call, Commands
from targets.engine.parsing import integer
from targets.engine.resp import NIL_ARRAY, OK, BadSyntax, Command, Error
from targets.engine.table import ONE, wrong_number
from targets.engine.values import COUNT_MAX, FIRST_ID, LAST_ID, Block, Stream, StreamId

COMMANDS: Commands = Commands()

BAD_ID = "ERR Invalid stream ID specified as stream command argument"
UINT64 = 2**64
BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX = 4096, 100  # stream-node-max-bytes, stream-node-max-entries
TRIMMED_AT_ONCE = 100 * BLOCK_ENTRIES_MAX

# --- ids

_UNSIGNED = re.compile(rb"\+?[0-9]+")


def _unsigned(word: bytes) -> int:
    if not _UNSIGNED.fullmatch(word) or int(word) >= UINT64:
        raise Error(BAD_ID)
    return int(word)


class _Id(NamedTuple):
    """A parsed id. `exact`: false for `ms-*`, whose second half the stream chooses."""

    id: StreamId
    exact: bool


def _parsed(word: bytes, missing: int, *, strict: bool, auto: bool = False) -> _Id:
    if word in (b"-", b"+") and not strict:
        return _Id(FIRST_ID if word == b"-" else LAST_ID, True)
    if len(word) > 127:
        raise Error(BAD_ID)
    ms, dash, seq = word.partition(b"-")
    if auto and dash and seq == b"*":
        return _Id((_unsigned(ms), 0), False)
    return _Id((_unsigned(ms), _unsigned(seq) if dash else missing), True)


def stream_id(word: bytes, missing: int = 0, *, strict: bool = True) -> StreamId:
    """Parse an id: `ms` or `ms-seq`, and `-` or `+` unless `strict`; raises `Error`. `missing`: the
    sequence number of an id without one."""
    return _parsed(word, missing, strict=strict).id


def id_text(entry_id: StreamId) -> bytes:
    return b"%d-%d" % entry_id


def after(entry_id: StreamId) -> StreamId | None:
    """Return the next id, or None after the last."""
    ms, seq = entry_id
    if seq < UINT64 - 1:
        return ms, seq + 1
    return (ms + 1, 0) if ms < UINT64 - 1 else None


def before(entry_id: StreamId) -> StreamId | None:
    """Return the previous id, or None before the first."""
    ms, seq = entry_id
    if seq:
        return ms, seq - 1
    return (ms - 1, UINT64 - 1) if ms else None


def interval_start(word: bytes) -> StreamId:
    """Parse the start of a range: `-`, an id, or `(id` for an exclusive bound."""
    if word[:1] != b"(" or len(word) == 1:
        return _parsed(word, 0, strict=False).id
    found = after(stream_id(word[1:]))
    if found is None:
        raise Error("ERR invalid start ID for the interval")
    return found


def interval_end(word: bytes) -> StreamId:
    """Parse the end of a range: `+`, an id, or `(id` for an exclusive bound."""
    if word[:1] != b"(" or len(word) == 1:
        return _parsed(word, UINT64 - 1, strict=False).id
    found = before(stream_id(word[1:], UINT64 - 1))
    if found is None:
        raise Error("ERR invalid end ID for the interval")
    return found


# --- blocks


def _sizes(words: Iterable[listpack.Element]) -> int:
    return sum(len(listpack.element(word)) for word in words)


def wrapped(difference: int) -> int:
    """Convert a difference of unsigned numbers to a signed 64-bit one, as listpacks store it."""
    return (difference + 2**63) % UINT64 - 2**63


def _entry_size(block: Block, entry_id: StreamId, fields: tuple[bytes, ...]) -> int:
    """Return the size of an entry in a block's listpack, in bytes."""
    names = fields[::2]
    ms, seq = (wrapped(a - b) for a, b in zip(entry_id, block.first, strict=True))
    if names == block.fields:
        return _sizes([2, ms, seq, *fields[1::2], len(names) + 3])
    return _sizes([0, ms, seq, len(names), *fields, 2 * len(names) + 4])


def new_block(first: StreamId, names: tuple[bytes, ...]) -> Block:
    """Return an empty block; `names` are the fields of its first entry."""
    return Block(first, names, listpack.HEADER + 1 + _sizes([1, 0, len(names), *names, 0]))


def append(
    stream: Stream, entry_id: StreamId, fields: tuple[bytes, ...], into: Block | None = None
) -> None:
    """Append an entry to the block `into`, or else to the last block or, if full, to a new one."""
    block = into
    if block is None and stream.blocks:
        block = stream.blocks[-1]
        full = block.size + sum(map(len, fields)) >= BLOCK_BYTES_MAX
        block = None if full or block.live >= BLOCK_ENTRIES_MAX else block
    if block is None:
        block = new_block(entry_id, fields[::2])
        stream.blocks.append(block)
    block.size += _entry_size(block, entry_id, fields)
    block.live += 1
    block.last = entry_id
    stream.entries[entry_id] = fields
    stream.last_id = entry_id
    stream.added = min(stream.added + 1, COUNT_MAX)


def _block_of(stream: Stream, entry_id: StreamId) -> int:
    low, high = 0, len(stream.blocks)
    while low < high:
        middle = (low + high) // 2
        if stream.blocks[middle].first <= entry_id:
            low = middle + 1
        else:
            high = middle
    return low - 1


def remove(stream: Stream, entry_id: StreamId) -> bool:
    """Remove an entry, and its block if that is empty then; return whether it existed."""
    if stream.entries.pop(entry_id, None) is None:
        return False
    index = _block_of(stream, entry_id)
    stream.blocks[index].live -= 1
    if not stream.blocks[index].live:
        del stream.blocks[index]
    return True


# --- trimming


class _Adding(NamedTuple):
    """The options of XADD or XTRIM. `at`: index of the id; `bound_at`: index of the bound.
    `policy`: what becomes of references to trimmed entries, None without such a word."""

    strategy: bytes | None
    approximate: bool
    most: int
    least: StreamId
    limit: int
    create: bool
    at: int
    id: _Id | None
    bound_at: int
    policy: bytes | None = None


def _options(call: Call, cmd: Command, *, adding: bool) -> _Adding:
    strategy: bytes | None = None
    approximate, create, limit = False, True, None
    most, least, bound_at, given = 0, FIRST_ID, 0, None
    policy: bytes | None = None
    i = 2
    while i < len(cmd):
        word, more = cmd[i].upper(), len(cmd) - 1 - i
        if adding and word == b"*":
            break
        if word in (b"MAXLEN", b"MINID") and more:
            if strategy is not None:
                raise BadSyntax(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
                )
            approximate = more >= 2 and cmd[i + 1] == b"~"
            i += 1 + (more >= 2 and cmd[i + 1] in (b"~", b"="))
            strategy, bound_at = word, i
            if word == b"MAXLEN":
                most = integer(cmd[i])
                if most < 0:
                    raise Error("ERR The MAXLEN argument must be >= 0.")
            else:
                least = stream_id(cmd[i])
        elif word == b"LIMIT" and more:
            i += 1
            limit = integer(cmd[i])
            if limit < 0:
                raise Error("ERR The LIMIT argument must be >= 0.")
        elif adding and word == b"NOMKSTREAM":
            create = False
        elif (
            word in (b"KEEPREF", b"DELREF", b"ACKED")
            and policy is None
            and (call.version.since((8, 2)))
        ):
            policy = word
        elif adding:
            given = _parsed(cmd[i], 0, strict=True, auto=True)
            break
        else:
            raise BadSyntax
        i += 1
    if limit and strategy is None:
        raise BadSyntax(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
        )
    if strategy is None and not adding:
        raise BadSyntax("ERR syntax error, XTRIM must be called with a trimming strategy")
    if limit is not None and not approximate:
        raise BadSyntax("ERR syntax error, LIMIT cannot be used without the special ~ option")
    limit = (TRIMMED_AT_ONCE if limit is None else limit) if approximate else 0
    return _Adding(strategy, approximate, most, least, limit, create, i, given, bound_at, policy)


def _trim(stream: Stream, o: _Adding) -> int:
    """Remove whole blocks and then, if the bound is exact, entries; return the number removed."""
    if o.policy in (b"DELREF", b"ACKED") and stream.groups:
        return _trim_with_references(stream, o)
    removed = 0

    def enough(length: int, first: StreamId) -> bool:
        return length <= o.most if o.strategy == b"MAXLEN" else first >= o.least

    while stream.blocks:
        if o.strategy == b"MAXLEN" and len(stream) <= o.most:
            break
        block = stream.blocks[0]
        if o.limit and removed + block.live > o.limit:
            break
        if o.strategy == b"MAXLEN":
            whole = len(stream) - block.live >= o.most
        else:
            whole = block.last < o.least
        if not whole:
            break
        for entry_id in list(stream.entries.islice(0, block.live)):
            del stream.entries[entry_id]
        removed += block.live
        del stream.blocks[0]
    while not o.approximate and stream.entries and not enough(len(stream), stream.first_id):
        remove(stream, stream.first_id)
        removed += 1
    return removed


def _trim_with_references(stream: Stream, o: _Adding) -> int:
    """Remove entries together with the references of groups to them (DELREF), or only those that
    no group refers to (ACKED); return the number removed."""
    removed = 0
    for entry_id in [] if o.approximate else list(stream.entries):
        if o.strategy == b"MAXLEN" and len(stream) <= o.most:
            break
        if o.strategy == b"MINID" and entry_id >= o.least:
            break
        groups = stream.groups.values()
        if o.policy == b"ACKED" and any(
            entry_id in group.pending or entry_id > group.last_id for group in groups
        ):
            continue
        for group in groups:
            group.pending.pop(entry_id, None)
        remove(stream, entry_id)
        removed += 1
    return removed


def _exactly(cmd: Command, o: _Adding, stream: Stream) -> list[bytes]:
    """Return the command with the exact bound that results in place of the approximate one."""
    words = list(cmd)
    first = stream.first_id if len(stream) else LAST_ID
    bound = b"%d" % len(stream) if o.strategy == b"MAXLEN" else id_text(first)
    words[o.bound_at - 1 : o.bound_at + 1] = [b"=", bound]
    for i in range(2, o.at - 1):
        if words[i].upper() == b"LIMIT" and i != o.bound_at:
            del words[i : i + 2]
            break
    return words


# --- commands


@COMMANDS.command("XADD", -5, "write denyoom fast", ONE)
def _xadd(call: Call, cmd: Command) -> Any:
    o = _options(call, cmd, adding=True)
    fields = cmd[o.at + 1 :]
    if len(fields) < 2 or len(fields) % 2:
        raise wrong_number("xadd")
    if o.id == _Id(FIRST_ID, True):
        raise Error("ERR The ID specified in XADD must be greater than 0-0")
    stream = call.look(cmd[1], Stream)
    if stream is None:
        if not o.create:
            return None
        stream = Stream()
    if stream.last_id == LAST_ID:
        raise Error("ERR The stream has exhausted the last possible ID, unable to add more items")
    entry_id = _next_id(stream, o.id, call.time_ms)
    append(stream, entry_id, fields)
    call.put(cmd[1], stream)
    words = list(cmd)
    if o.strategy is not None:
        _trim(stream, o)
        if o.approximate:
            words = _exactly(cmd, o, stream)
    if o.id is None or not o.id.exact:
        words[len(words) - len(fields) - 1] = id_text(entry_id)
    call.instead(tuple(words))
    return id_text(entry_id)


def _next_id(stream: Stream, given: _Id | None, time_ms: int) -> StreamId:
    entry_id: StreamId | None
    if given is None:
        entry_id = (time_ms, 0) if time_ms > stream.last_id[0] else after(stream.last_id)
    elif given.exact or given.id[0] != stream.last_id[0]:
        entry_id = given.id
    else:
        ms, seq = stream.last_id
        entry_id = (ms, seq + 1) if seq < UINT64 - 1 else None
    if entry_id is None or entry_id <= stream.last_id:
        raise Error(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        )
    return entry_id


@COMMANDS.command("XTRIM", -4, "write", ONE)
def _xtrim(call: Call, cmd: Command) -> Any:
    o = _options(call, cmd, adding=False)
    stream = call.look(cmd[1], Stream)
    if stream is None:
        return 0
    removed = _trim(stream, o)
    if removed:
        call.touch(cmd[1])
        if o.approximate:
            call.instead(tuple(_exactly(cmd, o._replace(at=len(cmd) + 1), stream)))
    return removed


@COMMANDS.command("XLEN", 2, "readonly fast", ONE)
def _xlen(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    return 0 if stream is None else len(stream)


def entry(entry_id: StreamId, fields: Sequence[bytes]) -> list[Any]:
    """Return an entry as replies show it: [id, [field, value, …]]."""
    return [id_text(entry_id), list(fields)]


def between(
    stream: Stream, first: StreamId, last: StreamId, most: int = 0, *, reverse: bool = False
) -> list[StreamId]:
    """Return up to `most` ids (0: all) in a range that includes both ends."""
    found = []
    for entry_id in stream.entries.irange(first, last, reverse=reverse):
        found.append(entry_id)
        if len(found) == most:
            break
    return found


def _range(call: Call, cmd: Command, *, reverse: bool) -> Any:
    low, high = (cmd[3], cmd[2]) if reverse else (cmd[2], cmd[3])
    first, last = interval_start(low), interval_end(high)
    most = -1
    words = list(cmd[4:])
    while words:
        if words.pop(0).upper() != b"COUNT" or not words:
            raise BadSyntax
        most = max(0, integer(words.pop(0)))
    stream = call.look(cmd[1], Stream)
    if stream is None:
        return []
    if most == 0:
        return NIL_ARRAY
    found = between(stream, first, last, max(0, most), reverse=reverse)
    return [entry(entry_id, stream.entries[entry_id]) for entry_id in found]


@COMMANDS.command("XRANGE", -4, "readonly", ONE)
def _xrange(call: Call, cmd: Command) -> Any:
    return _range(call, cmd, reverse=False)


@COMMANDS.command("XREVRANGE", -4, "readonly", ONE)
def _xrevrange(call: Call, cmd: Command) -> Any:
    return _range(call, cmd, reverse=True)


@COMMANDS.command("XDEL", -3, "write fast", ONE)
def _xdel(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    if stream is None:
        return 0
    removed = 0
    for entry_id in [stream_id(word) for word in cmd[2:]]:
        if remove(stream, entry_id):
            stream.max_deleted = max(stream.max_deleted, entry_id)
            removed += 1
    if removed:
        call.touch(cmd[1])
    return removed


@COMMANDS.command("XSETID", -3, "write denyoom fast", ONE)
def _xsetid(call: Call, cmd: Command) -> Any:
    entry_id = stream_id(cmd[2])
    added, deleted = None, FIRST_ID
    words = list(cmd[3:])
    while words:
        word = words.pop(0).upper()
        if word == b"ENTRIESADDED" and words:
            added = integer(words.pop(0))
            if added < 0:
                raise Error("ERR entries_added must be positive")
        elif word == b"MAXDELETEDID" and words:
            deleted = stream_id(words.pop(0))
            if entry_id < deleted:
                raise Error(
                    "ERR The ID specified in XSETID is smaller than the provided "
                    "max_deleted_entry_id"
                )
        else:
            raise BadSyntax
    stream = call.look(cmd[1], Stream)
    if stream is None:
        raise Error(NO_SUCH_KEY)
    if call.version.since((7, 2), (8, 1)) and entry_id < stream.max_deleted:
        raise Error("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if len(stream) and entry_id < stream.top_id:
        raise Error("ERR The ID specified in XSETID is smaller than the target stream top item")
    if len(stream) and added is not None and len(stream) > added:
        raise Error(
            "ERR The entries_added specified in XSETID is smaller than the target stream length"
        )
    stream.last_id = entry_id
    stream.added = stream.added if added is None else added
    stream.max_deleted = deleted if deleted != FIRST_ID else stream.max_deleted
    call.touch(cmd[1])
    return OK
