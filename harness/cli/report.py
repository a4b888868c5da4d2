"""`harness report`: write the report of a run again."""

from __future__ import annotations

from pathlib import Path

import click

from harness import campaign
from harness.cli.text import shown
from harness.results import find_run


@click.command(name="report")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> int:
    """Write the report of a RUN again, from its history.

    It works for runs that were killed, too.
    """
    judged = campaign.judge_again(find_run(run))
    for warning in judged.results.warnings:
        click.echo(f"warning: {warning}", err=True)
    campaign.report(judged)
    click.echo(shown(judged.run.report))
    return 0
