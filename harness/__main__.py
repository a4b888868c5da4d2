"""Entry point. `main` imports the command line, so that Ctrl-C during the import is handled."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """Run the command line and exit with its exit code. SIGTERM and SIGHUP, unless they are
    ignored, end it as Ctrl-C does: what was started is stopped, and the report is written."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _as_ctrl_c)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from harness.cli import run_command

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
