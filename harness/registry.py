"""Classes by name: those registered by entry point, and any given as `module:Class`.

Groups are `harness.targets`, `harness.environments`, `harness.faults`, `harness.workloads` and
`harness.models`.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness.errors import UsageError

# Attributes that a class given as module:Class must have.
_REQUIRED = {
    "target": ("promises", "start", "topology"),
    "environment": ("simulated", "open", "now"),
    "fault": ("name", "traits", "takes", "available", "draw", "inject"),
    "workload": ("generator", "keys_of", "apply", "claims"),
    "model": ("init", "step"),
}


def load(group: str, name: str) -> Any:
    """Return the class that is registered in an entry point group, or named as `module:Class`.

    Raises `UsageError`; for an unknown name it lists the registered ones.
    """
    found = _registered(group)
    if name in found:
        return found[name].load()
    kind = group.rpartition(".")[2].removesuffix("s")
    if ":" in name:
        module, _, attribute = name.partition(":")
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # a user's own module is there
        try:
            made = getattr(importlib.import_module(module), attribute)
        except Exception as e:  # importing a module may raise anything
            what = str(e) if isinstance(e, ImportError | AttributeError) else repr(e)
            raise UsageError(f"can't load the {kind} {name!r}: {what}") from e
        if not isinstance(made, type):
            raise UsageError(f"can't load the {kind} {name!r}: it is not a class")
        lacking = [each for each in _REQUIRED[kind] if not hasattr(made, each)]
        if lacking:
            raise UsageError(f"{name!r} is not a {kind}: it has no {', '.join(lacking)}")
        return made
    raise UsageError(
        f"unknown {kind} {name!r}; available: {', '.join(sorted(found))}, or give module:Class"
    )


def names(group: str) -> list[str]:
    """Return the names that are registered in an entry point group, sorted."""
    return sorted(_registered(group))


@functools.cache
def _registered(group: str) -> Mapping[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=group)}
