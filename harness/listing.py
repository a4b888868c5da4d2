"""What `harness list` shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from harness.checkers.isolation.checker import LEVELS
from harness.nemesis.faults import registry
from harness.targets import load, names


def listing() -> Iterator[str]:
    """A line each, with titles."""
    for group in ("targets", "workloads", "models"):
        yield click.style(group, bold=True)
        for name in names(f"harness.{group}"):
            made = load(f"harness.{group}", name)
            text = made.__doc__ if group != "workloads" else sys.modules[made.__module__].__doc__
            yield f"  {name:18} {_first_sentence(text)}"
    yield click.style("isolation levels (check --model)", bold=True)
    for name in LEVELS:
        yield f"  {name}"
    yield click.style("faults (--nemesis)", bold=True)
    for name, fault in registry().items():
        where = " (simulated only)" if fault.needs & {"loss", "clock", "power"} else ""
        yield f"  {name:18} {_first_sentence(type(fault).__doc__)}{where}"


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".")
