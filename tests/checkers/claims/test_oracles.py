"""The claims of each workload against a definition of it, by trying every order.

An oracle knows nothing of models or checkers: it has a server in a few lines for each workload, and
searches an order of the operations, and instants of the expiries, in which that server gives every
answer of the history. A run is invalid if there is none. `python -m pytest -m soak` on this file
judges 100,000 histories of each workload instead of a sample.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.checkers.claims.counter import CounterAccounting
from harness.checkers.claims.lock import Exclusion, FencingTokens, LinearizableLeases
from harness.checkers.claims.queue import QueueAccounting
from harness.checkers.claims.set import SetAccounting
from harness.checkers.claims.ttl import LinearizableExpiry, TimesToLive
from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.models.counter import Counter
from harness.models.list_append import ListAppend
from harness.models.list_queue import ListQueue
from harness.models.multi_register import MultiRegister
from harness.models.register import CasRegister, Register
from harness.models.set import GrowSet
from tests.support.claims import Row, overlapping

TTL_MS = 12
WRITING = ("write", "set", "add", "push", "append")
ERROR_MS = 4  # by how much two readings of clocks may differ: each errs by half of it
SAMPLE, SOAK = 400, 100_000


@dataclass(frozen=True)
class Workload:
    """`ask(rng, i)`: draws (f, argument). `serve(state, f, argument)`: executes it, changing the
    state, and returns the answer. `wrong(rng, answer, i)`: another answer. `claims`: the checkers.
    `begins_expiry`: whether an operation that was answered so begins a time to live."""

    new: Callable[[], Any]
    ask: Callable[[random.Random, int], tuple[str, Any]]
    serve: Callable[[Any, str, Any], Any]
    wrong: Callable[[random.Random, Any], Any]
    claims: list[Checker]
    begins_expiry: Callable[[str, Any], bool] = lambda f, answer: False
    final: Any = None  # the argument of the final read; None: there is none


# --- the servers


def serve_set(state: list, f: str, argument: Any) -> Any:
    if f == "read":
        return sorted(state)
    new = argument not in state
    if new:
        state.append(argument)
    return [argument, new]


def serve_counter(state: list, f: str, argument: Any) -> Any:
    if f == "read":
        return state[0]
    state[0] += argument
    return [argument, state[0]]


def serve_queue(state: list, f: str, argument: Any) -> Any:
    if f == "push":
        state.append(argument)
        return [argument, len(state)]
    if f == "pop":
        return state.pop(0) if state else None
    return list(state)


def serve_lock(state: dict, f: str, argument: Any) -> Any:
    if f == "acquire":
        if state["holder"] is not None:
            return [argument[0], None]
        state["holder"] = argument[0]
        state["token"] += 1
        return [argument[0], state["token"]]
    if f == "release":
        held = state["holder"] == argument
        if held:
            state["holder"] = None
        return [argument, held]
    if f == "expire":
        if state["holder"] == argument[0]:
            state["holder"] = None
        return None
    return state["token"]


def serve_ttl(state: list, f: str, argument: Any) -> Any:
    if f == "set":
        state[0] = 0  # the key's own name
        return argument
    if f == "expire":
        state[0] = None
        return None
    return state[0]


def serve_register(state: list, f: str, argument: Any) -> Any:
    if f == "read":
        return state[0]
    if f == "write":
        state[0] = argument
        return argument
    old, new = argument
    seen = state[0]
    if seen == old:
        state[0] = new
    return [old, new, seen]


def serve_transactions(state: list, f: str, argument: Any) -> Any:
    seen = []
    for what, k, value in argument:
        if what == "w":
            state[k] = value
        seen.append([what, k, state[k]])
    return seen


def serve_list(state: list, f: str, argument: Any) -> Any:
    if f == "read":
        return list(state)
    state.append(argument)
    return [argument, len(state)]


# --- what clients ask, and wrong answers


def ask_lock(rng: random.Random, i: int) -> tuple[str, Any]:
    if rng.random() < 0.6:
        return "acquire", [i, None]
    return "release", rng.randrange(i + 1)


def ask_register(rng: random.Random, i: int) -> tuple[str, Any]:
    drawn = rng.random()
    if drawn < 0.4:
        return "read", None
    return ("write", i + 1) if drawn < 0.7 else ("cas", [rng.randrange(i + 1), i + 1])


def ask_transaction(rng: random.Random, i: int) -> tuple[str, Any]:
    if rng.random() < 0.5:
        return "read", [["r", 0, None], ["r", 1, None]]
    steps: list[Any] = [["w", k, 10 * i + k] for k in range(2) if rng.random() < 0.6]
    return "txn", [["r", 0, None], *steps]


def off_by_some(rng: random.Random, answer: Any) -> Any:
    """Return an answer with one number changed, one element dropped, doubled, moved or added."""
    if isinstance(answer, bool):
        return not answer
    if isinstance(answer, int):
        return max(0, answer + rng.choice((-2, -1, 1, 2)))
    if answer is None:
        return rng.randrange(4)
    answer = copy.deepcopy(answer)
    if not answer:
        return [rng.randrange(6)]
    i = rng.randrange(len(answer))
    if isinstance(answer[0], list):  # the steps of a transaction
        reads = [step for step in answer if step[0] == "r"]
        rng.choice(reads)[2] = rng.choice((None, 0, 1, 10, 11, 20, 21))
        return answer
    drawn = rng.randrange(4)
    if drawn == 0:
        answer.pop(i)
    elif drawn == 1:
        answer.insert(i, answer[i])
    elif drawn == 2:
        answer.insert(i, rng.randrange(6))
    else:
        answer.reverse()
    return answer


def wrong_pair(rng: random.Random, answer: Any) -> Any:
    """Return [argument, result] with another result, or another answer of another shape."""
    if isinstance(answer, list) and len(answer) == 2 and not isinstance(answer[0], list):
        result = answer[1]
        if type(result) is int and rng.random() < 0.2:
            return [answer[0], None] if rng.random() < 0 else [answer[0], result + 3]
        return [answer[0], off_by_some(rng, result) if result is not None else rng.randint(1, 3)]
    return off_by_some(rng, answer)


def wrong_set(rng: random.Random, answer: Any) -> Any:
    if len(answer) == 2 and isinstance(answer[1], bool):
        return [answer[0], not answer[1]]
    return sorted(off_by_some(rng, answer))


def wrong_list(rng: random.Random, answer: Any) -> Any:
    return off_by_some(rng, answer)


def wrong_queue(rng: random.Random, answer: Any) -> Any:
    return off_by_some(rng, answer)


def wrong_cas(rng: random.Random, answer: Any) -> Any:
    if isinstance(answer, list):
        return [*answer[:2], rng.choice((None, 1, 2, 3, answer[0]))]
    return rng.choice((None, 1, 2, 3, 4))


def wrong_ttl(rng: random.Random, answer: Any) -> Any:
    return None if answer == 0 else 0


WORKLOADS: dict[str, Workload] = {
    "set": Workload(
        list,
        lambda rng, i: ("read", None) if rng.random() < 0.5 else ("add", i),
        serve_set,
        wrong_set,
        [SetAccounting(), Linearizable(GrowSet())],
        final="all",
    ),
    "counter": Workload(
        lambda: [0],
        lambda rng, i: ("read", None) if rng.random() < 0.4 else ("add", rng.randint(1, 3)),
        serve_counter,
        wrong_pair,
        [CounterAccounting(), Linearizable(Counter())],
        final="all",
    ),
    "queue": Workload(
        list,
        lambda rng, i: ("pop", None) if rng.random() < 0.5 else ("push", i),
        serve_queue,
        wrong_queue,
        [QueueAccounting(), Linearizable(ListQueue())],
        final="all",
    ),
    "lock": Workload(
        lambda: {"holder": None, "token": 0},
        ask_lock,
        serve_lock,
        wrong_pair,
        [FencingTokens(), Exclusion(TTL_MS), LinearizableLeases(TTL_MS)],
        lambda f, answer: f == "acquire" and (answer is None or answer[1] is not None),
        final="all",
    ),
    "ttl": Workload(
        lambda: [None],
        lambda rng, i: ("set", TTL_MS) if i == 0 else ("read", None),
        serve_ttl,
        wrong_ttl,
        [TimesToLive(), LinearizableExpiry()],
        lambda f, answer: f == "set",
    ),
    "register": Workload(
        lambda: [None], ask_register, serve_register, wrong_cas, [Linearizable(CasRegister())]
    ),
    "wait": Workload(
        lambda: [None],
        lambda rng, i: ("read", None) if rng.random() < 0.5 else ("write", i + 1),
        serve_register,
        wrong_cas,
        [Linearizable(Register(), of_reads=True)],
    ),
    "transactions": Workload(
        lambda: [None, None],
        ask_transaction,
        serve_transactions,
        off_by_some,
        [Linearizable(MultiRegister(2))],
    ),
    "replica-reads": Workload(
        list,
        lambda rng, i: ("read", None) if rng.random() < 0.5 else ("append", i),
        serve_list,
        wrong_list,
        [Linearizable(ListAppend())],
    ),
}


# --- histories


def drawn_history(workload: Workload, rng: random.Random) -> list[Row]:
    """Draw concurrent operations that took effect in some order, with answers lost, operations that
    failed and, mostly, one or two wrong answers. Times may tie."""
    count = rng.randint(2, 6)
    span = rng.choice((6, 20, 40))
    calls = sorted(rng.randrange(span) for _ in range(count))
    spans = [(call, call + rng.randrange(rng.choice((1, 6, 20)))) for call in calls]
    asked = [workload.ask(rng, i) for i in range(count)]
    effects: list[tuple[float, int, str, Any]] = [
        (rng.uniform(*spans[i]), i, *asked[i]) for i in range(count)
    ]
    rows: dict[int, Row] = {}
    state = workload.new()
    while effects:
        effects.sort(key=lambda effect: effect[:2])
        at, i, f, argument = effects.pop(0)
        if f == "expire":
            workload.serve(state, f, argument)
            continue
        outcome = rng.choices(("ok", "info", "lost", "fail"), (70, 10, 10, 10))[0]
        if f == "read" and outcome in ("info", "lost"):
            outcome = "fail"
        answer = None
        if outcome in ("ok", "info"):
            answer = workload.serve(state, f, argument)
            if workload.begins_expiry(f, answer):
                ends = at + TTL_MS + rng.uniform(-ERROR_MS, ERROR_MS)
                effects.append((ends, i, "expire", argument))
        type = "info" if outcome == "lost" else outcome
        ret = None if type == "info" and rng.random() < 0.5 else spans[i][1]
        rows[i] = Row(f, type, [0, argument], [0, answer], spans[i][0], ret)
    made = [rows[i] for i in sorted(rows)]
    if workload.final is not None and rng.random() < 0.8:
        last = max(r.ret or r.call for r in made)
        made.append(Row("read", "ok", [0, None], [0, workload.serve(state, "read", None)],
                        last + 1, last + 2))  # fmt: skip
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2))):
        answered = [k for k, row in enumerate(made) if row.type == "ok"]
        if answered:
            k = rng.choice(answered)
            wrong = workload.wrong(rng, copy.deepcopy(made[k].answered[1]))
            if made[k].f not in ("write", "set", "add", "push", "append") or isinstance(
                wrong, list
            ):
                made[k] = made[k]._replace(answered=[0, _shaped(made[k], wrong)])
    return made


def _shaped(row: Row, wrong: Any) -> Any:
    """Return a wrong answer in the shape that the client records: writes name their argument."""
    if row.f in ("add", "push", "append", "acquire", "release") and isinstance(wrong, list):
        argument = row.asked[1][0] if row.f == "acquire" else row.asked[1]
        result = wrong[-1] if len(wrong) == 2 else row.answered[1][-1]
        return [argument, result]
    return wrong


# --- the oracle


@dataclass
class _Step:
    f: str
    argument: Any
    answer: Any
    call: int
    ret: float
    known: bool
    begins: int = -1  # of an expiry: the operation that begins it


def first_seen(rows: list[Row]) -> float:
    """Return when the first read ended that saw a value."""
    saw = (row.ret for row in rows if row.f == "read" and row.type == "ok" and row.answered[1] == 0)
    return min((float(ret) for ret in saw if ret is not None), default=float("inf"))


def explained(workload: Workload, rows: list[Row]) -> bool:
    """Return whether some order, which respects real time, explains every answer. Operations of
    unknown outcome may be left out, failed ones are. An expiry takes effect once, after
    its operation, between that one's call, plus the time to live, less the error, and its return,
    plus both; instead of the return of a `set` of unknown outcome, that of a read that saw it."""
    steps: list[_Step] = []
    for row in rows:
        if row.type == "fail":
            continue
        known = row.type == "ok"
        ret = float("inf") if not known or row.ret is None else row.ret
        answer = row.answered[1] if known else None
        steps.append(_Step(row.f, row.asked[1], answer, row.call, ret, known))
        if workload.begins_expiry(row.f, answer):
            shown = ret if known or row.f != "set" else first_seen(rows)
            steps.append(
                _Step("expire", row.asked[1], None, max(row.call, row.call + TTL_MS - ERROR_MS),
                      shown + TTL_MS + ERROR_MS, known, len(steps) - 1)
            )  # fmt: skip
    tried: set[Any] = set()

    def search(done: int, state: Any) -> bool:
        left = [i for i in range(len(steps)) if not done >> i & 1]
        if all(steps[i].ret == float("inf") for i in left):
            return True
        place = done, repr(state)
        if place in tried:
            return False
        tried.add(place)
        first = min(steps[i].ret for i in left)
        for i in left:
            step = steps[i]
            if step.call > first or (step.begins >= 0 and not done >> step.begins & 1):
                continue
            after = copy.deepcopy(state)
            answer = workload.serve(after, step.f, step.argument)
            if step.known and step.f != "expire" and answer != step.answer:
                continue
            if search(done | 1 << i, after):
                return True
        return False

    return search(0, workload.new())


def judged(workload: Workload, rows: list[Row]) -> bool | str:
    """Return the worst verdict of the workload's claims; `unknown` counts as no violation."""
    final = None
    if workload.final is not None and rows[-1].f == "read" and rows[-1].asked[1] is None:
        last = rows[-1]
        if last.type == "ok" and all(max(row.call, row.ret or 0) < last.call for row in rows[:-1]):
            final = [(0, last.answered[1])]
            rows = rows[:-1]
    recorded = overlapping(rows, final=final, clock_error_ms=ERROR_MS // 2)
    verdicts = [claim.check(recorded).valid for claim in workload.claims]
    return False not in verdicts


def compare(name: str, seed: int, count: int) -> tuple[int, int]:
    """Compare verdicts on so many histories; return how many were valid and invalid."""
    workload, rng = WORKLOADS[name], random.Random(f"{name} {seed}")
    valid = invalid = 0
    for i in range(count):
        rows = drawn_history(workload, rng)
        expected = explained(workload, rows)
        assert judged(workload, rows) is expected, (name, seed, i, expected, rows)
        valid += expected
        invalid += not expected
    return valid, invalid


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_sample_of_histories_is_judged_as_defined(name: str) -> None:
    valid, invalid = compare(name, 1, SAMPLE)
    assert min(valid, invalid) > SAMPLE // 10


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WORKLOADS)
def test_many_histories_are_judged_as_defined(name: str) -> None:
    compare(name, 2, SOAK)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_claims_notice_when_a_checker_is_broken(name: str) -> None:
    """The comparison itself can fail: with no claims at all, violations are missed."""
    blind = replace(WORKLOADS[name], claims=[])
    rng = random.Random(3)
    drawn = [drawn_history(blind, rng) for _ in range(60)]
    assert any(judged(blind, rows) is not explained(blind, rows) for rows in drawn)
