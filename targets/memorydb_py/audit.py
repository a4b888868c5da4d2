"""A log read from outside: its effects, and what a replay of them makes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Container, Sequence
from typing import Any

from targets.engine import Call, State
from targets.engine.digest import digest
from targets.memorydb_py.log.interface import Batch
from targets.memorydb_py.node import entries
from targets.memorydb_py.node.shard import NEVER_MS, Shard


def length(log: Sequence[Batch]) -> int:
    """The n of its last entry."""
    return log[-1].last if log else 0


def extend(log: list[Batch], after: int, more: Sequence[Batch]) -> None:
    """What an AZ has after n, at the end of what is known. Raises ValueError where entries between
    were not kept."""
    if after > length(log):
        raise ValueError(f"the entries from {length(log) + 1} to {after} were trimmed unread")
    log += [b for b in more if b.last > length(log)]


def replay(
    log: Sequence[Batch], positions: Container[int] = ()
) -> tuple[list[list[Any]], str, dict[int, str]]:
    """([n, [words]] of every entry with effects, the digest of what they make, and of what they
    make up to the batches that end at some positions)."""
    state = State()
    call = Call(state, NEVER_MS, random.Random(0))  # effects hold no chance
    effects: list[list[Any]] = []
    made = {}
    for batch in log:
        for n, entry in enumerate(entries.decode(batch.payload), batch.first):
            if entries.is_effects(entry) and entry:
                effects.append([n, [[w.decode("latin-1") for w in words] for words in entry]])
                Shard.apply_effects(call, entry)
        if batch.last in positions:
            made[batch.last] = digest(state).decode()
    return effects, digest(state).decode(), made


def fingerprint(log: Sequence[Batch], after: int, upto: int) -> str:
    """Of the entries after one n and up to another."""
    found = hashlib.sha1()
    for b in log:
        if after < b.last <= upto:
            found.update(b"%d %d %d " % (b.epoch, b.first, b.last) + b.payload)
    return found.hexdigest()
