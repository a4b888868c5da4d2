"""Linearizability of a history against a sequential model."""

from harness.checkers.linearizability.checker import check

__all__ = ["check"]
