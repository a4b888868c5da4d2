"""`harness export`: a history in a format of Jepsen."""

from __future__ import annotations

from pathlib import Path

import click

from harness.errors import HistoryError, UsageError
from harness.formats.jepsen import write_edn, write_json
from harness.history.files import read_history


@click.command(name="export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(["edn", "json"]), default="edn",
              show_default=True, help="Which of Jepsen's formats to print.")  # fmt: skip
def command(file: Path, name: str) -> int:
    """Print a history in one of Jepsen's formats.

    FILE is a history, or the folder of a run.
    """
    try:
        history, warnings = read_history(file / "history.jsonl" if file.is_dir() else file)
    except HistoryError as e:
        raise UsageError(str(e)) from e
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in (write_edn if name == "edn" else write_json)(history):
        click.echo(line)
    return 0
