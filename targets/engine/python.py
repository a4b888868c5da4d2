"""The engine in Python, in the process of its server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from targets.engine import digest, rdb_file
from targets.engine.commands import commands_of
from targets.engine.estimate import brief, work_of
from targets.engine.execution import Call, Commands
from targets.engine.protocol import NEVER_MS, Context, KeySpace, Outcome
from targets.engine.resp import Command, Error
from targets.engine.rewrite import rewritten
from targets.engine.state import State
from targets.engine.table import CommandSpec
from targets.engine.version import REFERENCE, Version


class PythonEngine:
    """Executes commands at once, on data of its own. `sharded`: keys that a command does not name
    may be stored elsewhere, so commands must not access them. `version`: of the server whose
    answers it gives. `clock`: by which scripts are ended, in nanoseconds."""

    def __init__(
        self,
        *,
        sharded: bool = False,
        commands: Commands | None = None,
        version: Version = REFERENCE,
        clock: Callable[[], int] | None = None,
    ) -> None:
        commands = commands_of(version) if commands is None else commands
        self.commands: Mapping[bytes, CommandSpec[Any]] = commands
        self.brief = brief(commands)
        self._state = State(sharded=sharded, version=version, clock=clock)
        self.keys: KeySpace = self._state
        self._values, self._expires = self._state.values, self._state.expires
        self._always = Context(NEVER_MS, random.Random(0))  # effects have no random choices
        self._call = Call(self._state, commands, self._always)

    def execute(self, command: Command, context: Context) -> Outcome:
        """Execute one command. Errors are replies."""
        call = self._call
        call.begin(context)
        call.reply = call.run(command)
        return call

    def apply(self, effects: Sequence[Sequence[bytes]]) -> Outcome:
        """Apply effects; the reply is None, or the `Error` of the first that can't be applied."""
        call = self._call
        call.begin(self._always)
        call.reply = None
        for effect in effects:
            reply = call.run(tuple(effect))
            if isinstance(reply, Error):
                call.reply = reply
                break
        return call

    def plain(self, key: bytes) -> bytes | None:
        """Return the string at a key, None if the key is absent. Raises KeyError if it is of
        another type or has a time to live."""
        value = self._values.get(key)
        if value is None:
            return None
        if type(value) is not bytes or key in self._expires:
            raise KeyError(key)
        return value

    def work(self, command: Command, spec: CommandSpec[Any]) -> int:
        """Return roughly how many elements a command may look at."""
        return work_of(self._state, command, spec)

    def clear(self) -> None:
        """Delete all keys. Cached scripts stay, as in a resynchronization of Redis."""
        self._state.clear()

    def digest(self) -> bytes:
        """Return 40 hexadecimal digits, equal for equal data."""
        return digest.digest(self._state)

    def rewritten(self) -> list[Command]:
        """Return commands that make an empty engine equal to this one."""
        return rewritten(self._state)

    def rdb(self) -> bytes:
        """Return the data as the body of an RDB file, without auxiliary fields and checksum."""
        return b"".join(rdb_file.body(self._state))

    def load(self, file: bytes, at_once: int) -> Iterator[None]:
        """Load an RDB file into an empty engine; yields after every `at_once` keys, so that other
        work can be done. Raises `Malformed`."""
        return rdb_file.Loader(file).steps(self._state, at_once)
