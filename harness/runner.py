"""The life of one run: start, break, heal, read again, stop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import importlib.metadata
import inspect
import platform
import random
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import redis.exceptions as rx

from harness import spec as specs
from harness.clients import ConnectFailed, Credentials, DatabaseClient
from harness.environments.external import ExternalEnvironment, parse_nodes
from harness.environments.local import LocalEnvironment
from harness.environments.protocol import Environment
from harness.environments.simulated import SimulatedEnvironment
from harness.errors import EnvironmentFailed, HistoryError, UsageError
from harness.generators import (
    AnyOf,
    Generator,
    TimeLimit,
    on_clients,
    on_nemesis,
    rate,
    seconds,
)
from harness.history import LINE_BYTES_MAX, NEMESIS, HistoryWriter, Op
from harness.interpreter import Interpreter
from harness.judge import make_workload, node_names
from harness.nemesis.faults import Fault, System, choose
from harness.nemesis.nemesis import Nemesis
from harness.nemesis.schedule import FaultCycles
from harness.results import Run
from harness.simulation.trace import Trace
from harness.spec import Spec
from harness.targets import Audited, Target, TargetOptions, load
from harness.workloads.base import Prepared, Workload

SETTLE_TIMEOUT_S = 30.0
PREPARE_TIMEOUT_S = 10.0
FLUSH_EVERY_S = 0.05
Say = Callable[[str], None]


class Recorder:
    """Operations to the history file, and the counts for the live line."""

    def __init__(self, path: Path, tick: Callable[[], None] = lambda: None) -> None:
        """`tick` is called now and then while operations come in."""
        self._tick = tick
        self._writer = HistoryWriter(path)
        self._timer: asyncio.TimerHandle | None = None
        self._error: HistoryError | None = None
        self.counts = {"invoke": 0, "ok": 0, "fail": 0, "info": 0}
        self.faults: dict[str, None] = {}

    def __call__(self, op: Op) -> None:
        if self._error is not None:
            raise self._error
        self._writer.append(op)
        if op.process != NEMESIS:
            self.counts[op.type] += 1
        elif op.f.startswith("start-"):
            self.faults.setdefault(op.f.removeprefix("start-"))
        elif op.f.startswith("stop-") and op.type == "info":
            self.faults.pop(op.f.removeprefix("stop-"), None)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_EVERY_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._tick()
        try:
            self._writer.flush()
        except HistoryError as e:
            self._error = e

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._writer.close()


class Runner:
    """One run of a spec into a folder."""

    def __init__(
        self,
        spec: Spec,
        run: Run,
        *,
        password: str | None = None,
        say: Say = lambda text: None,
        trace: bool = False,
    ) -> None:
        """`say` gets the live line. `trace`: write everything that happens in a simulation.
        Raises `UsageError` for what can't be run."""
        spec = spec.resolved()
        if trace and spec.environment != "simulated":
            raise UsageError("--trace is of simulated runs: give --env simulated")
        self.spec = spec
        self.run = run
        self._trace = run.trace if trace else None
        self._say = say
        self.env = self._environment()
        credentials = Credentials(
            username=spec.username, password=password, tls=spec.tls, tls_ca=spec.tls_ca
        )
        self.target: Target = load("harness.targets", spec.target)(
            self.env,
            TargetOptions(
                binary=spec.binary,
                options=spec.options,
                credentials=credentials,
                timeout_s=spec.timeout_s,
            ),
        )
        self.workload: Workload = make_workload(spec, self.env.nodes, self._prefix())
        swarm = spec.swarm
        self.faults: list[Fault] = choose(
            spec.nemesis, self.env, self.target, swarm.faults if swarm else None
        )
        self._system = System(self.env, self.target, self._rng("nemesis"))
        self._system.beyond_tolerance = spec.beyond_tolerance
        if swarm is not None:
            self._system.strength_percent = swarm.strength_percent
            able = msgspec.structs.replace(swarm, faults=tuple(f.name for f in self.faults))
            self.spec = msgspec.structs.replace(spec, swarm=able)
        self.nemesis = Nemesis(self.faults, self._system)
        # Asks the machine, which a simulation may not.
        self._versions = {**versions(), "code": code_hash(type(self.target))}
        self._base = 0
        self._index = 0
        self._recorder: Recorder | None = None
        self._told = self._done = 0  # the live line: when, and how many operations then

    def _environment(self) -> Environment:
        if self.spec.environment == "external":
            assert self.spec.addresses is not None
            return ExternalEnvironment(parse_nodes(self.spec.addresses), self.run.path)
        if self.spec.environment == "simulated":
            swarm = self.spec.swarm
            drawn: dict[str, Any] = {}
            if swarm is not None:
                drawn = {
                    "client_hosts": swarm.client_hosts,
                    "delays": swarm.delays,
                    "service_ns": swarm.service_ns,
                }
            return SimulatedEnvironment(
                node_names(self.spec),
                self.run.path,
                seed=self.spec.seed,
                trace=self._trace,
                **drawn,
            )
        return LocalEnvironment(
            node_names(self.spec),
            self.run.path,
            seed=self.spec.seed,
            first_port=self.spec.first_port,
        )

    def _prefix(self) -> str:
        """Of every key: servers that somebody else runs may hold anything."""
        if self.spec.environment != "external":
            return "h:"
        return f"harness:{self.run.path.name}:"

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.spec.seed}/{purpose}")

    def now(self) -> int:
        """Nanoseconds since the clients began."""
        return self.env.now() - self._base

    async def execute(self) -> None:
        """All of it; raises `HarnessError`. Whatever happens, nothing is left running."""
        self.run.create()
        try:
            await self.env.open()
            self.write_test()
            await self.target.start()
            self.write_test()  # with what the target has found out about itself
            self.run.link_latest()
            recorder = Recorder(self.run.history, self._tell)
            self._recorder = recorder
            try:
                await self._drive(recorder)
            except BaseException:
                with contextlib.suppress(HistoryError):  # the first error is the one to tell
                    recorder.close()
                raise
            recorder.close()
        finally:
            await self.target.close()
            await self.env.close()
            shutil.rmtree(self.run.path / "data", ignore_errors=True)

    def write_test(self) -> None:
        """test.json."""
        faults = [f.name for f in self.faults]
        record = test_record(
            self.spec, self.spec.command(), faults, self.target, self.env, self._versions
        )
        self.run.write(self.run.test, record)

    async def _drive(self, recorder: Recorder) -> None:
        if isinstance(self.workload, Prepared):
            await self._prepare(self.workload)
        self._base = self.env.now()
        if isinstance(self.env, SimulatedEnvironment):
            self.env.world.note("clients begin: 0 s of the history")
        try:
            processes = await self._interpret(recorder, self._main(), self._rng("generator"), 0)
            await self._heal(recorder)
            final = self.workload.final()
            if final is not None:
                self._mark(recorder, "final", None)
                await self._interpret(
                    recorder,
                    on_clients(final, self.spec.concurrency),
                    self._rng("final"),
                    processes,
                )
            if isinstance(self.target, Audited):
                await self._audit(recorder, self.target)
            self._record_crashes(recorder)
            self._mark(recorder, "end", None)
        finally:
            await self._clean_up()
            self._say("")

    async def _prepare(self, workload: Prepared) -> None:
        primary = await self.target.primary()
        if primary is None:
            raise EnvironmentFailed("no node claims to be the primary")
        connection = self.target.open_to(primary, self.env.client_hosts[0])
        try:
            async with asyncio.timeout(PREPARE_TIMEOUT_S):
                await connection.open()
                await workload.prepare(connection)
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            raise EnvironmentFailed(f"{primary} could not be asked: {e}") from e
        finally:
            await connection.close()

    def _main(self) -> Generator:
        n = self.spec.concurrency
        parts: list[Generator] = [on_clients(rate(self.spec.rate, self.workload.generator()), n)]
        if self.faults:
            interval = self.spec.fault_interval_s
            alone = sum(f.rank == 1 for f in self.faults)
            if self.spec.nemesis == "all" and self.spec.interval_s is None and alone:
                # A cycle takes one of these at most, and every kind is to come.
                interval = min(interval, self.spec.time_limit_s / (8 * alone))
            parts.append(
                on_nemesis(
                    FaultCycles(
                        tuple(self.faults), seconds(interval), deal=self.spec.nemesis == "all"
                    ),
                    n,
                )
            )
        return TimeLimit(AnyOf(tuple(parts)), seconds(self.spec.time_limit_s))

    def _client(self, worker: int) -> DatabaseClient:
        hosts = self.env.client_hosts
        return DatabaseClient(
            self.target,
            hosts[worker % len(hosts)],
            self.workload.apply,
            reads=self.workload.reads,
            forms=self.workload.forms,
            timeout_s=self.spec.timeout_s,
        )

    async def _interpret(
        self, recorder: Recorder, generator: Generator, rng: random.Random, first_process: int
    ) -> int:
        """Run a generator to its end with fresh clients; returns the next unused process."""
        n = self.spec.concurrency
        interpreter = Interpreter(
            generator,
            n,
            self._client,
            self.nemesis,
            record=recorder,
            now=self.now,
            rng=rng,
            first_index=self._index,
            first_process=first_process,
        )
        try:
            await interpreter.run()
        finally:
            self._index = interpreter.index
        highest = max(p for p in interpreter.processes if isinstance(p, int))
        return (highest // n + 1) * n

    def _next(self) -> int:
        self._index += 1
        return self._index - 1

    def _mark(self, recorder: Recorder, f: str, value: Any, error: str | None = None) -> None:
        """An event of the run itself, in the history as the nemesis'."""
        for type in ("invoke", "info"):
            recorder(
                Op(
                    self._next(),
                    self.now(),
                    type,
                    NEMESIS,
                    f,
                    value,
                    error if type == "info" else None,
                )
            )

    async def _heal(self, recorder: Recorder) -> None:
        for f in self.nemesis.healing():
            invoke = Op(self._next(), self.now(), "invoke", NEMESIS, f)
            recorder(invoke)
            done = await self.nemesis.invoke(invoke)
            done.index, done.time = self._next(), self.now()
            recorder(done)
        if not self.faults:
            self._mark(recorder, "heal", None)
            return
        await self.env.network.heal()
        self._mark(recorder, "heal", None)
        began = self.now()
        try:
            for process in self.env.processes:
                if self.env.state(process) == "dead":
                    await self.target.restart(process)
            await self.target.settle(SETTLE_TIMEOUT_S)
        except EnvironmentFailed as e:
            self._mark(recorder, "settle", None, str(e))
        else:
            self._mark(recorder, "settle", {"ms": round((self.now() - began) / 1e6)})

    async def _audit(self, recorder: Recorder, target: Audited) -> None:
        """The log goes into the history, in lines that are short enough."""
        log, digests = await target.audit()
        part: list[Any] = []
        size = 0
        for each in log:
            length = len(msgspec.json.encode(each)) + 1
            if size + length > LINE_BYTES_MAX // 2:
                self._mark(recorder, "log", part)
                part, size = [], 0
            part.append(each)
            size += length
        self._mark(recorder, "log", part)
        self._mark(recorder, "digests", digests)

    def _record_crashes(self, recorder: Recorder) -> None:
        for exit in self.env.exits:
            if not exit.expected:
                said = self.env.log_tail(exit.process, 1)
                self._mark(
                    recorder,
                    "exit",
                    {
                        "process": exit.process,
                        "code": exit.code,
                        "what": f"ended by itself with code {exit.code}"
                        + (f": {said[:200]}" if said else ""),
                    },
                )
        for helper in self.env.helpers_ended():
            self._mark(recorder, "exit", {"process": helper, "what": "ended during the run"})
        for log in sorted((self.run.path / "logs").glob("*/*.log")):
            text = log.read_text(errors="replace")
            for alarm in self.target.alarms:
                if alarm in text:
                    self._mark(
                        recorder, "alarm", {"process": log.stem, "what": f"logged {alarm!r}"}
                    )

    async def _clean_up(self) -> None:
        """Take our keys off servers that go on living."""
        if self.spec.environment != "external":
            return
        primary = await self.target.primary()
        if primary is None:
            return
        connection = self.target.open_to(primary, self.env.client_hosts[0])
        keys = list(self.workload.keys)
        try:
            async with asyncio.timeout(5):
                await connection.open()
                for start in range(0, len(keys), 500):
                    await connection.call("UNLINK", *keys[start : start + 500])
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            self._say(f"could not remove {len(keys)} keys {self._prefix()}* from {primary}: {e}\n")
        finally:
            await connection.close()

    def _tell(self) -> None:
        """The live line, once a second."""
        now = self.now()
        if now - self._told < 10**9 or self._recorder is None:
            return
        counts = self._recorder.counts
        done = counts["ok"] + counts["fail"] + counts["info"]
        rate = (done - self._done) * 1e9 / (now - self._told)
        left = max(0.0, self.spec.time_limit_s - now / 1e9)
        faults = ", ".join(self._recorder.faults) or "no fault"
        self._say(
            f"{left:3.0f} s left  {rate:6.0f} ops/s  ok {counts['ok']}  "
            f"fail {counts['fail']}  info {counts['info']}  {faults}"
        )
        self._told, self._done = now, done


def test_record(
    spec: Spec,
    command: str,
    faults: Sequence[str],
    target: Target,
    env: Environment,
    versions: dict[str, str],
) -> dict[str, Any]:
    """What a reader, or `harness check`, needs to know of a run: the content of test.json."""
    return {
        "spec": specs.to_json(spec),
        "command": command,
        "faults": list(faults),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": target.describe(),
        "environment": env.describe(),
        "versions": versions,
    }


def code_hash(target: type) -> str:
    """Of the sources that decide what a seed gives: the harness' and the target's."""
    files = set(Path(__file__).parent.rglob("*.py"))
    source = inspect.getsourcefile(target)
    if source is not None:
        package = importlib.import_module(target.__module__.partition(".")[0])
        folders = [Path(p) for p in getattr(package, "__path__", ())]
        files |= {f for folder in folders for f in folder.rglob("*.py")} or {Path(source)}
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of what decides a run's behaviour."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("consistency-harness", "redis", "hiredis"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def hashes(run: Run, trace: Trace) -> dict[str, Any]:
    """What two runs of one seed have in common: the content of hashes.json."""
    return {"history": history_hash(run), "trace": trace.digest(), "events": trace.count}


def history_hash(run: Run) -> str:
    return hashlib.blake2b(run.history.read_bytes(), digest_size=16).hexdigest()


def execute(
    spec: Spec,
    run: Run,
    *,
    password: str | None = None,
    say: Say = lambda text: None,
    trace: bool = False,
) -> Sequence[str]:
    """Run a test in a fresh event loop; returns the names of its faults.

    Raises `HarnessError`, and `KeyboardInterrupt` after everything was stopped.
    """
    runner = Runner(spec, run, password=password, say=say, trace=trace)
    env = runner.env
    try:
        env.run(runner.execute())
    except EnvironmentFailed:
        if isinstance(env, SimulatedEnvironment) and run.history.exists():
            run.write(run.hashes, hashes(run, env.world.trace))  # it can be replayed all the same
        raise
    if isinstance(env, SimulatedEnvironment):
        run.write(run.hashes, hashes(run, env.world.trace))
    return [f.name for f in runner.faults]
