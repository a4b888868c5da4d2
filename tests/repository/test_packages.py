"""The sdist and the wheel contain exactly their files, and work outside of the repository."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".py", ".pyi", ".typed", ".css", ".j2", ".so"}
SOURCES = SUFFIXES - {".so"} | {".hpp", ".cpp"}
TOP_FILES = {"CHANGELOG.md", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def packages(names: list[str]) -> dict[str, set[str]]:
    """Return the suffixes of the files under each top-level name."""
    found: dict[str, set[str]] = {}
    for name in names:
        path = Path(name)
        found.setdefault(path.parts[0], set()).add(path.suffix)
    return found


@pytest.mark.timeout(300)
def test_the_sdist_contains_only_the_sources(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [n.partition("/")[2] for n in archive.getnames()]
    top = packages([name for name in names if name])
    assert top.keys() == TOP_FILES | {"harness", "targets"}
    assert top["harness"] == SOURCES
    assert top["targets"] == {".py", ".lua"}


@pytest.mark.timeout(300)
def test_the_wheel_contains_only_the_packages(built: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    top = packages(names)
    assert top.keys() == {"harness", "targets", info}
    assert top["harness"] == SUFFIXES
    assert top["targets"] == {".py", ".lua"}
    assert f"{info}/licenses/LICENSE" in names
    every = {str(p.relative_to(ROOT)) for p in ROOT.glob("[ht]ar*/**/*.py")}
    assert every <= set(names)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["*.tar.gz", "*.whl"])
def test_a_package_works_in_a_fresh_virtual_environment(
    built: Path, tmp_path: Path, kind: str
) -> None:
    (package,) = built.glob(kind)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    install = [venv / "bin/pip", "install", "--quiet", str(package)]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for arguments, verdict in (
        (("run", "--target", "memorydb", "--nemesis", "partition", "--time-limit", "8"), "valid "),
        (("check", "results/latest/history.jsonl", "--model", "cas-register"), "valid "),
    ):
        done = subprocess.run(
            [venv / "bin/harness", *arguments], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(verdict)
