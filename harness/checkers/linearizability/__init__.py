"""Linearizability of a history against a sequential model.

    from harness.checkers import linearizability

    verdict = linearizability.check(history, Register())

`checker` is the entry point; `entries` defines operations, budgets and outcomes; `search` calls the
native core; `alphabet` numbers the distinct operations of a history; `fast_paths` and `counters`
handle histories that need no search; `shrink` minimizes a violation, which `witness`, `explanation`
and `prefixes` describe; `hardness` describes keys that were not decided.
"""

from harness.checkers.linearizability.checker import Linearizable, check
from harness.checkers.linearizability.entries import Budget

__all__ = ["Budget", "Linearizable", "check"]
