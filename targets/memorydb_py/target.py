"""The reference as a target: a shard of nodes, and the three AZs of its log on the nodes' hosts."""

from __future__ import annotations

import asyncio
import copy
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from harness.clients import RedisConnection
from harness.clients.replies import role as role_name
from harness.environments.protocol import CanStart, Environment, ProcessSpec
from harness.errors import EnvironmentFailed, UsageError
from harness.host import Address, Host
from harness.targets import Digests, Disturbance, LogEntry, TargetInfo, TargetOptions
from harness.topology import Shard, Topology
from targets.control import ControlPath
from targets.engine.python import PythonEngine
from targets.engine.rdb import Malformed
from targets.memorydb_py import audit
from targets.memorydb_py.log.inspect import AzCopies
from targets.memorydb_py.log.interface import LogCopies, Unreachable
from targets.memorydb_py.log.service import AzSettings, serve_az
from targets.memorydb_py.node.commands.information import VERSION
from targets.memorydb_py.node.context import NodeContext
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.processes import PASSWORD, SECRET, Parts
from targets.memorydb_py.snapshots.objects import Directory, MemoryStore, ObjectStore
from targets.memorydb_py.snapshots.snapshot import positions, read, restore
from targets.memorydb_py.snapshots.snapshotter import SnapshotSettings, serve_snapshotter
from targets.servers.options import described

AZS: Sequence[str] = ("az1", "az2", "az3")
START_TIMEOUT_S = 20.0
ASK_EVERY_NS = 50_000_000
ASK_TIMEOUT_S = 0.3
AUDIT_TRIES = 20
SNAPSHOTTER = "snapshotter"
SNAPSHOTS = 1000  # entries from one snapshot to the next
HAND_OVER_NS = 3 * 10**9


class MemoryDB:
    """The reference implementation of Amazon MemoryDB: one shard.

    It tolerates the loss of one AZ at a time; an AZ that lost its disk is lost until the others
    have readmitted it as a voting member. Besides the options of a node there is `snapshots`: a
    snapshot is taken, and the log trimmed, every so many entries; 0: never.

    `parts`: what a node is made of. `module`: what runs as a real process.
    """

    name = "memorydb"
    version = f"memorydb_py {VERSION}"
    promises = frozenset({"replica-prefixes", "log", "fenced"})
    depends_on: frozenset[Disturbance] = frozenset(
        {"links", "processes", "disks", "roles", "clock-rate"}
    )
    hands_over = True
    azs: Sequence[str] = AZS
    alarms: Sequence[str] = ("Traceback (most recent call last)",)
    damage: Sequence[str] = ("the checksum before",)
    clock_error_ms = 10

    settings: Mapping[str, str] = {
        **{name: text for name, text in described(Settings).items() if name != "requirepass"},
        "snapshots": f"entries of the log between two snapshots, 0: none [{SNAPSHOTS}]",
    }
    parts = Parts()
    module = "targets.memorydb_py"

    def __init__(self, env: Environment, options: TargetOptions) -> None:
        self.options = options
        if not isinstance(env, CanStart):
            raise UsageError("--target memorydb starts its own nodes; give --target redis for "
                             "servers that already run")  # fmt: skip
        self.env = env
        self.parts = copy.copy(self.parts)  # of this run alone: it has a secret
        if not env.simulated:
            self.parts.secret = secrets.token_hex(16).encode()
        if options.binary:
            raise UsageError(
                "--binary: the reference is part of the harness and runs no other binary"
            )
        if "requirepass" in options.options:
            raise UsageError("--option requirepass: give the password by HARNESS_PASSWORD")
        given = dict(options.options)
        self._every = _every(given.pop("snapshots", str(SNAPSHOTS)))
        if options.credentials.password:
            given["requirepass"] = options.credentials.password
        try:
            self._settings = Settings.parse(given)
        except ValueError as e:
            raise UsageError(f"--option {e}") from e
        self.lease_ms = self._settings.lease_ms
        self._given = given
        for i, az in enumerate(self.azs):
            env.declare(az, f"n{i + 1}")
        self._objects: ObjectStore | None = None
        if self._every:
            env.declare(SNAPSHOTTER, "n1")
        self._copies = self.copies()
        self._collector = audit.Collector(self._copies)
        self._created: dict[str, None] = {}
        self._primary: str | None = None
        self._seen = self._seen_with(None)
        self.control = ControlPath(env, options.credentials, keep=True)
        self._asked: int | None = None  # when; None before `start`
        self._asking: asyncio.Task[str | None] | None = None

    # --- processes

    def _near(self, host: str) -> list[str]:
        """Return the AZs, the one on this host first."""
        return sorted(self.azs, key=lambda az: (self.env.processes[az] != host, az))

    def spec(self, process: str) -> ProcessSpec:
        """Return how to start a node, an AZ or the snapshotter now."""
        if process == SNAPSHOTTER:
            return self._snapshotter()
        return self._az(process) if process in self.azs else self._node(process)

    def _snapshotter(self) -> ProcessSpec:
        node, objects = self.env.processes[SNAPSHOTTER], self._objects
        near = self._near(node)
        version = self._settings.engine_version
        settings = SnapshotSettings(every=self._every, version=version)

        async def main(host: Host) -> None:
            assert objects is not None
            await serve_snapshotter(host, self.parts.log(host, near), objects, settings)

        argv = self._argv("snapshotter", SNAPSHOTTER, near)
        argv += ["--every", str(self._every), "--option", f"engine-version={version}"]
        env = self._environment()
        return ProcessSpec(name=SNAPSHOTTER, node=node, argv=argv, main=main, env=env)

    def _node_addresses(self) -> dict[str, Address]:
        """Return the addresses of the nodes as clients reach them."""
        nodes = {node: self.env.control_address(node) for node in self.env.nodes}
        if self.env.simulated:
            return {node: (node, port) for node, (_, port) in nodes.items()}
        return nodes

    def _az(self, name: str) -> ProcessSpec:
        create = name not in self._created
        settings = AzSettings(azs=self.azs, create=create, secret=self.parts.secret)
        self._created.setdefault(name)

        async def main(host: Host) -> None:
            await serve_az(host, settings)

        argv = self._argv("az", name, [name, *(az for az in self.azs if az != name)])
        if create:
            argv.append("--create")
        node = self.env.processes[name]
        return ProcessSpec(name=name, node=node, argv=argv, main=main, env=self._environment())

    def _node(self, name: str) -> ProcessSpec:
        near = self._near(name)
        nodes = self._node_addresses()
        context = NodeContext(nodes=nodes, objects=self._objects)
        settings = self._settings

        async def main(host: Host) -> None:
            await self.parts.node(host, near, settings, context).run()

        argv = self._argv("node", name, near)
        for node, (host, port) in nodes.items():
            argv += ["--node", f"{node}={host}:{port}"]
        for option, value in self._given.items():
            if option != "requirepass":
                argv += ["--option", f"{option}={value}"]
        env = self._environment()
        if self.options.credentials.password:
            env[PASSWORD] = self.options.credentials.password
        return ProcessSpec(name=name, node=name, argv=argv, main=main, env=env)

    def _environment(self) -> dict[str, str]:
        """Return the variables of real processes. Secrets are not among their arguments, as every
        user of the machine sees those."""
        return {SECRET: self.parts.secret.decode()}

    def _argv(self, role: str, name: str, azs: Sequence[str]) -> list[str]:
        host, port = self.env.control_address(name)
        argv = [sys.executable, "-m", self.module, role, "--name", name]
        argv += ["--listen", f"{host}:{port}"]
        for az in azs:
            host, port = (
                self.env.control_address(az) if az == name else self.env.address(az, seen_from=name)
            )
            argv += ["--az", f"{az}={host}:{port}"]
        if self._every and role != "az":
            argv += ["--snapshots", str(self._store())]
        return argv

    # --- life

    def _store(self) -> PurePath:
        """Return the folder of the object store of real processes."""
        return PurePath(self.env.data_dir(SNAPSHOTTER)).parent / "snapshots"

    async def start(self) -> None:
        if self._every:
            self._objects = MemoryStore() if self.env.simulated else Directory(Path(self._store()))
        for process in (*self.azs, *self.env.nodes, *([SNAPSHOTTER] if self._every else [])):
            await self.env.start(self.spec(process))
        if self._every:
            self._collector.start()
        await self.settle(START_TIMEOUT_S)

    async def restart(self, process: str) -> None:
        await self.env.start(self.spec(process))
        if process in self.env.nodes:
            await self.control.wait(process, self.control.answers, "does not answer", 10.0)

    async def settle(self, timeout_s: float) -> None:
        """Wait until every process runs, one node is the primary, the others follow the log, and
        every AZ is a voting member."""
        deadline = self.env.now() + int(timeout_s * 1e9)
        for process in self.env.processes:
            while await self.env.state(process) != "running":
                if self.env.now() > deadline:
                    raise EnvironmentFailed(f"{process}: {await self.env.log_tail(process)}")
                await asyncio.sleep(0.02)
        for node in self.env.nodes:
            await self.control.wait(node, self.control.answers, "does not answer", timeout_s)
        while not await self._settled():
            for process in self.env.processes:
                if await self.env.state(process) == "dead":
                    raise EnvironmentFailed(f"{process} ended: {await self.env.log_tail(process)}")
            if self.env.now() > deadline:
                raise EnvironmentFailed(f"the shard has not settled after {timeout_s:.0f} s")
            await asyncio.sleep(0.05)

    async def _settled(self) -> bool:
        await self._ask_all()
        if self._primary is None:
            return False
        replies = await asyncio.gather(*map(self._role, self.env.nodes))
        roles = [role for role in replies if role is not None]
        leaders = [role for role in roles if role_name(role) == "primary"]
        linked = [role for role in roles if role_name(role) != "primary" and role[3] == "connected"]
        if len(leaders) != 1 or len(leaders) + len(linked) != len(self.env.nodes):
            return False
        return all(await asyncio.gather(*(self.readmitted(az) for az in self.azs)))

    # --- the topology: nodes are asked by the control path

    async def _role(self, node: str) -> list[Any] | None:
        return await self.control.role(node, ASK_TIMEOUT_S)

    async def _ask_all(self) -> str | None:
        """Ask all nodes for their roles. Of those that claim to be the primary, it is the one that
        has applied most. If none does, there is none, unless the last one is alive but does not
        answer: it may still be."""
        self._asked = self.env.now()
        up = [n for n in self.env.nodes if await self.env.state(n) != "dead"]
        roles = await asyncio.gather(*map(self._role, up))
        answers = {n: role for n, role in zip(up, roles, strict=True) if role is not None}
        claims = [(r[1], n) for n, r in answers.items() if role_name(r) == "primary"]
        if claims:
            self._primary = max(claims)[1]
            return self._primary
        if self._primary in answers or self._primary not in up:
            self._primary = None
        return None

    def topology(self) -> Topology:
        asking = self._asking is not None and not self._asking.done()
        now = self.env.now()
        if self._asked is not None and now - self._asked >= ASK_EVERY_NS and not asking:
            self._asked = now
            self._asking = asyncio.get_running_loop().create_task(self._ask_all())
        return self._view()

    def _view(self) -> Topology:
        if self._seen.shards[0].primary != self._primary:
            self._seen = self._seen_with(self._primary)
        return self._seen

    def _seen_with(self, primary: str | None) -> Topology:
        return Topology((Shard(nodes=self.env.nodes, primary=primary),))

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        return RedisConnection(
            self.env.address(node, seen_from=client_host),
            self.options.credentials,
            self.options.timeout_s,
            readonly=readonly,
            fenced=not readonly,
        )

    # --- faults

    def tolerates(self, out: set[str], cut: set[tuple[str, str]]) -> bool:
        """Return whether all AZs but one run and reach another AZ."""
        up = [az for az in self.azs if az not in out]
        paired = [
            az
            for az in up
            if any(o != az and not {(az, o), (o, az)} & cut for o in up)
        ]  # fmt: skip
        return len(paired) >= len(self.azs) - 1

    def links(self, topology: Topology) -> set[tuple[str, str]]:
        """Return those between processes and the log, and between clients and primaries: nodes do
        not talk to each other."""
        used = {(p, az) for p in (*self.env.nodes, *self.azs) for az in self.azs if p != az}
        used |= {(c, primary) for c in self.env.client_hosts for primary in topology.primaries}
        return used | {(b, a) for a, b in used}

    async def readmitted(self, process: str) -> bool:
        try:
            return await self._copies.is_voter(process)
        except Unreachable:
            return False

    # --- the log, read from outside

    def copies(self) -> LogCopies:
        """Return the copies of the log, for the audit."""
        return AzCopies(self.azs, self.env.control_address, self.parts.secret)

    async def audit(self) -> tuple[list[LogEntry], Digests]:
        """Read the log, when clients write no more; keys may still expire for a moment."""
        copies = self._collector.copies
        await self._collector.stop()
        try:
            names = self._copies.names
            for _ in range(AUDIT_TRIES):
                snapshots = await self._snapshots()
                trimmed = await self._collector.read_all()
                nodes = {
                    n: str(await self.control.ask(n, "DEBUG", "DIGEST")) for n in self.env.nodes
                }
                effects, replay, made = audit.replay(copies.log, [n for n, _ in snapshots.values()])
                held = {**nodes, "replay": replay}
                if len(set(held.values())) == 1 and all(map(copies.entries, names)):
                    break  # else an AZ may not know yet what is committed
                await asyncio.sleep(0.1)
        except (OSError, ValueError, EnvironmentFailed, Unreachable, *audit.ERRORS) as e:
            return [], Digests(error=f"{type(e).__name__}: {e}"[:200])
        return effects, Digests(
            nodes=nodes,
            replay=replay,
            copies={name: copies.entries(name) for name in names},
            compared=copies.compared(),
            differing=copies.differing[:20],
            entries=copies.last,
            trimmed=trimmed,
            snapshots={name: (held, made.get(n)) for name, (n, held) in snapshots.items()},
        )

    async def _snapshots(self) -> dict[str, tuple[int, str]]:
        """Return (n, digest) of the stored snapshots, by name."""
        found: dict[str, tuple[int, str]] = {}
        if self._objects is None:
            return found
        for n, name in positions(await self._objects.names()):
            try:
                snapshot = read(await self._objects.get(name))
                engine = PythonEngine(sharded=True)
                await restore(engine, snapshot)
                found[name] = snapshot.id.n, engine.digest().decode()
            except FileNotFoundError:
                continue  # deleted meanwhile
            except Malformed as e:
                found[name] = n, f"unreadable: {e}"
        return found

    async def promote(self, node: str) -> dict[str, Any]:
        """Make the primary hand over to a node: it stops serving, then appends that to the log. If
        it can't, or if the other node can't campaign, some node does after the backoff."""
        deadline = self.env.now() + HAND_OVER_NS
        while (old := await self._ask_all()) is None:
            if self.env.now() > deadline:
                raise EnvironmentFailed("no node is the primary")
            await asyncio.sleep(0.01)
        if node == old:  # it has become the primary meanwhile
            node = next(n for n in self.env.nodes if n != old)
        host, port = self._node_addresses()[node]
        await self.control.ask(old, "FAILOVER", "TO", host, port)
        stopped = False
        while self.env.now() < deadline:
            role, of_old = await asyncio.gather(self._role(node), self._role(old))
            if role is not None and role_name(role) == "primary":
                self._primary = node
                return {"old": old, "new": node, "new_offset": role[1], "old_offset": None}
            stopped = stopped or (of_old is not None and role_name(of_old) != "primary")
            await asyncio.sleep(0.01)
        if not stopped:
            raise EnvironmentFailed(f"{old} did not hand over to {node}")
        return {"old": old, "new": None, "new_offset": None, "old_offset": None}

    async def repoint(self, nodes: Sequence[str]) -> list[str]:
        """Do nothing: nodes learn from the log which one is the primary."""
        return []

    async def close(self) -> None:
        await self._collector.stop()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self.control.close()

    def describe(self) -> TargetInfo:
        return TargetInfo(
            target=self.name,
            version=self.version,
            options=dict(self.options.options),
            clock_error_ms=self.clock_error_ms,
        )


def _every(text: str) -> int:
    if not text.isdecimal() or int(text) > 2**40:
        raise UsageError(f"--option snapshots={text}: give a whole number of entries, 0 for none")
    return int(text)
