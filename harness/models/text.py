"""A string with put, append and get, as in the key-value store of MIT 6.824."""

from __future__ import annotations

from typing import Any

from harness.models.base import ANY, INCONSISTENT, KEEP, unknown_operation


class Text:
    """A string with `put s`, `append s` and `get`, where None is the empty string. Initially
    empty."""

    recurs = True

    def init(self) -> str:
        return ""

    def step(self, state: str, f: str, value: Any, known: bool) -> Any:
        if f == "put":
            return value
        if f == "append":
            return state + value
        if f == "get":
            return state if not known or (value or "") == state else INCONSISTENT
        raise unknown_operation("text", f, "get, put and append")

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        if f == "get":
            return (value or "" if known else ANY), KEEP
        return (ANY, value) if f == "put" else None

    def appended(self, f: str, value: Any) -> Any:
        return value if f == "append" else ""

    def reaches(self, state: str, later: str) -> bool:
        return later.startswith(state)
