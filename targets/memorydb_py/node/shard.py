"""A node's role in its shard: the position that it has applied, its lease, and elections.

As in section 4.1 of the MemoryDB paper (SIGMOD 2024), a node becomes the primary by a conditional
append, and renews its lease by appending. docs/memorydb.md has the rules.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from harness.host import Host
from targets.engine.protocol import Engine, Message, Restorable
from targets.engine.rdb import Malformed
from targets.engine.resp import Command
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import ZERO, Batch, Id, Refused, TransactionLog
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.tracker import Tracker
from targets.memorydb_py.replay import Inapplicable, check, checksum
from targets.memorydb_py.snapshots.objects import ObjectStore
from targets.memorydb_py.snapshots.recovery import RETRY_S, recover
from targets.memorydb_py.snapshots.snapshot import Snapshot, name_of, restore
from targets.servers.later import Lane, Steps

MS = 1_000_000
WATCH_S = 0.02
JITTER_MS = 60
HAND_OVER_S = 5.0
BATCH_BYTES_MAX = 4 << 20
WORK_MS = 5000  # what work that holds the event loop may take, without the loss of the lease
LONG_LEASE_MS = 6000  # what a renewal before such work promises
KNOWS_LONG_LEASES = 2  # the first engine version that does
LONG_FOR_MS = 300  # how long renewals stay long after it
LONG_BYTES = 8 << 20  # unacknowledged, behind which a renewal takes long
GATHER_S = 0.001  # with a batch in flight, how long later entries are gathered
UNACKNOWLEDGED_BATCHES = 4  # with so many, later entries wait and form one batch

Role = Literal["replica", "primary", "releasing"]


class Owner(Protocol):
    """What a node implements to be notified by its `Shard`."""

    def commit(self, position: int) -> None:
        """All entries up to a position are committed: send the replies that waited for them."""
        ...

    def moved(self, positions: Mapping[str, int]) -> None:
        """Replicas have applied the log up to these positions."""
        ...

    def applied(self, keys: Iterable[bytes]) -> None:
        """An entry of the log has changed these keys, on a replica."""
        ...

    def publish(self, messages: Sequence[Message]) -> None:
        """An entry of the log has published these messages, on a replica that has caught up."""
        ...

    def demoted(self) -> None:
        """The node is not, or no longer, the primary. The outcome of uncommitted writes is unknown;
        the data will be deleted."""
        ...


class Shard:
    """A node's role in its shard.

    `leader`: the primary, as far as this node knows. `applied`: the last entry whose effects the
    engine has; on a primary also entries that are not committed yet. `ready`: the replica has
    caught up. `generation`: grows with every change of role and every rebuild of the data.
    """

    def __init__(
        self,
        host: Host,
        engine: Engine,
        log: TransactionLog,
        tracker: Tracker,
        settings: Settings,
        owner: Owner,
        lane: Lane,
        objects: ObjectStore | None = None,
    ) -> None:
        """`lane`: serializes the work with the engine; the node uses the same one."""
        self.tracker = tracker
        self.role: Role = "replica"
        self.leader: str | None = None
        self.applied = ZERO
        self.ready = False
        self.generation = 0
        self.log = log
        self._engine = engine
        self._lane = lane
        self._host = host
        self._settings = settings
        self._owner = owner
        self._objects = objects
        self._restored: str | None = None  # a snapshot's name, until the log's checksum confirms it
        self._distrusted: dict[str, None] = {}
        self._loop = asyncio.get_running_loop()
        self._lease_until = 0
        self._checksum = 0
        self._observed = host.lease_ns()
        self._jitter = self._draw_jitter()
        self._backoff_waived = False
        self._catch_up = 0  # the position at which the replica becomes ready; 0: not known yet
        self._unsent: list[Sequence[Command]] = []
        self._unsent_first = 0
        self._unacknowledged = 0  # batches
        self._unacknowledged_bytes = 0
        self._flushing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._renewed = 0  # when a renewal was last asked for
        self._promised_ms = settings.lease_ms  # by the last renewal observed
        self._ends: deque[int] = deque()  # of the leases whose renewals are not acknowledged
        self._long_until = 0  # until when renewals are long
        self._when_long: list[Callable[[], None]] = []

    def _draw_jitter(self) -> int:
        return self._host.rng.randrange(JITTER_MS) * MS

    # --- queries

    def serves(self) -> bool:
        """Return whether this node is the primary and holds the lease now."""
        return self.role == "primary" and self._host.lease_ns() < self._lease_until

    def knows_leader(self) -> bool:
        """Return whether another node was observed as the primary within the backoff."""
        age = self._host.lease_ns() - self._observed
        most = self._settings.backoff_of(self._promised_ms) * MS
        return self.leader not in (None, self._host.name) and age < most

    def outlasts_work(self, then: Callable[[], None]) -> bool:
        """Return whether the lease outlasts work of WORK_MS that begins now. If not, renew it for
        that long, and call `then` when that is committed or the role has changed."""
        if self._settings.engine_version < KNOWS_LONG_LEASES:
            return True  # replicas of that version would not wait for the end of a long lease
        now = self._host.lease_ns()
        self._long_until = now + LONG_FOR_MS * MS
        if self._lease_until - now >= WORK_MS * MS:
            return True
        self._when_long.append(then)
        if len(self._when_long) == 1:
            self._renewed = now
            self._start(self._renew(now))
        return False

    def _wake(self) -> None:
        """Call those that wait for a long lease, and keep it until they have begun."""
        waiting, self._when_long = self._when_long, []
        if waiting:
            self._long_until = self._host.lease_ns() + LONG_FOR_MS * MS
        for then in waiting:
            then()

    # --- the main loop

    async def run(self) -> None:
        """Follow the log, campaign, and renew the lease, until the process ends."""
        self._start(self._rebuild())
        while True:
            await asyncio.sleep(WATCH_S)
            if self.role == "replica" and self.ready and self._may_campaign():
                await self._campaign()
            elif self.role == "primary":
                self._keep_lease()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks = [t for t in self._tasks if not t.done()] + [self._loop.create_task(work)]

    # --- as a replica

    async def _rebuild(self, after_s: float = 0.0) -> None:
        """Delete the data, restore the newest snapshot, and follow the log from there."""
        if after_s:
            await asyncio.sleep(after_s)
        self.generation += 1
        self.role, self.ready, self._catch_up = "replica", False, 0
        self.tracker.reset()
        self.applied, self._checksum = ZERO, 0
        self._observed, self._backoff_waived = self._host.lease_ns(), False
        self._unsent.clear()
        generation = self.generation
        self.log.unfollow()
        async with self._lane.alone():
            cleared = self._engine.clear()
            if cleared is not None:
                await cleared
        found = None
        if self._objects is not None:
            version = self._settings.engine_version
            found = await recover(self._host, self._objects, version, self._distrusted)
        if self.generation != generation or not await self._begin_with(found):
            return
        self.log.follow(self.applied.n, self._apply, self._on_trimmed)
        tail = await self.log.tail()
        if self.generation != generation:
            return
        if self._restored is not None and self.applied.n > tail.n:
            self._reject_snapshot(f"its position is {self.applied}, the log ends at {tail}")
            return
        self._catch_up = tail.n
        self._check_ready(tail_known=True)

    def _on_trimmed(self, upto: int) -> None:
        """Start anew: the entries that this node needs next were trimmed from the log."""
        if self._restored is not None:
            self._reject_snapshot(f"the log begins after {upto}")
            return
        self._host.log(f"log: it begins after {upto}, this node is at {self.applied}")
        if self._objects is None:
            self._host.log("log: the node needs a snapshot to start from: give --snapshots")
            raise SystemExit(1)
        self._owner.demoted()
        self._start_anew(RETRY_S)

    def _start_anew(self, after_s: float = 0.0) -> None:
        self.generation += 1
        self.log.unfollow()
        self.ready = False
        self._start(self._rebuild(after_s))

    async def _begin_with(self, found: Snapshot | None) -> bool:
        """Restore a snapshot, if there is one; return whether to continue from there."""
        self._restored = None
        if found is None:
            return True
        assert isinstance(self._engine, Restorable), "only an engine that loads snapshots gets one"
        generation = self.generation
        self._restored = name_of(found.id)
        self._promised_ms = LONG_LEASE_MS  # if the last renewal is older than the snapshot
        try:
            await restore(self._engine, found, lambda: self.generation == generation)
        except Malformed as e:
            self._reject_snapshot(str(e))
            return False
        if self.generation != generation:
            return False
        self.applied, self._checksum, self.leader = found.id, found.checksum, found.leader
        self.tracker.reset(found.id.n)
        self._host.log(f"role: replica, begins with {self._restored}")
        return True

    def _check_ready(self, *, tail_known: bool = False) -> None:
        if self.ready or not (tail_known or self._catch_up) or self.applied.n < self._catch_up:
            return
        # A snapshot is stored only after a checksum that follows it in the log has confirmed it.
        if self._restored is not None:
            self._reject_snapshot(f"no checksum in the log up to {self.applied} confirms it")
        else:
            self.ready = True
            self._host.log(f"role: replica, has applied the log up to {self.applied}")

    def _apply(self, batch: Batch) -> None:
        """Apply committed entries, after those that are being applied."""
        generation = self.generation
        self._lane.when_free(lambda: self._lane.do(self._apply_all(batch, generation)))

    def _apply_all(self, batch: Batch, generation: int) -> Steps:
        if self.generation != generation or self.role != "replica":
            return  # it was delivered before the data were cleared
        if batch.last <= self.applied.n:
            return
        for entry in self._decoded(batch):
            if isinstance(entry, entries.Control):
                if not self._observe(batch, entry):
                    return
                continue
            self._host.charge(1)
            outcome = yield self._engine.apply(entry)
            if self.generation != generation:
                return
            try:
                check(outcome)
            except Inapplicable as e:
                if self._restored is None:
                    raise SystemExit(f"log: at {batch.id} {e}") from e
                self._reject_snapshot(f"at {batch.id} {e}")
                return
            self._owner.applied(outcome.writes)
            if self.ready and outcome.messages:
                self._owner.publish(outcome.messages)
        self._checksum = checksum(batch, self._checksum)
        self.applied = batch.id
        self.tracker.committed = batch.last
        self.log.applied(batch.last)
        self._check_ready()

    @staticmethod
    def _decoded(batch: Batch) -> list[entries.Entry]:
        """Return the entries of a batch. End the process if they can't be decoded, as to go on
        without them would lose writes."""
        try:
            return entries.decode(batch.payload)
        except entries.Undecodable as e:
            raise SystemExit(f"log: at {batch.id} {e}") from e

    def _observe(self, batch: Batch, entry: entries.Control) -> bool:
        """Apply an entry about leadership; return whether this node may continue."""
        self._observed, self._backoff_waived = self._host.lease_ns(), False
        self._jitter = self._draw_jitter()
        self._promised_ms = self._settings.lease_ms
        match entry:
            case entries.Leader(node, _, version, lease_ms):
                self._promised_ms = lease_ms or self._settings.lease_ms
                if version > self._settings.engine_version:
                    self._stop_before(batch, version)
                    return False
                self.leader = node
            case entries.Renew(wanted, lease_ms):
                self._promised_ms = lease_ms or self._settings.lease_ms
                return self._check(batch, wanted)
            case entries.Release(successor):
                self.leader = None
                self._backoff_waived = successor == self._host.name
        return True

    def _stop_before(self, batch: Batch, version: int) -> None:
        """Stop applying: later entries are of a newer engine version, and must not be skipped."""
        self._host.log(
            f"role: from {batch.id} on the log is of engine version {version}, this node's is "
            f"{self._settings.engine_version}: it stops here until it is upgraded"
        )
        self.log.unfollow()
        self.ready = False
        self._catch_up = 0

    def _check(self, batch: Batch, wanted: int) -> bool:
        """Compare the running checksum with the primary's before a batch; return whether it is the
        same. If it differs, and this node started from a snapshot that no checksum has confirmed,
        the snapshot is rejected; otherwise the process ends."""
        if wanted == self._checksum:
            self._restored = None
            return True
        difference = f"{self._checksum:08x}, the primary's was {wanted:08x}"
        if self._restored is None:
            self._host.log(
                f"log: the checksum before {batch.id} is {difference}: what this node applied is "
                "not what was written"
            )
            raise SystemExit(4)
        self._reject_snapshot(f"the log's checksum is {difference}")
        return False

    def _reject_snapshot(self, why: str) -> None:
        """Start anew, without the snapshot that this node started from."""
        assert self._restored is not None
        self._host.log(f"snapshots: {self._restored} is wrong: {why}")
        self._distrusted[self._restored] = None
        self._start_anew()

    # --- election

    def _may_campaign(self) -> bool:
        if self._backoff_waived:
            return True
        waited = self._host.lease_ns() - self._observed
        return waited > self._settings.backoff_of(self._promised_ms) * MS + self._jitter

    async def _campaign(self) -> None:
        """Append a leadership entry after the last entry, if that has been applied."""
        generation, applied = self.generation, self.applied
        self._backoff_waived = False
        try:
            async with asyncio.timeout(1):
                tail = await self.log.tail()
        except TimeoutError:
            return
        if tail != self.applied or applied != tail or self.generation != generation:
            return  # there are new entries, to be applied first
        asked = self._host.lease_ns()
        nonce = self._host.rng.getrandbits(62)
        version, lease_ms = self._settings.engine_version, self._settings.lease_ms
        payload = entries.encode_control(entries.Leader(self._host.name, nonce, version, lease_ms))
        batch = Batch(tail.n + 1, tail.n + 1, tail.n + 1, payload)
        try:
            await self.log.append(tail, batch)
        except Refused:
            self._observed = self._host.lease_ns()
            return
        if self.generation != generation or self.applied.n > batch.last:
            return  # another node is the primary already
        self.log.unfollow()
        if self.applied.n < batch.last:
            self._checksum = checksum(batch, self._checksum)
            self.applied = batch.id
        self.generation += 1
        self.tracker.reset(batch.last)
        self.role, self.leader = "primary", self._host.name
        self._unacknowledged = self._unacknowledged_bytes = 0
        self._lease_until = asked + self._settings.lease_ms * MS
        self._ends.clear()
        self._long_until = 0
        self._renewed = asked
        self._owner.commit(batch.last)
        self.log.positions(self._owner.moved)
        self._host.log(f"role: primary from {batch.id}")
        self._keep_lease()

    # --- as the primary

    def _keep_lease(self) -> None:
        now = self._host.lease_ns()
        if now - self._lease_until > self._settings.backoff_ms * MS:
            self._host.log("role: the lease ended long ago and can't be renewed")
            self.demote()
        elif now - self._renewed >= self._settings.renew_ms * MS:
            self._renewed = now
            self._start(self._renew(now))

    async def _renew(self, asked: int) -> None:
        """Renew the lease. The renewal tells for how long, so that a replica waits accordingly. A
        lease may become shorter: the primary keeps to the shorter one before it sends it, as from
        then on a replica may observe it, and wait for no longer one."""
        if self.role != "primary":
            self._wake()
            return
        generation = self.generation
        self._send(everything=True)
        first = self.applied.n + 1
        # A short one would shorten the long one that is asked for, before it is acknowledged.
        long = asked < self._long_until or len(self._when_long) > 0
        long = long or self._unacknowledged_bytes > LONG_BYTES
        long = long and self._settings.engine_version >= KNOWS_LONG_LEASES
        lease_ms = max(self._settings.lease_ms, LONG_LEASE_MS if long else 0)
        payload = entries.encode_control(entries.Renew(self._checksum, lease_ms))
        batch = Batch(self.applied.epoch, first, first, payload)
        end = asked + lease_ms * MS
        self._ends.append(end)
        self._lease_until = min(self._lease_until, end)
        done = await self._append_control(batch)
        if self.generation != generation:
            return
        self._ends.popleft()
        if done:
            self._lease_until = min([end, *self._ends])
        if long or not done:
            self._wake()

    def write(self, effects: Sequence[Command], keys: Iterable[bytes]) -> int:
        """Append an entry with effects that changed some keys. Return its position, which replies
        that show these keys have to wait for."""
        if not self._unsent:
            self._unsent_first = self.applied.n + 1
        n = self.applied.n + 1
        self.applied = Id(self.applied.epoch, n)
        self._unsent.append(effects)
        self.tracker.wrote(n, keys)
        if not self._flushing:
            self._flushing = True
            self._loop.call_later(GATHER_S if self._unacknowledged else 0.0, self._flush)
        return n

    def _flush(self) -> None:
        self._flushing = False
        self._send()

    def _send(self, *, everything: bool = False) -> None:
        """Append the unsent entries as one batch; while many batches are not acknowledged, wait for
        more entries."""
        if not self._unsent or (self._unacknowledged >= UNACKNOWLEDGED_BATCHES and not everything):
            return
        unsent, self._unsent = self._unsent, []
        self._append_all(unsent, self._unsent_first)

    def _append_all(self, unsent: list[Sequence[Command]], first: int) -> None:
        """Append entries as one batch, or as several if it would be too big."""
        payload = entries.encode(unsent)
        half = len(unsent) // 2
        if len(payload) > BATCH_BYTES_MAX and half:
            self._append_all(unsent[:half], first)
            self._append_all(unsent[half:], first + half)
            return
        self._append_batch(Batch(self.applied.epoch, first, first + len(unsent) - 1, payload))

    def _append_batch(self, batch: Batch) -> asyncio.Future[None]:
        self._checksum = checksum(batch, self._checksum)
        self._unacknowledged += 1
        self._unacknowledged_bytes += len(batch.payload)
        future = self.log.append(Id(batch.epoch, batch.first - 1), batch)
        generation = self.generation
        future.add_done_callback(lambda done: self._acknowledged(done, batch, generation))
        return future

    def _acknowledged(self, done: asyncio.Future[None], batch: Batch, generation: int) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if self.generation != generation:
            return
        self._unacknowledged -= 1
        self._unacknowledged_bytes -= len(batch.payload)
        if error is None:
            self.tracker.commit(batch.last)
            self._owner.commit(batch.last)
            self._send()
            return
        if isinstance(error, Refused):
            self._host.log(f"role: entry {batch.id} was refused")
        else:
            self._host.log(f"log: appending {batch.id} failed: {type(error).__name__}: {error}")
        self.demote()

    async def _append_control(self, batch: Batch) -> bool:
        """Append an entry about leadership; return whether it was committed."""
        self.applied = batch.id
        try:
            await self._append_batch(batch)
        except Refused:
            return False
        return True

    def demote(self) -> None:
        """Stop being the primary, and rebuild the data from the log: they may contain writes that
        will never be committed."""
        if self.role != "replica":
            self.generation += 1
            self._unacknowledged = self._unacknowledged_bytes = 0
            self.log.positions(None)
            self._owner.demoted()
            self.leader = None
            self._start(self._rebuild())
            self.role, self.ready = "replica", False
            self._ends.clear()
            self._wake()

    async def hand_over(self, successor: str | None) -> bool:
        """Stop serving, then append a `Release`; return whether it is known to be committed."""
        if self.role != "primary":
            return False
        self.role = "releasing"
        self._lease_until = 0
        self._host.log(f"role: hands over to {successor or 'any node'}")
        self._send(everything=True)
        first = self.applied.n + 1
        payload = entries.encode_control(entries.Release(successor))
        batch = Batch(self.applied.epoch, first, first, payload)
        try:
            async with asyncio.timeout(HAND_OVER_S):
                done = await self._append_control(batch)
        except TimeoutError:
            self._host.log("role: the log did not answer: the lease may not have been released")
            done = False
        self.demote()
        return done
