"""A small model of vanilla Redis: asynchronous replication, an append-only file.

`node` is a server, `commands` its own commands, `replication` its stream, `persistence` its file,
all written against `harness.host.Host`; `targets.engine` executes the other commands; `target` is
the model as a target of the harness. It runs in the simulation, and as a real process by
`python -m targets.replicated.redis_model`.
"""
