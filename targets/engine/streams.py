"""Commands on streams: entries, ranges, trimming. Consumer groups are in `stream_groups`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from targets.engine import listpack
from targets.engine.execution import NO_SUCH_KEY, ONE, SYNTAX, Call, command, integer, wrong_number
from targets.engine.resp import NIL_ARRAY, OK, Command, Error
from targets.engine.values import COUNT_MAX, FIRST_ID, LAST_ID, Block, Stream, StreamId

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
    """`exact`: its second half was given."""

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
    """An id, `ms` or `ms-seq`; `-` and `+` too, if it is not `strict`; raises `Error`."""
    return _parsed(word, missing, strict=strict).id


def id_text(of: StreamId) -> bytes:
    return b"%d-%d" % of


def after(of: StreamId) -> StreamId | None:
    ms, seq = of
    if seq < UINT64 - 1:
        return ms, seq + 1
    return (ms + 1, 0) if ms < UINT64 - 1 else None


def before(of: StreamId) -> StreamId | None:
    ms, seq = of
    if seq:
        return ms, seq - 1
    return (ms - 1, UINT64 - 1) if ms else None


def interval_start(word: bytes) -> StreamId:
    """`-`, an id, or `(id` for what comes after it."""
    if word[:1] != b"(" or len(word) == 1:
        return _parsed(word, 0, strict=False).id
    found = after(stream_id(word[1:]))
    if found is None:
        raise Error("ERR invalid start ID for the interval")
    return found


def interval_end(word: bytes) -> StreamId:
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
    """Of two halves of ids, as 64 bits with a sign: how a listpack holds it."""
    return (difference + 2**63) % UINT64 - 2**63


def _entry_size(block: Block, of: StreamId, fields: tuple[bytes, ...]) -> int:
    """Bytes of an entry in a block's listpack."""
    names = fields[::2]
    ms, seq = (wrapped(a - b) for a, b in zip(of, block.first, strict=True))
    if names == block.fields:
        return _sizes([2, ms, seq, *fields[1::2], len(names) + 3])
    return _sizes([0, ms, seq, len(names), *fields, 2 * len(names) + 4])


def new_block(first: StreamId, names: tuple[bytes, ...]) -> Block:
    return Block(first, names, listpack.HEADER + 1 + _sizes([1, 0, len(names), *names, 0]))


def append(
    stream: Stream, of: StreamId, fields: tuple[bytes, ...], into: Block | None = None
) -> None:
    """An entry after all others, in the last block, or in a new one where that is full."""
    block = into
    if block is None and stream.blocks:
        block = stream.blocks[-1]
        full = block.size + sum(map(len, fields)) >= BLOCK_BYTES_MAX
        block = None if full or block.live >= BLOCK_ENTRIES_MAX else block
    if block is None:
        block = new_block(of, fields[::2])
        stream.blocks.append(block)
    block.size += _entry_size(block, of, fields)
    block.live += 1
    block.last = of
    stream.entries[of] = fields
    stream.last_id = of
    stream.added = min(stream.added + 1, COUNT_MAX)


def _block_of(stream: Stream, of: StreamId) -> int:
    low, high = 0, len(stream.blocks)
    while low < high:
        middle = (low + high) // 2
        if stream.blocks[middle].first <= of:
            low = middle + 1
        else:
            high = middle
    return low - 1


def remove(stream: Stream, of: StreamId) -> bool:
    if stream.entries.pop(of, None) is None:
        return False
    place = _block_of(stream, of)
    stream.blocks[place].live -= 1
    if not stream.blocks[place].live:
        del stream.blocks[place]
    return True


# --- trimming


class _Adding(NamedTuple):
    """The options of XADD and XTRIM. `at`: the place of the id; `bound_at`: of the bound."""

    strategy: bytes | None
    approximate: bool
    most: int
    least: StreamId
    limit: int
    create: bool
    at: int
    id: _Id | None
    bound_at: int


def _options(cmd: Command, *, adding: bool) -> _Adding:
    strategy: bytes | None = None
    approximate, create, limit = False, True, None
    most, least, bound_at, given = 0, FIRST_ID, 0, None
    i = 2
    while i < len(cmd):
        word, more = cmd[i].upper(), len(cmd) - 1 - i
        if adding and word == b"*":
            break
        if word in (b"MAXLEN", b"MINID") and more:
            if strategy is not None:
                raise Error(
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
        elif adding:
            given = _parsed(cmd[i], 0, strict=True, auto=True)
            break
        else:
            raise Error(SYNTAX)
        i += 1
    if limit and strategy is None:
        raise Error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if strategy is None and not adding:
        raise Error("ERR syntax error, XTRIM must be called with a trimming strategy")
    if limit is not None and not approximate:
        raise Error("ERR syntax error, LIMIT cannot be used without the special ~ option")
    limit = (TRIMMED_AT_ONCE if limit is None else limit) if approximate else 0
    return _Adding(strategy, approximate, most, least, limit, create, i, given, bound_at)


def _trim(stream: Stream, o: _Adding) -> int:
    """How many entries were removed: whole blocks first, then, if it is to be exact, entries."""
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
        for of in list(stream.entries.islice(0, block.live)):
            del stream.entries[of]
        removed += block.live
        del stream.blocks[0]
    while not o.approximate and stream.entries and not enough(len(stream), stream.first_id):
        remove(stream, stream.first_id)
        removed += 1
    return removed


def _exactly(cmd: Command, o: _Adding, stream: Stream) -> list[bytes]:
    """The command with what it has come to in place of the approximate bound."""
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


@command("XADD", -5, "write denyoom fast", ONE)
def _xadd(call: Call, cmd: Command) -> Any:
    o = _options(cmd, adding=True)
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
    of = _next_id(stream, o.id, call.time_ms)
    append(stream, of, fields)
    call.put(cmd[1], stream)
    words = list(cmd)
    if o.strategy is not None:
        _trim(stream, o)
        if o.approximate:
            words = _exactly(cmd, o, stream)
    if o.id is None or not o.id.exact:
        words[len(words) - len(fields) - 1] = id_text(of)
    call.instead(tuple(words))
    return id_text(of)


def _next_id(stream: Stream, given: _Id | None, time_ms: int) -> StreamId:
    of: StreamId | None
    if given is None:
        of = (time_ms, 0) if time_ms > stream.last_id[0] else after(stream.last_id)
    elif given.exact or given.id[0] != stream.last_id[0]:
        of = given.id
    else:
        ms, seq = stream.last_id
        of = (ms, seq + 1) if seq < UINT64 - 1 else None
    if of is None or of <= stream.last_id:
        raise Error(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        )
    return of


@command("XTRIM", -4, "write", ONE)
def _xtrim(call: Call, cmd: Command) -> Any:
    o = _options(cmd, adding=False)
    stream = call.look(cmd[1], Stream)
    if stream is None:
        return 0
    removed = _trim(stream, o)
    if removed:
        call.touch(cmd[1])
        if o.approximate:
            call.instead(tuple(_exactly(cmd, o._replace(at=len(cmd) + 1), stream)))
    return removed


@command("XLEN", 2, "readonly fast", ONE)
def _xlen(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    return 0 if stream is None else len(stream)


def entry(of: StreamId, fields: Sequence[bytes]) -> list[Any]:
    """As replies show it."""
    return [id_text(of), list(fields)]


def between(
    stream: Stream, first: StreamId, last: StreamId, most: int = 0, *, reverse: bool = False
) -> list[StreamId]:
    """Ids in a range, both ends included; `most`: 0 for all."""
    found = []
    for of in stream.entries.irange(first, last, reverse=reverse):
        found.append(of)
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
            raise Error(SYNTAX)
        most = max(0, integer(words.pop(0)))
    stream = call.look(cmd[1], Stream)
    if stream is None:
        return []
    if most == 0:
        return NIL_ARRAY
    found = between(stream, first, last, max(0, most), reverse=reverse)
    return [entry(of, stream.entries[of]) for of in found]


@command("XRANGE", -4, "readonly", ONE)
def _xrange(call: Call, cmd: Command) -> Any:
    return _range(call, cmd, reverse=False)


@command("XREVRANGE", -4, "readonly", ONE)
def _xrevrange(call: Call, cmd: Command) -> Any:
    return _range(call, cmd, reverse=True)


@command("XDEL", -3, "write fast", ONE)
def _xdel(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    if stream is None:
        return 0
    removed = 0
    for of in [stream_id(word) for word in cmd[2:]]:
        if remove(stream, of):
            stream.max_deleted = max(stream.max_deleted, of)
            removed += 1
    if removed:
        call.touch(cmd[1])
    return removed


@command("XSETID", -3, "write denyoom fast", ONE)
def _xsetid(call: Call, cmd: Command) -> Any:
    of = stream_id(cmd[2])
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
            if of < deleted:
                raise Error(
                    "ERR The ID specified in XSETID is smaller than the provided "
                    "max_deleted_entry_id"
                )
        else:
            raise Error(SYNTAX)
    stream = call.look(cmd[1], Stream)
    if stream is None:
        raise Error(NO_SUCH_KEY)
    if len(stream) and of < stream.top_id:
        raise Error("ERR The ID specified in XSETID is smaller than the target stream top item")
    if len(stream) and added is not None and len(stream) > added:
        raise Error(
            "ERR The entries_added specified in XSETID is smaller than the target stream length"
        )
    stream.last_id = of
    stream.added = stream.added if added is None else added
    stream.max_deleted = deleted if deleted != FIRST_ID else stream.max_deleted
    call.touch(cmd[1])
    return OK
