"""Witnesses are minimal, are violations themselves, and are explained in sentences."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from harness.checkers.linearizability import shrink
from harness.checkers.linearizability.checker import (
    OPEN,
    Budget,
    Entry,
    check,
    decide_by_key,
    decide_entries,
)
from harness.checkers.linearizability.prefixes import longest_prefixes
from harness.checkers.linearizability.shrink import beginning_with, shrunk
from harness.checkers.verdict import Verdict
from harness.formats import FORMATS
from harness.history import History, Op, Pair
from harness.models.base import INCONSISTENT, REMOVED, Model, Projectable
from harness.models.counter import Counter
from harness.models.list_append import ListAppend
from harness.models.multi_register import MultiRegister
from harness.models.register import CasRegister, Register
from harness.models.set import Set
from harness.models.text import Text
from tests.conftest import SHARED_HISTORIES
from tests.support.brute_force import linearizable as brute_force
from tests.support.brute_force import random_history
from tests.support.model_cases import CASES


def with_pairs(entries: list[Entry]) -> list[Entry]:
    """Return entries with their pairs, as if they came from a history."""
    made = []
    for i, e in enumerate(entries):
        value = list(e.value) if isinstance(e.value, tuple) else e.value
        done = None if e.ret == OPEN else Op(i, e.ret, "ok", i, e.f, value, node="n1")
        made.append(replace(e, pair=Pair(Op(i, e.call, "invoke", i, e.f, value), done)))
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_witness_is_a_violation_and_none_of_its_reads_can_be_removed(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(f"witness {name}")
    found = 0
    while found < 40:
        entries = sorted(
            with_pairs(random_history(model, ask, answer, rng, 8)), key=lambda e: e.call
        )
        outcome = decide_entries(entries, model, Budget())
        if outcome.valid is not False:
            continue
        found += 1
        core = shrunk(entries, model, outcome).entries
        assert not brute_force(core, model), core
        for e in core:
            if e.f == "read":
                assert brute_force([x for x in core if x is not e], model), (e, core)
            elif e.ret != OPEN and not getattr(model, "cumulative", False):
                relaxed = [replace(x, ret=OPEN) if x is e else x for x in core]
                assert brute_force(relaxed, model), (e, core)


def test_the_witness_of_a_counter_has_every_acknowledged_addition() -> None:
    answers = [1, 2, 4]
    entries = [Entry("add", (1, n), True, 2 * i, 2 * i + 1) for i, n in enumerate(answers)]
    outcome = decide_entries(entries, Counter(), Budget())
    assert [e.value[1] for e in shrunk(entries, Counter(), outcome).entries] == answers


@pytest.mark.parametrize("name", [n for n, (m, *_) in CASES.items() if isinstance(m, Projectable)])
def test_dropping_a_value_never_creates_a_violation(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(f"projection {name}")
    checked = 0
    while checked < 200:
        entries = random_history(model, ask, answer, rng, 7)
        if not brute_force(entries, model):
            continue
        forgotten = [replace(e, value=model.forget(e.f, e.value, e.known)) for e in entries]
        assert brute_force(forgotten, model)
        for value in {v for e in forgotten for v in model.mentions(e.f, e.value, e.known)}:
            projected = [
                replace(e, value=left)
                for e in forgotten
                if (left := model.without(e.f, e.value, e.known, frozenset({value}))) is not REMOVED
            ]
            if any(str(e.value) == "BOUND" for e in projected):
                continue
            assert brute_force(projected, model), (value, forgotten)
        checked += 1


def operation(process: int, f: str, value, call: int, ret: int | None, node: str = "n1",
              asked=None) -> list[Op]:  # fmt: skip
    ops = [Op(0, call, "invoke", process, f, ["k", asked if f == "read" else value])]
    if ret is not None:
        ops.append(Op(0, ret, "ok", process, f, ["k", value], node=node))
    return ops


def history(*operations: list[Op]) -> History:
    ops = sorted((op for ops in operations for op in ops), key=lambda op: op.time)
    return History(replace_index(op, i) for i, op in enumerate(ops))


def replace_index(op: Op, index: int) -> Op:
    op.index = index
    return op


SECOND = 1_000_000_000


def test_a_read_value_that_is_lost_is_explained_in_a_sentence() -> None:
    noise = [operation(p, "read", 1, i * 1000, i * 1000 + 500) for p, i in enumerate(range(1, 40))]
    verdict = check(history(
        operation(100, "write", 1, 0, 900), *noise,
        operation(101, "write", 2, SECOND, None),
        operation(102, "read", 2, 2 * SECOND, 2 * SECOND + 10, "n1"),
        operation(103, "read", 1, 3 * SECOND, 3 * SECOND + 10, "n2"),
    ), Register(), independent=True, of_reads=True)  # fmt: skip
    assert verdict.valid is False
    assert verdict.why == (
        "key k: process 103 read 1 at n2 at 3.000 s, after process 102 had read 2 at n1 by "
        "2.000 s: a value that was read is lost"
    )
    witness = verdict.evidence["witnesses"][0]
    assert len(witness["operations"]) == 5
    assert witness["minimal"] is True
    assert [o["process"] for o in witness["operations"] if o["stuck"]] == [103]


def test_a_lost_append_is_two_operations() -> None:
    reads = [operation(p, "read", list(range(p)), p * 100 + 60, p * 100 + 90) for p in range(1, 30)]
    appends = [operation(100 + p, "append", [p, p + 1], p * 100, p * 100 + 50) for p in range(30)]
    verdict = check(history(
        *reads, *appends, operation(300, "read", [0, 1, 2], 9000, 9010, "n2"),
    ), ListAppend(), independent=True)  # fmt: skip
    assert verdict.valid is False
    assert len(verdict.evidence["witnesses"][0]["operations"]) == 2
    assert ", without 29, although process 129 appended 29" in verdict.why
    assert verdict.why.endswith("an acknowledged write is lost")


def test_a_value_that_was_never_written_is_named() -> None:
    verdict = check(history(operation(0, "read", 9, 0, 10)), Register(), independent=True)
    assert verdict.why == "key k: process 0 read 9 at n1 at event 0, a value that was never written"


def test_a_failed_compare_and_set_is_explained() -> None:
    verdict = check(history(
        operation(0, "write", 1, 0, 10), operation(1, "cas", [5, 6, 4], 20, 30),
    ), CasRegister(), independent=True)  # fmt: skip
    assert "process 1 compared with 5 and saw 4 at n1" in verdict.why


def cas(old, new, seen, call, ret) -> Entry:
    return Entry("cas", (old, new, seen), True, call, ret)


def test_a_witness_includes_the_writer_of_the_value() -> None:
    """Without the writer of the value, its two compare-and-sets would show a thin-air read only."""
    entries = with_pairs([
        Entry("write", 1, True, 0, 1), cas(1, 2, 1, 2, 3), cas(2, 3, 2, 4, 5), cas(2, 4, 2, 6, 7),
    ])  # fmt: skip
    outcome = decide_entries(entries, CasRegister(), Budget())
    core = shrunk(entries, CasRegister(), outcome).entries
    assert {e.value for e in core if e.f == "cas"} == {(1, 2, 1), (2, 3, 2), (2, 4, 2)}


@pytest.mark.parametrize("name", ["unique-cas-register", "cas-register", "counter", "list"])
def test_operations_that_a_witness_omits_do_not_explain_it(name: str) -> None:
    """It stays a violation when each update that it omits is added as an open operation."""
    model, ask, answer = CASES[name]
    rng = random.Random(f"context {name}")
    found = 0
    while found < 60:
        history = with_pairs(random_history(model, ask, answer, rng, 8))
        entries = [
            replace(e, value=(*e.value[:2], rng.choice([e.value[0], e.value[2]])))
            if e.f == "cas" and e.known else e
            for e in sorted(history, key=lambda e: e.call)
        ]  # fmt: skip
        outcome = decide_entries(entries, model, Budget())
        if outcome.valid is not False:
            continue
        found += 1
        core = shrunk(entries, model, outcome).entries
        inside = {id(e.pair) for e in core}
        context = [replace(e, ret=OPEN) for e in entries
                   if e.f != "read" and id(e.pair) not in inside]  # fmt: skip
        assert not brute_force(core + context, model), (core, context)


def test_shrinking_a_large_violation_is_bounded() -> None:
    appends = [Entry("append", (i, None), True, 2 * i, 2 * i + 1) for i in range(400)]
    reads = [Entry("read", tuple(range(300)), True, 1000 + i, 2000 + i) for i in range(5)]
    entries = with_pairs([*appends, *reads])
    outcome = decide_entries(entries, ListAppend(), Budget())
    assert outcome.valid is False
    witness = shrunk(entries, ListAppend(), outcome)
    assert len(witness.entries) <= 3


def test_registers_whose_values_are_lists_are_explained_as_registers() -> None:
    ops = [operation(0, "write", [1], 0, 10), operation(1, "write", [], 20, 30),
           operation(2, "read", [1], 40, 50)]  # fmt: skip
    verdict = check(history(*ops), Register(), independent=True)
    assert verdict.valid is False
    assert ", without " not in verdict.why


def test_the_witness_of_a_long_history_is_its_end_where_that_suffices() -> None:
    entries = []
    for i in range(3000):
        entries.append(Entry("write", i % 5, True, 4 * i, 4 * i + 1))
        entries.append(Entry("read", i % 5, True, 4 * i + 2, 4 * i + 3))
    entries[-101] = replace(entries[-101], value=0)
    entries = with_pairs(entries)
    outcome = decide_entries(entries, Register(), Budget())
    core = shrunk(entries, Register(), outcome, work=40_000)
    assert core.minimal
    assert core.initial is not None
    assert [(e.f, e.value) for e in core.entries] == [("write", 4), ("read", 0)]
    for state in core.initial:
        assert not brute_force(core.entries, beginning_with(Register(), state))


@pytest.mark.parametrize("name", ["register", "cas-register", "mutex", "lock",
                                  "cas-register-that-keeps-to-itself"])  # fmt: skip
def test_a_linearizable_history_has_no_refuted_window(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window is refuted only if it is a violation from every initial state."""
    monkeypatch.setattr(shrink, "WINDOWS", (2, 4, 6))
    model, ask, answer = CASES[name]
    rng = random.Random(f"window {name}")
    checked = refuted = 0
    while checked < 400:
        entries = sorted(random_history(model, ask, answer, rng, 9), key=lambda e: e.call)
        ends = [e.ret for e in entries if e.ret != OPEN]
        if not ends:
            continue
        shrinker = shrink._Shrinker(entries, model, 100_000)
        found = shrinker._find_window(entries, len(entries), max(ends))
        if brute_force(entries, model):
            assert not found, (entries, shrinker.core)
            checked += 1
        refuted += found
    assert refuted > 20


@pytest.mark.skipif(
    not SHARED_HISTORIES.exists(), reason="no public histories in ../shared/histories"
)
def test_the_history_that_porcupine_does_not_explain() -> None:
    path = SHARED_HISTORIES / "porcupine/test_data/kv/c50-bad.txt"
    recorded, _ = FORMATS["kv"].read(path, False, True)
    verdict = check(recorded, Text(), independent=True, witnesses=10)
    assert verdict.evidence["invalid_keys"] == len(verdict.evidence["witnesses"]) == 10
    for witness in verdict.evidence["witnesses"]:
        assert witness["minimal"], witness
        assert len(witness["operations"]) < 20
        assert witness["prefixes"]


@pytest.mark.parametrize("name", CASES)
def test_the_longest_prefixes_are_legal_and_can_not_be_extended(name: str) -> None:
    model, ask, answer = CASES[name]
    rng = random.Random(f"prefix {name}")
    found = 0
    while found < 30:
        entries = with_pairs(sorted(random_history(model, ask, answer, rng, 8),
                                    key=lambda e: e.call))  # fmt: skip
        outcome = decide_entries(entries, model, Budget())
        if outcome.valid is not False:
            continue
        found += 1
        core = shrunk(entries, model, outcome)
        for prefix in longest_prefixes(core, model):
            assert prefix.rejected
            state = model.init()
            for e in prefix.order:
                state = model.step(state, e.f, e.value, e.known)
                assert state is not INCONSISTENT
            for e, why in prefix.rejected:
                assert model.step(state, e.f, e.value, e.known) is INCONSISTENT
                assert why


def test_a_prefix_names_why_it_can_not_be_extended() -> None:
    verdict = check(history(
        operation(0, "write", 1, 0, 10), operation(1, "write", 2, 20, 30),
        operation(2, "read", 1, 40, 50),
    ), Register(), independent=True)  # fmt: skip
    (prefix,) = verdict.evidence["witnesses"][0]["prefixes"]
    assert prefix["words"] == (
        "process 0 wrote 1, process 1 wrote 2; cannot be extended by process 2 read 1, because it "
        "requires 1, but the state is 2"
    )


def judged(model: Model, *operations: tuple) -> Verdict:
    """Return the verdict on operations (f, value) that follow each other."""
    events = []
    for f, value in operations:
        at = 2 * len(events)
        events += [Op(at, at, "invoke", 0, f, value), Op(at + 1, at + 1, "ok", 0, f, value)]
    made = History(events)
    for index, op in enumerate(made):
        op.index = op.time = index
    return check(made, model)


def test_a_window_of_transactions_is_a_witness() -> None:
    """Some transactions can't name the state that they require."""
    writes = [("txn", [["w", 0, i], ["w", 1, i], ["w", 2, i]]) for i in range(40)]
    verdict = judged(MultiRegister(), *writes, ("read", [["r", 0, 38], ["r", 1, 38], ["r", 2, 38]]),
                   ("txn", [["w", 0, 1], ["r", 1, 7]]))  # fmt: skip
    assert verdict.valid is False
    assert verdict.evidence["witnesses"]


def test_elements_may_be_lists() -> None:
    verdict = judged(ListAppend(), ("append", [[1, 2], None]), ("append", [[3, 4], None]),
                   ("read", [[3, 4]]))  # fmt: skip
    assert verdict.valid is False
    assert "is lost" in verdict.why


def test_a_window_of_a_set_does_not_begin_empty() -> None:
    verdict = judged(
        Set(), ("add", 1), ("contains", [1, True]), ("add", 2), ("remove", 2), ("add", 2),
        *[("read", [1, 2])] * 40, ("read", [1]),
    )  # fmt: skip
    assert verdict.valid is False
    (witness,) = verdict.evidence["witnesses"]
    assert len(witness["operations"]) > 1
    assert witness["whatever_came_before"] is False


def test_the_witness_of_a_counter_keeps_updates_that_may_explain_it() -> None:
    entries = with_pairs([
        Entry("read", -2, True, 0, 3), Entry("add", -2, False, 1, OPEN),
        Entry("add", (-2, -2), True, 4, 5),
    ])  # fmt: skip
    (outcome,) = decide_by_key({1: entries}, Counter(), Budget()).values()
    assert outcome.valid is False
    core = shrunk(entries, Counter(), outcome)
    assert core.minimal
    left_out = [replace(e, ret=OPEN) for e in entries
                if e.f == "add" and all(e.pair is not x.pair for x in core.entries)]  # fmt: skip
    assert not brute_force([*core.entries, *left_out], Counter())


class Odd:
    """A user's model: its operations are named like the harness', its values have other shapes."""

    recurs = True

    def init(self) -> int:
        return 0

    def step(self, state: int, f: str, value: object, known: bool) -> object:
        return INCONSISTENT if f == "read" else state + 1


@pytest.mark.parametrize(("f", "value"), [("append", [5]), ("add", []), ("cas", 5), ("cas", [1])])
def test_values_of_other_shapes_have_a_witness(f: str, value: object) -> None:
    verdict = judged(Odd(), (f, value), ("read", 9))
    assert verdict.valid is False
    assert "extracting a counterexample failed" not in verdict.why
    assert f in "".join(verdict.evidence["witnesses"][0]["words"]) or verdict.why


class Register5:
    """The register of docs/checking.md, which has only the required members."""

    recurs = True

    def init(self) -> None:
        return None

    def step(self, state: object, f: str, value: object, known: bool) -> object:
        return value if f == "write" else state if value == state else INCONSISTENT


def test_a_model_without_optional_members_has_a_witness_in_time() -> None:
    begun = time.monotonic()
    writes = [("write", i) for i in range(2000)]
    verdict = judged(Register5(), *writes, ("read", 7))
    assert verdict.valid is False
    assert len(verdict.evidence["witnesses"][0]["words"]) < 100
    assert time.monotonic() - begun < 20


def test_a_verdict_survives_a_failure_to_extract_a_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("a broken model")

    monkeypatch.setattr(shrink, "shrunk", broken)
    verdict = judged(Register(), ("write", 1), ("read", 2))
    assert verdict.valid is False
    assert "extracting a counterexample failed: TypeError" in verdict.why
