"""Checkers of the claims of runs that need no model."""
