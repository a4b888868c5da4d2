"""A pytest plugin that runs tests against a mutant:
`HARNESS_MUTANT=name python -m pytest -p tests.targets.memorydb_py.broken`."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.targets.memorydb_py.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("targets/memorydb_py", "targets/servers", "targets/engine", "harness/simulation")


def places(path: Path, tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield the functions and constants of a module, by their full names."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{name}.{child.name}", child
                yield from walk(child, f"{name}.{child.name}")
            elif isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
                yield f"{name}.{child.targets[0].id}", child

    yield from walk(tree, path.stem)


@cache
def all_places() -> list[tuple[Path, str]]:
    return [
        (path, name)
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, _ in places(path, ast.parse(path.read_text()))
    ]


def broken(mutant: Mutant) -> tuple[Path, ast.Module]:
    """Return the file that a mutant changes, and its changed syntax tree. Raises ValueError unless
    place and expression are found exactly once."""
    found = [path for path, name in all_places() if f".{name}".endswith(f".{mutant.place}")]
    if len(found) != 1:
        raise ValueError(f"{len(found)} places are called {mutant.place}")
    tree = ast.parse(found[0].read_text())
    (place,) = (n for name, n in places(found[0], tree) if f".{name}".endswith(f".{mutant.place}"))
    count = replace(place, ast.parse(mutant.old).body, ast.parse(mutant.new).body)
    if count != 1:
        raise ValueError(f"{mutant.place} has {count} times: {mutant.old}")
    return found[0], ast.fix_missing_locations(tree)


def replace(place: ast.AST, old: list[ast.stmt], new: list[ast.stmt]) -> int:
    """Replace an expression, or statements, within a place; return the number of replacements."""
    expression = isinstance(old[0], ast.Expr) and len(old) == 1 and isinstance(new[0], ast.Expr)
    if expression and len(new) == 1:
        return _replace_expression(place, old[0].value, new[0].value)  # type: ignore[attr-defined]
    wanted, count = [ast.dump(each) for each in old], 0
    for node in list(ast.walk(place)):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if not isinstance(body, list):
                continue
            for i in range(len(body) - len(old), -1, -1):
                if [ast.dump(each) for each in body[i : i + len(old)]] == wanted:
                    body[i : i + len(old)] = new
                    count += 1
    return count


def _replace_expression(place: ast.AST, old: ast.expr, new: ast.expr) -> int:
    wanted, count = ast.dump(old), 0
    for node in list(ast.walk(place)):
        for field, value in ast.iter_fields(node):
            values = value if isinstance(value, list) else [value]
            for i, each in enumerate(values):
                if isinstance(each, ast.AST) and ast.dump(each) == wanted:
                    count += 1
                    if isinstance(value, list):
                        value[i] = new
                    else:
                        setattr(node, field, new)
    return count


class _Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import hook that loads one module from its changed syntax tree."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self._path, self._tree = path, tree
        parts = path.relative_to(ROOT).with_suffix("").parts
        self._module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


if "HARNESS_MUTANT" in os.environ:
    sys.meta_path.insert(0, _Broken(*broken(MUTANTS[os.environ["HARNESS_MUTANT"]])))
