"""Named streams of random numbers.

Every part of a run draws from a stream of its own, made of the run's seed and a name: `world` what
shapes a simulated world, `faults` the plan, `workers` which free worker goes next, `client/3` what
worker 3 does, and in a simulation `link/n1>n2`, `disk/n1`, `process/n1/2`. Taking away one fault
or one client leaves the draws of all others as they were.
"""

from __future__ import annotations

import random


def stream(seed: int | str, name: str) -> random.Random:
    """The stream of that name: the same on every machine and every Python."""
    return random.Random(f"{seed}/{name}")
