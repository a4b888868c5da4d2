"""The search core in C++; use it through `harness.checkers.linearizability.checker`."""
