"""Processes that a fault acts on: drawn as a role, found by the state of the moment.

A victim is `primary`; `replica 2`, the second of the nodes that are up and not the primary;
`helper 1`, the first of the processes beside the nodes that the target may lose now; or the name of
a process. Where there are fewer, counting begins anew.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from harness.errors import UsageError
from harness.nemesis.protocol import Chance, Skipped
from harness.nemesis.system import System
from harness.targets import Failover

HELPERS_PERCENT = 40  # how often a process that is no node is drawn, where there are some
_ROLE = re.compile(r"(replica|helper) ([1-9]\d*)")


def draw_node(chance: Chance, system: System[Any, Any]) -> str:
    """The primary as often as not. Where the primary moves in the same cycle always the primary;
    never, where the primary itself has to hand over."""
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
    """A node as above, or now and then another process."""
    helpers = system.helpers
    if helpers and chance.rng.randrange(100) < HELPERS_PERCENT:
        return f"helper {chance.rng.randint(1, len(helpers))}"
    return draw_node(chance, system)


async def find(victim: str, system: System[Any, Any]) -> str:
    """The process; raises `Skipped` where there is none that runs."""
    if victim.startswith("helper "):
        spare = [p for p in system.helpers if p not in system.down and system.tolerated([p])]
        if not spare:
            raise Skipped("none of the processes beside the nodes may be lost now")
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
    """That one of the candidates: by name, or by the number of the role. Raises `Skipped` for the
    name of another."""
    if victim in candidates:
        return victim
    if not _ROLE.fullmatch(victim):
        raise Skipped(f"{victim} can't be chosen now: {', '.join(candidates)} can")
    return _nth(candidates, victim)


def _nth(processes: list[str], role: str) -> str:
    return processes[(int(role.partition(" ")[2]) - 1) % len(processes)]


def check(victim: str, system: System[Any, Any]) -> None:
    """Raises `UsageError` for what can't be a victim here."""
    if victim != "primary" and victim not in system.env.processes and not _ROLE.fullmatch(victim):
        raise UsageError(
            f"{victim!r} is no process: give primary, `replica 1`, `helper 1`, or one of "
            f"{', '.join(system.env.processes)}"
        )


# The type of an argument that names a victim: what a person wrote is checked.
Name = Annotated[str, Meta(extra={"check": check})]


class Victim(TypedDict):
    """The arguments of a fault of one process."""

    victim: Name
