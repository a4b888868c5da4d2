"""Sequential specifications: the results that a single client would see.

A model is a few pure functions on hashable states; see `base.Model`. For example:

    class Register:
        recurs = True
        def init(self): return None
        def step(self, state, f, value, known):
            if f == "write": return value
            return state if value == state else INCONSISTENT
"""

from harness.models.base import INCONSISTENT, Model

__all__ = ["INCONSISTENT", "Model"]
