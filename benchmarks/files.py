"""The time from a file of a million operations to its verdict, through the command line.

    python benchmarks/files.py [--operations 1000000] [--rounds 3]

Times whole processes of `harness check`: from JSON Lines, which also caches the columns, then from
the cached columns. Goals: 10 s and 1.5 s. A second history has a stale read, whose witness needs
the JSON Lines again. Needs `.[bench]`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from histories import OPEN, READ, Columns, registers

from harness.formats import columns_file
from harness.history import Op, encode

NAMES = ("read", "write", "cas")


def write(made: Columns, path: Path) -> None:
    """Write a line for each event, a microsecond apart."""
    events: list[Op | None] = [None] * (2 * len(made))
    for process, call, ret, f, a in zip(
        made.process.tolist(), made.call.tolist(), made.ret.tolist(), made.f.tolist(),
        made.a.tolist(), strict=True,
    ):  # fmt: skip
        value = None if a < 0 else a
        events[call] = Op(call, call * 1000, "invoke", process, NAMES[f],
                          None if f == READ else value)  # fmt: skip
        if ret != OPEN:
            events[ret] = Op(ret, ret * 1000, "ok", process, NAMES[f], value)
    with path.open("wb") as file:
        file.writelines(encode(op) + b"\n" for op in events if op is not None)


def checked(path: Path, expected: int) -> float:
    """Run `harness check` on a file; return its seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [Path(sys.executable).with_name("harness"), "check", "--model", "register", path],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != expected:
        raise SystemExit(f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, stale_at in (("valid", None), ("one stale read", 0.9)):
            path = Path(folder) / "history.jsonl"
            write(registers(given.operations, 20, stale_at=stale_at), path)
            os.environ["XDG_CACHE_HOME"] = folder  # the timed commands inherit it
            kept = columns_file.kept_for(path)
            lines, columns = [], []
            for _ in range(given.rounds):
                kept.unlink(missing_ok=True)
                lines.append(checked(path, 0 if stale_at is None else 1))
                columns.append(checked(path, 0 if stale_at is None else 1))
            print(f"{given.operations:,} operations, {name}, {path.stat().st_size / 1e6:.0f} MB: "
                  f"{statistics.median(lines):.2f} s from JSON Lines (goal 10), "
                  f"{statistics.median(columns):.2f} s from its columns, "
                  f"{kept.stat().st_size / 1e6:.0f} MB (goal 1.5)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
