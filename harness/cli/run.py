"""`harness run`: turn options into a spec and run it through the pipeline."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import campaign
from harness.cli.exits import Interrupted, worst_code
from harness.cli.text import RESULTS, LiveLine, print_verdict, shown, summarize
from harness.errors import UsageError
from harness.history.record import Results
from harness.parts import resolved
from harness.report.junit import write_junit
from harness.results import Run, plan_run
from harness.spec import Spec, parse_concurrency, parse_options


@click.command(name="run")
@click.option(
    "--target",
    default="redis",
    show_default=True,
    help="System under test, see `harness list`, or module:Class.",
)
@click.option(
    "--workload",
    default="register",
    show_default=True,
    help="Operations of the clients and claims about them, see `harness list`.",
)
@click.option(
    "--nemesis",
    default="none",
    show_default=True,
    help="Faults, comma-separated (they overlap), `none` or `all`; see `harness list`.",
)
@click.option(
    "--env",
    "environment",
    default=None,
    help="Where nodes run, see `harness list`, or module:Class.  [default: local; external when "
    "--nodes has addresses]",
)
@click.option(
    "--nodes",
    default=None,
    help="Number of nodes, or host:port,… of servers that already run.  [default: 3; drawn by "
    "--nemesis all in a simulation]",
)
@click.option(
    "--concurrency",
    default="10",
    show_default=True,
    help="Clients: a number, or 3n for three times the nodes.",
)
@click.option(
    "--rate",
    type=float,
    default=500.0,
    show_default=True,
    help="Operations a second over all clients; 0: no limit.",
)
@click.option(
    "--time-limit",
    type=float,
    default=30.0,
    show_default=True,
    help="Length of the phase with faults, in seconds.",
)
@click.option(
    "--interval",
    type=float,
    default=None,
    help="Mean seconds between the steps of a fault cycle.  [default: 1.5, less in short runs]",
)
@click.option(
    "--timeout",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds until an operation's outcome counts as unknown.",
)
@click.option(
    "--seed", type=int, default=None, help="Seed of all random choices.  [default: random]"
)
@click.option(
    "--test-count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of runs, with seed, seed + 1, …",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Passed to the server, as in appendonly=yes; may be repeated.",
)
@click.option("--binary", default=None, help="Server binary to run.")
@click.option(
    "--port",
    type=int,
    default=None,
    help="Port of the first node; the others use the ports after it.  [default: any]",
)
@click.option("--user", "username", default=None, help="ACL user to log in as.")
@click.option(
    "--password",
    envvar="HARNESS_PASSWORD",
    default=None,
    show_envvar=True,
    help="Password of the servers; it is never written to the results.",
)
@click.option("--tls", is_flag=True, help="Connect with TLS.")
@click.option("--tls-ca", default=None, help="CA certificates to trust (a file).")
@click.option(
    "--expect",
    type=click.Choice(["valid", "invalid"]),
    default="valid",
    show_default=True,
    help="Expected verdict: with `invalid`, the exit code is 0 for invalid and 1 for valid.",
)
@click.option(
    "--plan",
    default=None,
    help="A file with the faults to inject, instead of a drawn plan: a list of {at_s, fault, "
    "arguments, until_s}, or the test.json of a run.",
)
@click.option(
    "--beyond-tolerance",
    is_flag=True,
    help="Allow faults beyond the tolerance that the target declares.",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path),
    default=None,
    help="Write JUnit XML with a test case for each judged claim.",
)
@click.option("--trace", is_flag=True, help="Write each event of a simulated run to trace.log.")
@RESULTS
def command(
    environment: str | None,
    nodes: str | None,
    concurrency: str,
    time_limit: float,
    interval: float | None,
    timeout: float,
    seed: int | None,
    test_count: int,
    options: tuple[str, ...],
    port: int | None,
    password: str | None,
    junit: Path | None,
    trace: bool,
    results_dir: Path,
    **given: Any,
) -> int:
    """Run a workload against a target while faults happen, and judge the history."""
    first_seed = secrets.randbelow(2**31) if seed is None else seed
    addresses = nodes if nodes is not None and ":" in nodes else None
    if nodes is not None and addresses is None and not nodes.isdecimal():
        raise UsageError(f"--nodes {nodes}: give a number such as 3, or host:port,host:port")
    if junit is not None and not junit.absolute().parent.is_dir():
        raise UsageError(f"--junit: no such folder: {junit.parent}")
    finished: list[tuple[str, Results]] = []
    for i in range(test_count):
        spec = resolved(
            Spec(
                nodes=None if nodes is None or addresses else int(nodes),
                addresses=addresses,
                time_limit_s=time_limit,
                interval_s=interval,
                environment=environment or ("external" if addresses else "local"),
                seed=first_seed + i,
                timeout_s=timeout,
                first_port=port,
                options=parse_options(options),
                **given,
            )
        )
        workers = parse_concurrency(concurrency, spec.node_count)
        spec = msgspec.structs.replace(spec, concurrency=workers)
        results = _run_one(spec, plan_run(results_dir, spec.directory_name), password, trace=trace)
        finished.append((f"{spec.directory_name} seed {spec.seed}", results))
        if junit is not None:
            write_junit(junit, finished)
    if test_count > 1:
        summarize([r for _, r in finished])
    return worst_code([r.exit_code for _, r in finished])


def _run_one(spec: Spec, folder: Run, password: str | None, *, trace: bool) -> Results:
    line = LiveLine()
    try:
        results = campaign.run(spec, folder, password=password, say=line, trace=trace)
    except KeyboardInterrupt as e:
        kept = ""
        if folder.report.exists():
            kept = f"; what was recorded until then is in {shown(folder.report)}"
        elif folder.history.exists():
            kept = f"; the history is kept in {shown(folder.history)}"
        raise Interrupted(f"interrupted{kept}") from e
    finally:
        line.clear()
    print_verdict(results, folder, folder.read_record())
    return results
