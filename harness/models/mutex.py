"""Locks: one that only its owner may release, and one that any client may."""

from __future__ import annotations

from typing import Any

from harness.models.base import INCONSISTENT, unknown_operation


class OwnedLock:
    """A lock with `acquire o` and `release o`: only its owner o may release it. Initially free."""

    recurs = True

    def init(self) -> None:
        return None

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        requires, installs = self.versions(f, value, known)
        return installs if state == requires else INCONSISTENT

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]:
        if f not in ("acquire", "release"):
            raise unknown_operation("lock", f, "acquire and release")
        if value is None:
            raise ValueError(f"model lock: {f} without an owner")
        return (None, value) if f == "acquire" else (value, None)


class Mutex(OwnedLock):
    """A lock without owners, with `acquire` and `release`. Initially free."""

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]:
        return super().versions(f, "held", known)
