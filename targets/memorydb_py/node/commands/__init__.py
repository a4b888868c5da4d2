"""The node's own commands, in addition to the engine's.

`connection` has AUTH, HELLO and other commands of a connection, `transactions` MULTI and WATCH,
`replication` WAIT, ROLE and FAILOVER; the other modules are named after their commands.
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
