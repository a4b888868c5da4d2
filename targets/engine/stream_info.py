"""XINFO: the state of streams, groups and consumers."""

from __future__ import annotations

from typing import Any

from targets.engine.execution import Call, Commands, add_container
from targets.engine.objects import AT_TWO
from targets.engine.parsing import integer, printable
from targets.engine.resp import Command, Error, Map
from targets.engine.stream_groups import lag
from targets.engine.streams import between, entry, id_text
from targets.engine.values import ENTRIES_READ_UNKNOWN, FIRST_ID, LAST_ID, Group, Stream

COMMANDS: Commands = Commands()

add_container(COMMANDS, "XINFO")
SHOWN_IN_FULL = 10


def _stream(call: Call, cmd: Command) -> Stream:
    stream: Stream | None = call.look(cmd[2], Stream)
    if stream is None:
        raise Error("ERR no such key")
    return stream


@COMMANDS.command("XINFO|STREAM", -3, "readonly", AT_TWO)
def _xinfo_stream(call: Call, cmd: Command) -> Any:
    full, most = len(cmd) > 3, SHOWN_IN_FULL
    stream = _stream(call, cmd)
    if full:
        if len(cmd) not in (4, 6) or cmd[3].upper() != b"FULL":
            raise Error(_SUBCOMMAND_SYNTAX)
        if len(cmd) == 6:
            if cmd[4].upper() != b"COUNT":
                raise Error(_SUBCOMMAND_SYNTAX)
            most = integer(cmd[5])
            most = SHOWN_IN_FULL if most < 0 else most
    shown = Map([
        (b"length", len(stream)),
        (b"radix-tree-keys", len(stream.blocks)),
        (b"radix-tree-nodes", len(stream.blocks) + 1),
        (b"last-generated-id", id_text(stream.last_id)),
        (b"max-deleted-entry-id", id_text(stream.max_deleted)),
        (b"entries-added", stream.added),
        (b"recorded-first-entry-id", id_text(stream.first_id)),
    ])  # fmt: skip
    if full:
        found = between(stream, FIRST_ID, LAST_ID, most)
        shown.append(
            (b"entries", [entry(entry_id, stream.entries[entry_id]) for entry_id in found])
        )
        groups = stream.groups.items()
        shown.append((b"groups", [_full_group(call, stream, n, g, most) for n, g in groups]))
        return shown
    ends = [stream.entries.peekitem(index) for index in (0, -1)] if len(stream) else []
    first, last = (entry(*end) for end in ends) if ends else (None, None)
    shown += [(b"groups", len(stream.groups)), (b"first-entry", first), (b"last-entry", last)]
    return shown


_SUBCOMMAND_SYNTAX = (
    "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."
)


def _full_group(call: Call, stream: Stream, name: bytes, group: Group, most: int) -> Map:
    pending = [
        [id_text(entry_id), p.consumer, p.time_ms, p.count] for entry_id, p in group.pending.items()
    ]
    return Map([
        (b"name", name),
        (b"last-delivered-id", id_text(group.last_id)),
        (b"entries-read", None if group.read == ENTRIES_READ_UNKNOWN else group.read),
        (b"lag", lag(stream, group, call.version)),
        (b"pel-count", len(pending)),
        (b"pending", pending[: most or None]),
        (b"consumers", [_full_consumer(group, consumer, most) for consumer in group.consumers]),
    ])  # fmt: skip


def _full_consumer(group: Group, consumer: bytes, most: int) -> Map:
    pending = [(entry_id, group.pending[entry_id]) for entry_id in group.pending_of(consumer)]
    return Map([
        (b"name", consumer),
        (b"seen-time", group.consumers[consumer]),
        (b"pel-count", len(pending)),
        (b"pending", [
            [id_text(entry_id), p.time_ms, p.count] for entry_id, p in pending[: most or None]
        ]),
    ])  # fmt: skip


@COMMANDS.command("XINFO|GROUPS", 3, "readonly", AT_TWO)
def _xinfo_groups(call: Call, cmd: Command) -> Any:
    stream = _stream(call, cmd)
    counts = 6 if call.version.since((7, 0), (0, 0)) else 4  # pairs: 6.2 has no entries-read, lag
    return [
        Map([
            (b"name", name),
            (b"consumers", len(group.consumers)),
            (b"pending", len(group.pending)),
            (b"last-delivered-id", id_text(group.last_id)),
            (b"entries-read", None if group.read == ENTRIES_READ_UNKNOWN else group.read),
            (b"lag", lag(stream, group, call.version)),
        ][:counts])
        for name, group in stream.groups.items()
    ]  # fmt: skip


@COMMANDS.command("XINFO|CONSUMERS", 4, "readonly", AT_TWO)
def _xinfo_consumers(call: Call, cmd: Command) -> Any:
    group = _stream(call, cmd).groups.get(cmd[3])
    if group is None:
        raise Error(
            f"NOGROUP No such consumer group '{printable(cmd[3])}' for key name "
            f"'{printable(cmd[2])}'"
        )
    return [
        Map([
            (b"name", consumer),
            (b"pending", len(group.pending_of(consumer))),
            (b"idle", max(0, call.time_ms - seen)),
        ])
        for consumer, seen in group.consumers.items()
    ]  # fmt: skip
