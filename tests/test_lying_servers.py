"""Servers that lie are never found valid by a workload that touches what they break.

Each lie is a target of its own (`tests/extensions/lying.py`): a simulated model of Redis that
breaks one promise, without any fault.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import campaign
from harness.campaign import execute
from harness.history.record import Results
from harness.results import plan_run
from harness.spec import Spec
from tests.extensions import lying, lying_engine

WRITING = ("register", "wait", "set", "counter", "queue", "lock", "ttl", "transactions",
           "replica-reads")  # fmt: skip
# What each lie breaks: by workload, the claims of which at least one must be invalid; an empty set:
# the workload touches it, and must not be valid.
LIES: dict[type[lying.LyingNode], dict[str, set[str]]] = {
    lying.StoresNothing: {
        "register": {"linearizable"}, "wait": {"linearizable"}, "set": {"set"},
        "counter": {"counter"}, "queue": {"queue"}, "lock": set(), "ttl": {"ttl"},
        "transactions": {"linearizable"}, "replica-reads": {"linearizable"},
    },
    lying.DropsWrites: {
        "register": {"linearizable"}, "wait": {"linearizable"}, "set": {"set"},
        "counter": {"counter"}, "queue": {"queue"}, "ttl": {"ttl"},
        "transactions": {"linearizable"}, "replica-reads": {"linearizable"},
    },
    lying.AnswersFromACopy: {
        "register": {"linearizable"}, "wait": {"linearizable"}, "set": {"set"},
        "counter": {"counter"}, "ttl": {"ttl"}, "transactions": {"linearizable"},
        "replica-reads": {"linearizable"},
    },
    lying.ExecutesTwice: {
        "counter": {"counter", "linearizable"}, "queue": {"queue"},
        "replica-reads": {"linearizable", "node-values"},
    },
    lying.ForgetsTimesToLive: {"ttl": {"ttl"}, "lock": {"linearizable"}},
    lying.ExpiresEarly: {"ttl": {"ttl"}, "lock": {"exclusive", "linearizable"}},
    lying.ReordersQueues: {"queue": {"queue"}, "replica-reads": {"linearizable"}},
    lying.SwapsReplies: {w: {"replies", "linearizable", w} for w in WRITING},
    lying.DivergesAReplica: {w: {"copies"} for w in WRITING if w != "ttl"},
    # Registers are overwritten, and queues emptied, so their copies are the same again.
    lying.LosesAReplica: {w: {"copies"} for w in ("set", "counter", "lock", "ttl",
                                                  "replica-reads")},
}  # fmt: skip
CASES = [(kind, workload) for kind, broken in LIES.items() for workload in broken]


def judged(folder: Path, target: str, workload: str) -> Results:
    spec = Spec(target=target, environment="simulated", workload=workload, time_limit_s=5.0,
                rate=200, seed=1)  # fmt: skip
    made = plan_run(folder / "results", spec.directory_name)
    execute(spec, made)
    return campaign.judge(made).results


@pytest.mark.parametrize(("kind", "workload"), CASES,
                         ids=[f"{kind.__name__}-{w}" for kind, w in CASES])  # fmt: skip
def test_a_lie_is_never_valid(tmp_path: Path, kind: type[lying.LyingNode], workload: str) -> None:
    results = judged(tmp_path, f"tests.extensions.lying:Target{kind.__name__}", workload)
    assert results.valid is not True, results.claims
    claims = LIES[kind][workload]
    if claims:
        invalid = {name for name, claim in results.claims.items() if claim.valid is False}
        assert claims & invalid, {name: claim.why for name, claim in results.claims.items()}


@pytest.mark.parametrize("workload", WRITING)
def test_the_same_model_without_a_lie_is_valid(tmp_path: Path, workload: str) -> None:
    results = judged(tmp_path, "tests.extensions.lying:Lying", workload)
    assert results.valid is True, results.why


@pytest.mark.parametrize(
    ("kind", "claim"),
    [(lying_engine.DropsWrites, "linearizable"), (lying_engine.ForgetsTimesToLive, "linearizable"),
     (lying_engine.Miscounts, "linearizable"), (lying_engine.Diverges, "copies")],
    ids=lambda v: getattr(v, "__name__", v),
)  # fmt: skip
def test_arbitrary_commands_find_an_engine_that_lies(
    tmp_path: Path, kind: type[lying_engine.LyingEngine], claim: str
) -> None:
    target = f"tests.extensions.lying_engine:Target{kind.__name__}"
    results = judged(tmp_path, target, "commands")
    assert results.claims[claim].valid is False
    assert results.valid is False


def test_arbitrary_commands_find_nothing_in_the_same_engine_without_a_lie(tmp_path: Path) -> None:
    results = judged(tmp_path, "tests.extensions.lying_engine:TargetLyingEngine", "commands")
    assert results.valid is True, results.why
