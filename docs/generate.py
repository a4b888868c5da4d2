"""Writes the tables of the documents that the registry and the command line determine.

    python docs/generate.py

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`. All targets must be available
on the machine (see `harness doctor`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click

from harness.cli.commands import COMMANDS, cli
from harness.cli.list_ import about, available, in_words, places
from harness.nemesis import catalogue
from harness.registry import load, names

DOCS = Path(__file__).resolve().parent
MARK = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(head), *map(list, rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join(f"| {' | '.join(_cell(each) for each in row)} |\n" for row in cells)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def faults() -> str:
    found, missing = places()
    if missing.keys() - found.keys():
        raise SystemExit(f"targets that are not available here: {', '.join(missing)}")
    rows = [
        [f"`{f.name}`", type(f).__doc__ or "", in_words(available(f, found))]
        for f in catalogue.every()
    ]
    return table(("fault", "what it does", "target and environment"), rows)


def workloads() -> str:
    rows = []
    for name in names("harness.workloads"):
        kind = load("harness.workloads", name)
        text = " ".join((kind.__doc__ or "").split())
        claims = re.sub(r"^Claims?: (.)", lambda m: m[1].upper(), text)
        rows.append([f"`{name}`", about("workloads", name), claims])
    return table(("workload", "what its clients do", "what is claimed"), rows)


def models() -> str:
    rows = [[f"`{n}`", load("harness.models", n).__doc__ or ""] for n in names("harness.models")]
    return table(("model", "operations"), rows)


def targets() -> str:
    found, _ = places()
    rows = [
        [f"`{n}`", (load("harness.targets", n).__doc__ or "").split("\n\n")[0],
         ", ".join(e.name for _, e in found[n])]
        for n in names("harness.targets")
    ]  # fmt: skip
    return table(("target", "what it is", "environments"), rows)


def target_options() -> str:
    rows = []
    for name in names("harness.targets"):
        settings: Mapping[str, str] = load("harness.targets", name).settings
        rows += [[f"`{name}`", f"`{option}`", text] for option, text in settings.items()]
    return table(("target", "--option", "what it is for"), rows)


def options() -> str:
    text = ""
    parent = click.Context(cli, info_name="harness", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, parent=parent, info_name=name)
        text += f"## harness {name}\n\n```\n{command.get_help(context).rstrip()}\n```\n\n"
    return text.rstrip() + "\n"


TABLES: Mapping[str, Callable[[], str]] = {
    "faults": faults,
    "workloads": workloads,
    "models": models,
    "targets": targets,
    "target options": target_options,
    "options": options,
}


def generated(text: str) -> str:
    """Return a document with its tables written anew."""
    return MARK.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}{m[3]}", text)


def main() -> None:
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        made = generated(text)
        if made != text:
            path.write_text(made)
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
