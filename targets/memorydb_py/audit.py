"""A log read from outside: its effects, and what a replay of them makes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from targets.engine import Call, State
from targets.engine.digest import digest
from targets.memorydb_py.log.interface import Batch
from targets.memorydb_py.node import entries
from targets.memorydb_py.node.shard import NEVER_MS, Shard


def length(log: Sequence[Batch]) -> int:
    """The n of its last entry."""
    return log[-1].last if log else 0


def replay(log: Sequence[Batch]) -> tuple[list[list[Any]], str]:
    """([n, [words]] of every entry with effects, the digest of what they make)."""
    state = State()
    call = Call(state, NEVER_MS, random.Random(0))  # effects hold no chance
    effects: list[list[Any]] = []
    for batch in log:
        for n, entry in enumerate(entries.decode(batch.payload), batch.first):
            if entries.is_effects(entry) and entry:
                effects.append([n, [[w.decode("latin-1") for w in words] for words in entry]])
                Shard.apply_effects(call, entry)
    return effects, digest(state).decode()


def fingerprint(log: Sequence[Batch], upto: int) -> str:
    """Of the entries up to n."""
    found = hashlib.sha1()
    for b in log:
        if b.last <= upto:
            found.update(b"%d %d %d " % (b.epoch, b.first, b.last) + b.payload)
    return found.hexdigest()
