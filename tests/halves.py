"""Runs the tests in two halves beside each other: those with real processes, which mostly wait, and
the others. Ends with the worse exit code; what the second half says is printed after the first."""

from __future__ import annotations

import subprocess
import sys
import tempfile

PYTEST = [sys.executable, "-m", "pytest"]


def main() -> int:
    with tempfile.TemporaryFile() as said:
        others = subprocess.Popen(
            [*PYTEST, "-m", "not real and not soak"], stdout=said, stderr=subprocess.STDOUT
        )
        try:
            real = subprocess.run([*PYTEST, "-m", "real and not soak"], check=False).returncode
            other = others.wait()
        finally:
            others.kill()
        said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(said.read())
    return real or other


if __name__ == "__main__":
    sys.exit(main())
