"""The command line: one file a command, each from options to a spec, to the pipeline, to text.

`exits` is the one place that knows exit codes, `text` how runs and verdicts are printed.
"""

from harness.cli.commands import cli, run_command

__all__ = ["cli", "run_command"]
