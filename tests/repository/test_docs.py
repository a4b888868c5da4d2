"""The examples in the documents run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import harness
from harness.history import History, HistoryWriter, Op
from tests.conftest import server

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


def a_history(path: Path) -> None:
    writer = HistoryWriter(path)
    for op in History([Op(0, 0, "invoke", 0, "write", 1), Op(1, 1, "ok", 0, "write", 1)]):
        writer.append(op)
    writer.close()


def test_the_examples_of_the_checker_run(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    a_history(path)
    assert len(blocks("checking.md")) == 3
    names: dict[str, object] = {"path": path, "__name__": "docs"}
    verdicts = []
    for block in blocks("checking.md"):
        exec(compile(block, "checking.md", "exec"), names)
        verdicts.append(names["verdict"].valid)  # type: ignore[attr-defined]
    assert verdicts[0] is True
    assert verdicts[-1] is False


def test_the_examples_of_the_library_run(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    a_history(path)
    module = type(sys)("documented")
    sys.modules["documented"] = module
    names = vars(module)
    names.update(path=path, results=tmp_path / "results")
    for block in blocks("library.md"):
        exec(compile(block, "library.md", "exec"), names)
    assert names["found"].valid is False
    assert names["faults"]
    assert names["document"].verdict == "invalid"
    assert names["verdict"].valid is True
    spec = harness.Spec(
        target="documented:MyDatabase", environment="simulated", workload="documented:Hello",
        nemesis="documented:Reset", time_limit_s=9, rate=100, seed=2,
    )  # fmt: skip
    results = harness.run(spec, harness.plan_run(tmp_path, "own"))
    assert results.valid is True, results.why
    assert results.claims["coverage"].evidence["faults"]["documented:Reset"]["effective"]


def test_every_exported_name_can_be_loaded() -> None:
    assert sorted(harness.__all__) == sorted(harness._EXPORTS)
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    package = Path(harness.__file__).parent
    modules = {path.stem for path in package.iterdir()}
    assert not modules & set(harness.__all__), "a module of that name would hide it"
    shown = set(re.findall(r"harness\.([A-Z]\w+|[a-z_]+)\(", (DOCS / "library.md").read_text()))
    assert shown <= set(harness.__all__)


def test_importing_the_library_loads_nothing_else() -> None:
    code = (
        "import sys, harness; print(sorted(m for m in sys.modules if m.startswith('harness')"
        " or m in ('redis', 'networkx', 'jinja2')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['harness']"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real
def test_the_generated_tables_are_what_the_registry_says() -> None:
    server("redis-7.0")
    server("valkey-9.1")
    made = generator()
    found = set()
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        found |= {name for _, name, _ in made.MARK.findall(text)}
        assert made.generated(text) == text, f"{path.name}: run python docs/generate.py"
    assert found == set(made.TABLES)


def test_no_document_cites_what_a_reader_does_not_have() -> None:
    """Decisions and behaviours by number, and files beside the repository."""
    cited = re.compile(r"\bD\d{1,2}\b|[Bb]ehaviours? \d|\bmemorydb\.md (\d|section)|checkers\.md")
    root = DOCS.parent
    for folder in ("harness", "targets", "tests", "benchmarks", "docs"):
        for path in [*root.glob(f"{folder}/**/*.py"), *root.glob(f"{folder}/**/*.?pp"),
                     *root.glob(f"{folder}/**/*.md")]:  # fmt: skip
            if path == Path(__file__).resolve():
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not cited.search(line), f"{path.relative_to(root)}:{number}: {line.strip()}"
