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
