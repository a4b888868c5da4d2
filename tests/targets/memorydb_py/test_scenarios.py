"""Regression tests for failures that single seeds have found. Each injects the faults explicitly,
so it does not depend on what the seed draws today.

Found by other seeds and tested elsewhere: 1004 of `register, all` in
`test_protocol::test_azs_that_are_far_apart_keep_their_leader`; 1018 of `set, all` in
`nemesis/test_faults::test_nobody_is_to_take_over_while_nobody_runs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from harness import campaign
from harness.environments.protocol import EnvironmentOptions
from harness.environments.simulated import SimulatedEnvironment
from harness.history.events import FaultBegan
from harness.history.record import Plan, PlannedFault
from harness.nemesis import catalogue, victims
from harness.nemesis.protocol import DrawContext
from harness.nemesis.system import System
from harness.results import plan_run
from harness.simulation.world import OPERATOR
from harness.spec import Spec
from harness.targets import TargetOptions
from targets.memorydb_py.log.messages import Base
from targets.memorydb_py.log.store import Store
from targets.memorydb_py.target import MemoryDB
from tests.targets.memorydb_py.log.test_interface import lead
from tests.targets.memorydb_py.log.test_store import grown, with_a_store
from tests.targets.memorydb_py.logs import AZS, MS, Logs
from tests.targets.memorydb_py.snapshots.test_trimming import grow, kept_after

OPTIONS = {"lease-ms": "300", "backoff-ms": "500", "snapshots": "0"}


def fault(at_s: float, kind: str, until_s: float, **arguments: str) -> PlannedFault:
    return PlannedFault(at_s=at_s, fault=kind, until_s=until_s, arguments=arguments)


def played(folder: Path, nodes: int, *faults: PlannedFault) -> campaign.Judged:
    spec = Spec(
        target="memorydb", workload="set", environment="simulated", nodes=nodes, rate=150.0,
        time_limit_s=5.0, options=OPTIONS,
    )  # fmt: skip
    run = plan_run(folder, spec.directory_name)
    campaign.execute(spec, run, plan=Plan(faults=faults))
    return campaign.judge(run)


# --- a hand-over requested of a paused primary


@pytest.mark.parametrize(("nodes", "victim"), [(3, "primary"), (2, "primary"), (2, "replica 1")])
def test_a_hand_over_while_a_node_is_stopped(tmp_path: Path, nodes: int, victim: str) -> None:
    """If the primary is paused, its successor hands over instead; if no node can take over, the
    primary stops serving all the same.

    Found in the cell `wait, all`, seed 2013 (two nodes): the failover had no effect. Fixed in
    ed77409 and in fc7d266, which waits for a primary.
    """
    done = played(
        tmp_path, nodes,
        fault(1.0, "pause", 3.5, victim=victim),
        fault(1.1, "failover", 3.5, to="replica 1"),
    )  # fmt: skip
    paused, handed = done.recorded.events.of(FaultBegan)
    assert handed.error is None
    assert handed.what.skipped is None
    assert handed.what.did["old"] != paused.what.did["node"]
    assert done.results.valid is True, done.results.why


@pytest.mark.parametrize("seed", range(20))
def test_no_other_fault_is_drawn_for_a_primary_that_hands_over(tmp_path: Path, seed: int) -> None:
    """If a cycle contains a failover, its other faults are not drawn for the primary (ed77409)."""
    env = SimulatedEnvironment(EnvironmentOptions(nodes=3, run_dir=tmp_path))
    system = System(env, MemoryDB(env, TargetOptions()))
    together = [catalogue.fault(name) for name in ("kill", "failover")]
    chance = DrawContext(rng=random.Random(seed), together=together)
    assert victims.draw_node(chance, system).startswith("replica ")


# --- an audit right after an AZ was started


def test_settling_waits_for_an_az_that_was_just_started(tmp_path: Path) -> None:
    """A shard counts as settled only when every AZ is a member, so that the audit can read each.

    Found in the cell `register, all`, seed 3038: az1 was running but not listening yet and refused
    the audit's connection. Fixed in 49069d8.
    """
    env = SimulatedEnvironment(EnvironmentOptions(nodes=3, run_dir=tmp_path))
    target = MemoryDB(env, TargetOptions(options=OPTIONS, timeout_s=5.0))

    async def main() -> None:
        await env.open()
        await target.start()
        primary = target.topology().shards[0].primary
        assert primary is not None
        await env.kill("az1")
        assert await target.control.ask(primary, "SET", "k", "v") == "OK"
        env.world.disk("az1").fsync_ns = (500 * MS, 500 * MS)  # opening its store takes long
        await target.restart("az1")
        assert await env.state("az1") == "running"
        await target.settle(20)
        effects, digests = await target.audit()
        assert digests.error is None
        assert effects[-1][1] == [["SET", "k", "v"]]
        assert len({digests.copies[az] for az in AZS}) == 1
        await target.close()
        await env.close()

    env.run(main())


# --- a status request to an AZ that installs a base


def test_an_az_answers_while_it_takes_a_base() -> None:
    """Everything up to the base is committed, even if the AZ has received no commit index that
    high.

    Found in the cell `lock, all`, seed 60006: the AZ dropped the connection of a status request.
    Fixed in 769c7dc (`Replica.commit`).
    """

    async def scenario(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        last = await grow(logs, last, 5)
        away = next(az for az in AZS if az != logs.leader())
        logs.world.kill(logs.azs[away])
        for _ in range(3):
            last = await grow(logs, last, 20, trim=last.n)
        logs.world.disk(away).fsync_ns = (50 * MS, 50 * MS)
        logs.start(away)
        statuses: list[int] = []
        while not statuses:
            with contextlib.suppress(ConnectionRefusedError):  # still opening its store
                statuses.append(await kept_after(away))
            await asyncio.sleep(0.005)
        while not any(f"{away} log: begins after" in line for line in logs.lines):
            statuses.append(await kept_after(away))
            await asyncio.sleep(0.005)
        assert statuses[0] == 0
        assert len([n for n in statuses if n > 20]) > 5, "not asked during the installation"
        assert not any("Traceback" in line for line in logs.lines)

    Logs(0).run(scenario)


# --- overlapping trims


@pytest.mark.parametrize("other", ["trim", "base"])
def test_a_trim_that_another_overtakes(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """While a trim is being made durable, another trim or a base moves the log's beginning further.
    Each logs its own position.

    Found in the cell `lock, all`, seed 60008: the first trim looked up an entry that had been
    removed. Fixed in 769c7dc; since f8831e3 the trims of an AZ are serialized, and a base may still
    come between.
    """

    async def scenario(logs: Logs, store: Store) -> None:
        await grown(store, 21)
        logs.world.disk("az1").fsync_ns = (20 * MS, 20 * MS)
        first = asyncio.ensure_future(store.trim(5, 21))
        await asyncio.sleep(0.01)
        assert 1 < store.base.last <= 5
        assert not first.done()
        begins = [f"after {store.base.epoch}.{store.base.last}"]
        if other == "trim":
            second = asyncio.ensure_future(store.trim(17, 21))
        else:
            base = Base(30, 2, 1, 30, 1, dict.fromkeys(AZS, 0))
            second = asyncio.ensure_future(store.install(base))
        await asyncio.sleep(0.01)
        assert store.base.last > 12
        assert not first.done()
        begins.append(f"after {store.base.epoch}.{store.base.last}")
        await asyncio.gather(first, second)
        reports = [line for line in logs.lines if "log: begins" in line]
        assert len(reports) == 2
        assert all(any(begin in line for line in reports) for begin in begins), reports

    with_a_store(0, scenario, monkeypatch)


# --- a log that is trimmed while one AZ does not respond to the audit


def test_an_az_that_does_not_respond_delays_no_other(tmp_path: Path) -> None:
    """The log is trimmed several times a second. The audit reads each AZ independently, so every
    entry is read before it is trimmed.

    Found in the cell `queue, all`, seed 62064: entries were trimmed unread while the audit waited
    for one AZ. Fixed in c34fe5b.
    """
    env = SimulatedEnvironment(EnvironmentOptions(nodes=3, run_dir=tmp_path))
    target = MemoryDB(env, TargetOptions(options={**OPTIONS, "snapshots": "20"}, timeout_s=5.0))

    async def main() -> None:
        await env.open()
        await target.start()
        primary = target.topology().shards[0].primary
        assert primary is not None
        await env.network.shape("az1", OPERATOR, delay_s=2)  # slow to answer the audit only
        for n in range(600):
            assert await target.control.ask(primary, "SET", "k", n) == "OK"
            await asyncio.sleep(0.01)
        await env.network.heal()
        await target.settle(20)
        effects, digests = await target.audit()
        assert digests.error is None
        assert digests.trimmed > 500
        assert [entry[0][2] for _, entry in effects] == [str(n) for n in range(600)]
        await target.close()
        await env.close()

    env.run(main())
