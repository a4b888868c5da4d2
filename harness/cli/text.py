"""Printing of runs and verdicts."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from harness.history.record import WORDS, Results, RunRecord
from harness.results import Run

COLOUR = {"valid": "green", "invalid": "red", "unknown": "yellow"}

RESULTS = click.option(
    "--results",
    "results_dir",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for the files of runs.",
)


class LiveLine:
    """The progress line, overwritten during a run; only on a terminal."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self._on_terminal:
            click.echo(f"\r\x1b[2K{text}", nl=False, err=True)
        elif text.endswith("\n"):
            click.echo(text, nl=False, err=True)

    def clear(self) -> None:
        self("")


def print_verdict(results: Results, folder: Run, record: RunRecord) -> None:
    """Print the verdict, its reason, the path of the report, the commands that repeat the run."""
    word, spec = WORDS[results.valid], record.spec
    click.echo(
        click.style(word, fg=COLOUR[word], bold=True)
        + f"  {spec.target} {spec.workload}, faults {_faults(record)}, seed {spec.seed}"
        + (" (expected to be invalid)" if spec.expect == "invalid" else "")
    )
    if spec.world is not None:
        click.echo(f"  drawn     {spec.node_count} nodes, faults {','.join(record.faults)}")
    for name, claim in results.claims.items():
        mark = WORDS[claim.valid] if claim.judged else "measured"
        click.echo(f"  {mark:8}  {name}: {claim.why}")
    for warning in results.warnings:
        click.echo(f"  warning   {warning}")
    click.echo(f"report  {shown(folder.report)}")
    click.echo(f"again   {record.command}")
    if folder.hashes.exists():
        click.echo(f"replay  harness replay {shlex.quote(shown(folder.path))}")


def _faults(record: RunRecord) -> str:
    if record.spec.plan is None:
        return record.spec.nemesis
    return f"{','.join(record.faults) or 'none'} of {record.spec.plan}"


def shown(path: Path) -> str:
    """Return a path relative to the working directory, if it is inside it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def summarize(results: list[Results]) -> None:
    words = [WORDS[r.valid] for r in results]
    counted = ", ".join(f"{words.count(w)} {w}" for w in COLOUR if w in words)
    click.echo(f"{len(results)} runs: {counted}")
