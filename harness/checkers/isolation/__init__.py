"""Isolation levels of transactions, checked by session order, without real time.

from harness.checkers import isolation

verdict = isolation.check(history, "serializable")
"""

from harness.checkers.isolation.checker import LEVELS, Isolation, check

__all__ = ["LEVELS", "Isolation", "check"]
