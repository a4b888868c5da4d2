"""SUBSCRIBE and its kin, PUBSUB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.engine.keys import matches
from targets.engine.resp import Command, Push
from targets.memorydb_py.node.own import own, own_container, wrong_words
from targets.memorydb_py.node.session import Session

if TYPE_CHECKING:
    from targets.memorydb_py.node.commands import Commands

_FLAGS = "pubsub noscript loading stale no_multi"
_PUBSUB = "pubsub loading stale"
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


own_container("PUBSUB")


def _channels(commands: Commands, session: Session, command: Command, kind: bytes) -> None:
    if len(command) > 3:
        session.reply(wrong_words(command))
        return
    names = commands.node.channels.listeners[kind]
    session.reply([n for n in names if len(command) == 2 or matches(n, command[2])])


def _numbers(commands: Commands, session: Session, command: Command, kind: bytes) -> None:
    listeners = commands.node.channels.listeners[kind]
    counts = [(name, len(listeners.get(name, ()))) for name in command[2:]]
    session.reply([word for pair in counts for word in pair])


@own("PUBSUB|CHANNELS", -2, _PUBSUB)
def _pubsub_channels(commands: Commands, session: Session, command: Command) -> None:
    """[<pattern>]: return the channels that somebody has subscribed to."""
    _channels(commands, session, command, b"")


@own("PUBSUB|SHARDCHANNELS", -2, _PUBSUB)
def _pubsub_shardchannels(commands: Commands, session: Session, command: Command) -> None:
    """[<pattern>]: return the shard channels that somebody has subscribed to."""
    _channels(commands, session, command, b"s")


@own("PUBSUB|NUMSUB", -2, _PUBSUB)
def _pubsub_numsub(commands: Commands, session: Session, command: Command) -> None:
    """[<channel> ...]: return how many have subscribed to each."""
    _numbers(commands, session, command, b"")


@own("PUBSUB|SHARDNUMSUB", -2, _PUBSUB)
def _pubsub_shardnumsub(commands: Commands, session: Session, command: Command) -> None:
    """[<shardchannel> ...]: return how many have subscribed to each."""
    _numbers(commands, session, command, b"s")


@own("PUBSUB|NUMPAT", 2, _PUBSUB)
def _pubsub_numpat(commands: Commands, session: Session, command: Command) -> None:
    """Return how many patterns there are."""
    session.reply(len(commands.node.channels.listeners[b"p"]))
