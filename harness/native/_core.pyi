from array import array
from collections.abc import Callable

def check(
    call: array[int],
    ret: array[int],
    letter: array[int],
    requires: array[int],
    installs: array[int],
    states: int,
    init: int,
    recurs: bool,
    step: Callable[[int, int], int],
    reaches: Callable[[int, int], bool] | None,
    configurations: int,
    bytes: int,
    zones: bool,
) -> tuple[int, str, list[int], int, int, int]: ...
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
