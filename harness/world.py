"""The parameters of a simulated world, drawn from the seed before the target is created.

With `--nemesis all` in a simulation the seed determines the number of nodes, the delays of the
network, the speed of the servers, the number of client hosts and the share of reads: a different
test for every seed. The faults are drawn later, see `plan`.
"""

from __future__ import annotations

import msgspec

from harness.spec import Spec, World
from harness.streams import stream

NODES = (2, 3, 3, 3, 4, 5, 6)


def with_world(spec: Spec) -> Spec:
    """Return the spec with a drawn world, and a drawn number of nodes if none is given."""
    rng = stream(spec.seed, "world")
    nodes = rng.choice(NODES)
    low = rng.choice((20_000, 50_000, 200_000, 1_000_000))
    world = World(
        low_ns=low,
        high_ns=low * rng.choice((2, 5, 20)),
        slow_per_1024=rng.choice((0, 1, 10, 100)),
        bytes_per_s=rng.choice((1_000_000, 12_500_000, 125_000_000)),
        reads_percent=rng.randint(20, 80),
        client_hosts=rng.randint(1, 5),
        service_ns=rng.choice((5_000, 20_000, 100_000, 500_000)),
        drawn=("nodes",) if spec.nodes is None else (),
    )
    given = nodes if spec.nodes is None else spec.nodes
    return msgspec.structs.replace(spec, nodes=given, world=world)
