"""The table of the server's own commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from targets.engine import Known, known
from targets.engine.execution import CONTAINERS, printable
from targets.engine.resp import Command, Error, Simple

if TYPE_CHECKING:
    from targets.memorydb_py.node.commands import Commands
    from targets.memorydb_py.node.session import Session

Run = Callable[["Commands", "Session", Command], None]
# What they do is a function of the server's commands and a session.
OWN: dict[bytes, Known] = {}


def own(
    name: str, arity: int, flags: str = "", keys: tuple[int, int, int] = (0, 0, 0)
) -> Callable[[Run], Run]:
    """Registers a command of the server."""

    def register(run: Run) -> Run:
        OWN[name.encode()] = known(name, run, arity, flags, keys)
        return run

    return register


def wrong_words(command: Command) -> Error:
    """Of a subcommand that there is, with words that it does not take."""
    name, part = (printable(word) for word in command[:2])
    return Error(
        f"ERR unknown subcommand or wrong number of arguments for '{part}'. "
        f"Try {name.upper()} HELP."
    )


def own_container(name: str) -> None:
    """Registers a command that has subcommands, and its HELP, which tells the first lines of their
    docstrings."""
    CONTAINERS[name.encode()] = None
    OWN[name.encode()] = known(name, lambda commands, session, command: None, -2)

    @own(f"{name}|HELP", 2, "loading stale")
    def _help(commands: Commands, session: Session, command: Command) -> None:
        """Print this help."""
        lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        prefix = f"{name}|".encode()
        for part, entry in sorted(OWN.items()):
            if part.startswith(prefix):
                first = (entry.run.__doc__ or "").partition("\n")[0]
                lines += [part.removeprefix(prefix).decode(), f"    {first}"]
        session.reply([Simple(line.encode()) for line in lines])
