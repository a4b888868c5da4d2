"""The audit of a log whose AZs trim their copies while they are read."""

from __future__ import annotations

import pytest

from targets.memorydb_py.audit import Copies
from targets.memorydb_py.log.interface import Batch


def batches(first: int, last: int, text: bytes = b"x") -> list[Batch]:
    return [Batch(1, n, n, text) for n in range(first, last + 1)]


def test_copies_that_agree_make_one_log() -> None:
    copies = Copies()
    copies.take("az1", 0, batches(1, 5))
    copies.take("az2", 0, batches(1, 3))
    copies.take("az2", 3, batches(4, 8))
    copies.take("az3", 6, batches(7, 8))  # it has trimmed the earlier entries
    assert [b.last for b in copies.log] == list(range(1, 9))
    assert [copies.entries(az) for az in ("az1", "az2", "az3")] == [5, 8, 2]
    assert (copies.compared(), copies.differing) == (7, [])


def test_an_entry_is_compared_although_it_was_trimmed_since() -> None:
    copies = Copies()
    copies.take("az1", 0, batches(1, 10))
    copies.take("az2", 0, batches(1, 10, b"other"))
    copies.take("az3", 10, [])
    assert copies.compared() == 0
    assert len(copies.differing) == 10
    assert copies.differing[0] == "az2 has another entry 1.1"


def test_batches_that_overlap_are_not_the_same() -> None:
    copies = Copies()
    copies.take("az1", 0, [Batch(1, 1, 4, b"x")])
    copies.take("az2", 0, [Batch(1, 1, 2, b"x"), Batch(1, 3, 4, b"x")])
    assert len(copies.differing) == 2


def test_entries_that_were_trimmed_unread_are_an_error() -> None:
    copies = Copies()
    copies.take("az1", 0, batches(1, 3))
    with pytest.raises(ValueError, match="from 4 to 6 were trimmed unread"):
        copies.take("az2", 6, batches(7, 9))
    copies.take("az1", 3, batches(4, 6))
    copies.take("az2", 6, batches(7, 9))
    assert copies.last == 9
