"""COMMAND: what the server says of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from targets.engine import Known, find
from targets.engine.documentation import described, tips
from targets.engine.resp import NIL_ARRAY, Command, Error, Map, Members, Simple

Table = Mapping[bytes, Known]


def answer(every: Table, command: Command) -> Any:
    """The reply to COMMAND …; None where there is no such subcommand."""
    what, words = (command[1].upper(), command[2:]) if len(command) > 1 else (b"INFO", ())
    names = [name for name in every if b"|" not in name]
    if what == b"INFO":
        return [_info(every, name.upper()) for name in words or names]
    if what == b"COUNT" and not words:
        return len(names)
    if what == b"LIST" and not words:
        return [name.lower() for name in names]
    if what == b"DOCS":
        wanted = [name.upper() for name in words or names]
        return Map((name.lower(), _docs(every, name)) for name in wanted if name in every)
    if what == b"GETKEYS" and words:
        return _keys_of(every, words)
    return None


def _parts(every: Table, name: bytes) -> list[bytes]:
    """The subcommands of a command."""
    return [each for each in every if each.startswith(name + b"|")]


def _docs(every: Table, name: bytes) -> Map:
    made = described(name.decode("latin-1"))
    if parts := _parts(every, name):
        made.append((b"subcommands", Map((part.lower(), _docs(every, part)) for part in parts)))
    return made


def _info(every: Table, name: bytes) -> Any:
    entry = every.get(name)
    if entry is None:
        return NIL_ARRAY
    flags = Members(Simple(flag.encode()) for flag in entry.flags)
    parts = [_info(every, part) for part in _parts(every, name)]
    return [
        name.lower(), entry.arity, flags, *entry.keys, _categories(entry), list(tips(entry.name)),
        [], parts,
    ]  # fmt: skip


def _categories(entry: Known) -> Members:
    names: list[str] = [
        f for f in ("write", "fast", "blocking", "admin", "pubsub") if f in entry.flags
    ]
    names += ["read"] if "readonly" in entry.flags else []
    names += [] if "fast" in entry.flags else ["slow"]
    return Members(Simple(f"@{name}".encode()) for name in names)


def _keys_of(every: Table, command: Command) -> Any:
    entry = find(every, command)
    if entry is None:
        return Error("ERR Invalid command specified")
    if not entry.fits(command):
        return Error("ERR Invalid number of arguments specified for command")
    keys = list(entry.keys_of(command))
    return keys or Error("ERR The command has no key arguments")
