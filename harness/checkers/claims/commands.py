"""Arbitrary commands: all replies against a model of the server's version."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from harness.checkers.claims.expiry import ClockErrors, check_expiring
from harness.checkers.claims.findings import Findings, at_node, ended, process_of
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.columns import freeze
from harness.history.operations import Pair
from harness.history.recorded import Recorded
from harness.models.base import Model

UNLIKE = "replies are unlike the model of this server"


class ServerModel(Model, Protocol):
    """A model of a server, as these claims use it."""

    slack_ms: int

    def time_to_live_ms(self, words: Sequence[str]) -> int | None:
        """Return the time to live that a command may give to its keys, None if it gives none."""
        ...

    def keys_of(self, words: Sequence[str]) -> list[str]:
        """Return the keys that a command names."""
        ...

    def could_answer(self, words: Sequence[str], seen: Any) -> bool:
        """Return whether a command may have a reply of this kind in some state."""
        ...


class LinearizableCommands:
    """The claim that all replies of commands are linearizable, with the expiries of their keys.

    Replies of a kind that the command has in no state are left out: they are a difference between
    the server and its model, not between two replies; `UnlikeTheModel` counts them.
    """

    def __init__(
        self, model: ServerModel, left_out: Callable[[Hashable], bool] = lambda group: False
    ) -> None:
        """`left_out`: whether the commands of a group are not judged."""
        self._model = model
        self._left_out = left_out
        self.unlike: list[Pair] = []  # looked for where the replies contradict each other

    def check(self, recorded: Recorded, /) -> Verdict:
        model = self._model
        model.slack_ms = math.ceil(ClockErrors(recorded).since(0) / 1e6)

        def expiries(p: Pair) -> Iterator[tuple[Any, int]]:
            words, _, *times = p.invoke.value[1]
            ttl_ms = model.time_to_live_ms(words) if times else None
            if ttl_ms is None or p.invoke.time + ttl_ms * 1_000_000 > recorded.ended_at:
                return
            for key in model.keys_of(words):
                yield [key, times[0] + ttl_ms - model.slack_ms], ttl_ms

        judged = [p for p in recorded.primary_pairs if not self._left_out(p.invoke.value[0])]
        verdict = check_expiring(recorded, model, expiries, pairs=judged, optional=True)
        if verdict.valid is not False:
            return verdict
        self.unlike = unlike_the_model(judged, model)
        if not self.unlike:
            return verdict
        odd = {p.invoke.index for p in self.unlike}
        pairs = [Pair(p.invoke) if p.invoke.index in odd else p for p in judged]
        return check_expiring(recorded, model, expiries, pairs=pairs, optional=True)


class UnlikeTheModel:
    """Tells the replies that `linearizable` left out, as their commands have none of their kind in
    any state of the server's version: they are measured, as the model may be wrong."""

    def __init__(self, linearizable: LinearizableCommands) -> None:
        self._linearizable = linearizable

    def check(self, recorded: Recorded, /) -> Verdict:
        findings = Findings(recorded)
        for p in self._linearizable.unlike:
            words, seen = p.value[1][:2]
            findings.add(
                UNLIKE,
                f"{process_of(p)} sent {' '.join(words)}, and the reply{at_node(p)} at {ended(p)} "
                f"was {_shown(seen)}, which no state explains",
                [(p, " ".join(words))],
            )
        if findings:
            verdict = findings.verdict({})
            verdict.judged, verdict.valid = False, UNKNOWN
            return verdict
        return Verdict(valid=True, judged=False, why="no reply had to be left out")


def unlike_the_model(pairs: Iterable[Pair], model: ServerModel) -> list[Pair]:
    """Return the operations whose replies are of a kind that their commands have in no state."""
    found = []
    known: dict[Any, bool] = {}
    for p in pairs:
        if p.type != "ok":
            continue
        words, seen = p.value[1][:2]
        key = (tuple(words), freeze(seen) if isinstance(seen, list) else type(seen))
        if key not in known:
            known[key] = model.could_answer(words, freeze(seen))
        if not known[key]:
            found.append(p)
    return found


def _shown(seen: Any) -> str:
    if (
        isinstance(seen, list)
        and len(seen) == 1
        and isinstance(seen[0], list)
        and seen[0][:1] == ["error"]
    ):
        return f"the error {seen[0][1]}"
    return "nil" if seen is None else str(seen)[:80]
