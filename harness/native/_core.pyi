from collections.abc import Callable

from typing_extensions import Buffer

# Buffers are columns with one element an operation, int64 for `call` and `ret`, else int32; where
# letters are given, `requires` and `installs` have one element a letter. An outcome of a key is
# (valid: 1, 0 or -1, how, order, configurations, bytes, stuck), see Verdict in history.hpp.

def check(
    call: Buffer,
    ret: Buffer,
    key: Buffer | None,
    letter: Buffer | None,
    requires: Buffer,
    installs: Buffer,
    states: int,
    recurs: bool,
    step: Callable[[int, int], int] | None,
    reaches: Callable[[int, int], bool] | None,
    texts: tuple[list[str], list[str]] | None,
    configurations: int,
    bytes: int,
    seconds: float | None,
    zones: bool,
    orders: bool,
    threads: int,
) -> tuple[int, list[tuple[int, str, list[int], int, int, int]]]: ...
def containers(
    discipline: int,
    call: Buffer,
    ret: Buffer,
    key: Buffer | None,
    kind: Buffer,
    value: Buffer,
    keys: int,
) -> list[tuple[int, str, list[int], int, int, int]]: ...
def letters(
    f: Buffer, shape: Buffer, a: Buffer, b: Buffer, c: Buffer, ret: Buffer
) -> tuple[bytes, list[int]]: ...
def registers(
    roles: Buffer,
    f: Buffer,
    shape: Buffer,
    a: Buffer,
    b: Buffer,
    c: Buffer,
    ret: Buffer,
    differed: int,
) -> tuple[bytes, bytes] | None: ...
def load(
    host: str,
    port: int,
    clients: int,
    seconds: float,
    read_percent: int,
    value_bytes: int,
    keys: int,
    rate: float,
    seed: int,
) -> tuple[
    float,
    tuple[int, float, float, float],
    tuple[int, float, float, float],
    list[tuple[int, float]],
    int,
    str,
]: ...
