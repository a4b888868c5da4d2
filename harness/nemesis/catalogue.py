"""Which faults there are, by entry point, and which of them a run asks for."""

from __future__ import annotations

from harness.environments.protocol import Environment
from harness.errors import UsageError
from harness.nemesis.protocol import Fault
from harness.registry import load, names
from harness.targets import Target

GROUP = "harness.faults"
ALL, NONE = "all", "none"


def fault(name: str) -> Fault:
    """By its name, or as `module:Class`, which is its name then; raises `UsageError`."""
    kind = load(GROUP, name)
    try:
        made: Fault = kind()
    except TypeError as e:
        raise UsageError(f"can't make the fault {name!r}: {e}") from e
    if ":" in name:
        made.name = name  # so that plans and histories name what can be loaded again
    return made


def every() -> list[Fault]:
    """All that are registered, by layer and name."""
    return in_order([fault(name) for name in names(GROUP)])


def in_order(faults: list[Fault]) -> list[Fault]:
    """By layer; within one as they were named."""
    return sorted(faults, key=lambda f: f.traits.layer)


def chosen(text: str, target: Target, env: Environment) -> list[Fault]:
    """The faults of `--nemesis`: comma-separated names, `none`, or `all` that are available.

    Raises `UsageError` for an unknown name, and for a fault that is not available.
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
            raise UsageError(f"--nemesis {text}: {name!r} stands alone")
        found_one = fault(name)
        reason = found_one.available(target, env)
        if reason is not None:
            raise UsageError(f"--nemesis {name}: not possible here: {reason}")
        by_name[found_one.name] = found_one
    return in_order(list(by_name.values()))
