"""Isolation levels: known anomalies, brute force by the definitions, and public histories."""

from __future__ import annotations

import itertools
import json
import random
import time
from pathlib import Path

import pytest

from harness.checkers import isolation
from harness.checkers.isolation import LEVELS
from harness.cli import run_command
from harness.formats import FORMATS
from harness.history import History, Op
from tests.conftest import SHARED_HISTORIES

MANIFEST = SHARED_HISTORIES / "manifest.json"
WEAK = ("read-committed", "read-atomic", "causal")


def pairs(*sessions: list[list], kinds: dict | None = None) -> History:
    """Build a history from sessions; `kinds` maps (session, position) to fail or info."""
    history = History()
    for session, transactions in enumerate(sessions):
        for position, steps in enumerate(transactions):
            kind = (kinds or {}).get((session, position), "ok")
            for each in ("invoke", kind):
                at = len(history)
                history.append(Op(at, at, each, session, "txn", [list(s) for s in steps]))
            if kind == "info":
                session += 100  # the process is retired after an info
    return history


def valid_at(made: History) -> set[str]:
    return {level for level in LEVELS if isolation.check(made, level).valid is True}


R, W, A = "r", "w", "append"
ALL = set(LEVELS)


@pytest.mark.parametrize(
    ("sessions", "levels"),
    [
        ([[[(W, "x", 1)], [(R, "x", 1)]]], ALL),
        # A session reads an older version after a newer one.
        ([[[(W, "x", 1)], [(W, "x", 2)]], [[(R, "x", 2)], [(R, "x", 1)]]],
         {"read-committed", "read-atomic"}),
        # Fractured reads: the visible half of a transaction is read last, or first.
        ([[[(W, "x", 1), (W, "y", 1)]], [[(R, "y", None), (R, "x", 1)]]], {"read-committed"}),
        ([[[(W, "x", 1), (W, "y", 1)]], [[(R, "x", 1), (R, "y", None)]]], set()),
        # Long fork.
        ([[[(W, "x", 1)]], [[(W, "y", 1)]], [[(R, "x", 1), (R, "y", None)]],
          [[(R, "x", None), (R, "y", 1)]]], set(WEAK)),
        # Lost update.
        ([[[(R, "x", None), (W, "x", 1)]], [[(R, "x", None), (W, "x", 2)]]], set(WEAK)),
        # Write skew.
        ([[[(R, "x", None), (W, "y", 1)]], [[(R, "y", None), (W, "x", 1)]]],
         ALL - {"serializable"}),
        # Write skew on lists.
        ([[[(R, "x", []), (A, "y", 1)]], [[(R, "y", []), (A, "x", 1)]],
          [[(R, "x", [1]), (R, "y", [1])]]], ALL - {"serializable"}),
        # Two reads of a list, neither a prefix of the other; a value that was never written.
        ([[[(A, "x", 1)], [(A, "x", 2)]], [[(R, "x", [1])]], [[(R, "x", [2])]]], set()),
        ([[[(R, "x", 9)]]], set()),
        # Appends of a transaction: interrupted, one lost, swapped, half, one twice, whole.
        ([[[(A, "x", 1), (A, "x", 2)]], [[(A, "x", 3)]], [[(R, "x", [1, 3, 2])]]], set()),
        ([[[(A, "x", 1), (A, "x", 2)]], [[(A, "x", 3)]], [[(R, "x", [1, 3])]]], set()),
        ([[[(A, "x", 1), (A, "x", 2)]], [[(R, "x", [2, 1])]]], set()),
        ([[[(A, "x", 1), (A, "x", 2)]], [[(R, "x", [2])]]], set()),
        ([[[(A, "x", 1)], [(A, "x", 2)]], [[(R, "x", [1, 2, 1])]]], set()),
        ([[[(A, "x", 1), (A, "x", 2)]], [[(A, "x", 3)]], [[(R, "x", [3, 1, 2])]]], ALL),
        # A lost update of a list: no read returns both elements.
        ([[[(A, "l", 1)]], [[(R, "l", [1])]], [[(R, "l", []), (A, "l", 2)]]], set(WEAK)),
        # Each transaction reads only its own append.
        ([[[(A, "l", 1), (R, "l", [1])]], [[(A, "l", 2), (R, "l", [2])]]], set(WEAK)),
        # Values of a register may be lists.
        ([[[(W, "x", [1, 2])]], [[(R, "x", [1, 2])]]], ALL),
        # A transaction reads its own writes, or does not.
        ([[[(W, "x", 1), (R, "x", 1)]]], ALL),
        ([[[(W, "x", 1), (R, "x", None)]]], set()),
        ([[[(A, "x", 1), (A, "x", 2), (R, "x", [1, 2])]]], ALL),
        # A value that its own writer overwrote (G1b).
        ([[[(W, "x", 1), (W, "x", 2)]], [[(R, "x", 1)]]], set()),
    ],
    ids=["plain", "backwards", "fractured", "half-first", "long-fork", "lost-update", "write-skew",
         "write-skew-of-lists", "incompatible-order", "thin-air", "within", "lost", "swapped",
         "half", "twice", "whole", "lost-update-of-a-list", "own-lists", "register-of-lists",
         "own", "own-not-seen",
         "own-appends", "intermediate"],
)  # fmt: skip
def test_anomalies(sessions: list, levels: set[str]) -> None:
    assert valid_at(pairs(*sessions)) == levels


def test_a_failed_write_must_not_be_read_and_an_unknown_one_may_be() -> None:
    sessions = [[[(W, "x", 1)]], [[(R, "x", 1)]]]
    assert valid_at(pairs(*sessions, kinds={(0, 0): "fail"})) == set()
    assert "aborted (G1a)" in isolation.check(pairs(*sessions, kinds={(0, 0): "fail"}),
                                              "causal").why  # fmt: skip
    assert valid_at(pairs(*sessions, kinds={(0, 0): "info"})) == ALL


def test_a_history_without_commits_is_unknown() -> None:
    assert isolation.check(History(), "causal").valid == "unknown"


def test_a_cycle_is_explained() -> None:
    made = pairs([[(W, "x", 1), (W, "y", 1)]], [[(R, "x", 1), (R, "y", None)]])
    verdict = isolation.check(made, "read-atomic")
    assert "process 0's [w x 1, w y 1] (event 0) precedes the initial state" in verdict.why
    assert len(verdict.evidence["cycle"]) == 2


# --- brute force


def random_sessions(rng: random.Random) -> list[list[list[tuple]]]:
    """Draw sessions; a read returns any earlier version, or that of a serial execution."""
    sessions: list[list[list[tuple]]] = [[] for _ in range(rng.randint(1, 3))]
    state: dict[str, int] = {}
    versions: dict[str, list[int | None]] = {"x": [None], "y": [None]}
    for i in range(rng.randint(2, 4)):
        steps: list[tuple] = []
        own: dict[str, int] = {}
        for step in range(rng.randint(1, 3)):
            key = rng.choice("xy")
            if rng.random() < 0.5:
                own[key] = 10 * i + step
                steps.append((W, key, own[key]))
            elif key in own:
                steps.append((R, key, own[key]))
            else:
                seen = rng.choice(versions[key]) if rng.random() < 0.5 else state.get(key)
                steps.append((R, key, seen))
        state.update(own)
        for key, value in own.items():
            versions[key].append(value)
        rng.choice(sessions).append(steps)
    return [s for s in sessions if s]


def final(steps: list[tuple]) -> dict[str, int]:
    return {key: value for what, key, value in steps if what == W}


def outside(steps: list[tuple]) -> list[tuple[str, int | None]]:
    """Return the external reads: those that precede the transaction's own write of the key."""
    own, found = set(), []
    for what, key, value in steps:
        if what == W:
            own.add(key)
        elif key not in own:
            found.append((key, value))
    return found


def is_serial(order: tuple[int, ...], transactions: list[list[tuple]]) -> bool:
    state: dict[str, int] = {}
    for i in order:
        if any(state.get(key) != value for key, value in outside(transactions[i])):
            return False
        state.update(final(transactions[i]))
    return True


def is_snapshot(begin: list[int], commit: list[int], transactions: list[list[tuple]]) -> bool:
    """Return whether all read from their snapshot, and no two that overlap write one key."""
    order = sorted(range(len(transactions)), key=commit.__getitem__)
    for i, steps in enumerate(transactions):
        state: dict[str, int] = {}
        for j in order:
            if commit[j] < begin[i]:
                state.update(final(transactions[j]))
        if any(state.get(key) != value for key, value in outside(steps)):
            return False
        for j in range(i):
            if final(steps).keys() & final(transactions[j]).keys() and not (
                commit[j] < begin[i] or commit[i] < begin[j]
            ):
                return False
    return True


def brute_force(level: str, sessions: list[list[list[tuple]]]) -> bool:
    transactions = [t for s in sessions for t in s]
    count = len(transactions)
    before = set()
    at = 0
    for s in sessions:
        before |= {(at + i, at + j) for j in range(len(s)) for i in range(j)}
        at += len(s)
    if level == "snapshot-isolation":
        for positions in itertools.permutations(range(2 * count)):
            begin, commit = list(positions[:count]), list(positions[count:])
            if any(b > c for b, c in zip(begin, commit, strict=True)):
                continue
            if any(commit[i] > begin[j] for i, j in before):
                continue
            if is_snapshot(begin, commit, transactions):
                return True
        return False
    writer = {(k, v): i for i, t in enumerate(transactions) for k, v in final(t).items()}
    for order in itertools.permutations(range(count)):
        position = {t: i for i, t in enumerate(order)}
        if any(position[i] > position[j] for i, j in before):
            continue
        if level == "serializable":
            if is_serial(order, transactions):
                return True
        elif follows(level, position, before, transactions, writer):
            return True
    return False


def follows(level: str, position: dict, before: set, transactions: list, writer: dict) -> bool:
    """Return whether this commit order satisfies the axioms of Biswas and Enea (On the Complexity
    of Checking Transactional Consistency, OOPSLA 2019); -1 is the writer of the initial state."""
    position = {**position, -1: -1}
    reads = {i: [(k, writer.get((k, v), -1 if v is None else None)) for k, v in outside(t)]
             for i, t in enumerate(transactions)}  # fmt: skip
    if any(w is None for each in reads.values() for _, w in each):
        return False
    direct = before | {(w, i) for i, each in reads.items() for _, w in each}
    if any(position[a] >= position[b] for a, b in direct):
        return False
    for i, each in reads.items():
        for at, (key, read_from) in enumerate(each):
            if level == "read-committed":
                visible = {w for _, w in each[:at]}
            elif level == "read-atomic":
                visible = {a for a, b in direct if b == i}
            else:
                visible, more = set(), {i}
                while more:
                    more = {a for a, b in direct if b in more} - visible
                    visible |= more
            for other in visible - {read_from, -1}:
                if key in final(transactions[other]) and position[other] > position[read_from]:
                    return False
    return True


@pytest.mark.parametrize("level", LEVELS)
def test_brute_force_agrees(level: str) -> None:
    rng = random.Random(level)
    verdicts = {True: 0, False: 0}
    for _ in range(120 if level == "snapshot-isolation" else 400):
        sessions = random_sessions(rng)
        if any(v is not None and not any((W, k, v) in t and final(t)[k] == v
                                         for s in sessions for t in s)
               for s in sessions for t in s for k, v in outside(t)):  # fmt: skip
            continue  # an intermediate read: no level allows it
        expected = brute_force(level, sessions)
        verdict = isolation.check(pairs(*sessions), level)
        assert verdict.valid is expected, (sessions, verdict)
        verdicts[expected] += 1
    assert min(verdicts.values()) > 10, verdicts


# --- public histories


def weak_cases() -> list[dict]:
    if not MANIFEST.exists():
        return []
    return [e for e in json.loads(MANIFEST.read_text())
            if e["format"].startswith(("awdit", "plume", "polysi"))]  # fmt: skip


@pytest.mark.skipif(not MANIFEST.exists(), reason="no public histories in ../shared/histories")
def test_there_are_public_histories() -> None:
    assert len(weak_cases()) > 10


@pytest.mark.parametrize("case", weak_cases(), ids=lambda c: Path(c["path"]).name)
def test_known_verdict(case: dict) -> None:
    name = "awdit" if case["format"].startswith("awdit") else "plume"
    history, _ = FORMATS[name].read(SHARED_HISTORIES / case["path"], False, False)
    if name == "awdit":
        strongest = case["strongest_of_RC_RA_CC"]
        rank = WEAK.index(strongest) if strongest != "none" else -1
        for i, level in enumerate(WEAK):
            assert isolation.check(history, level).valid is (i <= rank)
        return
    (model,) = case["models"]
    level = "causal" if model.startswith("causal") else model
    assert isolation.check(history, level).valid is case["expected_valid"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("awdit", "w x 1\nq x 1\n", "a.txt:2: expected 'r KEY VALUE'"),
        ("awdit", "=====\n", "a.txt: no transactions"),
        ("plume", "w(1,2,3)\n", "a.txt:1: expected 'r(KEY,VALUE,SESSION,TRANSACTION)'"),
        ("plume", "", "a.txt: no transactions"),
        ("awdit", "w x 1\n-----\nw x 1\n", "'1' is written twice to 'x'"),
        ("edn", "{:process 0 :type :invoke :value [[:w 1 nil]]}", "nil is written to 1"),
        ("edn", "{:process 0 :type :invoke :value [[:w 1 2] [:append 1 3]]}", "1 is both written"),
    ],
)
def test_a_malformed_history_is_an_error_that_names_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, why: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    assert run_command(["check", "--model", "causal", "--format", name, str(path)]) == 254
    assert why in capsys.readouterr().err


def test_check_judges_an_isolation_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("w x 1\n=====\nr x 1\n-----\nr x 2\n=====\nw x 2\n")
    command = ["check", "--format", "awdit", str(path), "--model"]
    assert run_command([*command, "serializable"]) == 0
    assert "4 transactions are serializable" in capsys.readouterr().out
    assert run_command([*command, "register"]) == 254
    assert "the format has no real-time order" in capsys.readouterr().err


def test_a_search_that_would_take_too_long_is_unknown() -> None:
    sessions = [[[(W, "x", f"{s}/{i}")] for i in range(20)] for s in range(10)]
    begun = time.monotonic()
    assert isolation.check(pairs(*sessions), "serializable").valid == "unknown"
    assert isolation.check(pairs(*sessions), "causal").valid is True
    back = [[(R, "x", "0/1")], [(R, "x", "0/0")]]
    assert isolation.check(pairs(*sessions, back), "serializable").valid is False
    assert time.monotonic() - begun < 20
