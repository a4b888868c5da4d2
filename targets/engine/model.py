"""Redis itself as a model: its step is the engine's. For histories of any commands on the keys of
one group."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Container, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from harness.models.base import INCONSISTENT, unknown_operation
from targets.engine import TABLE, Call, State, find, rdb
from targets.engine.resp import Error, plain
from targets.engine.syntax import RANDOM, UNORDERED
from targets.engine.values import Hash, Set, SortedSet, Stream, Value

STEPS_KEPT: Final = 100_000
TIME_MS: Final = 1_700_000_000_000
# Their replies tell of the server, of the moment, or of what nothing orders.
_LEFT_OUT: Final = frozenset(RANDOM) - {"XADD", "XTRIM", "XPENDING"} | {
    "EXPIRETIME", "PEXPIRETIME", "XINFO|STREAM", "MEMORY|USAGE", "EVAL", "EVALSHA", "EVAL_RO",
    "EVALSHA_RO", "SPUBLISH", "RESTORE", "XPENDING",
    "ZLEXCOUNT", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZREMRANGEBYLEX",
}  # fmt: skip
_NO_CHANCE: Final = random.Random(0)  # what depends on it is left out
_WORDS_LEFT_OUT: Final = frozenset(
    {"*", "~", "BY", "GET", "GT", "LT", "DB", "BLOCK", "BYLEX", "TIME", "IDLE"}
)
_PAIRS: Final = ("HGETALL",)


class CommandModel:
    """`read` and `write`: [words, reply], replies as `reply_of` makes them. Time stands still, so
    only commands that `understands` names may be in a history."""

    recurs = True
    cost = 50

    def __init__(self) -> None:
        self.step = lru_cache(STEPS_KEPT)(self._step)  # a search asks the same again and again

    def understands(self, words: Sequence[str], keys: Container[str]) -> bool:
        """Whether the engine has a command, which names some of these keys and no others, and its
        reply depends on nothing but their data."""
        command = tuple(word.encode() for word in words)
        known = find(TABLE, command)
        if known is None or not known.fits(command) or known.name in _LEFT_OUT:
            return False
        odd = _WORDS_LEFT_OUT & {word.upper() for word in words}
        if known.name == "SET" or known.name.startswith("BITFIELD"):
            odd -= {"GET"}
        named = known.keys_of(command)
        if odd or not named or any(key.decode() not in keys for key in named):
            return False
        return not any(_is_syntax_error(self._executed(s, command)) for s in _examples(named))

    def init(self) -> Hashable:
        return ()

    def _step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        if f not in ("read", "write"):
            raise unknown_operation("redis", f, "read and write")
        words, seen = value
        command = tuple(word.encode() for word in words)
        entry = find(TABLE, command)
        keys = frozenset(() if entry is None else entry.keys_of(command))
        thawed = _thawed(held for held in state if held[0] in keys)
        reply = reply_of(words, plain(self._executed(thawed, command)))
        if known and reply != seen:
            return INCONSISTENT
        if entry is None or not entry.write:
            return state
        return _frozen(thawed, [held for held in state if held[0] not in keys])

    def reply_of(self, words: Sequence[str], reply: Any) -> Any:
        return reply_of(words, reply)

    @staticmethod
    def _executed(state: State, command: tuple[bytes, ...]) -> Any:
        return Call(state, TIME_MS, _NO_CHANCE).run(command)


def _is_syntax_error(reply: Any) -> bool:
    """What another version may well understand."""
    return isinstance(reply, Error) and "syntax" in str(reply).lower()


def _examples(keys: Sequence[bytes]) -> Iterator[State]:
    """States in which syntax is looked at: of some commands only where the key is there."""
    yield State(sharded=True)
    made = SortedSet()
    made.set(b"a", 1)
    for value in (b"1", deque([b"1"]), Set({b"1": None}), Hash({b"a": b"1"}), made):
        state = State(sharded=True)
        for key in keys:
            state.put(key, value)
        yield state


def reply_of(words: Sequence[str], reply: Any) -> Any:
    """A reply as the model compares it: text for bytes, tuples for lists, in an order of their own
    where the server's means nothing; of errors the code alone, since versions word them anew."""
    made = _made(reply)
    name = words[0].upper()
    if not isinstance(made, tuple) or name not in UNORDERED or _is_error(made):
        return made
    if name in _PAIRS:
        pairs = sorted(zip(made[::2], made[1::2], strict=True))
        return tuple(word for pair in pairs for word in pair)
    return tuple(sorted(made))


def _is_error(made: tuple[Any, ...]) -> bool:
    return len(made) == 1 and isinstance(made[0], tuple) and made[0][:1] == ("error",)


def _made(reply: Any) -> Any:
    if isinstance(reply, dict):
        return (("error", reply["error"]),)
    if isinstance(reply, bytes):
        return reply.decode("latin-1")
    if isinstance(reply, Error):
        return (("error", str(reply).partition(" ")[0]),)
    if isinstance(reply, list | tuple):
        return tuple(map(_made, reply))
    return reply


# --- states as hashable values, and back


def _frozen(state: State, others: list[Any]) -> Hashable:
    held = [(k, _frozen_value(v), state.expires.get(k)) for k, v in state.values.items()]
    return tuple(sorted([*held, *others], key=lambda each: each[0]))


def _frozen_value(value: Value) -> Hashable:
    if isinstance(value, bytes):
        return value
    if isinstance(value, deque):
        return "list", tuple(value)
    if isinstance(value, Set):
        return "set", tuple(sorted(value))
    if isinstance(value, Hash):
        return "hash", tuple(sorted(value.items()))
    if isinstance(value, SortedSet):
        return "zset", tuple(value.order)
    return "stream", rdb.dump(value)


def _thawed(frozen: Any) -> State:
    state = State(sharded=True)
    for key, value, end_ms in frozen:
        state.put(key, _thawed_value(value))
        if end_ms is not None:
            state.expire(key, end_ms)
    return state


def _thawed_value(frozen: Any) -> Value:
    if isinstance(frozen, bytes):
        return frozen
    kind, held = frozen
    if kind == "list":
        return deque(held)
    if kind == "set":
        return Set((member, None) for member in held)
    if kind == "hash":
        return Hash(held)
    if kind == "zset":
        made = SortedSet()
        for score, member in held:
            made.set(member, score)
        return made
    stream = rdb.restored(held)
    assert isinstance(stream, Stream)
    return stream
