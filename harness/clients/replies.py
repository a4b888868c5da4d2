"""The kinds of reply that commands have: a reply of another kind is a violation.

A server that answers GET with an integer, SET with anything but OK, or a ping with another client's
text has mixed up replies or made them up. Operations that got such a reply are recorded with an
error that begins with `wrong reply: `, which the claim `replies` judges. Error replies are not of
a wrong kind; `outcomes` classifies them.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import Any, Final

_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")


class WrongReply(Exception):
    """A reply of another kind or range than its command has."""

    def __init__(self, command: str, reply: Any, expected: str) -> None:
        super().__init__(f"{command} answered {reprlib.repr(reply)}, expected {expected}")


def ok(command: str, reply: Any) -> None:
    """Check the reply of a command that answers OK. Raises `WrongReply`."""
    if reply != "OK":
        raise WrongReply(command, reply, "OK")


def integer(command: str, reply: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Return an integer reply within bounds. Raises `WrongReply`."""
    if type(reply) is not int:
        raise WrongReply(command, reply, "an integer")
    if (least is not None and reply < least) or (most is not None and reply > most):
        bounds = f"{least} to {most}" if most is not None else f"{least} or more"
        raise WrongReply(command, reply, bounds)
    return reply


def number(command: str, reply: Any) -> int | None:
    """Return a stored number; None where there is none. Raises `WrongReply`."""
    if reply is None:
        return None
    if not isinstance(reply, str) or not _DECIMAL.fullmatch(reply):
        raise WrongReply(command, reply, "a number that a client wrote, or nil")
    return int(reply)


def numbers(command: str, reply: Any) -> list[int]:
    """Return an array of stored numbers. Raises `WrongReply`."""
    made = [number(command, each) for each in array(command, reply)]
    if None in made:
        raise WrongReply(command, reply, "an array without nil")
    return made  # type: ignore[return-value]


def array(command: str, reply: Any, *, length: int | None = None) -> Sequence[Any]:
    """Return an array, of so many replies if a length is given. Raises `WrongReply`."""
    if not isinstance(reply, list):
        raise WrongReply(command, reply, "an array")
    if length is not None and len(reply) != length:
        raise WrongReply(command, reply, f"an array of {length}")
    return reply


def role(reply: Any) -> str:
    """Return `primary` or `replica`, from the reply to ROLE. Raises `WrongReply`."""
    if not isinstance(reply, list) or not reply or reply[0] not in ("master", "slave"):
        raise WrongReply("ROLE", reply, "the role of a primary or a replica")
    return "primary" if reply[0] == "master" else "replica"
