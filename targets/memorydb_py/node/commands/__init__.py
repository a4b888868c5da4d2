"""The node's own commands, beside those of the engine.

`connection` is the client's connection, `transactions` MULTI and WATCH, `replication` replicas and
the lease; the other modules are named after their commands.
"""

from __future__ import annotations

from typing import Final

from targets.engine.table import merged
from targets.memorydb_py.node.commands import (
    clients,
    cluster,
    command,
    configuration,
    connection,
    debugging,
    information,
    replication,
    subscriptions,
    transactions,
)
from targets.memorydb_py.node.commands.table import Commands

_MODULES = (
    connection,
    transactions,
    replication,
    clients,
    cluster,
    command,
    configuration,
    debugging,
    information,
    subscriptions,
)

COMMANDS: Final[Commands] = merged(module.COMMANDS for module in _MODULES)
