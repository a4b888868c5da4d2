"""Reasons why a fault is not available for a target in an environment."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import Environment
from harness.errors import UsageError
from harness.registry import load, names
from harness.targets import Target


def lacking(
    target: Target,
    env: Environment,
    *,
    environment: tuple[type, str] | None = None,
    capability: tuple[type, str] | None = None,
    nodes: int = 1,
) -> str | None:
    """Return why a fault is not available, or None if it is.

    `environment`, `capability`: the protocol that environment or target must implement, and what
    one that does not is unable to do. `nodes`: the minimum for the fault to have an effect.
    """
    if environment is not None and not isinstance(env, environment[0]):
        kind, what = environment
        return f"the {env.name} environment {what}{_those_that_do('harness.environments', kind)}"
    if capability is not None and not isinstance(target, capability[0]):
        kind, what = capability
        return f"target {target.name} {what}{_those_that_do('harness.targets', kind)}"
    if len(env.nodes) < nodes:
        return f"it needs at least {nodes} nodes: give --nodes"
    return None


def _those_that_do(group: str, kind: type) -> str:
    """Name the registered classes that have a capability, as a hint."""
    able = []
    for name in names(group):
        try:
            found = load(group, name)
        except (ImportError, AttributeError, UsageError):
            continue
        if all(hasattr(found, member) for member in _own_members(kind)):
            able.append(name)
    return f" ({', '.join(able)} can)" if able else ""


def _own_members(kind: type[Any]) -> list[str]:
    """Return the members that a capability adds to the protocol that it extends."""
    return [m for m in vars(kind) if not m.startswith("_")]
