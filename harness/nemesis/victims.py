"""Victims: the processes that a fault acts on, drawn as roles and resolved on injection.

A victim is the name of a process, or a role. `primary`: the primary, or the first node that is up
if the primary is not. `replica 2`: the second of the nodes that are up and not the primary.
`helper 1`: the first process that is not a node and whose loss the target tolerates now. Numbers
beyond the last one wrap around. With several shards a role names its shard: `primary of s2`.
"""

from __future__ import annotations

import random
import re
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from harness.errors import UsageError
from harness.nemesis.protocol import DrawContext, NoPrimary, Skipped
from harness.nemesis.system import System
from harness.targets import Failover
from harness.topology import Shard, Topology

HELPERS_PERCENT = 40  # how often a process that is not a node is drawn, if there are any
_ROLE = re.compile(r"(primary|replica ([1-9]\d*)|helper ([1-9]\d*))(?: of (\S+))?")


def draw_shard(rng: random.Random, topology: Topology) -> tuple[Shard, str]:
    """Draw a shard, if there are several; return it and the suffix of roles in it."""
    shards = topology.shards
    if len(shards) == 1:
        return shards[0], ""
    shard = rng.choice(shards)
    return shard, f" of {shard.name}"


def draw_node(chance: DrawContext, system: System[Any, Any]) -> str:
    """Draw a node, the primary of a shard at least half of the time. If the primary moves in the
    same cycle: always the primary, or never if the primary itself performs the hand-over."""
    rng, target = chance.rng, system.target
    shard, suffix = draw_shard(rng, target.topology())
    count = len(shard.nodes)
    if chance.primary_moves:
        if isinstance(target, Failover) and target.hands_over and count > 1:
            return f"replica {rng.randint(1, count - 1)}{suffix}"
        return f"primary{suffix}"
    if rng.random() < 0.5:
        return f"primary{suffix}"
    number = rng.randrange(count)
    return f"replica {number}{suffix}" if number else f"primary{suffix}"


def draw_process(chance: DrawContext, system: System[Any, Any]) -> str:
    """Draw a node, or sometimes (`HELPERS_PERCENT`) another process."""
    helpers = system.helpers
    if helpers and chance.rng.randrange(100) < HELPERS_PERCENT:
        return f"helper {chance.rng.randint(1, len(helpers))}"
    return draw_node(chance, system)


def resolve(victim: str, system: System[Any, Any]) -> str:
    """Return the process that a victim denotes now. Raises `Skipped` if there is none."""
    if victim in system.env.processes:
        if victim in system.down | system.paused:
            raise Skipped(f"{victim} is stopped already")
        return victim
    if victim.startswith("helper "):
        spare = [p for p in system.helpers if p not in system.down and system.tolerated([p])]
        if not spare:
            raise Skipped("no process other than a node may be lost now")
        return _nth(spare, victim)
    shard = shard_of(victim, system)
    up = [n for n in shard.nodes if n in system.up]
    if not up:
        raise Skipped("no node is up")
    if not victim.startswith("primary"):
        return _nth([n for n in up if n != shard.primary] or up, victim)
    if shard.primary is None:
        raise NoPrimary
    return shard.primary if shard.primary in up else up[0]


def shard_of(role: str, system: System[Any, Any]) -> Shard:
    """Return the shard of a role: the first one, unless the role names another. Raises
    `Skipped`."""
    topology: Topology = system.target.topology()
    found = _ROLE.fullmatch(role)
    name = found[4] if found is not None else None
    shard = topology.shards[0] if name is None else topology.shard_named(name)
    if shard is None:
        raise Skipped(f"there is no shard {name}")
    return shard


def choose(victim: str, candidates: list[str]) -> str:
    """Return one of the candidates: by name, or by the number of the role. Raises `Skipped` for
    any other name."""
    if victim in candidates:
        return victim
    if victim.startswith("primary") or not _ROLE.fullmatch(victim):
        raise Skipped(f"{victim} can't be chosen now, only {', '.join(candidates)}")
    return _nth(candidates, victim)


def _nth(processes: list[str], role: str) -> str:
    found = _ROLE.fullmatch(role)
    assert found is not None
    return processes[(int(found[2] or found[3]) - 1) % len(processes)]


def check(victim: str, system: System[Any, Any]) -> None:
    """Raise `UsageError` for a text that is neither a role nor the name of a process."""
    found = _ROLE.fullmatch(victim)
    if victim not in system.env.processes and found is None:
        raise UsageError(
            f"{victim!r} is not a process: give primary, `replica 1`, `helper 1`, or one of "
            f"{', '.join(system.env.processes)}"
        )
    if found is not None and found[4] and system.target.topology().shard_named(found[4]) is None:
        shards = ", ".join(shard.name for shard in system.target.topology().shards)
        raise UsageError(f"{victim!r}: there is no shard {found[4]}, only {shards}")


# The type of an argument that names a victim; `check` validates a user's text.
Name = Annotated[str, Meta(extra={"check": check})]


class Victim(TypedDict):
    """The arguments of a fault that acts on one process."""

    victim: Name
