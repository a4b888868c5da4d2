"""`harness check`: judge histories again, ours and those of others."""

from __future__ import annotations

from pathlib import Path

import click

from harness import campaign
from harness.checkers.files import check_file, explained
from harness.cli.exits import OF_VERDICT, worst_code
from harness.formats import FORMATS
from harness.history.record import WORDS
from harness.results import find_run


@click.command(name="check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model",
    default=None,
    help="Check linearizability against this model, or this isolation level of transactions, see "
    "`harness list`.  [default: all claims of the run that the file belongs to]",
)
@click.option("--independent/--no-independent", default=None, help="Values are [key, value].")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default=None,
    help="Of the files.  [default: by their suffix]",
)
@click.option("--nil-is-a-value", is_flag=True, help="EDN, JSON: a read of nil has seen nil.")
@click.option(
    "--differed",
    type=click.Choice(["observe", "ignore"]),
    default="ignore",
    show_default=True,
    help="What a cas that failed without an error tells: that it saw another value, or nothing.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Budget of time, with --model.  [default: one of search steps]",
)
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(min=1),
    default=None,
    help="Budget of memory in MB, with --model.  [default: 1024]",
)
@click.option(
    "--explain",
    is_flag=True,
    help="With --model: of an invalid FILE also the fewest operations that show it.",
)
def command(
    files: tuple[Path, ...],
    model: str | None,
    independent: bool | None,
    format_name: str | None,
    nil_is_a_value: bool,
    differed: str,
    seconds: float | None,
    memory_mb: int | None,
    explain: bool,
) -> int:
    """Judge histories again: one line a FILE.

    A FILE is a history, or the folder of a run. With --model also a history of others: Jepsen's
    EDN and JSON, Porcupine's logs and texts. The exit code is that of the worst.
    """
    codes = []
    for path in files:
        told: list[str] = []
        if model is None:
            results = campaign.judge_again(find_run(path)).results
            warnings = results.warnings
            valid, why, code = results.valid, results.why, results.exit_code
        else:
            verdict, warnings = check_file(
                path,
                model,
                independent=independent,
                format_name=format_name,
                nil_is_a_value=nil_is_a_value,
                observe_differed=differed == "observe",
                seconds=seconds,
                memory_mb=memory_mb,
            )
            valid, why, code = verdict.valid, verdict.why, OF_VERDICT[verdict.valid]
            told = explained(verdict) if explain else []
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo("\n    ".join([f"{WORDS[valid]}  {path}  {why}", *told]))
        codes.append(code)
    return worst_code(codes)
