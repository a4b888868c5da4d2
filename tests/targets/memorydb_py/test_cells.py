"""Every workload under every fault, in the simulation: the reference keeps its guarantees.

`test_scenarios` reproduces what single seeds have found.

`python -m pytest -m soak tests/targets/memorydb_py/test_cells.py` runs 200 seeds a cell
(`HARNESS_SEEDS`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import campaign
from harness.history.events import Settled
from harness.history.record import Results
from harness.results import plan_run
from harness.spec import Spec

WORKLOADS = ("register", "wait", "replica-reads", "set", "counter", "transactions", "queue",
             "lock", "ttl", "commands")  # fmt: skip
NEMESES = ("partition", "kill", "pause", "failover", "all")
# Shorter leases than the defaults, for more elections.
OPTIONS = {"lease-ms": "300", "backoff-ms": "500", "snapshots": "60"}
SETTLE_MS = 5000  # bound on the time until the shard has recovered, in any seed's network
SEEDS = int(os.environ.get("HARNESS_SEEDS", "200"))


def run(folder: Path, workload: str, nemesis: str, seed: int) -> Results:
    spec = Spec(
        target="memorydb",
        workload=workload,
        nemesis=nemesis,
        environment="simulated",
        seed=seed,
        time_limit_s=20.0 if nemesis == "all" else 8.0,
        interval_s=0.8 if nemesis == "all" else 0.4,
        rate=150.0 if nemesis == "all" else 100.0,
        options=OPTIONS,
    )
    return judged(folder, spec)


def judged(folder: Path, spec: Spec) -> Results:
    made = plan_run(folder, spec.directory_name)
    campaign.execute(spec, made)
    done = campaign.judge(made)
    (settled,) = done.recorded.events.of(Settled)
    assert settled.what.ms is not None, settled.error
    assert settled.what.ms < SETTLE_MS
    return done.results


@pytest.mark.parametrize("nemesis", NEMESES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_seed_of_every_cell(tmp_path: Path, workload: str, nemesis: str) -> None:
    results = run(tmp_path, workload, nemesis, 1)
    assert results.valid is True, results.why


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("nemesis", NEMESES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_many_seeds_of_every_cell(tmp_path: Path, workload: str, nemesis: str) -> None:
    wrong = []
    for seed in range(1000, 1000 + SEEDS):
        results = run(tmp_path, workload, nemesis, seed)
        if results.valid is not True:
            wrong.append(f"seed {seed}: {results.valid}: {results.why}")
    assert not wrong, f"{len(wrong)} of {SEEDS}:\n" + "\n".join(wrong)
