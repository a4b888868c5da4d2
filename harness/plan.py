"""The plan of a run: which faults it injects, when, and with which arguments.

A plan is data. It is drawn from the seed's stream `faults` when target and environment are known,
from the faults that are available there, and is written to test.json; a run that is given a plan
executes that one. Faults occur in cycles: a quiet period, then faults that begin one after the
other and overlap, then all are healed. Faults that are named together share every cycle;
`--nemesis all` takes one to three kinds for each cycle from a shuffled list, so that every kind
occurs before any occurs twice. In a simulation `all` first draws a subset of the kinds: leaving
some out altogether finds more bugs than mixing everything evenly (Groce et al., "Swarm Testing",
ISSTA 2012).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from harness.errors import UsageError
from harness.history.record import Plan, PlannedFault
from harness.nemesis import catalogue
from harness.nemesis.partition import Grudges
from harness.nemesis.protocol import Arguments, DrawContext, Fault, Lasting, Layer
from harness.nemesis.system import System
from harness.spec import Spec
from harness.streams import stream
from harness.targets import Disturbance

TRIES = 100  # to draw a plan with a fault that can hurt the target
ONE_CYCLE_S = 8.0  # a shorter run has room for one cycle only
LEAST_S, LATEST_S = 0.001, 1e6  # shortest fault; latest end of a fault
LEAST_INTERVAL_MS = 10
KINDS_MAX = 3  # most kinds in a cycle of `all`
STRENGTHS = (25, 50, 100, 200, 400)


def draw_plan(
    spec: Spec, system: System[Any, Any], depends_on: frozenset[Disturbance] = frozenset()
) -> Plan:
    """Draw the plan of a spec. `depends_on`: what the workload depends on, in addition to the
    target.

    Raises `UsageError` for faults that are not available here, and if no available fault could hurt
    the target or the workload.
    """
    faults = catalogue.chosen(spec.nemesis, system.target, system.env)
    if not faults:
        return Plan()
    depends = depends_on | system.target.depends_on
    harmful = [f for f in faults if f.traits.disturbs & depends]
    if not harmful:
        raise UsageError(
            f"--nemesis {spec.nemesis}: {system.target.name} and workload {spec.workload} do not "
            f"depend on {_words(faults)}: such a run can't show a violation; add another fault"
        )
    rng = stream(spec.seed, "faults")
    names = {f.name for f in harmful}
    for _ in range(TRIES):
        plan = _draw(spec, system, faults, rng)
        if names.intersection(plan.kinds):
            return plan
    raise UsageError(
        f"--nemesis {spec.nemesis}: no fault that could hurt {system.target.name} has room in "
        f"{spec.time_limit_s:g} s: give more --time-limit, or less --interval"
    )


def _words(faults: Iterable[Fault]) -> str:
    return ", ".join(sorted({what for f in faults for what in f.traits.disturbs}))


def _draw(
    spec: Spec, system: System[Any, Any], faults: Sequence[Fault], rng: random.Random
) -> Plan:
    shuffles = spec.nemesis == catalogue.ALL
    limit_ms = round(spec.time_limit_s * 1000)
    interval_ms = max(LEAST_INTERVAL_MS, round(spec.fault_interval_s * 1000))
    strength = 100
    kinds = list(faults)
    if shuffles and system.env.simulated:
        strength = rng.choice(STRENGTHS)
        if spec.interval_s is None:
            interval_ms = _draw_interval_ms(rng, limit_ms)
        # Each kind needs a cycle of its own at worst, and a cycle takes about four intervals.
        room = max(1, min(len(kinds), limit_ms // (4 * interval_ms)))
        names = {f.name for f in rng.sample(kinds, rng.randint(1, room))}
        kinds = [f for f in kinds if f.name in names]
    elif shuffles and spec.interval_s is None:
        alone = sum(f.traits.layer is Layer.PROCESSES for f in kinds)
        # A cycle has at most one of these, and every kind should occur.
        interval_ms = min(interval_ms, limit_ms // (8 * max(1, alone)))
    planned: list[PlannedFault] = []
    left: list[Fault] = []
    began_ms, one_cycle = 0, spec.time_limit_s < ONE_CYCLE_S
    while began_ms < limit_ms:
        chosen: Sequence[Fault] = kinds
        if shuffles:
            chosen, left = take_kinds(left or rng.sample(kinds, len(kinds)), rng)
        if one_cycle and spec.interval_s is None:
            interval_ms = min(interval_ms, limit_ms * 5 // (7 * (len(chosen) + 1)))
        chance = DrawContext(rng=rng, strength_percent=strength, together=chosen)
        cycle, began_ms = _cycle(
            chosen, began_ms, max(LEAST_INTERVAL_MS, interval_ms), limit_ms, chance, system
        )
        planned += cycle
        if one_cycle:
            break
    with_room = {p.fault for p in planned}
    return Plan(
        faults=tuple(planned),
        no_room=tuple(f.name for f in kinds if f.name not in with_room),
    )


def _draw_interval_ms(rng: random.Random, limit_ms: int) -> int:
    """Draw 0.2 to 2 s in tenths of a second, at most an eighth of the run."""
    return 100 * rng.randint(2, max(2, min(20, round(limit_ms / 800))))


def _cycle(
    chosen: Sequence[Fault],
    began_ms: int,
    interval_ms: int,
    limit_ms: int,
    chance: DrawContext,
    system: System[Any, Any],
) -> tuple[list[PlannedFault], int]:
    """Return the faults of a cycle that fit into the time limit, and its end in ms. Waits are 0.6
    to 1.4 times the interval."""
    begun: list[tuple[int, Fault, Arguments]] = []
    now = began_ms
    for fault in chosen:
        now += _about(interval_ms, chance.rng)
        arguments = fault.draw(chance, system)
        # A fault that begins just before the end would do nothing.
        if now + interval_ms // 2 <= limit_ms:
            begun.append((now, fault, arguments))
        if isinstance(fault, Lasting):
            now += fault.injection_ms(arguments, system.target)
    until = now + _about(interval_ms, chance.rng)
    return [
        PlannedFault(
            at_s=at / 1000,
            fault=fault.name,
            arguments=arguments,
            until_s=min(until, limit_ms) / 1000,
        )
        for at, fault, arguments in begun
    ], until


def _about(ms: int, rng: random.Random) -> int:
    return ms * rng.randint(60, 140) // 100


def take_kinds(left: Sequence[Fault], rng: random.Random) -> tuple[list[Fault], list[Fault]]:
    """Return one to three compatible faults from the front of `left`, and the remaining ones."""
    size = rng.randint(1, KINDS_MAX)
    chosen: list[Fault] = []
    for fault in left:
        if len(chosen) < size and not any(incompatible(fault, f) for f in chosen):
            chosen.append(fault)
    return catalogue.in_order(chosen), [f for f in left if not any(f is h for h in chosen)]


def incompatible(one: Fault, other: Fault) -> bool:
    """Return whether two faults must not share a cycle: both act on processes, or one moves the
    primary while the other stops all nodes."""
    a, b = one.traits, other.traits
    if a.layer is b.layer is Layer.PROCESSES:
        return True
    return (a.stops_everything and b.moves_primary) or (b.stops_everything and a.moves_primary)


# --- a plan from a file


def read_plan(path: Path) -> list[PlannedFault]:
    """Read a plan from a file: a list of faults, or a test.json that contains one. Raises
    `UsageError`."""
    try:
        data = msgspec.json.decode(path.read_bytes())
        if isinstance(data, dict):
            if "plan" not in data:
                raise UsageError(f"--plan {path}: the file contains no plan")
            data = data["plan"]
        return msgspec.convert(data, list[PlannedFault])
    except OSError as e:
        raise UsageError(f"--plan: can't read {path}: {e.strerror}") from e
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise UsageError(
            f"--plan {path}: not a list of {{at_s, fault, arguments, until_s}}: {e}"
        ) from e


def complete(
    given: Sequence[PlannedFault], spec: Spec, system: System[Any, Any], where: str = "the plan"
) -> Plan:
    """Check the faults of a plan and sort them by time; arguments that are left out are drawn.
    Raises `UsageError`, also for faults that are not available here."""
    faults = []
    for number, each in enumerate(given, 1):
        at = f"{where}, fault {number} ({each.fault})"
        found = catalogue.fault(each.fault)
        reason = found.available(system.target, system.env)
        if reason is not None:
            raise UsageError(f"{at}: not possible here: {reason}")
        if not 0 <= each.at_s < each.until_s <= LATEST_S or each.until_s - each.at_s < LEAST_S:
            raise UsageError(
                f"{at}: at_s must be at least 0, and until_s at least {LEAST_S:g} s later and at "
                f"most {LATEST_S:g}"
            )
        if each.at_s >= spec.time_limit_s:
            raise UsageError(f"{at}: at_s is not within --time-limit {spec.time_limit_s:g}")
        arguments = _arguments(at, found, each.arguments, spec, number, system)
        faults.append(msgspec.structs.replace(each, arguments=arguments))
    return Plan(faults=tuple(sorted(faults, key=lambda f: f.at_s)))


def _arguments(
    where: str,
    fault: Fault,
    given: Arguments,
    spec: Spec,
    number: int,
    system: System[Any, Any],
) -> Arguments:
    names = set(getattr(fault.takes, "__annotations__", ()))
    for name in given:
        if name not in names:
            takes = ", ".join(sorted(names)) or "no arguments"
            raise UsageError(f"{where}: unknown argument {name!r}; the fault takes {takes}")
    whole = given
    if names - set(given):
        chance = DrawContext(rng=stream(spec.seed, f"faults/{number}"), together=(fault,))
        whole = {**fault.draw(chance, system), **given}
    if fault.takes is Grudges and len(given) == 1:
        raise UsageError(f"{where}: give kind and grudge, or neither, or a fault partition-KIND")
    try:
        msgspec.convert(whole, fault.takes)
        for name, hint in get_type_hints(fault.takes, include_extras=True).items():
            for meta in getattr(hint, "__metadata__", ()):
                if isinstance(meta, msgspec.Meta) and meta.extra:
                    meta.extra["check"](whole[name], system)
    except (msgspec.ValidationError, UsageError) as e:
        raise UsageError(f"{where}: {e}") from e
    return whole
