"""The subscriptions of a node's clients. A message is delivered when its entry of the log is
committed, on the primary as on replicas; clients that are not connected then miss it."""

from __future__ import annotations

from collections.abc import Sequence

from targets.engine.keys import matches
from targets.engine.protocol import Message
from targets.engine.resp import Error, Push
from targets.memorydb_py.node.connection import Connection

OF_LISTENERS = (
    "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "PING",
    "QUIT", "RESET",
)  # fmt: skip
Listeners = dict[bytes, dict[int, Connection]]


def refused_to_listener(name: str) -> Error | None:
    """Return the error for a command that a subscribed RESP2 client can't send, or None."""
    if name in OF_LISTENERS:
        return None
    return Error(
        f"ERR Can't execute '{name.lower()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT "
        "/ RESET are allowed in this context"
    )


class Channels:
    """`listeners`: the subscribed sessions, by kind (b"" of SUBSCRIBE, b"p" of PSUBSCRIBE, b"s" of
    SSUBSCRIBE), by channel or pattern, and by number."""

    def __init__(self) -> None:
        self.listeners: dict[bytes, Listeners] = {b"": {}, b"p": {}, b"s": {}}

    def add(self, session: Connection, kind: bytes, name: bytes) -> None:
        self.listeners[kind].setdefault(name, {})[session.number] = session
        session.subscriptions[kind, name] = None

    def remove(self, session: Connection, kind: bytes, name: bytes) -> None:
        listeners = self.listeners[kind].get(name, {})
        listeners.pop(session.number, None)
        if not listeners:
            self.listeners[kind].pop(name, None)
        session.subscriptions.pop((kind, name), None)

    def forget(self, session: Connection) -> None:
        for kind, name in list(session.subscriptions):
            self.remove(session, kind, name)

    def audience(self, sharded: bool, channel: bytes) -> int:
        """Return how many subscriptions match a channel, or a shard channel."""
        if sharded:
            return len(self.listeners[b"s"].get(channel, ()))
        fitting = (s for p, s in self.listeners[b"p"].items() if matches(channel, p))
        return len(self.listeners[b""].get(channel, ())) + sum(map(len, fitting))

    def deliver(self, messages: Sequence[Message]) -> None:
        for sharded, channel, text in messages:
            kind = b"s" if sharded else b""
            for session in list(self.listeners[kind].get(channel, {}).values()):
                session.push(Push([kind + b"message", channel, text]))
            if sharded:
                continue
            for pattern, listeners in list(self.listeners[b"p"].items()):
                if matches(channel, pattern):
                    for session in list(listeners.values()):
                        session.push(Push([b"pmessage", pattern, channel, text]))
