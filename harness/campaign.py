"""The one pipeline: a spec is run, judged and reported.

The command line, the demo and the replay call it, and so may a search over specs and plans:

    results = campaign.run(spec, plan_run(Path("results"), spec.directory_name))

The steps communicate through files, so each can be repeated alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from harness.environments.protocol import CanReplay
from harness.errors import EnvironmentFailed, HarnessError, HistoryError, UsageError
from harness.history.files import read_history
from harness.history.record import Hashes, Plan, Results, RunRecord
from harness.history.recorded import Recorded
from harness.judge import judge as judge_recorded
from harness.parts import assemble
from harness.progress import Notify
from harness.registry import load
from harness.report.page import write_report
from harness.results import Run, history_hash
from harness.runner import Runner
from harness.spec import Spec

# What checkers raise for the history of another workload.
UNFIT = (ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True)
class Judged:
    """A judged run, with the data that its report needs."""

    run: Run
    record: RunRecord
    recorded: Recorded
    results: Results


def run(
    spec: Spec,
    folder: Run,
    *,
    plan: Plan | None = None,
    password: str | None = None,
    say: Notify = lambda text: None,
    trace: bool = False,
) -> Results:
    """Execute, judge and report. Raises `HarnessError`; raises `KeyboardInterrupt` only after
    everything was stopped, and what had been recorded was judged and reported (a second one ends
    that, too)."""
    try:
        execute(spec, folder, plan=plan, password=password, say=say, trace=trace)
        judged = judge(folder)
        report(judged)
    except KeyboardInterrupt:
        if folder.history.exists():
            with contextlib.suppress(HarnessError, *UNFIT):
                report(judge(folder))
        raise
    return judged.results


def execute(
    spec: Spec,
    folder: Run,
    *,
    plan: Plan | None = None,
    password: str | None = None,
    say: Notify = lambda text: None,
    trace: bool = False,
) -> None:
    """Run a spec in a fresh event loop and leave its files in `folder`. `plan` replaces the spec's
    own; `say` receives the progress line; `trace`: write each event of a simulation to trace.log.
    """
    parts = assemble(
        spec, folder.path, password=password, plan=plan, trace=folder.trace if trace else None
    )
    runner = Runner(parts, folder, say=say)
    env = parts.env
    try:
        env.run(runner.execute())
    except EnvironmentFailed:
        if isinstance(env, CanReplay) and folder.history.exists():
            _write_hashes(folder, env)  # such a run can be replayed, too
        raise
    if isinstance(env, CanReplay):
        _write_hashes(folder, env)


def _write_hashes(folder: Run, env: CanReplay) -> None:
    trace, events = env.trace_digest()
    folder.write_hashes(Hashes(history=history_hash(folder.history), trace=trace, events=events))


def judge(folder: Run) -> Judged:
    """Judge a run by the files it left, and write results.json."""
    record = folder.read_record()
    history, warnings = read_history(folder.history)
    fenced = "fenced" in load("harness.targets", record.spec.target).promises
    recorded = Recorded(history, record, fenced=fenced)
    results = judge_recorded(recorded, record, warnings)
    folder.write_results(results)
    return Judged(folder, record, recorded, results)


def judge_again(folder: Run) -> Judged:
    """Judge a run that the user named. Raises `UsageError` if its history can't be read or is of
    another workload."""
    try:
        return judge(folder)
    except HistoryError as e:
        raise UsageError(str(e)) from e
    except UNFIT as e:
        raise UsageError(f"{folder.history} does not match the workload in test.json: {e}") from e


def report(judged: Judged) -> None:
    """Write report.html; raises `HistoryError` if it can't be written."""
    write_report(judged.run.report, judged.record, judged.results, judged.recorded)
