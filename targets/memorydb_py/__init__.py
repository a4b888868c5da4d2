"""A reference implementation of Amazon MemoryDB: Redis' commands, a transaction log, leases.

`log` is the log, `node` a node of the shard, `snapshots` what nodes recover from, `entries` and
`replay` what they all know of the log's content. `processes` puts the parts of a process together,
`audit` reads the log from outside, and `target` starts and drives all of it for the harness. The
commands are `targets.engine`'s. Of harness, nothing here imports more than the `Host` protocol,
except `target`.
"""
