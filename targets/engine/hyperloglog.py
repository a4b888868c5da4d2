"""HyperLogLogs: PFADD, PFCOUNT and PFMERGE on strings, byte by byte those of Redis.

A string begins with `HYLL`, its encoding and the cached count. The dense encoding has 16384
registers of six bits. The sparse one has runs: `00xxxxxx` of x+1 zeros, `01xxxxxx yyyyyyyy` of
x·256+y+1 zeros, `1vvvvvxx` of x+1 registers of value v+1. Algorithms: Flajolet et al. 2007, with
the estimator of Ertl 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from targets.engine.execution import Call, Commands
from targets.engine.resp import OK, Command, Error
from targets.engine.table import ALL, ONE

COMMANDS: Commands = Commands()

BITS: Final = 14
REGISTERS: Final = 1 << BITS
HEADER: Final = 16
DENSE, SPARSE = 0, 1
SPARSE_BYTES_MAX: Final = 3000  # hll-sparse-max-bytes, without the header
SPARSE_VALUE_MAX: Final = 32
INVALID = "INVALIDOBJ Corrupted HLL object detected"
NOT_ONE = "WRONGTYPE Key is not a valid HyperLogLog string value."
_ALPHA_INF: Final = 0.721347520444481703680
_M: Final = 0xC6A4A7935BD1E995
_MASK: Final = (1 << 64) - 1


def murmur64(key: bytes, seed: int = 0xADC83B19) -> int:
    """Return the MurmurHash64A of a key."""
    h = seed ^ (len(key) * _M & _MASK)
    whole = len(key) & ~7
    for i in range(0, whole, 8):
        k = int.from_bytes(key[i : i + 8], "little") * _M & _MASK
        k = (k ^ k >> 47) * _M & _MASK
        h = (h ^ k) * _M & _MASK
    tail = key[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 47) * _M & _MASK
    return h ^ h >> 47


def _place(element: bytes) -> tuple[int, int]:
    """Return the register of an element, and the number of trailing zeros of its hash plus one."""
    number = murmur64(element)
    index = number & (REGISTERS - 1)
    rest = number >> BITS | 1 << (64 - BITS)
    return index, (rest & -rest).bit_length()


# --- encodings


def _empty() -> bytes:
    return b"HYLL" + bytes([SPARSE, 0, 0, 0]) + b"\0" * 8 + b"\x7f\xff"


def _is_one(value: bytes) -> bool:
    """Return whether a string can be a HyperLogLog, as Redis checks it."""
    if len(value) < HEADER or value[:4] != b"HYLL" or value[4] > SPARSE:
        return False
    return value[4] != DENSE or len(value) == HEADER + (REGISTERS * 6 + 7) // 8


def _registers(value: bytes) -> list[int]:
    """Return all registers; raises `Error` if the encoding is damaged."""
    if value[4] == DENSE:
        return _dense(value[HEADER:])
    found: list[int] = []
    body, i = value[HEADER:], 0
    while i < len(body):
        byte = body[i]
        if byte & 0x80:
            found += [(byte >> 2 & 0x1F) + 1] * ((byte & 3) + 1)
        elif byte & 0x40:
            if i + 1 >= len(body):
                raise Error(INVALID)
            found += [0] * (((byte & 0x3F) << 8 | body[i + 1]) + 1)
            i += 1
        else:
            found += [0] * ((byte & 0x3F) + 1)
        i += 1
    if len(found) != REGISTERS:
        raise Error(INVALID)
    return found


def _dense(body: bytes) -> list[int]:
    data = body + b"\0"
    found = []
    for index in range(REGISTERS):
        at, shift = divmod(index * 6, 8)
        found.append((data[at] | data[at + 1] << 8) >> shift & 63)
    return found


def _as_dense(header: bytes, registers: Sequence[int]) -> bytes:
    parts = bytearray((REGISTERS * 6 + 7) // 8 + 1)
    for index, value in enumerate(registers):
        at, shift = divmod(index * 6, 8)
        number = value << shift
        parts[at] |= number & 255
        parts[at + 1] |= number >> 8
    return header[:4] + bytes([DENSE]) + header[5:HEADER] + bytes(parts[:-1])


class _Sparse:
    """The opcodes of a sparse encoding, as (value, number of registers), changed in place."""

    def __init__(self, body: bytes) -> None:
        self.codes: list[tuple[int, int, bool]] = []  # value, run, whether it is an XZERO
        self.tail = b""  # a first byte of an XZERO that lacks the second
        i = 0
        while i < len(body):
            byte = body[i]
            if byte & 0x80:
                self.codes.append(((byte >> 2 & 0x1F) + 1, (byte & 3) + 1, False))
            elif byte & 0x40:
                if i + 1 >= len(body):
                    self.tail = body[i:]
                    break
                self.codes.append((0, ((byte & 0x3F) << 8 | body[i + 1]) + 1, True))
                i += 1
            else:
                self.codes.append((0, (byte & 0x3F) + 1, False))
            i += 1

    def body(self) -> bytes:
        made = bytearray()
        for value, run, extended in self.codes:
            if value:
                made.append(0x80 | (value - 1) << 2 | run - 1)
            elif extended:
                made += bytes([0x40 | (run - 1) >> 8, (run - 1) & 255])
            else:
                made.append(run - 1)
        return bytes(made) + self.tail

    def set(self, index: int, count: int) -> bool | None:
        """Raise a register to a count; return whether it changed, None if the encoding must become
        dense."""
        if count > SPARSE_VALUE_MAX:
            return None
        at, first = 0, 0
        while at < len(self.codes) and first + self.codes[at][1] <= index:
            first += self.codes[at][1]
            at += 1
        if at == len(self.codes):
            raise Error(INVALID)
        value, run, _ = self.codes[at]
        if value >= count:
            return False
        if run == 1:
            made = [(count, 1, False)]
        else:
            before, after = index - first, first + run - 1 - index
            made = []
            if before:
                made.append(_run(value, before))
            made.append((count, 1, False))
            if after:
                made.append(_run(value, after))
        old = len(self.body())
        before_codes = self.codes
        self.codes = [*before_codes[:at], *made, *before_codes[at + 1 :]]
        if len(self.body()) > SPARSE_BYTES_MAX and len(self.body()) > old:
            self.codes = before_codes
            return None
        self._merge(at)
        return True

    def _merge(self, at: int) -> None:
        """Join equal neighbours of values, from the opcode before a changed one on."""
        i, scanned = max(0, at - 1), 0
        while i < len(self.codes) and scanned < 5:
            scanned += 1
            value, run, _ = self.codes[i]
            if value and i + 1 < len(self.codes) and self.codes[i + 1][0] == value:
                total = run + self.codes[i + 1][1]
                if total <= 4:
                    self.codes[i : i + 2] = [(value, total, False)]
                    continue
            i += 1


def _run(value: int, run: int) -> tuple[int, int, bool]:
    return value, run, not value and run > 64


# --- the estimate


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
        if before == z:
            return z / 3


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if before == z:
            return z


def estimate(registers: Sequence[int]) -> int:
    """Return the estimated number of distinct elements."""
    histogram = [0] * 64
    for value in registers:
        histogram[value] += 1
    m = float(REGISTERS)
    z = m * _tau((m - histogram[64 - BITS + 1]) / m)
    for j in range(64 - BITS, 0, -1):
        z = (z + histogram[j]) * 0.5
    z += m * _sigma(histogram[0] / m)
    return _rounded(_ALPHA_INF * m * m / z)


def _rounded(number: float) -> int:
    """Round half away from zero, as llroundl does."""
    return math.floor(number + 0.5)


# --- commands


def _look(call: Call, key: bytes) -> bytes | None:
    value: bytes | None = call.look(key, bytes)
    if value is not None and not _is_one(value):
        raise Error(NOT_ONE)
    return value


def _with(value: bytes, index: int, count: int) -> bytes | None:
    """Return the string with a register raised, None if it was as high; the cache stays."""
    if value[4] == SPARSE:
        sparse = _Sparse(value[HEADER:])
        changed = sparse.set(index, count)
        if changed is not None:
            return value[:HEADER] + sparse.body() if changed else None
        value = _as_dense(value[:HEADER], _registers(value))
    at, shift = divmod(index * 6, 8)
    body = bytearray(value[HEADER:] + b"\0")
    pair = body[at] | body[at + 1] << 8
    if pair >> shift & 63 >= count:
        return None
    pair = pair & ~(63 << shift) | count << shift
    body[at], body[at + 1] = pair & 255, pair >> 8 & 255
    return value[:HEADER] + bytes(body[:-1])


def _uncached(value: bytes) -> bytes:
    """Return the string with its cached count marked as stale, which keeps the other bits."""
    return value[:15] + bytes([value[15] | 0x80]) + value[16:]


@COMMANDS.command("PFADD", -2, "write denyoom fast", ONE)
def _pfadd(call: Call, cmd: Command) -> Any:
    value = _look(call, cmd[1])
    changed = value is None
    made = _empty() if value is None else value
    for element in cmd[2:]:
        raised = _with(made, *_place(element))
        if raised is not None:
            made, changed = raised, True
    if changed:
        call.put(cmd[1], _uncached(made))
    return int(changed)


@COMMANDS.command("PFCOUNT", -2, "readonly", ALL)
def _pfcount(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2:
        most = [0] * REGISTERS
        for key in cmd[1:]:
            value = _look(call, key)
            if value is not None:
                most = list(map(max, most, _registers(value)))
        return estimate(most)
    value = _look(call, cmd[1])
    if value is None:
        return 0
    if not value[15] & 0x80:
        return int.from_bytes(value[8:16], "little")
    count = estimate(_registers(value))
    if call.expiring:  # on a primary the count is stored, and this command propagated
        call.put(cmd[1], value[:8] + count.to_bytes(8, "little") + value[16:])
    return count


@COMMANDS.command("PFMERGE", -2, "write denyoom", ALL)
def _pfmerge(call: Call, cmd: Command) -> Any:
    most = [0] * REGISTERS
    dense = False
    for key in cmd[1:]:
        value = _look(call, key)
        if value is not None:
            dense = dense or value[4] == DENSE
            most = list(map(max, most, _registers(value)))
    made = _look(call, cmd[1]) or _empty()
    if dense and made[4] == SPARSE:
        made = _as_dense(made[:HEADER], _registers(made))
    for index, count in enumerate(most):
        if count:
            made = _with(made, index, count) or made
    call.put(cmd[1], _uncached(made))
    return OK
