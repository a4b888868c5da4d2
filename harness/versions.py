"""Versions of everything that determines a run: Python, libraries, the code itself."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import inspect
import platform
from pathlib import Path


def versions(target: type) -> dict[str, str]:
    """Return versions by name. Queries the machine, so simulated code must not call it."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("consistency-harness", "redis", "hiredis"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return {**found, "code": code_hash(target)}


def code_hash(target: type) -> str:
    """Hash the sources that determine what a seed produces: the harness' and the target's."""
    files = set(Path(__file__).parent.rglob("*.py"))
    source = None
    with contextlib.suppress(TypeError):  # a class that was typed in has no file
        source = inspect.getsourcefile(target)
    if source is not None:
        package = importlib.import_module(target.__module__.partition(".")[0])
        folders = [Path(p) for p in getattr(package, "__path__", ())]
        files |= {f for folder in folders for f in folder.rglob("*.py")} or {Path(source)}
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
