"""The search core against brute force, its budget, and the verdicts of the checker."""

from __future__ import annotations

import os
import random
import time

import pytest

from harness.checkers.linearizability.checker import (
    OPEN,
    Budget,
    Entry,
    check,
    decide_by_key,
    decide_entries,
)
from harness.history import History, Op
from harness.history.recorded import Recorded
from harness.models.base import INCONSISTENT
from harness.models.counter import Counter
from harness.models.list_append import ListAppend
from harness.models.priority_queue import PriorityQueue
from harness.models.register import CasRegister, Register
from harness.models.transactions import Transactions
from tests.support.brute_force import linearizable as brute_force
from tests.support.brute_force import random_history
from tests.support.model_cases import CASES

BUDGET = Budget()
HISTORIES = int(os.environ.get("HARNESS_HISTORIES", "1500"))  # of each model


@pytest.mark.parametrize("name", CASES)
def test_both_algorithms_agree_with_brute_force(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(name)
    verdicts = {True: 0, False: 0}
    for _ in range(HISTORIES):
        entries = random_history(model, ask, answer, rng, rng.randint(2, 8))
        expected = brute_force(entries, model)
        verdicts[expected] += 1
        for zones in (True, False):
            outcome = decide_entries(entries, model, BUDGET, zones=zones)
            assert outcome.valid is expected, (zones, outcome, entries)
        without_order = decide_by_key({"k": entries}, model, BUDGET)["k"]
        assert without_order.valid is expected, (without_order, entries)
    assert min(verdicts.values()) > HISTORIES // 20, verdicts


@pytest.mark.parametrize("name", CASES)
def test_an_order_that_the_search_returns_is_a_linearization(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(name + "!")
    checked = 0
    for _ in range(300):
        entries = random_history(model, ask, answer, rng, 8)
        outcome = decide_entries(entries, model, BUDGET, zones=False)
        if not outcome.valid:
            continue
        order = [entries[i] for i in outcome.order]
        assert {e for e in entries if e.ret != OPEN} <= set(order)
        state, latest_call = model.init(), -1
        for e in order:
            latest_call = max(latest_call, e.call)
            assert e.ret >= latest_call, "returned before something ordered earlier was called"
            state = model.step(state, e.f, e.value, e.known)
            assert state is not INCONSISTENT
        checked += 1
    assert checked > 50


def w(value, call, ret=OPEN) -> Entry:
    return Entry("write", value, ret != OPEN, call, ret)


def r(value, call, ret) -> Entry:
    return Entry("read", value, True, call, ret)


@pytest.mark.parametrize(
    ("entries", "valid"),
    [
        ([w(1, 0, 1), r(1, 2, 3)], True),
        ([w(1, 0, 1), r(None, 2, 3)], False),
        ([r(1, 0, 1)], False),
        ([w(1, 0), r(1, 5, 6), r(None, 7, 8)], False),
        ([w(1, 0), r(None, 5, 6), r(1, 7, 8)], True),
        ([w(1, 0, 5), r(1, 5, 6)], True),
        ([w(1, 0, 1), w(2, 1, 2), r(1, 3, 4)], True),
        ([w(1, 0, 1), w(2, 2, 3), r(1, 4, 5)], False),
        ([w(1, 0), w(2, 0), r(1, 1, 2), r(2, 3, 4), r(1, 5, 6)], False),
    ],
    ids=["plain", "stale", "thin-air", "unknown-then-gone", "unknown-late", "tie", "tie-concurrent",
         "overwritten", "back-and-forth"],
)  # fmt: skip
@pytest.mark.parametrize("zones", [True, False])
def test_small_registers(entries: list[Entry], valid: bool, zones: bool) -> None:
    assert decide_entries(entries, Register(), BUDGET, zones=zones).valid is valid


def busy_register(clients: int, operations: int, stale_at: int | None = None) -> list[Entry]:
    """Operations on one register, `clients` in flight, linearizable except for one stale read."""
    rng = random.Random(f"{clients}/{operations}")
    state, entries, values = None, [], [None]
    for i in range(operations):
        call, ret = i * 10, i * 10 + 10 * clients
        if i % 2:
            state = i
            values.append(i)
            entries.append(w(i, call + rng.randrange(5), ret + rng.randrange(5)))
        else:
            seen = values[-clients * 4] if i == stale_at else state
            entries.append(r(seen, call + rng.randrange(5), ret + rng.randrange(5)))
    return entries


@pytest.mark.parametrize(("clients", "zones"), [(5, True), (20, True), (100, True), (5, False)])
def test_many_clients_on_one_key_are_decided(clients: int, zones: bool) -> None:
    good = decide_entries(busy_register(clients, 4000), Register(), BUDGET, zones=zones)
    bad = decide_entries(busy_register(clients, 4000, 3600), Register(), BUDGET, zones=zones)
    assert good.valid is True
    assert bad.valid is False
    assert bad.configurations < 1_000_000


def test_more_than_1024_open_operations_are_unknown() -> None:
    entries = [w(0, i, 5000 + i) for i in range(1100)]
    outcome = decide_entries(entries, Register(), BUDGET, zones=False)
    assert (outcome.valid, outcome.how) == (None, "more than 1024 operations open at once")


def hard_history() -> list[Entry]:
    """Many concurrent updates of few values, and a read of a value that is written only later."""
    rng = random.Random(5)
    entries = [Entry("cas", (rng.randrange(3), rng.randrange(3)), False, i, OPEN) for i in range(9)]
    entries += [w(rng.randrange(3), i, 100 + i) for i in range(14)]
    return [*entries, r(7, 101, 140), w(7, 150, 151)]


@pytest.mark.parametrize("budget", [Budget(configurations=3), Budget(bytes=100)])
def test_a_spent_budget_is_unknown_and_named(budget: Budget) -> None:
    outcome = decide_entries(hard_history(), CasRegister(), budget, zones=False)
    assert outcome.valid is None
    assert outcome.how in ("configurations", "memory")
    assert decide_entries(hard_history(), CasRegister(), BUDGET, zones=False).valid is False


def endless_history() -> list[Entry]:
    """Thirty compare-and-sets and forty writes, all concurrent, whose orders are as good as each
    other, and final reads that no order explains."""
    entries = [Entry("cas", (i % 5, 5 + i), True, i, 1000 + i) for i in range(30)]
    entries += [w(i % 5, 100 + i, 2000 + i) for i in range(40)]
    return [*entries, r(99, 3000, 3001), Entry("write", 99, False, 2999, OPEN), r(3, 3002, 3003),
            r(99, 3004, 3005)]  # fmt: skip


def as_history(entries: list[Entry]) -> History:
    events = []
    for i, e in enumerate(entries):
        value = list(e.value) if isinstance(e.value, tuple) else e.value
        events.append((e.call, "invoke", i, e.f, None if e.f == "read" else value))
        if e.ret != OPEN:
            events.append((e.ret, "ok", i, e.f, value))
    events.sort(key=lambda event: event[0])
    return history(*(event[1:] for event in events))


def test_time_is_a_budget_too() -> None:
    begun = time.monotonic()
    budget = Budget(configurations=1 << 60, seconds=0.2)
    outcome = decide_entries(endless_history(), CasRegister(), budget, zones=False)
    assert (outcome.valid, outcome.how) == (None, "time")
    assert time.monotonic() - begun < 5


def test_the_time_budget_holds_for_many_hard_keys() -> None:
    """A regression test: with enough keys for several threads, the search did not end."""
    begun = time.monotonic()
    budget = Budget(configurations=1 << 60, seconds=0.3)
    outcomes = decide_by_key({k: endless_history() for k in range(300)}, CasRegister(), budget)
    assert {o.how for o in outcomes.values()} == {"time"}
    assert time.monotonic() - begun < 20


def test_a_counter_may_be_read_as_a_float() -> None:
    entries = [Entry("add", 1, False, 0, OPEN), Entry("add", 1, False, 1, OPEN),
               Entry("read", 2.0, True, 5, 6)]  # fmt: skip
    assert decide_by_key({1: entries}, Counter(), BUDGET)[1].valid is True


def test_values_are_ranked_among_those_of_their_key() -> None:
    ops = []
    for key, value in (("a", 1), ("b", "x")):
        for f, result in (("insert", value), ("remove-min", value)):
            ops += [("invoke", 0, f, [key, None if f == "remove-min" else value]),
                    ("ok", 0, f, [key, result])]  # fmt: skip
    assert check(history(*ops), PriorityQueue(), independent=True).valid is True


def test_an_empty_list_that_was_written_can_be_read() -> None:
    steps = [[["w", "x", []]], [["r", "x", []]]]
    ops = [(kind, 0, "txn", each) for each in steps for kind in ("invoke", "ok")]
    assert check(history(*ops), Transactions()).valid is True


def test_undecided_keys_are_described() -> None:
    verdict = check(
        as_history(endless_history()), CasRegister(), budget=Budget(configurations=2000)
    )
    assert verdict.valid == "unknown"
    (hard,) = verdict.evidence["hard"].values()
    assert hard["operations"] == 74
    assert hard["at_once"] == 70
    assert hard["unknown"] == 1
    assert hard["spent"] == "configurations"
    assert 0 < hard["explained"] < 73
    assert "configurations spent; 74 operations, 70 concurrent, 1 of unknown outcome" in verdict.why


def test_one_hard_key_does_not_hide_an_easy_violation() -> None:
    keys = {"hard": hard_history(), "easy": [w(1, 0, 1), r(None, 2, 3)]}
    outcomes = decide_by_key(keys, CasRegister(), Budget(configurations=40_000))
    assert outcomes["easy"].valid is False


def history(*ops: tuple) -> History:
    return History(Op(i, i, *op) for i, op in enumerate(ops))


def test_many_hard_keys_share_the_memory_and_are_decided_one_after_the_other() -> None:
    keys = {
        k: [w(k % 5 + 1, i, 30_000 + (i * 7919) % 21_001) for i in range(300)] for k in range(20)
    }
    alone = decide_by_key({0: keys[0]}, Register(), Budget())
    together = decide_by_key(keys, Register(), Budget(bytes=2 * max(1 << 20, alone[0].bytes)))
    assert {o.valid for o in together.values()} == {alone[0].valid}


def test_a_change_of_order_midway_skips_no_candidate() -> None:
    """A regression test, once falsely invalid: more candidates than the search keeps, then another
    order, then a return to a state whose candidates were partly dropped."""
    clock = iter(range(10**6))

    def now() -> int:
        return next(clock)

    def swap(old: object, new: object, call: int, ret: int) -> Entry:
        return Entry("cas", (old, new, old), True, call, ret)

    links, others = 28_000, 60
    first_call, call = now(), now()
    begun = w("x0", call, now())
    calls = [now() for _ in range(others)]
    chain = [swap(f"x{i}", f"x{i + 1}", now(), now()) for i in range(links)]
    end = swap(f"x{links}", None, now(), now())
    first = swap(None, "b", first_call, now())
    last = swap(None, "z", now(), now())
    written = [w(f"w{k}", calls[k], now()) for k in range(others)]
    late = [w(f"x{i}", now(), now()) for i in range(links + 1)]
    order = [first, begun, *chain, end, last, *written, *late]
    state, latest = None, -1
    for e in order:  # this order is a linearization
        state = CasRegister().step(state, e.f, e.value, True)
        assert state is not INCONSISTENT
        assert e.ret > latest
        latest = max(latest, e.call)
    assert decide_entries(order, CasRegister(), Budget(configurations=10_000_000)).valid is True


def test_failed_operations_and_unknown_reads_are_left_out() -> None:
    verdict = check(history(
        ("invoke", 0, "write", 1), ("fail", 0, "write", 1),
        ("invoke", 1, "read", None), ("info", 1, "read", None),
        ("invoke", 0, "read", None), ("ok", 0, "read", None),
    ), Register())  # fmt: skip
    assert verdict.valid is True
    assert verdict.evidence["operations"] == 1


def test_keys_are_independent() -> None:
    ops = [
        ("invoke", 0, "write", ["a", 1]), ("ok", 0, "write", ["a", 1]),
        ("invoke", 0, "read", ["b", None]), ("ok", 0, "read", ["b", None]),
    ]  # fmt: skip
    assert check(history(*ops), Register(), independent=True).valid is True
    ops += [("invoke", 0, "read", ["a", None]), ("ok", 0, "read", ["a", None])]
    verdict = check(history(*ops), Register(), independent=True)
    assert verdict.valid is False
    assert verdict.evidence["invalid_keys"] == 1
    assert verdict.why.startswith("key a: process 0 read nothing")


def test_an_empty_history_is_unknown() -> None:
    assert check(History(), Register()).valid == "unknown"


def test_unknown_kinds_of_operation_are_named() -> None:
    with pytest.raises(ValueError, match="model register supports read and write, not 'pop'"):
        check(history(("invoke", 0, "pop", 1), ("ok", 0, "pop", 1)), Register())


def test_values_without_a_key_are_named() -> None:
    with pytest.raises(ValueError, match=r"operation 0 \(write\): 1 is not \[key, value\]"):
        check(history(("invoke", 0, "write", 1), ("ok", 0, "write", 1)), Register(),
              independent=True)  # fmt: skip


def test_a_model_of_ten_lines_is_enough() -> None:
    class Toggle:
        recurs = True

        def init(self):
            return False

        def step(self, state, f, value, known):
            if f == "flip":
                return not state
            return state if value == state else INCONSISTENT

    flip, seen = Entry("flip", None, True, 0, 1), Entry("read", True, True, 2, 3)
    assert decide_entries([flip, seen], Toggle(), BUDGET).valid is True
    assert decide_entries([flip, flip, seen], Toggle(), BUDGET).valid is False


def test_a_growing_model_may_name_the_version_that_an_operation_requires() -> None:
    class Named(ListAppend):
        def versions(self, f, value, known):
            if f == "append" and known and isinstance(value[1], tuple):
                return value[1][:-1], value[1]
            return super().versions(f, value, known)

        def step(self, state, f, value, known):
            if f == "append" and known and isinstance(value[1], tuple):
                return value[1] if state == value[1][:-1] else INCONSISTENT
            return super().step(state, f, value, known)

    entries = [Entry("append", ("a", ("a",)), True, 0, 1), Entry("append", ("b", None), True, 2, 3)]
    assert decide_entries(entries, Named(), BUDGET).valid is True


def test_a_model_that_raises_is_not_swallowed() -> None:
    class Broken(ListAppend):
        def step(self, state, f, value, known):
            raise RuntimeError("broken model")

    with pytest.raises(RuntimeError, match="broken model"):
        decide_entries([Entry("append", (1, 1), True, 0, 1)], Broken(), BUDGET)


def test_an_unknown_outcome_keeps_what_was_asked_for() -> None:
    ops = [("invoke", 0, "write", 1), ("info", 0, "write", None),
           ("invoke", 1, "read", None), ("ok", 1, "read", 1)]  # fmt: skip
    assert check(history(*ops), Register()).valid is True


def test_equal_times_do_not_hide_the_order_of_the_history() -> None:
    """In virtual time an operation may complete and the next be invoked at one instant."""
    made = history(
        ("invoke", 0, "write", 1), ("ok", 0, "write", 1),
        ("invoke", 0, "read", None), ("ok", 0, "read", None),
    )  # fmt: skip
    for op in made:
        op.time = 5
    assert check(made, Register()).valid is False


def test_unread_open_appends_are_one_equivalence_class() -> None:
    entries = [Entry("append", (i, i + 1), True, 2 * i, 2 * i + 1) for i in range(50)]
    entries += [Entry("append", 100 + i, False, 200 + i, OPEN) for i in range(20)]
    entries += [
        Entry("append", (90, 51), True, 300, 301),
        Entry("append", (91, 51), True, 302, 303),
    ]
    outcome = decide_entries(entries, ListAppend(), BUDGET)
    assert outcome.valid is False
    assert outcome.configurations < 1000


def test_states_count_against_the_memory_budget() -> None:
    entries = [Entry("append", (i, i + 1), True, 2 * i, 2 * i + 1) for i in range(2000)]
    outcome = decide_entries(entries, ListAppend(), Budget(bytes=1 << 20))
    assert (outcome.valid, outcome.how) == (None, "memory")


def test_a_return_before_the_call_is_refused() -> None:
    with pytest.raises(ValueError, match="returns before it is called"):
        decide_entries([r(1, 5, 4)], Register(), BUDGET)


def test_answers_of_a_demoted_node_are_left_out_of_the_claim() -> None:
    from harness.checkers.linearizability import Linearizable

    ops = [
        ("invoke", 0, "write", ["k", 1]), ("ok", 0, "write", ["k", 1]),
        ("invoke", 0, "read", ["k", None]), ("ok", 0, "read", ["k", 1]),
        ("invoke", 0, "read", ["k", None]), ("ok", 0, "read", ["k", None], None, "n2", "replica"),
    ]  # fmt: skip
    assert Linearizable(Register()).check(Recorded(history(*ops))).valid is True
    fenced = Recorded(history(*ops), fenced=True)
    assert Linearizable(Register()).check(fenced).valid is False
    ops[-1] = (*ops[-1][:-1], "primary")
    assert Linearizable(Register()).check(Recorded(history(*ops))).valid is False


def test_a_run_whose_operations_saw_nothing_that_was_written_is_unknown() -> None:
    from harness.checkers.linearizability import Linearizable

    ops = [
        ("invoke", 0, "read", ["k", None]), ("ok", 0, "read", ["k", None]),
        ("invoke", 0, "write", ["k", 1]), ("ok", 0, "write", ["k", 1]),
    ]  # fmt: skip
    assert Linearizable(Register()).check(Recorded(history(*ops))).valid == "unknown"
    assert check(history(*ops), Register(), independent=True).valid is True


def test_a_violation_outranks_keys_that_were_not_decided() -> None:
    hard = [("invoke", p, "write", ["hard", p % 2]) for p in range(6)]
    hard += [("ok", p, "write", ["hard", p % 2]) for p in range(6)]
    easy = [
        ("invoke", 9, "write", ["easy", 1]), ("ok", 9, "write", ["easy", 1]),
        ("invoke", 9, "read", ["easy", None]), ("ok", 9, "read", ["easy", None]),
    ]  # fmt: skip
    small = Budget(configurations=1)
    undecided = check(history(*hard), Register(), independent=True, budget=small)
    assert undecided.valid == "unknown"
    assert "1 of 1 keys were not decided" in undecided.why
    verdict = check(history(*hard, *easy), Register(), independent=True, budget=small)
    assert verdict.valid is False
    assert verdict.evidence["undecided_keys"] == ["hard"]
