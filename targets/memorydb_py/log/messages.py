"""What goes over the wire, between AZs and between nodes and AZs."""

from __future__ import annotations

import msgspec

NOOP, MEMBERS, ENTRIES = 0, 1, 2
GONE = -1


class Record(msgspec.Struct, frozen=True, array_like=True):
    """Of a store. `kind`: NOOP and MEMBERS have no entries of their own: `last` is that of the
    record before, `first` one more."""

    index: int
    term: int
    kind: int
    epoch: int
    first: int
    last: int
    payload: bytes


class Base(msgspec.Struct, frozen=True, array_like=True):
    """What a store begins after: everything up to a committed record, which is not here any more.
    `members`: incarnations by AZ, by the record at `named`. `generation`: of the segments; a base
    that came from the leader replaces all of them."""

    index: int = 0
    term: int = 0
    epoch: int = 0
    last: int = 0
    named: int = 0
    members: dict[str, int] = {}
    generation: int = 0


class Peer(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message of an AZ to another."""

    name: str


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=2):
    pre: bool
    term: int
    name: str
    incarnation: int
    last_term: int
    last_index: int


class Voted(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`term`: the one that was asked about; `now`: the voter's own."""

    pre: bool
    term: int
    now: int
    granted: bool
    incarnation: int


class Append(msgspec.Struct, frozen=True, array_like=True, tag=4):
    term: int
    name: str
    previous_index: int
    previous_term: int
    records: list[Record]
    commit: int
    round: int


class Appended(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """`match`: durable and as the leader has it; where not `ok`, where the logs may yet agree."""

    term: int
    ok: bool
    match: int
    round: int
    incarnation: int


class Install(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """A leader has nothing up to a base: begin after it. Answered by `Appended`."""

    term: int
    name: str
    base: Base
    round: int


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The first message of a node."""

    node: str


class Leading(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """An AZ says whether it leads, at the start and when it changes."""

    term: int
    leads: bool


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Append a batch after an id. `term`: of the leader that is meant."""

    number: int
    term: int
    after_epoch: int
    epoch: int
    first: int
    last: int
    payload: bytes


class Committed(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Proposals that are durable."""

    numbers: list[int]


class NotAppended(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A proposal contradicts the log."""

    number: int
    tail_epoch: int
    tail_n: int


class Behind(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """A proposal would leave a gap."""

    number: int


class AskTail(msgspec.Struct, frozen=True, array_like=True, tag=12):
    number: int


class Tail(msgspec.Struct, frozen=True, array_like=True, tag=13):
    number: int
    epoch: int
    n: int


class Follow(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Send entries after n; `number` tells them from those of an earlier request."""

    number: int
    after: int


class Unfollow(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """No more entries, please."""


class Trimmed(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """An answer to `Follow`: the next entries are not here any more, up to n."""

    number: int
    n: int


class Trim(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Entries up to n need not be kept: two snapshots of n and later can be restored."""

    n: int


class Entries(msgspec.Struct, frozen=True, array_like=True, tag=15):
    number: int
    records: list[Record]


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """An AZ is there. `fresh`: it leads, or heard the leader lately."""

    fresh: bool


class Applied(msgspec.Struct, frozen=True, array_like=True, tag=17):
    n: int


class Positions(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """How far nodes have applied; `GONE` for one that is not connected any more."""

    by_node: dict[str, int]


class Watch(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """From now on a node wants to be told of positions, or does not."""

    on: bool


class AskStatus(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Of anybody who wants to know."""


class Status(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """`member`: it counts. `commit`: the n of the last committed entry that it knows. `trimmed`:
    that of the last one that it has not kept."""

    member: bool
    leads: bool
    term: int
    commit: int
    trimmed: int


Message = (
    Peer | Vote | Voted | Append | Appended | Hello | Leading | Propose | Committed | NotAppended
    | Behind | AskTail | Tail | Follow | Entries | Beat | Applied | Positions | AskStatus | Status
    | Unfollow | Watch | Install | Trimmed | Trim
)  # fmt: skip
