"""Each behaviour, broken, is noticed by the test that docs/memorydb.md names for it.

`python -m pytest -m soak tests/targets/memorydb_py/test_mutants.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.memorydb_py.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_broken_reference_is_noticed(name: str) -> None:
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


def test_every_mutant_can_be_made() -> None:
    for name, mutant in MUTANTS.items():
        source = (ROOT / mutant.file).read_text()
        assert source.count(mutant.old) == 1, f"{name}: {source.count(mutant.old)} times"
        file, test = mutant.test.split("::")
        tests = (ROOT / "tests/targets/memorydb_py" / file).read_text()
        assert f"def {test.split('[')[0]}" in tests, name
