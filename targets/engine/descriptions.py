"""The replies to COMMAND INFO and COMMAND DOCS for the commands of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from targets.engine.documentation import described, tips
from targets.engine.resp import NIL_ARRAY, Map, Members, Simple
from targets.engine.table import CommandSpec

Table = Mapping[bytes, CommandSpec[Any]]


def names_of(table: Table) -> list[bytes]:
    """Return the names of commands, without those of subcommands."""
    return [name for name in table if b"|" not in name]


def information(table: Table, names: Sequence[bytes]) -> list[Any]:
    """Return the reply to COMMAND INFO."""
    return [_info(table, name.upper()) for name in names]


def documentation(table: Table, names: Sequence[bytes]) -> Map:
    """Return the reply to COMMAND DOCS."""
    wanted = [name.upper() for name in names]
    return Map((name.lower(), _docs(table, name)) for name in wanted if name in table)


def _parts(table: Table, name: bytes) -> list[bytes]:
    """Return the names of a command's subcommands."""
    return [each for each in table if each.startswith(name + b"|")]


def _docs(table: Table, name: bytes) -> Map:
    made = described(name.decode("latin-1"))
    if parts := _parts(table, name):
        made.append((b"subcommands", Map((part.lower(), _docs(table, part)) for part in parts)))
    return made


def _info(table: Table, name: bytes) -> Any:
    entry = table.get(name)
    if entry is None:
        return NIL_ARRAY
    flags = Members(Simple(flag.encode()) for flag in entry.flags)
    parts = [_info(table, part) for part in _parts(table, name)]
    return [
        name.lower(), entry.arity, flags, *entry.keys, categories(entry), list(tips(entry.name)),
        [], parts,
    ]  # fmt: skip


def categories(entry: CommandSpec[Any]) -> Members:
    """Return the ACL categories of a command."""
    names: list[str] = [
        f for f in ("write", "fast", "blocking", "admin", "pubsub") if f in entry.flags
    ]
    names += ["read"] if "readonly" in entry.flags else []
    names += [] if "fast" in entry.flags else ["slow"]
    return Members(Simple(f"@{name}".encode()) for name in names)
