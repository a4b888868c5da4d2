"""Entry point. `main` imports the command line, so that Ctrl-C during the import is handled."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its exit code."""
    try:
        from harness.cli import run_command

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
