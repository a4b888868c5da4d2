"""Grudges, single faults, schedules, and where each fault is available."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.environments.external import ExternalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.errors import EnvironmentFailed, UsageError
from harness.generators import NANOS, TimeLimit
from harness.history import NEMESIS, History, Op
from harness.history.events import FaultBegan, FaultEnded, invoked, read
from harness.history.record import PlannedFault, TargetInfo
from harness.nemesis import catalogue, grudges, victims
from harness.nemesis.nemesis import Nemesis
from harness.nemesis.protocol import DrawContext, Injected, Layer, Skipped
from harness.nemesis.schedule import planned
from harness.nemesis.system import System
from harness.plan import incompatible, take_kinds
from harness.topology import Shard, Topology
from tests.support.simulator import invocations, simulate

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


@given(nodes=node_lists, rng=rngs)
def test_a_grudge_is_read_back_from_json(nodes, rng) -> None:
    grudge = grudges.halves(nodes, rng)
    assert grudges.from_json(grudges.as_json(grudge)) == grudge


def faults(*names):
    return [catalogue.fault(name) for name in names]


# --- availability


class Network:
    def __init__(self) -> None:
        self.applied: list[set[tuple[str, str]]] = []
        self.held: dict = {}

    async def apply(self, grudge) -> None:
        self.applied.append(grudges.flows(grudge))

    async def heal(self) -> None:
        await self.apply({})

    async def shape(self, source, sink, *, delay_s=0.0, jitter_s=0.0, bytes_per_s=0.0): ...

    async def reset(self, source, sink) -> int:
        return 0

    async def stats(self):
        return self.held


class FakeEnv:
    """An environment that can kill, pause and cut, without real processes."""

    name, simulated = "local", False

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = tuple(f"n{i + 1}" for i in range(nodes))
        self.processes = {node: node for node in self.nodes}
        self.client_hosts = ("c1", "c2", "c3")
        self.network = Network()
        self.exits: list = []
        self.dead: set[str] = set()
        self.stopped: set[str] = set()

    def now(self) -> int:
        return 0

    def run(self, main) -> None:
        asyncio.run(main)

    def address(self, process, *, seen_from): ...

    def control_address(self, process): ...

    async def open(self) -> None: ...

    async def log_tail(self, process, lines=2) -> str:
        return ""

    async def logs(self):
        return {}

    async def helpers_ended(self):
        return []

    async def close(self) -> None: ...

    def describe(self): ...

    def declare(self, process, host) -> None: ...

    def data_dir(self, process) -> str:
        return ""

    async def start(self, spec) -> None: ...

    async def kill(self, node: str, *, drop_held: bool = False) -> None:
        self.dead.add(node)

    async def wipe(self, process) -> None: ...

    async def pause(self, node: str) -> None:
        self.stopped.add(node)

    async def resume(self, node: str) -> None:
        self.stopped.discard(node)

    async def state(self, node: str) -> str:
        return "dead" if node in self.dead else "paused" if node in self.stopped else "running"


class Plain:
    name = "plain"
    promises: frozenset[str] = frozenset()
    depends_on = frozenset({"links", "processes", "disks", "roles"})
    alarms: tuple = ()
    damage: tuple = ()
    clock_error_ms = 10

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.refuses = 0
        self.leads: str | None = "n1"

    async def start(self) -> None: ...

    async def settle(self, timeout_s) -> None: ...

    def topology(self) -> Topology:
        return Topology((Shard(nodes=self.nodes, primary=self.leads),))

    async def restart(self, node: str) -> None:
        if self.refuses:
            self.refuses -= 1
            raise EnvironmentFailed("not yet")

    def tolerates(self, out, cut) -> bool:
        return True

    def links(self, topology):
        (primary,) = topology.primaries
        others = [n for n in (*self.nodes, "c1", "c2", "c3") if n != primary]
        return {pair for other in others for pair in ((primary, other), (other, primary))}

    def open_to(self, node, client_host, *, readonly=False): ...

    async def close(self) -> None: ...

    def describe(self) -> TargetInfo:
        return TargetInfo(target=self.name, version="1")


class WithFailover(Plain):
    name = "redis"
    hands_over = False

    async def promote(self, node):
        return {"old": self.leads, "new": node}

    async def repoint(self, nodes):
        return list(nodes)


EXTERNAL = ExternalEnvironment(EnvironmentOptions(nodes=1, run_dir=None, addresses="a:1,b:2,c:3"))  # type: ignore[arg-type]


def test_names_are_chosen_in_order_of_layer() -> None:
    chosen = catalogue.chosen("failover,kill,partition", WithFailover(), FakeEnv())
    assert [f.name for f in chosen] == ["partition", "kill", "failover"]


def test_all_chooses_every_available_fault() -> None:
    names = [f.name for f in catalogue.chosen("all", Plain(), FakeEnv())]
    assert names == ["partition", "slow", "kill", "pause", "restart"]


@pytest.mark.parametrize(
    ("names", "env", "target", "reason"),
    [
        ("earthquake", FakeEnv(), WithFailover(), "unknown fault 'earthquake'; available: clock-"),
        ("failover", FakeEnv(), Plain(), "target plain has no operator failover ("),
        ("kill", EXTERNAL, WithFailover(),
         "the external environment can't kill processes (local, simulated can)"),
        ("failover", EXTERNAL, WithFailover(), "injects no faults to combine with a failover"),
        ("clock-jump", FakeEnv(), Plain(),
         "the local environment can't skew the clocks of machines (simulated can)"),
        ("wipe", FakeEnv(), WithFailover(), "target redis has no log of its own (memorydb can)"),
        ("partition-log", FakeEnv(), WithFailover(), "target redis has no log of its own"),
        ("pause-lease", FakeEnv(), WithFailover(), "target redis has no leases"),
        ("all", EXTERNAL, WithFailover(), "injects no faults"),
        ("all,kill", FakeEnv(), WithFailover(), "'all' can't be combined with other names"),
        ("partition-ring", FakeEnv(), WithFailover(), "needs at least 4 nodes"),
        ("failover", FakeEnv(1), WithFailover(), "needs at least 2 nodes"),
    ],
)  # fmt: skip
def test_an_unavailable_fault_is_refused_with_a_reason(names, env, target, reason) -> None:
    with pytest.raises(UsageError) as e:
        catalogue.chosen(names, target, env)
    assert reason in str(e.value)


# --- single faults


def system(nodes: int = 3) -> System:
    return System(FakeEnv(nodes), WithFailover(nodes))


def chance(seed: int = 0, *together: str) -> DrawContext:
    return DrawContext(rng=random.Random(seed), together=faults(*together))


async def inject(s: System, name: str, drawn: DrawContext | None = None, **given) -> Injected:
    fault = catalogue.fault(name)
    return await fault.inject(s, {**fault.draw(drawn or chance(), s), **given})


@pytest.mark.parametrize("seed", range(30))
def test_a_drawn_partition_always_cuts_the_primary_from_something(seed: int) -> None:
    for primary in ("n1", "n2", "n3"):
        s = system()
        s.target.leads = primary
        asyncio.run(inject(s, "partition", chance(seed)))
        assert any(primary in pair for pair in s.env.network.applied[-1])


@pytest.mark.parametrize("seed", range(30))
def test_with_a_failover_some_replica_is_cut_off_from_the_primary(seed: int) -> None:
    for primary in ("n1", "n2", "n3"):
        s = system()
        s.target.leads = primary
        asyncio.run(inject(s, "partition", chance(seed, "partition", "failover")))
        others = {"n1", "n2", "n3"} - {primary}
        assert any((primary, n) in s.env.network.applied[-1] for n in others)


def test_two_partitions_add_up_and_each_heals_its_own() -> None:
    async def main() -> None:
        s = system()
        primary = await inject(s, "partition-primary")
        first = s.env.network.applied[-1]
        client = await inject(s, "partition-client")
        assert s.env.network.applied[-1] > first
        await client.heal()
        assert s.env.network.applied[-1] == first
        await primary.heal()
        assert s.env.network.applied[-1] == set()

    asyncio.run(main())


def test_a_partition_among_roles_follows_the_roles() -> None:
    async def main() -> None:
        s = system()
        s.target.leads = "n2"
        grudge = {"primary": ["replica 1"], "n3": ["primary"]}
        cut = await inject(s, "partition", kind="one-way", grudge=grudge)
        assert s.env.network.applied[-1] == {("n1", "n2"), ("n2", "n3")}
        assert cut.did["grudge"] == {"n2": ["n1"], "n3": ["n2"]}

    asyncio.run(main())


def test_two_faults_of_processes_have_two_victims() -> None:
    async def main() -> None:
        s = system()
        together = chance(0, "kill", "pause", "failover")
        assert (await inject(s, "kill", together)).did["node"] == "n1"
        assert (await inject(s, "pause", together)).did["node"] != "n1"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("victim", "found"),
    [("primary", "n2"), ("replica 1", "n1"), ("replica 2", "n3"), ("replica 3", "n1"),
     ("n3", "n3")],
)  # fmt: skip
def test_a_victim_is_resolved_by_the_current_roles(victim: str, found: str) -> None:
    s = system()
    s.target.leads = "n2"
    assert victims.resolve(victim, s) == found


def test_a_victim_that_is_down_is_replaced_or_the_fault_is_skipped() -> None:
    s = system()
    s.down.add("n1")
    assert victims.resolve("primary", s) == "n2"
    with pytest.raises(Skipped, match="n1 is stopped already"):
        victims.resolve("n1", s)
    s.paused.update({"n2", "n3"})
    with pytest.raises(Skipped, match="no node is up"):
        victims.resolve("primary", s)
    s = system()
    s.target.leads = None
    with pytest.raises(Skipped, match="no node is known to be the primary"):
        victims.resolve("primary", s)
    with pytest.raises(Skipped, match="no process other than a node"):
        victims.resolve("helper 1", s)


def start(fault: str, number: int = 0, **arguments) -> Op:
    f, value = invoked(FaultBegan(fault=fault, number=number, arguments=arguments))
    return Op(0, 0, "invoke", NEMESIS, f, value)


def stop(fault: str, number: int = 0) -> Op:
    f, value = invoked(FaultEnded(fault=fault, number=number))
    return Op(0, 0, "invoke", NEMESIS, f, value)


def test_a_heal_that_failed_is_retried() -> None:
    async def main() -> None:
        s = system()
        s.target.refuses = 1
        nemesis = Nemesis(faults("kill"), s)
        await nemesis.invoke(start("kill", victim="primary"))
        done = await nemesis.invoke(stop("kill"))
        assert done.error == "EnvironmentFailed: not yet"
        assert nemesis.healing() == [FaultEnded(fault="kill")]
        done = await nemesis.invoke(stop("kill"))
        assert done.value["effective"] is True
        assert nemesis.healing() == []
        assert (await nemesis.invoke(stop("kill"))).value == {"effective": False, "effect": {}}
        assert s.down == set()

    asyncio.run(main())


def test_a_fault_may_overlap_with_itself() -> None:
    async def main() -> None:
        s = system()
        nemesis = Nemesis(faults("kill"), s)
        for number, victim in enumerate(["n1", "n3"]):
            await nemesis.invoke(start("kill", number, victim=victim))
        assert s.down == {"n1", "n3"}
        assert (await nemesis.invoke(stop("kill", 1))).value["effect"]["node"] == "n3"
        assert s.down == {"n1"}
        assert (await nemesis.invoke(stop("kill", 0))).value["effect"]["node"] == "n1"

    asyncio.run(main())


def test_a_fault_that_is_not_possible_now_is_skipped_with_the_reason() -> None:
    async def main() -> None:
        s = system()
        s.down.update(s.env.nodes)
        nemesis = Nemesis(faults("kill"), s)
        invoke = start("kill", victim="primary")
        done = await nemesis.invoke(invoke)
        assert done.value == {"skipped": "no node is up"}
        assert nemesis.healing() == []
        (event,) = read(History([invoke, done]).nemesis_pairs())
        assert event.what.skipped == "no node is up"

    asyncio.run(main())


def test_a_partition_counts_only_the_bytes_that_it_held_itself() -> None:
    async def main() -> None:
        s = system()
        primary = await inject(s, "partition-primary")
        client = await inject(s, "partition-client")
        s.env.network.held = {("n1", "n2"): {"held_total": 70}}
        assert (await client.heal()).effective is False
        assert (await primary.heal()).measured["bytes_held"] == 70

    asyncio.run(main())


class Breaks(Exception):
    """An error half-way through an injection."""


@pytest.mark.parametrize(
    ("name", "method"),
    [("kill", "kill"), ("pause", "pause"), ("partition-primary", "apply"), ("slow", "shape")],
)
def test_a_fault_that_fails_half_way_leaves_nothing_behind(name: str, method: str) -> None:
    async def main() -> None:
        s = system()
        owner = s.env if hasattr(s.env, method) else s.env.network
        works, calls = getattr(owner, method), []

        async def breaks_once(*args, **given):
            calls.append(args)
            if len(calls) == (1 if name != "slow" else 3):
                raise Breaks
            return await works(*args, **given)

        setattr(owner, method, breaks_once)
        with pytest.raises(Breaks):
            await inject(s, name)
        assert s.down == s.paused == set()
        assert s.grudges == {}
        if name.startswith("partition"):
            assert s.env.network.applied[-1] == set()
        if name == "slow":
            assert len(calls) > 3, "all links are as they were"

    asyncio.run(main())


def test_a_pause_that_takes_too_long_ends_with_the_node_running() -> None:
    class Leased(WithFailover):
        lease_ms = 1000

    async def main() -> None:
        s = System(FakeEnv(), Leased())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await inject(s, "pause-lease", pauses_ms=[5000])
        assert s.paused == s.env.stopped == set()

    asyncio.run(main())


# --- plans and schedules


def at(begin_s: float, fault: str, until_s: float, **arguments) -> PlannedFault:
    return PlannedFault(at_s=begin_s, fault=fault, until_s=until_s, arguments=arguments)


def test_a_plan_is_executed_in_its_order_and_at_its_times() -> None:
    plan = [at(1, "partition", 4), at(2, "failover", 4, to="replica 1"), at(5, "kill", 6)]
    ops = invocations(simulate(planned(plan), nemesis=True))
    assert [(op.f, op.time / NANOS) for op in ops] == [
        ("start-partition", 1), ("start-failover", 2), ("stop-partition", 4),
        ("stop-failover", 4 + 1e-8), ("start-kill", 5), ("stop-kill", 6)]  # fmt: skip
    assert ops[1].value == {"number": 1, "arguments": {"to": "replica 1"}}
    assert ops[3].value == {"number": 1}


def test_a_fault_that_began_late_keeps_its_length() -> None:
    plan = [at(1, "wipe", 2), at(3, "kill", 4), at(6, "pause", 7)]

    def slow_to_heal(op: Op) -> tuple[int, str]:
        return (2 * NANOS if op.f == "stop-wipe" else 10), "info"

    ops = invocations(simulate(planned(plan), nemesis=True, rule=slow_to_heal))
    assert [(op.f, round(op.time / NANOS, 3)) for op in ops] == [
        ("start-wipe", 1), ("stop-wipe", 2), ("start-kill", 4), ("stop-kill", 5),
        ("start-pause", 6), ("stop-pause", 7)]  # fmt: skip


@pytest.mark.parametrize("how", [{"value": {"skipped": "no"}}, {"error": "broke"}])
def test_a_fault_that_was_not_injected_is_not_healed(how: dict) -> None:
    generator = planned([at(1, "kill", 2), at(3, "pause", 4)])
    ops = []

    def play(time: int):
        nonlocal generator
        from harness.generators import Context

        ctx = Context(time * NANOS, 0, NEMESIS, random.Random(0), 1, 1, 0)
        step = generator.next(ctx)
        if step is None:
            return None
        answer, generator = step
        if isinstance(answer, Op):
            ops.append(answer.f)
            generator = generator.update(ctx, answer)
            done = how if answer.f == "start-kill" else {}
            generator = generator.update(ctx, answer.completed("info", **done))
        return answer

    for time in range(6):
        play(time)
    assert ops == ["start-kill", "start-pause", "stop-pause"]
    assert generator.left() == []


def test_a_fault_due_after_the_time_limit_does_not_begin() -> None:
    generator = TimeLimit(planned([at(1, "kill", 2), at(5, "pause", 6)]), 4 * NANOS)
    ops = invocations(simulate(generator, nemesis=True))
    assert [op.f for op in ops] == ["start-kill", "stop-kill"]


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_to_take_over_while_nobody_runs(seed: int) -> None:
    candidates = faults("power-all", "failover", "pause-lease", "partition")
    for i in range(20):
        shuffled = random.Random(f"{seed}/{i}").sample(candidates, len(candidates))
        chosen, left = take_kinds(shuffled, random.Random(i))
        names = {f.name for f in chosen}
        assert "power-all" not in names or not names & {"failover", "pause-lease"}
        assert {*names, *(f.name for f in left)} == {f.name for f in candidates}
        assert sum(f.traits.layer is Layer.PROCESSES for f in chosen) <= 1
        assert [f.traits.layer for f in chosen] == sorted(f.traits.layer for f in chosen)


def test_seeds_choose_different_combinations() -> None:
    every = faults("partition", "kill", "pause", "restart", "failover")
    combinations = set()
    for i in range(200):
        rng = random.Random(i)
        combinations.add(tuple(f.name for f in take_kinds(rng.sample(every, len(every)), rng)[0]))
    assert len(combinations) > 10


def test_two_faults_that_stop_processes_are_incompatible() -> None:
    kill, pause, partition = faults("kill", "pause", "partition")
    assert incompatible(kill, pause)
    assert not incompatible(kill, partition)


def test_a_fault_on_the_primary_waits_for_an_election(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no node is known to be the primary it tries again, for a while."""
    monkeypatch.setattr("harness.nemesis.nemesis.ELECTION_S", 0.3)

    async def main() -> None:
        s = system()
        nemesis = Nemesis([catalogue.fault("kill")], s)
        s.target.leads = None
        done = await nemesis.invoke(start("kill", 0, victim="primary"))
        assert "no node is known to be the primary" in str(done.value)
        asyncio.get_running_loop().call_later(0.1, setattr, s.target, "leads", "n2")
        await nemesis.invoke(start("kill", 1, victim="primary"))
        assert s.env.dead == {"n2"}

    asyncio.run(main())
