"""The parts of a node, and how they are put together."""

from __future__ import annotations

from collections.abc import Sequence

from harness.host import Host
from targets.engine.protocol import Engine
from targets.engine.python import PythonEngine
from targets.memorydb_py.log.client import LogClient
from targets.memorydb_py.log.interface import TransactionLog
from targets.memorydb_py.node.commands import COMMANDS
from targets.memorydb_py.node.context import NodeContext
from targets.memorydb_py.node.node import Node
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.tracker import Tracker

# Environment variables of real processes.
PASSWORD = "HARNESS_PASSWORD"  # of clients
SECRET = "HARNESS_LOG_SECRET"  # of the log


class Parts:
    """Creates the parts of a shard. Derive from it to try another engine, or another log. `secret`:
    of the log."""

    secret = b""

    def engine(self, host: Host) -> Engine:
        """Return a new, empty engine for a node."""
        return PythonEngine(sharded=True, clock=host.spent_ns)

    def log(self, host: Host, azs: Sequence[str]) -> TransactionLog:
        """Return a process' connection to the log. `azs`: their names, the nearest first."""
        return LogClient(host, azs, self.secret)

    def node(
        self, host: Host, azs: Sequence[str], settings: Settings, context: NodeContext
    ) -> Node:
        """Return a node. Call it within the event loop in which the node will run."""
        return Node(
            host,
            self.engine(host),
            self.log(host, azs),
            Tracker(),
            COMMANDS,
            settings=settings,
            context=context,
        )
