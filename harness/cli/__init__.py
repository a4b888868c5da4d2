"""The command line: one file a command, each from options to a spec, to the pipeline, to text.

`exits` defines the exit codes, `text` prints runs and verdicts.
"""

from harness.cli.commands import cli, run_command

__all__ = ["cli", "run_command"]
