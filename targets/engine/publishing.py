"""PUBLISH and SPUBLISH. Messages are effects too, so that they reach subscribers of other nodes."""

from __future__ import annotations

from typing import Any

from targets.engine.execution import Call, Commands
from targets.engine.protocol import Message
from targets.engine.resp import Command
from targets.engine.table import ONE

COMMANDS: Commands = Commands()


def _publish(call: Call, cmd: Command, *, sharded: bool) -> Any:
    if call.deny is not None:
        raise call.deny
    call.publish(Message(sharded, cmd[1], cmd[2]))
    call.instead(cmd)
    return call.context.audience(sharded, cmd[1])


@COMMANDS.command("PUBLISH", 3, "pubsub loading stale fast")
def _publish_to_all(call: Call, cmd: Command) -> Any:
    return _publish(call, cmd, sharded=False)


@COMMANDS.command("SPUBLISH", 3, "pubsub loading stale fast", ONE)
def _publish_to_shard(call: Call, cmd: Command) -> Any:
    return _publish(call, cmd, sharded=True)
