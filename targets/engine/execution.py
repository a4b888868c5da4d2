"""Execution of commands by the Python engine: `Call`, which the functions of commands use.

Replicas and logs get the effects of a command instead of the command itself: effects have absolute
times and no random choices. Semantics and texts are those of Redis 7.0; tests compare them with a
real server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from targets.engine.documentation import usage
from targets.engine.protocol import NO_MESSAGES, Context, Message, Outcome
from targets.engine.resp import Command, Error, Simple
from targets.engine.state import State
from targets.engine.table import CommandSpec, Table, find, unknown, wrong_number
from targets.engine.values import Value

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
FORBIDDEN = "ERR This Redis command is not allowed from script"
UNKNOWN_IN_SCRIPT = Error("ERR Unknown Redis command called from script")
WRONG_NUMBER_IN_SCRIPT = Error("ERR Wrong number of args calling Redis command from script")
NO_SUCH_KEY = "ERR no such key"


class Call(Outcome):
    """The execution of a command, and of those that it calls if it is a script; its outcome."""

    __slots__ = (
        "_changed", "_instead", "_plain", "context", "deny", "expiring", "in_script", "state",
        "table", "time_ms", "version",
    )  # fmt: skip

    def __init__(
        self, state: State, table: Mapping[bytes, CommandSpec[Run]], context: Context
    ) -> None:
        super().__init__()
        self.state = state
        self.table = table
        self.version = state.version
        self._plain = {name: spec for name, spec in table.items() if not spec.compound}
        self.in_script = False
        self._changed = False
        self._instead: list[Command] | None = None
        self.begin(context)

    def begin(self, context: Context) -> None:
        """Reset for another command. Lists and dicts of the last outcome are not modified."""
        self.context = context
        self.time_ms = context.time_ms
        self.deny = deny = context.deny
        self.expiring = deny is None  # expired keys are deleted, also by commands that only read
        self.effects = []
        self.messages = NO_MESSAGES
        self.reads = {}
        self.writes = {}
        self.whole = False

    def run(self, command: Command) -> Any:
        """Execute a command and return its reply; errors are replies."""
        spec = self._plain.get(command[0]) or find(self.table, command)
        if spec is None:
            return UNKNOWN_IN_SCRIPT if self.in_script else unknown(self.table, command)
        if not spec.fits(command):
            return WRONG_NUMBER_IN_SCRIPT if self.in_script else wrong_number(spec.name)
        if self.in_script and spec.noscript:
            return Error(FORBIDDEN)
        if spec.write:
            if self.deny is not None:
                return self.deny
            context = self.context
            if context.room is not None:
                context.room -= sum(map(len, command))
                if context.room < 0:
                    return Error("ERR a record of so many bytes is more than max-record-bytes")
        self._changed, self._instead = False, None
        try:
            reply = spec.run(self, command)
        except Error as e:
            reply = e
        if spec.nested:
            return reply
        instead: list[Command] | None = self._instead  # the command may have set it
        if instead is not None:
            self.effects += instead
        elif self._changed:
            self.effects.append(command)
        return reply

    # --- for the functions of commands

    def peek(self, key: bytes) -> Value | None:
        """Return the value of a key, of any type, or None; deletes the key first if it has
        expired."""
        self.reads[key] = None
        state = self.state
        if state.expires and state.is_expired(key, self.time_ms):
            if not self.expiring:
                return None if self.context.mask else state.values.get(key)
            self._drop(key)
            self.effects.append((b"DEL", key))
        return state.values.get(key)

    def look(self, key: bytes, kind: type) -> Any:
        """Return the value of a key, of one type, or None; raises WRONGTYPE."""
        value = self.peek(key)
        if value is not None and type(value) is not kind:
            raise Error(WRONG_TYPE)
        return value

    def awaited(self, key: bytes, kind: type) -> Any:
        """Return a value like `look`, for a blocking command. A client that is blocked goes on
        waiting while the key has a value of another type."""
        value = self.peek(key)
        if self.context.resumed and type(value) is not kind:
            return None
        return self.look(key, kind)

    def put(self, key: bytes, value: Value, *, keep_ttl: bool = True) -> None:
        """Store a value."""
        self.state.put(key, value)
        if not keep_ttl:
            self.state.expires.pop(key, None)
        self.writes[key] = None
        self._changed = True

    def touch(self, key: bytes) -> None:
        """Note that the value of a key was changed in place."""
        self.writes[key] = None
        self._changed = True

    def settle(self, key: bytes, value: Any) -> None:
        """Note that the value of a key was changed in place; delete the key if it is empty now."""
        self.touch(key)
        if not value:
            self._drop(key)

    def remove(self, key: bytes) -> bool:
        """Delete a key; return whether it existed."""
        existed = self.peek(key) is not None
        if existed:
            self._drop(key)
            self._changed = True
        return existed

    def _drop(self, key: bytes) -> None:
        self.state.drop(key)
        self.writes[key] = None

    def publish(self, message: Message) -> None:
        """Note a published message."""
        self.messages = [*self.messages, message]

    def instead(self, *effects: Command) -> None:
        """Set the effects that replace the command itself."""
        self._instead = list(effects)


Run = Callable[[Call, Command], Any]
Commands = Table[Run]


def add_container(table: Commands, name: str) -> None:
    """Add a command that has subcommands; its HELP prints their usage."""

    def help_(call: Call, cmd: Command) -> Any:
        return [Simple(line.encode()) for line in usage(name)]

    table.container(name, lambda call, cmd: None, help_)
