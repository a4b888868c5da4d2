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
    AppendReply,
    InstallBase,
    Message,
    Record,
    Vote,
    VoteReply,
)
from targets.memorydb_py.log.store import Damaged, Store

TICK_S = 0.01
HEARTBEAT_S = 0.03
ELECTION_TIMEOUT_S = 0.1  # election timeout of the first AZ; a step longer for each next one
ELECTION_STEP_S = 0.04
CONTACT_S = 0.15
APPEND_BYTES_MAX = 1 << 20
UNANSWERED_BYTES_MAX = 8 << 20
CAUGHT_UP_RECORDS = 64
BIG_BYTES = 1 << 20  # of records, that take longer to write, send and receive than a heartbeat may
PATIENCE_MS = 1000  # by which others then wait longer
COMMIT_DELAY_S = 0.001  # how long a leader may delay sending a new commit index
UNKNOWN_INCARNATION = -1  # incarnation of an AZ that has not answered this leader yet

Reply = Callable[[Message], None]


class Peers(Protocol):
    def send(self, name: str, message: Message) -> None:
        """Send a message to another AZ, if it is connected; else drop it."""
        ...

    def heard(self, name: str) -> float:
        """Return when anything last came from another AZ, 0.0 if it is not connected."""
        ...


class Progress:
    """The leader's view of another AZ: Raft's nextIndex and matchIndex, and what is in flight."""

    def __init__(self, last: int, now: float) -> None:
        self.next = last + 1
        self.match = 0
        self.incarnation = UNKNOWN_INCARNATION
        self.round = 0
        self.heard = now
        self.unanswered = 0  # bytes in flight
        self.big = 0  # index of the last record that was sent with others of BIG_BYTES together


class Replica:
    """The Raft replica of an AZ. `changed`: called when leader or commit index may have changed."""

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
        self.heard = 0.0  # when a leader was last heard from
        self._host = host
        self._others = [az for az in azs if az != host.name]
        self._quorum = len(azs) // 2 + 1
        self._election_timeout_s = ELECTION_TIMEOUT_S + ELECTION_STEP_S * list(azs).index(host.name)
        self._peers = peers
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[tuple[Message, Reply]] = asyncio.Queue()
        self._votes: dict[str, None] = {}
        self._election: tuple[bool, int] | None = None  # (pre, term) of the votes that it requests
        self._progress: dict[str, Progress] = {}
        self._round = 0
        self._sent_at = 0.0
        self._noop = 0  # index of the first record of its own term, as leader
        self._busy = False  # with a big record, as leader
        self._patience_s = 0.0  # that the leader has asked for
        self._timer_reset = 0.0  # when it last campaigned, voted or stepped down
        self._handling = False  # whether a message of another AZ is in progress
        self._tasks: list[asyncio.Task[None]] = []
        self._commit_timer: asyncio.TimerHandle | None = None
        self._pending_ack: tuple[int, int, Reply] | None = None  # (match, round, reply)

    # --- state

    @property
    def leads(self) -> bool:
        return self.role == "leader"

    @property
    def term(self) -> int:
        return self.store.meta.term

    @property
    def is_member(self) -> bool:
        """Whether this replica believes it is a voting member."""
        return self._is_agreed(self.name, self.store.meta.incarnation)

    @property
    def fresh(self) -> bool:
        """Whether its commit index is recent: it leads, or has heard from a leader recently."""
        return self.leads or self._loop.time() - self.heard < CONTACT_S + self._patience_s

    @property
    def commit(self) -> int:
        """The commit index: the last record known to be committed, at least the base."""
        return max(self._commit, self.store.base.index)

    @property
    def committed_id(self) -> Id:
        return self.store.id_at(self.commit)

    @property
    def commit_is_complete(self) -> bool:
        """Whether it leads and has committed a record of its term: its commit index is complete."""
        return self.leads and self.commit >= self._noop

    def _is_agreed(self, name: str, incarnation: int) -> bool:
        """Return whether an AZ is a voting member by the last committed members record known."""
        agreed = max(self.commit, self.store.meta.agreed)
        return self.store.known_members(agreed).get(name) == incarnation

    # --- running

    async def run(self) -> None:
        """Run the replica. Never returns."""
        self.heard = self._loop.time() - ELECTION_TIMEOUT_S
        await asyncio.gather(self.store.keep_synced(), self._work(), self._tick())

    def receive(self, message: Message, reply: Reply) -> None:
        """Queue a request of another AZ."""
        self._inbox.put_nowait((message, reply))

    async def _work(self) -> None:
        while True:
            message, reply = await self._inbox.get()
            self._handling = True
            match message:
                case Vote():
                    await self._handle_vote(message, reply)
                case Append():
                    await self._handle_append(message, reply)
                case InstallBase():
                    await self._handle_install(message, reply)
            self._handling = False

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._loop.time()
            if self.leads:
                if now - self._sent_at >= HEARTBEAT_S:
                    self.broadcast_append()
                in_contact = 1 + sum(
                    now - self._heard(name, p) < CONTACT_S + self._patience_with(p) / 1000
                    and (p.incarnation == UNKNOWN_INCARNATION or self._is_voter(name))
                    for name, p in self._progress.items()
                )
                if in_contact < self._quorum or self.store.failed is not None:
                    self._step_down("lost contact with the others" if in_contact < self._quorum
                                    else f"can't write: {self.store.failed}")  # fmt: skip
            elif (
                now - max(self.heard, self._timer_reset)
                > self._election_timeout_s + self._patience_s
                and self.is_member
                and not self._handling  # the store may be about to change
                and self.store.is_writable()
            ):
                self._timer_reset = now
                self._request_votes(pre=True, term=self.term + 1)

    # --- elections

    def _request_votes(self, *, pre: bool, term: int) -> None:
        self._election = (pre, term)
        self._votes = {self.name: None}
        store = self.store
        last_term = store.term_at(store.last)
        vote = Vote(pre, term, self.name, store.meta.incarnation, last_term, store.last)
        for other in self._others:
            self._peers.send(other, vote)

    async def _handle_vote(self, vote: Vote, reply: Reply) -> None:
        store = self.store
        own_last = (store.term_at(store.last), store.last)
        now = self._loop.time()
        eligible = (
            self.is_member  # the candidate has checked its own membership
            and (vote.last_term, vote.last_index) >= own_last
            and vote.term >= self.term + vote.pre
        )
        if vote.pre:
            silent = now - self.heard >= ELECTION_TIMEOUT_S + self._patience_s
            granted = eligible and not self.leads and silent
        else:
            newer = vote.term > self.term
            if newer:
                self._become_follower(vote.term)
            granted = eligible and (newer or store.meta.vote in (None, vote.name))
            if granted:
                self._timer_reset = now
            if newer or (granted and store.meta.vote is None):
                await store.save_meta(term=vote.term, vote=vote.name if granted else None)
        reply(VoteReply(vote.pre, vote.term, self.term, granted, store.meta.incarnation))

    def voted(self, name: str, vote: VoteReply) -> None:
        """Handle the response of another AZ to `Vote`."""
        if vote.now > self.term:
            self._adopt_term(vote.now)
            return
        if not vote.granted or self._election != (vote.pre, vote.term):
            return
        if not self._is_agreed(name, vote.incarnation):
            return
        self._votes[name] = None
        if len(self._votes) < self._quorum:
            return
        self._election = None
        if vote.pre:
            self._start(self._stand(vote.term))
        else:
            self._become_leader()

    def _adopt_term(self, term: int) -> None:
        """Adopt a later term."""
        self._become_follower(term)
        self._start(self.store.save_meta(term=term))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks = [t for t in self._tasks if not t.done()] + [task]

    async def _stand(self, term: int) -> None:
        if term != self.term + 1 or self.leads:
            return
        self.role = "candidate"
        self._pending_ack = None
        await self.store.save_meta(term=term, vote=self.name)
        if self.term == term and self.role == "candidate":
            self._request_votes(pre=False, term=term)

    def _become_leader(self) -> None:
        store, now = self.store, self._loop.time()
        self.role = "leader"
        self._progress = {other: Progress(store.last, now) for other in self._others}
        self._noop = store.last + 1
        self._host.log(f"role: leads the log in term {self.term} from {store.last_id}")
        self._changed()
        self._write(NOOP, b"")

    def _become_follower(self, term: int) -> None:
        if self.leads:
            self._step_down(f"saw term {term}")
        self.role = "follower"
        self._election = self._pending_ack = None

    def _step_down(self, why: str) -> None:
        self.role = "follower"
        self._host.log(f"role: follows the log; {why}")
        self._timer_reset = self._loop.time()
        self._patience_s = 0.0
        self._changed()

    # --- as leader

    def propose(self, batch: Batch) -> int | None:
        """Append a batch to the log, as the leader; returns its index, None if that fails."""
        return self._write(ENTRIES, batch.payload, batch)

    def _write(self, kind: int, payload: bytes, batch: Batch | None = None) -> int | None:
        store = self.store
        epoch, n = store.last_id
        first, last = (n + 1, n) if batch is None else (batch.first, batch.last)
        epoch = epoch if batch is None else batch.epoch
        record = Record(store.last + 1, self.term, kind, epoch, first, last, payload)
        self._busy = len(payload) > BIG_BYTES
        if self._busy:
            self.broadcast_append()  # to ask for patience
        try:
            store.append([record])
        except OSError as e:
            self._step_down(f"can't write: {e.strerror}")
            return None
        finally:
            self._busy = False
        self.broadcast_append()
        return record.index

    def ask_round(self) -> int:
        """Begin a round of appends and return its number. An AZ that answers it recognises this
        leader after the call (as in Raft's ReadIndex)."""
        self._round += 1
        self.broadcast_append()
        return self._round

    def confirmed(self, round: int) -> bool:
        """Return whether it still leads and a quorum has answered a round."""
        agreed = 1 + sum(p.round >= round and self._is_voter(n) for n, p in self._progress.items())
        return self.leads and agreed >= self._quorum

    def broadcast_append(self) -> None:
        """Send AppendEntries to every other AZ: the records that it lacks, or a heartbeat."""
        self._sent_at = self._loop.time()
        if self._commit_timer is not None:
            self._commit_timer.cancel()
            self._commit_timer = None
        for other in self._others:
            self._send(other)

    def connected(self, other: str) -> None:
        """Resend from the match index, as what an earlier connection sent may be lost."""
        progress = self._progress.get(other)
        if progress is not None and self.leads:
            progress.next = progress.match + 1
            progress.unanswered = 0
            self._send(other)

    def _send(self, other: str) -> None:
        progress, store = self._progress[other], self.store
        if progress.next <= store.base.index:
            progress.next = store.base.index + 1
            self._peers.send(other, InstallBase(self.term, self.name, store.base, self._round))
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
        if size > BIG_BYTES:
            progress.big = records[-1].index
        progress.next = index
        progress.unanswered += size
        self._peers.send(
            other,
            Append(self.term, self.name, previous, store.term_at(previous), records, self.commit,
                   self._round, self._patience_with(progress)),
        )  # fmt: skip

    def _heard(self, name: str, progress: Progress) -> float:
        """Return when another AZ was last heard from. While it writes big records it does not
        answer, but its heartbeats come."""
        if progress.match < progress.big:
            return max(progress.heard, self._peers.heard(name))
        return progress.heard

    def _patience_with(self, progress: Progress) -> int:
        """Return how many ms longer than usual this AZ and another wait for each other."""
        return PATIENCE_MS if self._busy or progress.match < progress.big else 0

    def read(self, index: int) -> Record:
        """Return a record. Damage ends the process, which restarts as a wiped AZ."""
        try:
            return self.store.record(index)
        except Damaged as e:
            self._host.log(f"log: {e}; this AZ stops")
            raise SystemExit(3) from e

    def appended(self, name: str, answer: AppendReply) -> None:
        """Handle the response of another AZ to `Append` or `Install`."""
        if answer.term > self.term:
            self._adopt_term(answer.term)
            return
        if not self.leads or answer.term != self.term:
            return
        progress = self._progress[name]
        progress.heard = self._loop.time()
        if progress.incarnation != answer.incarnation:  # unknown so far, or wiped since
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

    def _is_voter(self, name: str) -> bool:
        return self._is_agreed(name, self._progress[name].incarnation)

    def synced(self) -> None:
        """Commit or acknowledge records that have become durable; called by the store."""
        if self.leads:
            self._advance()
            self._changed()
        elif self._pending_ack is not None:
            self._acknowledge(*self._pending_ack)

    def _advance(self) -> None:
        """Advance the commit index to what is durable at a quorum of voting members."""
        matches = [self.store.durable]
        matches += [p.match for name, p in self._progress.items() if self._is_voter(name)]
        matches.sort(reverse=True)
        if len(matches) < self._quorum:
            return
        index = matches[self._quorum - 1]
        if index > self.commit and self.store.term_at(index) == self.term:
            self._set_commit(index)
            if self._commit_timer is None:  # the next records may carry it
                self._commit_timer = self._loop.call_later(COMMIT_DELAY_S, self._send_commit)

    def _send_commit(self) -> None:
        """Send the commit index, if no other append has carried it."""
        self._commit_timer = None
        if self.leads:
            self.broadcast_append()

    def _set_commit(self, index: int) -> None:
        self._commit = index
        for at, _ in reversed(self.store.members):
            if at <= index:
                if at > self.store.meta.agreed:
                    self._start(self.store.save_meta(agreed=at))
                break

    def _readmit(self, name: str, progress: Progress) -> None:
        """Make a wiped AZ that has caught up a voting member again."""
        store = self.store
        pending = any(index > self.commit for index, _ in store.members)
        if self._is_voter(name) or pending or not self.commit_is_complete:
            return
        if progress.match >= max(self._noop, self.commit, store.last - CAUGHT_UP_RECORDS):
            members = {**store.known_members(self.commit), name: progress.incarnation}
            self._host.log(f"log: {name} has caught up and is readmitted")
            self._write(MEMBERS, msgspec.msgpack.encode(members))

    # --- as follower

    async def _check_term(self, term: int, reply: Reply) -> bool:
        """Check the term of a leader's message and adopt a later one; returns whether that leader
        is still to be followed."""
        if term < self.term:
            reply(AppendReply(self.term, False, 0, 0, self.store.meta.incarnation))
            return False
        if term > self.term:
            self._become_follower(term)
            await self.store.save_meta(term=term)
            if term < self.term:
                return False
        self.role, self._election = "follower", None
        self.heard = self._loop.time()
        return True

    async def _handle_install(self, install: InstallBase, reply: Reply) -> None:
        """Handle `Install`: keep the log if it contains the base, else replace it."""
        if not await self._check_term(install.term, reply):
            return
        store, index = self.store, install.base.index
        if index > self.commit:
            if store.term_at(index) != install.base.term:
                await store.install(install.base)
            self._set_commit(index)
            self._changed()
        if install.term == self.term:
            self._acknowledge(index, install.round, reply)

    async def _handle_append(self, append: Append, reply: Reply) -> None:
        """Handle AppendEntries."""
        if not await self._check_term(append.term, reply):
            return
        self._patience_s = min(append.patience_ms, PATIENCE_MS) / 1000
        store = self.store
        previous, records = append.previous_index, append.records
        if previous < store.base.index:  # committed, so the logs match up to it
            records = [r for r in records if r.index > store.base.index]
            previous = store.base.index
        elif previous > store.last or store.term_at(previous) != append.previous_term:
            agree = min(previous - 1, store.last)
            reply(AppendReply(self.term, False, agree, append.round, store.meta.incarnation))
            return
        match = records[-1].index if records else previous
        present = 0
        for record in records:
            if record.index > store.last or store.term_at(record.index) != record.term:
                break
            present += 1
        records = records[present:]
        if records and records[0].index <= store.last:
            if records[0].index <= self.commit:
                raise AssertionError("a committed record would be truncated")
            await store.truncate(records[0].index - 1)
            if append.term != self.term:
                return
        try:
            store.append(records)
        except OSError:
            match = min(match, store.last)
        if min(append.commit, match) > self.commit:
            self._set_commit(min(append.commit, match))
            self._changed()
        if append.records and store.durable < match:
            self._pending_ack = (match, append.round, reply)
        else:
            self._acknowledge(match, append.round, reply)

    def _acknowledge(self, match: int, round: int, reply: Reply) -> None:
        """Acknowledge the durable part of the leader's records now, the rest when it is durable."""
        self._pending_ack = None if self.store.durable >= match else (match, round, reply)
        reply(
            AppendReply(self.term, True, min(match, self.store.durable), round,
                     self.store.meta.incarnation)
        )  # fmt: skip
