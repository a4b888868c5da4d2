"""A bank: transfers between accounts keep the total."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models.base import ANY, INCONSISTENT, KEEP, unknown_operation


class Bank:
    """Accounts with `transfer` {from, to, amount}, which must not make a balance negative, and
    `read` {account: balance} of all accounts. The first read determines the initial balances. A
    state is (whether there was a read; the balances, or before any read their changes so far)."""

    recurs = True

    def init(self) -> tuple[bool, frozenset[Any]]:
        return False, frozenset()

    def step(self, state: tuple[bool, frozenset[Any]], f: str, value: Any, known: bool) -> Any:
        absolute, balances = state
        if f == "read":
            if not known or value is None:
                return state
            seen = frozenset(_mapping(value).items())
            if absolute:
                return state if seen == balances else INCONSISTENT
            return INCONSISTENT if any(balance < 0 for _, balance in seen) else (True, seen)
        if f != "transfer":
            raise unknown_operation("bank", f, "transfer and read")
        asked, after = _mapping(value), dict(balances)
        for account, change in ((asked["from"], -asked["amount"]), (asked["to"], asked["amount"])):
            after[account] = after.get(account, 0) + change
            if absolute and after[account] < 0:
                return INCONSISTENT
        return absolute, frozenset(after.items())

    def reads(self, f: str, value: Any) -> bool:
        return f == "read"

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        return (ANY, KEEP) if f == "read" and (not known or value is None) else None


def _mapping(value: Any) -> dict[Any, Any]:
    return dict(value.items() if isinstance(value, Mapping) else value)
