"""A node's place in the log: what it has applied, whether it leads, and until when.

The paper, 4.1: leadership is a conditional append, a lease is renewed by appending. See also D1,
D2, D12 and behaviours 20 to 34 of the project's memorydb.md.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from harness.host import Host
from targets.engine import Call, Message, State
from targets.engine.resp import Command, Error
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import ZERO, Batch, Id, Refused, TransactionLog
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.tracker import Tracker
from targets.memorydb_py.snapshots.objects import Objects
from targets.memorydb_py.snapshots.recovery import RETRY_S, recover
from targets.memorydb_py.snapshots.snapshot import Snapshot, name_of

MS = 1_000_000
NEVER_MS = -(2**63)  # the log's effects hold absolute times: nothing expires while it is applied
WATCH_S = 0.02
JITTER_MS = 60
HAND_OVER_S = 5.0
BATCH_BYTES_MAX = 4 << 20
GATHER_S = 0.001  # while a batch is on its way, what is written soon after goes with the next
UNACKNOWLEDGED_BATCHES = 4  # more wait and go together

Role = Literal["replica", "primary", "releasing"]


class Inapplicable(Exception):
    """An entry of the log that does not fit the state."""


class Owner(Protocol):
    """What a shard tells the server that it is part of."""

    def commit(self, n: int) -> None:
        """Everything up to n is committed: replies that waited for it may go."""
        ...

    def moved(self, positions: Mapping[str, int]) -> None:
        """How far replicas have applied."""
        ...

    def applied(self, keys: Iterable[bytes]) -> None:
        """An entry of the log has changed these, on a replica."""
        ...

    def publish(self, messages: Sequence[Message]) -> None:
        """An entry of the log holds these, on a replica that has caught up."""
        ...

    def demoted(self) -> None:
        """Whatever was not committed is unknown; the state is gone."""
        ...


class Shard:
    """See the module's text. `state` is what commands are executed on."""

    def __init__(
        self,
        host: Host,
        log: TransactionLog,
        settings: Settings,
        owner: Owner,
        objects: Objects | None = None,
    ) -> None:
        self.state = State(sharded=True)
        self.tracker = Tracker()
        self.role: Role = "replica"
        self.leader: str | None = None  # as far as this node knows
        self.applied = ZERO  # on a primary: what it has executed
        self.ready = False  # a replica that has caught up
        self.log = log
        self._host = host
        self._settings = settings
        self._owner = owner
        self._objects = objects
        self._restored: str | None = None  # the snapshot, until a checksum of the log confirms it
        self._distrusted: dict[str, None] = {}
        self._loop = asyncio.get_running_loop()
        self._lease_until = 0
        self._checksum = 0
        self._observed = host.lease_ns()
        self._jitter = self._draw_jitter()
        self._backoff_waived = False
        self._catch_up = 0  # n
        self._unsent: list[Sequence[Command]] = []
        self._unsent_first = 0
        self._unacknowledged = 0  # batches
        self._flushing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._reign = 0  # grows with every change of role
        self._renewed = 0  # when a renewal was last asked for

    def _draw_jitter(self) -> int:
        return self._host.rng.randrange(JITTER_MS) * MS

    # --- questions

    def serves(self) -> bool:
        """Whether it holds the lease now."""
        return self.role == "primary" and self._host.lease_ns() < self._lease_until

    def knows_leader(self) -> bool:
        """Whether somebody else led a moment ago."""
        age = self._host.lease_ns() - self._observed
        return self.leader not in (None, self._host.name) and age < self._settings.backoff_ms * MS

    # --- life

    async def run(self) -> None:
        """For ever."""
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
        """Forget everything, restore the newest snapshot, and follow the log from there."""
        if after_s:
            await asyncio.sleep(after_s)
        self._reign += 1
        self.role, self.ready, self._catch_up = "replica", False, 0
        scripts = self.state.scripts
        self.state, self.tracker = State(scripts=scripts, sharded=True), Tracker()
        self.applied, self._checksum = ZERO, 0
        self._observed, self._backoff_waived = self._host.lease_ns(), False
        self._unsent.clear()
        reign = self._reign
        self.log.unfollow()
        found = None
        if self._objects is not None:
            version = self._settings.engine_version
            found = await recover(self._host, self._objects, version, self._distrusted)
            if self._reign != reign:
                return
        self._begin_with(found)
        self.log.follow(self.applied.n, self._apply, self._lacking)
        tail = await self.log.tail()
        if self._reign != reign:
            return
        if self._restored is not None and self.applied.n > tail.n:
            self._distrust(f"it is of {self.applied}, the log is at {tail}")
            return
        self._catch_up = tail.n
        self._check_ready(known=True)

    def _lacking(self, upto: int) -> None:
        """What comes next is not in the log any more."""
        if self._restored is not None:
            self._distrust(f"the log begins after {upto}")
            return
        self._host.log(f"log: it begins after {upto}, this node is at {self.applied}")
        if self._objects is None:
            self._host.log("log: a snapshot is needed to begin with: give --snapshots")
            raise SystemExit(1)
        self._owner.demoted()
        self._start_anew(RETRY_S)

    def _start_anew(self, after_s: float = 0.0) -> None:
        self._reign += 1
        self.log.unfollow()
        self.ready = False
        self._start(self._rebuild(after_s))

    def _begin_with(self, found: Snapshot | None) -> None:
        self._restored = None
        if found is None:
            return
        found.state.scripts = self.state.scripts
        self.state = found.state
        self.applied, self._checksum, self.leader = found.id, found.checksum, found.leader
        self.tracker.committed = found.id.n
        self._restored = name_of(found.id)
        self._host.log(f"role: replica, begins with {self._restored}")

    def _check_ready(self, *, known: bool = False) -> None:
        if self.ready or not (known or self._catch_up) or self.applied.n < self._catch_up:
            return
        if self._restored is not None:  # it was not offered before the log had confirmed it
            self._distrust(f"nothing in the log confirms it, which is at {self.applied}")
        else:
            self.ready = True
            self._host.log(f"role: replica, has applied the log up to {self.applied}")

    def _apply(self, batch: Batch) -> None:
        """Committed entries."""
        if self.role != "replica" or batch.last <= self.applied.n:
            return
        call = Call(self.state, NEVER_MS, self._host.rng)
        for entry in entries.decode(batch.payload):
            if entries.is_effects(entry):
                self._host.charge(1)
                try:
                    changed = self.apply_effects(call, entry)
                except Inapplicable as e:
                    if self._restored is None:
                        raise SystemExit(f"log: at {batch.id} {e}") from e
                    self._distrust(f"at {batch.id} {e}")
                    return
                self._owner.applied(changed)
                if self.ready and call.messages:
                    self._owner.publish(call.messages)
                call.messages = []
            elif not self._observe(batch, entry):
                return
        self._checksum = checksum(batch, self._checksum)
        self.applied = batch.id
        self.tracker.committed = batch.last
        self.log.applied(batch.last)
        self._check_ready()

    @staticmethod
    def apply_effects(call: Call, effects: Iterable[Sequence[bytes]]) -> Iterable[bytes]:
        """All of one entry; returns the keys that it changed. Raises `Inapplicable`."""
        for effect in effects:
            reply = call.run(tuple(effect))
            if isinstance(reply, Error):
                raise Inapplicable(f"{effect!r} can't be applied: {reply}")
        written = tuple(call.writes)
        call.effects.clear()
        call.reads.clear()
        call.writes.clear()
        return written

    def _observe(self, batch: Batch, entry: entries.Entry) -> bool:
        """What the log says about who leads; whether this copy may go on."""
        kind = entry[0]
        self._observed, self._backoff_waived = self._host.lease_ns(), False
        self._jitter = self._draw_jitter()
        if kind == entries.LEADER:
            if entries.version_of(entry) > self._settings.engine_version:
                self._stop_before(batch, entries.version_of(entry))
                return False
            self.leader = entry[1]
        elif kind == entries.RENEW:
            return self._check(batch, entry[1])
        elif kind == entries.RELEASE:
            self.leader = None
            self._backoff_waived = entry[1] == self._host.name
        return True

    def _stop_before(self, batch: Batch, version: int) -> None:
        """What comes can't be understood, and must not be skipped."""
        self._host.log(
            f"role: from {batch.id} on the log is of engine version {version}, this node's is "
            f"{self._settings.engine_version}: it stops here, and serves when it has been upgraded"
        )
        self.log.unfollow()
        self.ready = False
        self._catch_up = 0

    def _check(self, batch: Batch, wanted: int) -> bool:
        """The log's checksum, as its primary had it before a batch. Where it is another after a
        snapshot, the snapshot is to blame, and an older one is tried."""
        if wanted == self._checksum:
            self._restored = None
            return True
        said = f"{self._checksum:08x}, the primary's was {wanted:08x}"
        if self._restored is None:
            self._host.log(
                f"log: the checksum before {batch.id} is {said}: what this node applied is not "
                "what was written"
            )
            raise SystemExit(4)
        self._distrust(f"the log's checksum is {said}")
        return False

    def _distrust(self, why: str) -> None:
        """The snapshot that this copy began with; it begins anew, with another."""
        assert self._restored is not None
        self._host.log(f"snapshots: {self._restored} is wrong: {why}")
        self._distrusted[self._restored] = None
        self._start_anew()

    # --- election

    def _may_campaign(self) -> bool:
        if self._backoff_waived:
            return True
        waited = self._host.lease_ns() - self._observed
        return waited > self._settings.backoff_ms * MS + self._jitter

    async def _campaign(self) -> None:
        """Append a leadership entry after the last one, if that has been applied."""
        reign, applied = self._reign, self.applied
        self._backoff_waived = False
        try:
            async with asyncio.timeout(1):
                tail = await self.log.tail()
        except TimeoutError:
            return
        if tail != self.applied or applied != tail or self._reign != reign:
            return  # something is new: it will be applied first
        asked = self._host.lease_ns()
        nonce = self._host.rng.getrandbits(62)
        version = self._settings.engine_version
        payload = entries.encode([entries.leader(self._host.name, nonce, version)])
        batch = Batch(tail.n + 1, tail.n + 1, tail.n + 1, payload)
        try:
            await self.log.append(tail, batch)
        except Refused:
            self._observed = self._host.lease_ns()
            return
        if self._reign != reign or self.applied.n > batch.last:
            return  # somebody else leads already
        self.log.unfollow()
        if self.applied.n < batch.last:
            self._checksum = checksum(batch, self._checksum)
            self.applied = batch.id
        self._reign += 1
        self.tracker = Tracker()
        self.tracker.committed = batch.last
        self.role, self.leader = "primary", self._host.name
        self._unacknowledged = 0
        self._lease_until = asked + self._settings.lease_ms * MS
        self._renewed = asked
        self._owner.commit(batch.last)
        self.log.positions(self._owner.moved)
        self._host.log(f"role: primary from {batch.id}")
        self._keep_lease()

    # --- as the primary

    def _keep_lease(self) -> None:
        now = self._host.lease_ns()
        if now - self._lease_until > self._settings.backoff_ms * MS:
            self._host.log("role: the lease ended long ago and can't be had again")
            self.demote()
        elif now - self._renewed >= self._settings.renew_ms * MS:
            self._renewed = now
            self._start(self._renew(now))

    async def _renew(self, asked: int) -> None:
        if self.role != "primary":
            return
        reign = self._reign
        self._send(everything=True)
        first = self.applied.n + 1
        batch = Batch(
            self.applied.epoch, first, first, entries.encode([entries.renew(self._checksum)])
        )
        if await self._append(batch) and self._reign == reign:
            self._lease_until = max(self._lease_until, asked + self._settings.lease_ms * MS)

    def write(self, effects: Sequence[Command], keys: Iterable[bytes]) -> int:
        """Append an entry; returns its n: what shows the keys has to wait for it."""
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
        """What was written since goes as one batch; with many on their way it waits for more."""
        if not self._unsent or (self._unacknowledged >= UNACKNOWLEDGED_BATCHES and not everything):
            return
        unsent, self._unsent = self._unsent, []
        self._append_all(unsent, self._unsent_first)

    def _append_all(self, unsent: list[Sequence[Command]], first: int) -> None:
        """As one batch, or as several where that would be too big."""
        payload = entries.encode(unsent)
        half = len(unsent) // 2
        if len(payload) > BATCH_BYTES_MAX and half:
            self._append_all(unsent[:half], first)
            self._append_all(unsent[half:], first + half)
            return
        self._appended(Batch(self.applied.epoch, first, first + len(unsent) - 1, payload))

    def _appended(self, batch: Batch) -> asyncio.Future[None]:
        self._checksum = checksum(batch, self._checksum)
        self._unacknowledged += 1
        future = self.log.append(Id(batch.epoch, batch.first - 1), batch)
        reign = self._reign
        future.add_done_callback(lambda done: self._acknowledged(done, batch, reign))
        return future

    def _acknowledged(self, done: asyncio.Future[None], batch: Batch, reign: int) -> None:
        refused = done.cancelled() or done.exception() is not None
        if self._reign != reign:
            return
        self._unacknowledged -= 1
        if refused:
            self._host.log(f"role: entry {batch.id} was refused")
            self.demote()
            return
        self.tracker.commit(batch.last)
        self._owner.commit(batch.last)
        self._send()

    async def _append(self, batch: Batch) -> bool:
        """An entry of the shard's own, after all that was written; whether it was committed."""
        self.applied = batch.id
        try:
            await self._appended(batch)
        except Refused:
            return False
        return True

    def demote(self) -> None:
        """Throw the state away: it may hold what was never committed."""
        if self.role != "replica":
            self._unacknowledged = 0
            self.log.positions(None)
            self._owner.demoted()
            self.leader = None
            self._start(self._rebuild())
            self.role, self.ready = "replica", False

    async def hand_over(self, successor: str | None) -> bool:
        """Stop serving, then say so in the log; whether it was committed."""
        if self.role != "primary":
            return False
        self.role = "releasing"
        self._lease_until = 0
        self._host.log(f"role: hands over to {successor or 'anybody'}")
        self._send(everything=True)
        first = self.applied.n + 1
        payload = entries.encode([entries.release(successor)])
        batch = Batch(self.applied.epoch, first, first, payload)
        try:
            async with asyncio.timeout(HAND_OVER_S):
                done = await self._append(batch)
        except TimeoutError:
            self._host.log("role: the log can't be reached, so nobody was told")
            done = False
        self.demote()
        return done


def checksum(batch: Batch, before: int) -> int:
    """The running checksum after a batch."""
    head = b"%d %d %d " % (batch.epoch, batch.first, batch.last)
    return zlib.crc32(batch.payload, zlib.crc32(head, before))
