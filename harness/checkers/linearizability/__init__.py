"""Linearizability of a history against a sequential model.

    from harness.checkers import linearizability

    verdict = linearizability.check(history, Register())

`checker` is the way in; `entries` operations of one key and what the core says of them; `search`
hands them to the native core; `alphabet` the distinct operations of a model; `fast_paths` what
needs no search, with `counters`; `shrink` a minimal violation, told by `witness`, `explanation` and
`prefixes`; `hardness` why a key was not decided.
"""

from harness.checkers.linearizability.checker import Linearizable, check
from harness.checkers.linearizability.entries import Budget

__all__ = ["Budget", "Linearizable", "check"]
