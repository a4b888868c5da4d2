"""SUBSCRIBE and its kin, PUBSUB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.engine.keys import matches
from targets.engine.resp import Command, Push
from targets.memorydb_py.node.channels import Listeners
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


@own("SUBSCRIBE", -2, _FLAGS)
@own("PSUBSCRIBE", -2, _FLAGS)
@own("SSUBSCRIBE", -2, _FLAGS, _EVERY)
def _subscribe(commands: Commands, session: Session, command: Command) -> None:
    done = command[0].lower()
    kind = done.removesuffix(b"subscribe")
    error = commands.node.crosses_slots(command[1:]) if kind == b"s" else None
    if error is not None:
        session.reply(error)
        return
    for name in command[1:]:
        commands.node.channels.add(session, kind, name)
        session.reply(Push([done, name, _count(session, kind)]))


@own("UNSUBSCRIBE", -1, _FLAGS)
@own("PUNSUBSCRIBE", -1, _FLAGS)
@own("SUNSUBSCRIBE", -1, _FLAGS, _EVERY)
def _unsubscribe(commands: Commands, session: Session, command: Command) -> None:
    done = command[0].lower()
    kind = done.removesuffix(b"unsubscribe")
    names = command[1:] or [name for k, name in session.subscriptions if k == kind]
    for name in names:
        commands.node.channels.remove(session, kind, name)
        session.reply(Push([done, name, _count(session, kind)]))
    if not names:
        session.reply(Push([done, None, _count(session, kind)]))


own_container("PUBSUB")


def _listeners(commands: Commands, command: Command) -> Listeners:
    """Of channels, or of shard channels, as a subcommand is called."""
    return commands.node.channels.listeners[b"s" if command[1].upper()[:5] == b"SHARD" else b""]


@own("PUBSUB|CHANNELS", -2, _PUBSUB)
@own("PUBSUB|SHARDCHANNELS", -2, _PUBSUB)
def _channels(commands: Commands, session: Session, command: Command) -> None:
    """[<pattern>]: return the channels that somebody has subscribed to."""
    if len(command) > 3:
        session.reply(wrong_words(command))
        return
    names = _listeners(commands, command)
    session.reply([n for n in names if len(command) == 2 or matches(n, command[2])])


@own("PUBSUB|NUMSUB", -2, _PUBSUB)
@own("PUBSUB|SHARDNUMSUB", -2, _PUBSUB)
def _numsub(commands: Commands, session: Session, command: Command) -> None:
    """[<channel> ...]: return how many have subscribed to each."""
    listeners = _listeners(commands, command)
    counts = [(name, len(listeners.get(name, ()))) for name in command[2:]]
    session.reply([word for pair in counts for word in pair])


@own("PUBSUB|NUMPAT", 2, _PUBSUB)
def _numpat(commands: Commands, session: Session, command: Command) -> None:
    """Return how many patterns there are."""
    session.reply(len(commands.node.channels.listeners[b"p"]))
