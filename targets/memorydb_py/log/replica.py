"""Consensus among the AZs: Raft, with stores that may be wiped; see docs/transaction-log.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol

import msgspec

from harness.host import Host
from targets.memorydb_py.log.interface import Batch, Id
from targets.memorydb_py.log.messages import (
    ENTRIES,
    MEMBERS,
    NOOP,
    Append,
    Appended,
    Install,
    Message,
    Record,
    Vote,
    Voted,
)
from targets.memorydb_py.log.store import Damaged, Store

TICK_S = 0.01
HEARTBEAT_S = 0.03
ELECTION_S = 0.1  # the first AZ waits so long for a leader, each next one a bit longer
ELECTION_STEP_S = 0.04
CONTACT_S = 0.15
APPEND_BYTES_MAX = 1 << 20
UNANSWERED_BYTES_MAX = 8 << 20
CAUGHT_UP_RECORDS = 64
TELL_S = 0.001  # how long a leader may keep to itself what is committed
UNHEARD = -1  # of an AZ that has not answered this leader yet

Reply = Callable[[Message], None]


class Peers(Protocol):
    def send(self, name: str, message: Message) -> None:
        """To another AZ, if it is connected; else nothing happens."""
        ...


class Progress:
    """Of another AZ, as the leader knows it."""

    def __init__(self, last: int, now: float) -> None:
        self.next = last + 1
        self.match = 0
        self.incarnation = UNHEARD
        self.round = 0
        self.heard = now
        self.unanswered = 0  # bytes


class Replica:
    """One of the AZs. `changed` is called when the leader or what is committed may have changed."""

    def __init__(
        self,
        host: Host,
        store: Store,
        azs: Sequence[str],
        peers: Peers,
        changed: Callable[[], None],
    ) -> None:
        self.name = host.name
        self.store = store
        self.role: Literal["follower", "candidate", "leader"] = "follower"
        self._commit = 0
        self.heard = 0.0  # from a leader
        self._host = host
        self._others = [az for az in azs if az != host.name]
        self._quorum = len(azs) // 2 + 1
        self._patience_s = ELECTION_S + ELECTION_STEP_S * list(azs).index(host.name)
        self._peers = peers
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[tuple[Message, Reply]] = asyncio.Queue()
        self._votes: dict[str, None] = {}
        self._asking: tuple[bool, int] | None = None  # (pre, term) of the present election
        self._progress: dict[str, Progress] = {}
        self._round = 0
        self._sent_at = 0.0
        self._noop = 0  # index of this leader's first record
        self._asked = 0.0  # for votes
        self._working = False  # on a message of another AZ
        self._tasks: list[asyncio.Task[None]] = []
        self._telling: asyncio.TimerHandle | None = None
        self._unsaid: tuple[int, int, Reply] | None = None  # (match, round, reply) of a leader

    # --- what others ask

    @property
    def leads(self) -> bool:
        return self.role == "leader"

    @property
    def term(self) -> int:
        return self.store.meta.term

    @property
    def is_member(self) -> bool:
        """Whether it counts, as far as it knows."""
        return self._is_agreed(self.name, self.store.meta.incarnation)

    @property
    def fresh(self) -> bool:
        """Whether what it knows to be committed is of now."""
        return self.leads or self._loop.time() - self.heard < CONTACT_S

    @property
    def commit(self) -> int:
        """The last record that is known to be committed; a base is."""
        return max(self._commit, self.store.base.index)

    @property
    def committed_id(self) -> Id:
        return self.store.id_at(self.commit)

    @property
    def settled(self) -> bool:
        """Leads, and knows everything that was ever committed."""
        return self.leads and self.commit >= self._noop

    def _is_agreed(self, name: str, incarnation: int) -> bool:
        """Whether an AZ is a member by a record that is known to be committed."""
        agreed = max(self.commit, self.store.meta.agreed)
        return self.store.known_members(agreed).get(name) == incarnation

    # --- life

    async def run(self) -> None:
        """For ever."""
        self.heard = self._loop.time() - ELECTION_S
        await asyncio.gather(self.store.keep_synced(), self._work(), self._tick())

    def receive(self, message: Message, reply: Reply) -> None:
        """A message of another AZ."""
        self._inbox.put_nowait((message, reply))

    async def _work(self) -> None:
        while True:
            message, reply = await self._inbox.get()
            self._working = True
            match message:
                case Vote():
                    await self._vote(message, reply)
                case Append():
                    await self._take(message, reply)
                case Install():
                    await self._install(message, reply)
            self._working = False

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._loop.time()
            if self.leads:
                if now - self._sent_at >= HEARTBEAT_S:
                    self.spread()
                in_touch = 1 + sum(
                    now - p.heard < CONTACT_S and (p.incarnation == UNHEARD or self._counts(name))
                    for name, p in self._progress.items()
                )
                if in_touch < self._quorum or self.store.failed is not None:
                    self._step_down("lost touch with the others" if in_touch < self._quorum
                                    else f"can't write: {self.store.failed}")  # fmt: skip
            elif (
                now - max(self.heard, self._asked) > self._patience_s
                and self.is_member
                and not self._working  # the store may be about to change
                and self.store.takes_writes()
            ):
                self._asked = now
                self._ask(pre=True, term=self.term + 1)

    # --- elections

    def _ask(self, *, pre: bool, term: int) -> None:
        self._asking = (pre, term)
        self._votes = {self.name: None}
        store = self.store
        last_term = store.term_at(store.last)
        vote = Vote(pre, term, self.name, store.meta.incarnation, last_term, store.last)
        for other in self._others:
            self._peers.send(other, vote)

    async def _vote(self, vote: Vote, reply: Reply) -> None:
        store = self.store
        mine = (store.term_at(store.last), store.last)
        now = self._loop.time()
        able = (
            self.is_member  # that the candidate is one, it knows itself
            and (vote.last_term, vote.last_index) >= mine
            and vote.term >= self.term + vote.pre
        )
        if vote.pre:
            granted = able and not self.leads and now - self.heard >= ELECTION_S
        else:
            later = vote.term > self.term
            if later:
                self._follow(vote.term)
            granted = able and (later or store.meta.vote in (None, vote.name))
            if granted:
                self._asked = now
            if later or (granted and store.meta.vote is None):
                await store.promise(term=vote.term, vote=vote.name if granted else None)
        reply(Voted(vote.pre, vote.term, self.term, granted, store.meta.incarnation))

    def voted(self, name: str, vote: Voted) -> None:
        """An answer of another AZ."""
        if vote.now > self.term:
            self._learn(vote.now)
            return
        if not vote.granted or self._asking != (vote.pre, vote.term):
            return
        if not self._is_agreed(name, vote.incarnation):
            return
        self._votes[name] = None
        if len(self._votes) < self._quorum:
            return
        self._asking = None
        if vote.pre:
            self._start(self._stand(vote.term))
        else:
            self._lead()

    def _learn(self, term: int) -> None:
        """Somebody is in a later term."""
        self._follow(term)
        self._start(self.store.promise(term=term))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks = [t for t in self._tasks if not t.done()] + [task]

    async def _stand(self, term: int) -> None:
        if term != self.term + 1 or self.leads:
            return
        self.role = "candidate"
        self._unsaid = None
        await self.store.promise(term=term, vote=self.name)
        if self.term == term and self.role == "candidate":
            self._ask(pre=False, term=term)

    def _lead(self) -> None:
        store, now = self.store, self._loop.time()
        self.role = "leader"
        self._progress = {other: Progress(store.last, now) for other in self._others}
        self._noop = store.last + 1
        self._host.log(f"role: leads the log in term {self.term} from {store.last_id}")
        self._changed()
        self._write(NOOP, b"")

    def _follow(self, term: int) -> None:
        if self.leads:
            self._step_down(f"there is a term {term}")
        self.role = "follower"
        self._asking = self._unsaid = None

    def _step_down(self, why: str) -> None:
        self.role = "follower"
        self._host.log(f"role: follows the log; {why}")
        self._asked = self._loop.time()
        self._changed()

    # --- as leader

    def propose(self, batch: Batch) -> int | None:
        """Write a batch after the last record, as the leader; its index, or None where it can't."""
        return self._write(ENTRIES, batch.payload, batch)

    def _write(self, kind: int, payload: bytes, batch: Batch | None = None) -> int | None:
        store = self.store
        epoch, n = store.last_id
        first, last = (n + 1, n) if batch is None else (batch.first, batch.last)
        epoch = epoch if batch is None else batch.epoch
        record = Record(store.last + 1, self.term, kind, epoch, first, last, payload)
        try:
            store.append([record])
        except OSError as e:
            self._step_down(f"can't write: {e.strerror}")
            return None
        self.spread()
        return record.index

    def ask_round(self) -> int:
        """Whoever answers this round of appends follows this leader now."""
        self._round += 1
        self.spread()
        return self._round

    def confirmed(self, round: int) -> bool:
        """Whether enough others have answered a round."""
        agreed = 1 + sum(p.round >= round and self._counts(n) for n, p in self._progress.items())
        return self.leads and agreed >= self._quorum

    def spread(self) -> None:
        """Send every other AZ what it lacks, or that there is nothing."""
        self._sent_at = self._loop.time()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        for other in self._others:
            self._send(other)

    def connected(self, other: str) -> None:
        """What was sent on an earlier connection may be lost."""
        progress = self._progress.get(other)
        if progress is not None and self.leads:
            progress.next = progress.match + 1
            progress.unanswered = 0
            self._send(other)

    def _send(self, other: str) -> None:
        progress, store = self._progress[other], self.store
        if progress.next <= store.base.index:
            progress.next = store.base.index + 1
            self._peers.send(other, Install(self.term, self.name, store.base, self._round))
        records: list[Record] = []
        size = 0
        index = progress.next
        while index <= store.last and size < APPEND_BYTES_MAX:
            if progress.unanswered + size > UNANSWERED_BYTES_MAX:
                break
            record = self.read(index)
            records.append(record)
            size += len(record.payload) + 64
            index += 1
        previous = progress.next - 1
        progress.next = index
        progress.unanswered += size
        self._peers.send(
            other,
            Append(self.term, self.name, previous, store.term_at(previous), records, self.commit,
                   self._round),
        )  # fmt: skip

    def read(self, index: int) -> Record:
        """A record; damage ends the process, which comes back as a wiped AZ."""
        try:
            return self.store.record(index)
        except Damaged as e:
            self._host.log(f"log: {e}; this AZ stops")
            raise SystemExit(3) from e

    def appended(self, name: str, answer: Appended) -> None:
        """An answer of another AZ."""
        if answer.term > self.term:
            self._learn(answer.term)
            return
        if not self.leads or answer.term != self.term:
            return
        progress = self._progress[name]
        progress.heard = self._loop.time()
        if progress.incarnation != answer.incarnation:  # whatever it had, it has lost
            progress.incarnation, progress.match = answer.incarnation, 0
        progress.round = max(progress.round, answer.round)
        progress.unanswered = 0
        if not answer.ok:
            progress.next = max(progress.match, min(answer.match, progress.next - 2)) + 1
            self._send(name)
            return
        progress.match = max(progress.match, answer.match)
        progress.next = max(progress.next, progress.match + 1)
        self._advance()
        if progress.next <= self.store.last:
            self._send(name)
        self._readmit(name, progress)
        self._changed()

    def _counts(self, name: str) -> bool:
        return self._is_agreed(name, self._progress[name].incarnation)

    def synced(self) -> None:
        """More of the store is durable."""
        if self.leads:
            self._advance()
            self._changed()
        elif self._unsaid is not None:
            self._acknowledge(*self._unsaid)

    def _advance(self) -> None:
        """Commit what is durable at a quorum of members."""
        matches = [self.store.durable]
        matches += [p.match for name, p in self._progress.items() if self._counts(name)]
        matches.sort(reverse=True)
        if len(matches) < self._quorum:
            return
        index = matches[self._quorum - 1]
        if index > self.commit and self.store.term_at(index) == self.term:
            self._committed(index)
            if self._telling is None:  # the next records may tell it, too
                self._telling = self._loop.call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        """What is committed, where nothing else has told it."""
        self._telling = None
        if self.leads:
            self.spread()

    def _committed(self, index: int) -> None:
        self._commit = index
        for at, _ in reversed(self.store.members):
            if at <= index:
                if at > self.store.meta.agreed:
                    self._start(self.store.promise(agreed=at))
                break

    def _readmit(self, name: str, progress: Progress) -> None:
        """An AZ that was wiped has everything: let it count again."""
        store = self.store
        pending = any(index > self.commit for index, _ in store.members)
        if self._counts(name) or pending or not self.settled:
            return
        if progress.match >= max(self._noop, self.commit, store.last - CAUGHT_UP_RECORDS):
            members = {**store.known_members(self.commit), name: progress.incarnation}
            self._host.log(f"log: {name} has caught up and is readmitted")
            self._write(MEMBERS, msgspec.msgpack.encode(members))

    # --- as follower

    async def _heed(self, term: int, reply: Reply) -> bool:
        """Whether somebody leads in a term that was not over when this returns."""
        if term < self.term:
            reply(Appended(self.term, False, 0, 0, self.store.meta.incarnation))
            return False
        if term > self.term:
            self._follow(term)
            await self.store.promise(term=term)
            if term < self.term:
                return False
        self.role, self._asking = "follower", None
        self.heard = self._loop.time()
        return True

    async def _install(self, install: Install, reply: Reply) -> None:
        """What is here and agrees stays; else all of it goes."""
        if not await self._heed(install.term, reply):
            return
        store, index = self.store, install.base.index
        if index > self.commit:
            if store.term_at(index) != install.base.term:
                await store.install(install.base)
            self._committed(index)
            self._changed()
        if install.term == self.term:
            self._acknowledge(index, install.round, reply)

    async def _take(self, append: Append, reply: Reply) -> None:
        if not await self._heed(append.term, reply):
            return
        store = self.store
        previous, records = append.previous_index, append.records
        if previous < store.base.index:  # committed, so it agrees
            records = [r for r in records if r.index > store.base.index]
            previous = store.base.index
        elif previous > store.last or store.term_at(previous) != append.previous_term:
            agree = min(previous - 1, store.last)
            reply(Appended(self.term, False, agree, append.round, store.meta.incarnation))
            return
        match = records[-1].index if records else previous
        known = 0
        for record in records:
            if record.index > store.last or store.term_at(record.index) != record.term:
                break
            known += 1
        records = records[known:]
        if records and records[0].index <= store.last:
            if records[0].index <= self.commit:
                raise AssertionError("a committed record would be cut off")
            await store.truncate(records[0].index - 1)
            if append.term != self.term:
                return
        try:
            store.append(records)
        except OSError:
            match = min(match, store.last)
        if min(append.commit, match) > self.commit:
            self._committed(min(append.commit, match))
            self._changed()
        if append.records and store.durable < match:
            self._unsaid = (match, append.round, reply)
        else:
            self._acknowledge(match, append.round, reply)

    def _acknowledge(self, match: int, round: int, reply: Reply) -> None:
        """What is durable of what the leader sent; the rest when it is."""
        self._unsaid = None if self.store.durable >= match else (match, round, reply)
        reply(
            Appended(self.term, True, min(match, self.store.durable), round,
                     self.store.meta.incarnation)
        )  # fmt: skip
