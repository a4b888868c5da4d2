"""The simulated environment: its capabilities, and the measured effects of its faults."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from harness.environments.protocol import (
    CanCutPower,
    CanKill,
    CanLose,
    CanPartition,
    CanPause,
    CanReplay,
    CanSkewClocks,
    EnvironmentOptions,
    ProcessSpec,
)
from harness.environments.simulated import SimulatedEnvironment
from harness.errors import EnvironmentFailed
from harness.nemesis import catalogue
from harness.nemesis.protocol import DrawContext, Injected
from harness.nemesis.system import System
from harness.topology import Shard, Topology
from tests.simulation.worlds import Echo, Sink, server


def environment(folder: Path) -> SimulatedEnvironment:
    return SimulatedEnvironment(EnvironmentOptions(nodes=2, run_dir=folder, seed=1))


class Target:
    """A target that can restart its nodes."""

    def __init__(self, env: SimulatedEnvironment) -> None:
        self.env = env
        self.refuses: set[str] = set()
        self.made: list[Echo] = []

    hands_over = False

    def topology(self) -> Topology:
        return Topology((Shard(nodes=self.env.nodes, primary="n1"),))

    def tolerates(self, out: set, cut: set) -> bool:
        return True

    async def restart(self, node: str) -> None:
        if node in self.refuses:
            raise EnvironmentFailed(f"{node} does not come up")
        await self.env.start(self.spec(node))

    def spec(self, node: str) -> ProcessSpec:
        return ProcessSpec(name=node, node=node, main=server(Echo, self.made))


def play(folder: Path, scenario: Any) -> None:
    """Run `scenario(env, system)` with two running nodes."""
    env = environment(folder)
    system = System(env, Target(env))  # type: ignore[type-var]

    async def main() -> None:
        await env.open()
        for node in env.nodes:
            await env.start(system.target.spec(node))  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        try:
            await scenario(env, system)
        finally:
            await env.close()

    env.run(main())


def chance(strength: int = 100) -> DrawContext:
    return DrawContext(rng=random.Random(1), strength_percent=strength)


async def inject(system: System, name: str, drawn: DrawContext | None = None) -> Injected:
    fault = catalogue.fault(name)
    return await fault.inject(system, fault.draw(drawn or chance(), system))


async def connect(env: SimulatedEnvironment, node: str, source: str) -> Any:
    address = env.address(node, seen_from=source)
    _, made = await asyncio.get_running_loop().create_connection(Sink, *address)
    return made


def test_it_has_its_capabilities_and_addresses_by_link(tmp_path: Path) -> None:
    env = environment(tmp_path)
    for able in (CanKill, CanPause, CanPartition, CanLose, CanSkewClocks, CanCutPower, CanReplay):
        assert isinstance(env, able)
    assert env.address("n1", seen_from="c2") == ("n1@c2", 6379)
    assert env.address("n1", seen_from="n2") == ("n1", 6379)
    assert env.control_address("n1") == ("n1@operator", 6379)
    assert asyncio.run(env.state("n1")) == "dead"


def test_a_cut_acts_on_one_client_host_alone(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        one, other = await connect(env, "n1", "c1"), await connect(env, "n1", "c2")
        await env.network.apply({"n1": frozenset({"c2"})})
        one.transport.write(b"x")
        other.transport.write(b"x")
        await asyncio.sleep(1)
        assert (one.data, other.data) == (b"x", b"")
        stats = await env.network.stats()
        assert stats["c2", "n1"]["held_now"] == 1
        assert stats["c1", "n1"]["held_total"] == 0

    play(tmp_path, scenario)


def test_healing_removes_cuts_delays_limits_and_loss(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        await env.network.apply({"n1": frozenset({"c1"})})
        await env.network.shape("c2", "n1", delay_s=1, bytes_per_s=1)
        await env.lose("c3", "n1", 0.9)
        await env.network.heal()
        began = env.now()
        clients = [await connect(env, "n1", f"c{i}") for i in (1, 2, 3) for _ in range(5)]
        for client in clients:
            client.transport.write(b"x" * 100)
        while not all(len(client.data) == 100 for client in clients):
            await asyncio.sleep(0.001)
        assert env.now() - began < 100_000_000

    play(tmp_path, scenario)


def test_a_kill_may_drop_the_bytes_that_links_hold(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
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

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("name", "strength", "effects"),
    [("clock-drift", 100, {True, False}), ("clock-jump", 1, {True})],  # a jump is 1 ms at least
)
def test_a_clock_error_below_a_millisecond_is_no_effect(
    tmp_path: Path, name: str, strength: int, effects: set
) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        seen, ahead = set(), set()
        drawn = chance(strength)
        for _ in range(40):
            injected = await inject(system, name, drawn)
            await asyncio.sleep(0.05)
            effect = await injected.heal()
            ahead_ms = abs(effect.measured["ahead_ms"])
            assert effect.effective == (ahead_ms >= 1) or abs(ahead_ms - 1) < 0.001, "rounded"
            wall, _ = await env.clock_error(effect.measured["node"])
            assert wall == 0, "set right again"
            seen.add(effect.effective)
            ahead.add(effect.measured["ahead_ms"] > 0)
        assert ahead == {True, False}, "forward and back"
        assert seen == effects

    play(tmp_path, scenario)


@pytest.mark.parametrize("name", ["slow", "lossy"])
def test_link_faults_have_no_effect_on_idle_links_and_heal(tmp_path: Path, name: str) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        drawn = chance(400)
        assert (await (await inject(system, name, drawn)).heal()).effective is False
        injected = await inject(system, name, drawn)
        for _ in range(60):
            client = await connect(env, injected.did["node"], "c1")
            client.transport.write(b"x")
            await asyncio.sleep(0.1)
        assert (await injected.heal()).effective is True
        began = env.now()
        client = await connect(env, injected.did["node"], "c1")
        client.transport.write(b"x")
        while not client.data:
            await asyncio.sleep(0.001)
        assert env.now() - began < 10_000_000

    play(tmp_path, scenario)


def test_power_loss_of_all_includes_killed_nodes(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        killed = await inject(system, "kill")
        power = await inject(system, "power-all")
        assert power.did["nodes"] == ["n1", "n2"]
        assert not any(m.powered for m in env.world.machines.values())
        others = [n for n in env.nodes if n != killed.did["node"]]
        assert await power.heal() == (True, {"nodes": others})
        assert (await killed.heal()).effective is True
        assert system.down == set()
        assert [await env.state(n) for n in env.nodes] == ["running", "running"]

    play(tmp_path, scenario)


def test_a_node_that_does_not_start_keeps_no_other_down(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        power = await inject(system, "power-all")
        system.target.refuses = {"n1"}  # type: ignore[attr-defined]
        with pytest.raises(EnvironmentFailed, match="n1 does not come up"):
            await power.heal()
        assert [await env.state(n) for n in env.nodes] == ["dead", "running"]
        assert system.down == {"n1"}
        system.target.refuses = set()  # type: ignore[attr-defined]
        assert await power.heal() == (True, {"nodes": ["n1"]})
        assert system.down == set()
        assert (await power.heal()).effective is False, "nothing was off"

    play(tmp_path, scenario)


def test_slow_links_are_slow_in_both_directions(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        node = (await inject(system, "slow")).did["node"]
        other = "n2" if node == "n1" else "n1"
        for pair in ((node, "c1"), ("c1", node), (node, other), (other, node)):
            assert env.world.network.link(*pair).extra_ns >= 10_000_000

    play(tmp_path, scenario)


def test_strength_scales_faults(tmp_path: Path) -> None:
    async def scenario(env: SimulatedEnvironment, system: System) -> None:
        for name, key, most in (("slow", "delay_ms", 400), ("clock-drift", "ppm", 200_000)):
            drawn = chance(400)
            sizes = [abs((await inject(system, name, drawn)).did[key]) for _ in range(60)]
            assert most // 4 < max(sizes) <= most

    play(tmp_path, scenario)


def test_processes_and_harness_draw_from_separate_streams(tmp_path: Path) -> None:
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
