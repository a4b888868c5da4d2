"""`harness list`: the registered classes, with a line about each."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from harness.checkers.isolation import LEVELS
from harness.environments.protocol import Environment, EnvironmentOptions
from harness.errors import HarnessError
from harness.nemesis import catalogue
from harness.nemesis.protocol import Fault
from harness.registry import load, names
from harness.targets import Target, TargetOptions

# Enough nodes for every fault; addresses that nothing is sent to.
NODES = 5
ADDRESSES = ",".join(f"localhost:{port}" for port in range(1, NODES + 1))
Place = tuple[Target, Environment]


@click.command(name="list")
def command() -> int:
    """List targets, environments, workloads, faults, models, isolation levels."""
    for line in listing():
        click.echo(line)
    return 0


def listing() -> Iterator[str]:
    """Yield a line for each registered class, and group titles."""
    found, missing = places()
    yield click.style("targets (--target), each with its environments", bold=True)
    for name in names("harness.targets"):
        environments = ", ".join(env.name for _, env in found.get(name, ()))
        text = environments or f"not here: {missing[name]}"
        yield f"  {name:18} {about('targets', name)} ({text})"
    for group, option in (("environments", "--env"), ("workloads", "--workload"),
                          ("models", "check --model")):  # fmt: skip
        yield click.style(f"{group} ({option})", bold=True)
        for name in names(f"harness.{group}"):
            yield f"  {name:18} {about(group, name)}"
    yield click.style("isolation levels (check --model)", bold=True)
    for name in LEVELS:
        yield f"  {name}"
    yield click.style("faults (--nemesis), each with its targets and environments", bold=True)
    for fault in catalogue.every():
        where = in_words(available(fault, found))
        yield f"  {fault.name:18} {first_sentence(type(fault).__doc__)} ({where or 'not here'})"


def about(group: str, name: str) -> str:
    """Return the first sentence about a registered class."""
    found = load(f"harness.{group}", name)
    of_module = group in ("workloads", "environments")
    return first_sentence(sys.modules[found.__module__].__doc__ if of_module else found.__doc__)


def first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".")


def places() -> tuple[dict[str, list[Place]], dict[str, str]]:
    """Return each target with the environments that it can run in, and why others can't run
    here. Nothing is started."""
    found: dict[str, list[Place]] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in names("harness.targets"):
            for environment in names("harness.environments"):
                try:
                    env = _environment(environment, Path(folder) / target)
                    made = load("harness.targets", target)(env, TargetOptions())
                except HarnessError as e:
                    missing[target] = str(e)
                else:
                    found.setdefault(target, []).append((made, env))
    return found, missing


def _environment(name: str, folder: Path) -> Environment:
    kind = load("harness.environments", name)
    try:
        made: Environment = kind(EnvironmentOptions(nodes=NODES, run_dir=folder, seed=0))
    except HarnessError:  # it needs addresses
        made = kind(EnvironmentOptions(nodes=NODES, run_dir=folder, seed=0, addresses=ADDRESSES))
    return made


def available(fault: Fault, found: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
    """Return the targets and environments that a fault is available for."""
    able = {
        name: [(t, e) for t, e in where if fault.available(t, e) is None]
        for name, where in found.items()
    }
    return {name: where for name, where in able.items() if where}


def in_words(found: Mapping[str, Sequence[Place]]) -> str:
    """Return targets with their environments: `redis, valkey: local`."""
    by_environments: dict[str, list[str]] = {}
    for name, where in found.items():
        environments = ", ".join(env.name for _, env in where)
        by_environments.setdefault(environments, []).append(name)
    return "; ".join(f"{', '.join(targets)}: {e}" for e, targets in by_environments.items())
