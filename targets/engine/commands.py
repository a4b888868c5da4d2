"""The commands of the Python engine."""

from __future__ import annotations

from typing import Final

from targets.engine import (
    bits,
    dumping,
    hashes,
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
from targets.engine.execution import Commands
from targets.engine.table import merged

_MODULES = (
    bits,
    dumping,
    hashes,
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

COMMANDS: Final[Commands] = merged(module.COMMANDS for module in _MODULES)
