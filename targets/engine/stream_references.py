"""References of consumer groups to entries, and XDELEX and XACKDEL, of Redis 8.2.

An entry is referenced by a group in which it is pending, and by one that has not read as far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from targets.engine.execution import Call, Commands
from targets.engine.parsing import integer
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.streams import remove, stream_id
from targets.engine.table import ONE
from targets.engine.values import Group, Stream, StreamId

COMMANDS: Commands = Commands()

POLICIES: Final = (b"KEEPREF", b"DELREF", b"ACKED")
ABSENT, DELETED, REFERENCED = -1, 1, 2  # replies for an id


def referenced(stream: Stream, entry_id: StreamId) -> bool:
    """Return whether a group has an entry pending, or has yet to read it."""
    return any(
        entry_id in group.pending or entry_id > group.last_id for group in stream.groups.values()
    )


def unreference(stream: Stream, entry_id: StreamId) -> bool:
    """Remove an entry from what is pending in any group; return whether it was pending in one."""
    found = [group.pending.pop(entry_id, None) for group in stream.groups.values()]
    return any(each is not None for each in found)


def _arguments(words: Command) -> tuple[bytes, Sequence[bytes]]:
    """Return the policy and the ids of `[KEEPREF | DELREF | ACKED] IDS numids id …`."""
    policy: bytes | None = None
    ids: Sequence[bytes] | None = None
    i = 0
    while i < len(words):
        word = words[i].upper()
        if word in POLICIES and policy is None:
            policy = word
        elif word == b"IDS" and i + 1 < len(words):
            try:
                count = integer(words[i + 1])
            except Error:
                count = 0
            if count <= 0:
                raise Error("ERR Number of IDs must be a positive integer")
            ids = words[i + 2 : i + 2 + count]
            if len(ids) != count:
                raise Error("ERR The `numids` parameter must match the number of arguments")
            i += 1 + count
        else:
            raise BadSyntax
        i += 1
    if ids is None:
        raise BadSyntax
    return policy or b"KEEPREF", ids


def _delete(stream: Stream, entry_id: StreamId, policy: bytes) -> int:
    """Delete an entry as a policy allows; return the reply for its id."""
    if policy == b"ACKED" and referenced(stream, entry_id):
        return REFERENCED
    existed = remove(stream, entry_id)
    if existed:
        stream.max_deleted = max(stream.max_deleted, entry_id)
    if policy == b"DELREF":
        unreference(stream, entry_id)
    return DELETED if existed else ABSENT


@COMMANDS.command("XDELEX", -5, "write fast", ONE)
def _xdelex(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    policy, words = _arguments(cmd[2:])
    if stream is None:
        return [ABSENT for _ in words]
    replies = [_delete(stream, entry_id, policy) for entry_id in [*map(stream_id, words)]]
    if DELETED in replies or policy == b"DELREF":
        call.touch(cmd[1])
    return replies


@COMMANDS.command("XACKDEL", -6, "write fast", ONE)
def _xackdel(call: Call, cmd: Command) -> Any:
    stream = call.look(cmd[1], Stream)
    group: Group | None = None if stream is None else stream.groups.get(cmd[2])
    policy, words = _arguments(cmd[3:])
    if stream is None or group is None:
        return [ABSENT for _ in words]
    replies = []
    for entry_id in [stream_id(word) for word in words]:
        if group.pending.pop(entry_id, None) is None:
            replies.append(ABSENT)
        else:
            deleted = _delete(stream, entry_id, policy)
            replies.append(REFERENCED if deleted == REFERENCED else DELETED)
    if any(reply != ABSENT for reply in replies):
        call.touch(cmd[1])
    return replies
