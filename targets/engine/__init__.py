"""The command engine of the servers here: Redis' commands as functions of a state.

    outcome = execute(state, command, time_ms, rng)

`execution` holds what a command is and how it is executed, `resp` the protocol, `values` what keys
hold; the other modules are the commands, by kind. One engine, two replication paths: `redis_model`
streams the effects to replicas, `memorydb_py` appends them to a log.
"""

from targets.engine import (
    bits,
    hashes,
    keys,
    lists,
    objects,
    scanning,
    scripting,
    sets,
    sortedset_algebra,
    sortedsets,
    sorting,
    strings,
)
from targets.engine.execution import (
    INT64,
    TABLE,
    Blocked,
    Call,
    Known,
    Outcome,
    State,
    execute,
    find,
    integer,
    is_expired,
    is_write,
    known,
    refuse,
    unknown,
    wrong_arity,
)

__all__ = [
    "INT64",
    "TABLE",
    "Blocked",
    "Call",
    "Known",
    "Outcome",
    "State",
    "bits",
    "execute",
    "find",
    "hashes",
    "integer",
    "is_expired",
    "is_write",
    "keys",
    "known",
    "lists",
    "objects",
    "refuse",
    "scanning",
    "scripting",
    "sets",
    "sortedset_algebra",
    "sortedsets",
    "sorting",
    "strings",
    "unknown",
    "wrong_arity",
]
