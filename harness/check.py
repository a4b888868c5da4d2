"""A history file against a model: what `harness check --model` does with each."""

from __future__ import annotations

from pathlib import Path

from harness.checkers.linearizable import check
from harness.checkers.replicas import is_primary_operation
from harness.checkers.verdict import Verdict
from harness.errors import HistoryError, UsageError
from harness.formats import format_of
from harness.targets import load


def check_alone(
    path: Path,
    model: str,
    *,
    independent: bool,
    format_name: str | None,
    nil_is_a_value: bool,
    observe_differed: bool,
) -> tuple[Verdict, list[str]]:
    """(the verdict on a file, or on the history of a run's folder; warnings). Histories of our own
    workloads have independent keys. Raises `UsageError`."""
    file = path / "history.jsonl" if path.is_dir() else path
    form = format_of(file, format_name)
    try:
        history, warnings = form.read(file, nil_is_a_value)
        pairs = history.pairs()
    except HistoryError as e:
        raise UsageError(str(e)) from e
    ours = (file.parent / "test.json").exists()
    keyed = [isinstance(p.invoke.value, list) and len(p.invoke.value) == 2 for p in pairs]
    if not independent and pairs and all(keyed):
        if not ours and not form.keyed:
            raise UsageError(
                f"{file}: every value is a pair: if it is [key, value], add --independent"
            )
        independent = True
    try:
        verdict = check(
            history,
            load("harness.models", model)(),
            independent=independent,
            keep=is_primary_operation if ours else None,
            observe_differed=observe_differed,
        )
    except (ValueError, TypeError) as e:
        raise UsageError(f"{file}: {e}") from e
    return verdict, warnings
