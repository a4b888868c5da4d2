"""Arguments at the limits of their ranges must leave effects that can be replayed and a state that
can be saved."""

from __future__ import annotations

import random

import pytest

from targets.engine import rdb, rdb_file
from targets.engine.digest import digest
from targets.engine.protocol import NEVER_MS
from targets.engine.resp import Error
from targets.engine.state import State
from tests.support.engine import execute

MOST = 2**63 - 1
CASES = [
    ["SET a 1", ("RESTORE", "x", str(MOST), rdb.dump(b"1"))],
    ["XGROUP CREATE s g 0 MKSTREAM ENTRIESREAD {}", "XADD s 1-1 a b",
     "XREADGROUP GROUP g c STREAMS s >"],
    ["XADD s 1-1 a b", "XSETID s 5-0 ENTRIESADDED {}", "XADD s 6-0 a b", "XGROUP CREATE s g 0",
     "XREADGROUP GROUP g c STREAMS s >"],
    ["XADD s 1-1 a b", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >",
     "XCLAIM s g c 0 1-1 RETRYCOUNT {}", "XCLAIM s g c 0 1-1", "XREADGROUP GROUP g c STREAMS s 0",
     "XAUTOCLAIM s g c 0 0"],
    ["XADD s 0-1 a b", "XADD s 0-18446744073709551615 a b"],
    ["XADD s 1-0 a b", "XADD s 18446744073709551615-1 a b"],
    ["XADD s 1-18446744073709551615 a b", "XADD s 2-0 a b"],
    ["XADD s 1-9223372036854775809 a b", "XADD s 2-0 a b", "XDEL s 2-0"],
    ["SET a 1", "PEXPIREAT a {}"],
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[-1])[:30])
def test_effects_can_be_replayed_and_states_written(case: list) -> None:
    state, replayed, rng = State(), State(), random.Random(0)
    for step in case:
        words = step.format(MOST).split() if isinstance(step, str) else step
        command = tuple(w if isinstance(w, bytes) else w.encode() for w in words)
        for effect in execute(state, command, 10**12, rng).effects:
            if effect[0] not in (b"MULTI", b"EXEC"):
                reply = execute(replayed, effect, NEVER_MS, rng).reply
                assert not isinstance(reply, Error), (effect, reply)
    assert digest(replayed) == digest(state)
    again, _ = rdb_file.read(rdb_file.write(state, {}))
    assert digest(again) == digest(state)


def test_a_consumers_seen_time_is_replicated_with_its_entries() -> None:
    state, replayed, rng = State(), State(), random.Random(0)
    for time_ms, words in (
        (5000, "XGROUP CREATE s g 0 MKSTREAM"), (5000, "XADD s 1-1 a b"), (5000, "XADD s 1-2 a b"),
        (5000, "XREADGROUP GROUP g c COUNT 1 STREAMS s >"),
        (6000, "XREADGROUP GROUP g c STREAMS s >"),
    ):  # fmt: skip
        for effect in execute(state, tuple(words.encode().split()), time_ms, rng).effects:
            if effect[0] not in (b"MULTI", b"EXEC"):
                execute(replayed, effect, NEVER_MS, rng)
    seen = [s.values[b"s"].groups[b"g"].consumers[b"c"] for s in (state, replayed)]
    assert seen == [6000, 6000]


def test_sort_by_nosort_desc_reverses_the_natural_order() -> None:
    """As on Redis, lists and sorted sets are returned in the reverse of their own order."""
    state, rng = State(), random.Random(0)
    execute(state, (b"RPUSH", b"l", b"b", b"a", b"c"), 0, rng)
    execute(state, (b"ZADD", b"z", b"1", b"b", b"2", b"a"), 0, rng)
    for key, order in ((b"l", [b"c", b"a", b"b"]), (b"z", [b"a", b"b"])):
        command = (b"SORT", key, b"BY", b"nosort", b"DESC")
        assert execute(state, command, 0, rng).reply == order
        assert execute(state, (*command, b"LIMIT", b"0", b"1"), 0, rng).reply == order[:1]
