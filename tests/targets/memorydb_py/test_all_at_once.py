"""Every machine loses power at once, under load: no acknowledged write is lost or duplicated.

`HARNESS_ROUNDS=1000` sets the number of rounds, of which each world runs at most 20.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from targets.memorydb_py.snapshots.objects import MemoryStore
from tests.targets.memorydb_py.shards import AZS, CLOSED, QUIET, ROUNDS, SHORT, Shards

A_WORLD = 20
WRITERS = 6


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range((ROUNDS + A_WORLD - 1) // A_WORLD))
def test_every_machine_loses_power_at_once(seed: int) -> None:
    rng = random.Random(f"{seed}/power")
    sent: list[str] = []
    acknowledged: list[str] = []

    async def write(shards: Shards, number: int) -> None:
        """Append values one at a time, some in transactions, at whichever node is the primary."""
        while True:
            try:
                talk = await shards.to_primary()
            except (OSError, ValueError):  # there is no primary, or it has died
                await asyncio.sleep(0.01)
                continue
            while True:
                value = f"{number}/{len(sent)}"
                sent.append(value)
                if rng.random() < 0.3:
                    talk.send("MULTI", f"RPUSH {{t}}all {value}", "INCR {t}count", "EXEC")
                    replies = [await talk.reply(5.0) for _ in range(4)]
                    done = isinstance(replies[-1], list)
                else:
                    reply = await talk.ask(f"RPUSH {{t}}all {value}", within=5.0)
                    done = isinstance(reply, int)
                    replies = [reply]
                if done:
                    acknowledged.append(value)
                if CLOSED in replies or QUIET in replies or not done:
                    break
            talk.close()
            await asyncio.sleep(0.01)

    async def scenario(shards: Shards) -> None:
        shards.start_snapshotter(every=150)
        writers = [asyncio.ensure_future(write(shards, i)) for i in range(WRITERS)]
        for _ in range(min(ROUNDS, A_WORLD)):
            await shards.primary()
            await asyncio.sleep(0.2 + rng.random())
            for machine in ("m1", "m2", "m3"):
                shards.world.power_off(shards.world.machines[machine])
            await asyncio.sleep(rng.random() * 0.2)
            for az in AZS:
                shards.start(az)
            for name in shards.names:
                shards.start_node(name)
            shards.start_snapshotter(every=150)
        await shards.primary()
        await asyncio.sleep(1)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await shards.settled()
        talk = await shards.to_primary()
        stored = Counter(word.decode() for word in await talk.ask("LRANGE {t}all 0 -1"))
        assert not set(acknowledged) - set(stored), "acknowledged writes are lost"
        assert not [value for value, count in stored.items() if count > 1], "writes are duplicated"
        assert not set(stored) - set(sent)
        assert len(acknowledged) > 50 * min(ROUNDS, A_WORLD)
        assert any("begins with snapshot-" in line for line in shards.lines)
        digests = {await (await shards.connect(n)).ask("DEBUG DIGEST") for n in shards.names}
        assert len(digests) == 1
        assert not any("set aside" in line or "Traceback" in line for line in shards.lines)

    Shards(f"power/{seed}", options=SHORT, objects=MemoryStore()).run(scenario)
