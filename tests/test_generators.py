"""Each generator combinator, run by the simulator of tests/support."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.generators import (
    NANOS,
    AnyOf,
    Cycle,
    Delay,
    Generator,
    Limit,
    Nothing,
    On,
    Once,
    Repeat,
    TimeLimit,
    UntilOk,
    mix,
    phases,
    rate,
    shares,
)
from harness.history import NEMESIS, Op
from tests.support.simulator import invocations, quick, simulate


def forever(f: str) -> Generator:
    return Repeat(lambda rng: (f, None))


def names(ops: list[Op]) -> list[str]:
    return [op.f for op in ops]


def test_once_is_one_operation() -> None:
    assert names(invocations(simulate(Once("a", 1)))) == ["a"]


def test_limit_counts_invocations() -> None:
    assert len(invocations(simulate(Limit(forever("a"), 7)))) == 7


def test_an_idle_worker_is_used_at_once_and_a_busy_one_never() -> None:
    ops = invocations(simulate(Limit(forever("a"), 6), workers=2))
    assert [op.time for op in ops] == [0, 0, 10, 10, 20, 20]


@pytest.mark.parametrize("workers", [1, 5])
def test_time_limit_ends_after_its_time(workers: int) -> None:
    ops = invocations(simulate(TimeLimit(forever("a"), 100), workers))
    assert max(op.time for op in ops) == 90
    assert len(ops) == 10 * workers


def test_time_limit_drops_operations_that_are_due_later() -> None:
    ops = invocations(simulate(TimeLimit(Delay(forever("a"), 1000), 1500)))
    assert [op.time for op in ops] == [0, 1000]


def test_time_limit_starts_when_it_is_first_asked() -> None:
    generator = phases(Limit(forever("a"), 100), TimeLimit(forever("b"), 50))
    ops = [op for op in invocations(simulate(generator, workers=1)) if op.f == "b"]
    assert min(op.time for op in ops) == 1000
    assert max(op.time for op in ops) == 1040


def test_stagger_keeps_a_rate_on_average() -> None:
    ops = invocations(simulate(TimeLimit(rate(1000, forever("a")), 10 * NANOS), workers=5,
                               limit=50_000))  # fmt: skip
    assert 9_000 < len(ops) < 11_000
    gaps = [b.time - a.time for a, b in itertools.pairwise(ops)]
    assert len(set(gaps)) > 100, "the gaps are drawn"


def test_stagger_catches_up_after_a_stall_but_no_more_than_a_second() -> None:
    def stall(op: Op) -> tuple[int, str]:
        return (5 * NANOS if op.time == 0 else 1000), "ok"

    generator = TimeLimit(rate(100, forever("a")), 7 * NANOS)
    ops = invocations(simulate(generator, workers=1, rule=stall))
    burst = [op for op in ops if 5 * NANOS <= op.time < 5.01 * NANOS]
    assert 50 < len(burst) < 150


def test_delay_keeps_operations_apart() -> None:
    ops = invocations(simulate(Limit(Delay(forever("a"), 500), 5), workers=3))
    assert [op.time for op in ops] == [0, 500, 1000, 1500, 2000]


def test_phases_wait_for_outstanding_operations() -> None:
    def slow_first(op: Op) -> tuple[int, str]:
        return (1000 if op.f == "a" else 10), "ok"

    in_phases = invocations(simulate(phases(Once("a"), Once("b")), rule=slow_first))
    assert in_phases[1].time == 1000


def test_mix_draws_from_all_parts_and_goes_on_when_one_ends() -> None:
    ops = invocations(simulate(mix(Limit(forever("a"), 3), Limit(forever("b"), 200))))
    assert Counter(names(ops)) == {"a": 3, "b": 200}


def test_mix_is_even() -> None:
    counts = Counter(names(invocations(simulate(Limit(mix(forever("a"), forever("b")), 1000)))))
    assert 400 < counts["a"] < 600


def test_mix_waits_for_a_slow_part_and_stays_even() -> None:
    counts: Counter = Counter()
    for seed in range(20):
        slow = Delay(forever("slow"), NANOS)
        generator = TimeLimit(mix(slow, forever("fast")), 60 * NANOS)
        counts += Counter(names(invocations(simulate(generator, workers=3, seed=seed))))
    assert counts["slow"] == 20 * 60
    assert 0.85 < counts["fast"] / counts["slow"] < 1.15


def test_a_mix_skips_parts_that_are_for_other_workers() -> None:
    """A regression test, found by Hypothesis with mix(On(1, …), AnyOf(…, On(~1, …))): two workers
    could each wait forever for a part that is for the other."""
    for seed in range(20):
        parts = On(0b01, Limit(forever("a"), 5)), On(0b10, Limit(forever("b"), 5))
        ops = invocations(simulate(mix(*parts), workers=2, seed=seed))
        assert Counter(names(ops)) == {"a": 5, "b": 5}


def test_draws_of_a_worker_from_a_mix_do_not_depend_on_the_others() -> None:
    def drawn(workers: int) -> dict[int | str, list[str]]:
        parts = Delay(forever("slow"), 30), forever("fast"), Limit(forever("few"), 10_000)
        by_process: dict[int | str, list[str]] = {}
        for op in invocations(simulate(TimeLimit(mix(*parts), 20_000), workers)):
            by_process.setdefault(op.process, []).append(op.f)
        return by_process

    two, three = drawn(2), drawn(3)
    for process, ops in two.items():
        count = min(len(ops), len(three[process]))
        assert count > 50
        assert ops[:count] == three[process][:count]


def test_until_ok_tries_until_the_first_success() -> None:
    outcomes = iter(["fail", "info", "fail", "ok", "ok", "ok"])
    ops = simulate(UntilOk(forever("a")), workers=1,
                   rule=lambda op: (10, next(outcomes)))  # type: ignore[arg-type, return-value]  # fmt: skip
    assert [op.type for op in ops if op.type != "invoke"] == ["fail", "info", "fail", "ok"]


def test_until_ok_ignores_the_success_of_other_operations() -> None:
    def rule(op: Op) -> tuple[int, str]:
        return (10, "fail") if op.f == "mine" else (10, "ok")

    generator = TimeLimit(AnyOf((UntilOk(forever("mine")), forever("other"))), 300)
    ops = invocations(simulate(generator, workers=2, rule=rule))
    assert names(ops).count("mine") > 5


def test_on_gives_each_part_its_own_workers() -> None:
    parts = AnyOf((On(0b00011, forever("w")), On(0b00100, forever("x")), On(0b11000, forever("r"))))
    by_process: dict[str, set] = {}
    for op in invocations(simulate(TimeLimit(parts, 100), workers=5)):
        by_process.setdefault(op.f, set()).add(op.process)
    assert by_process == {"w": {0, 1}, "x": {2}, "r": {3, 4}}


def test_parts_with_workers_of_their_own_do_not_starve_each_other_under_a_rate() -> None:
    parts = AnyOf((On(0b0011, forever("w")), On(0b1100, forever("r"))))
    counts = Counter(names(invocations(simulate(TimeLimit(rate(1000, parts), NANOS), workers=4))))
    assert min(counts["w"], counts["r"]) > 300


def test_any_of_starves_none_of_its_parts() -> None:
    parts = AnyOf((forever("a"), forever("b"), Delay(forever("c"), 50)))
    counts = Counter(names(invocations(simulate(TimeLimit(parts, 1000), workers=1))))
    assert counts["c"] >= 15
    assert abs(counts["a"] - counts["b"]) <= 1


def test_a_part_that_is_not_due_does_not_delay_the_others() -> None:
    parts = AnyOf(
        (On(0b01, Limit(Delay(forever("late"), 1000), 2)), On(0b10, Limit(forever("now"), 5)))
    )
    ops = invocations(simulate(parts, workers=2))
    assert [(op.f, op.time) for op in ops] == [
        ("late", 0), ("now", 0), ("now", 10), ("now", 20), ("now", 30), ("now", 40),
        ("late", 1000)]  # fmt: skip


@pytest.mark.parametrize("percent", [0, 20, 50, 79, 100])
def test_shares_are_kept_and_do_not_depend_on_later_workers(percent: int) -> None:
    of_many = shares(1000, percent)
    for count in range(1, 40):
        assert list(shares(count, percent)) == [w for w in of_many if w < count]
        assert 0 in shares(count, percent)
        assert 1 not in shares(count, percent)
    assert abs(len(of_many) - percent * 10) <= 2


def test_cycle_repeats_as_often_as_given() -> None:
    ops = invocations(simulate(Cycle(lambda: phases(Once("a"), Once("b")), times=3), workers=1))
    assert names(ops) == ["a", "b"] * 3


def test_cycle_of_nothing_is_nothing() -> None:
    assert simulate(Cycle(Nothing)) == []


def test_a_process_is_retired_after_an_unknown_outcome() -> None:
    ops = invocations(simulate(Limit(forever("a"), 4), workers=1,
                               rule=lambda op: (10, "info")))  # fmt: skip
    assert [op.process for op in ops] == [0, 1, 2, 3]


combinators = st.recursive(
    st.sampled_from([Once("a"), Limit(forever("b"), 5), Nothing()]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda gs: mix(*gs))
        | st.lists(inner, min_size=1, max_size=3).map(lambda gs: phases(*gs))
        | st.lists(inner, min_size=1, max_size=3).map(lambda gs: AnyOf(tuple(gs)))
        | inner.map(lambda g: TimeLimit(g, 200))
        | inner.map(lambda g: Delay(g, 20))
        | inner.map(lambda g: rate(1e7, g))
        | inner.map(lambda g: UntilOk(g))
        | inner.map(lambda g: On(1, g))
        | inner.map(lambda g: AnyOf((On(1, g), On(~1, Limit(forever("r"), 3)))))
        | inner.map(lambda g: Cycle(lambda: g, times=2))
    ),
    max_leaves=6,
)


@given(generator=combinators, workers=st.integers(2, 4), seed=st.integers(0, 3))
def test_any_combination_ends_and_is_reproducible(
    generator: Generator, workers: int, seed: int
) -> None:
    first = simulate(generator, workers, quick, seed=seed, may_draw=True)
    again = simulate(generator, workers, quick, seed=seed, may_draw=True)
    assert first == again
    assert NEMESIS not in {op.process for op in first}
    assert len(first) == 2 * len(invocations(first))
