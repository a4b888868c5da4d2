"""Transactions on named lists and registers, each taking effect as a whole at one instant: a
history is linearizable if it is strictly serializable."""

from __future__ import annotations

from types import NoneType
from typing import Any

from harness.models.base import ANY, INCONSISTENT, KEEP


class Transactions:
    """Operations of any `f`, each a list of steps in order: (`append`, key, element) to a list,
    (`w`, key, value) to a register, (`r`, key, value seen) of either. Values seen by an unknown
    transaction are ignored. Initially every list is empty and every register None."""

    recurs = True

    def init(self) -> frozenset[Any]:
        return frozenset()

    def step(self, state: frozenset[Any], f: str, value: Any, known: bool) -> Any:
        contents = dict(state)
        for what, key, each in value or ():
            now = contents.get(key)
            if what == "append":
                if not isinstance(now, tuple | NoneType):
                    raise ValueError(f"an append to {key!r}, whose value {now!r} is not a list")
                contents[key] = (*(now or ()), each)
            elif what == "w":
                contents[key] = each
            elif what != "r":
                raise ValueError(f"{what!r} is not one of append, w and r")
            elif known and _seen(now) != _seen(each):
                return INCONSISTENT
        return frozenset((key, each) for key, each in contents.items() if each is not None)

    def reads(self, f: str, value: Any) -> bool:
        return all(what == "r" for what, _, _ in value or ())

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        return (ANY, KEEP) if not known and self.reads(f, value) else None


def _seen(contents: Any) -> Any:
    """Return the contents, None for an empty list: it is not distinguished from an absent one."""
    return None if contents == () else contents
