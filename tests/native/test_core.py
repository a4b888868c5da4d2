"""Builds and runs the C++ unit tests of the search core, with sanitizers and warnings as errors."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.real


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_core(tmp_path: Path, sanitizers: str) -> None:
    """Memory errors, undefined behaviour and data races fail the test, as wrong verdicts do."""
    compiler = shutil.which("g++") or shutil.which("c++")
    require(compiler, "no C++ compiler on PATH")
    assert compiler is not None
    program = tmp_path / "core"
    flags = ["-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Wshadow", "-Werror"]
    includes = ["-I", str(ROOT / "harness/native")]
    header = subprocess.run(
        [compiler, "-std=c++20", "-x", "c++", "-E", "-"], input="#include <doctest/doctest.h>",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    require(header.returncode == 0, "no doctest (Debian: doctest-dev)")
    built = subprocess.run(
        [compiler, *flags, f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", *includes,
         str(ROOT / "tests/native/test_core.cpp"), "-o", str(program), "-pthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-3000:]
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "0 failed" in done.stdout
