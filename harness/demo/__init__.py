"""The lost-read example as a script, run on vanilla Redis and on the reference MemoryDB.

Every step is fixed, nothing is random. Each side is an ordinary run whose workload is a script,
`vanilla` or `reference`; `script` is their base class, `story` prints and records their steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import click

from harness import campaign
from harness.demo.reference import NoLostRead
from harness.demo.script import Script
from harness.demo.vanilla import LostRead
from harness.history.record import Valid
from harness.results import plan_run
from harness.spec import Spec


class Side(NamedTuple):
    """One of the two runs. `happened`: the text to print when all was as expected."""

    target: str
    script: type[Script]
    expect: Literal["valid", "invalid"]
    happened: str


SIDES = (
    Side(
        "redis", LostRead, "invalid",
        "B read a value that was then lost: no order of these operations explains both reads.",
    ),
    Side(
        "memorydb", NoLostRead, "valid",
        "B read only values that the log had acknowledged.",
    ),
)  # fmt: skip


def run(results_dir: Path, binary: str | None) -> int:
    """Run both sides; return 0 if each happened as expected, else 1."""
    return max([_run_side(results_dir, binary if s.target == "redis" else None, s) for s in SIDES])


def _run_side(results_dir: Path, binary: str | None, side: Side) -> int:
    script = side.script
    spec = Spec(
        target=side.target,
        workload=f"{script.__module__}:{script.__name__}",
        concurrency=2,
        binary=binary,
        expect=side.expect,
    )
    run = plan_run(results_dir, f"demo-{side.target}")
    results = campaign.run(spec, run)
    reads = tuple(p.value[1] for p in campaign.judge(run).recorded.pairs if p.invoke.f == "read")
    click.echo()
    wanted: Valid = side.expect == "valid"
    happened = reads == script.expected and results.valid is wanted
    if happened:
        click.echo(f"{side.happened}\nVerdict: {results.why}.")
    else:
        click.echo(
            f"Unexpected outcome: B read {reads} where {script.expected} was expected; "
            f"verdict {results.valid}: {results.why}"
        )
    click.echo(f"report  {run.report}\n")
    return 0 if happened else 1
