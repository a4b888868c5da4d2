"""The commands of the Python engine, by the version of the server whose answers it gives."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from targets.engine import (
    bits,
    dumping,
    field_expiry,
    geo,
    hashes,
    hyperloglog,
    keys,
    lists,
    newer_strings,
    objects,
    publishing,
    scanning,
    scripting,
    sets,
    sortedset_algebra,
    sortedsets,
    sorting,
    stream_groups,
    stream_info,
    stream_reads,
    stream_references,
    streams,
    strings,
)
from targets.engine.execution import Commands
from targets.engine.table import merged
from targets.engine.version import REFERENCE, Number, Version

_MODULES = (
    bits,
    dumping,
    geo,
    hashes,
    hyperloglog,
    keys,
    lists,
    objects,
    publishing,
    scanning,
    scripting,
    sets,
    sortedset_algebra,
    sortedsets,
    sorting,
    stream_groups,
    stream_info,
    stream_reads,
    streams,
    strings,
)
_NEWER_MODULES = (field_expiry, newer_strings, stream_references)

COMMANDS: Final[Commands] = merged(module.COMMANDS for module in _MODULES)
_NEWER: Final[Commands] = merged(module.COMMANDS for module in _NEWER_MODULES)

# Since which Redis and which Valkey there are commands that the reference lacks; None: in none.
_FIELDS: Final = ((7, 4), (9, 0))
SINCE: Final[dict[str, tuple[Number | None, Number | None]]] = {
    "HEXPIRE": _FIELDS,
    "HPEXPIRE": _FIELDS,
    "HEXPIREAT": _FIELDS,
    "HPEXPIREAT": _FIELDS,
    "HTTL": _FIELDS,
    "HPTTL": _FIELDS,
    "HEXPIRETIME": _FIELDS,
    "HPEXPIRETIME": _FIELDS,
    "HPERSIST": _FIELDS,
    "HGETEX": ((8, 0), (9, 0)),
    "HSETEX": ((8, 0), (9, 0)),
    "HGETDEL": ((8, 0), (9, 1)),
    "XDELEX": ((8, 2), None),
    "XACKDEL": ((8, 2), None),
    "DELIFEQ": (None, (9, 0)),
    "MSETEX": (None, (9, 1)),
}
# Commands that Redis 6.2 lacks, and those that have no options there yet.
_NOT_IN_6_2: Final = (
    "BLMPOP", "BZMPOP", "EVALSHA_RO", "EVAL_RO", "EXPIRETIME", "PEXPIRETIME", "LCS", "LMPOP",
    "SINTERCARD", "SORT_RO", "SPUBLISH", "ZINTERCARD", "ZMPOP",
)  # fmt: skip
_ARITY_3_IN_6_2: Final = ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "XSETID")
_WITH_SCORE: Final = ("ZRANK", "ZREVRANK")  # from 7.2 on


@lru_cache
def commands_of(version: Version) -> Commands:
    """Return the commands of a version."""
    if version == REFERENCE:
        return COMMANDS
    table: Commands = Commands(COMMANDS)
    for name, since in SINCE.items():
        if version.since(*since):
            table[name.encode()] = _NEWER[name.encode()]
    if not version.since((7, 0), (0, 0)):
        for name in _NOT_IN_6_2:
            table.pop(name.encode(), None)
        for name in _ARITY_3_IN_6_2:
            table[name.encode()] = replace(table[name.encode()], arity=3)
    if version.since((7, 2), (8, 1)):
        for name in _WITH_SCORE:
            table[name.encode()] = replace(table[name.encode()], arity=-3)
    return table
