"""Named streams of random numbers.

Every part of a run draws from its own stream, derived from the run's seed and a name: `world` for
the parameters of a simulated world, `faults` for the plan, `workers` for the choice of the next
free worker, `client/3` for the operations of worker 3, and in a simulation `link/n1>n2`, `disk/n1`,
`process/n1/2`. Removing one fault or one client does not change the draws of the others.
"""

from __future__ import annotations

import random


def stream(seed: int | str, name: str) -> random.Random:
    """Return the stream of a name: the same on every machine and in every version of Python."""
    return random.Random(f"{seed}/{name}")
