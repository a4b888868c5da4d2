"""SUBSCRIBE and its variants, and PUBSUB."""

from __future__ import annotations

from targets.engine.keys import matches
from targets.engine.resp import Command, Push
from targets.memorydb_py.node.channels import Listeners
from targets.memorydb_py.node.commands.table import Commands, add_container, wrong_words
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import CROSSSLOT, Node
from targets.memorydb_py.slots import crosses_slots

COMMANDS: Commands = Commands()

_FLAGS = "pubsub noscript loading stale no_multi"
_PUBSUB = "pubsub loading stale"
_EVERY = (1, -1, 1)


def _count(session: Connection, kind: bytes) -> int:
    """Return the number of shard channels, or of channels and patterns together."""
    return sum((k == b"s") == (kind == b"s") for k, _ in session.subscriptions)


@COMMANDS.command("SUBSCRIBE", -2, _FLAGS)
@COMMANDS.command("PSUBSCRIBE", -2, _FLAGS)
@COMMANDS.command("SSUBSCRIBE", -2, _FLAGS, _EVERY)
def _subscribe(node: Node, session: Connection, command: Command) -> None:
    done = command[0].lower()
    kind = done.removesuffix(b"subscribe")
    error = CROSSSLOT if kind == b"s" and crosses_slots(command[1:]) else None
    if error is not None:
        session.reply(error)
        return
    for name in command[1:]:
        node.channels.add(session, kind, name)
        session.reply(Push([done, name, _count(session, kind)]))


@COMMANDS.command("UNSUBSCRIBE", -1, _FLAGS)
@COMMANDS.command("PUNSUBSCRIBE", -1, _FLAGS)
@COMMANDS.command("SUNSUBSCRIBE", -1, _FLAGS, _EVERY)
def _unsubscribe(node: Node, session: Connection, command: Command) -> None:
    done = command[0].lower()
    kind = done.removesuffix(b"unsubscribe")
    names = command[1:] or [name for k, name in session.subscriptions if k == kind]
    for name in names:
        node.channels.remove(session, kind, name)
        session.reply(Push([done, name, _count(session, kind)]))
    if not names:
        session.reply(Push([done, None, _count(session, kind)]))


add_container(COMMANDS, "PUBSUB")


def _listeners(node: Node, command: Command) -> Listeners:
    """Return the subscribers of channels, or of shard channels for `SHARD...`."""
    return node.channels.listeners[b"s" if command[1].upper()[:5] == b"SHARD" else b""]


@COMMANDS.command("PUBSUB|CHANNELS", -2, _PUBSUB)
@COMMANDS.command("PUBSUB|SHARDCHANNELS", -2, _PUBSUB)
def _channels(node: Node, session: Connection, command: Command) -> None:
    """[<pattern>]: return the channels that have subscribers."""
    if len(command) > 3:
        session.reply(wrong_words(command))
        return
    names = _listeners(node, command)
    session.reply([n for n in names if len(command) == 2 or matches(n, command[2])])


@COMMANDS.command("PUBSUB|NUMSUB", -2, _PUBSUB)
@COMMANDS.command("PUBSUB|SHARDNUMSUB", -2, _PUBSUB)
def _numsub(node: Node, session: Connection, command: Command) -> None:
    """[<channel> ...]: return the number of subscribers of each."""
    listeners = _listeners(node, command)
    counts = [(name, len(listeners.get(name, ()))) for name in command[2:]]
    session.reply([word for pair in counts for word in pair])


@COMMANDS.command("PUBSUB|NUMPAT", 2, _PUBSUB)
def _numpat(node: Node, session: Connection, command: Command) -> None:
    """Return the number of patterns with subscribers."""
    session.reply(len(node.channels.listeners[b"p"]))
