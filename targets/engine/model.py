"""A model of Redis, for histories of any commands on one group of keys. The command engine executes
its steps."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Container, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from harness.models.base import INCONSISTENT, unknown_operation
from targets.engine import rdb
from targets.engine.commands import COMMANDS
from targets.engine.execution import Call
from targets.engine.protocol import Context
from targets.engine.resp import BadSyntax, Error, to_resp2
from targets.engine.state import State
from targets.engine.syntax import RANDOM, UNORDERED
from targets.engine.table import find
from targets.engine.values import Hash, Set, SortedSet, Stream, Value

STEPS_KEPT: Final = 100_000
TIME_MS: Final = 1_700_000_000_000
# Commands whose replies depend on the server, on the time, or on an unspecified order.
_LEFT_OUT: Final = frozenset(RANDOM) - {"XADD", "XTRIM", "XPENDING"} | {
    "EXPIRETIME", "PEXPIRETIME", "XINFO|STREAM", "MEMORY|USAGE", "EVAL", "EVALSHA", "EVAL_RO",
    "EVALSHA_RO", "SPUBLISH", "RESTORE", "XPENDING",
    "ZLEXCOUNT", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZREMRANGEBYLEX",
}  # fmt: skip
_CONTEXT: Final = Context(TIME_MS, random.Random(0))  # commands that depend on chance are left out
_WORDS_LEFT_OUT: Final = frozenset(
    {"*", "~", "BY", "GET", "GT", "LT", "DB", "BLOCK", "BYLEX", "TIME", "IDLE"}
)
_PAIRS: Final = ("HGETALL",)


class CommandModel:
    """Operations `read` and `write` with the value [words, reply], the reply in the form that
    `targets.engine.model.reply_of` returns. Time does not advance: histories may only contain
    commands that the method `understands` accepts.
    """

    recurs = True
    cost = 50

    def __init__(self) -> None:
        self.step = lru_cache(STEPS_KEPT)(self._step)  # a search repeats the same steps

    def understands(self, words: Sequence[str], keys: Container[str]) -> bool:
        """Return whether the engine has a command that names one or more of these keys and no
        others, and whose reply depends on their data alone."""
        command = tuple(word.encode() for word in words)
        known = find(COMMANDS, command)
        if known is None or not known.fits(command) or known.name in _LEFT_OUT:
            return False
        odd = _WORDS_LEFT_OUT & {word.upper() for word in words}
        if known.name == "SET" or known.name.startswith("BITFIELD"):
            odd -= {"GET"}
        named = known.keys_of(command)
        if odd or not named or any(key.decode() not in keys for key in named):
            return False
        return not any(isinstance(self._executed(s, command), BadSyntax) for s in _examples(named))

    def init(self) -> Hashable:
        return ()

    def _step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        if f not in ("read", "write"):
            raise unknown_operation("redis", f, "read and write")
        words, seen = value
        command = tuple(word.encode() for word in words)
        entry = find(COMMANDS, command)
        keys = frozenset(() if entry is None else entry.keys_of(command))
        thawed = _thawed(item for item in state if item[0] in keys)
        reply = reply_of(words, to_resp2(self._executed(thawed, command)))
        if known and reply != seen:
            return INCONSISTENT
        if entry is None or not entry.write:
            return state
        return _frozen(thawed, [item for item in state if item[0] not in keys])

    def reply_of(self, words: Sequence[str], reply: Any) -> Any:
        return reply_of(words, reply)

    @staticmethod
    def _executed(state: State, command: tuple[bytes, ...]) -> Any:
        return Call(state, COMMANDS, _CONTEXT).run(command)


def _examples(keys: Sequence[bytes]) -> Iterator[State]:
    """Yield states to check syntax in: some commands check it only if their key exists. Another
    version may accept what is a syntax error here."""
    yield State(sharded=True)
    made = SortedSet()
    made.set(b"a", 1)
    for value in (b"1", deque([b"1"]), Set({b"1": None}), Hash({b"a": b"1"}), made):
        state = State(sharded=True)
        for key in keys:
            state.put(key, value)
        yield state


def reply_of(words: Sequence[str], reply: Any) -> Any:
    """Return a reply in the form that the model compares: bytes as text, lists as tuples, sorted if
    the server's order is unspecified, and errors as their code, since texts differ by version."""
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
        return (("error", reply.code),)
    if isinstance(reply, list | tuple):
        return tuple(map(_made, reply))
    return reply


# --- states as hashable values, and back


def _frozen(state: State, others: list[Any]) -> Hashable:
    items = [(k, _frozen_value(v), state.expires.get(k)) for k, v in state.values.items()]
    return tuple(sorted([*items, *others], key=lambda each: each[0]))


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
    kind, content = frozen
    if kind == "list":
        return deque(content)
    if kind == "set":
        return Set((member, None) for member in content)
    if kind == "hash":
        return Hash(content)
    if kind == "zset":
        made = SortedSet()
        for score, member in content:
            made.set(member, score)
        return made
    stream = rdb.parse_dump(content)
    assert isinstance(stream, Stream)
    return stream
