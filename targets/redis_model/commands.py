"""Execution of commands: (state, command, time, random) -> (reply, effects, reads, writes).

Nothing here knows of connections, replication or disks. Effects are what goes to replicas and
logs instead of the command: with absolute times, without chance. Read is every key that was looked
at, whatever the reply, also where it was found absent or of another type; written is every key
that has changed. DBSIZE and FLUSHALL look at no key in particular.

Semantics and texts are those of Redis 7.0; tests hold them against a real server.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from targets.redis_model.resp import OK, Command, Error, Simple

# Sets keep the order of insertion, so that what is drawn from them depends on the seed alone.
Value = bytes | list[bytes] | dict[bytes, None]
KINDS: Final[dict[type, bytes]] = {bytes: b"string", list: b"list", dict: b"set"}
INT64 = 2**63
MEMBERS_A_COMMAND = 1000  # of a snapshot

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"
FORBIDDEN = "ERR This Redis command is not allowed from script"


@dataclass
class State:
    """What a server holds. `expires`: milliseconds since 1970. `scripts`: by SHA-1."""

    values: dict[bytes, Value] = field(default_factory=dict)
    expires: dict[bytes, int] = field(default_factory=dict)
    scripts: dict[bytes, bytes] = field(default_factory=dict)

    def snapshot(self) -> list[Command]:
        """Commands that make an empty state equal to this one."""
        commands: list[Command] = []
        for key, value in self.values.items():
            if isinstance(value, bytes):
                commands.append((b"SET", key, value))
            else:
                name, members = b"RPUSH" if isinstance(value, list) else b"SADD", list(value)
                for start in range(0, len(members), MEMBERS_A_COMMAND):
                    part = members[start : start + MEMBERS_A_COMMAND]
                    commands.append((name, key, *part))
            if key in self.expires:
                commands.append((b"PEXPIREAT", key, b"%d" % self.expires[key]))
        return commands


class Outcome(NamedTuple):
    """See the module's text. `reply` may be an `Error`."""

    reply: Any
    effects: list[Command]
    reads: dict[bytes, None]
    writes: dict[bytes, None]


def execute(
    state: State,
    command: Command,
    time_ms: int,
    rng: random.Random,
    deny: Error | None = None,
) -> Outcome:
    """Execute one command; the state is changed in place. `deny`: what a command that may write is
    answered instead, also when a script calls it; then keys whose time has come are only hidden."""
    call = Call(state, time_ms, rng, deny)
    reply = call.run(command)
    return Outcome(reply, call.effects, call.reads, call.writes)


def is_expired(state: State, key: bytes, time_ms: int) -> bool:
    """Whether a key is there still although its time has come."""
    end = state.expires.get(key)
    return end is not None and end <= time_ms


def is_write(name: bytes) -> bool:
    """Whether a command may change keys; false for one that is not known."""
    known = TABLE.get(name.upper())
    return known is not None and known.write


def refuse(command: Command) -> Error | None:
    """Unknown, or with too few or too many arguments: not to be executed, nor queued."""
    known = TABLE.get(command[0].upper())
    if known is None:
        args = "".join(f"'{_text(a)}' " for a in command[1:])
        return Error(f"ERR unknown command '{_text(command[0])}', with args beginning with: {args}")
    return wrong_arity(command, known.arity)


def wrong_arity(command: Command, arity: int) -> Error | None:
    """`arity` counts the name too; negative: at least so many."""
    if len(command) == arity or (arity < 0 and len(command) >= -arity):
        return None
    name = _text(command[0]).lower()
    return Error(f"ERR wrong number of arguments for '{name}' command")


def _text(word: bytes) -> str:
    return word[:128].decode("utf-8", "replace")


class Call:
    """One command that is being executed; of a script, all that it calls."""

    def __init__(
        self, state: State, time_ms: int, rng: random.Random, deny: Error | None = None
    ) -> None:
        self.state = state
        self.time_ms = time_ms
        self.rng = rng
        self.deny = deny
        self.in_script = False
        self.effects: list[Command] = []
        self.reads: dict[bytes, None] = {}
        self.writes: dict[bytes, None] = {}
        self._instead: list[Command] | None
        self._begin()

    def run(self, command: Command) -> Any:
        """The reply; errors are replies."""
        error = refuse(command)
        if error is not None:
            return error
        self._begin()
        known = TABLE[command[0].upper()]
        if known.write and self.deny is not None:
            return self.deny
        try:
            reply = known.run(self, command)
        except Error as e:
            reply = e
        if known.nested:
            return reply
        if self._instead is not None:
            self.effects += self._instead
        elif self._changed:
            self.effects.append(command)
        return reply

    def _begin(self) -> None:
        self._changed, self._instead = False, None

    # --- what commands do with keys

    def peek(self, key: bytes) -> Value | None:
        """A value of any kind; removes it first if its time has come."""
        self.reads.setdefault(key)
        if is_expired(self.state, key, self.time_ms):
            if self.deny is not None:
                return None
            self._drop(key)
            self.effects.append((b"DEL", key))
        return self.state.values.get(key)

    def look(self, key: bytes, kind: type) -> Any:
        """A value of a kind, or None; raises WRONGTYPE."""
        value = self.peek(key)
        if value is not None and type(value) is not kind:
            raise Error(WRONG_TYPE)
        return value

    def put(self, key: bytes, value: Value, *, keep_ttl: bool = True) -> None:
        self.state.values[key] = value
        if not keep_ttl:
            self.state.expires.pop(key, None)
        self.touch(key)

    def touch(self, key: bytes) -> None:
        """The key's value was changed in place."""
        self.writes.setdefault(key)
        self._changed = True

    def remove(self, key: bytes) -> bool:
        there = self.peek(key) is not None
        if there:
            self._drop(key)
            self._changed = True
        return there

    def _drop(self, key: bytes) -> None:
        del self.state.values[key]
        self.state.expires.pop(key, None)
        self.writes.setdefault(key)

    def instead(self, *effects: Command) -> None:
        """What is to be propagated in place of the command itself."""
        self._instead = list(effects)


class Known(NamedTuple):
    """`arity` as in COMMAND INFO. `nested`: runs commands itself (scripts)."""

    run: Callable[[Call, Command], Any]
    arity: int
    write: bool
    nested: bool


TABLE: dict[bytes, Known] = {}


def command(
    name: str, arity: int, *, write: bool = False, nested: bool = False
) -> Callable[[Callable[[Call, Command], Any]], Callable[[Call, Command], Any]]:
    """Registers the function that executes a command."""

    def register(run: Callable[[Call, Command], Any]) -> Callable[[Call, Command], Any]:
        TABLE[name.encode()] = Known(run, arity, write, nested)
        return run

    return register


def integer(word: bytes) -> int:
    """As strict as Redis: no spaces, no plus sign, 64 bits."""
    digits = word[1:] if word[:1] == b"-" else word
    plain = (
        digits.isdigit()
        and len(digits) < 20
        and (digits == b"0" or digits[:1] != b"0")
        and word != b"-0"
    )
    if not plain or not -INT64 <= int(word) < INT64:
        raise Error(NOT_AN_INTEGER)
    return int(word)


# --- connection


@command("PING", -1)
def _ping(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2:
        raise Error("ERR wrong number of arguments for 'ping' command")
    return cmd[1] if len(cmd) == 2 else Simple(b"PONG")


@command("ECHO", 2)
def _echo(call: Call, cmd: Command) -> Any:
    return cmd[1]


# --- keys


@command("DEL", -2, write=True)
def _del(call: Call, cmd: Command) -> Any:
    return sum([call.remove(key) for key in cmd[1:]])


@command("UNLINK", -2, write=True)
def _unlink(call: Call, cmd: Command) -> Any:
    return _del(call, cmd)


@command("EXISTS", -2)
def _exists(call: Call, cmd: Command) -> Any:
    return sum([call.peek(key) is not None for key in cmd[1:]])


@command("TYPE", 2)
def _type(call: Call, cmd: Command) -> Any:
    value = call.peek(cmd[1])
    return Simple(b"none" if value is None else KINDS[type(value)])


@command("DBSIZE", 1)
def _dbsize(call: Call, cmd: Command) -> Any:
    return len(call.state.values)


@command("FLUSHALL", -1, write=True)
def _flushall(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2 or (len(cmd) == 2 and cmd[1].upper() not in (b"SYNC", b"ASYNC")):
        raise Error(SYNTAX)
    for key in list(call.state.values):
        call.touch(key)
    call.state.values.clear()
    call.state.expires.clear()
    call.instead((b"FLUSHALL",))
    return OK


def _expire_at(call: Call, cmd: Command, end_ms: int) -> int:
    key = cmd[1]
    if not -INT64 <= end_ms < INT64:
        name = _text(cmd[0]).lower()
        raise Error(f"ERR invalid expire time in '{name}' command")
    if call.peek(key) is None:
        return 0
    if end_ms <= call.time_ms:
        call.remove(key)
        call.instead((b"DEL", key))
    else:
        call.state.expires[key] = end_ms
        call.touch(key)
        call.instead((b"PEXPIREAT", key, b"%d" % end_ms))
    return 1


@command("EXPIRE", 3, write=True)
def _expire(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, call.time_ms + 1000 * integer(cmd[2]))


@command("PEXPIRE", 3, write=True)
def _pexpire(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, call.time_ms + integer(cmd[2]))


@command("PEXPIREAT", 3, write=True)
def _pexpireat(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, integer(cmd[2]))


@command("PERSIST", 2, write=True)
def _persist(call: Call, cmd: Command) -> Any:
    call.peek(cmd[1])
    if call.state.expires.pop(cmd[1], None) is None:
        return 0
    call.touch(cmd[1])
    return 1


def _left_ms(call: Call, key: bytes) -> int:
    if call.peek(key) is None:
        return -2
    end = call.state.expires.get(key)
    return -1 if end is None else end - call.time_ms


@command("TTL", 2)
def _ttl(call: Call, cmd: Command) -> Any:
    left = _left_ms(call, cmd[1])
    return left if left < 0 else (left + 500) // 1000


@command("PTTL", 2)
def _pttl(call: Call, cmd: Command) -> Any:
    return _left_ms(call, cmd[1])


# --- strings


@command("GET", 2)
def _get(call: Call, cmd: Command) -> Any:
    return call.look(cmd[1], bytes)


class SetOptions(NamedTuple):
    """Of SET. `end_ms`: when the key expires."""

    condition: bytes | None
    get: bool
    keep_ttl: bool
    end_ms: int | None


def _set_options(call: Call, words: list[bytes]) -> SetOptions:
    condition: bytes | None = None
    expire: tuple[bytes, bytes] | None = None
    get = keep_ttl = False
    while words:
        word = words.pop(0).upper()
        if word in (b"NX", b"XX") and condition in (None, word):
            condition = word
        elif word == b"GET":
            get = True
        elif word == b"KEEPTTL" and expire is None:
            keep_ttl = True
        elif word in (b"EX", b"PX", b"EXAT", b"PXAT") and words and not (expire or keep_ttl):
            expire = word, words.pop(0)
        else:
            raise Error(SYNTAX)
    end_ms = None if expire is None else _end_of_set(call, *expire)
    return SetOptions(condition, get, keep_ttl, end_ms)


def _end_of_set(call: Call, unit: bytes, word: bytes) -> int:
    given = integer(word)
    end_ms = given * (1000 if unit[:1] == b"E" else 1)
    end_ms += 0 if unit.endswith(b"AT") else call.time_ms
    if given <= 0 or end_ms >= INT64:
        raise Error("ERR invalid expire time in 'set' command")
    return end_ms


@command("SET", -3, write=True)
def _set(call: Call, cmd: Command) -> Any:
    key, value = cmd[1], cmd[2]
    options = _set_options(call, list(cmd[3:]))
    before = call.look(key, bytes) if options.get else call.peek(key)
    reply: Any = before if options.get else OK
    there = call.peek(key) is not None
    if (options.condition == b"NX" and there) or (options.condition == b"XX" and not there):
        return before if options.get else None
    call.put(key, value, keep_ttl=options.keep_ttl)
    if options.get:
        call.instead(tuple(w for i, w in enumerate(cmd) if i < 3 or w.upper() != b"GET"))
    if options.end_ms is not None:
        if options.end_ms <= call.time_ms:
            call.remove(key)
            call.instead((b"DEL", key))
        else:
            call.state.expires[key] = options.end_ms
            call.instead((b"SET", key, value, b"PXAT", b"%d" % options.end_ms))
    return reply


def _increment(call: Call, key: bytes, by: int) -> int:
    value = call.look(key, bytes)
    after = (0 if value is None else integer(value)) + by
    if not -INT64 <= after < INT64:
        raise Error("ERR increment or decrement would overflow")
    call.put(key, b"%d" % after)
    return after


@command("INCR", 2, write=True)
def _incr(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], 1)


@command("INCRBY", 3, write=True)
def _incrby(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], integer(cmd[2]))


@command("DECR", 2, write=True)
def _decr(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], -1)


@command("APPEND", 3, write=True)
def _append(call: Call, cmd: Command) -> Any:
    value = (call.look(cmd[1], bytes) or b"") + cmd[2]
    call.put(cmd[1], value)
    return len(value)


# --- lists


def _push(call: Call, cmd: Command, *, left: bool) -> int:
    value = call.look(cmd[1], list)
    value = [] if value is None else value
    if left:
        value[:0] = reversed(cmd[2:])
    else:
        value.extend(cmd[2:])
    call.put(cmd[1], value)
    return len(value)


@command("RPUSH", -3, write=True)
def _rpush(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=False)


@command("LPUSH", -3, write=True)
def _lpush(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=True)


@command("LPOP", 2, write=True)
def _lpop(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], list)
    if value is None:
        return None
    popped = value.pop(0)
    call.touch(cmd[1])
    if not value:
        call.remove(cmd[1])
    return popped


@command("LLEN", 2)
def _llen(call: Call, cmd: Command) -> Any:
    return len(call.look(cmd[1], list) or ())


@command("LRANGE", 4)
def _lrange(call: Call, cmd: Command) -> Any:
    first, last = integer(cmd[2]), integer(cmd[3])
    value = call.look(cmd[1], list) or []
    size = len(value)
    first = max(0, first + size if first < 0 else first)
    last = last + size if last < 0 else last
    return value[first : last + 1] if last >= first else []


# --- sets


@command("SADD", -3, write=True)
def _sadd(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], dict)
    value = {} if value is None else value
    before = len(value)
    value.update(dict.fromkeys(cmd[2:]))
    if len(value) > before:
        call.put(cmd[1], value)
    return len(value) - before


def _take(call: Call, key: bytes, value: dict[bytes, None], members: list[bytes]) -> None:
    for member in members:
        del value[member]
    call.touch(key)
    if not value:
        call.remove(key)


@command("SREM", -3, write=True)
def _srem(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], dict)
    members = [m for m in dict.fromkeys(cmd[2:]) if value is not None and m in value]
    if members:
        _take(call, cmd[1], value, members)
    return len(members)


@command("SPOP", 2, write=True)
def _spop(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], dict)
    if value is None:
        return None
    member = call.rng.choice(list(value))
    _take(call, cmd[1], value, [member])
    call.instead((b"SREM", cmd[1], member))
    return member


@command("SCARD", 2)
def _scard(call: Call, cmd: Command) -> Any:
    return len(call.look(cmd[1], dict) or ())


@command("SISMEMBER", 3)
def _sismember(call: Call, cmd: Command) -> Any:
    return int(cmd[2] in (call.look(cmd[1], dict) or {}))


@command("SMEMBERS", 2)
def _smembers(call: Call, cmd: Command) -> Any:
    return list(call.look(cmd[1], dict) or {})


# --- scripts


def script_sha(text: bytes) -> bytes:
    return hashlib.sha1(text).hexdigest().encode()


def _eval(call: Call, text: bytes, cmd: Command) -> Any:
    from targets.redis_model.scripts import compiled, run_script  # scripts call commands

    count = integer(cmd[2])
    if call.in_script:
        raise Error(FORBIDDEN)
    if count < 0:
        raise Error("ERR Number of keys can't be negative")
    if count > len(cmd) - 3:
        raise Error("ERR Number of keys can't be greater than number of args")
    compiled(text)
    call.state.scripts[script_sha(text)] = text
    return run_script(call, text, list(cmd[3 : 3 + count]), list(cmd[3 + count :]))


@command("EVAL", -3, nested=True)
def _eval_text(call: Call, cmd: Command) -> Any:
    return _eval(call, cmd[1], cmd)


@command("EVALSHA", -3, nested=True)
def _evalsha(call: Call, cmd: Command) -> Any:
    text = call.state.scripts.get(cmd[1].lower())
    if text is None:
        raise Error("NOSCRIPT No matching script. Please use EVAL.")
    return _eval(call, text, cmd)


@command("SCRIPT", 3)
def _script(call: Call, cmd: Command) -> Any:
    if call.in_script:
        raise Error(FORBIDDEN)
    if cmd[1].upper() != b"LOAD":
        raise Error(f"ERR unknown subcommand '{_text(cmd[1])}'. Try SCRIPT HELP.")
    from targets.redis_model.scripts import compiled

    compiled(cmd[2])
    sha = script_sha(cmd[2])
    call.state.scripts[sha] = cmd[2]
    return sha
