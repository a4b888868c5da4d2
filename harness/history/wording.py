"""Details of events in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_LABELS: Final = {"grudge": "grudge (node: whose packets it drops):"}


def described(details: Mapping[str, Any]) -> str:
    """Return the details of an event as `node n1, ms 20`; those that are None are left out."""
    return ", ".join(
        f"{_LABELS.get(name, name.replace('_', ' '))} {plain(value)}"
        for name, value in details.items()
        if value is not None
    )


def plain(value: Any) -> str:
    """Return JSON data as text without brackets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{k}: {plain(v)}" for k, v in value.items()) or "nothing"
    if isinstance(value, list):
        return " ".join(str(v) for v in value) or "none"
    return str(value)
