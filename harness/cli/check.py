"""`harness check`: judge histories again, also those of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from harness import campaign
from harness.checkers.files import check_file, explanation_lines
from harness.cli.exits import OF_VERDICT, worst_code
from harness.formats import FORMATS
from harness.history.record import WORDS
from harness.results import find_run


@click.command(name="check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model",
    default=None,
    help="Check linearizability against this model, or transactions against this isolation level, "
    "see `harness list`.  [default: all claims of the run that the file belongs to]",
)
@click.option(
    "--independent/--no-independent",
    default=None,
    help="Whether values are [key, value], with keys that are checked separately.  [default: "
    "detected; an error if ambiguous]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default=None,
    help="Format of the files.  [default: by their suffix]",
)
@click.option(
    "--nil-is-a-value",
    is_flag=True,
    help="In EDN and JSON, a read of nil observed nil.  [default: such a read is ignored]",
)
@click.option(
    "--differed",
    type=click.Choice(["observe", "ignore"]),
    default="ignore",
    show_default=True,
    help="Whether a cas that failed without an error observed another value, or is ignored.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Time budget of a check against a model.  [default: a number of configurations]",
)
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(min=1),
    default=None,
    help="Memory budget in MB of a check against a model.  [default: 1024]",
)
@click.option(
    "--explain",
    is_flag=True,
    help="With --model: for an invalid FILE, also print a minimal counterexample.",
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
    """Judge histories again and print a line for each FILE.

    A FILE is a history, or the folder of a run. With --model it may be a file of another tool,
    such as Jepsen or Porcupine; see --format. The exit code is that of the worst verdict.
    """
    codes = []
    for path in files:
        explanation: list[str] = []
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
            explanation = explanation_lines(verdict) if explain else []
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo("\n    ".join([f"{WORDS[valid]}  {path}  {why}", *explanation]))
        codes.append(code)
    return worst_code(codes)
