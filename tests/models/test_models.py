"""The transitions of each model for single operations."""

from __future__ import annotations

import pytest

from harness.models.bank import Bank
from harness.models.base import ANY, INCONSISTENT, KEEP, Versioned
from harness.models.counter import Counter
from harness.models.fields import Hash, SortedSet
from harness.models.fifo import FifoQueue
from harness.models.list_append import ListAppend
from harness.models.priority_queue import PriorityQueue
from harness.models.register import CasRegister, Register
from harness.models.set import GrowSet, Set
from harness.models.stack import Stack
from harness.models.transactions import Transactions

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
    (Set(), frozenset(), "add", (1, True), True, frozenset({1})),
    (Set(), frozenset({1}), "add", (1, True), True, NO),
    (Set(), frozenset({1, 2}), "remove", 1, True, frozenset({2})),
    (Set(), frozenset({2}), "remove", (1, False), True, frozenset({2})),
    (Set(), frozenset({2}), "contains", (1, True), True, NO),
    (Set(), frozenset({2}), "contains", 1, False, frozenset({2})),
    (Hash(), frozenset(), "set", ("a", 1), True, frozenset({("a", 1)})),
    (Hash(), frozenset({("a", 1)}), "set", ("a", 2, False), True, frozenset({("a", 2)})),
    (Hash(), frozenset({("a", 1)}), "set", ("a", 2, True), True, NO),
    (Hash(), frozenset({("a", 1)}), "get", ("a", 1), True, frozenset({("a", 1)})),
    (Hash(), frozenset({("a", 1)}), "get", ("b", None), True, frozenset({("a", 1)})),
    (Hash(), frozenset({("a", 1)}), "delete", ("a", True), True, frozenset()),
    (Hash(), frozenset({("a", 1)}), "delete", ("b", True), True, NO),
    (Hash(), frozenset({("a", 1)}), "read", (("a", 1),), True, frozenset({("a", 1)})),
    (
        SortedSet(),
        frozenset({("a", 2), ("b", 1)}),
        "pop-min",
        ("b", 1),
        True,
        frozenset({("a", 2)}),
    ),
    (SortedSet(), frozenset({("a", 1), ("b", 1)}), "pop-min", ("b", 1), True, NO),
    (SortedSet(), frozenset(), "pop-min", None, True, frozenset()),
    (SortedSet(), frozenset({("a", 2)}), "score", ("a", 2), True, frozenset({("a", 2)})),
    (SortedSet(), frozenset({("a", 2)}), "add", ("a", 3, False), True, frozenset({("a", 3)})),
    (SortedSet(), frozenset({("a", 2)}), "remove", "a", True, frozenset()),
]

CONTENTS = [
    (
        Transactions(),
        frozenset({("x", (1,))}),
        "txn",
        (("append", "x", 2), ("r", "x", (1, 2))),
        True,
        frozenset({("x", (1, 2))}),
    ),
    (Transactions(), frozenset({("x", (1,))}), "txn", (("r", "x", (2,)),), True, NO),
    (
        Transactions(),
        frozenset(),
        "txn",
        (("r", "x", ()), ("w", "y", 0)),
        True,
        frozenset({("y", 0)}),
    ),
    (Transactions(), frozenset({("y", 0)}), "txn", (("r", "y", None),), True, NO),
    (
        Bank(),
        (False, frozenset()),
        "read",
        ((0, 5), (1, 1)),
        True,
        (True, frozenset({(0, 5), (1, 1)})),
    ),
    (
        Bank(),
        (True, frozenset({(0, 5), (1, 1)})),
        "transfer",
        (("amount", 5), ("from", 0), ("to", 1)),
        True,
        (True, frozenset({(0, 0), (1, 6)})),
    ),
    (
        Bank(),
        (True, frozenset({(0, 5), (1, 1)})),
        "transfer",
        (("amount", 6), ("from", 0), ("to", 1)),
        True,
        NO,
    ),
    (Bank(), (True, frozenset({(0, 5), (1, 1)})), "read", ((0, 4), (1, 2)), True, NO),
    (Stack(), (1, 2), "pop", 2, True, (1,)),
    (Stack(), (1, 2), "pop", 1, True, NO),
    (Stack(), (), "pop", None, True, ()),
    (Stack(), (1,), "push", 2, True, (1, 2)),
    (PriorityQueue(), (1, 3), "insert", 2, True, (1, 2, 3)),
    (PriorityQueue(), (1, 3), "remove-min", 1, True, (3,)),
    (PriorityQueue(), (1, 3), "remove-min", 3, True, NO),
    (FifoQueue(), (1, 2), "dequeue", 1, True, (2,)),
    (FifoQueue(), (), "dequeue", None, True, ()),
]


@pytest.mark.parametrize(("model", "state", "f", "value", "known", "after"), STEPS + CONTENTS)
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
