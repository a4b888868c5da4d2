"""`harness replay`: repeat a simulated run and compare the two."""

from __future__ import annotations

from pathlib import Path

import click

from harness.history.record import Hashes
from harness.replay import replay
from harness.results import find_run


@click.command(name="replay")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> int:
    """Repeat a simulated RUN and print the first difference, if there is one.

    The exit code is 0 for identical runs, else 1.
    """
    done = replay(find_run(run))
    for note in done.notes:
        click.echo(f"note: {note}")
    if done.identical:
        click.echo(click.style("identical", fg="green", bold=True) + f"  {_hashes(done.first)}")
        return 0
    click.echo(click.style("different", fg="red", bold=True))
    click.echo(f"  the run     {_hashes(done.first)}")
    click.echo(f"  repetition  {_hashes(done.second)}")
    for difference in done.differences:
        click.echo(f"first difference in the {difference.what}, line {difference.line}:")
        for line in difference.before:
            click.echo(f"    {line}")
        click.echo(click.style(f"  - {difference.first or '(end of file)'}", fg="red"))
        click.echo(click.style(f"  + {difference.second or '(end of file)'}", fg="green"))
    return 1


def _hashes(hashes: Hashes) -> str:
    return f"history {hashes.history}, trace {hashes.trace} ({hashes.events} events)"
