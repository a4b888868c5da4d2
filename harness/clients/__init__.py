"""Clients of a Redis-like server.

`connection` is one connection, `replies` the kinds of reply that commands have, `outcomes` the
table that maps errors to fail or info, `client` the client of a worker.
"""

from harness.clients import replies
from harness.clients.client import Apply, DatabaseClient, KeysOf, Router
from harness.clients.connection import (
    ConnectFailed,
    Credentials,
    RedisConnection,
    transaction,
    with_role,
    with_roles,
)
from harness.clients.outcomes import DEFINITE_CODES, Form, error_code, outcome_of
from harness.clients.replies import WrongReply

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
    "WrongReply",
    "error_code",
    "outcome_of",
    "replies",
    "transaction",
    "with_role",
    "with_roles",
]
