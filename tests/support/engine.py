"""Executes commands of the Python engine one by one, on a state that tests can inspect."""

from __future__ import annotations

import random

from targets.engine.commands import COMMANDS
from targets.engine.execution import Call
from targets.engine.protocol import Context
from targets.engine.resp import Command, Error
from targets.engine.state import State


def execute(
    state: State,
    command: Command,
    time_ms: int,
    rng: random.Random,
    deny: Error | None = None,
    *,
    may_block: bool = False,
    mask: bool = True,
) -> Call:
    """Execute a command and return its call; several effects are wrapped in MULTI and EXEC."""
    context = Context(time_ms, rng, deny, mask=mask, may_block=may_block)
    call = Call(state, COMMANDS, context)
    call.reply = call.run(command)
    if len(call.effects) > 1 and call.effects[0] != (b"MULTI",):
        call.effects = [(b"MULTI",), *call.effects, (b"EXEC",)]
    return call
