"""What each model says of single operations: the specification, spelled out."""

from __future__ import annotations

import pytest

from harness.models.base import ANY, INCONSISTENT, KEEP, Versioned
from harness.models.counter import Counter
from harness.models.list_append import ListAppend
from harness.models.register import CasRegister, Register
from harness.models.set import GrowSet

NO = INCONSISTENT
STEPS = [
    (Register(), None, "write", 1, True, 1),
    (Register(), 1, "read", 1, True, 1),
    (Register(), 1, "read", 2, True, NO),
    (Register(), 1, "read", None, True, NO),
    (Register(), None, "read", None, True, None),
    (Register(), 1, "write", 2, False, 2),
    (CasRegister(), 1, "cas", (1, 2, 1), True, 2),
    (CasRegister(), 3, "cas", (1, 2, 3), True, 3),
    (CasRegister(), 1, "cas", (1, 2, 3), True, NO),
    (CasRegister(), 3, "cas", (1, 2, 1), True, NO),
    (CasRegister(), 1, "cas", (1, 2), False, 2),
    (CasRegister(), 3, "cas", (1, 2), False, NO),
    (CasRegister(), 1, "cas-watch", (1, 2, 1), True, 2),
    (CasRegister(), 1, "write", 5, True, 5),
    (ListAppend(), (), "append", (1, 1), True, (1,)),
    (ListAppend(), (1,), "append", (2, 2), True, (1, 2)),
    (ListAppend(), (1,), "append", (2, 3), True, NO),
    (ListAppend(), (1,), "append", (2, None), True, (1, 2)),
    (ListAppend(), (1,), "append", 2, False, (1, 2)),
    (ListAppend(), (1, 2), "read", (1, 2), True, (1, 2)),
    (ListAppend(), (1, 2), "read", (2, 1), True, NO),
    (ListAppend(), (1,), "read", (), True, NO),
    (ListAppend(), (), "read", None, True, ()),
    (Counter(), 0, "add", (2, 2), True, 2),
    (Counter(), 1, "add", (2, 2), True, NO),
    (Counter(), 1, "add", 2, False, 3),
    (Counter(), 3, "read", 3, True, 3),
    (Counter(), 3, "read", 4, True, NO),
    (GrowSet(), frozenset(), "add", 1, True, frozenset({1})),
    (GrowSet(), frozenset({1}), "add", 1, True, frozenset({1})),
    (GrowSet(), frozenset({1, 2}), "read", (2, 1), True, frozenset({1, 2})),
    (GrowSet(), frozenset({1, 2}), "read", (1,), True, NO),
]


@pytest.mark.parametrize(("model", "state", "f", "value", "known", "after"), STEPS)
def test_step(model, state, f, value, known, after) -> None:
    assert model.step(state, f, value, known) == after


@pytest.mark.parametrize(("model", "state", "f", "value", "known", "after"), STEPS)
def test_versions_agree_with_step(model, state, f, value, known, after) -> None:
    assert isinstance(model, Versioned)
    versions = model.versions(f, value, known)
    if versions is None:
        return
    requires, installs = versions
    if requires is not ANY and requires != state:
        assert after is NO
    else:
        assert after == (state if installs is KEEP else installs)
