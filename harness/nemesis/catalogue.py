"""The registered faults (by entry point), and those that a run asks for."""

from __future__ import annotations

from harness.environments.protocol import Environment
from harness.errors import UsageError
from harness.nemesis.protocol import Fault
from harness.registry import load, names
from harness.targets import Target

GROUP = "harness.faults"
ALL, NONE = "all", "none"


def fault(name: str) -> Fault:
    """Return a new fault, by name or as `module:Class` (then its name). Raises `UsageError`."""
    kind = load(GROUP, name)
    try:
        made: Fault = kind()
    except TypeError as e:
        raise UsageError(f"can't create the fault {name!r}: {e}") from e
    if ":" in name:
        made.name = name  # so that the names in plans and histories can be loaded again
    return made


def every() -> list[Fault]:
    """Return all registered faults, by layer and name."""
    return in_order([fault(name) for name in names(GROUP)])


def in_order(faults: list[Fault]) -> list[Fault]:
    """Return the faults by layer; those of one layer keep their order."""
    return sorted(faults, key=lambda f: f.traits.layer)


def chosen(text: str, target: Target, env: Environment) -> list[Fault]:
    """Return the faults of `--nemesis`: comma-separated names, `none`, or `all` available ones.

    Raises `UsageError` for an unknown name and for a fault that is not available.
    """
    if text == NONE:
        return []
    if text == ALL:
        found = [f for f in every() if f.traits.in_all and f.available(target, env) is None]
        if not found:
            raise UsageError(f"--nemesis all: the {env.name} environment injects no faults")
        return found
    by_name: dict[str, Fault] = {}
    for name in text.split(","):
        if name in (ALL, NONE):
            raise UsageError(f"--nemesis {text}: {name!r} can't be combined with other names")
        found_one = fault(name)
        reason = found_one.available(target, env)
        if reason is not None:
            raise UsageError(f"--nemesis {name}: not possible here: {reason}")
        by_name[found_one.name] = found_one
    return in_order(list(by_name.values()))
