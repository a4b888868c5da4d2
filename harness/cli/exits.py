"""Exit codes.

0 valid, 1 invalid, 2 unknown, 130 interrupted, 253 the system could not be reached or started,
254 wrong usage, 255 the harness failed.
"""

from __future__ import annotations

from harness.history.record import UNKNOWN, Valid

UNREACHABLE, USAGE, CRASH, INTERRUPTED = 253, 254, 255, 130
OF_VERDICT: dict[Valid, int] = {True: 0, False: 1, UNKNOWN: 2}


class Interrupted(Exception):
    """Ctrl-C during a run; the message names the history that was kept."""


def worst_code(codes: list[int]) -> int:
    """Return the worst exit code: invalid outranks unknown outranks valid."""
    return max(codes, key=[0, 2, 1].index)
