"""Each mutant of the reference makes the test that `mutants.py` names for it fail.

`python -m pytest -m soak tests/targets/memorydb_py/test_mutants.py` runs every one of them.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.memorydb_py.broken import broken
from tests.targets.memorydb_py.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_mutant_fails_its_test(name: str) -> None:
    file, test = MUTANTS[name].test.split("::")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.targets.memorydb_py.broken",
         "--timeout", "60", f"tests/targets/memorydb_py/{file}", "-k", test],
        cwd=ROOT,
        env=os.environ | {"HARNESS_MUTANT": name},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"\b1 failed|Timeout", done.stdout + done.stderr)


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_mutants_place_and_test_exist(name: str) -> None:
    mutant = MUTANTS[name]
    path, tree = broken(mutant)
    assert ast.dump(tree) != ast.dump(ast.parse(path.read_text()))
    file, test = mutant.test.split("::")
    tests = (ROOT / "tests/targets/memorydb_py" / file).read_text()
    assert f"def {test.split('[')[0]}" in tests


def test_an_unknown_place_or_expression_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"0 places are called Node\.nothing"):
        broken(Mutant("Node.nothing", "1", "2", ""))
    with pytest.raises(ValueError, match="has 0 times"):
        broken(Mutant("Node.handle", "nothing()", "2", ""))
