"""History in, verdict out.

    from harness.checkers import linearizability
    verdict = linearizability.check(history, Register())

`verdict` holds the three-valued result, `linearizable` the search, `witness` the minimal
counterexample and its words; `replicas`, `accounting`, `coverage`, `availability` and
`performance` read the same history for other claims.
"""

from harness.checkers.verdict import UNKNOWN, Valid, Verdict, worst

__all__ = ["UNKNOWN", "Valid", "Verdict", "worst"]
