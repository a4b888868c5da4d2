"""Arguments of commands as numbers, as strictly as Redis reads them."""

from __future__ import annotations

import math

from targets.engine.resp import Error

INT64 = 2**63
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"


def integer(word: bytes, error: str = NOT_AN_INTEGER) -> int:
    """Return a signed 64-bit integer; raises `Error` with the given text if the word has spaces, a
    plus sign or leading zeros, or is out of range."""
    digits = word[1:] if word[:1] == b"-" else word
    plain = (
        digits.isdigit()
        and len(digits) < 20
        and (digits == b"0" or digits[:1] != b"0")
        and word != b"-0"
    )
    if not plain or not -INT64 <= int(word) < INT64:
        raise Error(error)
    return int(word)


def floating(word: bytes, error: str = NOT_A_FLOAT) -> float:
    """Return a double: decimal, hexadecimal or infinite; raises `Error` with the given text for
    NaN, spaces, underscores, and numbers that a double can't represent."""
    text = word.decode("latin-1")
    try:
        if not text or text[0].isspace() or text[-1].isspace() or "_" in text:
            raise ValueError
        lower = text.lower().lstrip("+-")
        value = float.fromhex(text) if lower.startswith("0x") else float(text)
    except (ValueError, OverflowError):
        raise Error(error) from None
    mantissa = lower.removeprefix("0x").split("p" if "x" in lower else "e")[0]
    underflow = value == 0 and any(digit in "123456789abcdef" for digit in mantissa)
    overflow = abs(value) == math.inf and any(digit.isdigit() for digit in mantissa)
    if value != value or underflow or overflow:
        raise Error(error)
    return value


def printable(word: bytes) -> str:
    """Return a word as error replies quote it: at most 128 bytes, up to the first NUL."""
    return word[:128].partition(b"\0")[0].decode("utf-8", "surrogateescape")
