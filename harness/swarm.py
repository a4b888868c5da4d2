"""What a seed decides beyond the schedule: a different test for every seed.

With `--nemesis all` in a simulation the seed draws which kinds of fault there are, how often and
how strong, the delays of the network, how fast servers are, how many nodes, and the mix of the
workload. Leaving kinds out altogether finds more than mixing everything evenly (Groce et al.,
"Swarm Testing", ISSTA 2012).
"""

from __future__ import annotations

import random

import msgspec

from harness.errors import UsageError
from harness.nemesis.faults import ALL
from harness.simulation.delays import Delays

NODES = (2, 3, 3, 3, 4, 5, 6)
CLOCKS = frozenset({"clock-drift", "clock-jump"})


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """`strength_percent`: of clock errors, delays, losses. `reads_percent`: of the operations.
    `client_hosts`: from how many places clients connect. `service_ns`: how long a server needs for
    a command. `drawn`: fields of the spec that the seed filled in, too."""

    faults: tuple[str, ...]
    strength_percent: int
    reads_percent: int
    client_hosts: int
    service_ns: int
    delays: Delays
    drawn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fits = (
            bool(self.faults)
            and set(self.faults) <= set(ALL)
            and 0 < self.strength_percent <= 10_000
            and 0 <= self.reads_percent <= 100
            and 1 <= self.client_hosts <= 100
            and self.service_ns >= 0
        )
        if not fits:
            raise UsageError(f"impossible swarm: {self}")


def draw(
    seed: int, time_limit_s: float, nodes: int | None, interval_s: float | None
) -> tuple[Swarm, int, float]:
    """A swarm, the number of nodes, and the interval between the steps of faults in seconds; what
    is given of the last two is not drawn."""
    rng = random.Random(f"{seed}/swarm")
    drawn_nodes = rng.choice(NODES)
    count = nodes or drawn_nodes
    # Tenths of a second, so that it is written and read back as it is.
    longest = max(2, min(20, round(time_limit_s * 10 / 8)))
    drawn_interval = rng.randint(2, longest) / 10
    interval = interval_s or drawn_interval
    possible = [k for k in ALL if count > 1 or k != "failover"]
    # Each kind needs a cycle of its own at worst, and a cycle takes about four intervals.
    room = max(1, min(len(possible), int(time_limit_s / (4 * interval))))
    kinds = rng.sample(possible, rng.randint(1, room))
    if set(kinds) <= CLOCKS:  # a server that never asks what time it is would not notice
        kinds.append(rng.choice([k for k in possible if k not in CLOCKS]))
    low = rng.choice((20_000, 50_000, 200_000, 1_000_000))
    delays = Delays(
        low_ns=low,
        high_ns=low * rng.choice((2, 5, 20)),
        slow_per_1024=rng.choice((0, 1, 10, 100)),
        bytes_per_s=rng.choice((1_000_000, 12_500_000, 125_000_000)),
    )
    swarm = Swarm(
        faults=tuple(k for k in ALL if k in kinds),
        strength_percent=rng.choice((25, 50, 100, 200, 400)),
        reads_percent=rng.randint(20, 80),
        client_hosts=rng.randint(1, 5),
        service_ns=rng.choice((5_000, 20_000, 100_000, 500_000)),
        delays=delays,
    )
    return swarm, count, interval
