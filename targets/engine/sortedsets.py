"""Commands on sorted sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from targets.engine.execution import Call, Commands
from targets.engine.hashes import random_count, random_members
from targets.engine.lists import (
    NOT_POSITIVE,
    block_or_nil,
    count_option,
    one_of,
    span,
    split_numkeys,
    wait_ms,
)
from targets.engine.parsing import floating, integer
from targets.engine.resp import NIL_ARRAY, BadSyntax, Command, Double, Error, Pairs
from targets.engine.table import ONE, counted_keys
from targets.engine.values import SortedSet

COMMANDS: Commands = Commands()

NOT_A_RANGE = "ERR min or max is not a float"
NOT_A_LEX_RANGE = "ERR min or max not valid string range item"
NAN = "ERR resulting score is not a number (NaN)"


def _of(call: Call, key: bytes) -> SortedSet:
    """Return the sorted set at a key, or a new empty one that is not stored."""
    value = call.look(key, SortedSet)
    return SortedSet() if value is None else value


# --- adding


@COMMANDS.command("ZADD", -4, "write denyoom fast", ONE)
def _zadd(call: Call, cmd: Command) -> Any:
    options: dict[bytes, None] = {}
    i = 2
    while i < len(cmd) and cmd[i].upper() in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"):
        options[cmd[i].upper()] = None
        i += 1
    words = cmd[i:]
    if not words or len(words) % 2:
        raise BadSyntax
    _check_zadd(options, words)
    scores = [floating(word) for word in words[::2]]
    value = call.look(cmd[1], SortedSet)
    if value is None and b"XX" in options:
        return None if b"INCR" in options else 0
    value = SortedSet() if value is None else value
    added = changed = 0
    score: float | None = None
    for given, member in zip(scores, words[1::2], strict=True):
        before = value.scores.get(member)
        score = _new_score(before, given, options)
        if score is not None:
            added += before is None
            changed += before is not None and before != score
            if before != score:
                value.set(member, score)
    if added or changed:
        call.put(cmd[1], value)
    if b"INCR" in options:
        return None if score is None else Double(score)
    return added + changed if b"CH" in options else added


def _check_zadd(options: dict[bytes, None], words: Sequence[bytes]) -> None:
    if b"NX" in options and b"XX" in options:
        raise Error("ERR XX and NX options at the same time are not compatible")
    if sum(word in options for word in (b"GT", b"LT", b"NX")) > 1:
        raise Error("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in options and len(words) > 2:
        raise Error("ERR INCR option supports a single increment-element pair")


def _new_score(before: float | None, given: float, options: dict[bytes, None]) -> float | None:
    """Return a member's new score, or None if the options exclude a change."""
    if (before is None and b"XX" in options) or (before is not None and b"NX" in options):
        return None
    if before is None:
        return given
    score = before + given if b"INCR" in options else given
    if math.isnan(score):
        raise Error(NAN)
    refused = (b"GT" in options and score <= before) or (b"LT" in options and score >= before)
    return None if refused else score


@COMMANDS.command("ZINCRBY", 4, "write denyoom fast", ONE)
def _zincrby(call: Call, cmd: Command) -> Any:
    by = floating(cmd[2])
    value = _of(call, cmd[1])
    before = value.scores.get(cmd[3])
    score = by if before is None else before + by
    if math.isnan(score):
        raise Error(NAN)
    if score != before:
        value.set(cmd[3], score)
        call.put(cmd[1], value)
    return Double(score)


# --- single members


@COMMANDS.command("ZSCORE", 3, "readonly fast", ONE)
def _zscore(call: Call, cmd: Command) -> Any:
    score = _of(call, cmd[1]).scores.get(cmd[2])
    return None if score is None else Double(score)


@COMMANDS.command("ZMSCORE", -3, "readonly fast", ONE)
def _zmscore(call: Call, cmd: Command) -> Any:
    scores = _of(call, cmd[1]).scores
    return [Double(scores[m]) if m in scores else None for m in cmd[2:]]


@COMMANDS.command("ZCARD", 2, "readonly fast", ONE)
def _zcard(call: Call, cmd: Command) -> Any:
    return len(_of(call, cmd[1]))


def _rank(call: Call, cmd: Command, *, reverse: bool) -> Any:
    if len(cmd) > 4 or (len(cmd) == 4 and cmd[3].upper() != b"WITHSCORE"):
        raise BadSyntax
    value = _of(call, cmd[1])
    rank = value.rank(cmd[2])
    if rank is None:
        return NIL_ARRAY if len(cmd) == 4 else None
    rank = len(value) - 1 - rank if reverse else rank
    return [rank, Double(value.scores[cmd[2]])] if len(cmd) == 4 else rank


@COMMANDS.command("ZRANK", 3, "readonly fast", ONE)
def _zrank(call: Call, cmd: Command) -> Any:
    return _rank(call, cmd, reverse=False)


@COMMANDS.command("ZREVRANK", 3, "readonly fast", ONE)
def _zrevrank(call: Call, cmd: Command) -> Any:
    return _rank(call, cmd, reverse=True)


@COMMANDS.command("ZREM", -3, "write fast", ONE)
def _zrem(call: Call, cmd: Command) -> Any:
    value = _of(call, cmd[1])
    removed = sum([value.discard(m) for m in cmd[2:]])
    if removed:
        call.settle(cmd[1], value)
    return removed


# --- ranges


class Range(NamedTuple):
    """Indices in the order of scores: start and end as in a slice."""

    start: int
    end: int


Bound = tuple[Any, bool]  # (value, whether it is exclusive)


def _score_bound(word: bytes) -> Bound:
    """Parse like C's strtod: skip leading blanks, end at a NUL; an empty text is 0."""
    exclusive = word[:1] == b"("
    text = word[exclusive:].partition(b"\0")[0].lstrip(b" \t\n\v\f\r").decode("latin-1")
    try:
        if "_" in text or text != text.rstrip():
            raise ValueError
        hexadecimal = "x" in text.lower()
        value = (float.fromhex(text) if hexadecimal else float(text)) if text else 0.0
    except OverflowError:  # hexadecimal, and too big
        value = -math.inf if text[:1] == "-" else math.inf
    except ValueError:
        raise Error(NOT_A_RANGE) from None
    if math.isnan(value):
        raise Error(NOT_A_RANGE)
    return value, exclusive


def _by_score(value: SortedSet, low: bytes, high: bytes) -> Range:
    (least, above), (most, below) = _score_bound(low), _score_bound(high)
    start = value.order.bisect_left((math.nextafter(least, math.inf) if above else least, b""))
    if above and least == math.inf:
        start = len(value)
    if below:
        end = value.order.bisect_left((most, b""))
    elif most == math.inf:
        end = len(value)
    else:
        end = value.order.bisect_left((math.nextafter(most, math.inf), b""))
    return Range(start, max(start, end))


def _lex_place(value: SortedSet, word: bytes, *, end: bool) -> int:
    """Return the index of a lexicographical range's start or end; scores are assumed equal."""
    if word in (b"-", b"+"):
        return 0 if word == b"-" else len(value)
    if word[:1] not in (b"[", b"("):
        raise Error(NOT_A_LEX_RANGE)
    after = (word[:1] == b"[") == end
    low, high = 0, len(value)
    while low < high:
        middle = (low + high) // 2
        member = value.order[middle][1]
        if member < word[1:] or (after and member == word[1:]):
            low = middle + 1
        else:
            high = middle
    return low


def _by_lex(value: SortedSet, low: bytes, high: bytes) -> Range:
    start = _lex_place(value, low, end=False)
    return Range(start, max(start, _lex_place(value, high, end=True)))


def _by_rank(value: SortedSet, first: bytes, last: bytes) -> Range:
    return Range(*span(integer(first), integer(last), len(value)))


class Query(NamedTuple):
    """A range query, as of ZRANGE. `by`: rank, score or lex; `limit`: (offset, count)."""

    by: str
    low: bytes
    high: bytes
    reverse: bool
    scores: bool
    limit: tuple[int, int] | None


def _query(
    low: bytes,
    high: bytes,
    words: Sequence[bytes],
    *,
    by: str | None = None,
    reverse: bool | None = None,
    scores_allowed: bool = True,
) -> Query:
    """Parse a query. `by`, `reverse`: fixed by the command's name; None: set by options."""
    kind, backwards, scores, limit = by or "rank", bool(reverse), False, None
    rest = list(words)
    while rest:
        word = rest.pop(0).upper()
        if word == b"WITHSCORES" and scores_allowed:
            scores = True
        elif word == b"LIMIT" and len(rest) >= 2:
            limit = integer(rest.pop(0)), integer(rest.pop(0))
        elif word in (b"BYSCORE", b"BYLEX") and by is None:
            kind = word[2:].decode().lower()
        elif word == b"REV" and reverse is None:
            backwards = True
        else:
            raise BadSyntax
    if limit is not None and limit[1] != -1 and kind == "rank":
        raise BadSyntax(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if scores and kind == "lex":
        raise BadSyntax("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    if backwards and kind != "rank":
        low, high = high, low
    return Query(kind, low, high, backwards, scores, limit)


def _check(query: Query) -> None:
    """Raise `Error` for malformed bounds, before the key is read."""
    empty = SortedSet()
    _RANGES[query.by](empty, query.low, query.high)


_RANGES: dict[str, Callable[[SortedSet, bytes, bytes], Range]] = {
    "rank": _by_rank, "score": _by_score, "lex": _by_lex,
}  # fmt: skip


def _found(value: SortedSet, query: Query) -> list[tuple[float, bytes]]:
    """Return (score, member) pairs in the order asked for."""
    if query.by == "rank" and query.reverse:
        first, last = span(integer(query.low), integer(query.high), len(value))
        start, end = len(value) - last, len(value) - first
    else:
        start, end = _RANGES[query.by](value, query.low, query.high)
    found = list(value.order.islice(start, end, query.reverse))
    if query.limit is None or query.by == "rank":
        return found
    offset, count = query.limit
    if offset < 0:
        return []
    return found[offset:] if count < 0 else found[offset : offset + count]


def shown(found: Iterable[tuple[float, bytes]], scores: bool) -> Any:
    """Return a reply of members, with their scores if asked for."""
    if scores:
        return Pairs((member, Double(score)) for score, member in found)
    return [member for _, member in found]


def _range_reply(call: Call, key: bytes, query: Query) -> Any:
    _check(query)
    return shown(_found(_of(call, key), query), query.scores)


@COMMANDS.command("ZRANGE", -4, "readonly", ONE)
def _zrange(call: Call, cmd: Command) -> Any:
    return _range_reply(call, cmd[1], _query(cmd[2], cmd[3], cmd[4:]))


@COMMANDS.command("ZREVRANGE", -4, "readonly", ONE)
def _zrevrange(call: Call, cmd: Command) -> Any:
    query = _query(cmd[2], cmd[3], cmd[4:], by="rank", reverse=True)
    return _range_reply(call, cmd[1], query)


@COMMANDS.command("ZRANGEBYSCORE", -4, "readonly", ONE)
def _zrangebyscore(call: Call, cmd: Command) -> Any:
    query = _query(cmd[2], cmd[3], cmd[4:], by="score", reverse=False)
    return _range_reply(call, cmd[1], query)


@COMMANDS.command("ZREVRANGEBYSCORE", -4, "readonly", ONE)
def _zrevrangebyscore(call: Call, cmd: Command) -> Any:
    query = _query(cmd[2], cmd[3], cmd[4:], by="score", reverse=True)
    return _range_reply(call, cmd[1], query)


@COMMANDS.command("ZRANGEBYLEX", -4, "readonly", ONE)
def _zrangebylex(call: Call, cmd: Command) -> Any:
    query = _query(cmd[2], cmd[3], cmd[4:], by="lex", reverse=False)
    return _range_reply(call, cmd[1], query)


@COMMANDS.command("ZREVRANGEBYLEX", -4, "readonly", ONE)
def _zrevrangebylex(call: Call, cmd: Command) -> Any:
    query = _query(cmd[2], cmd[3], cmd[4:], by="lex", reverse=True)
    return _range_reply(call, cmd[1], query)


@COMMANDS.command("ZRANGESTORE", -5, "write denyoom", (1, 2, 1))
def _zrangestore(call: Call, cmd: Command) -> Any:
    query = _query(cmd[3], cmd[4], cmd[5:], scores_allowed=False)
    _check(query)
    found = _found(_of(call, cmd[2]), query)
    return stored(call, cmd[1], {member: score for score, member in found})


def stored(call: Call, key: bytes, scores: dict[bytes, float]) -> int:
    """Replace a key's value by a sorted set, or delete it if that is empty; return the size."""
    if scores:
        call.peek(key)
        made = SortedSet()
        for member, score in scores.items():
            made.set(member, score)
        call.put(key, made, keep_ttl=False)
    else:
        call.remove(key)
    return len(scores)


def _count(call: Call, cmd: Command, by: str) -> int:
    _RANGES[by](SortedSet(), cmd[2], cmd[3])
    start, end = _RANGES[by](_of(call, cmd[1]), cmd[2], cmd[3])
    return end - start


@COMMANDS.command("ZCOUNT", 4, "readonly fast", ONE)
def _zcount(call: Call, cmd: Command) -> Any:
    return _count(call, cmd, "score")


@COMMANDS.command("ZLEXCOUNT", 4, "readonly fast", ONE)
def _zlexcount(call: Call, cmd: Command) -> Any:
    return _count(call, cmd, "lex")


def _remove_range(call: Call, cmd: Command, by: str) -> int:
    _RANGES[by](SortedSet(), cmd[2], cmd[3])
    value = _of(call, cmd[1])
    found = list(value.order.islice(*_RANGES[by](value, cmd[2], cmd[3])))
    for _, member in found:
        value.discard(member)
    if found:
        call.settle(cmd[1], value)
    return len(found)


@COMMANDS.command("ZREMRANGEBYSCORE", 4, "write", ONE)
def _zremrangebyscore(call: Call, cmd: Command) -> Any:
    return _remove_range(call, cmd, "score")


@COMMANDS.command("ZREMRANGEBYRANK", 4, "write", ONE)
def _zremrangebyrank(call: Call, cmd: Command) -> Any:
    return _remove_range(call, cmd, "rank")


@COMMANDS.command("ZREMRANGEBYLEX", 4, "write", ONE)
def _zremrangebylex(call: Call, cmd: Command) -> Any:
    return _remove_range(call, cmd, "lex")


# --- popping


def _popped(
    call: Call, key: bytes, value: SortedSet, count: int, *, lowest: bool
) -> list[tuple[float, bytes]]:
    found: list[tuple[float, bytes]] = []
    for _ in range(min(count, len(value))):
        found.append(value.order[0 if lowest else -1])
        value.discard(found[-1][1])
    call.settle(key, value)
    return found


def _zpop(call: Call, cmd: Command, *, lowest: bool) -> Any:
    if len(cmd) > 3:
        raise BadSyntax
    count = integer(cmd[2], NOT_POSITIVE) if len(cmd) == 3 else 1
    if count < 0:
        raise Error(NOT_POSITIVE)
    if count == 0 and not call.version.since((7, 0), (0, 0)):
        return []
    value = call.look(cmd[1], SortedSet)
    if value is None or count == 0:
        return []
    pairs = shown(_popped(call, cmd[1], value, count, lowest=lowest), True)
    return pairs if len(cmd) == 3 else [each for pair in pairs for each in pair]


@COMMANDS.command("ZPOPMIN", -2, "write fast", ONE)
def _zpopmin(call: Call, cmd: Command) -> Any:
    return _zpop(call, cmd, lowest=True)


@COMMANDS.command("ZPOPMAX", -2, "write fast", ONE)
def _zpopmax(call: Call, cmd: Command) -> Any:
    return _zpop(call, cmd, lowest=False)


def _bzpop(call: Call, cmd: Command, *, lowest: bool) -> Any:
    timeout_ms = wait_ms(cmd[-1])
    for key in cmd[1:-1]:
        value = call.awaited(key, SortedSet)
        if value is not None:
            ((score, member),) = _popped(call, key, value, 1, lowest=lowest)
            call.instead((b"ZPOPMIN" if lowest else b"ZPOPMAX", key))
            return [key, member, Double(score)]
    return block_or_nil(call, cmd[1:-1], timeout_ms, NIL_ARRAY, lambda key: (cmd[0], key, cmd[-1]))


@COMMANDS.command("BZPOPMIN", -3, "write noscript blocking fast", (1, -2, 1))
def _bzpopmin(call: Call, cmd: Command) -> Any:
    return _bzpop(call, cmd, lowest=True)


@COMMANDS.command("BZPOPMAX", -3, "write noscript blocking fast", (1, -2, 1))
def _bzpopmax(call: Call, cmd: Command) -> Any:
    return _bzpop(call, cmd, lowest=False)


def _end(word: bytes) -> bytes:
    if word.upper() not in (b"MIN", b"MAX"):
        raise BadSyntax
    return word.upper()


def _zmpop_of(call: Call, keys: Sequence[bytes], end: bytes, count: int) -> Any:
    """Return ZMPOP's reply, or None if none of the keys exists."""
    for key in keys:
        value = call.awaited(key, SortedSet)
        if value is not None:
            found = _popped(call, key, value, count, lowest=end == b"MIN")
            call.instead((b"ZPOP" + end, key, b"%d" % len(found)))
            return [key, [[member, Double(score)] for score, member in found]]
    return None


@COMMANDS.command("ZMPOP", -4, "write", movable=counted_keys(1))
def _zmpop(call: Call, cmd: Command) -> Any:
    keys, words = split_numkeys(cmd, 1)
    end = _end(words[0])
    popped = _zmpop_of(call, keys, end, count_option(words[1:]))
    return NIL_ARRAY if popped is None else popped


@COMMANDS.command("BZMPOP", -5, "write blocking", movable=counted_keys(2))
def _bzmpop(call: Call, cmd: Command) -> Any:
    keys, words = split_numkeys(cmd, 2)
    end, count = _end(words[0]), count_option(words[1:])
    timeout_ms = wait_ms(cmd[1])
    popped = _zmpop_of(call, keys, end, count)
    if popped is not None:
        return popped
    return block_or_nil(call, keys, timeout_ms, NIL_ARRAY, one_of(cmd, words))


@COMMANDS.command("ZRANDMEMBER", -2, "readonly", ONE)
def _zrandmember(call: Call, cmd: Command) -> Any:
    count, with_scores = random_count(cmd, b"WITHSCORES")
    value = _of(call, cmd[1])
    members = random_members(call, [m for _, m in value.order], 1 if count is None else count)
    if count is None:
        return members[0] if members else None
    if with_scores:
        return Pairs((m, Double(value.scores[m])) for m in members)
    return members
