"""The lost-read example as a script, played on vanilla Redis and on the reference MemoryDB.

Every step is fixed, nothing is drawn. A side is a run like any other, whose workload is a script:
`vanilla`, `reference`; `script` is what they have in common, `story` how steps are told.
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
    """One of the two. `happened`: what is told when everything was as expected."""

    target: str
    script: type[Script]
    expect: Literal["valid", "invalid"]
    happened: str


SIDES = (
    Side(
        "redis", LostRead, "invalid",
        "B read a value that is gone: no order of these operations explains both reads.",
    ),
    Side(
        "memorydb", NoLostRead, "valid",
        "B was told nothing that the log had not acknowledged.",
    ),
)  # fmt: skip


def tell(results_dir: Path, binary: str | None) -> int:
    """Play both; 0 when each happened as told, else 1."""
    return max([_tell(results_dir, binary if s.target == "redis" else None, s) for s in SIDES])


def _tell(results_dir: Path, binary: str | None, side: Side) -> int:
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
        click.echo(f"{side.happened}\nThe checker says: {results.why}.")
    else:
        click.echo(
            f"It did not happen as told: B read {reads} where {script.expected} was expected; "
            f"the checker says {results.valid}: {results.why}"
        )
    click.echo(f"report  {run.report}\n")
    return 0 if happened else 1
