"""A reference implementation of Amazon MemoryDB: Redis' commands, a transaction log, leases.

`log` is the log, `node` a node of the shard, `target` how the harness runs both. The commands are
`targets.engine`'s. Nothing here imports from harness but the `Host` protocol, save `target`.
"""

from targets.memorydb_py.target import MemoryDB

__all__ = ["MemoryDB"]
