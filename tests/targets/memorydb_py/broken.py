"""A plugin of pytest: tests run against a mutant, `HARNESS_MUTANT=name pytest -p broken`."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tests.targets.memorydb_py.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[3]


class _Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module with one change."""

    def __init__(self, file: str, old: str, new: str) -> None:
        self._path = ROOT / file
        self._module = file.removesuffix(".py").replace("/", ".")
        source = self._path.read_text()
        assert source.count(old) == 1, f"{file}: {source.count(old)} times: {old}"
        self._source = source.replace(old, new)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self._module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)


if "HARNESS_MUTANT" in os.environ:
    mutant = MUTANTS[os.environ["HARNESS_MUTANT"]]
    sys.meta_path.insert(0, _Broken(mutant.file, mutant.old, mutant.new))
