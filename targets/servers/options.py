"""Options of our servers, as fields of a dataclass that say what they are for."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any


def option(default: Any, text: str) -> Any:
    """Return a field of an option. `text`: what it is for."""
    return field(default=default, metadata={"text": text})


def described(settings: type[Any]) -> dict[str, str]:
    """Return {name: what it is for, and its default} of the options."""
    found = {}
    for each in fields(settings):
        found[each.name.replace("_", "-")] = f"{each.metadata['text']} [{_shown(each.default)}]"
    return found


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default) or "none"
