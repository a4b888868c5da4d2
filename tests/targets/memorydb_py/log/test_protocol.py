"""The replication protocol of the log under faults, as specified in docs/transaction-log.md."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable

import pytest

from harness.simulation.delays import Delays
from targets.memorydb_py.log.interface import Batch, Id, Refused
from tests.targets.memorydb_py.log.test_interface import lead
from tests.targets.memorydb_py.logs import AZS, Logs, entries, fail_if_trimmed

RESUME_MS = 300


async def appended(logs: Logs, last: Id, payload: bytes = b"x") -> Id:
    batch = entries(last, 1, payload)
    await logs.clients["u1"].append(last, batch)
    return batch.id


def everything(logs: Logs) -> list[Batch]:
    """Follow the log from its beginning as a new reader; return the list that its batches are added
    to."""
    got: list[Batch] = []
    logs.clients["u2"].follow(0, got.append, fail_if_trimmed)
    return got


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("how", ["kill", "cut", "power"])
def test_appends_resume_after_any_az_is_lost(seed: int, how: str) -> None:
    """Appends resume within 300 ms. In every other round the lost AZ is the log's leader."""

    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        for i in range(4):
            az = logs.leader() if i % 2 == 0 else AZS[i % 3]
            if how == "kill":
                logs.world.kill(logs.azs[az])
            elif how == "power":
                logs.world.power_off(logs.azs[az].machine)
            else:
                logs.cut(az)
            began = logs.now_ms()
            last = await appended(logs, last)
            assert logs.now_ms() - began < RESUME_MS
            if how == "cut":
                logs.world.cut(())
            else:
                logs.start(az)
            await asyncio.sleep(1.5)

    Logs(seed).run(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_azs_that_are_far_apart_keep_their_leader(seed: int) -> None:
    """With a round trip of 40 ms a leader must not step down before answers can have arrived.
    Found in the cell `register, all`, seed 1004."""
    far = Delays(low_ns=19_000_000, high_ns=20_000_000, slow_per_1024=0)

    async def scenario(logs: Logs) -> None:
        last = await asyncio.wait_for(lead(logs.clients["u1"]), 5)
        terms = sum("leads the log" in line for line in logs.lines)
        for _ in range(20):
            began = logs.now_ms()
            last = await appended(logs, last)
            assert logs.now_ms() - began < 100
            await asyncio.sleep(0.2)
        assert sum("leads the log" in line for line in logs.lines) == terms <= 2

    Logs(seed, delays=far).run(scenario)


def test_a_wiped_az_forms_no_quorum_with_one_that_lags() -> None:
    """Two AZs have the entry e; one of them is wiped and restarts empty, the other is cut off. The
    wiped one and the third, which lacks e, must not form a quorum."""

    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        leader = logs.leader()
        wiped, lagging = [az for az in AZS if az != leader]
        logs.cut(lagging)
        last = await appended(logs, last, b"e")
        logs.world.kill(logs.azs[wiped])
        logs.wipe(wiped)
        logs.cut(leader)  # this heals the lagging AZ
        logs.start(wiped)
        await asyncio.sleep(3)
        assert logs.leader() == leader  # no other AZ was elected
        logs.cut()
        got = everything(logs)
        last = await appended(logs, last, b"f")
        await asyncio.sleep(0.5)
        assert [b.payload for b in got] == [b"me", b"e", b"f"]

    Logs(1).run(scenario)


@pytest.mark.parametrize("seed", range(10))
def test_a_wiped_az_is_readmitted_and_counts_again(seed: int) -> None:
    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        for round in range(4):
            wiped = AZS[(round + seed) % 3]
            for i in range(20):
                last = await appended(logs, last, b"%d" % i)
            logs.world.kill(logs.azs[wiped])
            logs.wipe(wiped)
            last = await appended(logs, last)
            logs.start(wiped)
            await asyncio.sleep(1)
            assert sum("is readmitted" in line for line in logs.lines) == round + 1
            other = AZS[(round + seed + 1) % 3]
            logs.world.kill(logs.azs[other])  # so a quorum needs the readmitted AZ
            last = await appended(logs, last)
            logs.start(other)
            await asyncio.sleep(1)

    Logs(seed).run(scenario)


@pytest.mark.parametrize("seed", range(10))
def test_a_second_loss_while_one_is_wiped_blocks(seed: int) -> None:
    """While a second AZ is down, the wiped one is not readmitted, as the members record that would
    do that can't be committed: it neither votes nor leads, and appends wait."""

    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        leader = logs.leader()
        wiped, other = [az for az in AZS if az != leader]
        logs.world.kill(logs.azs[wiped])
        logs.world.kill(logs.azs[other])
        logs.wipe(wiped)
        logs.start(wiped)
        future = asyncio.ensure_future(appended(logs, last))
        await asyncio.sleep(3)
        assert not future.done()
        logs.start(other)
        await future

    Logs(seed).run(scenario)


def test_a_power_loss_of_all_azs_loses_no_acknowledged_entry() -> None:
    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        acknowledged: list[bytes] = []
        for round in range(30):
            futures = []
            for i in range(20):
                batch = entries(last, 1, b"%d.%d" % (round, i))
                futures.append((batch.payload, logs.clients["u1"].append(last, batch)))
                last = batch.id
            await asyncio.sleep(random.Random(round).random() * 0.01)
            acknowledged += [p for p, f in futures if f.done()]
            for az in AZS:
                logs.world.power_off(logs.azs[az].machine)
            for az in AZS:
                logs.start(az)
            for _, future in futures:
                await future
            acknowledged += [p for p, _ in futures if p not in acknowledged]
        got = everything(logs)
        while not got or got[-1].last < last.n:
            await asyncio.sleep(0.01)
        assert [b.payload for b in got[1:]] == acknowledged

    Logs(3).run(scenario)


@pytest.mark.parametrize("seed", range(16))
def test_any_faults_one_az_at_a_time(seed: int) -> None:
    """Two writers contend while AZs are killed, cut off, wiped or lose power: every acknowledged
    entry is in the log exactly once, and no refused one is."""
    rng = random.Random(f"{seed}/faults")
    acknowledged: dict[bytes, None] = {}
    refused: dict[bytes, None] = {}

    async def write(logs: Logs, name: str) -> None:
        log = logs.clients[name]
        count = 0
        while True:
            last = await lead(log, name.encode())
            outstanding = []
            try:
                for _ in range(rng.randint(1, 60)):
                    batch = entries(last, 1, b"%s %d" % (name.encode(), count))
                    count += 1
                    outstanding.append((batch.payload, log.append(last, batch)))
                    last = batch.id
                    if rng.random() < 0.3:
                        await asyncio.sleep(0.003)
                for _, future in outstanding:
                    await future
            except Refused:
                pass
            for payload, future in outstanding:
                try:
                    await future
                    acknowledged.setdefault(payload)
                except Refused:
                    refused.setdefault(payload)

    async def scenario(logs: Logs) -> None:
        writers = [asyncio.ensure_future(write(logs, f"u{i}")) for i in (1, 3)]
        await logs.lose_azs(rng, 12, ["kill", "wipe", "cut", "power", "half"])
        await asyncio.sleep(2)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        tail = await logs.clients["u2"].tail()
        got = everything(logs)
        while not got or got[-1].last < tail.n:
            await asyncio.sleep(0.01)
        check(got)
        assert not logs.exits, logs.exits

    def check(got: Iterable[Batch]) -> None:
        payloads = [b.payload for b in got if b.epoch != b.first]
        assert len(payloads) == len(set(payloads))
        assert not set(acknowledged) - set(payloads)
        assert not set(refused) & set(payloads)
        assert len(acknowledged) > 50

    delays = Delays(low_ns=100_000, high_ns=3_000_000, slow_per_1024=20)
    Logs(seed, users=3, delays=delays).run(scenario)


def test_a_flipped_bit_is_detected_logged_and_survived() -> None:
    """A bit flip on an AZ's disk is detected and logged when the AZ starts; no entry is lost."""

    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        for i in range(50):
            last = await appended(logs, last, b"%d" % i)
        for az in AZS:
            logs.world.kill(logs.azs[az])
            assert logs.world.disk(az).flip_bit() is not None
            logs.start(az)
            await asyncio.sleep(1.5)
            last = await appended(logs, last)
        got = everything(logs)
        await asyncio.sleep(0.5)
        assert [b.payload for b in got[1:51]] == [b"%d" % i for i in range(50)]
        reports = [line for line in logs.lines if "damaged" in line or "torn" in line]
        assert len(reports) == 3, logs.lines

    for seed in range(20):
        Logs(seed).run(scenario)


def test_an_az_with_a_full_disk_accepts_no_entries_and_loses_none() -> None:
    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        full = logs.leader()
        disk = logs.world.disk(full)
        disk.capacity = sum(disk.size(n) for n in disk.names()) + 500
        for i in range(30):
            last = await appended(logs, last, b"%d" % i)
        assert logs.leader() != full
        assert any("can't write" in line for line in logs.lines)
        disk.capacity = None
        await asyncio.sleep(1)
        other = next(az for az in AZS if az not in (full, logs.leader()))
        logs.world.kill(logs.azs[other])
        last = await appended(logs, last, b"30")
        got = everything(logs)
        await asyncio.sleep(0.5)
        assert [b.payload for b in got[1:]] == [b"%d" % i for i in range(31)]

    Logs(6).run(scenario)


def test_a_failed_fsync_ends_the_process() -> None:
    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        az = logs.leader()
        logs.world.disk(az).failing_fsyncs = 1
        last = await appended(logs, last)
        await asyncio.sleep(0.1)
        assert logs.exits == [(az, 1)]
        assert any("fsync of" in line and "failed" in line for line in logs.lines)
        logs.start(az)
        await appended(logs, last)

    Logs(7).run(scenario)


def test_a_resumed_leader_reports_no_stale_tail() -> None:
    """A leader confirms its leadership by a round of appends before it answers."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients["u1"], logs.clients["u2"]
        last = await lead(writer)
        for i in range(10):
            old = logs.leader()
            logs.world.pause(logs.azs[old])
            asked = asyncio.ensure_future(reader.tail())
            last = await appended(logs, last, b"%d" % i)
            logs.world.resume(logs.azs[old])
            assert (await asked).n >= last.n - 1  # the tail when the request was sent
            assert await reader.tail() == last
            await asyncio.sleep(0.5)

    Logs(8).run(scenario)


def test_garbage_closes_only_its_own_connection() -> None:
    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        rng = random.Random(9)
        for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\1\xc1", b"\xff" * 64,
                        b"\0\0\0\2\x91\x08", *(rng.randbytes(200) for _ in range(50))):  # fmt: skip
            reader, writer = await asyncio.open_connection(f"{logs.leader()}@operator", 6379)
            writer.write(garbage)
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):  # caused by unread bytes
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        await appended(logs, last)
        assert not logs.exits

    Logs(9).run(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_lost_one_way_is_not_waited_for(seed: int) -> None:
    """Most segments from a client to the AZs are lost, and none in the other direction. After
    healing the client is answered within a second, without waiting for TCP to retransmit. Found in
    the cell `set, all`, seed 62083."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients["u1"], logs.clients["u2"]
        last = await lead(writer)
        await asyncio.sleep(0.5)
        links = [logs.world.network.link("u2", az) for az in AZS]
        for link in links:
            link.loss_per_1024 = 1015
        asked = asyncio.ensure_future(reader.tail())
        got: list[Batch] = []
        reader.follow(0, got.append, fail_if_trimmed)
        for _ in range(4):
            last = await appended(logs, last)
            await asyncio.sleep(0.5)
        for link in links:
            link.loss_per_1024 = 0
        began = logs.now_ms()
        await asked
        while not got or got[-1].last < last.n:
            await asyncio.sleep(0.01)
        assert logs.now_ms() - began < 1000

    Logs(seed).run(scenario)
