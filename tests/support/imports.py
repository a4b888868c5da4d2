"""The import graph of the sources: which module imports which, and the layer of each."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import networkx as nx

# From the top down; a module may import those of its own layer and of the layers below. A name
# that ends in "." is a package.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("harness.__main__", "harness.cli."),
    ("harness.demo.", "harness.replay", "harness.bench."),
    ("harness.campaign",),
    ("harness.runner", "harness.report.", "harness.judge", "harness.parts"),
    ("harness.interpreter", "harness.plan", "harness.world", "harness.workloads.",
     "harness.recorder", "harness.progress", "harness.versions", "harness.copies"),
    ("harness.checkers.", "harness.nemesis.", "harness.generators", "harness.clients.",
     "harness.targets"),
    ("harness.models.", "harness.formats.", "harness.environments.", "harness.native."),
    ("harness.history.", "harness.simulation.", "harness.results"),
    ("harness.host", "harness.spec", "harness.topology", "harness.streams", "harness.registry",
     "harness.binaries", "harness.errors", "harness.shielded", "harness"),
)  # fmt: skip
TARGET_LAYERS: tuple[tuple[str, ...], ...] = (
    ("targets.memorydb_py.__main__", "targets.replicated.redis_model.__main__"),
    ("targets.memorydb_py.target", "targets.replicated.redis_model.target",
     "targets.replicated.vanilla"),
    ("targets.replicated.operator", "targets.memorydb_py.processes", "targets.memorydb_py.audit"),
    ("targets.control", "targets.replicated.lineage", "targets.memorydb_py.node.commands.",
     "targets.replicated.redis_model.commands"),
    ("targets.memorydb_py.node.", "targets.replicated.redis_model."),
    ("targets.memorydb_py.snapshots.",),
    ("targets.memorydb_py.replay", "targets.memorydb_py.entries"),
    ("targets.memorydb_py.log.", "targets.memorydb_py.slots", "targets.memorydb_py",
     "targets.replicated"),
    ("targets.servers.",),
    ("targets.engine.", "targets"),
)  # fmt: skip
# Within their layer, checkers judge what was recorded, and must not import what produced it.
BLIND = ("harness.checkers", "harness.models")
UNSEEN_BY_CHECKERS = (
    "harness.environments", "harness.clients", "harness.targets", "harness.nemesis",
    "harness.generators", "harness.simulation",
)  # fmt: skip


def module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph(root: Path, files: Iterable[Path]) -> nx.DiGraph:
    """Return the modules with an edge to each one that they import, be it at the top, in a
    function, or for type checkers only. The lazy exports of `harness` are left out."""
    names = {module(path, root): path for path in files}
    drawn = nx.DiGraph()
    drawn.add_nodes_from(names)
    for name, path in names.items():
        if name == "harness":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for imported in _imported(node, names):
                if imported != name:
                    drawn.add_edge(name, imported)
    return drawn


def _imported(node: ast.AST, names: Mapping[str, Path]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name in names]
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        found = []
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            found.append(full if full in names else node.module)
        return [each for each in found if each in names]
    return []


def cycles(drawn: nx.DiGraph) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or indirectly."""
    return sorted(sorted(c) for c in nx.strongly_connected_components(drawn) if len(c) > 1)


def layer(name: str) -> int:
    """Return a module's layer, counted from the top, targets above harness; raise KeyError for a
    module without one. A module that is listed itself takes precedence over its package."""
    layers = TARGET_LAYERS + LAYERS
    for number, names in enumerate(layers):
        if name in names:
            return number
    for number, names in enumerate(layers):
        if any(each.endswith(".") and f"{name}.".startswith(each) for each in names):
            return number
    raise KeyError(name)


def upward(drawn: nx.DiGraph) -> list[str]:
    """Return the imports of higher layers, and those that checkers must not have."""
    wrong = []
    for a, b in sorted(drawn.edges):
        blind = a.startswith(BLIND) and b.startswith(UNSEEN_BY_CHECKERS)
        if blind or layer(b) < layer(a):
            wrong.append(f"{a} imports {b}")
    return wrong
