"""Several registers that are read and written in transactions."""

from __future__ import annotations

from typing import Any

from harness.models.base import ANY, INCONSISTENT, KEEP, unknown_operation


class MultiRegister:
    """Registers, numbered from 0, with `txn` and `read`, each a list of steps in order: (`w`,
    register, value) or (`r`, register, value seen). Values seen by an unknown transaction are
    ignored. Initially all None."""

    recurs = True

    def __init__(self, size: int = 3) -> None:
        self._size = size

    def init(self) -> tuple[Any, ...]:
        return (None,) * self._size

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f not in ("txn", "read"):
            raise unknown_operation("multi-register", f, "txn and read")
        registers = list(state)
        for what, register, each in value:
            if what == "w":
                registers[register] = each
            elif known and registers[register] != each:
                return INCONSISTENT
        return tuple(registers)

    def reads(self, f: str, value: Any) -> bool:
        return all(what == "r" for what, _, _ in value)

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        """Return the states of a transaction that only reads, or only writes, all registers."""
        registers = [register for _, register, _ in value]
        if registers != list(range(self._size)):
            return None
        kinds = {what for what, _, _ in value}
        values = tuple(each for _, _, each in value)
        if kinds == {"w"}:
            return ANY, values
        if kinds == {"r"}:
            return (values, KEEP) if known else (ANY, KEEP)
        return None
