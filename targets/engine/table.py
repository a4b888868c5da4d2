"""Tables of commands: a command's name, arity, flags and keys, and the function that runs it.

Each module that defines commands fills a table of its own; `commands` merges those of the engine, a
server merges its own. `R` is the type of the functions: an engine's take a call and a command, a
server's take the server, a session and a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from targets.engine.parsing import integer, printable
from targets.engine.resp import Command, Error

R = TypeVar("R", bound=Callable[..., object])
KeyPositions = tuple[int, int, int]
FindKeys = Callable[[Command], Sequence[bytes]]

NO_KEYS: Final[KeyPositions] = (0, 0, 0)
ONE: Final[KeyPositions] = (1, 1, 1)
ALL: Final[KeyPositions] = (1, -1, 1)
SCRIPTS: Final = ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO")


@dataclass(frozen=True, slots=True)
class CommandSpec(Generic[R]):
    """A command. `arity`, `flags` and `keys` (first, last, step) are those of COMMAND INFO.

    `movable`: finds the keys of a command whose keys are not at fixed places. `write`: it may
    change keys. `noscript`: scripts must not call it. `nested`: it runs other commands.
    `container`: it has subcommands, each with a spec of its own (`OBJECT|ENCODING`).
    """

    name: str
    run: R
    arity: int
    flags: tuple[str, ...]
    keys: KeyPositions
    movable: FindKeys | None
    write: bool
    noscript: bool
    nested: bool
    container: bool

    @property
    def compound(self) -> bool:
        """Whether its name has two words: it is a container or a subcommand."""
        return self.container or "|" in self.name

    def fits(self, command: Command) -> bool:
        """Return whether the number of arguments matches the arity."""
        arity = self.arity
        return len(command) == arity or (arity < 0 and len(command) >= -arity)

    def keys_of(self, command: Command) -> Sequence[bytes]:
        """Return the keys that a command of matching arity names; raises `Error` if the command
        does not determine them."""
        if self.movable is not None:
            return self.movable(command)
        first, last, step = self.keys
        if first == 0:
            return ()
        if first == last:
            return (command[first],)
        return command[first : last + 1 if last >= 0 else len(command) + last + 1 : step]


class Table(dict[bytes, CommandSpec[R]], Generic[R]):
    """Commands by name in capital letters, subcommands by `NAME|SUBCOMMAND`."""

    def command(
        self,
        name: str,
        arity: int,
        flags: str = "",
        keys: KeyPositions = NO_KEYS,
        movable: FindKeys | None = None,
    ) -> Callable[[R], R]:
        """Add the decorated function. `flags`: those of COMMAND INFO, separated by spaces."""

        def add(run: R) -> R:
            self._add(name, run, arity, flags, keys, movable)
            return run

        return add

    def container(self, name: str, run: R, help: R) -> None:
        """Add a command that has subcommands, and its subcommand HELP. A call without a
        subcommand is an error of arity, unless `command` adds the name as well."""
        self._add(name, run, -2, container=True)
        self._add(f"{name}|HELP", help, 2, "loading stale")

    def _add(
        self,
        name: str,
        run: R,
        arity: int,
        flags: str = "",
        keys: KeyPositions = NO_KEYS,
        movable: FindKeys | None = None,
        *,
        container: bool = False,
    ) -> None:
        words = tuple(flags.split())
        if movable is not None:
            words = (*words, "movablekeys")
        before = self.get(name.encode())
        self[name.encode()] = CommandSpec(
            name, run, arity, words, keys, movable, "write" in words, "noscript" in words,
            name in SCRIPTS, container or (before is not None and before.container),
        )  # fmt: skip


def merged(tables: Iterable[Mapping[bytes, CommandSpec[R]]]) -> Table[R]:
    """Return one table of several; raises ValueError for a command in two of them."""
    whole: Table[R] = Table()
    for table in tables:
        duplicates = whole.keys() & table.keys()
        if duplicates:
            raise ValueError(f"{sorted(duplicates)[0].decode()} is defined twice")
        whole.update(table)
    return whole


def find(table: Mapping[bytes, CommandSpec[R]], command: Command) -> CommandSpec[R] | None:
    """Return the spec of a command, or of its subcommand if it is a container; None if it is
    not in the table."""
    name = command[0]
    found = None if b"|" in name else table.get(name) or table.get(name.upper())
    if found is not None and found.container and len(command) > 1:
        return table.get(b"%s|%s" % (found.name.encode(), command[1].upper()))
    return found


def unknown(table: Mapping[bytes, CommandSpec[R]], command: Command) -> Error:
    """Return the error for a command that is not in the table."""
    found = table.get(command[0].upper())
    if found is not None and found.container and len(command) > 1:
        return Error(
            f"ERR unknown subcommand '{printable(command[1])}'. Try {found.name.upper()} HELP."
        )
    args = ""
    for word in command[1:]:
        if len(args) >= 128:
            break
        args += f"'{printable(word)[: 128 - len(args)]}' "
    return Error(f"ERR unknown command '{printable(command[0])}', with args beginning with: {args}")


def wrong_number(name: str) -> Error:
    """Return the error for a number of arguments that does not match the arity."""
    return Error(f"ERR wrong number of arguments for '{name.lower()}' command")


def counted_keys(index: int) -> FindKeys:
    """Return a function that finds the keys of a command whose argument at an index is their
    number, and which follow it."""

    def find_keys(command: Command) -> Sequence[bytes]:
        try:
            count = integer(command[index])
        except Error:
            count = 0
        if not 0 <= count <= len(command) - index - 1:
            count = 0
        return command[index + 1 : index + 1 + count]

    return find_keys
