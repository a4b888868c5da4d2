"""Inspect an AZ from outside: its membership, and the entries that it has committed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec

from harness.host import Address
from targets.memorydb_py.log.interface import Batch, Unreachable
from targets.memorydb_py.log.messages import (
    Challenge,
    Entries,
    Follow,
    Hello,
    Message,
    Status,
    StatusRequest,
    Trimmed,
)
from targets.memorydb_py.log.wire import accepting, opening

TIMEOUT_S = 1.0
READ_TIMEOUT_S = 20.0
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class _Talk:
    """A connection from outside. Raises OSError, TimeoutError or IncompleteReadError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: Message) -> None:
        body = msgspec.msgpack.encode(message)
        self._writer.write(len(body).to_bytes(4, "big") + body)

    async def receive(self) -> Message:
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        return _decoder.decode(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def _talking(name: str, address: Address, secret: bytes) -> AsyncIterator[_Talk]:
    """Connect to an AZ; prove the secret of the log, and have it proven."""
    talk = _Talk(*await asyncio.open_connection(*address))
    try:
        challenge = await talk.receive()
        if not isinstance(challenge, Challenge):
            raise OSError(f"{address[0]}:{address[1]} is no AZ of a log")
        # A simulated run repeats every byte, so this nonce is no random one.
        nonces = challenge.nonce, hashlib.blake2b(challenge.nonce, digest_size=16).digest()
        talk.send(opening(secret, name, *nonces))
        if await talk.receive() != accepting(secret, name, *nonces):
            raise OSError(f"{address[0]}:{address[1]} is not {name}, or has another secret")
        yield talk
    finally:
        talk.close()


async def _status(talk: _Talk) -> Status:
    talk.send(StatusRequest())
    while True:
        message = await talk.receive()
        if isinstance(message, Status):
            return message


async def is_member(name: str, address: Address, secret: bytes = b"") -> bool:
    """Return whether an AZ is a voting member. Raises as `_Talk` does."""
    async with asyncio.timeout(TIMEOUT_S), _talking(name, address, secret) as talk:
        return (await _status(talk)).member


async def read_from(
    name: str,
    address: Address,
    after: int,
    take: Callable[[int, Sequence[Batch]], None],
    timeout_s: float = READ_TIMEOUT_S,
    secret: bytes = b"",
) -> int:
    """Read all entries after an n that an AZ knows to be committed; returns the n after which its
    log begins.

    Calls `take(n, batches after n)` as they arrive: first with no batches, to say where it begins,
    which is later if the next entries have been trimmed. Batches taken before a failure are valid.
    Raises as `_Talk` does.
    """
    async with asyncio.timeout(timeout_s), _talking(name, address, secret) as talk:
        status = await _status(talk)
        trimmed = status.trimmed
        at = max(after, trimmed)
        take(at, ())
        talk.send(Hello("onlooker"))
        talk.send(Follow(1, at))
        while at < status.commit:
            message = await talk.receive()
            if isinstance(message, Entries):
                take(at, [Batch(r.epoch, r.first, r.last, r.payload) for r in message.records])
                at = message.records[-1].last
            elif isinstance(message, Trimmed):  # since its status was read
                at = trimmed = message.n
                talk.send(Follow(1, at))
    return trimmed


class AzCopies:
    """The `LogCopies` of a log's AZs. `address`: returns the address of an AZ. `secret`: of the
    log."""

    def __init__(
        self, names: Sequence[str], address: Callable[[str], Address], secret: bytes = b""
    ) -> None:
        self.names = names
        self._address = address
        self._secret = secret

    async def is_voter(self, name: str) -> bool:
        with _reached(name):
            return await is_member(name, self._address(name), self._secret)

    async def read(
        self,
        name: str,
        after: int,
        take: Callable[[int, Sequence[Batch]], None],
        timeout_s: float,
    ) -> int:
        with _reached(name):
            return await read_from(name, self._address(name), after, take, timeout_s, self._secret)


@contextlib.contextmanager
def _reached(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as e:
        raise Unreachable(f"{name}: {type(e).__name__}: {e}") from e
