"""Victims: the processes that a fault acts on, drawn as roles and resolved on injection.

A victim is `primary`; `replica 2`, the second of the nodes that are up and not the primary;
`helper 1`, the first process that is not a node and whose loss the target tolerates now; or the
name of a process. Numbers beyond the last one wrap around.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from harness.errors import UsageError
from harness.nemesis.protocol import Chance, Skipped
from harness.nemesis.system import System
from harness.targets import Failover

HELPERS_PERCENT = 40  # how often a process that is not a node is drawn, if there are any
_ROLE = re.compile(r"(replica|helper) ([1-9]\d*)")


def draw_node(chance: Chance, system: System[Any, Any]) -> str:
    """Draw a node, the primary at least half of the time. If the primary moves in the same cycle:
    always the primary, or never where the primary itself performs the hand-over."""
    count, rng = len(system.env.nodes), chance.rng
    if chance.primary_moves:
        target = system.target
        if isinstance(target, Failover) and target.hands_over and count > 1:
            return f"replica {rng.randint(1, count - 1)}"
        return "primary"
    if rng.random() < 0.5:
        return "primary"
    number = rng.randrange(count)
    return f"replica {number}" if number else "primary"


def draw_process(chance: Chance, system: System[Any, Any]) -> str:
    """Draw a node, or sometimes (`HELPERS_PERCENT`) another process."""
    helpers = system.helpers
    if helpers and chance.rng.randrange(100) < HELPERS_PERCENT:
        return f"helper {chance.rng.randint(1, len(helpers))}"
    return draw_node(chance, system)


async def find(victim: str, system: System[Any, Any]) -> str:
    """Return the process that a victim is now. Raises `Skipped` if none is running."""
    if victim.startswith("helper "):
        spare = [p for p in system.helpers if p not in system.down and system.tolerated([p])]
        if not spare:
            raise Skipped("no process other than a node may be lost now")
        return _nth(spare, victim)
    up = system.up
    if victim in system.env.processes:
        if victim in system.down | system.paused:
            raise Skipped(f"{victim} is stopped already")
        return victim
    if not up:
        raise Skipped("no node is up")
    primary = await system.target.primary()
    if victim == "primary":
        return primary if primary in up else up[0]
    return _nth([n for n in up if n != primary] or up, victim)


def choose(victim: str, candidates: list[str]) -> str:
    """Return one of the candidates: by name, or by the number of the role. Raises `Skipped` for
    any other name."""
    if victim in candidates:
        return victim
    if not _ROLE.fullmatch(victim):
        raise Skipped(f"{victim} can't be chosen now, only {', '.join(candidates)}")
    return _nth(candidates, victim)


def _nth(processes: list[str], role: str) -> str:
    return processes[(int(role.partition(" ")[2]) - 1) % len(processes)]


def check(victim: str, system: System[Any, Any]) -> None:
    """Raise `UsageError` for a text that is neither a role nor the name of a process."""
    if victim != "primary" and victim not in system.env.processes and not _ROLE.fullmatch(victim):
        raise UsageError(
            f"{victim!r} is not a process: give primary, `replica 1`, `helper 1`, or one of "
            f"{', '.join(system.env.processes)}"
        )


# The type of an argument that names a victim; `check` validates a user's text.
Name = Annotated[str, Meta(extra={"check": check})]


class Victim(TypedDict):
    """The arguments of a fault that acts on one process."""

    victim: Name
