"""A small model of vanilla Redis: asynchronous replication, an append-only file.

`server` is a node, `replication` its stream and `persistence` its file, all written against
`harness.host.Host`; commands are executed by `targets.engine`; `target` starts and drives the nodes
for the harness. It runs in the simulation, and as a real process by
`python -m targets.replicated.redis_model`.
"""
