"""The witness of a violation: the fewest operations that show it, their longest linearizable
prefixes, and an explanation."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from harness.checkers.linearizability.entries import Entry
from harness.checkers.linearizability.explanation import Explanation, prefix_words, recorded_value
from harness.checkers.linearizability.prefixes import Prefix, longest_prefixes
from harness.checkers.linearizability.shrink import Core
from harness.history.columns import OPEN
from harness.models.base import Model


@dataclass(slots=True)
class Witness:
    """Operations of one key that are not linearizable. `stuck`: the completed one invoked last.

    `sentence`, `words`: the explanation, in one sentence and in lines. `prefixes`: the longest
    linearizable prefixes. `later`: earlier operations are left out, as the initial state does not
    matter. `minimal`: see `Core`.
    """

    key: Hashable
    entries: list[Entry]
    stuck: Entry
    sentence: str
    words: list[str]
    prefixes: list[Prefix]
    later: bool
    minimal: bool

    @property
    def read_at(self) -> set[str | None]:
        """The nodes that replied to its reads."""
        return {
            e.pair.done.node
            for e in self.entries
            if e.f == "read" and e.pair is not None and e.pair.done is not None
        }

    @property
    def span(self) -> int:
        """The distance of its first operation and `stuck`, in positions of the history."""
        return self.stuck.call - self.entries[0].call

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "sentence": self.sentence,
            "words": self.words,
            "minimal": self.minimal,
            "whatever_came_before": self.later,
            "prefixes": [
                {
                    "order": [_index(e) for e in p.order],
                    "leaves": p.leaves,
                    "next": [{"index": _index(e), "why": why} for e, why in p.rejected],
                    "words": prefix_words(p),
                }
                for p in self.prefixes
            ],
            "operations": [_as_json(e, e is self.stuck) for e in self.entries],
        }


def _as_json(e: Entry, stuck: bool) -> dict[str, Any]:
    assert e.pair is not None
    invoke, done = e.pair.invoke, e.pair.done
    return {
        "process": invoke.process,
        "f": e.f,
        "value": recorded_value(e),
        "call": invoke.time,
        "ret": None if e.ret == OPEN or done is None else done.time,
        "index": invoke.index,
        "outcome": done.type if done is not None else "info",
        "error": done.error if done is not None else None,
        "node": done.node if done is not None else invoke.node,
        "stuck": stuck,
    }


def _index(e: Entry) -> int:
    return e.pair.invoke.index if e.pair is not None else e.call


def witness_of(core: Core, model: Model, key: Hashable, independent: bool) -> Witness:
    """Return the witness of a core whose entries have their pairs."""
    returned = [e for e in core.entries if e.ret != OPEN]
    stuck = max(returned or core.entries, key=lambda e: e.call)
    words = Explanation(core)
    return Witness(
        key,
        core.entries,
        stuck,
        words.sentence(stuck, model, f"key {key}: " if independent else ""),
        words.lines(),
        longest_prefixes(core, model),
        core.initial is not None,
        core.minimal,
    )
