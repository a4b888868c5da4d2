"""The messages between AZs, and between nodes and AZs."""

from __future__ import annotations

import msgspec

NOOP, MEMBERS, ENTRIES = 0, 1, 2
GONE = -1  # the position of a node that has disconnected


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A record of the Raft log. `first`, `last`: its entries; NOOP and MEMBERS records have none:
    `last` is that of the previous record, `first` one more."""

    index: int
    term: int
    kind: int
    epoch: int
    first: int
    last: int
    payload: bytes


class Base(msgspec.Struct, frozen=True, array_like=True):
    """The committed record that a store begins after: it and all before it have been dropped.
    `epoch`, `last`: the id of the last entry. `named`: the index of the last members record,
    `members`: the incarnations by AZ in it. `generation`: that of the segments, increased whenever
    a base from the leader replaces all of them."""

    index: int = 0
    term: int = 0
    epoch: int = 0
    last: int = 0
    named: int = 0
    members: dict[str, int] = {}
    generation: int = 0


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """The first message on every connection, by who accepts it."""

    nonce: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """The answer to `Challenge`, and then to the answer: a digest of both nonces, keyed with the
    secret of the log. `nonce`: of who opened the connection, empty in the second one."""

    digest: bytes
    nonce: bytes = b""


class Peer(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message of another AZ, after `Proof`."""

    name: str


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Raft's RequestVote. `pre`: a pre-vote, which changes no term."""

    pre: bool
    term: int
    name: str
    incarnation: int
    last_term: int
    last_index: int


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The response to `Vote`. `term`: that of the request; `now`: the voter's current one."""

    pre: bool
    term: int
    now: int
    granted: bool
    incarnation: int


class Append(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Raft's AppendEntries, without records a heartbeat. `round`: see `Replica.ask_round`.
    `patience_ms`: how much longer than usual to wait for the leader: big records keep it busy."""

    term: int
    name: str
    previous_index: int
    previous_term: int
    records: list[Record]
    commit: int
    round: int
    patience_ms: int


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The response to `Append` and `InstallBase`. `match`: the last durable index that matches
    the leader's log; if not `ok`, the last index at which the logs may match."""

    term: int
    ok: bool
    match: int
    round: int
    incarnation: int


class InstallBase(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Raft's InstallSnapshot, without data: the leader has dropped all records up to the base, and
    the follower is to begin after it. Answered by `AppendReply`."""

    term: int
    name: str
    base: Base
    round: int


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The first message of a node, after `Proof`."""

    node: str


class Leading(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Tells nodes whether an AZ is the leader: after `Hello`, and when that changes."""

    term: int
    leads: bool


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A request to append a batch after entry `first` - 1, which must be of epoch `after_epoch`.
    `term`: that of the leader that it is meant for."""

    number: int
    term: int
    after_epoch: int
    epoch: int
    first: int
    last: int
    payload: bytes


class Committed(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Acknowledges proposals: they are committed."""

    numbers: list[int]


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Refuses a proposal: it contradicts a committed entry. `tail_*`: the last committed one."""

    number: int
    tail_epoch: int
    tail_n: int


class Gap(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Rejects a proposal that would leave a gap."""

    number: int


class TailRequest(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A request for the id of the last committed entry."""

    number: int


class Tail(msgspec.Struct, frozen=True, array_like=True, tag=13):
    number: int
    epoch: int
    n: int


class Follow(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """A request to stream entries after n; `number` identifies it in the answers."""

    number: int
    after: int


class Unfollow(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """A request to stop streaming entries."""


class Trimmed(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """Ends the answer to `Follow`: the next entries have been trimmed, up to n."""

    number: int
    n: int


class Trim(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Entries up to n may be dropped: two snapshots at n or later can be restored."""

    n: int


class Entries(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Committed records, in answer to the `Follow` of that number."""

    number: int
    records: list[Record]


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """The heartbeat of an AZ. `fresh`: it leads, or has heard from the leader recently."""

    fresh: bool


class Applied(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """A node has applied all entries up to n; also its heartbeat."""

    n: int


class Positions(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """The n that nodes have applied; `GONE` for one that has disconnected."""

    by_node: dict[str, int]


class Watch(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Subscribes a node to `Positions`, or unsubscribes it."""

    on: bool


class StatusRequest(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """A request for `Status`."""


class Status(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The state of an AZ. `member`: whether it is a voting member. `commit`: the n of the last
    entry that it knows to be committed; `trimmed`: that of the last one that it has dropped."""

    member: bool
    leads: bool
    term: int
    commit: int
    trimmed: int


Message = (
    Challenge | Proof | Peer | Vote | VoteReply | Append | AppendReply | Hello | Leading | Propose
    | Committed | Refusal | Gap | TailRequest | Tail | Follow | Entries | Beat | Applied | Positions
    | StatusRequest | Status | Unfollow | Watch | InstallBase | Trimmed | Trim
)  # fmt: skip
