"""The search core in C++; `harness.checkers.linearizability.checker` is the way in."""
