"""Who may use the log: whoever opens a connection must prove that it knows the secret."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
import pytest

from targets.memorydb_py.log import inspect, wire
from targets.memorydb_py.log.client import LogClient
from targets.memorydb_py.log.interface import Batch, Id
from targets.memorydb_py.log.messages import (
    Append,
    Beat,
    Challenge,
    Hello,
    Message,
    Peer,
    Proof,
    Propose,
    Status,
    StatusRequest,
    Vote,
)
from targets.memorydb_py.log.service import AzSettings, serve_az
from tests.targets.memorydb_py.logs import AZS, Logs

SECRET = b"shared by all"
decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Stranger(asyncio.Protocol):
    """A connection that sends what it likes. `got`: the messages received."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.closed = asyncio.Event()
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < end:
                return
            self.got.append(decoder.decode(self._buffer[4:end]))
            self._buffer = self._buffer[end:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def send(self, message: Message) -> None:
        body = msgspec.msgpack.encode(message)
        self.transport.write(len(body).to_bytes(4, "big") + body)


class Guarded(Logs):
    """A log whose AZs ask for a secret."""

    def start(self, az: str, *, create: bool = False) -> None:
        async def main(host: Any) -> None:
            await serve_az(host, AzSettings(azs=AZS, create=create, secret=SECRET))

        self.azs[az] = self.world.start(az, self.world.machines[f"m{az[2:]}"], main)

    async def member(self, name: str, secret: bytes) -> LogClient:
        async def main(host: Any) -> None:
            self.clients[name] = LogClient(host, AZS, secret)
            await asyncio.Event().wait()

        self.world.start(name, self.world.machines["m1"], main)
        while name not in self.clients:
            await asyncio.sleep(0.001)
        return self.clients[name]


async def stranger(az: str) -> Stranger:
    _, made = await asyncio.get_running_loop().create_connection(Stranger, f"{az}@operator", 6379)
    return made


async def stranger_with_proof(az: str, name: str) -> Stranger:
    """Connect to an AZ and send the proof that is for the AZ `name`."""
    talk = await stranger(az)
    while not talk.got:
        await asyncio.sleep(0.001)
    talk.send(wire.opening(SECRET, name, talk.got[0].nonce, b"once"))
    return talk


def test_who_knows_the_secret_may_use_the_log() -> None:
    async def scenario(logs: Guarded) -> None:
        member = await logs.member("member", SECRET)
        await member.append(Id(0, 0), Batch(1, 1, 1, b"one"))
        assert (await member.tail()).n == 1
        assert await inspect.is_member("az1", ("az1@operator", 6379), SECRET)

    Guarded(1, users=0).run(scenario)


def test_who_does_not_may_not() -> None:
    async def scenario(logs: Guarded) -> None:
        member = await logs.member("member", SECRET)
        other = await logs.member("other", b"a guess")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await other.append(Id(0, 0), Batch(1, 1, 1, b"one"))
        assert (await member.tail()).n == 0
        with pytest.raises((OSError, TimeoutError, asyncio.IncompleteReadError)):
            await inspect.is_member("az1", ("az1@operator", 6379), b"a guess")

    Guarded(2, users=0).run(scenario)


UNASKED: list[Message] = [
    Hello("n1"), Peer("az2"), StatusRequest(), Beat(True), Proof(b"?"), Challenge(b"?"),
    Propose(1, 1, 0, 1, 1, 1, b"garbage"), Vote(False, 2**62, "az2", 1, 0, 0),
    Append(2**62, "az2", 0, 0, [], 0, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize("message", UNASKED, ids=lambda m: type(m).__name__)
def test_a_stranger_is_disconnected_at_its_first_message(message: Message) -> None:
    async def scenario(logs: Guarded) -> None:
        member = await logs.member("member", SECRET)
        await member.append(Id(0, 0), Batch(1, 1, 1, b"one"))
        lines = len(logs.lines)
        for az in AZS:
            talk = await stranger(az)
            await asyncio.sleep(0.1)
            talk.send(message)
            async with asyncio.timeout(0.5):
                await talk.closed.wait()
            assert [type(m) for m in talk.got] == [Challenge]
        assert (await member.tail()).n == 1
        assert logs.lines[lines:] == [], "no election"

    Guarded(3, users=0).run(scenario)


def test_a_stranger_that_says_nothing_or_too_much_is_disconnected() -> None:
    async def scenario(logs: Guarded) -> None:
        await logs.member("member", SECRET)
        await asyncio.sleep(0.1)
        silent, loud = await stranger("az1"), await stranger("az1")
        loud.transport.write((300 << 20).to_bytes(4, "big") + b"x" * 100)
        async with asyncio.timeout(0.5):
            await loud.closed.wait()
        async with asyncio.timeout(wire.UNPROVEN_S + 0.5):
            await silent.closed.wait()

    Guarded(4, users=0).run(scenario)


def test_a_proof_for_one_az_is_of_no_use_at_another() -> None:
    """Who takes the address of a dead AZ can't pass on another one's challenge to its clients."""

    async def scenario(logs: Guarded) -> None:
        await logs.member("member", SECRET)
        await asyncio.sleep(0.1)
        for name, right in (("az3", False), ("az1", True)):
            talk = await stranger_with_proof("az1", name)
            talk.send(StatusRequest())
            await asyncio.sleep(0.2)
            assert talk.closed.is_set() is not right
            assert any(isinstance(m, Status) for m in talk.got) is right

    Guarded(6, users=0).run(scenario)


class FalseAz(Stranger):
    """Accepts connections without knowing the secret. `all`: those made."""

    all: ClassVar[list[FalseAz]] = []

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.all.append(self)
        self.send(Challenge(b"a challenge"))
        asyncio.get_running_loop().call_later(0.05, self.send, Proof(b"a guess"))


def test_a_false_az_is_told_nothing() -> None:
    async def scenario(logs: Guarded) -> None:
        member = await logs.member("member", SECRET)
        await asyncio.sleep(0.1)
        logs.world.kill(logs.azs["az3"])

        async def main(host: Any) -> None:
            await host.serve(FalseAz)
            await asyncio.Event().wait()

        FalseAz.all.clear()
        logs.world.start("az3", logs.world.machines["m3"], main)
        await member.append(Id(0, 0), Batch(1, 1, 1, b"one"))
        await asyncio.sleep(1)
        tried = FalseAz.all[:-3]  # both AZs and the member may be about to try again
        assert len(tried) > 3
        for talk in tried:
            assert [type(m) for m in talk.got] == [Proof]
            assert talk.closed.is_set()

    Guarded(7, users=0).run(scenario)


def test_an_az_speaks_for_itself_alone() -> None:
    """Messages between AZs are accepted from an AZ, in its own name."""

    async def scenario(logs: Guarded) -> None:
        await logs.member("member", SECRET)
        await asyncio.sleep(0.1)
        vote, append = UNASKED[-2:]  # of az2
        for peer, message in (("n9", vote), ("az3", vote), ("az3", append)):
            talk = await stranger_with_proof("az1", "az1")
            talk.send(Peer(peer))
            talk.send(message)
            async with asyncio.timeout(0.5):
                await talk.closed.wait()

    Guarded(5, users=0).run(scenario)
