"""Shapes of network partitions, as grudges.

A grudge is a directed map {process: processes whose packets it drops}. All functions are pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from harness.environments.protocol import Grudge


def split(*components: Sequence[str]) -> Grudge:
    """Cut all links between different components."""
    everyone = frozenset(n for c in components for n in c)
    return {n: everyone - frozenset(c) for c in components for n in c}


def one_host(nodes: Sequence[str], host: str) -> Grudge:
    """Cut one node off from all others."""
    return split([host], [n for n in nodes if n != host])


def halves(nodes: Sequence[str], rng: random.Random) -> Grudge:
    """Split the nodes into two random halves."""
    shuffled = rng.sample(list(nodes), len(nodes))
    middle = len(shuffled) // 2
    return split(shuffled[:middle], shuffled[middle:])


def minority(nodes: Sequence[str], rng: random.Random) -> Grudge:
    """Cut a random minority of at least one node off from the majority."""
    shuffled = rng.sample(list(nodes), len(nodes))
    size = rng.randint(1, max(1, (len(nodes) - 1) // 2))
    return split(shuffled[:size], shuffled[size:])


def majorities_ring(nodes: Sequence[str], rng: random.Random) -> Grudge:
    """Every node sees a majority, but no two see the same one (needs four nodes or more)."""
    ring = rng.sample(list(nodes), len(nodes))
    reach = len(ring) // 2 // 2 + (1 if len(ring) // 2 % 2 else 0)
    grudge = {}
    for i, node in enumerate(ring):
        seen = {ring[(i + d) % len(ring)] for d in range(-reach, reach + 1)}
        grudge[node] = frozenset(ring) - seen
    return grudge


def bridge(nodes: Sequence[str], rng: random.Random) -> Grudge:
    """Two components, and one node connected to both (needs three nodes or more)."""
    shuffled = rng.sample(list(nodes), len(nodes))
    middle, rest = shuffled[0], shuffled[1:]
    cut = split(rest[: len(rest) // 2], rest[len(rest) // 2 :])
    return {**cut, middle: frozenset()}


def one_way(source: Sequence[str], sink: Sequence[str]) -> Grudge:
    """Cut the links from the sources to the sinks, but not those in the other direction."""
    return {n: frozenset(source) for n in sink}


def expand(grudge: Grudge, processes: Mapping[str, str]) -> Grudge:
    """Turn a grudge among hosts into one among their processes; other names stay as they are."""
    on: dict[str, list[str]] = {}
    for process, host in processes.items():
        on.setdefault(host, []).append(process)
    return {
        process: frozenset(p for h in dropped for p in on.get(h, [h]))
        for host, dropped in grudge.items()
        for process in on.get(host, [host])
    }


def join(grudges: Iterable[Grudge]) -> Grudge:
    """Return the union of some grudges."""
    joined: dict[str, frozenset[str]] = {}
    for grudge in grudges:
        for node, dropped in grudge.items():
            joined[node] = joined.get(node, frozenset()) | dropped
    return joined


def flows(grudge: Grudge) -> set[tuple[str, str]]:
    """Return the directed pairs (from, to) that a grudge cuts."""
    return {(source, sink) for sink, sources in grudge.items() for source in sources}


def as_json(grudge: Grudge) -> dict[str, list[str]]:
    return {node: sorted(dropped) for node, dropped in sorted(grudge.items()) if dropped}


def from_json(given: Mapping[str, Sequence[str]]) -> Grudge:
    return {node: frozenset(dropped) for node, dropped in given.items()}
