"""The test data of Porcupine: Jepsen's logs of etcd, texts of a key-value store.

In the logs nil is a value, the initial one of the register. In the texts operations are `get`,
`put` and `append` with a :key; values become [key, value].
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import HistoryError
from harness.formats import edn
from harness.formats.assembly import Assembly
from harness.formats.jepsen import TYPES, read_text
from harness.history import History, Op

_LINE = re.compile(r"INFO\s+jepsen\.util - (\S+)\s+:(invoke|ok|fail|info)\s+:(\w+)\s*(.*)\Z")


def read_log(path: Path) -> History:
    """Read lines such as `INFO jepsen.util - 3 :invoke :read nil`; others are ignored, as is the
    nemesis. Raises `HistoryError`."""
    assembly = Assembly(path)
    found = False
    for number, line in enumerate(_lines(path), 1):
        match = _LINE.match(line)
        if match is None:
            continue
        process, kind, f, text = match.groups()
        if not process.isdigit():
            continue
        found = True
        try:
            value = next((form for _, form in edn.read(text)), None)
        except edn.EdnError as e:
            raise HistoryError(f"{path}:{number}: {text!r} is not a value: {e}") from e
        error = None
        if value == "timed-out":
            value, error = None, "timed-out"
        assembly.add(number, Op(0, 0, kind, int(process), f, value, error))  # type: ignore[arg-type]
    if not found and path.stat().st_size:
        raise HistoryError(f"{path}: expected lines like 'INFO jepsen.util - 3 :invoke :read nil'")
    return assembly.history()


def read_kv(path: Path) -> History:
    """Read lines of EDN maps with a :key. Raises `HistoryError`."""
    assembly = Assembly(path)
    for number, line in enumerate(_lines(path), 1):
        try:
            form = next((form for _, form in edn.read(line)), None)
        except edn.EdnError as e:
            raise HistoryError(f"{path}:{number}: not EDN: {e}") from e
        if form is None:
            continue
        if (
            not isinstance(form, dict)
            or not {"f", "key", "value"} <= set(form)
            or form.get("type") not in TYPES
            or type(form.get("process")) is not int
            or type(form["f"]) is not str
        ):
            raise HistoryError(
                f"{path}:{number}: expected an operation with :process, :type, :f, :key and :value"
            )
        value = [form["key"], form["value"]]
        assembly.add(number, Op(0, 0, form["type"], form["process"], form["f"], value))
    return assembly.history()


def _lines(path: Path) -> list[str]:
    return read_text(path).split("\n")
