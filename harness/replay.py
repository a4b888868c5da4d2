"""Runs a simulated run again and compares: byte for byte, or where they part.

The history is compared line by line with the run's own. The trace is compared by its hash; if it
differs and the run has written none, the run is repeated once more, in a Python of its own, and
the two traces are compared: what is drawn from outside the seed parts them too.
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
from typing import Any

import msgspec

from harness.errors import EnvironmentFailed, UsageError
from harness.results import Run
from harness.runner import execute, history_hash
from harness.spec import Spec

BEFORE = 10


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first line in which two files differ, with the `BEFORE` lines that they share; None: the
    file had ended."""

    what: str
    line: int
    before: Sequence[str]
    first: str | None
    second: str | None


class Hashes(msgspec.Struct, frozen=True, kw_only=True):
    """The content of hashes.json. `events`: lines of the trace."""

    history: str
    trace: str
    events: int


@dataclass(frozen=True, kw_only=True)
class Replay:
    """`first`, `second`: the hashes of the run and of its repetition."""

    first: Hashes
    second: Hashes
    differences: Sequence[Difference]
    notes: Sequence[str]

    @property
    def identical(self) -> bool:
        return self.first == self.second


def replay(run: Run) -> Replay:
    """Repeat a run; raises `UsageError` for one that was not simulated, or not to its end."""
    test = run.read(run.test)
    try:
        spec = msgspec.convert(test["spec"], Spec)
    except (KeyError, TypeError, msgspec.ValidationError) as e:
        raise UsageError(f"{run.test} does not describe a run: {e}") from e
    if spec.environment != "simulated":
        raise UsageError(f"{run.path} can't be replayed: only runs of --env simulated can")
    if not run.hashes.exists() or not run.history.exists():
        raise UsageError(
            f"{run.path} can't be replayed: it was interrupted, so it has no {run.hashes.name}; "
            f"repeat it with {spec.command()}"
        )
    first = msgspec.structs.replace(_hashes(run), history=history_hash(run))
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as folder:
        again = Run(Path(folder) / "again")
        notes = []
        try:
            execute(spec, again, trace=True)
        except EnvironmentFailed as e:  # as the run itself may have ended
            notes.append(f"the repetition ended with: {e}")
        second = _hashes(again)
        found = [first_difference("history", run.history, again.history)]
        if second.trace != first.trace:
            found.append(_in_trace(run, again, Path(folder), test))
        notes += _other_versions(test, again)
        if first != second and not any(found):
            notes.append(
                "two repetitions are the same, the run was another: its code, or what it ran on, "
                "was not what it is now"
            )
        return Replay(
            first=first,
            second=second,
            differences=[d for d in found if d is not None],
            notes=notes,
        )


def _hashes(run: Run) -> Hashes:
    try:
        return msgspec.convert(run.read(run.hashes), Hashes)
    except msgspec.ValidationError as e:
        raise UsageError(f"{run.hashes} holds no hashes: {e}") from e


def _in_trace(run: Run, again: Run, folder: Path, test: dict[str, Any]) -> Difference | None:
    if run.trace.exists():
        return first_difference("trace", run.trace, again.trace)
    third = Run(folder / "third")
    encoded = msgspec.json.encode(test["spec"]).decode()
    command = [sys.executable, "-m", "harness.replay", encoded, str(third.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFailed(f"the run could not be repeated: {done.stderr.strip()[-300:]}")
    return first_difference("trace of two repetitions", again.trace, third.trace)


def first_difference(what: str, one: Path, other: Path) -> Difference | None:
    """Of two text files, line by line; None if there is none."""
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


def _other_versions(test: dict[str, Any], again: Run) -> Iterator[str]:
    """The same seed promises the same run of the same code only."""
    now = again.read(again.test)["versions"]
    for name, version in test.get("versions", {}).items():
        if now.get(name) != version:
            yield f"{name} was {version}, now it is {now.get(name)}"


def _main(encoded: str, folder: str) -> None:
    with contextlib.suppress(EnvironmentFailed):
        execute(msgspec.json.decode(encoded.encode(), type=Spec), Run(Path(folder)), trace=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
