"""Repeats a simulated run and finds the first difference, unless the two are identical.

The history is compared line by line with the run's own. The trace is compared by its hash; if it
differs and the run wrote no trace, the run is repeated once more, in another Python process, and
the two traces are compared: anything that does not come from the seed makes them differ, too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import msgspec

from harness.campaign import execute
from harness.errors import EnvironmentFailed, UsageError
from harness.history.record import Hashes, Plan, RunRecord
from harness.results import Run, history_hash

BEFORE = 10


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first line in which two files differ, after up to `BEFORE` lines that they share.
    `first`, `second`: None if that file had ended."""

    what: str
    line: int
    before: Sequence[str]
    first: str | None
    second: str | None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The result of a replay. `first`, `second`: the hashes of the run and of its repetition."""

    first: Hashes
    second: Hashes
    differences: Sequence[Difference]
    notes: Sequence[str]

    @property
    def identical(self) -> bool:
        return self.first == self.second


def replay(run: Run) -> Replay:
    """Repeat a run; raises `UsageError` if it was not simulated or was interrupted."""
    record = run.read_record()
    if not record.environment.simulated:
        raise UsageError(f"{run.path} can't be replayed: only runs of --env simulated can")
    if not run.hashes.exists() or not run.history.exists():
        raise UsageError(
            f"{run.path} can't be replayed: it was interrupted, so it has no {run.hashes.name}; "
            f"repeat it with {record.command}"
        )
    first = msgspec.structs.replace(run.read_hashes(), history=history_hash(run.history))
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as folder:
        again = Run(Path(folder) / "again")
        notes = []
        try:
            _repeat(record, again)
        except EnvironmentFailed as e:  # the run itself may have ended so
            notes.append(f"the repetition ended with: {e}")
        second = again.read_hashes()
        found = [first_difference("history", run.history, again.history)]
        if second.trace != first.trace:
            found.append(_in_trace(run, again, Path(folder)))
        notes += _other_versions(record, again)
        if first != second and not any(found):
            notes.append(
                "two repetitions are identical, but differ from the run: its code, or the machine "
                "it ran on, was different"
            )
        return Replay(
            first=first,
            second=second,
            differences=[d for d in found if d is not None],
            notes=notes,
        )


def _repeat(record: RunRecord, into: Run) -> None:
    plan = Plan(faults=tuple(record.plan), no_room=tuple(record.no_room))
    execute(record.spec, into, plan=plan, trace=True)


def _in_trace(run: Run, again: Run, folder: Path) -> Difference | None:
    if run.trace.exists():
        return first_difference("trace", run.trace, again.trace)
    third = Run(folder / "third")
    command = [sys.executable, "-m", "harness.replay", str(run.path), str(third.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFailed(f"the run could not be repeated: {done.stderr.strip()[-300:]}")
    return first_difference("trace of two repetitions", again.trace, third.trace)


def first_difference(what: str, one: Path, other: Path) -> Difference | None:
    """Return the first difference of two text files, line by line, or None."""
    before: list[str] = []
    for number, (a, b) in enumerate(zip_longest(_lines(one), _lines(other)), 1):
        if a != b:
            return Difference(what=what, line=number, before=before, first=a, second=b)
        before = [*before[1 - BEFORE :], str(a)]
    return None


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")


def _other_versions(record: RunRecord, again: Run) -> Iterator[str]:
    """Yield what has changed: a seed determines the run of the same code only."""
    now = again.read_record().versions
    for name, version in record.versions.items():
        if now.get(name) != version:
            yield f"{name} was {version}, now it is {now.get(name)}"


def _main(run: str, into: str) -> None:
    with contextlib.suppress(EnvironmentFailed):
        _repeat(Run(Path(run)).read_record(), Run(Path(into)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
