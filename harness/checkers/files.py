"""A history file against a model: what `harness check --model` does with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.checkers.isolation import LEVELS, Isolation
from harness.checkers.linearizability.checker import check_columns
from harness.checkers.linearizability.entries import budget_of
from harness.checkers.verdict import Verdict
from harness.errors import HistoryError, UsageError
from harness.formats import Format, columns_file, format_of
from harness.history.operations import History, Pair
from harness.history.recorded import Recorded
from harness.registry import load

UNBOUNDED = 1 << 60  # configurations
KEPT_FROM = 100_000  # operations: columns of shorter histories are made anew in no time


def check_file(
    path: Path,
    model: str,
    *,
    independent: bool | None,
    format_name: str | None,
    nil_is_a_value: bool,
    observe_differed: bool,
    seconds: float | None = None,
    memory_mb: int | None = None,
) -> tuple[Verdict, list[str]]:
    """(the verdict on a file, or on the history of a run's folder; warnings). Histories of our own
    workloads have independent keys. Raises `UsageError`.

    `independent`: whether values are [key, value]; None: as they look. `seconds`, `memory_mb`: the
    budget; None: the usual one.
    """
    file = path / "history.jsonl" if path.is_dir() else path
    form = format_of(file, format_name)
    ours = (file.parent / "test.json").exists()
    how = [form.about, ours, independent, nil_is_a_value, observe_differed]
    source = _Source(file, form, nil_is_a_value, bool(independent))
    recorded = Recorded(source.history)
    try:
        if model in LEVELS:
            return Isolation(model).check(recorded), source.warnings
        if not form.timed:
            raise UsageError(
                f"{file}: there are no times in it: --model must be one of {', '.join(LEVELS)}"
            )
        columns = columns_file.load(file, how)
        if columns is None:
            columns = recorded.columns(
                independent=_is_independent(source, recorded.pairs, independent, ours=ours),
                primary=ours,
                observe_differed=observe_differed,
            )
            if len(columns) >= KEPT_FROM and not source.warnings:
                columns_file.save(file, how, columns)
        budget = budget_of(len(columns))
        if seconds is not None:  # who gives seconds means to spend them
            budget = replace(budget, seconds=seconds, configurations=UNBOUNDED)
        if memory_mb is not None:
            budget = replace(budget, bytes=memory_mb << 20)
        verdict = check_columns(
            columns, load("harness.models", model)(), lambda: recorded.pairs, budget
        )
    except HistoryError as e:
        raise UsageError(str(e)) from e
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as e:
        raise UsageError(f"{file}: a value that model {model} can't take: {e}") from e
    return verdict, source.warnings


class _Source:
    """A file that is read when it is asked for."""

    def __init__(self, file: Path, form: Format, nil_is_a_value: bool, keyed: bool) -> None:
        self.file = file
        self.form = form
        self.warnings: list[str] = []
        self._how = nil_is_a_value, keyed

    def history(self) -> History:
        """Raises `HistoryError`."""
        history, self.warnings = self.form.read(self.file, *self._how)
        return history


def _is_independent(
    source: _Source, pairs: Sequence[Pair], given: bool | None, *, ours: bool
) -> bool:
    """Whether values are [key, value]: as it is given, or as they look."""
    keyed = [_may_be_keyed(p.invoke.value) for p in pairs]
    bare = any(not p.invoke.f.startswith(("cas", "txn")) for p in pairs)  # no pairs by themselves
    if given is None and pairs and all(keyed) and (ours or bare or source.form.keyed):
        if not ours and not source.form.keyed:
            raise UsageError(
                f"{source.file}: every value is a pair: add --independent if it is [key, value], "
                "else --no-independent"
            )
        return True
    return bool(given)


def _may_be_keyed(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)


def explained(verdict: Verdict) -> list[str]:
    """Lines of the witness that is told most easily."""
    witness = next(iter(verdict.evidence.get("witnesses", [])), None)
    if witness is None:
        return []
    gets = [f"as far as an order gets: {prefix['words']}" for prefix in witness["prefixes"]]
    return [*witness["words"], *gets]
