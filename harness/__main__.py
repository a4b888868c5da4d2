"""The way in. Importing the rest takes a moment, and Ctrl-C may come in that moment."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    try:
        from harness.cli import run_command

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
