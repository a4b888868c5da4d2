"""The phases of a run: start, operations and faults, healing, final reads, stop."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import redis.exceptions as rx

from harness.clients import ConnectFailed, DatabaseClient, RedisConnection
from harness.copies import compare
from harness.environments.protocol import CanPartition, CanReplay, CanStart
from harness.errors import EnvironmentFailed, HistoryError, Unreachable
from harness.generators import Generator, TimeLimit, rate, seconds
from harness.history.events import (
    Alarm,
    Doubt,
    Ended,
    FaultBegan,
    FinalBegan,
    Healed,
    Primaries,
    ProcessEnded,
    Settled,
    What,
)
from harness.history.events import invoked as invocation_of
from harness.history.operations import NEMESIS, Op
from harness.history.record import PlannedFault, RunRecord
from harness.interpreter import Interpreter
from harness.nemesis import catalogue
from harness.nemesis.nemesis import Nemesis
from harness.nemesis.schedule import Planned, planned
from harness.parts import Parts, key_prefix
from harness.progress import Notify, Progress
from harness.recorder import Recorder
from harness.results import Run
from harness.shielded import shielded
from harness.streams import stream
from harness.targets import Audited, Doubting, Volatile
from harness.topology import Shard, slot_of
from harness.versions import versions
from harness.workloads.base import Prepared, ScriptContext, Scripted

SETTLE_TIMEOUT_S = 30.0
PREPARE_TIMEOUT_S = 10.0
CLEAN_UP_TIMEOUT_S = 5.0
FINAL_S = 60.0  # for final reads, or as long as the run if that is longer
UNLINKED_AT_ONCE = 500  # keys whose removal is sent in one write
CHANGES_A_LINE = 20  # of primaries
UNSEEN = "?"  # stands for the primary of a shard that was not looked at yet


class Runner:
    """A run: its parts, and the folder that its results are written to."""

    def __init__(self, parts: Parts, run: Run, *, say: Notify = lambda text: None) -> None:
        """`say`: prints the line of progress."""
        self.parts = parts
        self.run = run
        self._say = say
        self._env, self._target, self._workload = parts.env, parts.target, parts.workload
        self._faults = [catalogue.fault(kind) for kind in parts.plan.kinds]
        self._nemesis = Nemesis(self._faults, parts.system)
        self._progress = Progress(say, parts.spec.time_limit_s)
        # Determined before the run begins: a simulation must not access the machine.
        self._versions = versions(type(parts.target))
        self._base = 0
        self._keys: dict[str, None] = {}  # those used so far, in order of first use
        self._recorder: Recorder | None = None
        self._primaries: dict[str, str | None] = {}  # by shard, as clients are routed now
        self._changes: list[tuple[int, str, str | None]] = []  # of them, with their times

    @property
    def recorder(self) -> Recorder:
        assert self._recorder is not None, "the run has started"
        return self._recorder

    def now(self) -> int:
        """Return nanoseconds since the clients began."""
        return self._env.now() - self._base

    def record(self) -> RunRecord:
        """Return the content of test.json."""
        spec, plan = self.parts.spec, self.parts.plan
        return RunRecord(
            spec=spec,
            command=spec.command(),
            faults=plan.kinds,
            plan=list(plan.faults),
            no_room=list(plan.no_room),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            target=self._target.describe(),
            environment=self._env.describe(),
            versions=self._versions,
            volatile=self._volatile,
            compares=self._compares,
        )

    @property
    def _compares(self) -> bool:
        replicated = any(len(shard.nodes) > 1 for shard in self._target.topology().shards)
        return replicated and not isinstance(self._workload, Scripted)

    @property
    def _volatile(self) -> str | None:
        """Why the target loses what it holds when its processes end, if faults of the plan end
        them."""
        target = self._target
        if not isinstance(target, Volatile) or not any(
            f.traits.ends_processes for f in self._faults
        ):
            return None
        return target.volatile

    async def execute(self) -> None:
        """Execute the run; raises `HarnessError`. In any case, stop everything that was started."""
        self.run.create()
        if self._volatile is not None:
            self._say(f"{self._volatile}\n")
        try:
            await self._env.open()
            self.run.write_record(self.record())
            try:
                await self._target.start()
            except EnvironmentFailed as e:
                raise Unreachable(str(e)) from e
            self.run.write_record(self.record())  # with the version that the target reports
            self.run.link_latest()
            self._recorder = Recorder(self.run.history, self._tick)
            try:
                await self._drive()
            except BaseException:
                with contextlib.suppress(HistoryError):  # report the first error
                    self._recorder.close()
                raise
            self._recorder.close()
        finally:
            try:
                await self._target.close()
            finally:
                await self._env.close()
                shutil.rmtree(self.run.path / "data", ignore_errors=True)

    async def _drive(self) -> None:
        workload = self._workload
        if isinstance(workload, Prepared):
            await self._prepare(workload)
        self._base = self._env.now()
        if isinstance(self._env, CanReplay):
            self._env.note("clients begin: 0 s of the history")
        try:
            if isinstance(workload, Scripted):
                await workload.play(ScriptContext(self._env, self._target, self.recorder, self.now))
            else:
                await self._clients_and_faults()
            await self._look_for_crashes()
            self._note(Ended())
        finally:
            if not isinstance(self._env, CanStart):
                await shielded(self._clean_up())
            self._say("")

    async def _clients_and_faults(self) -> None:
        spec, workload = self.parts.spec, self._workload
        limit = seconds(spec.time_limit_s)
        faults = planned(self.parts.plan.faults)
        clients = TimeLimit(rate(spec.rate, workload.generator()), limit)
        processes, faults_left = await self._interpret(clients, "", 0, TimeLimit(faults, limit))
        await self._heal(faults_left)
        final = workload.final()
        if final is not None:
            self._note(FinalBegan())
            most = seconds(max(FINAL_S, spec.time_limit_s))
            await self._interpret(TimeLimit(final, most), "final/", processes)
        await self._compare_copies()
        self._note_primaries()
        if isinstance(self._target, Doubting):
            for what in await self._target.doubts():
                self._note(Doubt(what=what))
        if isinstance(self._target, Audited):
            self.recorder.note_log(*await self._target.audit(), self.now())

    def _note(self, what: What, error: str | None = None) -> None:
        self.recorder.note(what, self.now(), error)

    def _tick(self) -> None:
        self._progress.tick(self.recorder, self.now())
        self._see_primaries()

    def _see_primaries(self) -> None:
        for shard in self._target.topology().shards:
            if self._primaries.get(shard.name, UNSEEN) != shard.primary:
                self._primaries[shard.name] = shard.primary
                self._changes.append((self.now(), shard.name, shard.primary))

    def _note_primaries(self) -> None:
        for start in range(0, len(self._changes), CHANGES_A_LINE):
            self._note(Primaries(changes=self._changes[start : start + CHANGES_A_LINE]))

    # --- clients

    async def _ask_primary(
        self, shard: Shard, timeout_s: float, ask: Callable[[RedisConnection], Awaitable[None]]
    ) -> None:
        """Query the primary of a shard. Raises `EnvironmentFailed`."""
        primary = shard.primary
        if primary is None:
            raise EnvironmentFailed("no node claims to be the primary")
        connection = self._target.open_to(primary, self._env.client_hosts[0])
        try:
            async with asyncio.timeout(timeout_s):
                await connection.open()
                await ask(connection)
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            raise EnvironmentFailed(f"{primary} could not be queried: {e}") from e
        finally:
            await connection.close()

    async def _prepare(self, workload: Prepared) -> None:
        shard = self._target.topology().shards[0]  # the nodes of all shards are of one version
        await self._ask_primary(shard, PREPARE_TIMEOUT_S, workload.prepare)

    def _keys_of(self, op: Op) -> Sequence[str]:
        keys = self._workload.keys_of(op)
        for key in keys:
            self._keys.setdefault(key)
        return keys

    def _client(self, worker: int) -> DatabaseClient:
        hosts = self._env.client_hosts
        return DatabaseClient(
            self._target,
            hosts[worker % len(hosts)],
            self._workload.apply,
            keys_of=self._keys_of,
            reads=self._workload.reads,
            forms=self._workload.forms,
            timeout_s=self.parts.spec.timeout_s,
        )

    async def _interpret(
        self,
        generator: Generator,
        streams: str,
        first_process: int,
        faults: Generator | None = None,
    ) -> tuple[int, Generator]:
        """Run generators to their ends with new clients; return the next unused process, and the
        generator of the remaining faults. `streams`: prefix of the names of random streams."""
        n, seed = self.parts.spec.concurrency, self.parts.spec.seed
        interpreter = Interpreter(
            generator,
            n,
            self._client,
            self._nemesis,
            faults=faults,
            record=self.recorder,
            now=self.now,
            stream=lambda name: stream(seed, streams + name),
            first_index=self.recorder.index,
            first_process=first_process,
        )
        await interpreter.run()
        highest = max(p for p in interpreter.processes if isinstance(p, int))
        return (highest // n + 1) * n, interpreter.faults_left

    # --- after the faults

    async def _heal(self, faults: Generator) -> None:
        for ended in self._nemesis.healing():
            f, value = invocation_of(ended)
            invoke = Op(self.recorder.index, self.now(), "invoke", NEMESIS, f, value)
            self.recorder(invoke)
            done = await self._nemesis.invoke(invoke)
            done.index, done.time = self.recorder.index, self.now()
            self.recorder(done)
        for number, fault in _never_begun(faults):
            self._note(
                FaultBegan(
                    fault=fault.fault,
                    number=number,
                    arguments=fault.arguments,
                    skipped="the time limit was reached before it began",
                )
            )
        if not self._faults:
            self._note(Healed())
            return
        if isinstance(self._env, CanPartition):
            await self._env.network.heal()
        self._note(Healed())
        began_at = self.now()
        try:
            for process in self._env.processes:
                if await self._env.state(process) == "dead":
                    await self._target.restart(process)
            await self._target.settle(SETTLE_TIMEOUT_S)
        except EnvironmentFailed as e:
            self._note(Settled(), str(e))
        else:
            self._note(Settled(ms=round((self.now() - began_at) / 1e6)))

    async def _compare_copies(self) -> None:
        """Compare what the nodes of each shard with replicas hold of this run's keys."""
        host = self._env.client_hosts[0]
        for each in self._target.topology().shards:
            if len(each.nodes) < 2:
                continue
            shard = await self._with_primary(each)
            keys = [key for key in self._keys if each.serves(slot_of(key))]
            self._note(
                await compare(
                    shard,
                    keys,
                    lambda node: self._target.open_to(node, host, readonly=True),
                    lambda: self._env.now() / 1e9,
                )
            )

    async def _look_for_crashes(self) -> None:
        for exit in self._env.exits:
            if not exit.expected:
                output = (await self._env.log_tail(exit.process, 1))[:200]
                what = f"ended by itself with code {exit.code}" + (f": {output}" if output else "")
                self._note(ProcessEnded(process=exit.process, code=exit.code, what=what))
        for helper in await self._env.helpers_ended():
            self._note(ProcessEnded(process=helper, what="ended during the run"))
        for process, text in sorted((await self._env.logs()).items()):
            if text is None:
                self._note(Doubt(what=f"the log of {process} vanished or was cut short"))
                continue
            for alarm in (*self._target.alarms, *self._target.damage):
                if alarm in text:
                    damage = alarm in self._target.damage
                    self._note(Alarm(process=process, what=f"logged {alarm!r}", damage=damage))

    async def _clean_up(self) -> None:
        """Delete the keys of this run from servers that the harness did not start."""
        for each in self._target.topology().shards:
            keys = [key for key in self._keys if each.serves(slot_of(key))]
            if not keys:
                continue
            shard = await self._with_primary(each)
            try:
                await self._ask_primary(shard, CLEAN_UP_TIMEOUT_S, lambda c: _unlink(c, keys))  # noqa: B023
            except EnvironmentFailed as e:
                prefix = key_prefix(self._env, self.run.path)
                self._say(f"could not remove {len(keys)} keys {prefix}*: {e}\n")

    async def _with_primary(self, shard: Shard) -> Shard:
        """Wait for a shard to have a primary; return it as it is then, or after a time-out."""
        deadline = self._env.now() + int(CLEAN_UP_TIMEOUT_S * 1e9)
        while True:
            now = self._target.topology().shard_named(shard.name) or shard
            if now.primary is not None or self._env.now() > deadline:
                return now
            await asyncio.sleep(0.1)


async def _unlink(connection: RedisConnection, keys: Sequence[str]) -> None:
    """Remove keys, each by a command of its own: they may be in any slots."""
    for start in range(0, len(keys), UNLINKED_AT_ONCE):
        batch = keys[start : start + UNLINKED_AT_ONCE]
        for reply in await connection.calls(*(("UNLINK", key) for key in batch)):
            if isinstance(reply, Exception):
                raise reply


def _never_begun(faults: Generator) -> list[tuple[int, PlannedFault]]:
    if isinstance(faults, TimeLimit):
        faults = faults.inner
    return faults.left() if isinstance(faults, Planned) else []
