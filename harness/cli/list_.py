"""`harness list`: the registered classes, with a line about each."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from harness.checkers.isolation import LEVELS
from harness.nemesis import catalogue
from harness.registry import load, names


@click.command(name="list")
def command() -> int:
    """List targets, environments, workloads, faults, models, isolation levels."""
    for line in listing():
        click.echo(line)
    return 0


def listing() -> Iterator[str]:
    """Yield a line for each registered class, and group titles."""
    for group in ("targets", "environments", "workloads", "models"):
        yield click.style(group, bold=True)
        for name in names(f"harness.{group}"):
            found = load(f"harness.{group}", name)
            of_module = group in ("workloads", "environments")
            text = sys.modules[found.__module__].__doc__ if of_module else found.__doc__
            yield f"  {name:18} {_first_sentence(text)}"
    yield click.style("isolation levels (check --model)", bold=True)
    for name in LEVELS:
        yield f"  {name}"
    yield click.style("faults (--nemesis)", bold=True)
    for fault in catalogue.every():
        yield f"  {fault.name:18} {_first_sentence(type(fault).__doc__)}"


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".")
