"""Unions, intersections and differences of sorted sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from targets.engine.execution import WRONG_TYPE, Call, Commands
from targets.engine.parsing import floating, integer, printable
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.sets import cardinality_arguments
from targets.engine.sortedsets import shown, stored
from targets.engine.table import ONE, counted_keys
from targets.engine.values import Set, SortedSet

COMMANDS: Commands = Commands()


class Algebra(NamedTuple):
    """The arguments of ZUNION, ZINTER, ZDIFF and their STORE variants."""

    keys: Sequence[bytes]
    weights: list[float]
    aggregate: Callable[[float, float], float]
    scores: bool


def _added(a: float, b: float) -> float:
    total = a + b
    return 0.0 if math.isnan(total) else total


def _least(target: float, value: float) -> float:
    return value if value < target else target


def _most(target: float, value: float) -> float:
    return value if value > target else target


_AGGREGATES: dict[bytes, Callable[[float, float], float]] = {
    b"SUM": _added, b"MIN": _least, b"MAX": _most,
}  # fmt: skip


def _input_keys(call: Call, cmd: Command, index: int) -> Sequence[bytes]:
    """Return the keys; raises WRONGTYPE here, as Redis checks them before it parses the rest."""
    count = integer(cmd[index])
    if count < 1:
        name = printable(cmd[0]).lower()
        raise Error(f"ERR at least 1 input key is needed for '{name}' command")
    if count > len(cmd) - index - 1:
        raise BadSyntax
    keys = cmd[index + 1 : index + 1 + count]
    for key in keys:
        value = call.peek(key)
        if value is not None and not isinstance(value, SortedSet | Set):
            raise Error(WRONG_TYPE)
    return keys


def _algebra(call: Call, cmd: Command, index: int, *, stored: bool, plain: bool = False) -> Algebra:
    """Parse the arguments. `plain`: without WEIGHTS and AGGREGATE (ZDIFF)."""
    keys = _input_keys(call, cmd, index)
    count = len(keys)
    rest = list(cmd[index + 1 + count :])
    weights, aggregate, scores = [1.0] * count, _AGGREGATES[b"SUM"], False
    while rest:
        word = rest.pop(0).upper()
        if word == b"WEIGHTS" and len(rest) >= count and not plain:
            weights = [floating(w, "ERR weight value is not a float") for w in rest[:count]]
            del rest[:count]
        elif word == b"AGGREGATE" and rest and rest[0].upper() in _AGGREGATES and not plain:
            aggregate = _AGGREGATES[rest.pop(0).upper()]
        elif word == b"WITHSCORES" and not stored:
            scores = True
        else:
            raise BadSyntax
    return Algebra(keys, weights, aggregate, scores)


def _operands(call: Call, algebra: Algebra, *, raw: bool = False) -> list[dict[bytes, float]]:
    """Return the weighted scores of each operand; members of a set have score 1. `raw`: keep NaN
    instead of 0."""
    operands: list[dict[bytes, float]] = []
    for key, weight in zip(algebra.keys, algebra.weights, strict=True):
        value = call.peek(key)
        if value is None:
            operands.append({})
        elif isinstance(value, SortedSet):
            operands.append({m: _weighed(s, weight, raw) for m, s in value.scores.items()})
        elif isinstance(value, Set):
            operands.append(dict.fromkeys(value, weight))
    return operands


def _weighed(score: float, weight: float, raw: bool) -> float:
    made = score * weight
    return 0.0 if math.isnan(made) and not raw else made


def _zunion_of(call: Call, algebra: Algebra) -> dict[bytes, float]:
    result: dict[bytes, float] = {}
    for scores in sorted(_operands(call, algebra), key=len):
        for member, score in scores.items():
            before = result.get(member)
            result[member] = score if before is None else algebra.aggregate(before, score)
    return result


def _zinter_of(call: Call, algebra: Algebra) -> dict[bytes, float]:
    """As in Redis, a weighted score that is NaN becomes 0 only in the smallest operand."""
    first, *others = sorted(_operands(call, algebra, raw=True), key=len)
    first = {m: 0.0 if math.isnan(s) else s for m, s in first.items()}
    result = {}
    for member, score in first.items():
        if all(member in scores for scores in others):
            for scores in others:
                score = algebra.aggregate(score, scores[member])
            result[member] = score
    return result


def _zdiff_of(call: Call, algebra: Algebra) -> dict[bytes, float]:
    first, *others = _operands(call, algebra)
    return {m: s for m, s in first.items() if not any(m in scores for scores in others)}


def _in_order(scores: dict[bytes, float], with_scores: bool) -> Any:
    return shown(sorted((score, member) for member, score in scores.items()), with_scores)


@COMMANDS.command("ZUNION", -3, "readonly", movable=counted_keys(1))
def _zunion(call: Call, cmd: Command) -> Any:
    algebra = _algebra(call, cmd, 1, stored=False)
    return _in_order(_zunion_of(call, algebra), algebra.scores)


@COMMANDS.command("ZINTER", -3, "readonly", movable=counted_keys(1))
def _zinter(call: Call, cmd: Command) -> Any:
    algebra = _algebra(call, cmd, 1, stored=False)
    return _in_order(_zinter_of(call, algebra), algebra.scores)


@COMMANDS.command("ZDIFF", -3, "readonly", movable=counted_keys(1))
def _zdiff(call: Call, cmd: Command) -> Any:
    algebra = _algebra(call, cmd, 1, stored=False, plain=True)
    return _in_order(_zdiff_of(call, algebra), algebra.scores)


@COMMANDS.command("ZINTERCARD", -3, "readonly", movable=counted_keys(1))
def _zintercard(call: Call, cmd: Command) -> Any:
    _input_keys(call, cmd, 1)
    keys, limit = cardinality_arguments(cmd, BadSyntax())
    algebra = Algebra(keys, [1.0] * len(keys), _added, False)
    found = len(_zinter_of(call, algebra))
    return min(found, limit) if limit else found


def _stored_keys(cmd: Command) -> Sequence[bytes]:
    return (cmd[1], *counted_keys(2)(cmd))


@COMMANDS.command("ZUNIONSTORE", -4, "write denyoom", ONE, movable=_stored_keys)
def _zunionstore(call: Call, cmd: Command) -> Any:
    return stored(call, cmd[1], _zunion_of(call, _algebra(call, cmd, 2, stored=True)))


@COMMANDS.command("ZINTERSTORE", -4, "write denyoom", ONE, movable=_stored_keys)
def _zinterstore(call: Call, cmd: Command) -> Any:
    return stored(call, cmd[1], _zinter_of(call, _algebra(call, cmd, 2, stored=True)))


@COMMANDS.command("ZDIFFSTORE", -4, "write denyoom", ONE, movable=_stored_keys)
def _zdiffstore(call: Call, cmd: Command) -> Any:
    return stored(call, cmd[1], _zdiff_of(call, _algebra(call, cmd, 2, stored=True, plain=True)))
