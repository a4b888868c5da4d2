"""Runs the tests in two halves at the same time: those with real processes, which mostly wait, and
the others. Returns the first nonzero exit code; the output of the others is printed at the end."""

from __future__ import annotations

import subprocess
import sys
import tempfile

PYTEST = [sys.executable, "-m", "pytest"]


def main() -> int:
    with tempfile.TemporaryFile() as output:
        others = subprocess.Popen(
            [*PYTEST, "-m", "not real and not soak"], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            real = subprocess.run([*PYTEST, "-m", "real and not soak"], check=False).returncode
            other = others.wait()
        finally:
            others.kill()
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
    return real or other


if __name__ == "__main__":
    sys.exit(main())
