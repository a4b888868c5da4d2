"""Messages over a connection: a length in four bytes, then MessagePack. First both ends prove that
they know the secret of the log: who opens a connection, for the process that it means to reach, and
then who accepts it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from harness.host import Host
from targets.memorydb_py.log.messages import Challenge, Message, Proof

JOINED_BYTES_MAX = 1 << 16  # longer messages are not copied again
FRAME_BYTES_MAX = 1 << 30
UNPROVEN_BYTES_MAX = 1 << 10  # before the secret is proven
UNPROVEN_S = 1.0
REDIAL_S = 0.03
CONNECT_TIMEOUT_S = 0.3

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Receiver(Protocol):
    """Handles what a connection receives."""

    def received(self, connection: Connection, message: Message) -> None: ...

    def lost(self, connection: Connection) -> None: ...


def opening(secret: bytes, name: str, challenge: bytes, nonce: bytes) -> Proof:
    """Return the proof of who opens a connection to the process `name`, which sent `challenge`. It
    is of no use at another process."""
    return Proof(_shared_digest(secret, "opens", name, challenge, nonce), nonce)


def accepting(secret: bytes, name: str, challenge: bytes, nonce: bytes) -> Proof:
    """Return the proof of the process `name`, which accepted the connection."""
    return Proof(_shared_digest(secret, "accepts", name, challenge, nonce))


def _shared_digest(secret: bytes, *said: str | bytes) -> bytes:
    key = hashlib.sha256(secret).digest()
    return hashlib.blake2b(_encoder.encode(said), key=key).digest()


class Connection(asyncio.Protocol):
    """A connection that carries messages. It aborts if it receives anything else."""

    def __init__(
        self,
        receiver: Receiver,
        opened: Callable[[Connection], None],
        *,
        name: str,
        accepts: bool,
        nonce: bytes,
        secret: bytes = b"",
    ) -> None:
        """`opened`: called when both ends have proven the secret. `name`: of the process that
        accepts the connection; `accepts`: whether this end does. `nonce`: a number used once."""
        self.writable = True
        self.open = False
        self.heard = 0.0  # loop time when data last arrived
        self._receiver = receiver
        self._opened = opened
        self._secret = secret
        self._name = name
        self._accepts = accepts
        self._nonce = nonce
        self._challenge: bytes | None = nonce if accepts else None
        self._proven = False
        self._buffer = bytearray()
        self._ending: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=4 << 20)
        self.open = True
        loop = asyncio.get_running_loop()
        self.heard = loop.time()
        if self._accepts:
            self.send(Challenge(self._nonce))
        loop.call_later(UNPROVEN_S, self._end_unproven)

    def _end_unproven(self) -> None:
        if not self._proven:
            self.abort()

    def _prove(self, message: Message) -> None:
        """Handle a message before the secret is proven. Raises DecodeError."""
        if self._challenge is None:
            if not isinstance(message, Challenge):
                raise msgspec.DecodeError("no challenge came")
            self._challenge = message.nonce
            self.send(opening(self._secret, self._name, message.nonce, self._nonce))
            return
        if not isinstance(message, Proof):
            raise msgspec.DecodeError("no proof came")
        nonces = (self._challenge, message.nonce if self._accepts else self._nonce)
        expected = (opening if self._accepts else accepting)(self._secret, self._name, *nonces)
        if not hmac.compare_digest(message.digest, expected.digest):
            raise msgspec.DecodeError("the secret is not proven")
        if self._accepts:
            self.send(accepting(self._secret, self._name, *nonces))
        self._proven = True
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        self.heard = asyncio.get_running_loop().time()
        buffer = self._buffer
        buffer += data
        position, size = 0, len(buffer)
        try:
            while size - position >= 4 and self.open:
                length = int.from_bytes(buffer[position : position + 4], "big")
                if length > (FRAME_BYTES_MAX if self._proven else UNPROVEN_BYTES_MAX):
                    raise msgspec.DecodeError("frame too long")
                end = position + 4 + length
                if end > size:
                    break
                message = _decoder.decode(memoryview(buffer)[position + 4 : end].toreadonly())
                position = end
                if self._proven:
                    self._receiver.received(self, message)
                else:
                    self._prove(message)
        except (msgspec.DecodeError, msgspec.ValidationError):
            self.abort()
        except SystemExit as e:  # uvloop swallows it here, but not in a task
            self.abort()
            self._ending = asyncio.get_running_loop().create_task(_end(e))
        del buffer[:position]

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._receiver.lost(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def send(self, message: Message) -> None:
        # uvloop closes a transport within a write or a read, and calls `connection_lost` later.
        if self.open and not self._transport.is_closing():
            body = _encoder.encode(message)
            head = len(body).to_bytes(4, "big")
            if len(body) <= JOINED_BYTES_MAX:
                self._transport.write(head + body)
            else:
                self._transport.writelines((head, body))

    def abort(self) -> None:
        if self.open:
            self.open = False
            self._transport.abort()

    def discard(self) -> None:
        """Note that connecting was given up: uvloop may have called `connection_made` just before;
        it then closes the transport without calling `connection_lost`."""
        if self.open:
            self.open = False
            self._receiver.lost(self)


def new_nonce(host: Host) -> bytes:
    return host.rng.getrandbits(128).to_bytes(16, "big")


async def _end(why: SystemExit) -> None:
    raise why


async def keep_connected(
    host: Host,
    name: str,
    receiver: Receiver,
    opened: Callable[[Connection], None],
    silence_s: float,
    secret: bytes,
) -> None:
    """Stay connected to a process: abort a connection that is silent for `silence_s`, and reconnect
    whenever one ends. Never returns."""
    loop = asyncio.get_running_loop()
    while True:
        nonce = new_nonce(host)
        connection = Connection(
            receiver, opened, name=name, accepts=False, nonce=nonce, secret=secret
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(lambda made=connection: made, *host.address(name))  # type: ignore[misc]
        except (OSError, TimeoutError):
            connection.discard()
        before = loop.time()
        while connection.open:
            await asyncio.sleep(silence_s / 4)
            now = loop.time()
            stalled = (
                now - before > silence_s / 2
            )  # this process itself: what came is still to be read
            if now - connection.heard > silence_s and not stalled:
                connection.abort()
            before = now
        await asyncio.sleep(REDIAL_S)
