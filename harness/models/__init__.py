"""Sequential specifications: what one client alone would see.

A model is a handful of pure functions on hashable states; see `base.Model`. Ten lines make one:

    class Register:
        recurs = True
        def init(self): return None
        def step(self, state, f, value, known):
            if f == "write": return value
            return state if value == state else INCONSISTENT
"""

from harness.models.base import INCONSISTENT, Model

__all__ = ["INCONSISTENT", "Model"]
