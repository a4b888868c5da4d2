"""Commands on lists, including the blocking ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from targets.engine.execution import NO_SUCH_KEY, Call, Commands
from targets.engine.parsing import floating, integer
from targets.engine.protocol import Blocked
from targets.engine.resp import NIL_ARRAY, OK, BadSyntax, Command, Error
from targets.engine.table import ONE, counted_keys
from targets.engine.values import List

COMMANDS: Commands = Commands()

NOT_POSITIVE = "ERR value is out of range, must be positive"


def _push(call: Call, cmd: Command, *, left: bool, create: bool = True) -> int:
    value = call.look(cmd[1], deque)
    if value is None:
        if not create:
            return 0
        value = deque()
    if left:
        value.extendleft(cmd[2:])
    else:
        value.extend(cmd[2:])
    call.put(cmd[1], value)
    return len(value)


@COMMANDS.command("RPUSH", -3, "write denyoom fast", ONE)
def _rpush(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=False)


@COMMANDS.command("LPUSH", -3, "write denyoom fast", ONE)
def _lpush(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=True)


@COMMANDS.command("RPUSHX", -3, "write denyoom fast", ONE)
def _rpushx(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=False, create=False)


@COMMANDS.command("LPUSHX", -3, "write denyoom fast", ONE)
def _lpushx(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=True, create=False)


def _taken(call: Call, key: bytes, value: List, count: int, *, left: bool) -> list[bytes]:
    """Pop and return up to `count` elements."""
    popped = [value.popleft() if left else value.pop() for _ in range(min(count, len(value)))]
    call.settle(key, value)
    return popped


def _pop(call: Call, cmd: Command, *, left: bool) -> Any:
    if len(cmd) > 3:
        raise Error(f"ERR wrong number of arguments for '{cmd[0].decode().lower()}' command")
    count = None
    if len(cmd) == 3:
        count = integer(cmd[2], NOT_POSITIVE)
        if count < 0:
            raise Error(NOT_POSITIVE)
    value = call.look(cmd[1], deque)
    if value is None:
        return None if count is None else NIL_ARRAY
    if count == 0:
        return []
    popped = _taken(call, cmd[1], value, count or 1, left=left)
    return popped[0] if count is None else popped


@COMMANDS.command("LPOP", -2, "write fast", ONE)
def _lpop(call: Call, cmd: Command) -> Any:
    return _pop(call, cmd, left=True)


@COMMANDS.command("RPOP", -2, "write fast", ONE)
def _rpop(call: Call, cmd: Command) -> Any:
    return _pop(call, cmd, left=False)


@COMMANDS.command("LLEN", 2, "readonly fast", ONE)
def _llen(call: Call, cmd: Command) -> Any:
    return len(call.look(cmd[1], deque) or ())


def span(first: int, last: int, size: int) -> tuple[int, int]:
    """Return (start, end) of a slice; negative indices count from the end."""
    first = max(0, first + size if first < 0 else first)
    last = last + size if last < 0 else min(last, size - 1)
    return (first, last + 1) if first <= last else (0, 0)


@COMMANDS.command("LRANGE", 4, "readonly", ONE)
def _lrange(call: Call, cmd: Command) -> Any:
    first, last = integer(cmd[2]), integer(cmd[3])
    value = call.look(cmd[1], deque) or ()
    return list(islice(value, *span(first, last, len(value))))


@COMMANDS.command("LINDEX", 3, "readonly", ONE)
def _lindex(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], deque)
    if value is None:
        return None
    index = integer(cmd[2])
    return value[index] if -len(value) <= index < len(value) else None


@COMMANDS.command("LSET", 4, "write denyoom", ONE)
def _lset(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], deque)
    if value is None:
        raise Error(NO_SUCH_KEY)
    index = integer(cmd[2])
    if not -len(value) <= index < len(value):
        raise Error("ERR index out of range")
    value[index] = cmd[3]
    call.touch(cmd[1])
    return OK


@COMMANDS.command("LINSERT", 5, "write denyoom", ONE)
def _linsert(call: Call, cmd: Command) -> Any:
    where = cmd[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise BadSyntax
    value = call.look(cmd[1], deque)
    if value is None:
        return 0
    if cmd[3] not in value:
        return -1
    value.insert(value.index(cmd[3]) + (where == b"AFTER"), cmd[4])
    call.touch(cmd[1])
    return len(value)


@COMMANDS.command("LREM", 4, "write", ONE)
def _lrem(call: Call, cmd: Command) -> Any:
    count = integer(cmd[2])
    value = call.look(cmd[1], deque)
    if value is None:
        return 0
    left = abs(count) or len(value)
    kept: list[bytes] = []
    for each in reversed(value) if count < 0 else value:
        if left and each == cmd[3]:
            left -= 1
        else:
            kept.append(each)
    removed = len(value) - len(kept)
    if removed:
        value.clear()
        value.extend(reversed(kept) if count < 0 else kept)
        call.settle(cmd[1], value)
    return removed


@COMMANDS.command("LTRIM", 4, "write", ONE)
def _ltrim(call: Call, cmd: Command) -> Any:
    first, last = integer(cmd[2]), integer(cmd[3])
    value = call.look(cmd[1], deque)
    if value is not None:
        kept = list(islice(value, *span(first, last, len(value))))
        if len(kept) != len(value):
            value.clear()
            value.extend(kept)
            call.settle(cmd[1], value)
    return OK


@COMMANDS.command("LPOS", -3, "readonly", ONE)
def _lpos(call: Call, cmd: Command) -> Any:
    rank, count, most = 1, None, 0
    words = list(cmd[3:])
    while words:
        word = words.pop(0).upper()
        if word not in (b"RANK", b"COUNT", b"MAXLEN") or not words:
            raise BadSyntax
        given = words.pop(0)
        if word == b"RANK":
            rank = integer(given)
            if rank == 0:
                raise Error(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the "
                    "second ... or use negative to start from the end of the list"
                )
        elif word == b"COUNT":
            count = integer(given, "ERR COUNT can't be negative")
            if count < 0:
                raise Error("ERR COUNT can't be negative")
        else:
            most = integer(given, "ERR MAXLEN can't be negative")
            if most < 0:
                raise Error("ERR MAXLEN can't be negative")
    value = call.look(cmd[1], deque)
    found = [] if value is None else _indices(value, cmd[2], rank, count, most)
    if count is None:
        return found[0] if found else None
    return found


def _indices(value: List, wanted: bytes, rank: int, count: int | None, most: int) -> list[int]:
    """Return indices of an element: `count` of them (0: all, None: one) from match `rank` on,
    among the first `most` elements (0: all)."""
    size = len(value)
    found: list[int] = []
    skip = abs(rank) - 1
    for n, each in enumerate(reversed(value) if rank < 0 else value):
        if most and n >= most:
            break
        if each != wanted:
            continue
        if skip:
            skip -= 1
            continue
        found.append(size - 1 - n if rank < 0 else n)
        if count != 0 and len(found) == (count or 1):
            break
    return found


# --- moving elements between lists


def side(word: bytes) -> bool:
    """Return whether a word is LEFT; raises `Error` if it is neither LEFT nor RIGHT."""
    if word.upper() not in (b"LEFT", b"RIGHT"):
        raise BadSyntax
    return word.upper() == b"LEFT"


def _move(call: Call, source: bytes, target: bytes, from_left: bool, to_left: bool) -> Any:
    value = call.awaited(source, deque)
    if value is None:
        return None
    into = call.look(target, deque)
    element = value.popleft() if from_left else value.pop()
    if into is None:
        into = deque()
    if to_left:
        into.appendleft(element)
    else:
        into.append(element)
    if source == target:
        call.touch(source)
        return element
    call.put(target, into)
    call.settle(source, value)
    return element


@COMMANDS.command("LMOVE", 5, "write denyoom", (1, 2, 1))
def _lmove(call: Call, cmd: Command) -> Any:
    return _move(call, cmd[1], cmd[2], side(cmd[3]), side(cmd[4]))


@COMMANDS.command("RPOPLPUSH", 3, "write denyoom", (1, 2, 1))
def _rpoplpush(call: Call, cmd: Command) -> Any:
    return _move(call, cmd[1], cmd[2], False, True)


def _pop_any(call: Call, keys: Sequence[bytes], count: int, *, left: bool) -> Any:
    """Return LMPOP's reply, or None if none of the keys exists."""
    for key in keys:
        value = call.awaited(key, deque)
        if value is not None:
            popped = _taken(call, key, value, count, left=left)
            call.instead((b"LPOP" if left else b"RPOP", key, b"%d" % len(popped)))
            return [key, popped]
    return None


def count_option(words: Sequence[bytes]) -> int:
    """Return n of `COUNT n`, or 1 if there are no words."""
    if not words:
        return 1
    if len(words) < 2 or words[0].upper() != b"COUNT":
        raise BadSyntax
    count = integer(words[1], "ERR count should be greater than 0")
    if count <= 0:
        raise Error("ERR count should be greater than 0")
    if len(words) > 2:
        raise BadSyntax
    return count


def split_numkeys(cmd: Command, index: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return (keys, words after them) of a command whose number of keys is at an index."""
    count = integer(cmd[index], "ERR numkeys should be greater than 0")
    if count <= 0:
        raise Error("ERR numkeys should be greater than 0")
    if index + 1 + count >= len(cmd):
        raise BadSyntax
    return cmd[index + 1 : index + 1 + count], cmd[index + 1 + count :]


@COMMANDS.command("LMPOP", -4, "write", movable=counted_keys(1))
def _lmpop(call: Call, cmd: Command) -> Any:
    keys, words = split_numkeys(cmd, 1)
    left = side(words[0])
    popped = _pop_any(call, keys, count_option(words[1:]), left=left)
    return NIL_ARRAY if popped is None else popped


# --- blocking


def wait_ms(word: bytes) -> int:
    """Convert a time-out from seconds to milliseconds; 0 means that it never ends."""
    seconds = floating(word, "ERR timeout is not a float or out of range")
    ms = math.ceil(seconds * 1000) if abs(seconds) < 1e16 else -1
    if not 0 <= ms < 2**63:
        raise Error("ERR timeout is negative")
    return ms


def block_or_nil(
    call: Call, keys: Sequence[bytes], timeout_ms: int, nil: Any, again: Callable[[bytes], Command]
) -> Any:
    """Return `Blocked` if the call may block, else `nil`. `again`: of a key, see `Blocked`."""
    if not call.context.may_block:
        return nil
    return Blocked(tuple(keys), timeout_ms, NIL_ARRAY, {key: again(key) for key in keys})


def one_of(cmd: Command, words: Sequence[bytes]) -> Callable[[bytes], Command]:
    """Return a function from a key to BLMPOP or BZMPOP of that key alone. `words`: those after the
    keys."""
    return lambda key: (cmd[0], cmd[1], b"1", key, *words)


def _bpop(call: Call, cmd: Command, *, left: bool) -> Any:
    timeout_ms = wait_ms(cmd[-1])
    keys = cmd[1:-1]
    for key in keys:
        value = call.awaited(key, deque)
        if value is not None:
            popped = _taken(call, key, value, 1, left=left)
            call.instead((b"LPOP" if left else b"RPOP", key))
            return [key, popped[0]]
    return block_or_nil(call, keys, timeout_ms, NIL_ARRAY, lambda key: (cmd[0], key, cmd[-1]))


@COMMANDS.command("BLPOP", -3, "write noscript blocking", (1, -2, 1))
def _blpop(call: Call, cmd: Command) -> Any:
    return _bpop(call, cmd, left=True)


@COMMANDS.command("BRPOP", -3, "write noscript blocking", (1, -2, 1))
def _brpop(call: Call, cmd: Command) -> Any:
    return _bpop(call, cmd, left=False)


@COMMANDS.command("BLMOVE", 6, "write denyoom noscript blocking", (1, 2, 1))
def _blmove(call: Call, cmd: Command) -> Any:
    from_left, to_left = side(cmd[3]), side(cmd[4])
    timeout_ms = wait_ms(cmd[5])
    moved = _move(call, cmd[1], cmd[2], from_left, to_left)
    if moved is None:
        return block_or_nil(call, cmd[1:2], timeout_ms, None, lambda key: cmd)
    call.instead((b"LMOVE", *cmd[1:5]))
    return moved


@COMMANDS.command("BRPOPLPUSH", 4, "write denyoom noscript blocking", (1, 2, 1))
def _brpoplpush(call: Call, cmd: Command) -> Any:
    timeout_ms = wait_ms(cmd[3])
    moved = _move(call, cmd[1], cmd[2], False, True)
    if moved is None:
        return block_or_nil(call, cmd[1:2], timeout_ms, None, lambda key: cmd)
    call.instead((b"RPOPLPUSH", *cmd[1:3]))
    return moved


@COMMANDS.command("BLMPOP", -5, "write blocking", movable=counted_keys(2))
def _blmpop(call: Call, cmd: Command) -> Any:
    keys, words = split_numkeys(cmd, 2)
    left, count = side(words[0]), count_option(words[1:])
    timeout_ms = wait_ms(cmd[1])  # parsed last, as in Redis
    popped = _pop_any(call, keys, count, left=left)
    if popped is not None:
        return popped
    return block_or_nil(call, keys, timeout_ms, NIL_ARRAY, one_of(cmd, words))
