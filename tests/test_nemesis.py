"""Grudges, schedules, and which faults are possible where."""

from __future__ import annotations

import asyncio
import random

import pytest
from harness.nemesis.faults import System, choose, registry
from hypothesis import given
from hypothesis import strategies as st
from simulator import invocations, simulate

from harness.errors import EnvironmentFailed, UsageError
from harness.generators import NANOS, TimeLimit, on_nemesis
from harness.history import NEMESIS, Op
from harness.nemesis import grudges
from harness.nemesis.nemesis import Nemesis
from harness.nemesis.schedule import FaultCycles, deal_hand, plan_cycle, shuffled

node_lists = st.integers(2, 9).map(lambda n: [f"n{i}" for i in range(1, n + 1)])
rngs = st.integers(0, 99).map(random.Random)


@given(nodes=node_lists, rng=rngs)
def test_splits_are_symmetric_and_never_cut_a_node_from_itself(nodes, rng) -> None:
    for grudge in (grudges.halves(nodes, rng), grudges.minority(nodes, rng),
                   grudges.one_host(nodes, rng.choice(nodes))):  # fmt: skip
        cut = grudges.flows(grudge)
        assert cut
        assert cut == {(b, a) for a, b in cut}
        assert all(a != b for a, b in cut)


@given(nodes=node_lists, rng=rngs)
def test_a_minority_is_smaller_than_half(nodes, rng) -> None:
    sizes = sorted(len(nodes) - len(d) for d in grudges.minority(nodes, rng).values())
    assert sizes[0] == 1 or sizes[0] < len(nodes) / 2


@given(nodes=st.integers(4, 9).map(lambda n: [f"n{i}" for i in range(n)]), rng=rngs)
def test_every_node_of_a_ring_sees_a_majority_and_no_two_the_same(nodes, rng) -> None:
    grudge = grudges.majorities_ring(nodes, rng)
    seen = {n: frozenset(nodes) - dropped for n, dropped in grudge.items()}
    assert all(len(s) > len(nodes) / 2 for s in seen.values())
    if len(nodes) > 4:
        assert len(set(seen.values())) == len(nodes)
        assert grudges.flows(grudge)


@given(nodes=st.integers(3, 9).map(lambda n: [f"n{i}" for i in range(n)]), rng=rngs)
def test_a_bridge_hears_everyone_and_the_halves_do_not_hear_each_other(nodes, rng) -> None:
    grudge = grudges.bridge(nodes, rng)
    bridges = [n for n, dropped in grudge.items() if not dropped]
    assert len(bridges) == 1
    assert all(bridges[0] not in dropped for dropped in grudge.values())
    assert grudges.flows(grudge)


def test_one_way_cuts_one_direction() -> None:
    assert grudges.flows(grudges.one_way(["n1"], ["n2", "n3"])) == {("n1", "n2"), ("n1", "n3")}


def faults(*names):
    return [registry()[n] for n in names]


def test_faults_named_together_overlap_and_heal_in_order() -> None:
    plan = plan_cycle(faults("partition", "failover"), NANOS, random.Random(1))
    names = [s[0] for s in plan if not isinstance(s, int)]
    assert names == ["start-partition", "start-failover", "stop-partition", "stop-failover"]
    waits = [s for s in plan if isinstance(s, int)]
    assert len(waits) == 3
    assert all(0.6 * NANOS <= w <= 1.4 * NANOS for w in waits)


@pytest.mark.parametrize("seed", range(20))
def test_a_run_of_20_s_has_a_whole_cycle(seed: int) -> None:
    cycles = FaultCycles(tuple(faults("partition", "failover")), int(1.5 * NANOS))
    ops = invocations(simulate(on_nemesis(TimeLimit(cycles, 20 * NANOS), 1), 1, seed=seed))
    assert [op.f for op in ops[:4]] == [
        "start-partition", "start-failover", "stop-partition", "stop-failover"]  # fmt: skip
    assert ops[0].value == ["partition", "failover"]


@pytest.mark.parametrize("seed", range(20))
def test_all_deals_every_kind_within_30_s_and_never_two_ways_to_stop_a_node(seed: int) -> None:
    every = tuple(faults("partition", "kill", "pause", "restart", "failover"))
    cycles = FaultCycles(every, int(1.5 * NANOS), deal=True)
    ops = invocations(simulate(on_nemesis(TimeLimit(cycles, 30 * NANOS), 1), 1, seed=seed))
    hands = {tuple(op.value) for op in ops if op.f.startswith("start-")}
    assert {name for hand in hands for name in hand} == {f.name for f in every}
    assert all(len({"kill", "pause", "restart"} & set(hand)) <= 1 for hand in hands)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_to_take_over_while_nobody_runs(seed: int) -> None:
    deck = tuple(faults("power-all", "failover", "pause-lease", "partition"))
    for i in range(20):
        hand, left = deal_hand(shuffled(deck, random.Random(f"{seed}/{i}")), random.Random(i))
        names = {f.name for f in hand}
        assert "power-all" not in names or not names & {"failover", "pause-lease"}
        assert set(hand) | set(left) == set(deck)


def test_seeds_deal_different_hands() -> None:
    every = tuple(faults("partition", "kill", "pause", "restart", "failover"))
    rngs = [random.Random(i) for i in range(200)]
    first = {deal_hand(shuffled(every, rng), rng)[0] for rng in rngs}
    assert len(first) > 10


class Place:
    def __init__(self, name: str, capabilities: set[str]) -> None:
        self.name = name
        self.capabilities = frozenset(capabilities)
        self.nodes = ("n1", "n2", "n3")
        self.processes = {node: node for node in self.nodes}


class Without:
    name = "plain"
    capabilities: frozenset[str] = frozenset()

    def tolerates(self, out, cut) -> bool:
        return True

    def links(self, primary):
        others = [n for n in ("n1", "n2", "n3", "c1", "c2", "c3") if n != primary]
        return {pair for other in others for pair in ((primary, other), (other, primary))}


class WithFailover(Without):
    name = "redis"

    async def promote(self, node): ...

    async def repoint(self, nodes): ...


LOCAL = Place("local", {"network", "kill", "pause"})


def test_names_are_chosen_in_order_of_rank() -> None:
    assert [f.name for f in choose("failover,kill,partition", LOCAL, WithFailover())] == [
        "partition", "kill", "failover"]  # fmt: skip


def test_all_takes_what_can_be_done() -> None:
    names = [f.name for f in choose("all", LOCAL, Without())]
    assert names == ["partition", "kill", "pause", "restart"]


@pytest.mark.parametrize(
    ("names", "place", "target", "said"),
    [
        ("earthquake", LOCAL, WithFailover(), "unknown fault 'earthquake'; there are: partition"),
        ("failover", LOCAL, Without(), "can't do that (it needs failover)"),
        ("kill", Place("external", set()), WithFailover(), "the external environment"),
        ("all", Place("external", set()), WithFailover(), "injects no faults"),
        ("partition-ring", LOCAL, WithFailover(), "needs at least 4 nodes"),
    ],
)
def test_what_can_not_be_done_is_refused_with_a_reason(names, place, target, said) -> None:
    with pytest.raises(UsageError) as e:
        choose(names, place, target)
    assert said in str(e.value)


class FakeNetwork:
    def __init__(self) -> None:
        self.applied: list[set[tuple[str, str]]] = []

    async def apply(self, grudge) -> None:
        self.applied.append(grudges.flows(grudge))

    async def stats(self):
        return self.held

    held: dict = {}


class FakeEnvironment(Place):
    def __init__(self) -> None:
        super().__init__("local", {"network", "kill", "pause"})
        self.client_hosts = ("c1", "c2", "c3")
        self.network = FakeNetwork()
        self.exits: list = []
        self.dead: set[str] = set()
        self.stopped: set[str] = set()

    async def kill(self, node: str, *, drop_held: bool = False) -> None:
        self.dead.add(node)

    async def pause(self, node: str) -> None:
        self.stopped.add(node)

    def state(self, node: str) -> str:
        return "dead" if node in self.dead else "paused" if node in self.stopped else "running"


class FakeTarget(WithFailover):
    def __init__(self) -> None:
        self.refuses = 0

    async def primary(self) -> str:
        return "n1"

    async def restart(self, node: str) -> None:
        if self.refuses:
            self.refuses -= 1
            raise EnvironmentFailed("not yet")


def system(seed: int = 0, *together: str) -> System:
    return System(FakeEnvironment(), FakeTarget(), random.Random(seed), frozenset(together))


@pytest.mark.parametrize("seed", range(30))
def test_a_drawn_partition_always_cuts_the_primary_from_something(seed: int) -> None:
    s = system(seed)
    asyncio.run(registry()["partition"].inject(s))
    assert any("n1" in pair for pair in s.env.network.applied[-1])


@pytest.mark.parametrize("seed", range(30))
def test_with_a_failover_some_replica_is_cut_off_from_the_primary(seed: int) -> None:
    s = system(seed, "partition", "failover")
    asyncio.run(registry()["partition"].inject(s))
    assert any(("n1", n) in s.env.network.applied[-1] for n in ("n2", "n3"))


def test_two_partitions_add_up_and_each_heals_its_own() -> None:
    async def main() -> None:
        s = system()
        primary, client = registry()["partition-primary"], registry()["partition-client"]
        await primary.inject(s)
        first = s.env.network.applied[-1]
        await client.inject(s)
        assert s.env.network.applied[-1] > first
        await client.heal(s)
        assert s.env.network.applied[-1] == first
        await primary.heal(s)
        assert s.env.network.applied[-1] == set()

    asyncio.run(main())


def test_two_faults_of_processes_take_two_nodes() -> None:
    async def main() -> None:
        s = system(0, "kill", "pause", "failover")
        assert (await registry()["kill"].inject(s))["node"] == "n1"
        assert (await registry()["pause"].inject(s))["node"] != "n1"

    asyncio.run(main())


def test_a_heal_that_failed_is_tried_again() -> None:
    async def main() -> None:
        s = system()
        s.target.refuses = 1
        nemesis = Nemesis([registry()["kill"]], s)
        await nemesis.invoke(Op(0, 0, "invoke", NEMESIS, "start-kill", ["kill"]))
        done = await nemesis.invoke(Op(1, 1, "invoke", NEMESIS, "stop-kill"))
        assert done.error == "EnvironmentFailed: not yet"
        assert nemesis.healing() == ["stop-kill"]
        done = await nemesis.invoke(Op(2, 2, "invoke", NEMESIS, "stop-kill"))
        assert done.value["effective"] is True
        assert nemesis.healing() == []
        again = await nemesis.invoke(Op(3, 3, "invoke", NEMESIS, "stop-kill"))
        assert again.value == {"effective": False}
        assert s.down == set()

    asyncio.run(main())


def test_a_partition_counts_only_the_bytes_that_it_held_itself() -> None:
    async def main() -> None:
        s = system()
        primary, client = registry()["partition-primary"], registry()["partition-client"]
        await primary.inject(s)
        await client.inject(s)
        s.env.network.held = {("n1", "n2"): {"held_total": 70}}
        assert (await client.heal(s))["effective"] is False
        assert (await primary.heal(s))["bytes_held"] == 70

    asyncio.run(main())
