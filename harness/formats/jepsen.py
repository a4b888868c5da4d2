"""Jepsen's histories: maps of :process, :type, :f and :value, as EDN or as JSON.

One map per line, or one list of them. Defaults are those of elle-cli: `txn` without :f; without
:process each operation completes before the next is invoked. The nemesis is left out. As in
Knossos, a read that completed with nil is ignored, unless `nil_is_a_value`. The owner of a lock,
where it is missing, is the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HistoryError
from harness.formats import edn
from harness.formats.assembly import Assembly
from harness.history import NEMESIS, History, Op

LOCKING = ("acquire", "release")
TYPES = ("invoke", "ok", "fail", "info")


def read_edn(path: Path, *, nil_is_a_value: bool = False, independent: bool = False) -> History:
    """Read a history in EDN. `independent`: values are [key, value]. Raises `HistoryError`."""
    try:
        forms = _each(edn.read(read_text(path)))
        return _assemble(path, forms, nil_is_a_value, independent)
    except edn.EdnError as e:
        raise HistoryError(f"{path}:{e.line}: not EDN: {e}") from e
    except (ValueError, RecursionError) as e:
        raise HistoryError(f"{path}: can't read this EDN: {e}") from e


def read_json(path: Path, *, nil_is_a_value: bool = False, independent: bool = False) -> History:
    """Read a history in JSON. `independent`: values are [key, value]. Raises `HistoryError`."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            maps = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as e:
            raise HistoryError(f"{path}: not JSON: {e}") from e
        return _assemble(path, _numbered(maps), nil_is_a_value, independent)
    return _assemble(path, _json_lines(path, text), nil_is_a_value, independent)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8. Raises `HistoryError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise HistoryError(f"can't read {path}: {getattr(e, 'strerror', None) or e}") from e


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError) as e:
                raise HistoryError(f"{path}:{number}: not JSON: {e}") from e


def _numbered(maps: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Number the elements of a list as if each had a line of its own."""
    return enumerate(maps, 1)


def _each(forms: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    for line, form in forms:
        if isinstance(form, list):
            yield from ((line, each) for each in form)
        else:
            yield line, form


def _assemble(
    path: Path, maps: Iterable[tuple[int, Any]], nil_is_a_value: bool, independent: bool
) -> History:
    assembly = Assembly(path)
    for line, op in maps:
        if not isinstance(op, dict) or op.get("type") not in TYPES:
            raise HistoryError(
                f"{path}:{line}: expected an operation with :type invoke, ok, fail or info"
            )
        process = op.get("process", 0)
        if process in (None, NEMESIS):
            continue
        if isinstance(process, bool) or not isinstance(process, (int, str)):
            raise HistoryError(f"{path}:{line}: {process!r} is not a valid :process")
        f, value = str(op.get("f", "txn")), op.get("value")
        inner = value
        if independent and isinstance(value, list) and len(value) == 2:
            inner = value[1]
            if inner is None and f in LOCKING:
                value = [value[0], process]
        elif value is None and f in LOCKING:
            value = process
        if f == "read" and op["type"] == "ok" and inner is None and not nil_is_a_value:
            assembly.drop(line, process)
            continue
        error = op.get("error")
        time = op.get("time")
        assembly.add(
            line,
            Op(0, time if isinstance(time, int) else 0, op["type"], process, f, value,
               None if error is None else str(error)),
        )  # fmt: skip
    return assembly.history()


def write_edn(history: Iterable[Op]) -> Iterator[str]:
    """Yield a line per operation, as Jepsen reads them; those of the nemesis have type :info."""
    for op in history:
        client = isinstance(op.process, int)
        fields: dict[str, str] = {
            "index": str(op.index),
            "time": str(op.time),
            "type": f":{op.type if client else 'info'}",
            "process": str(op.process) if client else f":{op.process}",
            "f": edn.write(op.f, keyword=True),
            "value": edn.write(op.value),
        }
        if op.error is not None:
            fields["error"] = edn.write(op.error)
        yield "{" + ", ".join(f":{name} {value}" for name, value in fields.items()) + "}"


def write_json(history: Iterable[Op]) -> Iterator[str]:
    """Yield a line per operation, as elle-cli reads them."""
    for op in history:
        client = isinstance(op.process, int)
        fields = {
            "index": op.index,
            "time": op.time,
            "type": op.type if client else "info",
            "process": op.process,
            "f": op.f,
            "value": op.value,
        }
        if op.error is not None:
            fields["error"] = op.error
        yield msgspec.json.encode(fields).decode()
