"""The command line: one function a command, thin, and the one place that knows exit codes.

0 valid, 1 invalid, 2 unknown, 130 interrupted, 254 wrong usage, 255 the harness failed.
"""

from __future__ import annotations

import secrets
import shlex
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import judge as judging
from harness.bench.measure import Plan, measure
from harness.bench.page import WORDS
from harness.bench.page import write as write_bench
from harness.bench.servers import choose
from harness.bench.shapes import shapes
from harness.checkers.files import check_alone, explained
from harness.checkers.verdict import UNKNOWN, Valid
from harness.demo import DEMO, judge_story, tell
from harness.doctor import examine
from harness.errors import HarnessError, HistoryError, UsageError
from harness.formats import FORMATS
from harness.formats.jepsen import write_edn, write_json
from harness.history import read_history
from harness.listing import listing
from harness.replay import Hashes
from harness.replay import replay as repeat
from harness.report.junit import write_junit
from harness.report.page import write_report
from harness.results import Run, find_run, plan_run
from harness.runner import execute
from harness.spec import Spec, parse_concurrency, parse_counts, parse_options

USAGE, CRASH, INTERRUPTED = 254, 255, 130
CODE = {True: 0, False: 1, UNKNOWN: 2}
COLOUR = {"valid": "green", "invalid": "red", "unknown": "yellow"}
WORD: dict[Valid, str] = {True: "valid", False: "invalid", "unknown": "unknown"}


class Interrupted(Exception):
    """Ctrl-C, with what to tell the user about what is left."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="consistency-harness", prog_name="harness")
def cli() -> None:
    """Tests the consistency promises of Redis-like databases under faults.

    Exit codes: 0 valid, 1 invalid, 2 unknown, 130 interrupted, 254 wrong usage, 255 harness
    failed.
    """


RESULTS = click.option(
    "--results",
    "results_dir",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Where runs are kept.",
)


@cli.command()
@click.option(
    "--target",
    default="redis",
    show_default=True,
    help="System under test, see `harness list`, or module:Class.",
)
@click.option(
    "--workload", default="register", show_default=True, help="What clients do, see `harness list`."
)
@click.option(
    "--nemesis",
    default="none",
    show_default=True,
    help="Faults, comma-separated (they overlap), `none` or `all`.",
)
@click.option(
    "--env",
    "environment",
    type=click.Choice(["local", "simulated", "external"]),
    default=None,
    help="Where nodes live.  [default: local; external when --nodes has addresses]",
)
@click.option(
    "--nodes",
    default=None,
    help="How many nodes, or host:port,… of servers that already run.  [default: 3; drawn by "
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
    help="Operations a second over all clients; 0: as fast as they come.",
)
@click.option(
    "--time-limit",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds of the part with faults.",
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
    "--seed", type=int, default=None, help="Of everything that is drawn.  [default: drawn]"
)
@click.option(
    "--test-count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs, with seed, seed + 1, …",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Passed to the server, as in appendonly=yes; may be repeated.",
)
@click.option("--binary", default=None, help="The server to run.")
@click.option("--port", type=int, default=None, help="Port of the first node.  [default: any]")
@click.option("--user", "username", default=None, help="ACL user.")
@click.option(
    "--password",
    envvar="HARNESS_PASSWORD",
    default=None,
    show_envvar=True,
    help="Never written to the results.",
)
@click.option("--tls", is_flag=True, help="Connect by TLS.")
@click.option("--tls-ca", default=None, help="CA certificates to trust (a file).")
@click.option(
    "--expect",
    type=click.Choice(["valid", "invalid"]),
    default="valid",
    show_default=True,
    help="`invalid` turns the exit code round.",
)
@click.option(
    "--beyond-tolerance",
    is_flag=True,
    help="Faults may go further than what the target says that it survives.",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path),
    default=None,
    help="Write JUnit XML, a test case a claim.",
)
@click.option(
    "--trace", is_flag=True, help="Write everything that happens in a simulated run to trace.log."
)
@RESULTS
def run(
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
        raise UsageError(f"--junit: there is no folder {junit.parent}")
    finished: list[tuple[str, judging.Results]] = []
    for i in range(test_count):
        spec = Spec(
            nodes=None if nodes is None or addresses else int(nodes),
            addresses=addresses,
            time_limit_s=time_limit,
            interval_s=interval,
            environment=environment or ("external" if addresses else "local"),  # type: ignore[arg-type]
            seed=first_seed + i,
            timeout_s=timeout,
            first_port=port,
            options=parse_options(options),
            **given,
        ).resolved()
        workers = parse_concurrency(concurrency, spec.node_count)
        spec = msgspec.structs.replace(spec, concurrency=workers)
        results = run_one(spec, plan_run(results_dir, spec.directory_name), password, trace=trace)
        finished.append((f"{spec.directory_name} seed {spec.seed}", results))
        if junit is not None:
            write_junit(junit, finished)
    if test_count > 1:
        _summarize([r for _, r in finished])
    return worst_code([r.exit_code for _, r in finished])


def run_one(
    spec: Spec, folder: Run, password: str | None, *, trace: bool = False
) -> judging.Results:
    """Execute, judge, report; prints the verdict."""
    line = LiveLine()
    try:
        faults = execute(spec, folder, password=password, say=line, trace=trace)
        results = judge_run(folder, spec, list(faults))
        write_report(folder, read_history(folder.history)[0])
    except KeyboardInterrupt as e:
        kept = f"; the history is kept in {folder.history}" if folder.history.exists() else ""
        raise Interrupted(f"interrupted{kept}") from e
    finally:
        line.clear()
    print_verdict(results, folder, spec)
    return results


def judge_run(folder: Run, spec: Spec, faults: list[str]) -> judging.Results:
    history, warnings = read_history(folder.history)
    results = judging.judge(spec, history, faults, warnings)
    folder.write(folder.results, judging.to_json(results))
    return results


class LiveLine:
    """The line that is overwritten while a run goes on; silent where nobody watches."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self._watched:
            click.echo(f"\r\x1b[2K{text}", nl=False, err=True)
        elif text.endswith("\n"):
            click.echo(text, nl=False, err=True)

    def clear(self) -> None:
        self("")


def print_verdict(results: judging.Results, folder: Run, spec: Spec) -> None:
    """The verdict, why, where the report is, how to repeat it."""
    word = WORD[results.valid]
    click.echo(
        click.style(word, fg=COLOUR[word], bold=True)
        + f"  {spec.target} {spec.workload}, faults {spec.nemesis}, seed {spec.seed}"
        + (" (expected to be invalid)" if spec.expect == "invalid" else "")
    )
    if spec.swarm is not None:
        click.echo(f"  drawn     {spec.node_count} nodes, faults {','.join(spec.swarm.faults)}")
    for name, claim in results.claims.items():
        mark = WORD[claim.valid] if claim.judged else "measured"
        click.echo(f"  {mark:8}  {name}: {claim.why}")
    for warning in results.warnings:
        click.echo(f"  warning   {warning}")
    click.echo(f"report  {_shown(folder.report)}")
    click.echo(f"again   {spec.command()}")
    if spec.environment == "simulated":
        click.echo(f"replay  harness replay {shlex.quote(_shown(folder.path))}")


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _summarize(results: list[judging.Results]) -> None:
    words = [WORD[r.valid] for r in results]
    counted = ", ".join(f"{words.count(w)} {w}" for w in COLOUR if w in words)
    click.echo(f"{len(results)} runs: {counted}")


def worst_code(codes: list[int]) -> int:
    """Invalid outranks unknown outranks valid."""
    return max(codes, key=[0, 2, 1].index)


@cli.command()
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
def check(
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
    """Judge histories again: one line a FILE (a history, or the folder of a run).

    With --model also those of others: Jepsen's EDN and JSON, Porcupine's logs and texts. The exit
    code is that of the worst.
    """
    codes = []
    for path in files:
        told: list[str] = []
        if model is None:
            results = recheck(find_run(path))
            valid, why, code = results.valid, results.why, results.exit_code
        else:
            verdict, warnings = check_alone(
                path,
                model,
                independent=independent,
                format_name=format_name,
                nil_is_a_value=nil_is_a_value,
                observe_differed=differed == "observe",
                seconds=seconds,
                memory_mb=memory_mb,
            )
            for warning in warnings:
                click.echo(f"warning: {warning}", err=True)
            valid, why, code = verdict.valid, verdict.why, CODE[verdict.valid]
            told = explained(verdict) if explain else []
        click.echo("\n    ".join([f"{WORD[valid]}  {path}  {why}", *told]))
        codes.append(code)
    return worst_code(codes)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(["edn", "json"]), default="edn",
              show_default=True, help="Of Jepsen.")  # fmt: skip
def export(file: Path, name: str) -> int:
    """A history of ours (FILE, or the folder of a run) as others read it, to standard output."""
    try:
        history, warnings = read_history(file / "history.jsonl" if file.is_dir() else file)
    except HistoryError as e:
        raise UsageError(str(e)) from e
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in (write_edn if name == "edn" else write_json)(history):
        click.echo(line)
    return 0


def recheck(folder: Run) -> judging.Results:
    """Every claim of a run, from its spec and history."""
    test = folder.read(folder.test)
    try:
        spec = msgspec.convert(test["spec"], Spec)
        faults = list(test["faults"])
    except (KeyError, TypeError, msgspec.ValidationError) as e:
        raise UsageError(f"{folder.test} does not describe a run: {e}") from e
    try:
        if spec.workload == DEMO:
            return judge_story(folder, read_history(folder.history)[0], spec.expect)
        results = judge_run(folder, spec, faults)
    except HistoryError as e:
        raise UsageError(str(e)) from e
    except (ValueError, TypeError) as e:
        raise UsageError(f"{folder.history} is not of workload {spec.workload}: {e}") from e
    for warning in results.warnings:
        click.echo(f"warning: {warning}", err=True)
    return results


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> int:
    """Write the report of a RUN again, from its history (also of a run that was killed)."""
    folder = find_run(run)
    recheck(folder)
    write_report(folder, read_history(folder.history)[0])
    click.echo(_shown(folder.report))
    return 0


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def replay(run: Path) -> int:
    """Repeat a simulated RUN and compare: identical, or where the two part.

    The exit code is 0 for identical runs, else 1.
    """
    done = repeat(find_run(run))
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
        click.echo(click.style(f"  - {difference.first or 'has ended'}", fg="red"))
        click.echo(click.style(f"  + {difference.second or 'has ended'}", fg="green"))
    return 1


def _hashes(hashes: Hashes) -> str:
    return f"history {hashes.history}, trace {hashes.trace} ({hashes.events} events)"


@cli.command(name="list")
def list_() -> int:
    """What there is: targets, workloads, faults, models, isolation levels."""
    for line in listing():
        click.echo(line)
    return 0


@cli.command()
def doctor() -> int:
    """What this machine can do."""
    for finding in examine():
        mark = click.style(
            "yes" if finding.present else "no ", fg="green" if finding.present else "yellow"
        )
        click.echo(f"{mark}  {finding.what:22} {finding.detail}")
    return 0


@cli.command()
@click.option("--servers", default="memorydb,redis,valkey", show_default=True, help="Side by side.")
@click.option("--clients", default="1,10,50,100", show_default=True, help="How many, each in turn.")
@click.option(
    "--sizes", default="100,1000", show_default=True, help="Bytes of a value, each in turn."
)
@click.option(
    "--keys",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Of values of 100 bytes; of longer ones as many as take as much.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="A point."
)
@click.option(
    "--snapshot-mb",
    "spike_mb",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Data of a server when a snapshot is taken under load; 0: none is.",
)
@RESULTS
def bench(
    servers: str,
    clients: str,
    sizes: str,
    keys: int,
    seconds: float,
    spike_mb: int,
    results_dir: Path,
) -> int:
    """Rates and latencies of the reference beside Redis and Valkey, held against the paper's."""
    plan = Plan(
        servers=choose(servers),
        clients=parse_counts("--clients", clients),
        sizes=parse_counts("--sizes", sizes),
        keys=keys,
        seconds=seconds,
        spike_mb=spike_mb,
    )
    folder = plan_run(results_dir, "bench")
    folder.create()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers end with it
    for results in measure(plan, click.echo):
        page = write_bench(folder, results)
    for shape in shapes(results):
        click.echo(f"{WORDS[shape.holds]:4} {shape.what}: {shape.here}")
    click.echo(f"page  {_shown(page)}")
    return 0


@cli.command()
@click.option("--binary", default=None, help="The redis-server to run.")
@RESULTS
def demo(binary: str | None, results_dir: Path) -> int:
    """The article's example, on a real redis-server, where a value is read and then gone, and on
    the reference MemoryDB, where it is not."""
    return tell(results_dir, binary)


def run_command(args: list[str]) -> int:
    """The exit code of a command line."""
    try:
        code = cli.main(args=args, prog_name="harness", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return 0
    except click.UsageError as e:
        where = f" (see `{e.ctx.command_path} --help`)" if e.ctx is not None else ""
        return _failed(USAGE, e.format_message() + where)
    except UsageError as e:
        return _failed(USAGE, str(e))
    except Interrupted as e:
        return _failed(INTERRUPTED, str(e))
    except (click.Abort, KeyboardInterrupt):
        return _failed(INTERRUPTED, "interrupted")
    except HarnessError as e:
        return _failed(CRASH, str(e))
    except BrokenPipeError:
        return CRASH
    except Exception:
        traceback.print_exc()
        return _failed(CRASH, "this is a fault of the harness itself; please report it")


def _failed(code: int, message: str) -> int:
    click.echo("harness: " + " ".join(message.split()), err=True)
    return code
