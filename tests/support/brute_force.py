"""The oracle: linearizability by trying every order, and random histories to judge."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.checkers.linearizability.checker import OPEN, Entry
from harness.models.base import INCONSISTENT, Model


def linearizable(entries: list[Entry], model: Model) -> bool:
    """Try every order that respects real time; open operations may be left out."""
    seen = set()

    def extend(done: frozenset[int], state: Any) -> bool:
        left = [i for i in range(len(entries)) if i not in done]
        if all(entries[i].ret == OPEN for i in left):
            return True
        if (done, state) in seen:
            return False
        seen.add((done, state))
        deadline = min(entries[i].ret for i in left)
        for i in left:
            e = entries[i]
            if e.call > deadline:
                continue
            after = model.step(state, e.f, e.value, e.known)
            if after is not INCONSISTENT and extend(done | {i}, after):
                return True
        return False

    return extend(frozenset(), model.init())


READING = ("read", "get", "dequeue", "pop", "remove-min", "contains", "score")
ANSWERED = ("add", "remove", "contains", "set", "delete", "score")  # the result is the last item
# `Ask` draws (f, value); `Answer` maps (f, value, state before, state after) to a result.
Ask = Callable[[random.Random, int], tuple[str, Any]]
Answer = Callable[[str, Any, Any, Any], Any]


def random_history(
    model: Model, ask: Ask, answer: Answer, rng: random.Random, operations: int = 7
) -> list[Entry]:
    """Return concurrent operations that took effect in some order, with some outcomes lost and,
    mostly, one result exchanged for another, so that both verdicts occur. Times may tie."""
    span, longest = rng.choice([(4, 2), (12, 4), (40, 6), (40, 20)])
    starts = sorted(rng.randrange(span) for _ in range(operations))
    spans = [(start, start + rng.randrange(longest)) for start in starts]
    asked = [ask(rng, i) for i in range(operations)]
    effects = sorted(range(operations), key=lambda i: (rng.uniform(*spans[i]), i))
    state, entries = model.init(), []
    for i in effects:
        f, value = asked[i]
        unknown = f != "read" and rng.random() < 0.25
        if unknown and rng.random() < 0.5:
            entries.append(Entry(f, value, False, spans[i][0], OPEN))
            continue
        before = state
        state = model.step(state, f, value, False)
        if state is INCONSISTENT:
            state = before
            if f in ("acquire", "release") and rng.random() < 0.8:
                continue  # it failed
            if unknown:
                entries.append(Entry(f, value, False, spans[i][0], OPEN))
                continue
        result = answer(f, value, before, state)
        if unknown:
            entries.append(Entry(f, value, False, spans[i][0], OPEN))
        else:
            entries.append(Entry(f, result, True, spans[i][0], spans[i][1]))
    reads = [k for k, e in enumerate(entries) if e.f in READING and e.known]
    a = rng.choice(reads) if reads else 0
    alike = [k for k in reads if k != a and entries[k].f == entries[a].f]
    if alike and rng.random() < 0.8:
        b = rng.choice(alike)
        first, second = entries[a], entries[b]
        entries[a] = replace(first, value=second.value)
        if first.f != "read" and rng.random() < 0.7:  # an element removed twice is easily refuted
            entries[b] = replace(second, value=first.value)
    answered = [
        k
        for k, e in enumerate(entries)
        if e.f in ANSWERED and e.known and isinstance(e.value, tuple)
    ]
    a = rng.choice(answered) if answered else 0
    alike = [k for k in answered if entries[k].f == entries[a].f]
    if alike and rng.random() < 0.4:
        other = entries[rng.choice(alike)]
        entries[a] = replace(entries[a], value=(*entries[a].value[:-1], other.value[-1]))
    rng.shuffle(entries)
    return entries
