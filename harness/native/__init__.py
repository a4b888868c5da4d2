"""The C++ search core; `harness.checkers.linearizable` is the way in."""
