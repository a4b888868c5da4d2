"""A node of the shard: primary or replica, as the log decides.

`node` executes commands, `connection` is a client's connection, `tracker` knows the keys with
uncommitted changes, `shard` follows the log, campaigns and renews the lease, `blocking` and
`channels` are for clients that wait or listen. `commands` are those of the node itself, beside the
engine's.
"""
