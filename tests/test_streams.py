"""Named random streams: without one fault or one client, the others draw the same as with it.

The tests compare histories. A client draws the kind of an operation, the key by its position, and
the argument; consecutive numbers, and values that depend on earlier replies, are not drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import campaign
from harness.history import NEMESIS, Op
from harness.history.record import Plan, PlannedFault
from harness.history.recorded import Recorded
from harness.results import plan_run
from harness.spec import Spec
from harness.streams import stream
from harness.workloads.wait import LIVE_KEYS

CLIENTS = 10
# A partition that affects clients, so that replies differ, and a kill.
GRUDGE = {"c1": ["primary"], "primary": ["c1"]}
FAULTS = (
    PlannedFault(at_s=0.5, fault="partition-client", until_s=1.6,
                 arguments={"kind": "client", "grudge": GRUDGE}),
    PlannedFault(at_s=1.0, fault="kill", arguments={"victim": "primary"}, until_s=1.5),
)  # fmt: skip

DRAWN: dict[str, Callable[[Op], Any]] = {
    "register": lambda op: None,
    "wait": lambda op: op.value[0] % LIVE_KEYS,
    "replica-reads": lambda op: op.node,
    "set": lambda op: None,
    "counter": lambda op: op.value,
    "transactions": lambda op: [(what, k) for what, k, _ in op.value[1]],
    "queue": lambda op: None,
    "lock": lambda op: op.value[0] if op.f == "acquire" else None,
    "ttl": lambda op: op.value[1] if op.f == "set" else None,
    "commands": lambda op: [re.sub(r"\{\d+\}", "{}", word) for word in op.value[1][0]],
}


def drawn(folder: Path, workload: str, seed: int, *, clients: int, faults: int) -> list[list[Any]]:
    """Return what each client drew until the faults were healed."""
    spec = Spec(
        target="memorydb", environment="simulated", workload=workload, seed=seed,
        concurrency=clients, time_limit_s=2.5, rate=250.0,
    )  # fmt: skip
    run = plan_run(folder, spec.directory_name)
    campaign.execute(spec, run, plan=Plan(faults=FAULTS[:faults]))
    recorded: Recorded = campaign.judge(run).recorded
    assert len(recorded.events.faults()) == faults
    sequences: list[list[Any]] = [[] for _ in range(clients)]
    for op in recorded.history:
        if op.process == NEMESIS and op.f == "heal":
            break
        if op.type == "invoke" and isinstance(op.process, int):
            sequences[op.process % clients].append((op.f, DRAWN[workload](op)))
    return sequences


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("workload", DRAWN)
def test_a_client_draws_the_same_with_one_fault_less_and_with_one_client_less(
    tmp_path: Path, workload: str, seed: int
) -> None:
    seed = 2 * list(DRAWN).index(workload) + seed  # 20 seeds
    whole = drawn(tmp_path, workload, seed, clients=CLIENTS, faults=2)
    others = {
        "one fault less": drawn(tmp_path, workload, seed, clients=CLIENTS, faults=1),
        "one client less": drawn(tmp_path, workload, seed, clients=CLIENTS - 1, faults=2),
    }
    for what, other in others.items():
        for worker, (a, b) in enumerate(zip(whole, other, strict=False)):
            shared = min(len(a), len(b))
            assert shared >= 5, (what, worker)
            assert a[:shared] == b[:shared], (what, worker)
    assert len({str(sequence) for sequence in whole}) == CLIENTS, "each draws its own"


def test_a_stream_is_the_same_everywhere() -> None:
    assert [stream(7, "faults").randrange(10**6) for _ in range(2)] == [708889, 708889]
    assert stream(7, "faults").random() != stream(7, "workers").random()
    assert stream(7, "client/1").random() != stream(8, "client/1").random()
