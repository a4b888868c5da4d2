"""Each combinator does what its name says, in the simulator of simulator.py."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator import invocations, quick, simulate

from harness.generators import (
    NANOS,
    AnyOf,
    Cycle,
    Delay,
    EachProcess,
    FlipFlop,
    Generator,
    Limit,
    Nothing,
    Once,
    Repeat,
    Reserve,
    Sleep,
    TimeLimit,
    UntilOk,
    mix,
    on_clients,
    on_nemesis,
    phases,
    rate,
    seq,
)
from harness.history import NEMESIS, Op


def forever(f: str) -> Generator:
    return Repeat(lambda rng: (f, None))


def names(ops: list[Op]) -> list[str]:
    return [op.f for op in ops]


def test_once_is_one_operation() -> None:
    assert names(invocations(simulate(Once("a", 1)))) == ["a"]


def test_limit_counts_invocations() -> None:
    assert len(invocations(simulate(Limit(forever("a"), 7)))) == 7


def test_an_idle_worker_is_used_at_once_and_a_busy_one_never() -> None:
    ops = invocations(simulate(on_clients(Limit(forever("a"), 6), 2), workers=2))
    assert [op.time for op in ops] == [0, 0, 10, 10, 20, 20]


@pytest.mark.parametrize("workers", [1, 5])
def test_time_limit_ends_after_its_time(workers: int) -> None:
    ops = invocations(simulate(on_clients(TimeLimit(forever("a"), 100), workers), workers))
    assert max(op.time for op in ops) == 90
    assert len(ops) == 10 * workers


def test_time_limit_takes_nothing_that_is_due_later() -> None:
    ops = invocations(simulate(TimeLimit(Delay(forever("a"), 1000), 1500)))
    assert [op.time for op in ops] == [0, 1000]


def test_time_limit_starts_when_it_is_first_asked() -> None:
    generator = seq(Sleep(1000), TimeLimit(forever("a"), 50))
    ops = invocations(simulate(phases(*generator.parts), workers=1))
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

    generator = on_clients(TimeLimit(rate(100, forever("a")), 7 * NANOS), 1)
    ops = invocations(simulate(generator, workers=1, rule=stall))
    burst = [op for op in ops if 5 * NANOS <= op.time < 5.01 * NANOS]
    assert 50 < len(burst) < 150


def test_delay_keeps_operations_apart() -> None:
    ops = invocations(simulate(Limit(Delay(forever("a"), 500), 5), workers=3))
    assert [op.time for op in ops] == [0, 500, 1000, 1500, 2000]


def test_sleep_is_seen_by_nobody_but_takes_its_time() -> None:
    ops = simulate(phases(Once("a"), Sleep(300), Once("b")))
    assert names(invocations(ops)) == ["a", "b"]
    assert invocations(ops)[1].time == 310


def test_phases_wait_for_outstanding_operations_and_seq_does_not() -> None:
    def slow_first(op: Op) -> tuple[int, str]:
        return (1000 if op.f == "a" else 10), "ok"

    in_phases = invocations(simulate(phases(Once("a"), Once("b")), rule=slow_first))
    in_seq = invocations(simulate(seq(Once("a"), Once("b")), rule=slow_first))
    assert in_phases[1].time == 1000
    assert in_seq[1].time == 0


def test_mix_draws_from_all_parts_and_goes_on_when_one_ends() -> None:
    ops = invocations(simulate(mix(Limit(forever("a"), 3), Limit(forever("b"), 200))))
    assert Counter(names(ops)) == {"a": 3, "b": 200}


def test_mix_is_even() -> None:
    counts = Counter(names(invocations(simulate(Limit(mix(forever("a"), forever("b")), 1000)))))
    assert 400 < counts["a"] < 600


def test_until_ok_tries_until_the_first_success() -> None:
    outcomes = iter(["fail", "info", "fail", "ok", "ok", "ok"])
    ops = simulate(on_clients(UntilOk(forever("a")), 1), workers=1,
                   rule=lambda op: (10, next(outcomes)))  # type: ignore[arg-type, return-value]  # fmt: skip
    assert [op.type for op in ops if op.type != "invoke"] == ["fail", "info", "fail", "ok"]


def test_until_ok_is_not_content_with_the_success_of_another() -> None:
    def rule(op: Op) -> tuple[int, str]:
        return (10, "fail") if op.f == "mine" else (10, "ok")

    generator = TimeLimit(AnyOf((on_clients(UntilOk(forever("mine")), 1), forever("other"))), 300)
    ops = invocations(simulate(generator, workers=2, rule=rule))
    assert names(ops).count("mine") > 5


def test_reserve_gives_each_part_its_own_workers() -> None:
    ops = invocations(simulate(
        on_clients(TimeLimit(Reserve((2, 1), (forever("w"), forever("x")), forever("r")), 100), 5),
        workers=5))  # fmt: skip
    by_process: dict[str, set] = {}
    for op in ops:
        by_process.setdefault(op.f, set()).add(op.process)
    assert by_process == {"w": {0, 1}, "x": {2}, "r": {3, 4}}


def test_reserved_parts_do_not_starve_each_other_under_a_rate() -> None:
    generator = on_clients(
        TimeLimit(rate(1000, Reserve((2,), (forever("w"),), forever("r"))), NANOS), 4
    )
    counts = Counter(names(invocations(simulate(generator, workers=4))))
    assert min(counts["w"], counts["r"]) > 300


def test_each_process_has_a_copy_of_its_own() -> None:
    generator = on_clients(EachProcess(lambda: Limit(forever("a"), 3)), 4)
    counts = Counter(op.process for op in invocations(simulate(generator, workers=4)))
    assert counts == {0: 3, 1: 3, 2: 3, 3: 3}


def test_on_clients_and_on_nemesis_keep_apart() -> None:
    generator = AnyOf(
        (on_clients(Limit(forever("c"), 5), 2), on_nemesis(Limit(forever("n"), 2), 2))
    )
    ops = invocations(simulate(generator, workers=2))
    assert {op.process for op in ops if op.f == "n"} == {NEMESIS}
    assert NEMESIS not in {op.process for op in ops if op.f == "c"}
    assert Counter(names(ops)) == {"c": 5, "n": 2}


def test_flip_flop_alternates() -> None:
    ops = invocations(simulate(Limit(FlipFlop(forever("a"), forever("b")), 5), workers=1))
    assert names(ops) == ["a", "b", "a", "b", "a"]


def test_cycle_begins_again_as_often_as_it_is_told() -> None:
    ops = invocations(simulate(Cycle(lambda: seq(Once("a"), Once("b")), times=3), workers=1))
    assert names(ops) == ["a", "b"] * 3


def test_cycle_of_nothing_is_nothing() -> None:
    assert simulate(Cycle(Nothing)) == []


def test_a_process_is_retired_after_an_unknown_outcome() -> None:
    ops = invocations(simulate(on_clients(Limit(forever("a"), 4), 1), workers=1,
                               rule=lambda op: (10, "info")))  # fmt: skip
    assert [op.process for op in ops] == [0, 1, 2, 3]


combinators = st.recursive(
    st.sampled_from([Once("a"), Limit(forever("b"), 5), Sleep(50), Nothing()]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda gs: mix(*gs))
        | st.lists(inner, min_size=1, max_size=3).map(lambda gs: phases(*gs))
        | st.lists(inner, min_size=1, max_size=3).map(lambda gs: AnyOf(tuple(gs)))
        | inner.map(lambda g: TimeLimit(g, 200))
        | inner.map(lambda g: Delay(g, 20))
        | inner.map(lambda g: rate(1e7, g))
        | inner.map(lambda g: on_clients(g, 2))
        | inner.map(lambda g: UntilOk(g))
        | inner.map(lambda g: Reserve((1,), (g,), Limit(forever("r"), 3)))
        | inner.map(lambda g: EachProcess(lambda: g))
        | inner.map(lambda g: FlipFlop(g, Limit(forever("z"), 2)))
        | inner.map(lambda g: Cycle(lambda: g, times=2))
    ),
    max_leaves=6,
)


@given(generator=combinators, workers=st.integers(2, 4), seed=st.integers(0, 3))
def test_any_combination_ends_and_is_reproducible(
    generator: Generator, workers: int, seed: int
) -> None:
    first = simulate(generator, workers, quick, seed=seed)
    again = simulate(generator, workers, quick, seed=seed)
    assert first == again
    assert len(first) == 2 * len(invocations(first))
