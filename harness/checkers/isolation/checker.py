"""Isolation of transactions: read committed to serializable, by session order, without real time.

The axioms are those of Biswas & Enea 2019: there must be a commit order of all transactions that
extends session order and write-read dependencies, and in which a read sees the last of the writes
that the level makes visible to it. Implied edges are added until there are no new ones; for the two
strongest levels the orders that are still open are guessed. Snapshot isolation: Cerone & Gotsman
2018, (SO ∪ WR ∪ WW) ; RW? is acyclic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import networkx as nx

from harness.checkers.isolation.observed import INITIAL, Observed, Read, observe
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import History, Pair
from harness.history.recorded import Recorded

Edge = tuple[int, int]
Because = dict[Edge, str]
GUESSES_MAX: Final = 20
PAIRS_MAX: Final = 20_000  # of writers of one key; with more, no orders are guessed
Graph = nx.DiGraph  # of transactions


class Isolation:
    """The claim that transactions are isolated from each other at a level, one of LEVELS."""

    def __init__(self, level: str) -> None:
        self.level = level

    def check(self, recorded: Recorded, /) -> Verdict:
        """Return the verdict. Raises ValueError for malformed steps or a value written twice."""
        return _check(recorded.pairs, self.level)


def check(history: History, level: str) -> Verdict:
    """Return the verdict on a history at one of LEVELS; raises ValueError as `Isolation` does."""
    return Isolation(level).check(Recorded(history))


def _check(pairs: Iterable[Pair], level: str) -> Verdict:
    observed = observe(pairs)
    evidence = {
        "level": level,
        "transactions": len(observed.transactions) - 1,
        "sessions": len({t.session for t in observed.transactions[1:]}),
        "reads": len(observed.reads),
    }
    if observed.anomalies:
        evidence["anomalies"] = observed.anomalies[:10]
        return Verdict(valid=False, why=observed.anomalies[0], evidence=evidence)
    if not any(t.known for t in observed.transactions[1:]):
        return Verdict(valid=UNKNOWN, why="no transaction was committed", evidence=evidence)
    because = _base(observed)
    cycle = _cycle(because)
    if cycle is None:
        found = LEVELS[level](observed, because)
        if found == "undecided":
            why = "too many possible version orders"
            return Verdict(valid=UNKNOWN, why=f"not decided: {why}", evidence=evidence)
        cycle = found
    if cycle is None:
        return Verdict(
            valid=True,
            why=f"{evidence['transactions']} transactions are {level}",
            evidence=evidence,
        )
    steps = [
        {
            "before": observed.transactions[a].name,
            "after": observed.transactions[b].name,
            "why": why,
        }
        for (a, b), why in cycle
    ]
    evidence["cycle"] = steps
    edges = [f"{s['before']} precedes {s['after']}, because {s['why']}" for s in steps]
    return Verdict(valid=False, why=f"not {level}: {'; '.join(edges)}", evidence=evidence)


Cycle = list[tuple[Edge, str]]
Found = Cycle | Literal["undecided"] | None  # None: the level holds


def _base(observed: Observed, *, versions: bool = True) -> Because:
    """Return the edges of session order, of write-read dependencies, from the initial state, and,
    with `versions`, of the version orders that lists show."""
    because: Because = {}
    last: dict[Hashable, int] = {}
    for i, t in enumerate(observed.transactions[1:], 1):
        because[last.get(t.session, INITIAL), i] = "that is the session order"
        last[t.session] = i
    for read in observed.reads:
        because.setdefault(
            (read.writer, read.reader), f"it wrote the {read.value} that was read from {read.key}"
        )
    for before, after, key in observed.versions if versions else ():
        because.setdefault((before, after), f"reads of {key} show their appends in this order")
    for key, writers in observed.writers.items():
        for writer in writers:
            because.setdefault((INITIAL, writer), f"{key} was empty initially")
    return because


def _cycle(because: Because) -> Cycle | None:
    """Return a short cycle, each edge with its reason, or None."""
    graph = Graph(list(because))
    for component in nx.strongly_connected_components(graph):
        node = next(iter(component))
        if len(component) == 1 and not graph.has_edge(node, node):
            continue
        inside = graph.subgraph(sorted(component))
        best: list[int] | None = None
        for a, b in list(inside.edges)[:200]:
            path = nx.shortest_path(inside, b, a)
            if best is None or len(path) < len(best):
                best = path
        assert best is not None
        nodes = [*best[-1:], *best]
        return [((a, b), because[a, b]) for a, b in pairwise(nodes)]
    return None


def _writes(observed: Observed) -> list[set[Hashable]]:
    """Return the set of keys that each transaction wrote."""
    keys: list[set[Hashable]] = [set() for _ in observed.transactions]
    for key, writers in observed.writers.items():
        for writer in writers:
            keys[writer].add(key)
    return keys


def _must_precede(observed: Observed, because: Because, read: Read, writers: Iterable[int]) -> None:
    """Order `writers`, whose writes are visible to the reader, before the one it read from."""
    for writer in writers:
        if writer not in (read.writer, read.reader, INITIAL):
            because.setdefault(
                (writer, read.writer),
                f"both wrote {read.key}, and {observed.transactions[read.reader].name}, to which "
                "the first was visible, read from the second",
            )


def _read_committed(observed: Observed, because: Because) -> Found:
    writes = _writes(observed)
    before: dict[int, list[Read]] = {}
    for read in observed.reads:
        earlier = before.setdefault(read.reader, [])
        _must_precede(observed, because, read,
                      [e.writer for e in earlier if read.key in writes[e.writer]])  # fmt: skip
        earlier.append(read)
    return _cycle(because)


def _read_atomic(observed: Observed, because: Because) -> Found:
    writes = _writes(observed)
    saw: dict[int, list[int]] = {}
    for read in observed.reads:
        saw.setdefault(read.reader, []).append(read.writer)
    last: dict[Hashable, dict[Hashable, int]] = {}  # by session and key: the last writer
    latest: list[dict[Hashable, int]] = []
    for t in range(len(observed.transactions)):
        mine = last.setdefault(observed.transactions[t].session, {})
        latest.append(dict(mine))
        mine.update(dict.fromkeys(writes[t], t))
    for read in observed.reads:
        seen = [w for w in saw[read.reader] if read.key in writes[w]]
        earlier = latest[read.reader].get(read.key, INITIAL)
        _must_precede(observed, because, read, [*seen, earlier])
    return _cycle(because)


def _causal(observed: Observed, because: Because) -> Found:
    seen = _base(observed, versions=False)  # causality, without version orders
    ancestors = _reached(len(observed.transactions), [(b, a) for a, b in seen])
    for read in observed.reads:
        writers = observed.writers.get(read.key, [])
        _must_precede(observed, because, read,
                      [w for w in writers if ancestors[read.reader] >> w & 1])  # fmt: skip
    return _cycle(because)


def _reached(size: int, edges: Sequence[Edge]) -> list[int]:
    """Return the nodes that each node of an acyclic graph reaches, as bit sets."""
    graph = Graph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(edges)
    reached = [0] * size
    for node in reversed(list(nx.topological_sort(graph))):
        for later in graph.successors(node):
            reached[node] |= reached[later] | 1 << later
    return reached


class _Strong:
    """Searches for a version order of every key, for snapshot isolation or serializability. All
    branches of the search share one limit of guesses."""

    def __init__(self, observed: Observed, snapshot: bool) -> None:
        self._observed = observed
        self._snapshot = snapshot
        self._size = len(observed.transactions)
        self._guesses = GUESSES_MAX

    def find(self, because: Because) -> Found:
        if sum(len(writers) ** 2 for writers in self._observed.writers.values()) > PAIRS_MAX:
            return _causal(self._observed, dict(because)) or "undecided"
        found: Found = self._saturate(because)
        if found is not None:
            return found
        undecided = self._undecided(because)
        if not undecided or self._is_order(because):
            return None
        if self._guesses <= 0:
            return "undecided"
        self._guesses -= 1
        a, b, key = undecided[0]
        for edge in ((a, b), (b, a)):
            guess = {**because, edge: f"both wrote {key}, and the opposite order has a cycle, too"}
            found = self.find(guess)
            if found is None or found == "undecided":
                return found
        return found

    def _undecided(self, because: Because) -> list[tuple[int, int, Hashable]]:
        return [
            (a, b, key)
            for key, writers in self._observed.writers.items()
            for i, a in enumerate(writers)
            for b in writers[i + 1 :]
            if (a, b) not in because and (b, a) not in because
        ]

    def _is_order(self, because: Because) -> bool:
        """Return whether completing all version orders by a topological sort leaves no cycle."""
        graph = Graph()
        graph.add_nodes_from(range(self._size))
        graph.add_edges_from(self._edges(because))
        position = {t: i for i, t in enumerate(nx.lexicographical_topological_sort(graph))}
        guessed = dict(because)
        for writers in self._observed.writers.values():
            ordered = sorted(writers, key=position.__getitem__)
            for i, a in enumerate(ordered):
                guessed.update({(a, b): "" for b in ordered[i + 1 :]})
        return _cycle(self._edges(guessed)) is None

    def _edges(self, because: Because) -> Because:
        """Return the edges with those of anti-dependencies (rw) added: a reader of a version
        precedes the writer of a later one. For snapshot isolation, its predecessors do."""
        edges = dict(because)
        names = self._observed.transactions
        before: dict[int, list[int]] = {}
        for a, b in because:
            before.setdefault(b, []).append(a)
        for read in self._observed.reads:
            for writer in self._observed.writers.get(read.key, []):
                if writer == read.reader or (read.writer, writer) not in because:
                    continue
                why = f"it read a version of {read.key} that precedes the second's"
                if not self._snapshot:
                    edges.setdefault((read.reader, writer), why)
                    continue
                for earlier in before.get(read.reader, []):
                    edges.setdefault(
                        (earlier, writer),
                        f"{names[read.reader].name} began after the first "
                        f"({because[earlier, read.reader]}) and read a version of {read.key} that "
                        "precedes the second's",
                    )
        return edges

    def _saturate(self, because: Because) -> Cycle | None:
        """Add to `because` the edges that it implies; return a cycle if there is one."""
        while True:
            edges = self._edges(because)
            cycle = _cycle(edges)
            if cycle is not None:
                return cycle
            size = len(because)
            reached = _reached(self._size, list(edges))
            for key, writers in self._observed.writers.items():
                for a in writers:
                    for b in writers:
                        if reached[a] >> b & 1:
                            because.setdefault(
                                (a, b), f"both wrote {key}, and the other edges imply this order"
                            )
            ancestors = _reached(self._size, [(b, a) for a, b in edges])
            visible = ancestors
            if self._snapshot:
                visible = [0] * self._size
                for a, b in because:
                    visible[b] |= ancestors[a] | 1 << a
            for read in self._observed.reads:
                writers = self._observed.writers.get(read.key, [])
                _must_precede(self._observed, because, read,
                              [w for w in writers if visible[read.reader] >> w & 1])  # fmt: skip
            if len(because) == size:
                return None


LEVELS: Final[Mapping[str, Callable[[Observed, Because], Found]]] = {
    "read-committed": _read_committed,
    "read-atomic": _read_atomic,
    "causal": _causal,
    "snapshot-isolation": lambda o, because: _Strong(o, True).find(because),
    "serializable": lambda o, because: _Strong(o, False).find(because),
}
