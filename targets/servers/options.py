"""Options of a server, as fields of a dataclass with a description."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any


def option(default: Any, text: str) -> Any:
    """Return the field of an option. `text`: its description."""
    return field(default=default, metadata={"text": text})


def described(settings: type[Any]) -> dict[str, str]:
    """Return the options by name, each with its description and default."""
    found = {}
    for each in fields(settings):
        found[each.name.replace("_", "-")] = f"{each.metadata['text']} [{_shown(each.default)}]"
    return found


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default) or "none"
