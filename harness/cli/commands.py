"""The commands by name; each is imported only when it is called."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping

import click

from harness.errors import HarnessError, Unreachable, UsageError

# Name -> module of this package, and the first line of its help, equal to that of its docstring.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("run", "Run a workload against a target while faults happen, and judge the history."),
    "check": (
        "check",
        "Judge histories again and print a line for each FILE.",
    ),
    "report": ("report", "Write the report of a RUN again, from its history."),
    "replay": ("replay", "Repeat a simulated RUN and print the first difference, if there is one."),
    "export": ("export", "Print a history in one of Jepsen's formats."),
    "list": ("list_", "List targets, environments, workloads, faults, models, isolation levels."),
    "doctor": ("doctor", "Show which servers and tools this machine has."),
    "bench": ("bench", "Compare the reference MemoryDB with Redis, Valkey and the MemoryDB paper."),
    "demo": ("demo", "Run the lost-read example on a real redis-server and on the reference."),
}


class Commands(click.Group):
    """A group that imports a command to call it, but not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"harness.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="consistency-harness", prog_name="harness")
def cli() -> None:
    """Test the consistency guarantees of Redis-like databases under faults.

    Exit codes: 0 valid, 1 invalid, 2 unknown, 130 interrupted, 253 system not reached or not
    started, 254 wrong usage, 255 harness failed.
    """


def run_command(args: list[str]) -> int:
    """Run a command line and return its exit code."""
    from harness.cli.exits import CRASH, INTERRUPTED, UNREACHABLE, USAGE, Interrupted

    try:
        code = cli.main(args=args, prog_name="harness", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return 0
    except click.UsageError as e:
        where = f" (see `{e.ctx.command_path} --help`)" if e.ctx is not None else ""
        return _failed(USAGE, e.format_message() + where)
    except UsageError as e:
        return _failed(USAGE, str(e))
    except Interrupted as e:
        return _failed(INTERRUPTED, str(e))
    except (click.Abort, KeyboardInterrupt):
        return _failed(INTERRUPTED, "interrupted")
    except Unreachable as e:
        return _failed(UNREACHABLE, str(e))
    except HarnessError as e:
        return _failed(CRASH, str(e))
    except BrokenPipeError:
        return CRASH
    except Exception:
        traceback.print_exc()
        return _failed(CRASH, "this is a bug in the harness itself; please report it")


def _failed(code: int, message: str) -> int:
    click.echo("harness: " + " ".join(message.split()), err=True)
    return code
