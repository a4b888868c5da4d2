"""SUBSCRIBE and its kin, PUBSUB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.engine.keys import matches
from targets.engine.resp import Command, Push
from targets.memorydb_py.node.commands import own, unknown_subcommand
from targets.memorydb_py.node.session import Session

if TYPE_CHECKING:
    from targets.memorydb_py.node.commands import Commands

_FLAGS = "pubsub noscript loading stale no_multi"
_EVERY = (1, -1, 1)


def _count(session: Session, kind: bytes) -> int:
    """Channels and patterns count together."""
    return sum((k == b"s") == (kind == b"s") for k, _ in session.subscriptions)


def _begin(commands: Commands, session: Session, command: Command, kind: bytes) -> None:
    for name in command[1:]:
        commands.node.channels.add(session, kind, name)
        session.reply(Push([kind + b"subscribe", name, _count(session, kind)]))


def _end(commands: Commands, session: Session, command: Command, kind: bytes) -> None:
    names = command[1:] or [name for k, name in session.subscriptions if k == kind]
    for name in names:
        commands.node.channels.remove(session, kind, name)
        session.reply(Push([kind + b"unsubscribe", name, _count(session, kind)]))
    if not names:
        session.reply(Push([kind + b"unsubscribe", None, _count(session, kind)]))


@own("SUBSCRIBE", -2, _FLAGS)
def _subscribe(commands: Commands, session: Session, command: Command) -> None:
    _begin(commands, session, command, b"")


@own("PSUBSCRIBE", -2, _FLAGS)
def _psubscribe(commands: Commands, session: Session, command: Command) -> None:
    _begin(commands, session, command, b"p")


@own("SSUBSCRIBE", -2, _FLAGS, _EVERY)
def _ssubscribe(commands: Commands, session: Session, command: Command) -> None:
    error = commands.node.crosses_slots(command[1:])
    if error is not None:
        session.reply(error)
    else:
        _begin(commands, session, command, b"s")


@own("UNSUBSCRIBE", -1, _FLAGS)
def _unsubscribe(commands: Commands, session: Session, command: Command) -> None:
    _end(commands, session, command, b"")


@own("PUNSUBSCRIBE", -1, _FLAGS)
def _punsubscribe(commands: Commands, session: Session, command: Command) -> None:
    _end(commands, session, command, b"p")


@own("SUNSUBSCRIBE", -1, _FLAGS, _EVERY)
def _sunsubscribe(commands: Commands, session: Session, command: Command) -> None:
    _end(commands, session, command, b"s")


@own("PUBSUB", -2, "pubsub loading stale")
def _pubsub(commands: Commands, session: Session, command: Command) -> None:
    what, words = command[1].upper(), command[2:]
    listeners = commands.node.channels.listeners
    kind = b"s" if what.startswith(b"SHARD") else b""
    if what in (b"CHANNELS", b"SHARDCHANNELS") and len(words) <= 1:
        session.reply([n for n in listeners[kind] if not words or matches(n, words[0])])
    elif what in (b"NUMSUB", b"SHARDNUMSUB"):
        counts = [(name, len(listeners[kind].get(name, ()))) for name in words]
        session.reply([word for pair in counts for word in pair])
    elif what == b"NUMPAT" and not words:
        session.reply(len(listeners[b"p"]))
    else:
        session.reply(unknown_subcommand(command))
