"""What a seed decides beyond the schedule: a different test for every seed.

With `--nemesis all` in a simulation the seed draws which kinds of fault there are, how often and
how strong, the delays of the network, how fast servers are, how many nodes, and the mix of the
workload. Leaving kinds out altogether finds more than mixing everything evenly (Groce et al.,
"Swarm Testing", ISSTA 2012).
"""

from __future__ import annotations

import random

import msgspec

from harness.simulation.network import Delays

# Kinds of fault that a simulation can do to every target; a target may be able to do fewer.
KINDS = ("partition", "slow", "lossy", "clock-drift", "clock-jump", "kill", "pause", "restart",
         "power", "power-all", "failover")  # fmt: skip
NODES = (1, 2, 3, 3, 3, 4, 5, 6)


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


def draw(seed: int, time_limit_s: float, interval_s: float | None) -> tuple[Swarm, int, float]:
    """A swarm, the number of nodes, and the interval between the steps of faults in seconds."""
    rng = random.Random(f"{seed}/swarm")
    nodes = rng.choice(NODES)
    # Tenths of a second, so that it is written and read back as it is.
    longest = max(2, min(20, round(time_limit_s * 10 / 8)))
    interval = interval_s or rng.randint(2, longest) / 10
    # Each kind needs a cycle of its own at worst, and a cycle takes about four intervals.
    room = max(1, min(len(KINDS), int(time_limit_s / (4 * interval))))
    kinds = rng.sample(KINDS, rng.randint(1, room))
    low = rng.choice((20_000, 50_000, 200_000, 1_000_000))
    delays = Delays(
        low_ns=low,
        high_ns=low * rng.choice((2, 5, 20)),
        slow_per_1024=rng.choice((0, 1, 10, 100)),
        bytes_per_s=rng.choice((1_000_000, 12_500_000, 125_000_000)),
    )
    swarm = Swarm(
        faults=tuple(k for k in KINDS if k in kinds),
        strength_percent=rng.choice((25, 50, 100, 200, 400)),
        reads_percent=rng.randint(20, 80),
        client_hosts=rng.randint(1, 5),
        service_ns=rng.choice((5_000, 20_000, 100_000, 500_000)),
        delays=delays,
    )
    return swarm, nodes, interval
