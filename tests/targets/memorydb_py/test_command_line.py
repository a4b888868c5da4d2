"""Processes of the reference that are started by hand: where they listen, and their secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environments.ports import Ports

pytestmark = pytest.mark.real


def started(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Return how a process ended that was to end at once."""
    words = [sys.executable, "-m", "targets.memorydb_py", *argv]
    return subprocess.run(
        words, env=os.environ | env, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["az", "--name", "az1", "--listen", ":7001"], "give HOST:PORT"),
        (["az", "--name", "az1", "--listen", "0.0.0.0:7001"], "give --secret-file too"),
        (["az", "--name", "az1", "--listen", "[::]:7001"], "give --secret-file too"),
        (["node", "--name", "n1", "--listen", "0.0.0.0:7001"], "give --password-file too"),
        (["node", "--name", "n1", "--listen", "127.0.0.1:7001", "--option", "requirepass=x"],
         "give --password-file"),
        (["node", "--name", "n1", "--listen", "127.0.0.1:7001", "--password-file", "none"],
         "none: No such file or directory"),
        (["node", "--name", "n1", "--listen", "127.0.0.1:7001", "--az", "az1=7001"],
         "give HOST:PORT"),
    ],
)  # fmt: skip
def test_what_is_not_safe_is_refused_in_one_line(
    argv: list[str], reason: str, tmp_path: Path
) -> None:
    done = started(*argv, "--dir", str(tmp_path))
    assert done.returncode == 2
    assert reason in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr


def test_with_secrets_other_machines_may_reach_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("shared\n")
    ports = Ports()
    address = f"0.0.0.0:{ports.take()}"
    argv = ["az", "--name", "az1", "--listen", address, "--secret-file", str(tmp_path / "secret")]
    argv += ["--az", f"az1={address}", "--dir", str(tmp_path), "--create"]
    words = [sys.executable, "-m", "targets.memorydb_py", *argv]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "log: 1 records" in process.stdout.readline()
        process.kill()
    ports.close()
