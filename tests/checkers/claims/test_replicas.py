"""Claims on replicas: growing prefixes, convergence, staleness, and values read and then lost."""

from __future__ import annotations

from harness.checkers.claims.replicas import (
    Converged,
    GrowingPrefixes,
    LostReads,
    Staleness,
    ValuesOfNodes,
)
from harness.history import NEMESIS, History, Op
from harness.history.recorded import Recorded

Row = tuple[str, str | None, list[int], int, int]  # kind, node, value, call, ret


def history(*rows: tuple, final_at: int | None = None) -> Recorded:
    ops = []
    for process, (f, node, value, call, ret) in enumerate(rows):
        asked = [0, value[0] if f == "append" else None]
        role = None if f == "append" else ("primary" if node in (None, "n1") else "replica")
        ops.append(Op(0, call, "invoke", process, f, asked, node=node))
        ops.append(Op(0, ret, "ok", process, f, [0, value], node=node or "n1", role=role))
    if final_at is not None:
        for f in ("heal", "settle", "final"):
            ops += [Op(0, final_at, type, NEMESIS, f) for type in ("invoke", "info")]
    ops.sort(key=lambda op: op.time)
    for i, op in enumerate(ops):
        op.index = i
    return Recorded(History(ops))


def read(node, value, call, ret=None):
    return "read", node, value, call, ret or call + 1


def append(value, length, call, ret=None):
    return "append", None, [value, length], call, ret or call + 1


def prefixes(*rows, judged=True):
    return GrowingPrefixes(judged=judged).check(history(*rows))


def test_growing_reads_of_each_node_are_valid_even_if_nodes_differ() -> None:
    assert (
        prefixes(read("n2", [1], 0), read("n3", [1, 2, 3], 2), read("n2", [1, 2], 4)).valid is True
    )


def test_a_read_that_shrinks_is_a_violation_with_what_was_lost() -> None:
    verdict = prefixes(read("n2", [1, 2, 3], 0), read("n2", [1], 5))
    assert verdict.valid is False
    assert "n2 returned 3 values" in verdict.why
    assert "without 2 of them" in verdict.why
    (told,) = verdict.evidence["findings"]
    assert len(told["rows"]) == 2


def test_a_read_that_diverges_is_a_violation_even_when_longer() -> None:
    assert prefixes(read("n2", [1, 2], 0), read("n2", [1, 3, 4], 5)).valid is False


def test_overlapping_reads_may_come_in_either_order_but_must_be_prefixes() -> None:
    assert prefixes(read("n2", [1, 2], 0, 10), read("n2", [1], 5, 20)).valid is True
    assert prefixes(read("n2", [1, 2], 0, 10), read("n2", [1, 3], 5, 20)).valid is False


def test_a_claim_that_is_not_promised_is_only_measured() -> None:
    verdict = prefixes(read("n2", [1, 2], 0), read("n2", [1], 5), judged=False)
    assert (verdict.valid, verdict.judged) == (False, False)


def test_a_history_without_reads_is_unknown() -> None:
    assert prefixes(append(1, 1, 0)).valid == "unknown"


def converged(*rows, final_at=100):
    return Converged(["n1", "n2"]).check(history(*rows, final_at=final_at))


def test_equal_final_reads_are_convergence_whatever_earlier_reads_returned() -> None:
    assert converged(read("n2", [9], 0), read("n1", [1], 101), read("n2", [1], 103)).valid is True


LATE = 31 * 10**9  # past the bound


def test_only_the_last_final_read_of_a_node_counts() -> None:
    rows = [read("n1", [1, 2], LATE), read("n2", [1], LATE + 3)]
    assert converged(*rows).valid is False
    assert converged(read("n1", [1, 2], 101), read("n2", [1], 103), read("n2", [1, 2], 200)).valid


def test_a_difference_within_the_bound_is_unknown() -> None:
    verdict = converged(read("n1", [1, 2], 101), read("n2", [1], 103))
    assert verdict.valid == "unknown"
    assert "inconclusive: nodes differed at the last reads" in verdict.why


def test_convergence_is_unknown_if_a_node_was_not_read_at_the_end() -> None:
    assert converged(read("n1", [1], 101)).valid == "unknown"
    assert converged(read("n1", [1], 1), final_at=None).valid == "unknown"


def test_a_difference_is_found_even_if_another_read_is_missing() -> None:
    made = history(read("n1", [1], LATE), read("n2", [2], LATE + 3), final_at=100).history
    made.append(Op(len(made), LATE + 9, "invoke", 9, "read", [1, None], node="n1"))
    assert Converged(["n1", "n2"]).check(Recorded(made)).valid is False


def test_convergence_is_unknown_if_no_node_answered_for_a_key() -> None:
    made = history(read("n1", [1], 101), read("n2", [1], 103), final_at=100).history
    made.append(Op(len(made), 200, "invoke", 9, "read", [1, None], node="n1"))
    assert Converged(["n1", "n2"]).check(Recorded(made)).valid == "unknown"


def test_nodes_that_agree_have_converged_however_late_they_were_asked() -> None:
    assert converged(read("n1", [1], 40 * 10**9), read("n2", [1], 41 * 10**9)).valid is True


def test_convergence_on_nothing_is_unknown() -> None:
    assert converged(read("n1", [], 101), read("n2", [], 103)).valid == "unknown"


def values(*rows):
    return ValuesOfNodes().check(history(*rows))


def test_nodes_return_only_values_that_were_appended_and_once() -> None:
    assert values(append(1, 1, 0), read("n2", [1], 5)).valid is True
    assert values(append(1, 1, 0, 10), read("n2", [1], 5)).valid is True
    assert values(read("n2", [1], 5), append(1, 1, 7)).valid is False
    assert values(append(1, 1, 0), read("n2", [1, 1], 5)).valid is False
    assert values(append(1, 1, 0), read("n2", [2], 5)).valid is False
    assert values(append(1, 1, 0), read("n2", [], 5)).valid == "unknown"
    failed = history(append(1, 1, 0), read("n2", [1], 5))
    failed.history[1].type = "fail"
    assert ValuesOfNodes().check(failed).valid is False


def test_convergence_is_unknown_if_the_nodes_did_not_settle() -> None:
    made = history(read("n1", [1], 101), read("n2", [2], 103), final_at=100).history
    settle = next(op for op in made if op.f == "settle" and op.type == "info")
    settle.error = "n2 is not up"
    assert Converged(["n1", "n2"]).check(Recorded(made)).valid == "unknown"


def test_a_read_long_ago_still_counts_after_many_that_overlap() -> None:
    many = [read("n2", [1], 10 + i, 2000 + i) for i in range(200)]
    rows = [read("n2", [1, 2, 3], 0, 500), *many, read("n2", [1], 600)]
    assert prefixes(*rows).valid is False


def test_seen_then_gone_counts_values_and_where_they_were_seen_first() -> None:
    verdict = LostReads().check(history(
        append(1, 1, 0), append(2, 2, 2), read("n2", [1, 2], 5), read(None, [1, 2], 7),
        read("n1", [1, 2], 15), read("n2", [1], 20), read(None, [1], 22), final_at=19,
    ))  # fmt: skip
    assert verdict.judged is False
    assert verdict.evidence["gone"] == 1
    assert verdict.evidence["first_seen_on_a_replica"] == 1
    assert verdict.evidence["acknowledged"] == 1


def test_staleness_is_from_the_first_missed_acknowledgement() -> None:
    ms = 1_000_000
    verdict = Staleness().check(history(
        append(1, 1, 0, 1 * ms), append(2, 2, 2 * ms, 3 * ms), append(3, 3, 4 * ms, 5 * ms),
        read("n2", [1], 13 * ms, 14 * ms), read("n2", [1, 2, 3], 20 * ms, 21 * ms),
    ))  # fmt: skip
    assert verdict.evidence["n2"]["ms"]["max"] == 10.0
    assert verdict.evidence["n2"]["versions"]["max"] == 2
    assert "1 of 2 reads of replicas were stale" in verdict.why


def test_a_read_that_lacks_only_lost_values_is_not_stale() -> None:
    ms = 1_000_000
    made = history(
        append(1, 1, 0), append(2, 2, 2), read("n2", [1], 50 * ms), read(None, [1], 100 * ms),
        final_at=60 * ms,
    )  # fmt: skip
    assert Staleness().check(made).evidence["n2"]["versions"]["max"] == 0
