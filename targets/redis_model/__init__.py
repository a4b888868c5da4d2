"""A small, honest model of vanilla Redis: replication, persistence, the commands of workloads.

`resp` is the protocol; `execution`, `commands` and `scripts` execute commands; `server`,
`replication` and `persistence` are the node, written against `harness.host.Host`; `target` is how
the harness drives it. It runs in the simulation and, by `python -m targets.redis_model`, as a real
process.
"""

from targets.redis_model.target import RedisModel

__all__ = ["RedisModel"]
