"""Histories as columns: their values, their verdicts, several threads, and models without optional
methods."""

from __future__ import annotations

import random
import threading
import time
from array import array
from typing import Any

import pytest

from harness.checkers.linearizability.alphabet import Letters, OutOfMemory
from harness.checkers.linearizability.checker import (
    Budget,
    Entry,
    check,
    decide_columns,
    decide_entries,
)
from harness.history import History, Op
from harness.history.columns import DIFFERED, OPEN, Columns, columns_of, rows_by_key
from harness.models.base import INCONSISTENT, Model
from harness.models.fifo import FifoQueue
from harness.models.list_append import ListAppend
from harness.models.register import CasRegister, Register
from harness.native import _core
from tests.support.brute_force import linearizable as brute_force
from tests.support.brute_force import random_history
from tests.support.model_cases import CASES


def history(*ops: tuple) -> History:
    return History(Op(i, i, *op) for i, op in enumerate(ops))


def columns(made: History, **how: Any) -> Columns:
    return columns_of(made.pairs(), **how)


def test_columns_return_the_values_of_the_history() -> None:
    values = [None, 1, "1", [1, 2], [1, 2, 3], [1, [2]], [], {"a": [1]}, [None, "x"]]
    made = history(*[("invoke", i, "write", v) for i, v in enumerate(values)])
    kept = columns(made)
    back = [kept.value(row) for row in range(len(values))]
    assert back == [None, 1, "1", (1, 2), (1, 2, 3), (1, (2,)), (), (("a", (1,)),), (None, "x")]
    assert list(kept.ret) == [OPEN] * len(values)


@pytest.mark.parametrize("model", [Register(), FifoQueue(), ListAppend()])
def test_values_that_are_equal_in_python_are_equal_in_every_algorithm(model: Model) -> None:
    f, read = {"Register": ("write", "read"), "FifoQueue": ("enqueue", "dequeue"),
               "ListAppend": ("append", "read")}[type(model).__name__]  # fmt: skip
    for more in ([], [("invoke", 5, f, [1, 2])]):
        for seen in (1.0, True):
            shown = [seen] if f == "append" else seen
            ops = [("invoke", 0, f, 1), ("ok", 0, f, [1, 1] if f == "append" else 1),
                   ("invoke", 0, read, None), ("ok", 0, read, shown), *more]  # fmt: skip
            assert check(history(*ops), model).valid is True


def test_failed_operations_are_left_out_and_a_failed_cas_is_kept_on_request() -> None:
    made = history(
        ("invoke", 0, "cas", [1, 2]), ("fail", 0, "cas", [1, 2]),
        ("invoke", 0, "cas", [1, 2]), ("fail", 0, "cas", [1, 2], "aborted"),
        ("invoke", 0, "write", 3), ("fail", 0, "write", 3),
    )  # fmt: skip
    assert len(columns(made)) == 0
    kept = columns(made, observe_differed=True)
    assert [kept.value(row) for row in range(len(kept))] == [(1, 2, DIFFERED)]
    saw = [*made, Op(6, 6, "invoke", 0, "write", 1), Op(7, 7, "ok", 0, "write", 1),
           Op(8, 8, "invoke", 0, "cas", [1, 2]), Op(9, 9, "fail", 0, "cas", [1, 2])]  # fmt: skip
    assert check(History(saw), CasRegister()).valid is True
    verdict = check(History(saw), CasRegister(), observe_differed=True)
    assert verdict.valid is False
    assert "compared with 1 and saw another value" in verdict.why


@pytest.mark.parametrize("name", CASES)
def test_columns_are_judged_as_entries_are(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(f"columns {name}")
    verdicts = set()
    for _ in range(150):
        keys = [random_history(model, ask, answer, rng, rng.randint(1, 7)) for _ in range(3)]
        ops: list[tuple[int, int, Op]] = []
        for k, entries in enumerate(keys):
            for i, e in enumerate(entries):
                process = 100 * k + i
                ops.append((2 * e.call, len(ops), Op(0, 0, "invoke", process, e.f, [k, thaw(e)])))
                if e.known:
                    differed = isinstance(e.value, tuple) and DIFFERED in e.value
                    done = Op(0, 0, "fail" if differed else "ok", process, e.f, [k, thaw(e)])
                    ops.append((2 * e.ret + 1, len(ops), done))
        made = History(op for _, _, op in sorted(ops, key=lambda x: x[:2]))
        for index, op in enumerate(made):
            op.index = op.time = index
        kept = columns(made, independent=True, observe_differed=True)
        _, outcomes = decide_columns(kept, model, Budget())
        expected = {k: decide_entries(entries, model, Budget()).valid for k, entries in
                    enumerate(keys)}  # fmt: skip
        for k, outcome in zip(kept.keys, outcomes, strict=True):
            assert outcome.valid is expected[k]
            verdicts.add(outcome.valid)
            rows = set(rows_by_key(kept)[kept.keys.index(k)])
            assert rows.issuperset(outcome.core)
            assert outcome.stuck == -1 or outcome.stuck in rows
    assert verdicts == {True, False}


def thaw(e: Entry) -> Any:
    def lists(value: Any) -> Any:
        return [lists(v) for v in value] if isinstance(value, tuple) else value

    value = lists(e.value)
    return value[:2] if DIFFERED in (value if isinstance(value, list) else ()) else value


class Plain:
    """A model that has only the required members."""

    def __init__(self, model: Model) -> None:
        self.recurs = model.recurs
        self.init, self.step = model.init, model.step


@pytest.mark.parametrize(
    "name",
    ["register", "cas-register", "cas-register-that-keeps-to-itself", "mutex", "lock", "counter",
     "fifo-queue"],
)  # fmt: skip
def test_a_model_need_not_declare_the_versions_of_its_operations(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(f"plain {name}")
    for _ in range(300):
        entries = random_history(model, ask, answer, rng, rng.randint(2, 8))
        outcome = decide_entries(entries, Plain(model), Budget())
        assert outcome.valid is brute_force(entries, model)


def test_few_states_are_explored_in_advance() -> None:
    register, letters = CasRegister(), [
        ("read", 1, True), ("write", 1, True), ("write", 2, False), ("cas", (1, 2, 1), True),
        ("cas", (1, 2, DIFFERED), True), ("read", 7, True),
    ]  # fmt: skip
    found = Letters(Plain(register), letters, 1000, 1 << 20)
    none, one, two = found._states[None], found._states[1], found._states[2]
    assert (none, found.states) == (0, 3)
    assert list(found.requires)[:5] == [one, -1, -1, one, -3 - one]
    assert list(found.installs)[:5] == [-1, one, two, two, -1]
    assert found.requires[5] == -2  # legal in none of these states: left to the search
    assert found.asks
    assert not Letters(Plain(register), letters[:5], 1000, 1 << 20).asks
    assert Letters(
        Plain(register), letters[:5], 1, 1 << 20
    ).asks  # too few operations to be worth it


def test_states_count_against_the_memory_budget() -> None:
    letters = [("read", tuple(range(i)), True) for i in range(2000)]
    with pytest.raises(OutOfMemory):
        Letters(ListAppend(), letters, 2000, 1 << 16)


def busy_keys(keys: int, bad: int | None = None) -> tuple[array, array, array, array, array]:
    """Return columns of registers, 400 operations per key, 6 at a time; key `bad` is invalid."""
    rng = random.Random(keys)
    call, ret, key, requires, installs = (array(t) for t in "qqiii")
    for k in range(keys):
        state = 0
        for i in range(400):
            at = (i * keys + k) * 10
            call.append(at + rng.randrange(9 * keys))
            ret.append(at + 60 * keys + rng.randrange(9 * keys))
            key.append(k)
            if rng.random() < 0.5:
                state = 1 + rng.randrange(4)
                requires.append(-1)
                installs.append(state)
            else:
                requires.append(6 if k == bad and i > 300 else state)
                installs.append(-1)
    return call, ret, key, requires, installs


@pytest.mark.parametrize("bad", [None, 33])
def test_verdicts_do_not_depend_on_the_number_of_threads(bad: int | None) -> None:
    results = [
        _core.check(*busy_keys(60, bad)[:3], None, *busy_keys(60, bad)[3:], 7, True, None, None,
                    None, 5_000_000, 1 << 30, None, True, True, threads)
        for threads in (1, 2, 5)
    ]  # fmt: skip
    assert results[0] == results[1] == results[2]
    verdicts = [v[0] for v in results[0][1]]
    assert verdicts == [0 if k == bad else 1 for k in range(60)]


def test_the_core_releases_the_gil() -> None:
    """Another thread goes on counting while the core searches."""
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    made = busy_keys(200)
    counter = threading.Thread(target=count)
    counter.start()
    try:
        before = counted[0]
        began = time.monotonic()
        while time.monotonic() - began < 0.2:
            _core.check(*made[:3], None, *made[3:], 7, True, None, None, None, 5_000_000,
                        1 << 30, None, False, False, 1)  # fmt: skip
        assert counted[0] > before + 1000
    finally:
        stop.set()
        counter.join()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"ret": array("q", [1])}, "differ in length"),
        ({"requires": array("i", [0, 5])}, "names an unknown state"),
        ({"requires": array("i", [0, -9])}, "names an unknown state"),
        ({"installs": array("i", [1, -1])}, None),
        (
            {"requires": array("i", [0, -3]), "installs": array("i", [1, 1])},
            "names an unknown state",
        ),
        ({"requires": array("i", [0, -2])}, "names an unknown state"),
        ({"key": array("i", [0, -1])}, "a key out of range"),
        ({"letter": array("i", [0, 2])}, "a letter out of range"),
    ],
)
def test_inconsistent_columns_are_refused(changed: dict, error: str | None) -> None:
    given = {
        "call": array("q", [0, 2]), "ret": array("q", [1, 3]), "key": None, "letter": None,
        "requires": array("i", [-1, 1]), "installs": array("i", [1, -1]), "states": 2,
        "recurs": True, "step": None, "reaches": None, "texts": None, "configurations": 100,
        "bytes": 1 << 20, "seconds": None, "zones": True, "orders": False, "threads": 1,
    } | changed  # fmt: skip
    if error is None:
        assert _core.check(**given)[0] == 2
        return
    with pytest.raises((ValueError, IndexError), match=error):
        _core.check(**given)


def test_a_step_that_raises_in_the_core_is_not_swallowed() -> None:
    class Broken:
        recurs = True

        def init(self) -> int:
            return 0

        def step(self, state: int, f: str, value: Any, known: bool) -> Any:
            if state > 70:
                raise RuntimeError("broken model")
            return state + 1 if f == "add" else INCONSISTENT

    entries = [Entry("add", i, True, 2 * i, 2 * i + 1) for i in range(100)]
    with pytest.raises(RuntimeError, match="broken model"):
        decide_entries(entries, Broken(), Budget())
