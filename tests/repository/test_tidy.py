"""The repository itself: sizes, banned calls, and documents that must match the code."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from harness.cli.commands import COMMANDS, cli
from harness.clients import DEFINITE_CODES
from harness.registry import load, names
from tests.conftest import files_of

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("targets/**/*.py")])
BANNED = {
    "time.time": "the environment's clock",
    "datetime.now": "the environment's clock",
    "random.random": "a random stream that is passed in",
    "random.choice": "a random stream that is passed in",
    "random.randint": "a random stream that is passed in",
    "random.shuffle": "a random stream that is passed in",
    "random.seed": "a random stream that is passed in",
    "os.urandom": "a random stream that is passed in",
}
# The folders of results are named by the real time, also those of simulated runs.
MAY_KNOW_THE_TIME = {"harness/results.py", "harness/runner.py"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_and_functions_stay_small_and_modules_have_docstrings(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 600
    assert ast.get_docstring(ast.parse(text)), "a module opens with what it is and why"
    for f in functions(path):
        assert (f.end_lineno or 0) - f.lineno < 70, f"{f.name} is too long"
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_time_and_randomness_are_passed_in(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        if called == "datetime.now" and name(path) in MAY_KNOW_THE_TIME:
            continue
        assert called not in BANNED, f"{path}:{node.lineno}: {called}: use {BANNED[called]}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_clocks_and_randomness_are_not_bound_at_import(path: Path) -> None:
    """A name bound at import would still use the machine's clock in a simulated run."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module not in ("time", "random", "uuid", "secrets"), f"{path}:{node.lineno}"


def test_entry_points_are_those_of_the_project_file() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, entries in declared.items():
        found = {e.name: e.value for e in entry_points(group=group)}
        assert found == entries
        for each in entries:
            assert load(group, each).__doc__


def command_of(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def test_the_help_of_a_command_is_its_docstring() -> None:
    """The list repeats the docstrings, so that it is printed without importing the commands."""
    for name, (_, text) in COMMANDS.items():
        help = command_of(name).help or ""
        assert help.split("\n\n")[0].replace("\n", " ") == text, name


def test_every_option_of_the_readme_exists() -> None:
    commands = {n: {o for p in command_of(n).params for o in p.opts} for n in COMMANDS}
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for line in re.findall(r"harness (run .*|check .*)", path.read_text()):
            command = line.split()[0]
            for option in re.findall(r"(--[a-z-]+)", line):
                assert option in commands[command], f"{path.name}: {line}"


def test_docs_name_every_workload_fault_model_and_error_code() -> None:
    workloads = (ROOT / "docs/workloads.md").read_text()
    assert all(f"`{w}`" in workloads for w in names("harness.workloads"))
    assert all(code in workloads for codes in DEFINITE_CODES.values() for code in codes)
    faults = (ROOT / "docs/faults.md").read_text()
    for fault in names("harness.faults"):
        kind = fault.removeprefix("partition")
        assert f"`{fault}`" in faults or f"`{kind}`" in faults, fault
    checking = (ROOT / "docs/checking.md").read_text()
    assert all(f"`{m}`" in checking for m in names("harness.models"))


def test_files_that_tests_leave_are_noticed_and_those_of_tools_are_not(tmp_path: Path) -> None:
    (tmp_path / "harness" / "__pycache__").mkdir(parents=True)
    before = files_of(tmp_path)
    (tmp_path / "harness" / "__pycache__" / "x.pyc").write_text("")
    assert files_of(tmp_path) == before
    (tmp_path / "dump.rdb").write_text("")
    (tmp_path / "harness" / "history.jsonl.columns").write_text("")
    assert files_of(tmp_path) - before == {"dump.rdb", "harness/history.jsonl.columns"}


def test_no_generated_file_is_committed() -> None:
    """Only a git checkout is checked."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    suffixes = (".rdb", ".aof", ".jsonl", ".columns", ".log", ".pyc", ".so")
    assert [f for f in done.stdout.splitlines() if f.endswith(suffixes)] == []


def test_links_between_documents_resolve() -> None:
    for path in [ROOT / "README.md", *ROOT.glob("[a-z]*/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_every_test_that_a_document_names_exists() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))
    known = set(re.findall(r"def (test_\w+)", text))
    known |= {path.stem for path in ROOT.glob("tests/**/test_*.py")}
    for path in [*ROOT.glob("*.md"), *ROOT.glob("[bdt]*/*.md")]:
        for named in re.findall(r"\btest_\w+", path.read_text()):
            assert any(each.startswith(named) for each in known), f"{path.name}: {named}"
