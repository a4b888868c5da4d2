"""Check of a history file against a model or an isolation level: `harness check --model`."""

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
KEPT_FROM = 100_000  # operations from which columns are cached; shorter histories need no cache


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
    """Check a history file, or the history in a run's folder; return (verdict, warnings).

    `independent`: whether values are [key, value]; None: detected from the values. `seconds`,
    `memory_mb`: the budget; None: the default. Raises `UsageError`.
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
                f"{file}: the format has no real-time order: --model must be one of "
                f"{', '.join(LEVELS)}"
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
        if seconds is not None:  # a limit on time replaces that on configurations
            budget = replace(budget, seconds=seconds, configurations=UNBOUNDED)
        if memory_mb is not None:
            budget = replace(budget, bytes=memory_mb << 20)
        verdict = check_columns(
            columns, load("harness.models", model)(), lambda: recorded.by_index, budget
        )
    except HistoryError as e:
        raise UsageError(str(e)) from e
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as e:
        raise UsageError(f"{file}: not valid for model {model}: {e}") from e
    return verdict, source.warnings


class _Source:
    """A history file that is read on demand, and the warnings of the reader."""

    def __init__(self, file: Path, form: Format, nil_is_a_value: bool, keyed: bool) -> None:
        self.file = file
        self.form = form
        self.warnings: list[str] = []
        self._how = nil_is_a_value, keyed

    def history(self) -> History:
        """Read and return the history; raises `HistoryError`."""
        history, self.warnings = self.form.read(self.file, *self._how)
        return history


def _is_independent(
    source: _Source, pairs: Sequence[Pair], given: bool | None, *, ours: bool
) -> bool:
    """Return whether values are [key, value]: as given, else detected. Raises `UsageError` where
    the values are ambiguous."""
    keyed = [_may_be_keyed(p.invoke.value) for p in pairs]
    bare = any(not p.invoke.f.startswith(("cas", "txn")) for p in pairs)  # not pairs unless keyed
    if given is None and pairs and all(keyed) and (ours or bare or source.form.keyed):
        if not ours and not source.form.keyed:
            raise UsageError(
                f"{source.file}: every value is a pair: add --independent if the pairs are "
                "[key, value], else --no-independent"
            )
        return True
    return bool(given)


def _may_be_keyed(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)


def explanation_lines(verdict: Verdict) -> list[str]:
    """Return lines that describe the first witness of a verdict; none if it has no witness."""
    witness = next(iter(verdict.evidence.get("witnesses", [])), None)
    if witness is None:
        return []
    prefixes = [f"longest linearizable prefix: {p['words']}" for p in witness["prefixes"]]
    return [*witness["words"], *prefixes]
