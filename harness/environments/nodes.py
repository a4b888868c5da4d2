"""The names of nodes."""

from __future__ import annotations


def node_names(count: int) -> tuple[str, ...]:
    """Return the names n1, n2, … of `count` nodes."""
    return tuple(f"n{i + 1}" for i in range(count))
