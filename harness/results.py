"""The layout of `results/`: the files of a run.

<target>-<workload>-<nemesis>/<UTC time>/
    test.json       spec, seed, plan of faults, versions, environment
    history.jsonl   every operation, appended while the run goes on
    results.json    the verdict and every claim
    report.html     the report, a self-contained page
    logs/<node>/    the output of each process; logs/proxy.log
    hashes.json     of a simulated run: the hashes that `harness replay` compares
    trace.log       of a simulated run with --trace: every event, in simulated seconds
<target>-<workload>-<nemesis>/latest and latest: links to the newest run
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import HistoryError, UsageError
from harness.history.record import FORMAT, Hashes, Results, RunRecord

T = TypeVar("T")


class _Format(msgspec.Struct):
    format: int = 1  # format 1 had no such field
    faults: list[str] = []


class Run:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = path / "history.jsonl"
        self.test = path / "test.json"
        self.results = path / "results.json"
        self.report = path / "report.html"
        self.hashes = path / "hashes.json"
        self.trace = path / "trace.log"

    def create(self) -> None:
        """Create the folder; raises `UsageError` if that fails."""
        try:
            self.path.mkdir(parents=True)
        except OSError as e:
            raise UsageError(
                f"can't create {self.path}: {e.strerror}; give another --results"
            ) from e

    def link_latest(self) -> None:
        """Point the symlinks `latest` here, where the file system allows symlinks."""
        for link in (self.path.parent / "latest", self.path.parent.parent / "latest"):
            with contextlib.suppress(OSError):
                partial = link.with_name(f".{link.name}.{os.getpid()}")
                partial.symlink_to(os.path.relpath(self.path, link.parent))
                partial.replace(link)

    def write_record(self, record: RunRecord) -> None:
        write_json(self.test, record)

    def read_record(self) -> RunRecord:
        """Raises `UsageError`, as the other readers do, also for a run in another format."""
        about = self._read(self.test, _Format, "does not describe a run")
        found = about.format
        # Format 1 wrote other events of faults; without faults it is the same.
        if found != FORMAT and (found != 1 or about.faults):
            raise UsageError(
                f"{self.test} was written by another version of harness (format {found}, this one "
                f"reads {FORMAT}): judge its history alone, with --model"
            )
        return self._read(self.test, RunRecord, "does not describe a run")

    def write_results(self, results: Results) -> None:
        write_json(self.results, results)

    def write_hashes(self, hashes: Hashes) -> None:
        write_json(self.hashes, hashes)

    def read_hashes(self) -> Hashes:
        return self._read(self.hashes, Hashes, "does not contain the hashes of a run")

    def _read(self, path: Path, kind: type[T], complaint: str) -> T:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError as e:
            raise UsageError(f"{self.path} is not a run: it has no {path.name}") from e
        except OSError as e:
            raise UsageError(f"can't read {path}: {e.strerror}") from e
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            raise UsageError(f"{path} {complaint}: {e}") from e


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON by `write_whole`."""
    text = msgspec.json.format(msgspec.json.encode(data), indent=2)
    write_whole(path, text.decode())


def write_whole(path: Path, text: str | bytes) -> None:
    """Replace a file atomically. Raises `HistoryError` if that fails, as on a full disk."""
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(text.encode() if isinstance(text, str) else text)
        partial.replace(path)
    except OSError as e:
        raise HistoryError(f"can't write {path}: {e.strerror}") from e


def plan_run(root: Path, test: str) -> Run:
    """Return a run folder named by the time of day; `Run.create` makes it."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return Run(root.resolve() / test / stamp)


def find_run(path: Path) -> Run:
    """Return the run of a folder or of a history file; raises `UsageError`."""
    if path.is_file() and path.name != "history.jsonl":
        raise UsageError(f"{path} is not the history of a run: give --model to judge it alone")
    run = Run((path.parent if path.is_file() else path).resolve())
    if not run.test.exists():
        raise UsageError(f"{path} is not a run: it has no test.json")
    return run


def history_hash(path: Path) -> str:
    """Hash the bytes of a history file."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
