"""A client's connection, with the state that CLIENT, HELLO and SUBSCRIBE set."""

from __future__ import annotations

import asyncio
from typing import Any

from targets.engine.resp import Error, Push, encode
from targets.servers.session import Server, Session


class Connection(Session):
    """A connection to a node.

    `replies_wanted`: the mode of CLIENT REPLY: "on", "off" or "skip". `subscriptions`: pairs of
    kind and name, see `channels`.
    """

    def __init__(self, server: Server[Any], number: int, *, trusted: bool) -> None:
        super().__init__(server, number, trusted=trusted)
        self.name = b""
        self.library: dict[bytes, bytes] = {}
        self.readonly = False
        self.replies_wanted = "on"
        self.subscriptions: dict[tuple[bytes, bytes], None] = {}
        self.since = asyncio.get_running_loop().time()
        self.last_command = b""

    @property
    def trusted(self) -> bool:
        """Whether the client has authenticated or needs no password."""
        return self._requests.trusted

    @trusted.setter
    def trusted(self, trusted: bool) -> None:
        self._requests.trusted = trusted

    @property
    def direct(self) -> bool:
        """Whether an encoded reply that waits for no commit may be appended to `out`."""
        return (
            self.queued is None
            and self._requests.trusted
            and self.replies_wanted == "on"
            and not self._parked
            and not self.listens_only
        )

    @property
    def listens_only(self) -> bool:
        """Whether only subscribers' commands are allowed: RESP2 replies look like messages."""
        return bool(self.subscriptions) and self.protocol == 2

    def reply(self, reply: Any, position: int = 0) -> None:
        if self.replies_wanted == "on" and self.diverted is None and not isinstance(reply, Error):
            self.send(encode(reply, self.protocol), position)
        elif self.replies_wanted == "on" or self.diverted is not None:
            super().reply(reply, position)
        else:
            if isinstance(reply, Error):
                self._server.statistics.error(reply)
            if self.replies_wanted == "skip":
                self.replies_wanted = "on"

    def push(self, message: Push) -> None:
        """Send a message that is not a reply, after the replies before it."""
        if not self.closing:
            self.send(encode(message, self.protocol))
