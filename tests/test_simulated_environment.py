"""The simulated environment: what it does for a nemesis, and what its faults measure."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from harness.nemesis.faults import System, registry
from simulation.worlds import Echo, Sink, server

from harness.environments.protocol import Machines, ProcessSpec
from harness.environments.simulated import SimulatedEnvironment
from harness.errors import EnvironmentFailed


def environment(folder: Path) -> SimulatedEnvironment:
    return SimulatedEnvironment(["n1", "n2"], folder, seed=1)


class Target:
    """Starts nodes again."""

    def __init__(self, env: SimulatedEnvironment) -> None:
        self.env = env
        self.refuses: set[str] = set()
        self.made: list[Echo] = []

    async def primary(self) -> str:
        return "n1"

    async def restart(self, node: str) -> None:
        if node in self.refuses:
            raise EnvironmentFailed(f"{node} does not come up")
        await self.env.start(self.spec(node))

    def spec(self, node: str) -> ProcessSpec:
        return ProcessSpec(name=node, node=node, main=server(Echo, self.made))


def play(folder: Path, story: Any, strength: int = 100) -> None:
    """`story(env, system)` with two nodes that run."""
    env = environment(folder)
    system = System(env, Target(env), random.Random(1), strength_percent=strength)  # type: ignore

    async def main() -> None:
        await env.open()
        for node in env.nodes:
            await env.start(system.target.spec(node))  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        try:
            await story(env, system)
        finally:
            await env.close()

    env.run(main())


async def connect(env: SimulatedEnvironment, node: str, source: str) -> Any:
    address = env.address(node, seen_from=source)
    _, made = await asyncio.get_running_loop().create_connection(Sink, *address)
    return made


def test_it_is_what_it_says(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert isinstance(env, Machines)
    assert env.address("n1", seen_from="c2") == ("n1@c2", 6379)
    assert env.address("n1", seen_from="n2") == ("n1", 6379)
    assert env.control_address("n1") == ("n1@operator", 6379)
    assert env.state("n1") == "dead"
    needed = set().union(*(f.needs for f in registry().values()))
    of_targets = {"failover", "log", "lease"}
    assert needed - of_targets <= env.capabilities


def test_a_cut_between_client_hosts_and_nodes_tells_them_apart(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        one, other = await connect(env, "n1", "c1"), await connect(env, "n1", "c2")
        await env.network.apply({"n1": frozenset({"c2"})})
        one.transport.write(b"x")
        other.transport.write(b"x")
        await asyncio.sleep(1)
        assert (one.data, other.data) == (b"x", b"")
        stats = await env.network.stats()
        assert stats["c2", "n1"]["held_now"] == 1
        assert stats["c1", "n1"]["held_total"] == 0

    play(tmp_path, story)


def test_healing_mends_everything(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        await env.network.apply({"n1": frozenset({"c1"})})
        await env.network.shape("c2", "n1", delay_s=1, bytes_per_s=1)
        env.lose("c3", "n1", 0.9)
        await env.network.heal()
        began = env.now()
        clients = [await connect(env, "n1", f"c{i}") for i in (1, 2, 3) for _ in range(5)]
        for client in clients:
            client.transport.write(b"x" * 100)
        while not all(len(client.data) == 100 for client in clients):
            await asyncio.sleep(0.001)
        assert env.now() - began < 100_000_000

    play(tmp_path, story)


def test_a_kill_may_take_what_links_hold(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        for drop, left in ((False, b"x"), (True, b"")):
            await env.network.apply({"c1": frozenset({"n1"})})
            client = await asyncio.wait_for(connect(env, "n1", "c2"), 1)
            await env.network.apply({"c2": frozenset({"n1"})})
            client.transport.write(b"x")
            await asyncio.sleep(0.5)
            await env.kill("n1", drop_held=drop)
            await env.network.heal()
            await asyncio.sleep(1)
            assert client.data == left
            assert isinstance(client.lost[0], ConnectionResetError)
            await system.target.restart("n1")
            await asyncio.sleep(0.1)
        assert [e.expected for e in env.exits] == [True, True]

    play(tmp_path, story)


@pytest.mark.parametrize("name", ["clock-drift", "clock-jump"])
def test_a_clock_that_is_hardly_wrong_is_no_effect(tmp_path: Path, name: str) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        fault = registry()[name]
        seen, ahead = set(), set()
        for _ in range(40):
            await fault.inject(system)
            await asyncio.sleep(0.05)
            done = await fault.heal(system)
            assert done["effective"] == (abs(done["ahead_ms"]) >= 1)
            wall, _ = env.clock_error(done["node"])
            assert wall == 0, "set right again"
            seen.add(done["effective"])
            ahead.add(done["ahead_ms"] > 0)
        assert seen == ahead == {True, False}, "forward and back"
        assert (await fault.heal(system)) == {"effective": False}

    play(tmp_path, story, strength=100 if name == "clock-drift" else 1)


@pytest.mark.parametrize("name", ["slow", "lossy"])
def test_links_that_carry_nothing_are_not_affected_and_mended(tmp_path: Path, name: str) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        fault = registry()[name]
        await fault.inject(system)
        assert (await fault.heal(system))["effective"] is False
        begun = await fault.inject(system)
        for _ in range(60):
            client = await connect(env, begun["node"], "c1")
            client.transport.write(b"x")
            await asyncio.sleep(0.1)
        assert (await fault.heal(system))["effective"] is True
        began = env.now()
        client = await connect(env, begun["node"], "c1")
        client.transport.write(b"x")
        while not client.data:
            await asyncio.sleep(0.001)
        assert env.now() - began < 10_000_000

    play(tmp_path, story, strength=400)


def test_power_loss_of_all_takes_those_too_that_were_killed(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        kill, power = registry()["kill"], registry()["power-all"]
        dead = (await kill.inject(system))["node"]
        assert (await power.inject(system))["nodes"] == ["n1", "n2"]
        assert not any(m.powered for m in env.world.machines.values())
        done = await power.heal(system)
        assert done == {"effective": True, "nodes": [n for n in env.nodes if n != dead]}
        assert (await kill.heal(system))["effective"] is True
        assert system.down == set()
        assert [env.state(n) for n in env.nodes] == ["running", "running"]

    play(tmp_path, story)


def test_a_node_that_does_not_come_up_keeps_no_other_down(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        power = registry()["power-all"]
        await power.inject(system)
        system.target.refuses = {"n1"}  # type: ignore[attr-defined]
        with pytest.raises(EnvironmentFailed, match="n1 does not come up"):
            await power.heal(system)
        assert [env.state(n) for n in env.nodes] == ["dead", "running"]
        assert system.down == {"n1"}
        system.target.refuses = set()  # type: ignore[attr-defined]
        await power.heal(system)
        assert system.down == set()
        assert (await power.heal(system))["effective"] is False, "nothing was off"

    play(tmp_path, story)


def test_slow_links_are_slow_in_both_directions(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        node = (await registry()["slow"].inject(system))["node"]
        other = "n2" if node == "n1" else "n1"
        for pair in ((node, "c1"), ("c1", node), (node, other), (other, node)):
            assert env.world.network.link(*pair).extra_ns >= 10_000_000

    play(tmp_path, story)


def test_strength_scales_faults(tmp_path: Path) -> None:
    async def story(env: SimulatedEnvironment, system: System) -> None:
        for name, key, most in (("slow", "delay_ms", 400), ("clock-drift", "ppm", 200_000)):
            drawn = []
            for _ in range(60):
                drawn.append(abs((await registry()[name].inject(system))[key]))
            assert most // 4 < max(drawn) <= most

    play(tmp_path, story, strength=400)


def test_processes_and_harness_draw_entropy_apart(tmp_path: Path) -> None:
    drawn: dict[int, bytes] = {}

    async def idle(host: Any) -> None:
        await asyncio.sleep(0.5)
        drawn[len(drawn)] = os.urandom(8)
        assert os.getpid() == 1
        await asyncio.sleep(1000)

    for extra in (0, 1):
        env = environment(tmp_path)

        async def main(env: SimulatedEnvironment = env, extra: int = extra) -> None:
            os.urandom(extra)
            await env.open()
            await env.start(ProcessSpec(name="n1", node="n1", main=idle))
            await asyncio.sleep(1)
            await env.close()

        env.run(main())
    assert drawn[0] == drawn[1]
