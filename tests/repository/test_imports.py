"""Imports point down the layers and have no cycles."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest

from tests.support.imports import cycles, graph, upward

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def drawn() -> nx.DiGraph:
    return graph(ROOT, sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("targets/**/*.py")]))


def test_imports_have_no_cycles(drawn: nx.DiGraph) -> None:
    assert cycles(drawn) == []


def test_every_import_points_down(drawn: nx.DiGraph) -> None:
    assert upward(drawn) == []


def test_harness_never_imports_targets(drawn: nx.DiGraph) -> None:
    wrong = [(a, b) for a, b in drawn.edges if a.startswith("harness") and b.startswith("targets")]
    assert wrong == []


def test_node_and_audit_reach_the_log_through_its_interface(drawn: nx.DiGraph) -> None:
    """Only `processes`, `target` and `__main__` assemble the parts of a process."""
    allowed = ("targets.memorydb_py.log.", "targets.memorydb_py.processes",
               "targets.memorydb_py.target", "targets.memorydb_py.__main__")  # fmt: skip
    for a, b in drawn.edges:
        if b.startswith("targets.memorydb_py.log.") and not a.startswith(allowed):
            assert b == "targets.memorydb_py.log.interface", f"{a} imports {b}"


def test_an_engine_is_reached_through_its_protocol(drawn: nx.DiGraph) -> None:
    """The state, execution and values of the Python engine are private: no server imports them."""
    private = ("targets.engine.state", "targets.engine.execution", "targets.engine.values")
    for a, b in drawn.edges:
        if not a.startswith("targets.engine"):
            assert b not in private, f"{a} imports {b}"


def test_servers_import_only_the_host_from_the_harness(drawn: nx.DiGraph) -> None:
    """Servers import only `harness.host`; modules that face the harness import its protocols."""
    protocols = (
        "harness.targets", "harness.environments.protocol", "harness.clients",
        "harness.clients.replies", "harness.errors", "harness.host",
        "harness.binaries", "harness.topology",
    )  # fmt: skip
    faces_the_harness = {
        "targets.control", "targets.replicated.operator", "targets.replicated.vanilla",
        "targets.replicated.redis_model.target", "targets.memorydb_py.target",
    }  # fmt: skip
    model = {"targets.engine.model"}
    for a, b in drawn.edges:
        if not a.startswith("targets") or not b.startswith("harness"):
            continue
        if a in faces_the_harness:
            assert b in protocols, f"{a} imports {b}"
        elif a in model:
            assert b.startswith(("harness.models", "harness.history", "harness.host")), (a, b)
        else:
            assert b == "harness.host", f"{a} imports {b}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from harness.nemesis import kill\n", "cycle"),
        ("def late():\n    from harness.nemesis.kill import Kill\n", "cycle"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import harness.nemesis.kill\n",
         "cycle"),
        ("from harness.campaign import run\n", "up"),
    ],
)  # fmt: skip
def test_a_planted_import_is_found(tmp_path: Path, text: str, found: str) -> None:
    """In a copy of harness.nemesis, `system`, which `kill` imports, gets one more import."""
    package = tmp_path / "harness" / "nemesis"
    package.mkdir(parents=True)
    for path in sorted((ROOT / "harness" / "nemesis").glob("*.py")):
        (package / path.name).write_text(path.read_text())
    (tmp_path / "harness" / "campaign.py").write_text("")
    files = sorted(tmp_path.rglob("*.py"))
    assert cycles(graph(tmp_path, files)) == upward(graph(tmp_path, files)) == []
    system = package / "system.py"
    system.write_text(system.read_text() + text)
    if found == "cycle":
        assert any("harness.nemesis.kill" in cycle for cycle in cycles(graph(tmp_path, files)))
    else:
        assert upward(graph(tmp_path, files)) == ["harness.nemesis.system imports harness.campaign"]


def test_a_checker_that_imports_a_target_is_found(tmp_path: Path) -> None:
    package = tmp_path / "harness" / "checkers"
    package.mkdir(parents=True)
    (tmp_path / "harness" / "targets.py").write_text("")
    (package / "one.py").write_text("from harness.targets import Target\n")
    files = sorted(tmp_path.rglob("*.py"))
    assert upward(graph(tmp_path, files)) == ["harness.checkers.one imports harness.targets"]
