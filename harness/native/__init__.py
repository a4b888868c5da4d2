"""The search core in C++; `harness.checkers.linearizable` is the way in."""
