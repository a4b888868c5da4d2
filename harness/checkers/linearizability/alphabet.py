"""Distinct operations of a history as numbers, the input of the native core.

A letter is a distinct (f, value, known). For each the core needs the one state that it requires and
the state that it installs, where the model can name them; else it calls the model's `step`, once
for each (state, letter).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Hashable, Sequence
from typing import Any, Final

from harness.models.base import (
    ANY,
    INCONSISTENT,
    KEEP,
    AllBut,
    Growing,
    Model,
    Texts,
    Versioned,
)

Letter = tuple[str, Hashable, bool]
_ANY, _OPAQUE, _KEEP = -1, -2, -1  # as in native/history.hpp
_STATES_MAX: Final = 64  # models with more are not explored


class OutOfMemory(Exception):
    """The states of a model need more memory than the budget allows."""


class Letters:
    """Numbers the letters and states of a model. `requires` and `installs` are arrays by letter,
    encoded as in native/history.hpp; state 0 is the initial one."""

    def __init__(
        self, model: Model, letters: Sequence[Letter], operations: int, bytes_max: int
    ) -> None:
        """`operations`: the number of those in the history. Raises `OutOfMemory` if the states need
        more than `bytes_max`, and what the model raises."""
        self._model = model
        self._joins = model if isinstance(model, Versioned) else None
        self._letters = letters
        self._states: dict[Hashable, int] = {}
        self._by_id: list[Hashable] = []
        self._bytes_left = bytes_max
        self._state(model.init())
        self.requires, self.installs = array("i"), array("i")
        for letter in range(len(letters)):
            requires, installs = self._versions(letter)
            self.requires.append(requires)
            self.installs.append(installs)
        if _OPAQUE in self.requires and getattr(model, "cost", 1) == 1 and model.recurs:
            self._explore(4 * operations)
        self.asks = _OPAQUE in self.requires

    @property
    def states(self) -> int:
        return len(self._by_id)

    def step(self, state: int, letter: int) -> int:
        """Return the state after the letter, or -1 if it is not legal."""
        after = self._model.step(self._by_id[state], *self._letters[letter])
        return -1 if after is INCONSISTENT else self._state(after)

    def reaches(self, state: int, later: int) -> bool:
        assert isinstance(self._model, Growing)
        return self._model.reaches(self._by_id[state], self._by_id[later])

    def joined(self, requires: int, installs: int) -> tuple[Any, Any] | None:
        """Decode (requires, installs) to what `Versioned.versions` returns."""
        if requires == _OPAQUE:
            return None
        state = self._by_id
        if requires < _OPAQUE:
            return AllBut(state[_OPAQUE - 1 - requires]), KEEP
        return (
            ANY if requires == _ANY else state[requires],
            KEEP if installs == _KEEP else state[installs],
        )

    def texts(self) -> tuple[list[str], list[str]] | None:
        """Return (states, the string that each letter appends) for a model of a string, so that the
        core need not call `step`; None for other models."""
        if not isinstance(self._model, Texts):
            return None
        states = self._by_id
        suffixes = [self._model.appended(f, value) for f, value, _ in self._letters]
        if not all(type(s) is str for s in (*states, *suffixes)):
            return None
        return list(map(str, states)), suffixes

    def _versions(self, letter: int) -> tuple[int, int]:
        f, value, known = self._letters[letter]
        versions = self._joins.versions(f, value, known) if self._joins is not None else None
        if versions is None:
            if not known and f == "read":  # constrains nothing
                return _ANY, _KEEP
            return _OPAQUE, letter
        requires, installs = versions
        return self._required(requires), _KEEP if installs is KEEP else self._state(installs)

    def _required(self, requires: Any) -> int:
        if isinstance(requires, AllBut):
            return -3 - self._state(requires.state)
        return _ANY if requires is ANY else self._state(requires)

    def _state(self, state: Hashable) -> int:
        known = self._states.get(state)
        if known is None:
            known = self._states[state] = len(self._by_id)
            self._by_id.append(state)
            self._bytes_left -= sys.getsizeof(state) + 100
            if self._bytes_left < 0:
                raise OutOfMemory
        return known

    def _explore(self, steps_max: int) -> None:
        """Find what letters require and install by applying each in every reachable state, if there
        are few."""
        after: list[list[int]] = []
        letters = range(len(self._letters))
        steps = 0
        while len(after) < len(self._by_id):
            steps += len(letters)
            if steps > steps_max or len(self._by_id) > _STATES_MAX:
                return
            state = len(after)
            after.append([self.step(state, letter) for letter in letters])
        for letter in letters:
            if self.requires[letter] == _OPAQUE:
                joined = _joined([of_state[letter] for of_state in after])
                if joined is not None:
                    self.requires[letter], self.installs[letter] = joined


def _joined(after: Sequence[int]) -> tuple[int, int] | None:
    """Return (requires, installs) of a letter, given the state after it for each state before it
    (-1: not legal); None if no such pair describes it."""
    legal = [state for state, to in enumerate(after) if to >= 0]
    if not legal:
        return None
    to = {after[state] for state in legal}
    if all(after[state] == state for state in legal):
        if len(legal) == len(after):
            return _ANY, _KEEP
        if len(legal) == 1:
            return legal[0], _KEEP
        others = [state for state in range(len(after)) if after[state] < 0]
        return (-3 - others[0], _KEEP) if len(others) == 1 else None
    if len(to) == 1 and len(legal) in (1, len(after)):
        return (legal[0] if len(legal) == 1 else _ANY), to.pop()
    return None
