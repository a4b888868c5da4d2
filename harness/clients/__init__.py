"""Clients of a Redis-like server.

`connection` is one connection, `outcomes` the table that maps errors to fail or info, `client` the
client of a worker.
"""

from harness.clients.client import Apply, DatabaseClient, KeysOf, Router
from harness.clients.connection import (
    ConnectFailed,
    Credentials,
    RedisConnection,
    role_name,
    with_role,
)
from harness.clients.outcomes import DEFINITE_CODES, Form, error_code, outcome_of

__all__ = [
    "DEFINITE_CODES",
    "Apply",
    "ConnectFailed",
    "Credentials",
    "DatabaseClient",
    "Form",
    "KeysOf",
    "RedisConnection",
    "Router",
    "error_code",
    "outcome_of",
    "role_name",
    "with_role",
]
