"""The one table that maps an error of a server to fail or info."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import redis.exceptions as rx

from harness.clients.replies import WrongReply
from harness.history.operations import OpType, unclassified, wrong_reply

# How an operation reaches the server, and the error codes that mean "not executed" then. A script
# may fail after it wrote; an error of EXEC is definite only if the whole transaction was refused.
Form = Literal["command", "script", "exec"]
DEFINITE_CODES: Final[Mapping[Form, frozenset[str]]] = {
    "command": frozenset(
        {
            "MOVED",
            "ASK",
            "CLUSTERDOWN",
            "READONLY",
            "LOADING",
            "MASTERDOWN",
            "NOREPLICAS",
            "CROSSSLOT",
            "TRYAGAIN",
            "OOM",
            "MISCONF",
            "NOSCRIPT",
            "NOAUTH",
            "NOPERM",
            "BUSY",
            "WRONGTYPE",
        }
    ),
    "script": frozenset({"NOSCRIPT", "BUSY"}),
    "exec": frozenset({"MOVED", "ASK", "EXECABORT"}),
}
_KNOWN_CODES: Final = frozenset().union(*DEFINITE_CODES.values())
# redis-py strips codes that it has a class for.
_CODE_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (rx.ReadOnlyError, "READONLY"),
    (rx.NoScriptError, "NOSCRIPT"),
    (rx.BusyLoadingError, "LOADING"),
    (rx.OutOfMemoryError, "OOM"),
    (rx.NoPermissionError, "NOPERM"),
    (rx.AuthenticationError, "NOAUTH"),
    (rx.ExecAbortError, "EXECABORT"),
    (rx.AskError, "ASK"),
    (rx.MovedError, "MOVED"),
    (rx.TryAgainError, "TRYAGAIN"),
    (rx.ClusterDownError, "CLUSTERDOWN"),
    (rx.ClusterCrossSlotError, "CROSSSLOT"),
    (rx.MasterDownError, "MASTERDOWN"),
)


def error_code(error: Exception) -> str | None:
    """Return the server's error code (`READONLY`), or None if the server sent no error."""
    for kind, code in _CODE_BY_CLASS:
        if isinstance(error, kind):
            return code
    if not isinstance(error, rx.ResponseError):
        return None
    if error.status_code:
        return str(error.status_code)
    first = str(error).split(" ", 1)[0]
    return first if first.isupper() else "ERR"


def outcome_of(error: Exception, *, read: bool, form: Form = "command") -> tuple[OpType, str]:
    """Return (`fail` or `info`, the text to record) for an error of an invocation that was sent.

    `read`: the operation can't have written.
    """
    code = error_code(error)
    text = " ".join(str(error).split())[:160]
    definite = False
    if isinstance(error, WrongReply):
        label = wrong_reply(text)
    elif isinstance(error, TimeoutError | rx.TimeoutError):
        label = "timeout"
    elif code is not None:
        label = text if text.startswith(code) else f"{code} {text}"
        arity = "wrong number of arguments" in text
        definite = code in DEFINITE_CODES[form] or (arity and form == "command")
        if code not in _KNOWN_CODES and not arity:
            label = unclassified(label)
    elif isinstance(error, rx.ConnectionError | OSError | EOFError):
        label = f"connection: {text}"
    else:
        label = unclassified(f"{type(error).__name__}: {text}")
    return ("fail" if read or definite else "info"), label
